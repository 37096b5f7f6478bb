//! The runner: journals each event, lets the machine say what follows, and has it done.
//!
//! An event is on disk before the machine is told and before anything that follows from it is begun: so what is about
//! to be done is known before, its outcome after. Events that are ready together share one transaction. Resuming is
//! folding the journal and going on with the commands that have no answer yet.

use crate::driver::{Context, Drivers};
use crate::error::{At, Error};
use crate::notify::{Channels, Notices};
use crate::observer::Observer;
use crate::preflight::{absent_programs, unsupported};
use crate::replay::Pending;
use crate::secrets::Secrets;
use crate::store::{Entry, Life, Pen, Reply, RunInfo, RunLock, Store};
use crate::supervisor::Scripts;
use crate::tasks::Tasks;
use crate::{claims, id, judge, process, tasks};
use lockstep_plan::machine::{ClaimStatus, State, step};
use lockstep_plan::{
    Action, Answer, ClaimId, Clock, Command, Deed, Event, Plan, Question, RunOutcome, Timer,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

/// How often requests of other processes are looked for.
const REQUESTS: Duration = Duration::from_millis(25);

/// After how many of those the runner says that it lives.
const HEARTBEAT: u32 = 40;

/// Carries one run out. Nobody else can while it lives.
pub struct Runner {
    store: Arc<Store>,
    plan: Arc<Plan>,
    info: RunInfo,
    drivers: Drivers,
    secrets: Secrets,
    _lock: RunLock,
    control: (mpsc::UnboundedSender<Control>, mpsc::UnboundedReceiver<Control>),
    interrupt: Option<Interrupt>,
    /// Who takes the run back although it has ended.
    take_back: Option<String>,
}

/// How [`Runner::run`] came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The run has ended.
    Finished(RunOutcome),
    /// The run has not ended; what runs on this machine by itself goes on, and the run can be resumed.
    Detached,
}

/// A place at which a test may have the runner vanish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// The journal entry of that number is on disk, and the machine has not been told.
    Appended(u64),
    /// The machine has been told, and its next command is about to be carried out.
    Command,
}

/// Says at which points the runner vanishes, as a crash would have it.
pub type Interrupt = Arc<dyn Fn(Point) -> bool + Send + Sync>;

enum Control {
    Event(Event),
    Detach,
}

/// Speaks to a [`Runner`] of this process. For one of another process see [`Store::request`].
#[derive(Clone)]
pub struct Handle(mpsc::UnboundedSender<Control>);

impl Handle {
    /// Stops the run, without rollback.
    pub fn abort(&self, by: &str) {
        self.send(Control::Event(Event::AbortRequested { by: by.into() }));
    }

    /// Stops the run and rolls it back.
    pub fn roll_back(&self, by: &str) {
        self.send(Control::Event(Event::RollbackRequested { by: by.into() }));
    }

    /// Answers a question. An answer that was not offered, or to a question that nobody asks, changes nothing.
    pub fn answer(&self, question: Question, answer: Answer, by: &str, comment: Option<String>) {
        self.send(Control::Event(Event::Answered { question, answer, by: by.into(), comment }));
    }

    /// Leaves the run as it is: processes of steps go on, and it can be resumed.
    pub fn detach(&self) {
        self.send(Control::Detach);
    }

    fn send(&self, control: Control) {
        // A runner that is gone has nothing left to be told.
        let _ = self.0.send(control);
    }
}

