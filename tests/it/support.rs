//! A copy of the quickstart with its own state directory, and the program to run on it.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// The repository.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The program, with nothing of the caller's state.
pub fn dsl() -> Command {
    // An optimised one, say, where something is measured.
    let program = std::env::var_os("LOCKSTEP_TEST_DSL");
    let mut command = Command::new(program.unwrap_or_else(|| env!("CARGO_BIN_EXE_dsl").into()));
    command.env_remove("LOCKSTEP_STATE").env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// What a command said, with its exit code.
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Said {
    pub fn of(output: Output) -> Said {
        Said {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("output is UTF-8"),
            err: String::from_utf8(output.stderr).expect("output is UTF-8"),
        }
    }

    /// Fails with everything that was said unless the exit code is the expected one.
    #[track_caller]
    pub fn exits(self, code: i32) -> Said {
        assert_eq!(self.code, Some(code), "\n--- stdout\n{}\n--- stderr\n{}", self.out, self.err);
        self
    }
}

/// Runs a command to its end.
pub fn said(command: &mut Command) -> Said {
    Said::of(command.output().expect("the program starts"))
}

/// A command with something on its standard input.
pub fn fed(command: &mut Command, input: &str) -> Said {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("its standard input").write_all(input.as_bytes()).expect("it reads");
    Said::of(child.wait_with_output().expect("it ends"))
}

/// The folders of examples that are right.
pub fn examples() -> Vec<PathBuf> {
    let entries = fs::read_dir(repository().join("examples")).expect("there are examples");
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    folders.retain(|folder| folder.is_dir() && folder.file_name().is_some_and(|name| name != "wrong"));
    folders.sort();
    assert!(!folders.is_empty());
    folders
}

/// A module in a folder of its own.
pub struct Sandbox {
    folder: TempDir,
}

impl Sandbox {
    /// A copy of an example.
    pub fn of_example(name: &str) -> Sandbox {
        let folder = TempDir::new().expect("a temporary folder");
        copy(&repository().join("examples").join(name), &folder.path().join("module"));
        Sandbox { folder }
    }

    /// A module of one file.
    pub fn of_source(text: &str) -> Sandbox {
        let folder = TempDir::new().expect("a temporary folder");
        fs::create_dir(folder.path().join("module")).expect("a folder");
        fs::write(folder.path().join("module/main.lockstep"), text).expect("a file");
        Sandbox { folder }
    }

    pub fn module(&self) -> PathBuf {
        self.folder.path().join("module")
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub fn events(&self) -> PathBuf {
        self.folder.path().join("events.jsonl")
    }

    /// `dsl run MODULE …`, events written.
    pub fn run(&self, arguments: &[&str]) -> Command {
        let mut command = self.dsl("run");
        command.arg(self.module()).args(arguments).arg("--events").arg(self.events());
        command
    }

    /// A subcommand with this sandbox's state.
    pub fn dsl(&self, subcommand: &str) -> Command {
        let mut command = dsl();
        command.arg(subcommand).env("LOCKSTEP_STATE", self.folder.path().join("state"));
        command
    }

    /// What the service of a region says.
    pub fn ask(&self, region: &str) -> String {
        let said = said(Command::new(self.module().join("ask.sh")).arg(region)).exits(0);
        said.out.trim().into()
    }

    /// The last run as `dsl status --format json` tells it.
    pub fn status(&self) -> serde_json::Value {
        let said = said(self.dsl("status").args(["--format", "json"])).exits(0);
        serde_json::from_str(&said.out).expect("the status is JSON")
    }

    /// Starts the program, and kills it with SIGKILL as soon as an event line holds `mark`. False when the run ended before.
    pub fn kill_at(&self, command: &mut Command, mark: &str) -> bool {
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
        loop {
            // Whether the program has ended is asked before the file is read, so that its last lines are not missed.
            let ended = child.try_wait().expect("the program can be waited for").is_some();
            let seen =
                fs::read_to_string(self.events()).unwrap_or_default().lines().any(|line| line.contains(mark));
            if seen {
                kill(&mut child);
                return true;
            }
            if ended {
                return false;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

fn kill(child: &mut Child) {
    // `Child::kill` is SIGKILL.
    let _ = child.kill();
    child.wait().expect("the program can be waited for");
}

/// Scripts of unfinished runs, as a test leaves them.
fn end_scripts(folder: &Path) {
    let runs = fs::read_dir(folder.join("state/attempts")).into_iter().flatten().flatten();
    let logs = runs.flat_map(|run| fs::read_dir(run.path().join(".scripts")).into_iter().flatten().flatten());
    for log in logs {
        let log = fs::read_to_string(log.path()).unwrap_or_default();
        for pid in log.lines().filter_map(|line| line.strip_prefix("started ")?.split(' ').next()) {
            // Its number may be another's by now.
            let there = fs::read_link(format!("/proc/{pid}/cwd"));
            let ours = there.is_ok_and(|there| there.starts_with(folder));
            if let Some(pid) = pid.parse().ok().filter(|_| ours).and_then(rustix::process::Pid::from_raw) {
                let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
            }
        }
    }
}

/// Services and scripts outlive the program, so they have to be ended.
impl Drop for Sandbox {
    fn drop(&mut self) {
        end_scripts(self.folder.path());
        let stop = self.module().join("stop.sh");
        if stop.exists() {
            let _ = Command::new(stop).status();
        }
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("the example exists") {
        let entry = entry.expect("an entry");
        if entry.file_name() == "regions" {
            continue;
        }
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a kind").is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
