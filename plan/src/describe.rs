//! What happened, in words for people: the one place that puts names to the machine's announcements.

use crate::machine::State;
use crate::{
    Answer, Barrier, BarrierId, BarrierKind, Cause, ClaimId, Decision, Failure, FailureFact, Happening, Kind,
    Person, Plan, Question, RunOutcome, StageId, StageOutcome, Verdict, format_duration,
};
use std::borrow::Cow;
use std::collections::BTreeMap;

impl Cause {
    /// What `failure.step`, `failure.kind` and `failure.message` say of it. Of what was no failure of the stage itself there is no
    /// kind.
    pub fn facts(&self, plan: &Plan) -> (String, Option<Kind>, String) {
        match self {
            Cause::Step(step, failure) => {
                (plan.steps[step.index()].name.clone(), Some(failure.kind), failure.message.clone())
            }
            Cause::Waited(place) => {
                let place = &plan.places[place.index()];
                let time = format_duration(place.timeout.unwrap_or_default());
                (place.name.clone(), Some(Kind::Barrier), format!("it waited longer than {time}"))
            }
            Cause::Barrier(barrier) => {
                let name = plan.barriers[barrier.index()].name.clone();
                let message = format!("barrier `{name}` is broken");
                (name, Some(Kind::Barrier), message)
            }
            Cause::Lane => (String::new(), None, "an earlier part of its lane failed".into()),
            Cause::Earlier => (String::new(), None, "an earlier part of the pipeline failed".into()),
            Cause::Rejected(approval, failure) => {
                (plan.approvals[approval.index()].name.clone(), Some(failure.kind), failure.message.clone())
            }
            Cause::Stage(stage, failure) => {
                (plan.stages[stage.index()].name.clone(), Some(failure.kind), failure.message.clone())
            }
            Cause::Person(by) => (String::new(), None, format!("{by} asked for it")),
            Cause::Together => (String::new(), None, "the other parts of the run failed".into()),
        }
    }

    /// As a failure, which rules of the pipeline tell from others by its kind.
    pub(crate) fn failure(&self, plan: &Plan) -> Failure {
        let (_, kind, message) = self.facts(plan);
        Failure::new(kind.unwrap_or(Kind::Application), message)
    }

    /// Why, in a few words that go on after "because".
    pub fn describe(&self, plan: &Plan) -> String {
        let (name, kind, message) = self.facts(plan);
        let kind = kind.map_or("", Kind::name);
        match self {
            Cause::Step(..) => format!("{name} failed ({kind}): {message}"),
            Cause::Stage(..) => format!("stage {name} failed ({kind}): {message}"),
            Cause::Waited(_) => format!("{name} was waited at too long: {message}"),
            Cause::Rejected(..) => format!("approval {name} was not given: {message}"),
            Cause::Barrier(_) | Cause::Lane | Cause::Earlier | Cause::Person(_) | Cause::Together => message,
        }
    }
}

impl Decision {
    /// What follows, and which rule says so.
    pub fn describe(&self, plan: &Plan) -> String {
        let what = match self.verdict {
            Verdict::Retry(wait) => format!("trying again in {}", format_duration(wait)),
            Verdict::Ask => "asking a person".into(),
            Verdict::Ignore => "ignored".into(),
            Verdict::Succeed => "counted as success".into(),
            Verdict::Fail => "left as it is".into(),
            Verdict::Abort => "aborting the run".into(),
            Verdict::Rollback => "rolling back".into(),
            Verdict::RollbackPhase => "rolling back the phase".into(),
        };
        match self.rule {
            Some((scope, at)) => match plan.scopes.get(scope.index()) {
                Some(scope) => format!("{what} (rule {} of {})", at + 1, scope.owner),
                None => what,
            },
            None => what,
        }
    }
}

/// The name of what a question is about, as `dsl answer` takes it.
pub fn question_name(plan: &Plan, question: Question) -> &str {
    match question {
        Question::Step(step) => &plan.steps[step.index()].name,
        Question::Place(place) => &plan.places[place.index()].name,
        Question::Approval(approval) => &plan.approvals[approval.index()].name,
    }
}

