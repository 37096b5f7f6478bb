//! Whoever watches a run: told what happens, in order, and what steps print, as they print it.

use lockstep_plan::{Happening, StepId};

/// Watches a run. Called from several threads; should return quickly.
pub trait Observer: Send + Sync {
    /// Something happened, at that time (milliseconds since 1970, as in the journal). When a run is resumed, what
    /// happened before is told again first, with `replayed`.
    fn happening(&self, at: u64, happening: &Happening, replayed: bool);

    /// A step printed a line. Secrets are struck out.
    fn line(&self, line: &Line<'_>);

    /// Something outside of the plan has to come first, or went wrong without harm to the run: which other run holds what this
    /// one claims, a release that could not be removed.
    fn note(&self, text: &str) {
        let _ = text;
    }
}

/// A line that a step printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Which step.
    pub step: StepId,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// Where.
    pub stream: Stream,
    /// The line, without its end.
    pub text: &'a str,
}

/// Where a line was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// By the driver itself: what it does, what it waits for.
    Driver,
}

/// Watches nothing.
pub struct Nobody;

impl Observer for Nobody {
    fn happening(&self, _: u64, _: &Happening, _: bool) {}
    fn line(&self, _: &Line<'_>) {}
}
