//! The arguments: what `CLI.md` fixes, as clap reads it.

use clap::{Args as ClapArgs, Parser, ValueEnum};
use std::path::PathBuf;

const CHECK_CODES: &str = "Exit codes: 0 nothing found, 1 findings, 2 wrong use or unreadable input.";
const SIMULATE_CODES: &str =
    "Exit codes: 0 as promised, 1 a promise does not hold, 2 wrong use or a source with errors.";
const RUN_CODES: &str = "Exit codes: 0 succeeded; 1 failed, and what failed was rolled back; 2 wrong use or a source with errors; 3 failed, \
     and a person is needed; 4 aborted; 5 unfinished, `dsl resume` goes on.";
const ROLLBACK_CODES: &str = "Exit codes: 0 everything is back, nothing was left to roll back, or the process that carries the \
     run out has taken it up; 2 refused, and nothing was touched; 3 a person \
     is needed; 4 aborted; 5 unfinished, `dsl resume` goes on.";

/// Lockstep: coordinated deployments, checked before they run.
#[derive(Debug, Parser)]
#[command(name = "dsl", version, propagate_version = true, max_term_width = 100)]
pub struct Args {
    #[command(subcommand)]
    pub command: Subcommand,
}

#[derive(Debug, clap::Subcommand)]
pub enum Subcommand {
    /// Find everything that is wrong with source files
    #[command(after_help = CHECK_CODES)]
    Check(CheckArgs),
    /// Write source files the way everybody writes them
    #[command(after_help = CHECK_CODES)]
    Fmt(FmtArgs),
    /// Say what a rule is about, with a wrong and a corrected example
    Explain(ExplainArgs),
    /// Show what a pipeline would do
    Plan(PlanArgs),
    /// Play a pipeline through under chosen outcomes, without touching anything
    #[command(after_help = SIMULATE_CODES)]
    Simulate(SimulateArgs),
    /// Carry a pipeline out
    #[command(after_help = RUN_CODES)]
    Run(RunArgs),
    /// List what has run and what is running
    Runs(RunsArgs),
    /// Show what a run has come to, and why
    Status(StatusArgs),
    /// Show what a run's steps printed
    Logs(LogsArgs),
    /// Go on with a run, or a rollback, that was cut short
    #[command(after_help = RUN_CODES)]
    Resume(ResumeArgs),
    /// Stop a run that has not ended, without rollback
    Abort(RequestArgs),
    /// Roll a run back: stop it first where it is running, or take back what it did where it has ended
    #[command(after_help = ROLLBACK_CODES)]
    Rollback(ResumeArgs),
    /// Answer a question that a run asks
    Answer(AnswerArgs),
    /// Speak the language server protocol over standard input and output
    Lsp,
    /// Write shell completions to standard output
    Completions(CompletionsArgs),
    /// Write man pages into a directory, or the main one to standard output
    Man(ManArgs),
}

