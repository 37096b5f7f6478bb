//! `dsl answer`: answers a question that a run asks.

use crate::args::AnswerArgs;
use crate::failure::{Failure, print};
use crate::{request, state};
use lockstep_executor::replay;
use lockstep_plan::{Answer, Deed, Event, question_name};

/// Gives the answer to the process that carries the run out.
pub fn run(args: &AnswerArgs) -> Result<u8, Failure> {
    let store = state::existing(&args.state)?;
    let run = request::running(&store, &args.run)?;
    state::permit(&store, &run, Deed::Answer)?;
    let replay = replay(&store, &run)?;
    let asked =
        replay.questions.iter().find(|(question, _)| question_name(&replay.plan, **question) == args.step);
    let Some((question, (group, answers))) = asked else {
        let open: Vec<&str> =
            replay.questions.keys().map(|question| question_name(&replay.plan, *question)).collect();
        let failure = Failure::new(format!("run {run} asks nothing about `{}`", args.step));
        return Err(match open.is_empty() {
            true => failure.help("it waits for no answer at all"),
            false => failure.help(format!("it waits for an answer about {}", open.join(", "))),
        });
    };
    let answer =
        Answer::from_name(&args.answer).filter(|answer| answers.contains(answer)).ok_or_else(|| {
            let answers: Vec<&str> = answers.iter().map(|answer| answer.name()).collect();
            Failure::new(format!("`{}` is no answer to `{}`", args.answer, args.step))
                .help(format!("answers are {}", answers.join(", ")))
        })?;
    let by = state::person();
    let members = replay.plan.groups.get(group);
    if members.is_some_and(|members| !members.contains(&by)) {
        return Err(Failure::new(format!("`{by}` is not in the group `{group}`, which has to answer")));
    }
    let comment = args.comment.clone();
    let event = Event::Answered { question: *question, answer, by, comment };
    match request::make(&store, &run, "answer", &event)? {
        Some(code) => Ok(code),
        None => {
            print(&format!(
                "answer: noted, but nobody carries run {run} out; `dsl resume {run}` goes on with it and takes it up first\n"
            ))?;
            Ok(0)
        }
    }
}
