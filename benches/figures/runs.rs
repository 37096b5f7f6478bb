//! Real runs of many small steps: what a step costs, what a resume costs, and how much memory they take.

use crate::language::module;
use crate::{Figure, figure, milliseconds, timed};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn dsl(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dsl"));
    command.env("LOCKSTEP_STATE", folder.join("state")).current_dir(folder).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

#[track_caller]
fn succeeds(command: &mut Command) -> Duration {
    let (status, time) = timed(|| command.status());
    assert!(status.as_ref().is_ok_and(|status| status.success()), "{command:?}: {status:?}");
    time
}

/// The largest resident size that a process came to, in kilobytes, read until it ends.
fn peak(child: &mut Child) -> u64 {
    let path = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().expect("it can be waited for").is_none() {
        let status = fs::read_to_string(&path).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(peak);
        std::thread::sleep(Duration::from_millis(20));
    }
    peak
}

/// Ten thousand commands that do nothing, eight at a time: `ninja` and a run, one after the other, twice; the better of each.
pub fn against_ninja() -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut text = String::from("rule r\n  command = true\n");
    for number in 0..10_000 {
        text.push_str(&format!("build o{number}: r\n"));
    }
    fs::write(folder.path().join("build.ninja"), text).expect("a file");
    module(&folder.path().join("module"), 8, 1249, "true", "true");
    let (mut ninja, mut own) = (Duration::MAX, Duration::MAX);
    for _ in 0..2 {
        let mut command = Command::new("ninja");
        command.args(["-j8", "--quiet"]).current_dir(folder.path()).stdout(Stdio::null());
        if command.status().is_err() {
            return vec![figure("a no-op step against ninja", "no ninja here", "at most ×1.2", false)];
        }
        ninja = ninja.min(succeeds(&mut command));
        own = own.min(succeeds(dsl(folder.path()).args(["run", "module", "go", "--durability", "process"])));
    }
    let ratio = own.as_secs_f64() / ninja.as_secs_f64();
    let each = |time: Duration| format!("{:.2} ms", time.as_secs_f64() / 10.0);
    let what = format!("10,000 no-op steps, 8 at a time: {} each, ninja {}", each(own), each(ninja));
    vec![figure(&what, format!("×{ratio:.2}"), "at most ×1.2", ratio <= 1.2)]
}

/// Calls that force data to disk in a run of 200 steps, one after another.
pub fn fsyncs() -> Vec<Figure> {
    let folder = tempfile::tempdir().expect("a folder");
    module(&folder.path().join("module"), 1, 199, "true", "true");
    let trace = folder.path().join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-c", "-e", "trace=fsync,fdatasync,sync_file_range,msync", "-o"]).arg(&trace);
    command.arg(env!("CARGO_BIN_EXE_dsl")).args(["run", "module", "go"]).current_dir(folder.path());
    command.env("LOCKSTEP_STATE", folder.path().join("state")).stdout(Stdio::null()).stderr(Stdio::null());
    if !command.status().is_ok_and(|status| status.success()) {
        return vec![figure("forced writes for each step", "no strace here", "at most 2", false)];
    }
    let text = fs::read_to_string(trace).expect("what was counted");
    let total = text.lines().find(|line| line.trim_end().ends_with("total")).expect("a total");
    let calls: f64 = total.split_whitespace().rev().find_map(|word| word.parse().ok()).expect("a number");
    let each = calls / 200.0;
    vec![figure(
        "forced writes for each step, one after another",
        format!("{each:.2}"),
        "at most 2",
        each <= 2.0,
    )]
}

/// From asking for an abort in another process to the answer of the run.
pub fn requests() -> Vec<Figure> {
    let mut worst = Duration::ZERO;
    for _ in 0..20 {
        let folder = tempfile::tempdir().expect("a folder");
        module(&folder.path().join("module"), 1, 0, "true", "touch begun; exec sleep 60");
        let mut child = dsl(folder.path()).args(["run", "module", "go"]).spawn().expect("the program starts");
        wait_for(&folder.path().join("module/begun"));
        worst = worst.max(succeeds(dsl(folder.path()).args(["abort", "last"])));
        child.wait().expect("the run ends");
    }
    let met = worst.as_millis() < 100;
    vec![figure(
        "`dsl abort` until the run has taken it up, worst of 20",
        milliseconds(worst),
        "under 100 ms",
        met,
    )]
}

fn wait_for(path: &Path) {
    let begun = Instant::now();
    while !path.exists() {
        assert!(begun.elapsed() < Duration::from_secs(600), "{} never came", path.display());
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A run of so many steps that is killed in its last one: how long a resume takes, and the memory of both.
fn long(steps: usize) -> (Duration, u64) {
    let folder = tempfile::tempdir().expect("a folder");
    let last = "touch begun-$$; until [ -e open ]; do sleep 0.01; done";
    module(&folder.path().join("module"), 1, steps - 1, "true", last);
    let mut command = dsl(folder.path());
    command.args(["run", "module", "go", "--durability", "process"]);
    let mut child = command.spawn().expect("the program starts");
    let begun = || {
        let entries = fs::read_dir(folder.path().join("module")).expect("the module").flatten();
        entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("begun"))
    };
    while !begun() {
        assert!(child.try_wait().expect("it can be waited for").is_none(), "the run ended early");
        std::thread::sleep(Duration::from_millis(5));
    }
    let peaked = {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:").map(str::to_owned));
        line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(u64::MAX)
    };
    child.kill().expect("it lives");
    child.wait().expect("it ends");
    fs::write(folder.path().join("module/open"), "").expect("a file");
    let mut resume = dsl(folder.path());
    let begun = Instant::now();
    let mut child = resume.args(["resume", "last"]).spawn().expect("the program starts");
    let resumed = peak(&mut child);
    (begun.elapsed(), peaked.max(resumed))
}

pub fn resume_and_memory() -> Vec<Figure> {
    let (time, small) = long(10_000);
    let (_, large) = long(20_000);
    let further = large.saturating_sub(small) as f64 * 1024.0 / 10_000.0;
    let memory = format!("{:.1} MB", small as f64 / 1024.0);
    vec![
        figure(
            "resume of a 10,000-step run, to its end",
            milliseconds(time),
            "under 1 s",
            time.as_secs() < 1,
        ),
        figure("memory of a 10,000-step run at most", memory, "under 50 MB", small < 50 * 1024),
        figure("memory for each step beyond", format!("{further:.0} bytes"), "under 1 KB", further < 1024.0),
    ]
}