impl Runner {
    /// Records a new run of that plan, and gets ready to carry it out. Relative paths start from `module`.
    ///
    /// # Errors
    /// Nothing is begun when `by` may not, the plan needs what the drivers cannot do, secrets are missing, or the state directory
    /// cannot be used.
    pub fn start(
        store: Arc<Store>,
        drivers: Drivers,
        mut plan: Plan,
        module: &Path,
        by: &str,
    ) -> Result<Runner, Error> {
        plan.permits(by, Deed::Run)?;
        let drivers = drivers.with_programs(&plan);
        let mut missing = unsupported(&plan, &drivers);
        missing.extend(absent_programs(&plan, module));
        if !missing.is_empty() {
            return Err(Error::Unsupported(missing));
        }
        let impossible = claims::impossible(&plan);
        if !impossible.is_empty() {
            return Err(Error::Capacity(impossible));
        }
        let secrets = Secrets::resolve(&plan, module).map_err(Error::Secrets)?;
        let here = std::fs::canonicalize(module).at("open", module)?;
        for claim in plan.claims.iter().filter(|claim| claim.reject) {
            let held = store.held(&claims::needs(&plan, claim, &here))?;
            if !held.is_empty() {
                return Err(Error::Busy(tasks::blocked(&held)));
            }
        }
        drivers.complete(&mut plan, module);
        let info = store.create_run(&plan, module, by)?;
        let lock = store.lock_run(&info.id)?;
        Ok(Runner::new(store, drivers, plan, info, secrets, lock))
    }

    /// Gets ready to go on with a run.
    ///
    /// # Errors
    /// There is no such run, another process carries it out, secrets are missing, or its record cannot be read.
    pub fn resume(store: Arc<Store>, drivers: Drivers, run: &str) -> Result<Runner, Error> {
        let info = store.run(run)?;
        let lock = store.lock_run(run)?;
        let plan = store.plan(run)?;
        let drivers = drivers.with_programs(&plan);
        let secrets = match info.outcome {
            None => Secrets::resolve(&plan, &info.module).map_err(Error::Secrets)?,
            Some(_) => Secrets::default(),
        };
        Ok(Runner::new(store, drivers, plan, info, secrets, lock))
    }

    /// Gets ready to take back what a run that has ended did, as `by` asks for. [`Runner::run`] refuses, before anything
    /// happens, where that cannot be right.
    ///
    /// # Errors
    /// As [`Runner::resume`].
    pub fn take_back(store: Arc<Store>, drivers: Drivers, run: &str, by: &str) -> Result<Runner, Error> {
        let mut runner = Runner::resume(store, drivers, run)?;
        runner.secrets = Secrets::resolve(&runner.plan, &runner.info.module).map_err(Error::Secrets)?;
        runner.take_back = Some(by.into());
        Ok(runner)
    }

    fn new(
        store: Arc<Store>,
        drivers: Drivers,
        plan: Plan,
        info: RunInfo,
        secrets: Secrets,
        lock: RunLock,
    ) -> Runner {
        let plan = Arc::new(plan);
        Runner {
            store,
            plan,
            info,
            drivers,
            secrets,
            _lock: lock,
            control: mpsc::unbounded_channel(),
            interrupt: None,
            take_back: None,
        }
    }

    /// What is known of the run.
    pub fn info(&self) -> &RunInfo {
        &self.info
    }

    /// Its plan.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Speaks to the run while [`Runner::run`] carries it out.
    pub fn handle(&self) -> Handle {
        Handle(self.control.0.clone())
    }

    /// Has the runner vanish at some point, for tests of what is left behind.
    pub fn interrupt(&mut self, interrupt: Interrupt) {
        self.interrupt = Some(interrupt);
    }

    /// Carries the run out to its end, or until it is told to detach. Dropping the future detaches too.
    ///
    /// # Errors
    /// The journal cannot be written or read. Nothing is lost: the run can be resumed.
    pub async fn run(self, observer: Arc<dyn Observer>) -> Result<End, Error> {
        let (lives, pen) = self.store.begin_life(&self.info.id, &process::boot_id())?;
        let channels = Arc::new(Channels::new(self.plan.channels.clone(), self.secrets.clone()));
        let attempts = self.store.attempts_directory(&self.info.id);
        let scripts = Scripts::new(attempts, pen.epoch, self.secrets.variables().to_vec());
        let context = Arc::new(Context {
            run: self.info.id.clone(),
            pipeline: self.plan.pipeline.clone(),
            epoch: pen.epoch,
            module: self.info.module.clone(),
            secrets: self.secrets,
            channels: channels.clone(),
            scripts,
        });
        let notices =
            Notices::new(self.plan.clone(), self.store.clone(), observer.clone(), channels, &self.info.id);
        for (name, size) in context.secrets.short() {
            observer.note(&format!(
                "warning: the secret `{name}` has {size} character{}: it is struck out of whatever steps that are given it print, \
                 also where it stands by chance",
                if size == 1 { "" } else { "s" }
            ));
        }
        if self.info.outcome.is_none() && runs_scripts(&self.plan) {
            let context = context.clone();
            tokio::spawn(async move { context.scripts.prepare().await });
        }
        let tasks =
            Tasks::new(self.plan.clone(), self.store.clone(), self.drivers, context, observer.clone());
        let active = Active {
            state: State::new(&self.plan),
            pending: Pending::default(),
            seq: 0,
            at: 0,
            store: self.store,
            plan: self.plan,
            info: self.info,
            pen,
            lives,
            tasks,
            notices,
            observer,
            interrupt: self.interrupt,
            take_back: self.take_back,
            live: true,
            _lock: self._lock,
        };
        active.run(self.control.1).await
    }
}