impl Plan {
    /// What tells a barrier from all others of the plan: its name, or `group/name` where the name alone could mean two; outside any
    /// group `stage/name`.
    pub fn barrier_name(&self, id: BarrierId) -> Cow<'_, str> {
        let barrier = &self.barriers[id.index()];
        let alike = |other: &Barrier| other.name == barrier.name;
        let shared = self.barriers.iter().filter(|other| alike(other)).nth(1).is_some();
        if shared { self.full_barrier_name(barrier).into() } else { Cow::Borrowed(&barrier.name) }
    }

    /// [`Plan::barrier_name`] of each, in the plan's order.
    pub fn barrier_names(&self) -> Vec<String> {
        let mut count: BTreeMap<&str, u32> = BTreeMap::new();
        for barrier in &self.barriers {
            *count.entry(&barrier.name).or_default() += 1;
        }
        let name = |barrier: &Barrier| match count[barrier.name.as_str()] {
            1 => barrier.name.clone(),
            _ => self.full_barrier_name(barrier),
        };
        self.barriers.iter().map(name).collect()
    }

    fn full_barrier_name(&self, barrier: &Barrier) -> String {
        let stage = || Some(&self.stages[self.places[barrier.places.first()?.index()].stage?.index()].name);
        match self.items[barrier.item.index()].group {
            Some(group) => format!("{}/{}", group.number, barrier.name),
            None => stage().map_or_else(|| barrier.name.clone(), |stage| format!("{stage}/{}", barrier.name)),
        }
    }
}

/// What a claim names, in a few words: `checkout on production.region1, 2 permits of deploys`.
pub fn claim_text(plan: &Plan, claim: ClaimId) -> String {
    const SHOWN: usize = 4;
    let claim = &plan.claims[claim.index()];
    let targets = claim.targets.iter().map(|held| {
        let target = &plan.targets[held.target.index()].name;
        match held.service {
            Some(service) => format!("{} on {target}", plan.services[service.index()].name),
            None => target.clone(),
        }
    });
    let uses = claim.uses.iter().map(|it| match it.permits {
        1 => it.resource.clone(),
        permits => format!("{permits} permits of {}", it.resource),
    });
    let mut words: Vec<String> = Vec::new();
    for word in targets.chain(uses) {
        // Several services of one name may be one on a target.
        if !words.contains(&word) {
            words.push(word);
        }
    }
    let more = words.len().saturating_sub(SHOWN);
    words.truncate(SHOWN);
    match more {
        0 => words.join(", "),
        more => format!("{} and {more} more", words.join(", ")),
    }
}

impl StageOutcome {
    /// As output forms spell it.
    pub fn name(self) -> &'static str {
        match self {
            StageOutcome::Succeeded => "succeeded",
            StageOutcome::Skipped => "skipped",
            StageOutcome::NotStarted => "not_started",
            StageOutcome::RolledBack => "rolled_back",
            StageOutcome::RollbackFailed => "rollback_failed",
            StageOutcome::Failed => "failed",
            StageOutcome::Aborted => "aborted",
        }
    }
}

impl RunOutcome {
    /// As output forms spell it.
    pub fn name(self) -> &'static str {
        match self {
            RunOutcome::Succeeded => "succeeded",
            RunOutcome::RolledBack => "rolled_back",
            RunOutcome::NeedsPerson => "needs_person",
            RunOutcome::Aborted => "aborted",
        }
    }
}

impl State {
    /// What goes on after "run X", once it has ended.
    pub fn phrase(&self) -> Option<&'static str> {
        Some(self.phrase_of(self.outcome()?))
    }

    /// Of a run of which nothing had been begun when it failed, or only what had succeeded and stays, nobody should read that
    /// it was rolled back; of one that a person has taken back, that it failed.
    pub(crate) fn phrase_of(&self, outcome: RunOutcome) -> &'static str {
        let any = |wanted| {
            let mut stages = (0..self.stages.len()).map(|index| self.stage_outcome(StageId(index as u32)));
            stages.any(|it| it == Some(wanted))
        };
        match outcome {
            RunOutcome::Succeeded => "succeeded",
            RunOutcome::RolledBack if self.was_asked_back() => "was rolled back",
            RunOutcome::RolledBack if any(StageOutcome::RolledBack) => "failed and was rolled back",
            RunOutcome::RolledBack if any(StageOutcome::Succeeded) => "failed, and what had succeeded stays",
            RunOutcome::RolledBack => "failed, with nothing to roll back",
            RunOutcome::NeedsPerson => "failed and needs a person",
            RunOutcome::Aborted => "was aborted",
        }
    }
}

