//! `kill -9` at random moments, again and again: `cargo bench --bench reliability [-- COUNT [SEED]]`.
//!
//! Runs the examples that this machine can carry out, and a module of its own with many short steps, several at a time. Each
//! run is killed at a random moment, and with some luck its resume too, until it comes to its end; then that end has to be the
//! one of a run that nobody disturbed, what the journal knew before each kill has to be in it still, no attempt may have been
//! begun twice, and no script may have been. The first deviation ends it with everything that is known about it.

#[path = "../tests/it/killing.rs"]
mod killing;

use killing::{Chance, killed};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What is run: the example, its arguments, and the exit code of an undisturbed run.
const SCENES: [(&str, &[&str], i32); 6] = [
    (SHORT, &["go"], 0),
    (SHORT, &["go", "fails=true"], 1),
    ("quickstart", &["release", "version=2.0.0"], 0),
    ("quickstart", &["release", "version=2.0.0", "break_region2=true"], 1),
    ("build", &["package", "version=1.0.0"], 0),
    ("build", &["package", "version=1.0.0", "with_checksum=false"], 0),
];

/// No example: the module below.
const SHORT: &str = "short steps";

/// Two stages that each deploy, do small things that leave a line, and meet.
const SHORT_STEPS: &str = r#"
service files = local { artifact = other { path = "files" } }
environment lab {
  infrastructure one = local { root = "one" }
  infrastructure two = local { root = "two" }
}
workflow work(service: service<local>, infra: infrastructure<local>, fails: bool) {
  phase first {
    step a = shell { script = "echo ${stage.name}.a >>lines" }
    step put = local.deploy {}
    parallel {
      step b = shell { script = "echo ${stage.name}.b >>lines" }
      step c = shell { script = "echo ${stage.name}.c >>lines; sleep 0.02" }
    }
    barrier middle
  }
  phase second {
    step d = shell { script = "echo ${stage.name}.d >>lines" }
    step e = shell {
      only if fails
      script = "echo ${stage.name}.e >>lines; exit 1"
    }
    barrier end
  }
}
pipeline go(fails: bool = false) {
  parallel {
    stage one = work { service = files, infra = lab.one, fails = false }
    stage two = work { service = files, infra = lab.two, fails }
  }
}
"#;

/// At most so many kills in one run, so that each comes to its end.
const MOST_IN_ONE: u32 = 5;

struct Scene {
    folder: tempfile::TempDir,
    module: PathBuf,
    dsl: PathBuf,
}

impl Scene {
    fn new(example: &str, dsl: &Path) -> Scene {
        let folder = tempfile::tempdir().expect("a folder");
        let module = folder.path().join("module");
        let dsl = dsl.to_path_buf();
        if example == SHORT {
            fs::create_dir_all(module.join("files")).expect("a folder");
            fs::write(module.join("files/a"), "a").expect("a file");
            fs::write(module.join("main.lockstep"), SHORT_STEPS).expect("a file");
            return Scene { folder, module, dsl };
        }
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(example);
        let copied = Command::new("cp").arg("-r").arg(&from).arg(&module).status();
        assert!(copied.is_ok_and(|status| status.success()), "{} cannot be copied", from.display());
        // The clock of a step runs on while nobody carries the run out: a busy machine must not make it a failure.
        for entry in fs::read_dir(&module).expect("the module").flatten() {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "lockstep") {
                let text = fs::read_to_string(&path)
                    .expect("a source file")
                    .replace("timeout = 10s", "timeout = 10m")
                    .replace("timeout = 1m", "timeout = 10m");
                fs::write(&path, text).expect("a source file");
            }
        }
        Scene { folder, module, dsl }
    }

    fn dsl(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.dsl);
        command.args(words).current_dir(&self.module).env("LOCKSTEP_STATE", self.folder.path().join("state"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    fn status(&self) -> Option<Value> {
        let mut command = self.dsl(&["status", "--format", "json"]);
        let output = command.stdout(Stdio::piped()).output().expect("the program starts");
        output.status.success().then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
    }
}

/// A script that was begun twice, as the lines that scripts leave tell.
fn ran_twice(scene: &Scene) -> Option<String> {
    let lines = fs::read_to_string(scene.module.join("lines")).unwrap_or_default();
    let mut lines: Vec<&str> = lines.lines().collect();
    lines.sort_unstable();
    lines.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].to_owned())
}

/// Services outlive their runs; they have to be ended.
impl Drop for Scene {
    fn drop(&mut self) {
        let stop = self.module.join("stop.sh");
        if stop.exists() {
            let _ = Command::new(stop).stdout(Stdio::null()).status();
        }
    }
}

/// What an undisturbed run and any other have to agree in.
fn end(status: &Value) -> Value {
    let mut stages = status["stages"].clone();
    for (_, stage) in stages.as_object_mut().into_iter().flatten() {
        // In which order things happened is no part of it, and a cause may be told from another side.
        *stage = stage["outcome"].clone();
    }
    serde_json::json!([status["state"], stages, status["barriers"]])
}

