//! Compiling in a process of its own. To understand a source takes several times the memory of the plan that it comes to, and a
//! run is long: what has ended has given all of it back.

use crate::args::PipelineArgs;
use crate::failure::{Failure, say};
use crate::source::{lower, module_of};
use crate::values::arguments;
use lockstep_compiler::Purpose;
use lockstep_plan::Plan;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

/// The first argument of a program that is to compile; the second is where the source is. Nobody types it.
const WORD: &str = "compile_for_run";

/// What is to be compiled. It comes through a pipe, for arguments of a process can be seen by everybody.
#[derive(Serialize, Deserialize)]
struct Request {
    pipeline: String,
    arguments: BTreeMap<String, String>,
}

/// The plan of a pipeline that is to be carried out, and the directory of its module. Where something is wrong, all of it
/// has been said.
pub fn compiled(args: &PipelineArgs) -> Result<(Plan, PathBuf), Failure> {
    let failed = |error: io::Error| Failure::new(format!("cannot start the compiler: {error}"));
    let module = module_of(&args.path)?;
    let request = Request { pipeline: args.pipeline.clone(), arguments: arguments(args)? };
    let mut command = Command::new(lockstep_executor::this_program().map_err(failed)?);
    command.arg(WORD).arg(&args.path).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let plan = exchange(&mut child, &request);
    let status = child.wait().map_err(failed)?;
    match plan {
        Ok(plan) if status.success() => Ok((plan, module)),
        _ if status.code().is_some_and(|code| code != 0) => Err(Failure::Said),
        Ok(_) => Err(Failure::new(format!("the compiler did not come to its end: {status}"))),
        Err(error) => Err(Failure::new(format!("the compiler did not come to its end ({status}): {error}"))),
    }
}

/// Sends the request and reads the plan, piece by piece: there is never all of its text.
fn exchange(child: &mut Child, request: &Request) -> serde_json::Result<Plan> {
    if let Some(stdin) = child.stdin.take() {
        // It is read whole before anything is written. Who does not read it says why.
        let _ = serde_json::to_writer(BufWriter::new(stdin), request);
    }
    let stdout =
        child.stdout.take().ok_or_else(|| serde_json::Error::io(io::ErrorKind::BrokenPipe.into()))?;
    let mut reader = serde_json::Deserializer::from_reader(BufReader::new(stdout));
    // Values nest as deep as the compiler lets them.
    reader.disable_recursion_limit();
    let plan = Plan::deserialize(&mut reader)?;
    reader.end()?;
    Ok(plan)
}

/// Compiles when this program was started for it; nothing otherwise.
pub fn compile() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_none_or(|word| word != WORD) {
        return None;
    }
    Some(match answer(arguments.next().unwrap_or_default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&failure.render());
            ExitCode::from(2)
        }
    })
}

fn answer(path: OsString) -> Result<(), Failure> {
    let failed = |what: &str, error: io::Error| Failure::new(format!("cannot {what}: {error}"));
    let Request { pipeline, arguments } = serde_json::from_reader(io::stdin().lock())
        .map_err(|error| failed("read what is to be compiled", error.into()))?;
    let (lowered, _) = lower(Path::new(&path), &pipeline, &arguments, Purpose::Run)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let written = serde_json::to_writer(&mut out, &lowered.plan).map_err(io::Error::from);
    written.and_then(|()| out.flush()).map_err(|error| failed("hand over the plan", error))
}