/// A run that is being carried out.
struct Active {
    store: Arc<Store>,
    plan: Arc<Plan>,
    info: RunInfo,
    pen: Pen,
    lives: Vec<Life>,
    state: State,
    pending: Pending,
    /// Number and time of the last journal entry.
    seq: u64,
    at: u64,
    tasks: Tasks,
    notices: Notices,
    observer: Arc<dyn Observer>,
    interrupt: Option<Interrupt>,
    take_back: Option<String>,
    /// False once an [`Interrupt`] has had the runner vanish.
    live: bool,
    _lock: RunLock,
}

impl Active {
    async fn run(mut self, mut control: mpsc::UnboundedReceiver<Control>) -> Result<End, Error> {
        self.recover().await?;
        if let Some(by) = self.take_back.take() {
            self.reopen(by).await?;
        }
        let mut tick = tokio::time::interval(REQUESTS);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut ticks = 0;
        loop {
            if !self.live {
                return Ok(End::Detached);
            }
            if let Some(outcome) = self.state.outcome().filter(|_| self.state.is_finished()) {
                if self.info.outcome.is_none() {
                    // Only whoever still carries the run out touches its targets.
                    self.store.heartbeat(&self.pen)?;
                    self.tasks.seal(&self.state).await;
                }
                self.tasks.let_go_of_all().await;
                self.notices.settle().await;
                self.store.finish(&self.pen, outcome)?;
                return Ok(End::Finished(outcome));
            }
            let mut events = Vec::new();
            tokio::select! {
                Some(event) = self.tasks.next() => events.push(event),
                control = control.recv() => match control {
                    Some(Control::Event(event)) => events.push(event),
                    Some(Control::Detach) | None => return Ok(End::Detached),
                },
                _ = tick.tick() => {
                    self.apply_requests().await?;
                    ticks += 1;
                    if ticks % HEARTBEAT == 0 {
                        self.store.heartbeat(&self.pen)?;
                    }
                }
            }
            while let Some(event) = self.tasks.try_next() {
                events.push(event);
            }
            // What has come by now came before the clocks ran out.
            events.sort_by_key(|event| matches!(event, Event::TimerFired(_)));
            self.apply(events, Vec::new()).await?;
        }
    }

    /// A person takes the run back after its end.
    async fn reopen(&mut self, by: String) -> Result<(), Error> {
        if !self.state.is_finished() {
            return Ok(());
        }
        let reasons = self.tasks.obstacles(&self.state).await?;
        if !reasons.is_empty() {
            return Err(Error::NotReturnable { run: self.info.id.clone(), reasons });
        }
        self.store.reopen(&self.pen)?;
        self.info.outcome = None;
        self.apply(vec![Event::RollbackRequested { by }], Vec::new()).await
    }

    /// Takes what other processes ask for.
    async fn apply_requests(&mut self) -> Result<(), Error> {
        let mut requests = self.store.requests(&self.info.id)?;
        // Whoever wants the run to stop must not have it begin first what somebody answered earlier.
        requests.sort_by_key(|request| matches!(request.event, Event::Answered { .. }));
        // Nor does an answer count that was given when its time was over, for want of somebody who noticed.
        self.apply(self.pending.unanswered(&requests), Vec::new()).await?;
        let replies = judge::replies(&self.plan, &self.state, &self.pending, &requests);
        let replies = requests.iter().map(|request| request.id).zip(replies).collect();
        self.apply(requests.into_iter().map(|request| request.event).collect(), replies).await
    }

