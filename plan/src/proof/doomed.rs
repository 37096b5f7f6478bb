//! What becomes of a branch that is somewhere when something fails for good in another one, or in itself.
//!
//! The barriers that the failing stage has before it break one after another. The first of them that the branch has before it, too,
//! and does not pass over, decides by its rules; where there is none `commit` does, and the branch rolls back.

use super::candidates::Point;
use super::course::{Course, Fault, Judged, What};
use super::group::Group;
use crate::{BarrierId, StepId, Verdict};
use std::rc::Rc;

/// What `commit` leads to.
const BACK: Judged = (Verdict::Rollback, None);
/// How many verdicts there may be of a broken barrier.
const VERDICTS: usize = 8;

/// What a fault comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comes {
    To(Judged),
    /// To any verdict of the stage: it is not known who has been kept away from a barrier.
    ToAny,
}

/// A branch that is at one place.
pub(super) struct Doomed<'g, 'a> {
    group: &'g Group<'a>,
    at: Point,
    /// An example of each verdict that the barriers before it may lead to.
    any: [Option<Judged>; VERDICTS],
    /// By shape: what a fault at each element comes to, when it fails that stage.
    known: Vec<Option<Rc<[Comes]>>>,
    /// What each verdict leaves.
    left: Vec<(Verdict, Option<StepId>)>,
}

impl<'g, 'a> Doomed<'g, 'a> {
    pub fn new(group: &'g Group<'a>, at: Point) -> Self {
        let course = &group.shapes[at.shape].course;
        let mut any = [None; VERDICTS];
        any[0] = Some(BACK);
        if course.judges {
            let others = course.verdicts_ahead(at.at).filter(|(verdict, _)| *verdict != BACK.0);
            any.iter_mut().skip(1).zip(others).for_each(|(it, judged)| *it = Some(judged));
        }
        Doomed { group, at, any, known: vec![None; group.shapes.len()], left: Vec::new() }
    }

    fn course(&self) -> &'g Course {
        &self.group.shapes[self.at.shape].course
    }

    /// Of a barrier that its stage has before it: whether others surely wait for it there, and what its rules say.
    fn ahead(&self, barrier: BarrierId) -> Option<(bool, Judged)> {
        let course = self.course();
        let here = course.elements.get(self.at.at)?;
        let place = course.elements.get(course.next_place(barrier, self.at.at)?)?;
        match place.what {
            What::Barrier { awaited, judged, .. } if place.part == here.part => Some((awaited, judged?)),
            _ => None,
        }
    }

    /// The changing step that stays as it is with a verdict.
    pub fn stays(&mut self, verdict: Verdict) -> Option<StepId> {
        let known = self.left.iter().find(|(it, _)| *it == verdict);
        if let Some((_, step)) = known {
            return *step;
        }
        let step = self.course().stays(self.at.at, verdict);
        self.left.push((verdict, step));
        step
    }

    /// Whether anything that it may come to leaves something, here or elsewhere.
    pub fn leaves_anything(&mut self) -> bool {
        let mut any = self.any.into_iter().flatten();
        any.any(|(verdict, _)| verdict == Verdict::Abort || self.stays(verdict).is_some())
    }

    /// What the branch may come to by a fault at an element of a shape.
    pub fn comes_to(&mut self, fails: Point, fault: &Fault) -> impl Iterator<Item = Judged> + use<> {
        let comes = if self.course().judges { self.by(fails, fault) } else { Comes::To(BACK) };
        let mut all = self.any;
        if let Comes::To(judged) = comes {
            all = [None; VERDICTS];
            all[0] = Some(judged);
        }
        all.into_iter().flatten()
    }

    fn by(&mut self, fails: Point, fault: &Fault) -> Comes {
        let group = self.group;
        let course = &group.shapes[fails.shape].course;
        let stage_fails = |doomed: &mut Self, shape: usize, at: usize| {
            doomed.of_shape(shape).get(at).copied().unwrap_or(Comes::To(BACK))
        };
        match fault {
            Fault::Step { .. } | Fault::Condition(_) => stage_fails(self, fails.shape, fails.at),
            // The next stage of the lane counts as failed: its barriers come first.
            Fault::Approval(..) => stage_fails(self, fails.shape, fails.at + 1),
            Fault::Waited(_) => {
                let What::Barrier { barrier, .. } = course.elements[fails.at].what else {
                    return Comes::To(BACK);
                };
                match self.ahead(barrier) {
                    Some((true, judged)) => return Comes::To(judged),
                    Some((false, _)) => return Comes::ToAny,
                    None => {}
                }
                // The first participant that does not pass over it takes its other barriers along.
                match group.first_judged.get(&barrier) {
                    Some((true, point)) => stage_fails(self, point.shape, point.at),
                    Some((false, _)) => Comes::ToAny,
                    None => Comes::To(BACK),
                }
            }
        }
    }

    /// For each element of a shape what it comes to when the stage fails there.
    fn of_shape(&mut self, shape: usize) -> Rc<[Comes]> {
        if let Some(known) = &self.known[shape] {
            return known.clone();
        }
        let elements = &self.group.shapes[shape].course.elements;
        let mut all = vec![Comes::To(BACK); elements.len()];
        let mut part = usize::MAX;
        let mut comes = Comes::To(BACK);
        for (at, element) in elements.iter().enumerate().rev() {
            if element.part != part {
                (part, comes) = (element.part, Comes::To(BACK));
            }
            if let What::Barrier { barrier, awaited, .. } = element.what {
                comes = match (awaited, self.ahead(barrier)) {
                    (_, None) => comes,
                    (true, Some((true, judged))) => Comes::To(judged),
                    _ => Comes::ToAny,
                };
            }
            all[at] = comes;
        }
        self.known[shape].insert(all.into()).clone()
    }
}
