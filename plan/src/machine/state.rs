//! What a run has come to: the state that events are folded into.

use crate::{
    Cause, Expr, Facts, Failure, FailureFact, Fields, Kind, NoFacts, PlaceId, Plan, Reaction, RunFact,
    RunOutcome, ScopeId, ServiceId, StageId, StageOutcome, StepId, TargetId, Value, Verdict,
};
use std::collections::{BTreeMap, BTreeSet};

/// The state of one run. A function of the plan and the events so far, and of nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    /// The run's id and who started it, once it has begun.
    pub run: Option<(String, String)>,
    /// What the run as a whole does.
    pub mode: RunMode,
    /// Index of the item that runs (or is rolled back).
    pub item: usize,
    /// In the plan's order.
    pub items: Vec<ItemState>,
    /// In the plan's order.
    pub stages: Vec<StageState>,
    /// In the plan's order.
    pub steps: Vec<StepState>,
    /// In the plan's order.
    pub places: Vec<PlaceState>,
    /// In the plan's order.
    pub barriers: Vec<BarrierState>,
    /// In the plan's order.
    pub approvals: Vec<ApprovalState>,
    /// In the plan's order.
    pub claims: Vec<ClaimState>,
    /// What each target ran before a stage's first changing step on it.
    pub records: BTreeMap<(StageId, TargetId, Option<ServiceId>), Value>,
    /// Records that were asked for and not given yet.
    pub(super) recording: BTreeSet<(StageId, TargetId, Option<ServiceId>)>,
    /// Rollback places whose stages wait there now.
    pub(super) waiting_rollbacks: BTreeSet<PlaceId>,
    /// Whether the pipeline's channels were told that something rolls back.
    pub(super) rollback_told: bool,
    /// The person who asked for the run to be rolled back.
    pub(super) asked_back: Option<String>,
}

/// What a run as a whole does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RunMode {
    /// [`crate::Event::Started`] has not come.
    NotStarted,
    /// It goes forward; single stages may roll back.
    Forward,
    /// Everything is being undone, item by item, last first.
    RollingBack,
    /// It stops as soon as nothing runs any more.
    Aborting,
    /// It has ended.
    Finished(RunOutcome),
}

/// An item's branches.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ItemState {
    /// In the plan's order.
    pub branches: Vec<BranchState>,
    /// How many branches hold a slot of `max`.
    pub(super) running: u32,
    /// The first branch that has not been started.
    pub(super) next: usize,
    /// How many branches have ended.
    pub(super) ended: usize,
    /// The first failure of the item: what rules of the pipeline match.
    pub failure: Option<Failure>,
}

/// A branch.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BranchState {
    /// Where it is.
    pub mode: BranchMode,
    /// Index of the part that runs, or that failed.
    pub part: usize,
    /// Whether it holds a slot of its group's `max`.
    pub(super) slot: bool,
}

/// Where a branch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BranchMode {
    /// Not started.
    Pending,
    /// A part of it runs.
    Running,
    /// All its parts succeeded; it waits at `commit`.
    AtCommit,
    /// A part of it failed for good; what follows from that is under way.
    Failing,
    /// All parts succeeded or were skipped.
    Succeeded,
    /// It did not succeed, and nothing of it runs any more.
    Failed,
}

/// A stage.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StageState {
    /// Where it is.
    pub mode: StageMode,
    /// Why it failed, once it has failed for good.
    pub cause: Option<Cause>,
    /// The last phase that it came to.
    pub(super) phase: Option<u32>,
    /// It waits for its claim, to start or to roll back.
    pub(super) claiming: bool,
    /// A person has asked to take up its rollback where it stopped.
    pub(super) again: bool,
    /// How many steps of its position need not be looked at again.
    pub(super) seen: Seen,
}

/// How far the steps of a position have been gone through, so that each is looked at once and not after every event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(super) struct Seen {
    /// Which position, and whether steps that have ended are looked for, or such that are passed.
    pub(super) at: usize,
    pub(super) draining: bool,
    /// How many, from the first.
    pub(super) steps: usize,
}

/// Where a stage is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum StageMode {
    /// Not started.
    Waiting,
    /// At that position.
    Forward(usize),
    /// Failed for good at that position; attempts that still run come to their end first.
    Draining(usize, Settled),
    /// A person decides what a broken barrier means; the stage is at that position.
    Asking(usize, Box<BarrierAsk>),
    /// Undoing.
    RollingBack(Unwinding),
    /// Ended.
    Ended(StageOutcome),
}

