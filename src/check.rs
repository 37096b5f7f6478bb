//! `dsl check`: finds everything that is wrong with source files.

use crate::args::{CheckArgs, CheckFormat};
use crate::failure::{Failure, print, say, to_json};
use crate::fix::{self, Fixed};
use crate::source::{Input, Selection, readable, render, summary};
use crate::{github, sarif};
use lockstep_compiler::{Diagnostic, Found, LoadError, Program, Severity};
use std::fmt::Write;
use std::io::IsTerminal;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Exit code 1 when there are errors, or warnings that were denied.
pub fn run(args: &CheckArgs) -> Result<u8, Failure> {
    let input = Input::read(&args.paths, args.stdin_filename.as_deref())?;
    let fixes_input = args.fix && input.0.is_some();
    if fixes_input && args.format != CheckFormat::Human {
        return Err(Failure::new("the fixed text goes to standard output, so nothing else can")
            .help("leave out `--format`: what is found goes to standard error then"));
    }
    let (selection, program, mut found) = match (args.fix, args.explain_proof) {
        (true, _) => fixed(args, &input)?,
        (false, true) => {
            let selection = Selection::find(&args.paths, args.stdin_filename.as_deref(), |_| {})?;
            let program = Program::load(&input, &selection.roots()).map_err(unloaded)?;
            let found = lockstep_compiler::check(&program);
            (selection, program, found)
        }
        (false, false) => checked(args, &input)?,
    };
    found.retain(|diagnostic| {
        let file = diagnostic.primary.file;
        // A manifest belongs to the module that names it.
        match program.is_template(file) {
            true => selection.wants_module(program.module_dir(program.file(file).module)),
            false => selection.wants(&program.file(file).path),
        }
    });
    match args.format {
        CheckFormat::Human => {
            if fixes_input && !found.is_empty() {
                say(render(&program, &found, std::io::stderr().is_terminal()).trim_end());
            } else if !fixes_input {
                print(&render(&program, &found, std::io::stdout().is_terminal()))?;
            }
            say(&if found.is_empty() { "nothing found".into() } else { summary(&found) });
        }
        CheckFormat::Sarif => {
            print(&to_json(&sarif::log(&lockstep_compiler::check_output(&program, &found)))?)?
        }
        CheckFormat::Github => {
            print(&github::annotations(&lockstep_compiler::check_output(&program, &found)))?
        }
        CheckFormat::Json => print(&to_json(&lockstep_compiler::check_output(&program, &found))?)?,
    }
    readable(&program)?;
    if args.explain_proof {
        say(proof_text(&program).trim_end());
    }
    let fails = |severity| match severity {
        Severity::Error => true,
        Severity::Warning => args.deny_warnings,
        Severity::Note => false,
    };
    let code = u8::from(found.iter().any(|diagnostic| fails(diagnostic.severity)));
    // The program ends here: taking its trees apart would only take time.
    std::mem::forget((program, found));
    Ok(code)
}

type Checked = (Selection, Program, Vec<Diagnostic>);

/// Checks what is found while the rest is still being looked for.
fn checked(args: &CheckArgs, input: &Input) -> Result<Checked, Failure> {
    let (send, roots) = mpsc::channel();
    // Nobody listens any more once a module could not be read.
    let tell = move |dir: &Path| send.send(dir.to_path_buf()).unwrap_or_default();
    let (selection, checked) = thread::scope(|scope| {
        let finding = scope.spawn(|| Selection::find(&args.paths, args.stdin_filename.as_deref(), tell));
        let checked = lockstep_compiler::check_modules(input, roots);
        (finding.join().unwrap_or_else(|panic| resume_unwind(panic)), checked)
    });
    let selection = selection?;
    let (program, found) = checked.map_err(unloaded)?;
    Ok((selection, program, found))
}

