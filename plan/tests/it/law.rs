//! What the law says of stages on their way forward, tried in every execution of small plans.

use crate::build::{Builder, Shape, ask, retry, rule};
use crate::explore::{Adversary, Explored, explore};
use lockstep_plan::machine::{ApprovalState, State, StepStatus, step};
use lockstep_plan::*;

const PLAIN: Shape = Shape { max: None, promise: false };
const PROMISE: Shape = Shape { max: None, promise: true };

fn failing(failures: u32) -> Adversary {
    Adversary { kinds: vec![Kind::Application], failures, ..Adversary::default() }
}

fn everything(failures: u32) -> Adversary {
    Adversary {
        kinds: vec![Kind::Application],
        shares: Vec::new(),
        failures,
        timeouts: true,
        person: true,
        lost: true,
        records: true,
        rollbacks: true,
        afterwards: false,
    }
}

fn ends_with(explored: &Explored, stages: &[StageOutcome]) -> bool {
    explored.ends.iter().any(|(_, ends)| ends == stages)
}

/// Every kind of thing that a doomed stage can be in the middle of.
#[test]
fn doom_finds_stages_in_every_state() {
    let rules = [rule(&[], retry(1, ask(Reaction::Rollback)))];
    for words in ["x! |all", "x~ |all", "@x |all", "x!&y~ |all", "x! |all y!"] {
        let plan = Builder::default()
            .group(PLAIN, &[&[("a", words, &rules)], &[("b", "u |all", &[]), ("c", "z", &[])]])
            .done();
        let explored = explore(&plan, &failing(2));
        assert!(explored.ends.iter().any(|(run, _)| *run == RunOutcome::Succeeded), "{words}");
        let doomed = (
            RunOutcome::RolledBack,
            vec![StageOutcome::RolledBack, StageOutcome::RolledBack, StageOutcome::NotStarted],
        );
        assert!(explored.ends.contains(&doomed), "{words}: {:?}", explored.ends);
    }
}

#[test]
fn the_adversary_may_do_everything_at_once() {
    let rules = [rule(&[Kind::Application], retry(1, ask(Reaction::Rollback)))];
    let groups: [&[&[(&str, &str, &[Rule])]]; 3] = [
        &[&[("a", "x! |all", &rules), ("@go", "", &[])], &[("b", "@y |all w!", &[])]],
        &[&[("a", "x!&y! |all", &[])], &[("@go", "", &[]), ("b", "z~ |all", &[])]],
        &[&[("a", "x!", &rules), ("c", "|all y!", &[])], &[("b", "|all", &[])]],
    ];
    for group in groups {
        for shape in [PLAIN, PROMISE, Shape { max: Some(2), promise: true }] {
            explore(&Builder::default().group(shape, group).done(), &everything(2));
        }
    }
}

/// "A stage that will not start because an earlier item of its lane failed or was rejected counts as failed at that moment."
#[test]
fn barriers_of_later_stages_of_a_lane_break_when_an_approval_is_rejected() {
    let plan = Builder::default()
        .group(PLAIN, &[&[("@go", "", &[]), ("a", "x! |all", &[])], &[("b", "y! |all", &[])]])
        .done();
    let explored = explore(&plan, &failing(0));
    assert!(ends_with(&explored, &[StageOutcome::NotStarted, StageOutcome::RolledBack]));
    assert!(ends_with(&explored, &[StageOutcome::Succeeded, StageOutcome::Succeeded]));
    assert_eq!(explored.ends.len(), 2, "{:?}", explored.ends);
}

/// "A stage that has not started never starts": nobody is asked to let it start either.
#[test]
fn nobody_is_asked_to_let_a_doomed_stage_start() {
    for shape in [PLAIN, PROMISE] {
        let first: &[(&str, &str, &[Rule])] = &[("b", "y!", &[]), ("c", "y! |all", &[])];
        let lane: &[(&str, &str, &[Rule])] = &[("@go", "", &[]), ("a", "x! |all", &[])];
        let later: &[(&str, &str, &[Rule])] = &[("s", "x", &[]), ("@go", "", &[]), ("a", "x! |all", &[])];
        for lane in [lane, later] {
            let plan = Builder::default().group(shape, &[first, lane]).done();
            let explored = explore(&plan, &failing(1));
            // The explorer sees to it that nobody is asked in vain; here, that both happens.
            let ended = |how| explored.finals.iter().any(|(state, _)| state.approvals[0] == how);
            assert!(ended(ApprovalState::Dropped) && ended(ApprovalState::Approved));
        }
    }
}