#[derive(Debug, ClapArgs)]
pub struct CheckArgs {
    /// Files or directories; `-` reads standard input [default: the current directory]
    pub paths: Vec<PathBuf>,
    /// How to write what was found
    #[arg(long, value_enum, default_value_t = CheckFormat::Human)]
    pub format: CheckFormat,
    /// Count warnings as findings
    #[arg(long)]
    pub deny_warnings: bool,
    /// Apply the fixes that are mechanical
    #[arg(long)]
    pub fix: bool,
    /// Say how much the proof of each promise covered, and what rules leave changed
    #[arg(long)]
    pub explain_proof: bool,
    /// What to call standard input
    #[arg(long, value_name = "NAME")]
    pub stdin_filename: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub struct FmtArgs {
    /// Files or directories; `-` formats standard input to standard output [default: the current directory]
    pub paths: Vec<PathBuf>,
    /// Write nothing, list the files that are not formatted
    #[arg(long)]
    pub check: bool,
    /// Write nothing, show what would change
    #[arg(long)]
    pub diff: bool,
    /// What to call standard input
    #[arg(long, value_name = "NAME")]
    pub stdin_filename: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// For people
    Human,
    /// For programs
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Annotations of GitHub Actions
    Github,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExplainFormat {
    /// For people
    Human,
    /// For programs
    Json,
}

#[derive(Debug, ClapArgs)]
pub struct ExplainArgs {
    /// The rule, as `barrier/deadlock` [default: list all rules]
    pub rule: Option<String>,
    /// How to write it
    #[arg(long, value_enum, default_value_t = ExplainFormat::Human)]
    pub format: ExplainFormat,
}

/// A pipeline with its arguments.
#[derive(Debug, ClapArgs)]
pub struct PipelineArgs {
    /// The module: a directory, or one of its files
    pub path: PathBuf,
    /// The pipeline
    pub pipeline: String,
    /// Its arguments; a list is written `a,b`, a map `key=value,key=value`, text that holds a comma in quotes
    #[arg(value_name = "NAME=VALUE")]
    pub arguments: Vec<String>,
    /// Take arguments from a JSON object; those on the command line win
    #[arg(long, value_name = "FILE")]
    pub values: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TextFormat {
    /// For people
    Text,
    /// For programs
    Json,
}

#[derive(Debug, ClapArgs)]
pub struct PlanArgs {
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// How to write it
    #[arg(long, value_enum, default_value_t = TextFormat::Text)]
    pub format: TextFormat,
    /// Show what would change on each target, by asking it; nothing is changed
    #[arg(long, conflicts_with = "format")]
    pub diff: bool,
    /// Where to write it [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub struct SimulateArgs {
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// Let every attempt of a step fail, as `application` unless a kind is given, on a share of its hosts if you like; or an approval be refused, or a wait at a barrier run out; as often as you like
    #[arg(long, value_name = "STEP[=KIND[@SHARE%]]")]
    pub fail: Vec<String>,
    /// How long a step takes, or people to answer an approval
    #[arg(long, value_name = "STEP=DURATION")]
    pub takes: Vec<String>,
    /// What a step gives, or `run.by` is, where conditions read it (an addition to the other options: they choose what happens, this one what is seen)
    #[arg(long, value_name = "STEP.OUTPUT=VALUE")]
    pub gives: Vec<String>,
    /// What people answer where they are asked; `retry` once
    #[arg(long, value_name = "STEP=ANSWER")]
    pub answer: Vec<String>,
    /// Let one step after the other fail besides, in each way that makes a difference; approvals are given
    #[arg(long)]
    pub every_failure: bool,
    /// How to write it
    #[arg(long, value_enum, default_value_t = TextFormat::Text)]
    pub format: TextFormat,
}

/// Where runs are kept.
#[derive(Debug, ClapArgs)]
pub struct StateArgs {
    /// The state directory [default: $LOCKSTEP_STATE, else lockstep in the user's state directory]
    #[arg(long = "state", value_name = "DIR")]
    pub directory: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub struct RunArgs {
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    #[command(flatten)]
    pub watch: WatchArgs,
    #[command(flatten)]
    pub state: StateArgs,
    /// Do not ask before a production environment is touched
    #[arg(long)]
    pub yes: bool,
}

/// What the journal of a run survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Durability {
    /// A power cut
    Machine,
    /// The end of the process; faster, but after a power cut the last steps may run again
    Process,
}

#[derive(Debug, ClapArgs)]
pub struct WatchArgs {
    /// Append every event to a file, as a line of JSON
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,
    /// What the journal of the run survives
    #[arg(long, value_enum, default_value_t = Durability::Machine)]
    pub durability: Durability,
}

#[derive(Debug, ClapArgs)]
pub struct RunsArgs {
    #[command(flatten)]
    pub state: StateArgs,
    /// How to write it
    #[arg(long, value_enum, default_value_t = TextFormat::Text)]
    pub format: TextFormat,
}

#[derive(Debug, ClapArgs)]
pub struct StatusArgs {
    /// An id, a unique beginning of one, or `last`
    #[arg(default_value = "last")]
    pub run: String,
    #[command(flatten)]
    pub state: StateArgs,
    /// How to write it
    #[arg(long, value_enum, default_value_t = TextFormat::Text)]
    pub format: TextFormat,
}

#[derive(Debug, ClapArgs)]
pub struct LogsArgs {
    /// An id, a unique beginning of one, or `last`
    pub run: String,
    /// Only this step, as `stage.phase.step`
    pub step: Option<String>,
    #[command(flatten)]
    pub state: StateArgs,
}

#[derive(Debug, ClapArgs)]
pub struct ResumeArgs {
    /// An id, a unique beginning of one, or `last`
    pub run: String,
    #[command(flatten)]
    pub watch: WatchArgs,
    #[command(flatten)]
    pub state: StateArgs,
}

#[derive(Debug, ClapArgs)]
pub struct RequestArgs {
    /// An id, a unique beginning of one, or `last`
    pub run: String,
    #[command(flatten)]
    pub state: StateArgs,
}

#[derive(Debug, ClapArgs)]
pub struct AnswerArgs {
    /// An id, a unique beginning of one, or `last`
    pub run: String,
    /// What is asked about, as `dsl status` names it
    pub step: String,
    /// The answer
    #[arg(value_parser = ["approve", "reject", "retry", "ignore", "succeed", "rollback", "abort"])]
    pub answer: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    #[command(flatten)]
    pub state: StateArgs,
}

#[derive(Debug, ClapArgs)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

#[derive(Debug, ClapArgs)]
pub struct ManArgs {
    /// Where to write all pages [default: the main one, to standard output]
    pub directory: Option<PathBuf>,
}
