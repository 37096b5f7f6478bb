//! What goes into the machine and what comes out: events, commands, and the announcements that explain them.

use crate::{
    ApprovalId, BarrierId, ClaimId, NotifyEvent, PlaceId, ServiceId, StageId, StepId, TargetId, Value,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// Why something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What was run said no.
    Application,
    /// It could not be reached.
    Connectivity,
    /// It did not accept who we are.
    Authentication,
    /// It does not let us.
    Authorization,
    /// A check found the result wanting.
    Verification,
    /// It took too long.
    Timeout,
    /// A barrier broke.
    Barrier,
    /// A person said no.
    ApprovalRejected,
    /// A rule forbids it.
    Policy,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 9] = [
        Kind::Application,
        Kind::Connectivity,
        Kind::Authentication,
        Kind::Authorization,
        Kind::Verification,
        Kind::Timeout,
        Kind::Barrier,
        Kind::ApprovalRejected,
        Kind::Policy,
    ];

    /// As the language spells it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Application => "application",
            Kind::Connectivity => "connectivity",
            Kind::Authentication => "authentication",
            Kind::Authorization => "authorization",
            Kind::Verification => "verification",
            Kind::Timeout => "timeout",
            Kind::Barrier => "barrier",
            Kind::ApprovalRejected => "approval_rejected",
            Kind::Policy => "policy",
        }
    }

    /// The kind of that name.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How an attempt failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Failure {
    /// The kind that failure rules match.
    pub kind: Kind,
    /// What happened, for people. Never holds a secret.
    pub message: String,
    /// Of a step that touches many hosts: how many failed, of how many.
    pub hosts: Option<(u32, u32)>,
}

impl Failure {
    /// A failure that has nothing to do with hosts.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Failure { kind, message: message.into(), hosts: None }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It did what it should.
    Succeeded {
        /// What it gives.
        outputs: BTreeMap<String, Value>,
    },
    /// It did not.
    Failed(Failure),
    /// It may still be working: neither its end nor its stop could be confirmed. Nobody may undo it blindly.
    Lost {
        /// What is known, for people.
        message: String,
    },
}

/// Whoever answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Person {
    /// The name.
    pub name: String,
    /// What was said besides.
    pub comment: Option<String>,
}

impl Person {
    /// The words for a rejection.
    pub(crate) fn rejected(&self) -> String {
        match &self.comment {
            Some(comment) => format!("{} rejected it: {comment}", self.name),
            None => format!("{} rejected it", self.name),
        }
    }
}

/// A person's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Of an approval: go on.
    Approve,
    /// Of an approval: do not.
    Reject,
    /// Try the step again.
    Retry,
    /// Go on; the step stands failed.
    Ignore,
    /// Count it as success.
    Succeed,
    /// Roll the stage back.
    Rollback,
    /// Stop the whole run without rollback.
    Abort,
}

/// What a question is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// A failed step, by an `ask` rule; or a step of kind `approval`.
    Step(StepId),
    /// A broken barrier, by an `ask` rule that names `barrier`.
    Place(PlaceId),
    /// An approval between stages.
    Approval(ApprovalId),
}

/// A clock that was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timer {
    /// The attempt has used up its time.
    Step(StepId, u32),
    /// The wait before that attempt is over.
    Backoff(StepId, u32),
    /// The participant has waited long enough.
    Barrier(PlaceId),
    /// Nobody has answered.
    Question(Question),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// The run begins. First, and only once.
    Started {
        /// The run's id.
        run: String,
        /// Who started it.
        by: String,
    },
    /// A driver said what the target runs now.
    Recorded {
        /// For which stage.
        stage: StageId,
        /// Where.
        target: TargetId,
        /// Of which service.
        service: Option<ServiceId>,
        /// What the provider's undo needs in order to return to it, or why that cannot be told.
        record: Result<Value, Failure>,
    },
    /// An attempt ended.
    StepEnded {
        /// Which step.
        step: StepId,
        /// Which attempt, from 1.
        attempt: u32,
        /// How.
        outcome: Outcome,
    },
    /// A clock ran out.
    TimerFired(Timer),
    /// A person answered.
    Answered {
        /// What.
        question: Question,
        /// How.
        answer: Answer,
        /// Who.
        by: String,
        /// Why.
        comment: Option<String>,
    },
    /// A claim is held from now on.
    ClaimsGranted {
        /// Which.
        claim: ClaimId,
        /// Which time it was asked for, from 1.
        turn: u32,
    },
    /// A claim is not to be had.
    ClaimsRefused {
        /// Which.
        claim: ClaimId,
        /// Which time it was asked for.
        turn: u32,
        /// Who holds what, for people.
        why: String,
    },
    /// A person stops the run without rollback.
    AbortRequested {
        /// Who.
        by: String,
    },
    /// A person stops the run and rolls it back; of a run that has ended: returns what it changed to what was there before.
    RollbackRequested {
        /// Who.
        by: String,
    },
}

