//! Modules, names, types, checks and lowering of Lockstep source to a plan.
//!
//! [`Program::load`] reads what a [`Loader`] gives it, [`check`] finds everything wrong with it, [`lower`] makes a
//! pipeline of it into a [`lockstep_plan::Plan`]. All of it is pure: what has to be read is read by the loader.

mod allow;
mod checks;
mod diagnostic;
mod disk;
mod index;
mod lines;
mod lower;
mod model;
mod output;
mod parallel;
mod program;
mod proofs;
mod report;
mod rules;
mod suggest;
mod survey;
mod templates;
mod types;

pub use diagnostic::{Diagnostic, Fix, Location, Severity};
pub use disk::DiskLoader;
pub use lines::Lines;
pub use lower::{Lowered, Origins, Purpose, lower, lower_for, parse_duration};
pub use output::{
    CheckOutput, DiagnosticOutput, EditOutput, FixOutput, LabelOutput, PlaceOutput, check_output,
};
pub use program::{FileId, FoundFile, LoadError, Loader, ModuleId, Program, SourceFile, normalise};
pub use proofs::{Found, Left, PipelineProof, PromiseProof, proofs};
pub use report::report;
pub use rules::{Rule, rules, rules_near};
pub use suggest::nearest;
pub use survey::check_modules;

/// Everything wrong with a program: the problems of all its files, sorted by file, position and rule. The prelude's
/// are not among them.
pub fn check(program: &Program) -> Vec<Diagnostic> {
    checks::run(program)
}

/// As [`check`], for a plan of it: errors that an `allow` silences are among them, for what has one has no meaning to be planned.
pub fn check_for_plan(program: &Program) -> Vec<Diagnostic> {
    checks::run_for_plan(program)
}
