//! What a request of another process is answered: whether the machine will act on it, or why it came too late.

use crate::replay::Pending;
use crate::store::{Reply, Request};
use lockstep_plan::machine::{RunMode, State, step};
use lockstep_plan::{Command, Event, Happening, Plan, question_name};

/// The replies to requests that are taken up together. Tried on a copy of the state, so that a reply can be journalled
/// with the request itself.
pub(crate) fn replies(plan: &Plan, state: &State, pending: &Pending, requests: &[Request]) -> Vec<Reply> {
    if requests.is_empty() {
        return Vec::new();
    }
    let mut state = state.clone();
    let mut replies = Vec::with_capacity(requests.len());
    for request in requests {
        let before = state.mode;
        let commands = step(plan, &mut state, request.event.clone());
        replies.push(match commands.iter().any(is_acceptance) {
            true => Reply::Taken,
            false => Reply::Late { why: why(plan, before, pending, &request.event) },
        });
    }
    replies
}

fn is_acceptance(command: &Command) -> bool {
    matches!(
        command,
        Command::Announce(
            Happening::AbortRequested(_) | Happening::RollbackRequested(_) | Happening::AnsweredBy(..)
        )
    )
}

fn why(plan: &Plan, mode: RunMode, pending: &Pending, event: &Event) -> String {
    match (mode, event) {
        (RunMode::Finished(_), _) => "the run had just ended".into(),
        (RunMode::Aborting, _) => "the run is being aborted already".into(),
        (_, Event::Answered { question, answer, .. }) => {
            let name = question_name(plan, *question);
            match pending.questions.get(question) {
                Some((_, answers)) if !answers.contains(answer) => {
                    let answers: Vec<&str> = answers.iter().map(|answer| answer.name()).collect();
                    format!(
                        "`{}` is no answer to `{name}`; answers are {}",
                        answer.name(),
                        answers.join(", ")
                    )
                }
                _ => format!(
                    "`{name}` waits for no answer any more: somebody else has answered, or its time is up"
                ),
            }
        }
        (RunMode::RollingBack, _) => "the run is being rolled back already".into(),
        (RunMode::NotStarted | RunMode::Forward, _) => "the run does not take it".into(),
    }
}
