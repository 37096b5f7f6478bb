//! `dsl plan`: shows what a pipeline would do.

use crate::args::{PipelineArgs, PlanArgs, TextFormat};
use crate::diff;
use crate::failure::{Failure, print, to_json};
use crate::source::lower;
use crate::values::arguments;
use lockstep_compiler::Purpose;
use lockstep_plan::export::{plan_json, plan_text};

/// Writes the plan to standard output or a file. With `--diff`, 1 says that a step would fail.
pub fn run(args: &PlanArgs) -> Result<u8, Failure> {
    let PipelineArgs { path, pipeline, .. } = &args.pipeline;
    let (lowered, module) = lower(path, pipeline, &arguments(&args.pipeline)?, Purpose::Run)?;
    let (text, fine) = match args.format {
        _ if args.diff => diff::text(&lowered.plan, &module)?,
        TextFormat::Text => (plan_text(&lowered.plan), true),
        TextFormat::Json => (to_json(&plan_json(&lowered.plan))?, true),
    };
    match &args.output {
        Some(path) => std::fs::write(path, text).map_err(|error| Failure::io("write", path, &error))?,
        None => print(&text)?,
    }
    Ok(u8::from(!fine))
}