impl Answer {
    /// As `dsl answer` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Answer::Approve => "approve",
            Answer::Reject => "reject",
            Answer::Retry => "retry",
            Answer::Ignore => "ignore",
            Answer::Succeed => "succeed",
            Answer::Rollback => "rollback",
            Answer::Abort => "abort",
        }
    }

    /// The answer of that name.
    pub fn from_name(name: &str) -> Option<Answer> {
        use Answer::{Abort, Approve, Ignore, Reject, Retry, Rollback, Succeed};
        [Approve, Reject, Retry, Ignore, Succeed, Rollback, Abort]
            .into_iter()
            .find(|answer| answer.name() == name)
    }
}

impl FailureFact {
    /// As the language spells it.
    pub fn name(self) -> &'static str {
        match self {
            FailureFact::Step => "failure.step",
            FailureFact::Kind => "failure.kind",
            FailureFact::Message => "failure.message",
        }
    }
}

impl Happening {
    /// The stage it belongs to, where there is one.
    pub fn stage<'a>(&self, plan: &'a Plan) -> Option<&'a str> {
        let stage = match self {
            Happening::StageStarted(stage)
            | Happening::PhaseStarted(stage, _)
            | Happening::StageFailing(stage, ..)
            | Happening::RollbackStarted(stage)
            | Happening::RollbackFailed(stage, ..)
            | Happening::StageEnded(stage, _) => *stage,
            Happening::StepStarted(step, _)
            | Happening::StepSkipped(step)
            | Happening::StepSucceeded(step)
            | Happening::StepDropped(step)
            | Happening::StepFailed { step, .. } => plan.steps[step.index()].stage,
            Happening::BarrierArrived(place)
            | Happening::BarrierExcused(place)
            | Happening::BarrierGivenUp(place)
            | Happening::BarrierPassed(place, _) => plan.places[place.index()].stage?,
            Happening::BarrierBroken(_, stage, _) => (*stage)?,
            Happening::Asked(question, _)
            | Happening::AnsweredBy(question, ..)
            | Happening::QuestionTimedOut(question) => match question {
                Question::Step(step) => plan.steps[step.index()].stage,
                Question::Place(place) => plan.places[place.index()].stage?,
                Question::Approval(_) => return None,
            },
            Happening::ClaimsGranted(claim) | Happening::ClaimsRefused(claim, _) => {
                match plan.claims[claim.index()].stages[..] {
                    [stage] => stage,
                    _ => return None,
                }
            }
            Happening::RunStarted
            | Happening::BarrierOpened(_)
            | Happening::AbortRequested(_)
            | Happening::RollbackRequested(_)
            | Happening::RunEnded(..) => return None,
        };
        Some(&plan.stages[stage.index()].name)
    }

    /// The step, barrier place or approval it is about, where there is one, as options and events name it.
    pub fn subject<'a>(&self, plan: &'a Plan) -> Option<Cow<'a, str>> {
        Some(Cow::Borrowed(match self {
            Happening::StepStarted(step, _)
            | Happening::StepSkipped(step)
            | Happening::StepSucceeded(step)
            | Happening::StepDropped(step)
            | Happening::RollbackFailed(_, step, _)
            | Happening::StepFailed { step, .. } => &plan.steps[step.index()].name,
            Happening::BarrierArrived(place)
            | Happening::BarrierExcused(place)
            | Happening::BarrierGivenUp(place)
            | Happening::BarrierPassed(place, _) => &plan.places[place.index()].name,
            Happening::BarrierOpened(barrier) | Happening::BarrierBroken(barrier, ..) => {
                return Some(plan.barrier_name(*barrier));
            }
            Happening::Asked(question, _)
            | Happening::AnsweredBy(question, ..)
            | Happening::QuestionTimedOut(question) => question_name(plan, *question),
            _ => return None,
        }))
    }

    /// A stable word for it, for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Happening::RunStarted => "run_started",
            Happening::StageStarted(_) => "stage_started",
            Happening::PhaseStarted(..) => "phase_started",
            Happening::StepStarted(..) => "step_started",
            Happening::StepSkipped(_) => "step_skipped",
            Happening::StepSucceeded(_) => "step_succeeded",
            Happening::StepFailed { .. } => "step_failed",
            Happening::StepDropped(_) => "step_dropped",
            Happening::BarrierArrived(_) => "barrier_arrived",
            Happening::BarrierExcused(_) => "barrier_excused",
            Happening::BarrierOpened(_) => "barrier_opened",
            Happening::BarrierBroken(..) => "barrier_broken",
            Happening::BarrierGivenUp(_) => "barrier_given_up",
            Happening::BarrierPassed(..) => "barrier_passed",
            Happening::StageFailing(..) => "stage_failing",
            Happening::Asked(..) => "asked",
            Happening::AnsweredBy(..) => "answered",
            Happening::QuestionTimedOut(_) => "question_timed_out",
            Happening::RollbackStarted(_) => "rollback_started",
            Happening::RollbackFailed(..) => "rollback_failed",
            Happening::StageEnded(..) => "stage_ended",
            Happening::ClaimsGranted(_) => "claims_granted",
            Happening::ClaimsRefused(..) => "claims_refused",
            Happening::AbortRequested(_) => "abort_requested",
            Happening::RollbackRequested(_) => "rollback_requested",
            Happening::RunEnded(..) => "run_ended",
        }
    }

    /// One line for people, without the stage's name in front.
    pub fn describe(&self, plan: &Plan) -> String {
        let subject = self.subject(plan).unwrap_or_default();
        match self {
            Happening::RunStarted => format!("pipeline {} started", plan.pipeline),
            Happening::StageStarted(_) => "started".into(),
            Happening::PhaseStarted(stage, phase) => {
                format!("phase {}", plan.stages[stage.index()].phases[*phase as usize].name)
            }
            Happening::StepStarted(_, 1) => format!("{subject} started"),
            Happening::StepStarted(_, attempt) => format!("{subject} started (attempt {attempt})"),
            Happening::StepSkipped(_) => format!("{subject} skipped"),
            Happening::StepSucceeded(_) => format!("{subject} succeeded"),
            Happening::StepFailed { failure, decision, .. } => {
                let decision = decision.describe(plan);
                format!("{subject} failed ({}): {}; {decision}", failure.kind, failure.message)
            }
            Happening::StepDropped(_) => format!("{subject} has ended; its stage had been stopped"),
            Happening::BarrierArrived(_) => format!("waits at {subject}"),
            Happening::BarrierExcused(_) => format!("{subject} skipped, counts as arrived"),
            // Who does not roll back does not come, and who has waited too long has gone on.
            Happening::BarrierOpened(barrier)
                if plan.barriers[barrier.index()].kind == BarrierKind::Rollback =>
            {
                format!("barrier {subject} opened: nobody else is waited for")
            }
            Happening::BarrierOpened(_) => format!("barrier {subject} opened: everybody has arrived"),
            Happening::BarrierBroken(_, _, cause) => {
                format!("barrier {subject} broken: {}", cause.describe(plan))
            }
            Happening::BarrierGivenUp(_) => format!("waited too long at {subject}; rollback goes on"),
            Happening::BarrierPassed(_, decision) => {
                format!("passes the broken {subject}: {}", decision.describe(plan))
            }
            // It did nothing wrong.
            Happening::StageFailing(_, cause @ (Cause::Person(_) | Cause::Together), decision) => {
                format!("stops because {}; {}", cause.describe(plan), decision.describe(plan))
            }
            // No step of it failed.
            Happening::StageFailing(stage, Cause::Stage(failed, failure), decision) if stage == failed => {
                format!("fails ({}): {}; {}", failure.kind, failure.message, decision.describe(plan))
            }
            Happening::StageFailing(_, cause, decision) => {
                format!("fails because {}; {}", cause.describe(plan), decision.describe(plan))
            }
            Happening::Asked(_, group) => format!("{subject} waits for an answer of {group}"),
            Happening::AnsweredBy(_, answer, Person { name, comment }) => {
                let comment = comment.as_ref().map(|comment| format!(": {comment}")).unwrap_or_default();
                format!("{subject}: {name} answered {}{comment}", answer.name())
            }
            Happening::QuestionTimedOut(_) => format!("{subject}: nobody answered in time"),
            Happening::RollbackStarted(_) => "rollback started".into(),
            Happening::RollbackFailed(_, _, failure) => {
                format!("rollback stopped: {subject} failed ({}): {}", failure.kind, failure.message)
            }
            Happening::StageEnded(_, outcome) => outcome.name().replace('_', " "),
            Happening::ClaimsGranted(claim) => format!("holds {}", claim_text(plan, *claim)),
            Happening::ClaimsRefused(claim, why) => {
                format!("does not get {}: {why}", claim_text(plan, *claim))
            }
            Happening::AbortRequested(by) => format!("{by} aborts the run"),
            Happening::RollbackRequested(by) => format!("{by} rolls the run back"),
            Happening::RunEnded(_, phrase) => format!("run {phrase}"),
        }
    }
}
