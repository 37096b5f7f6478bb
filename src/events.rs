//! `--events`: everything that the screen shows, as lines of JSON.

use crate::clock::rfc3339;
use crate::failure::Failure;
use lockstep_executor::{Line, Stream};
use lockstep_plan::export::{EventLine, event_line};
use lockstep_plan::{Happening, Plan};
use serde::Serialize;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

/// A file that events go to.
pub struct Events {
    file: Mutex<File>,
    run: String,
}

#[derive(Serialize)]
struct Record<'a, T> {
    version: u32,
    at: String,
    run: &'a str,
    #[serde(flatten)]
    line: T,
}

#[derive(Serialize)]
struct Printed<'a> {
    stage: &'a str,
    step: &'a str,
    event: &'static str,
    attempt: u32,
    stream: &'static str,
    message: &'a str,
}

impl Events {
    /// Opens the file; what it holds already stays.
    pub fn open(path: &Path, run: &str) -> Result<Events, Failure> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|error| Failure::io("write events to", path, &error))?;
        Ok(Events { file: Mutex::new(file), run: run.into() })
    }

    /// Writes a happening.
    pub fn happening(&self, plan: &Plan, at: u64, happening: &Happening) {
        let line: EventLine = event_line(plan, happening);
        self.write(at, line);
    }

    /// Writes a line that a step printed.
    pub fn printed(&self, plan: &Plan, at: u64, line: &Line<'_>) {
        let step = &plan.steps[line.step.index()];
        let stream = match line.stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
            Stream::Driver => "driver",
        };
        let stage = &plan.stages[step.stage.index()].name;
        let (attempt, message) = (line.attempt, line.text);
        self.write(at, Printed { stage, step: &step.name, event: "output", attempt, stream, message });
    }

    fn write(&self, at: u64, line: impl Serialize) {
        let record = Record { version: 1, at: rfc3339(at), run: &self.run, line };
        let Ok(mut text) = serde_json::to_string(&record) else { return };
        text.push('\n');
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // The journal holds the run; a full disk under the events file must not end it.
        let _ = file.write_all(text.as_bytes());
    }
}