    /// Brings the run to where its journal has it, and goes on with what was under way.
    async fn recover(&mut self) -> Result<(), Error> {
        let Active { store, plan, info, pending, state, seq, at, observer, .. } = &mut *self;
        store.tell(&info.id, |entry| {
            (*seq, *at) = (entry.seq, entry.at);
            for (at, happening) in pending.fold(plan, state, entry) {
                observer.happening(at, &happening, true);
            }
        })?;
        self.tell_rest()?;
        if self.state.is_finished() {
            return Ok(());
        }
        if self.seq == 0 {
            let event = Event::Started { run: self.info.id.clone(), by: self.info.by.clone() };
            return self.apply(vec![event], Vec::new()).await;
        }
        let boot = process::boot_id();
        let rebooted = self.lives.iter().any(|life| life.boot != boot);
        let before =
            (self.pending.attempts.clone(), self.pending.records.clone(), self.pending.timers.clone());
        let claims = self.pending.claims.clone();
        // What people asked for while nobody carried the run out comes before what it does next. It may begin things of
        // its own; only what was under way before is looked for.
        self.apply_requests().await?;
        let attempts = self.pending.attempts.iter().filter(|(key, _)| before.0.contains_key(key));
        let attempts = attempts.map(|(key, attempt)| (*key, attempt.clone())).collect();
        let records = self.pending.records.iter().filter(|(key, _)| before.1.contains_key(key));
        let records: Vec<_> = records.map(|(key, call)| (*key, call.clone())).collect();
        self.recover_claims(&claims)?;
        let (ended, found) = self.tasks.probe(attempts, rebooted).await;
        for ((stage, target, service), call) in records {
            self.tasks.record(stage, target, service, call);
        }
        for attempt in found {
            self.tasks.go_on(attempt);
        }
        // What the probes said is journalled before any timer can fire.
        self.apply(ended, Vec::new()).await?;
        let now = id::now();
        for (timer, pending) in before.2 {
            let same = self.pending.timers.get(&timer).is_some_and(|now| now.at == pending.at);
            if same && self.live {
                let passed = match pending.clock {
                    Clock::Wall => now.saturating_sub(pending.at),
                    Clock::Runner => lived_since(&self.lives, pending.at),
                };
                self.tasks.start_timer(timer, pending.after.saturating_sub(passed));
            }
        }
        Ok(())
    }

    /// What is held in the machine's eyes is held on disk, and nothing else; what was waited for is waited for again.
    fn recover_claims(&mut self, before: &BTreeMap<ClaimId, (u32, bool)>) -> Result<(), Error> {
        let wanted = self.state.claims.iter().zip(0..).filter(|(claim, _)| claim.status != ClaimStatus::Free);
        let keep: Vec<(u32, u32)> = wanted.map(|(claim, index)| (index, claim.turn)).collect();
        self.store.release_but(&self.pen, &keep)?;
        for (claim, index) in self.state.claims.iter().zip(0..) {
            if claim.status == ClaimStatus::Held {
                self.tasks.hold_again(ClaimId(index), claim.turn);
            }
        }
        for (&claim, &(turn, wait)) in before {
            if self.pending.claims.get(&claim) == Some(&(turn, wait)) {
                self.tasks.claim(claim, turn, wait);
            }
        }
        Ok(())
    }

    /// Tells people what an earlier process was to tell and did not.
    fn tell_rest(&mut self) -> Result<(), Error> {
        // Of a run that had ended everything was told, or given up.
        if self.info.outcome.is_some() || self.pending.notices.is_empty() {
            return Ok(());
        }
        let told = self.store.notices(&self.info.id)?;
        for notice in &self.pending.notices {
            let mut rest = notice.clone();
            rest.channels.retain(|channel| !told.contains(&(notice.number, channel.clone())));
            self.notices.tell(&rest, &self.state, &self.pending.questions);
        }
        Ok(())
    }

