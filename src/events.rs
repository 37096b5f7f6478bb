//! `--events`: everything that the screen shows, as lines of JSON, each written as it happens.
//!
//! A file holds all that happened in a run, however often the run was cut short: what an earlier process journalled and
//! could not write any more is written when the run is resumed with the same file.

use crate::clock::rfc3339;
use crate::failure::Failure;
use lockstep_executor::{Line, Stream};
use lockstep_plan::export::{EventLine, event_line};
use lockstep_plan::{Happening, Plan};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// A file that events go to.
pub struct Events {
    file: Mutex<Output>,
    run: String,
}

struct Output {
    file: File,
    /// How many of the run's first happenings it holds already.
    held: u64,
    /// How many happenings were told so far.
    told: u64,
}

/// As much of a line as tells what it is.
#[derive(Deserialize)]
struct Written {
    run: String,
    event: String,
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
        let open = || -> std::io::Result<Output> {
            let file = File::options().create(true).append(true).open(path)?;
            // What goes into a pipe cannot be looked at again.
            let held = if file.metadata()?.is_file() { take_stock(path, &file, run)? } else { 0 };
            Ok(Output { file, held, told: 0 })
        };
        let output = open().map_err(|error| Failure::io("write events to", path, &error))?;
        Ok(Events { file: Mutex::new(output), run: run.into() })
    }

    /// Writes a happening unless the file holds it. They have to be told from the run's beginning.
    pub fn happening(&self, plan: &Plan, at: u64, happening: &Happening) {
        let mut output = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        output.told += 1;
        if output.told > output.held {
            let line: EventLine = event_line(plan, happening);
            self.write(&mut output.file, at, line);
        }
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
        let line = Printed { stage, step: &step.name, event: "output", attempt, stream, message };
        let mut output = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        self.write(&mut output.file, at, line);
    }

    fn write(&self, file: &mut File, at: u64, line: impl Serialize) {
        let record = Record { version: 1, at: rfc3339(at), run: &self.run, line };
        let Ok(mut text) = serde_json::to_string(&record) else { return };
        text.push('\n');
        // The journal holds the run; a full disk under the events file must not end it.
        let _ = file.write_all(text.as_bytes());
    }
}

/// How many happenings of the run the file holds. Half a line, which a full disk may have left, is cut off.
fn take_stock(path: &Path, file: &File, run: &str) -> std::io::Result<u64> {
    let mut reader = BufReader::new(File::open(path)?);
    let (mut held, mut whole) = (0, 0);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        if !line.ends_with(b"\n") {
            file.set_len(whole)?;
            break;
        }
        whole += line.len() as u64;
        let written: Option<Written> = serde_json::from_slice(&line).ok();
        held += u64::from(written.is_some_and(|line| line.run == run && line.event != "output"));
        line.clear();
    }
    Ok(held)
}