/// What is to be done. A command that has an answer is answered by exactly one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Find out what the target runs; answered by [`Event::Recorded`].
    Record {
        /// For which stage.
        stage: StageId,
        /// Where.
        target: TargetId,
        /// Of which service.
        service: Option<ServiceId>,
        /// The target with its settings, evaluated.
        call: Box<Call>,
    },
    /// Start an attempt; answered by [`Event::StepEnded`].
    StartStep {
        /// Which step.
        step: StepId,
        /// Which attempt, from 1.
        attempt: u32,
        /// What to do.
        call: Box<Call>,
    },
    /// Make an attempt end soon; its [`Event::StepEnded`] still comes.
    CancelStep {
        /// Which step.
        step: StepId,
        /// Which attempt.
        attempt: u32,
    },
    /// Answered by [`Event::TimerFired`] unless it is stopped.
    StartTimer {
        /// Which.
        timer: Timer,
        /// After how long, in milliseconds.
        after: u64,
        /// Whether it runs on while no runner lives.
        clock: Clock,
    },
    /// The timer need not fire any more.
    StopTimer(Timer),
    /// Put a question to people; answered by [`Event::Answered`] or its timer.
    Ask {
        /// What.
        question: Question,
        /// Who may answer.
        group: String,
        /// Which answers there are.
        answers: Vec<Answer>,
    },
    /// The question needs no answer any more.
    Unask(Question),
    /// Take what a claim names, all of it at once; answered by [`Event::ClaimsGranted`] or [`Event::ClaimsRefused`] unless it
    /// is released before.
    AcquireClaims {
        /// Which.
        claim: ClaimId,
        /// Which time it is asked for, from 1.
        turn: u32,
        /// Whether it is waited for while others hold it.
        wait: bool,
    },
    /// The claim is needed no longer, granted or not; not answered.
    ReleaseClaims {
        /// Which.
        claim: ClaimId,
        /// Which time it was asked for.
        turn: u32,
    },
    /// Tell people; not answered.
    Notify {
        /// Names in [`crate::Plan::channels`].
        channels: Vec<String>,
        /// What about.
        event: NotifyEvent,
        /// The stage, or the whole pipeline.
        stage: Option<StageId>,
    },
    /// Something worth knowing; not answered.
    Announce(Happening),
    /// The run has ended. Last.
    Finish(RunOutcome),
}

/// Which clock a timer follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Clock {
    /// Runs on while no runner lives.
    Wall,
    /// Stands still while no runner lives.
    Runner,
}

/// A step's action with every expression evaluated: all a driver is told, beside its idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The provider that declares the step.
    pub provider: String,
    /// The step.
    pub step: String,
    /// Its arguments.
    pub arguments: BTreeMap<String, Value>,
    /// Where.
    pub target: Option<CallTarget>,
    /// What.
    pub service: Option<CallService>,
    /// For a rollback step: what the target ran before the stage's first changing step.
    pub record: Option<Value>,
    /// The files with placeholders that its arguments name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
}

/// A file whose placeholders are filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Where it was read, relative to the pipeline's module.
    pub path: String,
    /// What it says.
    pub text: String,
    /// Which parts of it, in bytes and in their order, are texts that placeholders gave: for who reads the file by a syntax, so
    /// that none of them is taken for syntax. Numbers and truth values are not among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filled: Vec<Range<usize>>,
}

impl File {
    /// Adds what a placeholder stands for.
    pub fn fill(&mut self, value: &Value) {
        let start = self.text.len();
        self.text.push_str(&value.to_string());
        if !matches!(value, Value::Bool(_) | Value::Int(_)) {
            self.filled.push(start..self.text.len());
        }
    }
}

/// A target as a driver sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallTarget {
    /// `production.region1`
    pub name: String,
    /// Its deployment type.
    pub provider: String,
    /// Its settings.
    pub settings: BTreeMap<String, Value>,
}

/// A service as a driver sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallService {
    /// `checkout`
    pub name: String,
    /// `docker_image`, `jar`, …
    pub artifact_type: String,
    /// Settings of the artifact.
    pub artifact: BTreeMap<String, Value>,
    /// Settings of the service.
    pub settings: BTreeMap<String, Value>,
    /// The files with placeholders that the settings name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<File>,
}