/// Applies fixes, writes what they change, and checks the rest.
fn fixed(args: &CheckArgs, input: &Input) -> Result<Checked, Failure> {
    let selection = Selection::find(&args.paths, args.stdin_filename.as_deref(), |_| {})?;
    let Fixed { program, found, applied, texts } = fix::apply(&selection, input)?;
    let name = input.0.as_ref().map(|(name, _)| name);
    for (path, text) in texts.iter().filter(|(path, _)| Some(*path) != name) {
        fix::write(path, text)?;
    }
    if let Some((name, text)) = &input.0 {
        print(texts.get(name).unwrap_or(text))?;
    }
    if applied > 0 {
        say(&format!("{applied} fixed"));
    }
    Ok((selection, program, found))
}

fn unloaded(error: LoadError) -> Failure {
    Failure::new(error.to_string())
}

/// How often short proofs are measured at most, and for how long.
const ROUNDS: u32 = 5;
const ENOUGH: Duration = Duration::from_millis(200);

/// What was proved of each pipeline, how much that covered, and how long it took beside the whole check.
fn proof_text(program: &Program) -> String {
    let start = Instant::now();
    let diagnostics = lockstep_compiler::check(program);
    let mut whole = start.elapsed();
    let mut proofs = lockstep_compiler::proofs(program, &|| start.elapsed());
    // What takes next to no time is measured some times more: the least is nearest to what it takes. Both are measured, one
    // after the other; a check proves too, and may do so on several cores.
    let mut rounds = 1;
    while rounds < ROUNDS && start.elapsed() < ENOUGH {
        rounds += 1;
        let before = start.elapsed();
        lockstep_compiler::check(program);
        whole = whole.min(start.elapsed().saturating_sub(before));
        let again = lockstep_compiler::proofs(program, &|| start.elapsed());
        for (proof, again) in proofs.iter_mut().zip(again) {
            proof.took = proof.took.min(again.took);
        }
    }
    let other_errors =
        diagnostics.iter().any(|it| it.severity == Severity::Error && it.rule != "all-or-nothing/violated");
    let place = |at: lockstep_compiler::Location| {
        let file = program.file(at.file);
        let position = file.lines.position(at.span.start);
        format!("{}:{}:{}", file.path.display(), position.line, position.column)
    };
    let mut text = String::new();
    let mut proving = Duration::ZERO;
    for proof in &proofs {
        proving += proof.took;
        let _ = writeln!(text, "pipeline {} ({})", proof.pipeline, place(proof.at));
        let _ = writeln!(text, "  every run of it ends, and no stage waits for ever");
        for promise in &proof.promises {
            let covered = &promise.coverage;
            let holds = match promise.found {
                _ if other_errors => "not judged, there are other errors",
                Found::Kept => "holds",
                Found::Broken => "DOES NOT HOLD",
                Found::Unproved => "could not be proved",
            };
            let _ = writeln!(text, "  all_or_nothing at {}: {holds}", place(promise.at));
            let _ = writeln!(
                text,
                "    {} scenarios: {} faults, each with every place of the other of {} branches",
                covered.scenarios, covered.faults, covered.branches
            );
            let _ = writeln!(
                text,
                "    by symmetry {} shapes, by barriers {} epochs: {} cases looked at, {} runs of the machine, {} sets of answers to open conditions",
                covered.shapes, covered.epochs, covered.checked, covered.replays, covered.worlds
            );
            let _ = writeln!(text, "    in {:.3} ms", milliseconds(proof.took));
        }
        if !proof.left.is_empty() {
            let _ = writeln!(text, "  after a failure this may stay changed:");
        }
        for left in &proof.left {
            let _ = writeln!(text, "    {}: {}", place(left.at), left.why);
        }
    }
    let share = 100.0 * proving.as_secs_f64() / whole.as_secs_f64().max(f64::MIN_POSITIVE);
    let _ = writeln!(
        text,
        "proving took {:.3} ms, the whole check {:.3} ms: {share:.1} %",
        milliseconds(proving),
        milliseconds(whole)
    );
    text
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
