//! Whether what was chosen for a rehearsal came to anything in it.

use crate::machine::StepStatus;
use crate::{Answer, Chosen, Fallible, Happening, Kind, Plan, Question, Simulation, StepId, format_duration};

/// Why a chosen failure did not happen, in a few words that go on after "because"; nothing where it did.
pub fn unfailed(plan: &Plan, simulation: &Simulation, chosen: Chosen) -> Option<String> {
    let mut told = simulation.events.iter().map(|(_, happening)| happening);
    match chosen.what {
        Fallible::Step(step) => {
            let mut instead = None;
            for happening in told {
                match happening {
                    Happening::StepFailed { step: known, failure, .. } if *known == step => {
                        if failure.kind == chosen.kind {
                            return None;
                        }
                        instead = Some(format!("it failed as {}: {}", failure.kind, failure.message));
                    }
                    Happening::StepDropped(known) if *known == step => {
                        instead = Some("its stage had failed before it ended".into());
                    }
                    _ => {}
                }
            }
            Some(instead.unwrap_or_else(|| not_started(simulation, step)))
        }
        Fallible::Approval(approval) => {
            let asked = Question::Approval(approval);
            let refused = |it: &Happening| match it {
                Happening::AnsweredBy(question, answer, _) => {
                    *question == asked && *answer == Answer::Reject && chosen.kind != Kind::Timeout
                }
                Happening::QuestionTimedOut(question) => *question == asked && chosen.kind == Kind::Timeout,
                _ => false,
            };
            (!told.any(refused)).then(|| "it was not asked for".into())
        }
        Fallible::Wait(place) => {
            let within = plan.places[place.index()].timeout.map(format_duration).unwrap_or_default();
            simulation.ran_out(place).is_none().then(|| format!("nobody waits there for {within}"))
        }
    }
}

/// Why it made no difference how long something was to take; nothing where it may have.
pub fn undelayed(simulation: &Simulation, what: Fallible) -> Option<String> {
    match what {
        Fallible::Step(step) if simulation.state.steps[step.index()].attempts == 0 => {
            Some(not_started(simulation, step))
        }
        Fallible::Approval(approval) => {
            let asked = |(_, it): &(u64, Happening)| matches!(it, Happening::Asked(Question::Approval(at), _) if *at == approval);
            (!simulation.events.iter().any(asked)).then(|| "it was not asked for".into())
        }
        _ => None,
    }
}

/// Why an answer was not given; nothing where it was.
pub fn unanswered(simulation: &Simulation, question: Question) -> Option<String> {
    let mut asked = false;
    for (_, happening) in &simulation.events {
        match happening {
            Happening::AnsweredBy(known, ..) if *known == question => return None,
            Happening::Asked(known, _) => asked |= *known == question,
            _ => {}
        }
    }
    Some(if asked { "it was not asked for any more by then".into() } else { "nobody was asked".into() })
}

fn not_started(simulation: &Simulation, step: StepId) -> String {
    match simulation.state.steps[step.index()].status {
        StepStatus::Skipped => "it was skipped".into(),
        _ => "it was not started".into(),
    }
}