    /// Journals the events, then tells the machine one after another and begins what it says.
    async fn apply(&mut self, mut events: Vec<Event>, replies: Vec<(i64, Reply)>) -> Result<(), Error> {
        // A timer that was stopped while its event was on the way.
        events.retain(|event| !matches!(event, Event::TimerFired(timer) if !self.is_pending(timer)));
        if events.is_empty() {
            return Ok(());
        }
        self.at = self.at.max(id::now());
        let first = self.seq + 1;
        let at = self.at;
        let mut entries: Vec<Entry> =
            (first..).zip(events).map(|(seq, event)| Entry { seq, at, event }).collect();
        self.seq += entries.len() as u64;
        if self.store.waits_for_disk() {
            let (store, pen) = (self.store.clone(), self.pen.clone());
            let append = move || store.append(&pen, &entries, &replies).map(|()| entries);
            entries = match tokio::task::spawn_blocking(append).await {
                Ok(result) => result?,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            };
        } else {
            // Another thread would take longer to wake than this takes.
            self.store.append(&self.pen, &entries, &replies)?;
        }
        for entry in entries {
            if self.vanishes_at(Point::Appended(entry.seq)) {
                return Ok(());
            }
            self.pending.answered(&entry.event);
            for command in step(&self.plan, &mut self.state, entry.event) {
                self.pending.commanded(&command, at);
                let effect = !matches!(command, Command::Announce(_) | Command::Finish(_));
                if effect && self.vanishes_at(Point::Command) {
                    return Ok(());
                }
                self.carry_out(command)?;
            }
        }
        // At the end there is something left to do with them.
        if !self.state.is_finished() {
            self.tasks.let_go();
        }
        Ok(())
    }

    fn is_pending(&self, timer: &Timer) -> bool {
        self.pending.timers.contains_key(timer)
    }

    fn vanishes_at(&mut self, point: Point) -> bool {
        if self.interrupt.as_ref().is_some_and(|interrupt| interrupt(point)) {
            self.live = false;
        }
        !self.live
    }

    fn carry_out(&mut self, command: Command) -> Result<(), Error> {
        match command {
            Command::Record { stage, target, service, call } => {
                self.tasks.record(stage, target, service, *call)
            }
            Command::StartStep { step, attempt, call } => self.tasks.start(step, attempt, *call, self.at),
            Command::CancelStep { step, attempt } => self.tasks.cancel(step, attempt),
            Command::StartTimer { timer, after, .. } => self.tasks.start_timer(timer, after),
            Command::StopTimer(timer) => self.tasks.stop_timer(timer),
            Command::AcquireClaims { claim, turn, wait } => self.tasks.claim(claim, turn, wait),
            Command::ReleaseClaims { claim, turn } => self.tasks.release(claim, turn)?,
            Command::Announce(happening) => self.observer.happening(self.at, &happening, false),
            Command::Notify { .. } => {
                if let Some(notice) = self.pending.notices.last() {
                    self.notices.tell(notice, &self.state, &self.pending.questions);
                }
            }
            // Questions wait in `pending` and in the journal. How the run ended is read off the state.
            Command::Ask { .. } | Command::Unask(_) | Command::Finish(_) => {}
        }
        Ok(())
    }
}

/// Whether steps of the plan are scripts.
fn runs_scripts(plan: &Plan) -> bool {
    let scripts = |action: &Action| matches!(action.step.as_str(), "shell" | "command");
    plan.steps.iter().any(|step| scripts(&step.action))
}

/// For how many milliseconds a process carried the run out since then, as far as it said so (about every second).
fn lived_since(lives: &[Life], since: u64) -> u64 {
    lives.iter().map(|life| life.seen_at.saturating_sub(life.started_at.max(since))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_time_of_runners_counts() {
        let life = |epoch, started_at, seen_at| Life { epoch, boot: String::new(), started_at, seen_at };
        let lives = [life(1, 0, 100), life(2, 500, 600), life(3, 900, 900)];
        assert_eq!(lived_since(&lives, 0), 200);
        assert_eq!(lived_since(&lives, 40), 160);
        assert_eq!(lived_since(&lives, 550), 50);
        assert_eq!(lived_since(&lives, 700), 0);
    }
}