/// What happens to a stage when nothing of it runs any more.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Settled {
    /// Its failure was judged.
    Verdict(Verdict),
    /// A rule asks a person what the broken barrier means.
    Ask(Box<BarrierAsk>),
}

/// A question about a broken barrier.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct BarrierAsk {
    /// The stage's place at the barrier.
    pub place: PlaceId,
    /// Who is asked.
    pub group: String,
    /// How long, in milliseconds.
    pub within: u64,
    /// When nobody answers.
    pub then: Reaction,
    /// Whether the rule names `barrier`, so that a person may pass over it.
    pub named: bool,
}

/// A rollback under way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Unwinding {
    /// What is to be done, in order.
    pub queue: Vec<crate::BlockItem>,
    /// Index into `queue`.
    pub at: usize,
    /// How the stage ends when all of it is done.
    pub ends: StageOutcome,
    /// A rollback step failed for good: nothing further is started.
    pub failed: bool,
}

/// A step.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct StepState {
    /// Where it is.
    pub status: StepStatus,
    /// How many attempts were started. A step with any is *executed*.
    pub attempts: u32,
    /// How often each rule has had it tried again.
    pub(super) retries: Vec<((ScopeId, u32), u32)>,
    /// What it gave.
    pub outputs: Fields<Value>,
    /// How its last attempt failed.
    pub failure: Option<Box<Failure>>,
}

/// Where a step is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum StepStatus {
    /// Not reached.
    #[default]
    Idle,
    /// Waits until it is known what its target runs.
    Recording,
    /// An attempt runs.
    Running,
    /// An attempt has used up its time and is being stopped.
    TimingOut,
    /// An attempt still runs, or is being stopped, though its stage goes no further.
    Dropping,
    /// Waits for its next attempt.
    BackingOff,
    /// A person decides; otherwise that happens.
    Asking(Box<Reaction>),
    /// Of kind approval: waits for a person's go-ahead.
    AwaitingApproval,
    /// A condition did not hold.
    Skipped,
    /// Succeeded.
    Succeeded,
    /// Failed, and a rule lets the stage go on.
    Ignored,
    /// Failed, and a rule says that it counts as success.
    Asserted,
    /// Failed for good.
    Failed,
    /// Ended, or was called off, after its stage had failed for another reason.
    Dropped {
        /// Whether the attempt did what it should.
        succeeded: bool,
    },
    /// It may still be at work; nobody knows.
    Lost,
}

impl StepStatus {
    /// Whether an attempt is under way.
    pub fn is_active(&self) -> bool {
        matches!(self, StepStatus::Running | StepStatus::TimingOut | StepStatus::Dropping)
    }

    /// Whether the stage may go on past the step.
    pub fn is_passed(&self) -> bool {
        matches!(
            self,
            StepStatus::Skipped | StepStatus::Succeeded | StepStatus::Ignored | StepStatus::Asserted
        )
    }
}

/// A participant's place at a barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PlaceState {
    /// Not reached.
    #[default]
    Ahead,
    /// It waits there.
    Arrived,
    /// It does not come, and that is no failure.
    Excused,
    /// The barrier opened for it.
    Crossed,
    /// It goes on although the barrier broke, because a rule or a person says so.
    Passed,
}

/// A barrier. Decided once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BarrierState {
    /// Not decided.
    Undecided {
        /// How many participants have neither arrived nor been excused.
        missing: u32,
    },
    /// Every participant has arrived or is excused.
    Open,
    /// A participant failed for good, or waited too long.
    Broken,
}

/// An approval between stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ApprovalState {
    /// Not reached.
    #[default]
    Waiting,
    /// Somebody is asked.
    Asked,
    /// Given.
    Approved,
    /// Not given.
    Rejected,
    /// It will not be asked for any more.
    Dropped,
}

/// A claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ClaimState {
    /// Whether it is held.
    pub status: ClaimStatus,
    /// How often it was asked for.
    pub turn: u32,
}

/// Whether a claim is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ClaimStatus {
    /// It is not.
    #[default]
    Free,
    /// It was asked for.
    Asked,
    /// It is.
    Held,
}