/// How a stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StageOutcome {
    /// It did all it should.
    Succeeded,
    /// Its condition did not hold.
    Skipped,
    /// It never started.
    NotStarted,
    /// It failed, and everything it had changed is undone.
    RolledBack,
    /// It failed, and its rollback failed too.
    RollbackFailed,
    /// It failed, and a rule left it so.
    Failed,
    /// The run was aborted while it ran.
    Aborted,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunOutcome {
    /// Everything that should happen did.
    Succeeded,
    /// It failed, and every stage that failed was rolled back.
    RolledBack,
    /// It failed, and a person has to see to what is left.
    NeedsPerson,
    /// It was aborted; nothing was rolled back.
    Aborted,
}

/// Why a stage fails or a barrier breaks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Cause {
    /// A step failed for good.
    Step(StepId, Failure),
    /// A participant waited longer than its barrier's timeout.
    Waited(PlaceId),
    /// A barrier that this stage takes part in broke.
    Barrier(BarrierId),
    /// An earlier part of the stage's lane did not succeed.
    Lane,
    /// An earlier part of the pipeline did not succeed.
    Earlier,
    /// An approval was rejected.
    Rejected(ApprovalId, Failure),
    /// What the stage does could not be evaluated, or the target's state not recorded.
    Stage(StageId, Failure),
    /// A person asked for it.
    Person(String),
    /// A rule of the pipeline, or the promise of its group, takes the whole branch back.
    Together,
}

/// What an observer is told, in the order in which it happened. Words for people come from [`crate::describe`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Happening {
    /// The run began.
    RunStarted,
    /// A stage began.
    StageStarted(StageId),
    /// A phase began (the index is into [`crate::Stage::phases`]).
    PhaseStarted(StageId, u32),
    /// An attempt began.
    StepStarted(StepId, u32),
    /// A step was skipped because of a condition, its own or one around it.
    StepSkipped(StepId),
    /// A step succeeded.
    StepSucceeded(StepId),
    /// An attempt failed.
    StepFailed {
        /// Which step.
        step: StepId,
        /// Which attempt; 0 when none was started.
        attempt: u32,
        /// How.
        failure: Failure,
        /// What follows from it.
        decision: Decision,
    },
    /// A step still ran when its stage was doomed or a sibling failed; its end changed nothing but what must be undone.
    StepDropped(StepId),
    /// A participant arrived and waits.
    BarrierArrived(PlaceId),
    /// A participant will not come and counts as arrived.
    BarrierExcused(PlaceId),
    /// Every participant has arrived.
    BarrierOpened(BarrierId),
    /// It broke, by that stage (none: by a branch without a stage).
    BarrierBroken(BarrierId, Option<StageId>, Cause),
    /// A rollback barrier was waited for too long; rollback goes on.
    BarrierGivenUp(PlaceId),
    /// A rule that names `barrier` lets the stage pass over a broken barrier.
    BarrierPassed(PlaceId, Decision),
    /// A stage fails for good.
    StageFailing(StageId, Cause, Decision),
    /// A person is asked.
    Asked(Question, String),
    /// A question was answered, by whom.
    AnsweredBy(Question, Answer, Person),
    /// Nobody answered in time.
    QuestionTimedOut(Question),
    /// A stage starts to roll back.
    RollbackStarted(StageId),
    /// A rollback step failed for good.
    RollbackFailed(StageId, StepId, Failure),
    /// A stage ended.
    StageEnded(StageId, StageOutcome),
    /// What a claim names is held from now on.
    ClaimsGranted(ClaimId),
    /// What a claim names is held by another, who is named.
    ClaimsRefused(ClaimId, String),
    /// A person stopped the run.
    AbortRequested(String),
    /// A person asked for rollback.
    RollbackRequested(String),
    /// The run ended; with what goes on after "run X".
    RunEnded(RunOutcome, &'static str),
}

/// What the rules make of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What is done.
    pub verdict: Verdict,
    /// The scope and the rule that say so; none where the default applies.
    pub rule: Option<(crate::ScopeId, u32)>,
}

/// What is done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Another attempt, after that many milliseconds.
    Retry(u64),
    /// A person decides.
    Ask,
    /// The stage goes on; the step stands failed.
    Ignore,
    /// The stage goes on as if it had succeeded.
    Succeed,
    /// The stage stops, failed.
    Fail,
    /// The run stops.
    Abort,
    /// The stage rolls back.
    Rollback,
    /// The phase rolls back.
    RollbackPhase,
}
