//! The machine is total: no event, in whatever order, repeated, late or out of place, does any harm.

use crate::build::{Builder, Shape, ask, retry, rule};
use crate::explore::{Adversary, World};
use lockstep_plan::*;
use proptest::prelude::*;

fn plans() -> Vec<Plan> {
    let asks = [rule(&[], ask(Reaction::Ignore))];
    let named =
        [rule(&[Kind::Barrier], ask(Reaction::Succeed)), rule(&[], retry(2, Reaction::RollbackPhase))];
    let aborts = [rule(&[], retry(2, Reaction::Abort))];
    let mut pipeline = Builder::default()
        .group(Shape::default(), &[&[("a", "x! y", &asks)], &[("@go", "", &[]), ("b", "z!", &[])]])
        .group(
            Shape::default(),
            &[
                &[("c", "x! |all / y! |end", &named)],
                &[("d", "@y z~ |all", &named)],
                &[("e", "|end w!", &[])],
            ],
        )
        .rollback("c", 0, "u |back v")
        .rollback("d", 0, "|back w")
        .done();
    pipeline.rules.push(rule(&[Kind::Application], Reaction::RollbackPipeline));
    let promise = Builder::default()
        .group(
            Shape { promise: true, max: Some(2) },
            &[
                &[("a", "x! |all y?", &asks)],
                &[("b", "x!&z |all", &aborts), ("c", "w!!", &[])],
                &[("@go", "", &[]), ("d", "v!", &[])],
                &[],
            ],
        )
        .done();
    let claims = Builder::default()
        .group(
            Shape::default(),
            &[&[("a", "x! |all / y!", &asks)], &[("b", "x! |all", &[]), ("c", "z! / w!", &[])]],
        )
        .holding("a", Some(1), "lock")
        .holding("c", Some(0), "lock")
        .claiming()
        .done();
    vec![claims, pipeline, promise, Builder::default().done()]
}

/// Any event at all, of things that the plan has and of things that it has not.
fn event() -> impl Strategy<Value = Event> {
    let id = || prop_oneof![9 => 0u32..24, 1 => any::<u32>()];
    let failure = (0usize..Kind::ALL.len(), prop::option::of((0u32..4, 0u32..4)))
        .prop_map(|(kind, hosts)| Failure { kind: Kind::ALL[kind], message: "no".into(), hosts });
    let outcome = prop_oneof![
        2 => Just(Outcome::Succeeded { outputs: Default::default() }),
        1 => failure.clone().prop_map(Outcome::Failed),
        1 => Just(Outcome::Lost { message: "gone".into() }),
    ];
    let question = || {
        (0u8..3, id()).prop_map(|(kind, id)| match kind {
            0 => Question::Step(StepId(id)),
            1 => Question::Place(PlaceId(id)),
            _ => Question::Approval(ApprovalId(id)),
        })
    };
    let claims = (id(), 0u32..4, any::<bool>()).prop_map(|(claim, turn, granted)| match granted {
        true => Event::ClaimsGranted { claim: ClaimId(claim), turn },
        false => Event::ClaimsRefused { claim: ClaimId(claim), turn, why: "no".into() },
    });
    let timer = prop_oneof![
        (id(), 0u32..4).prop_map(|(step, attempt)| Timer::Step(StepId(step), attempt)),
        (id(), 0u32..4).prop_map(|(step, attempt)| Timer::Backoff(StepId(step), attempt)),
        id().prop_map(|place| Timer::Barrier(PlaceId(place))),
        question().prop_map(Timer::Question),
    ];
    let answers = [
        Answer::Approve,
        Answer::Reject,
        Answer::Retry,
        Answer::Ignore,
        Answer::Succeed,
        Answer::Rollback,
        Answer::Abort,
    ];
    let record = prop_oneof![3 => Just(Ok(Value::Bool(true))), 1 => failure.prop_map(Err)];
    prop_oneof![
        1 => Just(Event::Started { run: "again".into(), by: "b".into() }),
        4 => (id(), id(), prop::option::of(id()), record).prop_map(|(stage, target, service, record)| {
            Event::Recorded {
                stage: StageId(stage),
                target: TargetId(target),
                service: service.map(ServiceId),
                record,
            }
        }),
        6 => (id(), 0u32..4, outcome)
            .prop_map(|(step, attempt, outcome)| Event::StepEnded { step: StepId(step), attempt, outcome }),
        2 => claims,
        4 => timer.prop_map(Event::TimerFired),
        4 => (question(), prop::sample::select(answers.to_vec())).prop_map(|(question, answer)| {
            Event::Answered { question, answer, by: "p".into(), comment: None }
        }),
    ]
}

