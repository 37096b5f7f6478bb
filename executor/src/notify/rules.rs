//! What the machine wants told, as `notify … on …` says: counted, so that each is told once, whatever happens between.

use super::{Channels, Message};
use crate::observer::Observer;
use crate::store::Store;
use lockstep_plan::machine::State;
use lockstep_plan::{Answer, NotifyEvent, Plan, Question, StageId, question_name};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a run that has ended waits for what is still being told.
const PATIENCE: Duration = Duration::from_secs(40);

/// A message names no more causes or questions than this.
const LINES: usize = 20;

/// Something that is to be told.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    /// Counts a run's notices, from 1: the same for each fold of its journal.
    pub number: u64,
    pub channels: Vec<String>,
    pub event: NotifyEvent,
    pub stage: Option<StageId>,
}

/// Tells what is to be told, beside the run.
pub(crate) struct Notices {
    plan: Arc<Plan>,
    store: Arc<Store>,
    observer: Arc<dyn Observer>,
    channels: Arc<Channels>,
    run: String,
    under_way: JoinSet<()>,
}

impl Notices {
    pub fn new(
        plan: Arc<Plan>,
        store: Arc<Store>,
        observer: Arc<dyn Observer>,
        channels: Arc<Channels>,
        run: &str,
    ) -> Notices {
        Notices { plan, store, observer, channels, run: run.into(), under_way: JoinSet::new() }
    }

    /// Begins to tell, and notes how that ended. `questions` are those that wait for an answer.
    pub fn tell(
        &mut self,
        notice: &Notice,
        state: &State,
        questions: &BTreeMap<Question, (String, Vec<Answer>)>,
    ) {
        let message = self.message(notice, state, questions);
        for channel in &notice.channels {
            let (number, channel, message, run) =
                (notice.number, channel.clone(), message.clone(), self.run.clone());
            let (store, observer, channels) =
                (self.store.clone(), self.observer.clone(), self.channels.clone());
            self.under_way.spawn(async move {
                let result = channels.deliver(&channel, &message).await;
                if let Err(why) = &result {
                    observer.note(&format!("warning: {why}"));
                }
                // What cannot be noted is told again by a resume; better twice than never.
                let _ = store.told(&run, number, &channel, result.err().as_deref());
            });
        }
    }

    /// Waits, for a while, until everything is told.
    pub async fn settle(&mut self) {
        let all = async { while self.under_way.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(PATIENCE, all).await;
    }

    fn message(
        &self,
        notice: &Notice,
        state: &State,
        questions: &BTreeMap<Question, (String, Vec<Answer>)>,
    ) -> Message {
        let plan = &self.plan;
        let stage = notice.stage.map(|stage| plan.stages[stage.index()].name.clone());
        let whom = match &stage {
            Some(stage) => format!("{}: stage {stage}", plan.pipeline),
            None => plan.pipeline.clone(),
        };
        let (event, does) = match notice.event {
            NotifyEvent::Success => ("success", "succeeded"),
            NotifyEvent::Failure => ("failure", "failed"),
            NotifyEvent::Rollback => ("rollback", "rolls back"),
            NotifyEvent::Waiting => ("waiting", "waits for an answer"),
        };
        let mut lines = Vec::new();
        if matches!(notice.event, NotifyEvent::Failure | NotifyEvent::Rollback) {
            let stages = plan.stages.iter().zip(&state.stages).enumerate();
            let about = |at: usize| notice.stage.is_none_or(|stage| stage.index() == at);
            lines.extend(stages.filter(|(at, _)| about(*at)).filter_map(|(_, (data, now))| {
                Some(format!("{}: {}", data.name, now.cause.as_ref()?.describe(plan)))
            }));
        }
        if notice.event == NotifyEvent::Waiting {
            lines.extend(questions.iter().map(|(question, (group, answers))| {
                let name = question_name(plan, *question);
                let answers: Vec<&str> = answers.iter().map(|answer| answer.name()).collect();
                format!("{group}: dsl answer {} {name} {}", self.run, answers.join("|"))
            }));
        }
        let more = lines.len().saturating_sub(LINES);
        lines.truncate(LINES);
        if more > 0 {
            lines.push(format!("and {more} more"));
        }
        lines.push(format!("run {}", self.run));
        Message {
            key: format!("{}/notice/{}", self.run, notice.number),
            run: self.run.clone(),
            pipeline: plan.pipeline.clone(),
            stage,
            event,
            title: format!("{whom} {does}"),
            text: lines.join("\n"),
        }
    }
}
