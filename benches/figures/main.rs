//! The figures of docs/reliability.md, measured: `cargo bench --bench figures [NAME …]`.
//!
//! Each is printed with its bound and whether it is met. Nothing here is a test: what is measured depends on the machine.

mod language;
mod machine;
mod runs;

use std::process::ExitCode;
use std::time::{Duration, Instant};

/// As in the program itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A measured figure.
struct Figure {
    what: String,
    value: String,
    bound: String,
    met: bool,
}

fn figure(what: &str, value: impl Into<String>, bound: &str, met: bool) -> Figure {
    Figure { what: what.into(), value: value.into(), bound: bound.into(), met }
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let result = work();
    (result, begun.elapsed())
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

type Measure = fn() -> Vec<Figure>;

const ALL: [(&str, Measure); 7] = [
    ("failure", machine::failure_among_200),
    ("barrier", machine::barrier_of_1000),
    ("linear", language::linear),
    ("fsync", runs::fsyncs),
    ("requests", runs::requests),
    ("resume", runs::resume_and_memory),
    ("ninja", runs::against_ninja),
];

#[expect(clippy::print_stdout, reason = "a table of figures is what it is for")]
fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let mut all_met = true;
    for (name, measure) in ALL {
        if !wanted.is_empty() && !wanted.iter().any(|wanted| wanted == name) {
            continue;
        }
        for Figure { what, value, bound, met } in measure() {
            all_met &= met;
            println!("{:4} {what:64} {value:>14}   {bound}", if met { "ok" } else { "MISS" });
        }
    }
    if all_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
