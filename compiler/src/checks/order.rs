//! The order of barriers: which branch of a group meets which barriers, in which order.

use super::{Judged, Told};
use crate::diagnostic::Location;
use crate::lower::Lowered;
use crate::model::{DeclId, Model};
use crate::rules::Rule;
use crate::types::begins_with;
use foldhash::{HashMap, HashSet};
use lockstep_plan::{
    BarrierId, BarrierKind, BlockItem, ConditionId, Expr, ItemId, Part, PlaceId, StageId, Value, Work,
};

/// A barrier as one branch meets it.
#[derive(Debug, Clone)]
pub struct Meeting {
    pub barrier: BarrierId,
    pub place: PlaceId,
    pub stage: StageId,
    /// What has to hold for the branch to meet it: conditions of stage, phase, section and barrier.
    pub when: Vec<ConditionId>,
}

/// What the branches of one item meet, found once for all checks.
#[derive(Debug, Default)]
pub struct Meetings {
    forward: Vec<Vec<Meeting>>,
    rollback: Vec<Vec<Meeting>>,
}

impl<'a, 'p> Judged<'a, 'p> {
    /// Looks once at what several checks want to know.
    pub fn new(model: &'a Model<'p>, pipeline: DeclId, lowered: &'a Lowered, told: &'a Told) -> Self {
        let (meetings, damaged, broken, works, domains) = Default::default();
        let mut judged = Judged { model, pipeline, lowered, told, meetings, damaged, broken, works, domains };
        judged.meetings = judged
            .items()
            .map(|item| Meetings {
                forward: judged.meet(item, BarrierKind::Forward),
                rollback: judged.meet(item, BarrierKind::Rollback),
            })
            .collect();
        judged.damaged = judged.any_of(|at| model.program.is_damaged(at.file, at.span));
        judged.broken = judged.any_of(|at| model.program.is_broken(at.file, at.span));
        for item in &lowered.lacking {
            judged.damaged[item.index()] = true;
            judged.broken[item.index()] = true;
        }
        judged
    }

    /// Whether another pipeline of the module has led to the same report, which need not be made again.
    pub fn is_told(&self, rule: &Rule, at: Location, what: &'static str) -> bool {
        !self.told.borrow_mut().insert((rule.name, at, what))
    }

    /// For each branch of an item the barriers of a kind that it can meet, in order. Constantly skipped ones are
    /// left out; rollbacks go through phases backwards.
    pub fn meetings(&self, item: ItemId, kind: BarrierKind) -> &[Vec<Meeting>] {
        let meetings = &self.meetings[item.index()];
        if kind == BarrierKind::Rollback { &meetings.rollback } else { &meetings.forward }
    }

    /// What the branches of an item meet, by barrier: ascending, each with who meets it in the order of the branches.
    pub fn by_barrier(&self, item: ItemId, kind: BarrierKind) -> Vec<&Meeting> {
        let mut met: Vec<&Meeting> = self.meetings(item, kind).iter().flatten().collect();
        met.sort_by_key(|meeting| meeting.barrier);
        met
    }

    fn meet(&self, item: ItemId, kind: BarrierKind) -> Vec<Vec<Meeting>> {
        let branches = &self.lowered.plan.items[item.index()].branches;
        let met = branches.iter().map(|branch| {
            let mut met = Vec::new();
            for part in &branch.parts {
                if let Part::Stage(stage) = part {
                    self.of_stage(*stage, kind, &mut met);
                }
            }
            if kind == BarrierKind::Rollback {
                met.reverse();
            }
            met
        });
        met.collect()
    }

    fn of_stage(&self, id: StageId, kind: BarrierKind, met: &mut Vec<Meeting>) {
        let plan = &self.lowered.plan;
        let stage = &plan.stages[id.index()];
        let mut meet = |place: PlaceId, around: &[ConditionId]| {
            let it = &plan.places[place.index()];
            if plan.barriers[it.barrier.index()].kind != kind {
                return;
            }
            let mut when: Vec<ConditionId> = [&stage.when, around, &it.when].concat();
            if when.len() > 1 {
                let mut seen = HashSet::default();
                when.retain(|id| seen.insert(*id));
            }
            let never = when.iter().any(|id| plan.conditions[id.index()] == Expr::Value(Value::Bool(false)));
            if !never {
                met.push(Meeting { barrier: it.barrier, place, stage: id, when });
            }
        };
        match kind {
            BarrierKind::Rollback => {
                // Collected backwards: the caller turns the whole branch around.
                let blocks =
                    stage.rollback.iter().chain(stage.phases.iter().filter_map(|it| it.rollback.as_ref()));
                for block in blocks {
                    for item in block.iter().rev() {
                        if let BlockItem::Barrier(place) = item {
                            meet(*place, &[]);
                        }
                    }
                }
            }
            _ => {
                for position in &stage.positions {
                    if let Work::Barrier(place) = &position.work {
                        meet(*place, &position.when);
                    }
                }
            }
        }
    }

    /// Whether something of an item was not understood, so that what it lacks may be a consequence.
    pub fn is_damaged(&self, item: ItemId) -> bool {
        self.damaged[item.index()]
    }

    /// Whether more of an item than a detail may not have been understood: a step, a barrier or a stage.
    pub fn is_broken(&self, item: ItemId) -> bool {
        self.broken[item.index()]
    }

    /// For each item, whether something is so of the pipeline or of one of the workflows that run there.
    fn any_of(&self, is_so: impl Fn(Location) -> bool) -> Vec<bool> {
        let plan = &self.lowered.plan;
        let own = Location { file: self.pipeline.file, span: self.model.decl(self.pipeline).span };
        let mut items = vec![is_so(own); plan.items.len()];
        let mut known: HashMap<Location, bool> = HashMap::default();
        for (stage, at) in plan.stages.iter().zip(&self.lowered.origins.workflows) {
            items[stage.item.index()] |= *known.entry(*at).or_insert_with(|| is_so(*at));
        }
        items
    }

    /// For each item, whether a setting or an argument of that name may be among the details that were not understood.
    pub fn lost(&self, name: &str) -> Vec<bool> {
        let program = self.model.program;
        self.any_of(|at| {
            let mut end = 0;
            program.without_details(at.file, at.span).any(|brackets| {
                // What stands in others has been looked at with them.
                let outer = brackets.end > end;
                end = end.max(brackets.end);
                let text = program.text(at.file, brackets);
                // `= 5m` may be any of them.
                outer && (text.contains(name) || begins_with(text, '='))
            })
        })
    }

    /// Every item, with its index.
    pub fn items(&self) -> impl Iterator<Item = ItemId> + use<> {
        (0..self.lowered.plan.items.len() as u32).map(ItemId)
    }
}
