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
use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A file that events go to.
pub struct Events {
    path: PathBuf,
    file: File,
    /// Reads what the file holds already; what goes into a pipe cannot be looked at again.
    past: Option<File>,
}

/// The events of one run, as they go to their file.
pub struct Written {
    path: PathBuf,
    output: Mutex<Output>,
    run: String,
}

struct Output {
    file: File,
    /// How many of the run's first happenings it holds already.
    held: u64,
    /// How many happenings were told so far.
    told: u64,
    /// The lines that it holds of attempts which have not ended: their output is read again from its beginning.
    printed: BTreeMap<Source, VecDeque<u64>>,
    /// Whether writing has failed before.
    failed: bool,
}

/// Which of its streams which attempt of which step printed to.
type Source = (String, u32, String);

/// As much of a line as tells what it is.
#[derive(Deserialize)]
struct Known {
    run: String,
    event: String,
    step: Option<String>,
    attempt: Option<u32>,
    stream: Option<String>,
    #[serde(default)]
    message: String,
}

/// What a file holds already.
#[derive(Default)]
struct Stock {
    held: u64,
    printed: BTreeMap<Source, VecDeque<u64>>,
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
    /// Opens the file, before anything is begun; what it holds already stays.
    pub fn open(path: &Path) -> Result<Events, Failure> {
        let open = || -> std::io::Result<Events> {
            let file = File::options().create(true).append(true).open(path)?;
            let past = if file.metadata()?.is_file() { Some(File::open(path)?) } else { None };
            Ok(Events { path: path.into(), file, past })
        };
        open().map_err(|error| Failure::io("write events to", path, &error))
    }

    /// For that run, going on where the file ends.
    pub fn of_run(self, run: &str) -> Result<Written, Failure> {
        let Events { path, file, past } = self;
        let stock = past.map_or(Ok(Stock::default()), |past| take_stock(past, &file, run));
        let Stock { held, printed } =
            stock.map_err(|error| Failure::io("read the events in", &path, &error))?;
        let output = Output { file, held, told: 0, printed, failed: false };
        Ok(Written { path, output: Mutex::new(output), run: run.into() })
    }
}

impl Written {
    /// Writes a happening unless the file holds it. They have to be told from the run's beginning. A warning the first time
    /// that this fails.
    pub fn happening(&self, plan: &Plan, at: u64, happening: &Happening) -> Option<String> {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        output.told += 1;
        if output.told <= output.held {
            return None;
        }
        let line: EventLine = event_line(plan, happening);
        self.write(&mut output, at, line)
    }

    /// Writes a line that a step printed. A warning the first time that this fails.
    pub fn printed(&self, plan: &Plan, at: u64, line: &Line<'_>) -> Option<String> {
        let step = &plan.steps[line.step.index()];
        let stream = match line.stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
            Stream::Driver => "driver",
        };
        let stage = &plan.stages[step.stage.index()].name;
        let (attempt, message) = (line.attempt, line.text);
        let source = (step.name.clone(), attempt, stream.to_owned());
        let line = Printed { stage, step: &step.name, event: "output", attempt, stream, message };
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = output.printed.get_mut(&source) {
            if held.pop_front() == Some(hash(message)) {
                return None;
            }
            // Everything from here on is new.
            output.printed.remove(&source);
        }
        self.write(&mut output, at, line)
    }

    fn write(&self, output: &mut Output, at: u64, line: impl Serialize) -> Option<String> {
        let record = Record { version: 1, at: rfc3339(at), run: &self.run, line };
        let written = serde_json::to_string(&record).map_err(std::io::Error::other).and_then(|mut text| {
            text.push('\n');
            output.file.write_all(text.as_bytes())
        });
        // The journal holds the run; a full disk under the events file must not end it.
        let error = written.err().filter(|_| !output.failed)?;
        output.failed = true;
        let path = self.path.display();
        Some(format!(
            "warning: events are missing from `{path}`, which cannot be written: {error}; the run goes on"
        ))
    }
}

impl Stock {
    fn take(&mut self, line: Known) {
        if line.event != "output" {
            self.held += 1;
            // An attempt that has ended prints nothing any more.
            if let (Some(step), "step_succeeded" | "step_failed") = (&line.step, line.event.as_str()) {
                self.printed.retain(|(of, ..), _| of != step);
            }
        } else if let (Some(step), Some(attempt), Some(stream)) = (line.step, line.attempt, line.stream) {
            self.printed.entry((step, attempt, stream)).or_default().push_back(hash(&line.message));
        }
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// What the file holds of the run. Half a line, which a full disk may have left, is cut off.
fn take_stock(past: File, file: &File, run: &str) -> std::io::Result<Stock> {
    let mut reader = BufReader::new(past);
    let mut stock = Stock::default();
    let mut whole = 0;
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line)? > 0 {
        if !line.ends_with(b"\n") {
            file.set_len(whole)?;
            break;
        }
        whole += line.len() as u64;
        let written: Option<Known> = serde_json::from_slice(&line).ok();
        if let Some(written) = written.filter(|written| written.run == run) {
            stock.take(written);
        }
        line.clear();
    }
    Ok(stock)
}
