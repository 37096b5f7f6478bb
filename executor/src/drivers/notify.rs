//! The step `notify`: tells a channel something. It succeeds even when it could not, as all notifications do.

use super::look;
use crate::driver::{Attempt, Driver, Probe, Work};
use crate::notify::Message;
use lockstep_plan::Outcome;
use std::collections::BTreeMap;

/// The provider `notify`.
pub struct Notify;

impl Driver for Notify {
    fn steps(&self) -> &[&str] {
        &["notify"]
    }

    fn start(&self, attempt: Attempt) -> Work<Outcome> {
        look::start(attempt, |attempt| {
            Box::pin(async move {
                let key = &attempt.key;
                let message = Message {
                    key: key.to_string(),
                    run: key.run.clone(),
                    pipeline: attempt.context.pipeline.clone(),
                    stage: Some(key.step.split('.').next().unwrap_or_default().to_owned()),
                    event: "message",
                    title: attempt.text("text").lines().next().unwrap_or_default().to_owned(),
                    text: attempt
                        .text("text")
                        .split_once('\n')
                        .map(|(_, more)| more.to_owned())
                        .unwrap_or_default(),
                };
                if let Err(why) = attempt.context.channels.deliver(attempt.text("to"), &message).await {
                    attempt.output.say(&format!("warning: {why}"));
                }
                Ok(BTreeMap::new())
            })
        })
    }

    fn probe(&self, attempt: Attempt) -> Work<Probe> {
        // Told twice is better than never; the key says that it is the same.
        let again = self.start(attempt);
        Box::pin(async move { Probe::Running(again) })
    }
}