/// A branch without a stage, doomed before it got a slot, ends.
#[test]
fn branches_that_never_got_a_slot_end_with_their_group() {
    let shape = Shape { max: Some(1), promise: true };
    let plan = Builder::default()
        .group(shape, &[&[("a", "x!", &[])], &[("@go", "", &[])], &[], &[("@on", "", &[]), ("b", "y!", &[])]])
        .done();
    let explored = explore(&plan, &Adversary { person: true, ..failing(1) });
    assert!(ends_with(&explored, &[StageOutcome::RolledBack, StageOutcome::NotStarted]));
    assert!(ends_with(&explored, &[StageOutcome::Succeeded, StageOutcome::Succeeded]));
}

/// "`all_or_nothing`: a skipped branch counts as arrived"; "excused: its stage was skipped".
#[test]
fn skipped_and_empty_branches_hold_nobody_up() {
    for shape in [PLAIN, PROMISE, Shape { max: Some(1), promise: true }] {
        let words = if shape.max.is_some() { ["x!", "y!"] } else { ["x! |all", "y! |all"] };
        let mut plan =
            Builder::default().group(shape, &[&[("a", words[0], &[])], &[("b", words[1], &[])], &[]]).done();
        plan.conditions.push(Expr::Value(Value::Bool(false)));
        plan.stages[1].when = vec![ConditionId(plan.conditions.len() as u32 - 1)];
        let explored = explore(&plan, &failing(1));
        let ends: Vec<_> = explored.ends.iter().map(|(_, ends)| ends.clone()).collect();
        assert!(ends.contains(&vec![StageOutcome::Succeeded, StageOutcome::Skipped]), "{ends:?}");
        assert!(ends.iter().all(|ends| ends[0] != StageOutcome::NotStarted), "{ends:?}");
    }
}

/// "a branch holds its slot until it ends, or waits at `commit`; rollback needs none."
#[test]
fn slots_are_given_back_at_commit_and_when_a_branch_fails() {
    for (promise, words) in [(false, "x!"), (true, "x!"), (false, "x!&z!")] {
        let shape = Shape { max: Some(1), promise };
        let plan = Builder::default().group(shape, &[&[("a", words, &[])], &[("b", "y!", &[])]]).done();
        let (mut waited, mut seen) = (false, false);
        for (_, told) in &explore(&plan, &failing(1)).finals {
            let at = |wanted: Happening| told.iter().position(|happening| *happening == wanted);
            let Some(b) = at(Happening::StageStarted(StageId(1))) else { continue };
            // Never before the first has ended, waits at commit, or goes back: while something of it runs to its end it
            // is none of these.
            let free = told[..b].iter().any(|happening| match happening {
                Happening::StageEnded(stage, _) | Happening::RollbackStarted(stage) => *stage == StageId(0),
                _ => false,
            });
            assert!(free, "{told:?}");
            waited |= at(Happening::RollbackStarted(StageId(0))).is_some_and(|back| back < b)
                || at(Happening::StageEnded(StageId(0), StageOutcome::RolledBack)).is_none_or(|end| b < end);
            seen = true;
        }
        assert!(seen && waited);
    }
}

/// "it may still be working … the stage ends `rollback_failed` and is not undone blindly": even where a person was to be
/// asked first, and the lane does not go on.
#[test]
fn a_lost_step_ends_its_stage_and_its_lane() {
    let named = [rule(&[Kind::Barrier], ask(Reaction::Ignore))];
    let plan = Builder::default()
        .group(
            PLAIN,
            &[
                &[("a", "x! |all", &named), ("c", "z!", &[])],
                &[("b", "y |all", &[])],
                &[("d", "u! v!&w!", &[])],
            ],
        )
        .done();
    let explored = explore(&plan, &Adversary { lost: true, ..failing(2) });
    for (state, _) in &explored.finals {
        if state.outcome() == Some(RunOutcome::Aborted) {
            continue;
        }
        let lost = |stage: u32| {
            let lost = |step: &(&Step, &machine::StepState)| {
                step.0.stage == StageId(stage) && step.1.status == StepStatus::Lost
            };
            plan.steps.iter().zip(&state.steps).any(|step| lost(&step))
        };
        if lost(0) {
            assert_eq!(state.stage_outcome(StageId(0)), Some(StageOutcome::RollbackFailed));
            assert_eq!(state.stage_outcome(StageId(1)), Some(StageOutcome::NotStarted));
        }
        if lost(3) {
            assert_eq!(state.stage_outcome(StageId(3)), Some(StageOutcome::RollbackFailed));
        }
    }
}