fn events(status: &Value) -> Vec<Value> {
    status["events"].as_array().cloned().unwrap_or_default()
}

/// An attempt that was begun twice, if there is one.
fn begun_twice(status: &Value) -> Option<String> {
    let mut begun: BTreeMap<String, u32> = BTreeMap::new();
    for event in events(status).iter().filter(|event| event["event"] == "step_started") {
        *begun.entry(format!("{} attempt {}", event["step"], event["attempt"])).or_default() += 1;
    }
    begun.into_iter().find(|(_, count)| *count > 1).map(|(name, _)| name)
}

/// One run with its kills: how many there were.
fn disturb(
    at: usize,
    wanted: &Value,
    length: Duration,
    chance: &mut Chance,
    dsl: &Path,
) -> Result<u32, String> {
    let (example, arguments, code) = SCENES[at];
    let scene = Scene::new(example, dsl);
    let mut words = vec!["run", "."];
    words.extend(arguments);
    let mut kills = 0;
    let mut known: Vec<Value> = Vec::new();
    loop {
        let mut command = scene.dsl(&words);
        let ended = if kills < MOST_IN_ONE {
            let moment = chance.below(length.as_micros() as u64);
            killed(&mut command, Duration::from_micros(moment))
        } else {
            command.status().expect("the program starts").code()
        };
        let status = scene.status();
        if let Some(status) = &status {
            let now = events(status);
            if now.len() < known.len() || now[..known.len()] != known[..] {
                return Err(format!("what was journalled has changed:\n{known:#?}\n{now:#?}"));
            }
            if let Some(name) = begun_twice(status) {
                return Err(format!("{name} was begun twice:\n{now:#?}"));
            }
            known = now;
        }
        if let Some(name) = ran_twice(&scene) {
            return Err(format!("the script of {name} ran twice:\n{known:#?}"));
        }
        match (ended, status) {
            (Some(found), Some(status)) => {
                if found != code || end(&status) != *wanted {
                    let end = end(&status);
                    return Err(format!(
                        "it ended with {found}, {end}, instead of {code}, {wanted}:\n{status:#}"
                    ));
                }
                return Ok(kills);
            }
            (Some(found), None) => return Err(format!("it ended with {found}, and there is no run")),
            // Killed before it had recorded a run: it is begun anew.
            (None, None) => kills += 1,
            (None, Some(_)) => {
                kills += 1;
                words = vec!["resume", "last"];
            }
        }
    }
}

#[expect(clippy::print_stdout, reason = "what it found is its result")]
fn main() -> ExitCode {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let count = numbers.first().copied().unwrap_or(1000);
    let seed = numbers.get(1).copied().unwrap_or(0x5eed_1e55);
    // A copy, so that nothing changes should the program be built anew meanwhile.
    let folder = tempfile::tempdir().expect("a folder");
    let dsl = folder.path().join("dsl");
    fs::copy(env!("CARGO_BIN_EXE_dsl"), &dsl).expect("the program");
    let undisturbed: Vec<(Value, Duration)> = SCENES
        .iter()
        .map(|(example, arguments, code)| {
            let scene = Scene::new(example, &dsl);
            let begun = Instant::now();
            let ended =
                scene.dsl(&[&["run", "."], *arguments].concat()).status().expect("the program starts");
            assert_eq!(ended.code(), Some(*code), "{example} {arguments:?}");
            (end(&scene.status().expect("a run")), begun.elapsed())
        })
        .collect();
    let begun = Instant::now();
    let (kills, runs) = (AtomicU64::new(0), AtomicU64::new(0));
    let deviation: Mutex<Option<String>> = Mutex::new(None);
    let stopped = || deviation.lock().expect("nobody panics").is_some();
    let workers = std::thread::available_parallelism().map_or(2, |cores| cores.get() as u64) * 2;
    std::thread::scope(|scope| {
        for worker in 1..=workers {
            let (dsl, undisturbed, kills, runs, deviation, stopped) =
                (&dsl, &undisturbed, &kills, &runs, &deviation, &stopped);
            scope.spawn(move || {
                let mut chance = Chance::new(seed ^ worker.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                while kills.load(Ordering::Relaxed) < count && !stopped() {
                    let at = chance.below(SCENES.len() as u64) as usize;
                    let (wanted, length) = &undisturbed[at];
                    match disturb(at, wanted, *length, &mut chance, dsl) {
                        Ok(more) => kills.fetch_add(u64::from(more), Ordering::Relaxed),
                        Err(why) => {
                            let why = format!("worker {worker}, {:?}: {why}", SCENES[at]);
                            deviation.lock().expect("nobody panics").get_or_insert(why);
                            return;
                        }
                    };
                    runs.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let time = begun.elapsed().as_secs();
    let so_far = format!("{} kills in {} runs (seed {seed}, {time}s)", kills.into_inner(), runs.into_inner());
    match deviation.into_inner().expect("nobody panics") {
        Some(why) => {
            println!("after {so_far}: {why}");
            ExitCode::FAILURE
        }
        None => {
            println!("{so_far}: each came to its end, nothing was done twice");
            ExitCode::SUCCESS
        }
    }
}