/// What happens next: something that is awaited (by number), anything at all, or something that happened before.
#[derive(Debug, Clone)]
enum Next {
    Awaited(prop::sample::Index),
    Anything(Event),
    Again(prop::sample::Index),
}

fn next() -> impl Strategy<Value = Next> {
    prop_oneof![
        3 => any::<prop::sample::Index>().prop_map(Next::Awaited),
        3 => event().prop_map(Next::Anything),
        1 => any::<prop::sample::Index>().prop_map(Next::Again),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// What nobody asked for changes nothing; what was asked for keeps every invariant. Nothing at all happens before the
    /// start and after the end.
    #[test]
    fn events_that_nobody_asked_for_change_nothing(
        script in prop::collection::vec(next(), 0..80),
        person in any::<bool>(),
    ) {
        let adversary = Adversary {
            kinds: vec![Kind::Application, Kind::Connectivity],
            shares: Vec::new(),
            failures: 4,
            timeouts: true,
            person,
            lost: true,
            records: true,
            rollbacks: true,
            afterwards: false,
        };
        for plan in plans() {
            let mut early = machine::State::new(&plan);
            let (mut world, mut story) = World::begin(&plan);
            let mut past = Vec::new();
            for next in &script {
                let event = match next {
                    Next::Anything(event) => event.clone(),
                    // After the end that would begin something new.
                    Next::Again(at) if !past.is_empty() => match at.get::<Event>(&past).clone() {
                        Event::RollbackRequested { .. } if world.state.is_finished() => continue,
                        event => event,
                    },
                    Next::Awaited(at) if !world.state.is_finished() => {
                        let moves = world.moves(&plan, &adversary);
                        prop_assert!(!moves.is_empty(), "stuck:\n{}", story.text(&plan));
                        at.get(&moves).0.clone()
                    }
                    Next::Again(_) | Next::Awaited(_) => continue,
                };
                if !matches!(event, Event::Started { .. }) {
                    prop_assert!(machine::step(&plan, &mut early, event.clone()).is_empty());
                    prop_assert_eq!(&early, &machine::State::new(&plan));
                }
                if world.awaits(&event) && !world.state.is_finished() {
                    past.push(event.clone());
                    story = world.apply(&plan, event, Some(story));
                } else {
                    let before = world.state.clone();
                    let commands = machine::step(&plan, &mut world.state, event.clone());
                    // Asking a driver twice to stop does no harm.
                    let quiet = commands.iter().all(|it| matches!(it, Command::CancelStep { .. }));
                    prop_assert!(quiet, "{:?} led to {:?}", event, commands);
                    prop_assert_eq!(&before, &world.state, "{:?}", event);
                }
            }
        }
    }
}

/// A clock that runs out at the moment at which a person stops the run has nobody left to tell.
#[test]
fn a_barriers_clock_is_nothing_to_a_run_that_was_stopped() {
    let mut tried = [0; 2];
    for plan in plans() {
        let (mut world, mut story) = World::begin(&plan);
        while !world.state.is_finished() {
            for place in 0..plan.places.len() as u32 {
                let late = Event::TimerFired(Timer::Barrier(PlaceId(place)));
                if !world.awaits(&late) {
                    continue;
                }
                let by = "p".to_string();
                let stops = [Event::AbortRequested { by: by.clone() }, Event::RollbackRequested { by }];
                for (index, stop) in stops.into_iter().enumerate() {
                    let mut stopped = world.clone();
                    stopped.apply(&plan, stop, Some(story.clone()));
                    if stopped.awaits(&late) {
                        continue;
                    }
                    let before = stopped.state.clone();
                    let commands = machine::step(&plan, &mut stopped.state, late.clone());
                    assert!(commands.is_empty(), "{commands:?}");
                    assert_eq!(before, stopped.state);
                    tried[index] += 1;
                }
            }
            let next = world.moves(&plan, &Adversary::default()).swap_remove(0).0;
            story = world.apply(&plan, next, Some(story));
        }
    }
    assert!(tried.iter().all(|it| *it > 0), "{tried:?}");
}