/// "back-off, ask, approval, `wait` … are cancelled at once": and taken up again when a person lets the stage go on.
#[test]
fn what_doom_cut_short_is_done_after_all_when_a_person_passes_over_the_barrier() {
    let named = [rule(&[Kind::Barrier], ask(Reaction::Ignore)), rule(&[], retry(1, Reaction::Rollback))];
    for words in ["x~ |all", "x! |all", "@x |all", "x!&y~ |all", "x |all"] {
        let plan =
            Builder::default().group(PLAIN, &[&[("a", words, &named)], &[("b", "u |all", &[])]]).done();
        let explored = explore(&plan, &failing(2));
        for (state, told) in &explored.finals {
            let passed = told.iter().any(|it| matches!(it, Happening::BarrierPassed(..)));
            let failed = |it: &Happening| match it {
                Happening::StepFailed { step, .. } => plan.steps[step.index()].stage == StageId(0),
                _ => false,
            };
            let failures = told.iter().filter(|it| failed(it)).count();
            let answered = told.iter().any(|it| matches!(it, Happening::AnsweredBy(_, Answer::Reject, _)));
            // One real failure is retried; being cut short is none.
            if passed && failures == 0 && !answered {
                let outcome = state.stage_outcome(StageId(0));
                assert_eq!(outcome, Some(StageOutcome::Succeeded), "{words}: {told:#?}");
            }
        }
        assert!(ends_with(&explored, &[StageOutcome::Succeeded, StageOutcome::RolledBack]), "{words}");
    }
}

/// "Each attempt matches the rules afresh; retry counts belong to rule × step."
#[test]
fn retry_counts_belong_to_rule_and_step() {
    let rules = [
        rule(&[Kind::Connectivity], retry(2, Reaction::Rollback)),
        rule(&[Kind::Timeout], retry(1, Reaction::Rollback)),
    ];
    let plan = Builder::default().group(PLAIN, &[&[("a", "x&y", &rules)]]).done();
    let kinds = vec![Kind::Connectivity, Kind::Timeout];
    let explored = explore(&plan, &Adversary { kinds, ..failing(7) });
    // Two of one kind and one of the other are carried; the fourth failure ends it, for each step by itself.
    let most = |step: usize| explored.finals.iter().map(|(state, _)| state.steps[step].attempts).max();
    assert_eq!((most(0), most(1)), (Some(4), Some(4)));
    let succeeded = |attempts: u32| {
        explored.finals.iter().any(|(state, _)| {
            state.steps.iter().all(|step| step.attempts == attempts && step.status == StepStatus::Succeeded)
        })
    };
    assert!(succeeded(4) && succeeded(1));
}

/// "innermost scope, first match"; "`under N%` compares strictly".
#[test]
fn the_innermost_scope_and_the_first_match_win() {
    let under = |percent| Rule { under: Some(percent), ..rule(&[], Reaction::Ignore) };
    let mut plan = Builder::default()
        .group(PLAIN, &[&[("a", "x!", &[under(20), rule(&[Kind::Application], Reaction::Fail)])]])
        .done();
    plan.scopes.push(Scope {
        owner: "step x".into(),
        rules: vec![rule(&[Kind::Timeout], Reaction::Succeed), rule(&[], Reaction::Ignore)],
    });
    let ends = |plan: &Plan, kind: Kind, hosts: Option<(u32, u32)>| {
        let mut state = machine::State::new(plan);
        machine::step(plan, &mut state, Event::Started { run: "r".into(), by: "b".into() });
        let (stage, target) = (StageId(0), TargetId(0));
        let record = Ok(Value::Bool(true));
        machine::step(plan, &mut state, Event::Recorded { stage, target, service: None, record });
        let outcome = Outcome::Failed(Failure { kind, message: String::new(), hosts });
        machine::step(plan, &mut state, Event::StepEnded { step: StepId(0), attempt: 1, outcome });
        (state.steps[0].status.clone(), state.stage_outcome(StageId(0)))
    };
    let failed = (StepStatus::Failed, Some(StageOutcome::Failed));
    let ignored = (StepStatus::Ignored, Some(StageOutcome::Succeeded));
    assert_eq!(ends(&plan, Kind::Application, Some((2, 10))), failed);
    assert_eq!(ends(&plan, Kind::Application, Some((1, 10))), ignored);
    assert_eq!(ends(&plan, Kind::Application, None), failed);
    plan.steps[0].scopes.insert(0, ScopeId(1));
    assert_eq!(ends(&plan, Kind::Application, Some((2, 10))), ignored);
    assert_eq!(ends(&plan, Kind::Timeout, None), (StepStatus::Asserted, Some(StageOutcome::Succeeded)));
}