impl State {
    /// The state before the first event.
    pub fn new(plan: &Plan) -> State {
        let branch = BranchState { mode: BranchMode::Pending, part: 0, slot: false };
        let item = |item: &crate::Item| ItemState {
            branches: vec![branch.clone(); item.branches.len()],
            running: 0,
            next: 0,
            ended: 0,
            failure: None,
        };
        // Nobody waits for whom a constant condition keeps away.
        let place = |it: &crate::Place| if it.skipped { PlaceState::Excused } else { PlaceState::Ahead };
        let places: Vec<PlaceState> = plan.places.iter().map(place).collect();
        let missing = |barrier: &crate::Barrier| {
            let due = barrier.places.iter().filter(|place| places[place.index()] == PlaceState::Ahead);
            BarrierState::Undecided { missing: due.count() as u32 }
        };
        State {
            run: None,
            mode: RunMode::NotStarted,
            item: 0,
            items: plan.items.iter().map(item).collect(),
            stages: vec![
                StageState {
                    mode: StageMode::Waiting,
                    cause: None,
                    phase: None,
                    claiming: false,
                    again: false,
                    seen: Seen::default()
                };
                plan.stages.len()
            ],
            steps: vec![StepState::default(); plan.steps.len()],
            barriers: plan.barriers.iter().map(missing).collect(),
            places,
            approvals: vec![ApprovalState::default(); plan.approvals.len()],
            claims: vec![ClaimState::default(); plan.claims.len()],
            records: BTreeMap::new(),
            recording: BTreeSet::new(),
            waiting_rollbacks: BTreeSet::new(),
            rollback_told: false,
            asked_back: None,
        }
    }

    /// Whether the run has ended.
    pub fn is_finished(&self) -> bool {
        matches!(self.mode, RunMode::Finished(_))
    }

    /// How the run ended, once it has.
    pub fn outcome(&self) -> Option<RunOutcome> {
        match self.mode {
            RunMode::Finished(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// How a stage ended, once it has.
    pub fn stage_outcome(&self, stage: StageId) -> Option<StageOutcome> {
        match self.stages.get(stage.index())?.mode {
            StageMode::Ended(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Whether a person has asked for the run to be rolled back.
    pub fn was_asked_back(&self) -> bool {
        self.asked_back.is_some()
    }

    /// What a condition comes to for a stage as things are; nothing where it cannot be decided.
    pub(crate) fn decides(&self, plan: &Plan, stage: StageId, condition: crate::ConditionId) -> Option<bool> {
        plan.conditions[condition.index()].eval(&self.facts(plan, Some(stage))).ok()?.as_bool()
    }

    pub(super) fn facts<'a>(&'a self, plan: &'a Plan, stage: Option<StageId>) -> RunFacts<'a> {
        RunFacts { state: self, plan, stage }
    }
}

/// The facts that expressions may ask for, seen from one stage.
pub(super) struct RunFacts<'a> {
    state: &'a State,
    plan: &'a Plan,
    stage: Option<StageId>,
}

impl Facts for RunFacts<'_> {
    fn output(&self, step: StepId, name: &str) -> Option<Value> {
        self.state.steps.get(step.index())?.outputs.get(name).cloned()
    }

    fn run(&self, fact: RunFact) -> Option<Value> {
        let (id, by) = self.state.run.as_ref()?;
        Some(Value::Text(match fact {
            RunFact::Id => id.clone(),
            RunFact::By => by.clone(),
        }))
    }

    fn failure(&self, fact: FailureFact) -> Option<Value> {
        let cause = self.state.stages.get(self.stage?.index())?.cause.as_ref()?;
        let (step, kind, message) = cause.facts(self.plan);
        Some(Value::Text(match fact {
            FailureFact::Step => step,
            FailureFact::Kind => kind.map_or("", Kind::name).into(),
            FailureFact::Message => message,
        }))
    }
}

/// Evaluates settings or arguments.
pub(crate) fn evaluate(
    expressions: &Fields<Expr>,
    facts: &dyn Facts,
) -> Result<BTreeMap<String, Value>, crate::EvalError> {
    expressions.iter().map(|(name, expression)| Ok((name.clone(), expression.eval(facts)?))).collect()
}

/// A constant text setting, where a machine rule depends on one.
pub(super) fn constant(expressions: &Fields<Expr>, name: &str) -> Option<Value> {
    expressions.get(name)?.eval(&NoFacts).ok()
}
