//! Work on one directory: the provider `local` does it one after the other, whatever service and stage it is for.
//!
//! That is no claim, for stages of one run share their targets; the driver holds a lock on the directory for as long as an attempt,
//! or finding out what the target runs, lasts. Whoever came first is let in first here; for real it is anybody's guess.

use crate::{Event, Expr, Plan, ServiceId, StageId, StepId, TargetId};
use foldhash::HashMap;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The provider whose driver works so.
const IN_TURN: &str = "local";

/// What a driver does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// An attempt of a step.
    Step(StepId),
    /// Finding out what a target runs.
    Record(StageId, TargetId, Option<ServiceId>),
}

/// After how long work ends that has begun, and the event that says so; nothing where it has to be stopped.
type End = Option<(u64, Event)>;

/// Who works on which directory, and who waits.
pub(crate) struct Roots {
    /// For each target its directory: the number of the first target that has it.
    of: Vec<Option<u32>>,
    /// By directory, who works there.
    working: BTreeMap<u32, Work>,
    waiting: BTreeMap<u32, VecDeque<(Work, End)>>,
}

impl Roots {
    /// Nobody works yet.
    pub fn new(plan: &Plan) -> Self {
        let mut known: HashMap<Vec<Option<&Expr>>, u32> = HashMap::default();
        let of = plan.targets.iter().zip(0..).map(|(target, number)| {
            let identity = || target.identity().map(|(_, value)| value).collect();
            (target.provider == IN_TURN).then(|| *known.entry(identity()).or_insert(number))
        });
        Roots { of: of.collect(), working: BTreeMap::new(), waiting: BTreeMap::new() }
    }

    /// The directory that the work needs for itself.
    pub fn of(&self, plan: &Plan, work: Work) -> Option<u32> {
        let target = match work {
            Work::Step(step) => {
                let action = &plan.steps[step.index()].action;
                action.target.filter(|_| action.provider == IN_TURN)?
            }
            Work::Record(_, target, _) => target,
        };
        self.of[target.index()]
    }

    /// Stages that work in a directory in which others work, too: who comes first matters to them.
    pub fn shared(plan: &Plan) -> BTreeSet<StageId> {
        let roots = Roots::new(plan);
        let mut stages: BTreeMap<u32, BTreeSet<StageId>> = BTreeMap::new();
        for (step, number) in plan.steps.iter().zip(0..) {
            if let Some(root) = roots.of(plan, Work::Step(StepId(number))) {
                stages.entry(root).or_default().insert(step.stage);
            }
        }
        stages.into_values().filter(|stages| stages.len() > 1).flatten().collect()
    }

    /// Lets the work begin, with the end that it was given, or has it wait for its turn.
    pub fn enter(&mut self, root: u32, work: Work, end: End) -> Option<End> {
        if let Entry::Vacant(free) = self.working.entry(root) {
            free.insert(work);
            return Some(end);
        }
        self.waiting.entry(root).or_default().push_back((work, end));
        None
    }

    /// The work has ended: who comes next.
    pub fn leave(&mut self, root: u32, work: Work) -> Option<(Work, End)> {
        if self.working.get(&root) != Some(&work) {
            return None;
        }
        self.working.remove(&root);
        let next = self.waiting.get_mut(&root)?.pop_front()?;
        self.working.insert(root, next.0);
        Some(next)
    }

    /// Work that waits is called off.
    pub fn forget(&mut self, root: u32, work: Work) {
        if let Some(waiting) = self.waiting.get_mut(&root) {
            waiting.retain(|(it, _)| *it != work);
        }
    }
}