/// "For kind `barrier`, `retry` goes straight to its `then`", and a rule that does not name it passes over nothing.
#[test]
fn retry_of_a_broken_barrier_goes_straight_to_what_follows() {
    for (kinds, passes) in [(vec![Kind::Barrier], true), (vec![], false)] {
        let rules = [rule(&kinds, retry(3, Reaction::Succeed))];
        let plan =
            Builder::default().group(PLAIN, &[&[("a", "x! |all", &rules)], &[("b", "y |all", &[])]]).done();
        let explored = explore(&plan, &failing(1));
        let mixed = ends_with(&explored, &[StageOutcome::Succeeded, StageOutcome::RolledBack]);
        assert_eq!(mixed, passes, "{:?}", explored.ends);
    }
}

/// "In such a group … `ask` offers retry, rollback and, for steps that change nothing, ignore and succeed."
#[test]
fn questions_in_a_promise_offer_what_keeps_it() {
    let rules = [rule(&[], ask(Reaction::Rollback))];
    for (shape, words, offered) in [
        (PROMISE, "x!", vec![Answer::Retry, Answer::Rollback]),
        (PROMISE, "x", vec![Answer::Retry, Answer::Ignore, Answer::Succeed, Answer::Rollback]),
    ] {
        let plan = Builder::default().group(shape, &[&[("a", words, &rules)], &[("b", "y!", &[])]]).done();
        let explored = explore(&plan, &failing(1));
        let given: std::collections::BTreeSet<Answer> = explored
            .finals
            .iter()
            .flat_map(|(_, told)| told)
            .filter_map(|it| match it {
                Happening::AnsweredBy(_, answer, _) => Some(*answer),
                _ => None,
            })
            .collect();
        let offered: Vec<Answer> = offered.into_iter().filter(|answer| *answer != Answer::Retry).collect();
        assert_eq!(given.into_iter().collect::<Vec<_>>(), offered);
        assert!(explored.ends.iter().all(|(run, _)| *run != RunOutcome::NeedsPerson), "{:?}", explored.ends);
    }
}

/// A person is told of that wants to be told.
#[test]
fn whoever_wants_to_know_of_waiting_is_told_of_every_question() {
    let rules = [rule(&[], ask(Reaction::Rollback))];
    let mut plan = Builder::default()
        .group(PLAIN, &[&[("@go", "", &[]), ("a", "@y x |all", &rules)], &[("b", "z |all", &[])]])
        .done();
    let notify =
        |channel: &str| Notify { channels: vec![channel.into()], events: vec![NotifyEvent::Waiting] };
    plan.notifies.push(notify("pipeline"));
    plan.stages[0].notifies.push(notify("stage"));
    let mut state = machine::State::new(&plan);
    let told = |commands: &[Command]| -> Vec<String> {
        let channels = commands.iter().filter_map(|command| match command {
            Command::Notify { channels, event: NotifyEvent::Waiting, .. } => Some(channels.join(" ")),
            _ => None,
        });
        channels.collect()
    };
    let answer = |question, answer| Event::Answered { question, answer, by: "p".into(), comment: None };
    let mut step = |event| machine::step(&plan, &mut state, event);
    assert_eq!(told(&step(Event::Started { run: "r".into(), by: "b".into() })), ["pipeline"]);
    let approve = answer(Question::Approval(ApprovalId(0)), Answer::Approve);
    assert_eq!(told(&step(approve)), ["stage", "pipeline"]);
    assert!(told(&step(answer(Question::Step(StepId(0)), Answer::Approve))).is_empty());
    let outcome = Outcome::Failed(Failure::new(Kind::Application, "no"));
    assert_eq!(told(&step(Event::StepEnded { step: StepId(1), attempt: 1, outcome })), ["stage", "pipeline"]);
}

