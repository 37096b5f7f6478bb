//! Hand-made plans, a state directory, and an observer that remembers.

use lockstep_executor::{Drivers, End, Line, Observer, Runner, Store};
use lockstep_plan::*;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// What stands in a stage of a hand-made plan.
#[derive(Clone)]
pub enum W {
    Step {
        name: &'static str,
        provider: &'static str,
        step: &'static str,
        arguments: Vec<(&'static str, Value)>,
        timeout: u64,
    },
    Barrier(&'static str),
}

/// `shell` with that script.
pub fn shell(name: &'static str, script: &str) -> W {
    W::Step {
        name,
        provider: "shell",
        step: "shell",
        arguments: vec![("script", text(script))],
        timeout: 20_000,
    }
}

/// A step of the provider `local`.
pub fn local(name: &'static str, step: &'static str) -> W {
    W::Step { name, provider: "local", step, arguments: vec![], timeout: 20_000 }
}

impl W {
    pub fn timeout(mut self, milliseconds: u64) -> W {
        if let W::Step { timeout, .. } = &mut self {
            *timeout = milliseconds;
        }
        self
    }

    pub fn with(mut self, name: &'static str, value: Value) -> W {
        if let W::Step { arguments, .. } = &mut self {
            arguments.push((name, value));
        }
        self
    }
}

pub fn text(text: &str) -> Value {
    Value::Text(text.into())
}

/// A stage with a target and a service of its own.
#[derive(Clone)]
pub struct S {
    pub name: &'static str,
    pub root: PathBuf,
    pub service: Vec<(&'static str, String)>,
    pub artifact: (&'static str, String),
    pub works: Vec<W>,
}

pub fn stage(name: &'static str, works: Vec<W>) -> S {
    S { name, root: PathBuf::from(name), service: vec![], artifact: ("other", String::new()), works }
}

fn values(settings: impl IntoIterator<Item = (&'static str, Value)>) -> Fields<Expr> {
    settings.into_iter().map(|(name, value)| (name.to_string(), Expr::Value(value))).collect()
}

/// The stages in parallel, one phase each.
pub fn plan(stages: Vec<S>) -> Plan {
    let mut plan = Plan { pipeline: "release".into(), ..Plan::default() };
    let mut branches = Vec::new();
    for (number, stage) in stages.into_iter().enumerate() {
        let id = StageId(number as u32);
        plan.targets.push(Target {
            name: format!("here.{}", stage.name),
            provider: "local".into(),
            environment: "here".into(),
            kind: "non_production".into(),
            settings: values([("root", Value::Path(stage.root.display().to_string()))]),
            identity: vec!["root".into()],
        });
        plan.services.push(Service {
            name: "demo".into(),
            provider: "local".into(),
            artifact_type: stage.artifact.0.into(),
            artifact: values([("path", Value::Path(stage.artifact.1.clone()))]),
            settings: values(stage.service.iter().map(|(name, value)| (*name, text(value)))),
        });
        let mut positions = Vec::new();
        for work in stage.works {
            let work = match work {
                W::Barrier(name) => Work::Barrier(place(&mut plan, name, stage.name, number as u32)),
                W::Step { name, provider, step, arguments, timeout } => {
                    let forward = StepId(plan.steps.len() as u32);
                    let changes = provider == "local" && matches!(step, "deploy" | "start" | "stop");
                    let action = |step: &str, arguments| Action {
                        provider: provider.into(),
                        step: step.into(),
                        arguments,
                        target: Some(TargetId(number as u32)),
                        service: Some(ServiceId(number as u32)),
                        files: vec![],
                        service_files: vec![],
                    };
                    let made = Step {
                        name: format!("{}.main.{name}", stage.name),
                        stage: id,
                        phase: Some(0),
                        role: Role::Forward,
                        action: action(step, values(arguments)),
                        when: vec![],
                        timeout,
                        changes,
                        undo: if changes { Undo::Derived(StepId(forward.0 + 1)) } else { Undo::None },
                        idempotent: false,
                        interruptible: false,
                        scopes: vec![],
                        outputs: Fields::new(),
                    };
                    let undo = Step {
                        name: format!("{}.undo", made.name),
                        role: Role::Undo(forward),
                        action: action("rollback", Fields::new()),
                        undo: Undo::None,
                        timeout: 20_000,
                        ..made.clone()
                    };
                    plan.steps.push(made);
                    if changes {
                        plan.steps.push(undo);
                    }
                    Work::Steps(vec![forward])
                }
            };
            positions.push(Position { phase: 0, sections: vec![], when: vec![], work });
        }
        plan.stages.push(Stage {
            name: stage.name.into(),
            workflow: "w".into(),
            item: ItemId(0),
            branch: number as u32,
            when: vec![],
            phases: vec![Phase {
                name: "main".into(),
                conditions: 0,
                rollback: None,
                uses: vec![],
                claim: None,
            }],
            positions,
            rollback: None,
            uses: vec![],
            concurrency: Concurrency::Queue,
            notifies: vec![],
            claim: None,
            rollback_claim: None,
        });
        branches.push(Branch { lane: None, parts: vec![Part::Stage(id)], commit: None });
    }
    plan.items = vec![Item { group: Some(Group { number: 1, max: None, all_or_nothing: false }), branches }];
    plan
}

fn place(plan: &mut Plan, name: &str, stage: &str, number: u32) -> PlaceId {
    let id = PlaceId(plan.places.len() as u32);
    let found = plan.barriers.iter().position(|barrier| barrier.name == name);
    let barrier = found.unwrap_or_else(|| {
        let kind = BarrierKind::Forward;
        plan.barriers.push(Barrier { name: name.into(), item: ItemId(0), kind, places: vec![] });
        plan.barriers.len() - 1
    });
    plan.barriers[barrier].places.push(id);
    plan.places.push(Place {
        name: format!("{stage}.main.{name}"),
        barrier: BarrierId(barrier as u32),
        stage: Some(StageId(number)),
        branch: number,
        when: vec![],
        timeout: Some(60_000),
        scopes: vec![],
        skipped: false,
    });
    id
}

/// Remembers everything; tells when a line comes.
#[derive(Default)]
pub struct Memory {
    pub happenings: Mutex<Vec<(Happening, bool)>>,
    pub lines: Mutex<Vec<String>>,
    pub notes: Mutex<Vec<String>>,
    arrived: tokio::sync::Notify,
}

impl Memory {
    pub async fn line(&self, wanted: &str) {
        self.until(|| self.lines.lock().unwrap().iter().any(|line| line == wanted)).await;
    }

    pub async fn happening(&self, wanted: impl Fn(&Happening) -> bool) {
        self.until(|| self.happenings.lock().unwrap().iter().any(|(happening, _)| wanted(happening))).await;
    }

    async fn until(&self, holds: impl Fn() -> bool) {
        loop {
            let notified = self.arrived.notified();
            if holds() {
                return;
            }
            notified.await;
        }
    }
}

impl Observer for Memory {
    fn note(&self, text: &str) {
        self.notes.lock().unwrap().push(text.to_string());
    }

    fn happening(&self, _: u64, happening: &Happening, replayed: bool) {
        self.happenings.lock().unwrap().push((happening.clone(), replayed));
        self.arrived.notify_waiters();
    }

    fn line(&self, line: &Line<'_>) {
        self.lines.lock().unwrap().push(line.text.to_string());
        self.arrived.notify_waiters();
    }
}

/// A state directory and a module beside it, both gone at the end, with whatever still runs in the module's targets.
pub struct World {
    pub directory: tempfile::TempDir,
}

impl World {
    pub fn new() -> World {
        World { directory: tempfile::tempdir().unwrap() }
    }

    pub fn store(&self) -> Arc<Store> {
        Arc::new(Store::open(&self.directory.path().join("state")).unwrap())
    }

    pub fn module(&self) -> PathBuf {
        let module = self.directory.path().join("module");
        std::fs::create_dir_all(&module).unwrap();
        module
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.module().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn runner(&self, plan: Plan) -> Runner {
        Runner::start(self.store(), Drivers::built_in(), plan, &self.module(), "tester").unwrap()
    }

    pub fn resume(&self, run: &str) -> Runner {
        Runner::resume(self.store(), Drivers::built_in(), run).unwrap()
    }

    /// Begins a run whose script says `begun`, and leaves it when it has: the script goes on.
    pub async fn left_running(&self, plan: Plan) -> String {
        let runner = self.runner(plan);
        let (run, handle) = (runner.info().id.clone(), runner.handle());
        let memory = Arc::new(Memory::default());
        let running = tokio::spawn(runner.run(memory.clone()));
        memory.line("begun").await;
        handle.detach();
        assert_eq!(running.await.unwrap().unwrap(), End::Detached);
        run
    }

    /// Runs to the end.
    pub async fn run(&self, plan: Plan) -> Ended {
        let runner = self.runner(plan);
        let run = runner.info().id.clone();
        let memory = Arc::new(Memory::default());
        let end = runner.run(memory.clone()).await.unwrap();
        Ended { end, run, memory, store: self.store() }
    }
}

impl World {
    /// The logs of supervisors.
    pub fn logs(&self) -> Vec<PathBuf> {
        let mut logs = walk(&self.directory.path().join("state"));
        logs.retain(|path| path.parent().is_some_and(|folder| folder.ends_with(".scripts")));
        logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        logs
    }

    /// The processes after that word in the logs of supervisors: `supervisor`, `started`.
    pub fn noted(&self, word: &str) -> Vec<rustix::process::Pid> {
        let mut found = Vec::new();
        for log in self.logs() {
            for line in std::fs::read_to_string(log).unwrap().lines() {
                let words: Vec<&str> = line.split(' ').collect();
                if words[0] == word {
                    found.extend(rustix::process::Pid::from_raw(words[1].parse().unwrap()));
                }
            }
        }
        found
    }

    /// Kills the supervisors, and waits until they are gone.
    pub fn kill_supervisors(&self) {
        for pid in self.noted("supervisor") {
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        }
        for log in self.logs() {
            std::fs::File::open(log).unwrap().lock_shared().unwrap();
        }
    }
}

impl Drop for World {
    /// Services and scripts outlive the runner; they shall not outlive the test.
    fn drop(&mut self) {
        for pid in self.noted("started") {
            // Its number may be another's by now.
            let there = std::fs::read_link(format!("/proc/{}/cwd", pid.as_raw_nonzero()));
            if there.map_or(true, |there| there.starts_with(self.directory.path())) {
                let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
            }
        }
        for entry in walk(self.directory.path()) {
            if entry.file_name().is_some_and(|name| name == "service.pid") {
                let text = std::fs::read_to_string(entry).unwrap_or_default();
                if let Some(pid) = text.lines().nth(1).and_then(|pid| pid.parse().ok()) {
                    let pid = rustix::process::Pid::from_raw(pid).unwrap();
                    let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
                }
            }
        }
    }
}

pub fn walk(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(walk(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

/// A run that has ended.
pub struct Ended {
    pub end: End,
    pub run: String,
    pub memory: Arc<Memory>,
    pub store: Arc<Store>,
}

impl Ended {
    pub fn events(&self) -> Vec<Event> {
        self.store.history(&self.run).unwrap().into_iter().map(|entry| entry.event).collect()
    }

    /// How the plan's first step ended, at last.
    pub fn outcome(&self) -> Outcome {
        let last = self.events().into_iter().rev().find_map(|event| match event {
            Event::StepEnded { step: StepId(0), outcome, .. } => Some(outcome),
            _ => None,
        });
        last.unwrap()
    }

    pub fn failure(&self) -> Failure {
        match self.outcome() {
            Outcome::Failed(failure) => failure,
            other => panic!("{other:?}"),
        }
    }

    pub fn stdout(&self) -> String {
        match self.outcome() {
            Outcome::Succeeded { outputs } => outputs["stdout"].to_string(),
            other => panic!("{other:?}"),
        }
    }
}