/// However long a lane is, its end is no deep recursion; however many wait, nobody is looked at more often than needed.
#[test]
fn long_lanes_end_without_nesting() {
    let names: Vec<String> = (0..20_000).map(|number| format!("s{number}")).collect();
    let lane: Vec<(&str, &str, &[Rule])> =
        names.iter().map(|name| (name.as_str(), "x", [].as_slice())).collect();
    for shape in [PLAIN, PROMISE] {
        let plan = Builder::default().group(shape, &[&lane, &[("b", "y", &[])]]).done();
        let fail = [(StepId(0), Kind::Application)].into();
        let end = simulate(&plan, &Scenario { fail, ..Scenario::default() }).state;
        assert_eq!(end.stage_outcome(StageId(0)), Some(StageOutcome::RolledBack));
        assert_eq!(end.stage_outcome(StageId(19_999)), Some(StageOutcome::NotStarted));
    }
}

/// A person who is asked in a simulation tries again once: what is chosen to fail would be tried for ever.
#[test]
fn a_simulated_person_does_not_try_again_for_ever() {
    let rules = [rule(&[], ask(Reaction::Fail))];
    let plan = Builder::default().group(PLAIN, &[&[("a", "x!", &rules)]]).done();
    let fail = [(StepId(0), Kind::Application)].into();
    let answers = [(Question::Step(StepId(0)), Answer::Retry)].into();
    let end = simulate(&plan, &Scenario { fail, answers, ..Scenario::default() });
    assert_eq!(end.state.steps[0].attempts, 2);
    assert_eq!(end.outcome, Some(RunOutcome::NeedsPerson));
}

/// A step without anything around it, up to where its first attempt runs.
fn begun(plan: &Plan) -> (State, StepId) {
    let mut state = State::new(plan);
    step(plan, &mut state, Event::Started { run: "run".into(), by: "test".into() });
    let x = plan.step_named("a.p1.x").expect("the step");
    assert_eq!(state.steps[x.index()].status, StepStatus::Running);
    (state, x)
}

/// "A timeout cancels the attempt; the failure counts when the driver confirms that the work has stopped"; "`under N%`
/// compares all failed hosts of the step, strictly": also those on which there was no time left.
#[test]
fn a_timeout_counts_once_it_is_confirmed_and_keeps_its_hosts() {
    for (failed, ends) in [(1, StageOutcome::Succeeded), (2, StageOutcome::RolledBack)] {
        let rules = [Rule { under: Some(20), ..rule(&[Kind::Timeout], Reaction::Ignore) }];
        let plan = Builder::default().group(PLAIN, &[&[("a", "x", &rules)]]).done();
        let (mut state, x) = begun(&plan);
        let commands = step(&plan, &mut state, Event::TimerFired(Timer::Step(x, 1)));
        assert_eq!(commands, [Command::CancelStep { step: x, attempt: 1 }]);
        assert_eq!(state.stage_outcome(StageId(0)), None);
        let failure =
            Failure { hosts: Some((failed, 10)), ..Failure::new(Kind::Application, "it was stopped") };
        let outcome = Outcome::Failed(failure);
        step(&plan, &mut state, Event::StepEnded { step: x, attempt: 1, outcome });
        let failure = state.steps[x.index()].failure.clone().expect("it failed");
        assert_eq!((failure.kind, failure.hosts), (Kind::Timeout, Some((failed, 10))));
        assert_eq!(state.stage_outcome(StageId(0)), Some(ends));
    }
}

/// Trying again does not make a condition known: whoever asks for it, the step does not begin.
#[test]
fn a_step_whose_condition_cannot_be_decided_never_runs() {
    let reactions = [
        retry(2, Reaction::Rollback),
        ask(Reaction::Rollback),
        retry(1, ask(Reaction::Succeed)),
        retry(1, Reaction::Ignore),
    ];
    for reaction in reactions {
        let rules = [rule(&[Kind::Application], reaction.clone())];
        let mut plan = Builder::default().group(PLAIN, &[&[("a", "w! x! y", &rules)]]).done();
        plan.conditions.push(Expr::Param("?".into()));
        let unknown = ConditionId(plan.conditions.len() as u32 - 1);
        let x = plan.step_named("a.p1.x").unwrap();
        plan.steps[x.index()].when.push(unknown);
        let answers = [(Question::Step(x), Answer::Retry)].into();
        let end = simulate(&plan, &Scenario { answers, ..Scenario::default() });
        assert_eq!(end.state.steps[x.index()].attempts, 0, "{reaction:?}");
        assert!(end.outcome.is_some(), "{reaction:?}");
        let tries = end
            .events
            .iter()
            .filter(|(_, it)| matches!(it, Happening::StepFailed { step, .. } if *step == x));
        assert!(tries.count() > 1, "{reaction:?}");
    }
}
