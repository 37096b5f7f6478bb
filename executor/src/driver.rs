//! Drivers: what carries a provider's steps out.
//!
//! A driver is told a [`lockstep_plan::Call`] and an idempotency key, and answers with an outcome. After a crash it is
//! asked what became of a key ([`Driver::probe`]) before anything is repeated.

use crate::drivers::Program;
use crate::notify::Channels;
use crate::observer::{Line, Observer, Stream};
use crate::secrets::{Redactor, Secrets};
use crate::supervisor::Scripts;
use lockstep_plan::{Call, Failure, Fields, Kind, Outcome, Plan, StepId, Value, ValueType, Verdict};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Work that a driver has begun. Dropping it detaches: separate processes go on, work of this process stops where it is.
pub type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Carries out the steps of one provider.
pub trait Driver: Send + Sync {
    /// The steps that it knows.
    fn steps(&self) -> &[&str];

    /// Whether it knows that step.
    fn knows(&self, step: &str) -> bool {
        self.steps().contains(&step)
    }

    /// Carries an attempt out. Must end soon after [`Cancel::cancelled`], with the work stopped, or say
    /// [`Outcome::Lost`].
    fn start(&self, attempt: Attempt) -> Work<Outcome>;

    /// What became of an attempt that was to be started by a process that is gone.
    fn probe(&self, attempt: Attempt) -> Work<Probe>;

    /// Whether an attempt of that step may be repeated when nobody knows how it ended.
    fn repeatable(&self, step: &str) -> bool {
        let _ = step;
        false
    }

    /// Puts into the plan of a run that is about to begin what its steps would else look for when they are carried out, so that
    /// it stays as it is now. Relative paths start from `module`.
    fn complete(&self, plan: &mut Plan, module: &Path) {
        let _ = (plan, module);
    }

    /// Whether the call's target can be returned to the call's record although the run has ended: what the run put there is
    /// still there, and so is what it replaced. Looks only.
    fn can_return(&self, call: Call, context: Arc<Context>) -> Work<Result<(), Failure>> {
        let _ = (call, context);
        Box::pin(async { Ok(()) })
    }

    /// The run that made the calls has ended for good: what it put on their target is a successful release now, and older ones
    /// that nobody returns to any more can go. There is a call for each stage that changed the target, in their order, with its
    /// record: what the run found there first, then what its later stages found; it can be taken back over all of these.
    /// `passed`: how failures of steps that change it were passed over, if any failed (see
    /// [`lockstep_plan::machine::Changed`]). Gives what was deleted, for people.
    fn seal(
        &self,
        calls: Vec<Call>,
        context: Arc<Context>,
        passed: Option<Verdict>,
    ) -> Work<Result<Vec<String>, Failure>> {
        let _ = (calls, context, passed);
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Whether a run that makes these calls, all for one service and target, has what it will need: fails with what would
    /// surely fail then, such as a permission that is missing. Looks only.
    fn check(&self, calls: Vec<Call>, module: PathBuf) -> Work<Result<(), Failure>> {
        let _ = (calls, module);
        Box::pin(async { Ok(()) })
    }

    /// What the call's service on its target really is, whatever it is called; none where the target's settings say all that
    /// there is to say. Looks only.
    fn identify(&self, call: Call) -> Option<Work<Identity>> {
        let _ = call;
        None
    }

    /// Holds targets for the run that keep themselves who holds them: all of them, or none while another run has one of
    /// them. Gives who has, where that is not to be waited for, and nobody once they are held. What cannot be told now is left
    /// to the steps, which fail where another run holds it. When it is called off, nothing stays held.
    fn hold(&self, wish: Wish) -> Work<Vec<Other>> {
        let _ = wish;
        Box::pin(async { Vec::new() })
    }

    /// The run does not hold the call's target any more: whoever else wants to may change it.
    fn let_go(&self, call: Call, context: Arc<Context>) -> Work<()> {
        let _ = (call, context);
        Box::pin(async {})
    }

    /// What these calls, all for one service and target, would change one after the other, without changing anything; none where
    /// the provider has no way to tell. Relative paths start from `module`.
    fn preview(&self, calls: Vec<Call>, module: PathBuf) -> Option<Work<Result<Vec<Change>, Failure>>> {
        let _ = (calls, module);
        None
    }

    /// What the call's target runs now, in the form that the provider's undo takes.
    fn inspect(&self, call: Call, context: Arc<Context>) -> Work<Result<Value, Failure>> {
        let _ = context;
        let provider = call.target.map_or(call.provider, |target| target.provider);
        let message = format!("provider `{provider}` cannot tell what a target runs");
        Box::pin(async move { Err(Failure::new(Kind::Policy, message)) })
    }
}

/// Targets that a run is to hold.
pub struct Wish {
    /// One for each.
    pub calls: Vec<Call>,
    /// The run.
    pub context: Arc<Context>,
    /// Whether other runs are waited for.
    pub wait: bool,
    /// Is told whom it waits for, whenever that changes.
    pub waiting: Arc<dyn Fn(Vec<Other>) + Send + Sync>,
    /// Says when it is called off.
    pub cancel: Cancel,
}

/// Another run that holds a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Which of the calls names the target, from 0.
    pub call: usize,
    /// Which run.
    pub run: String,
}

/// What a service on a target really is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// Where it is, for people and for want of anything better; none where not even that can be told.
    pub place: Option<String>,
    /// What nothing else is, however it is reached; none where it cannot be told yet.
    pub id: Option<String>,
}

/// Something that carrying calls out one after the other would do. `call` counts them from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Something is made, changed or removed.
    Object {
        /// By which call; none: once the run has ended for good.
        call: Option<usize>,
        /// What it is, for people.
        what: String,
        /// As it is before; none when it is not there.
        before: Option<String>,
        /// As it would be; none when it would be removed.
        after: Option<String>,
    },
    /// The call would fail.
    Fails {
        /// Which.
        call: usize,
        /// In the words that it would fail with.
        why: String,
    },
    /// What else is to be known of it, for people: what it does that is not shown, or whom it takes something from.
    Remark {
        /// Of which call; none: of the end of the run.
        call: Option<usize>,
        /// What.
        text: String,
    },
}

/// What became of an attempt.
pub enum Probe {
    /// Nothing was done.
    NeverStarted,
    /// It goes on; this is its end.
    Running(Work<Outcome>),
    /// It ended.
    Ended(Outcome),
    /// It is not going on, and nobody can tell what it did.
    Unknown,
}

/// Names an attempt, for ever: `RUN/STEP/ATTEMPT`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The run.
    pub run: String,
    /// The step's name.
    pub step: String,
    /// The attempt, from 1.
    pub attempt: u32,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.run, self.step, self.attempt)
    }
}

/// What all attempts of a run share.
#[derive(Debug)]
pub struct Context {
    /// The run.
    pub run: String,
    /// Counts the processes that have carried the run out, from 1: a target refuses a lower one than it has seen.
    pub epoch: u64,
    /// Where relative paths start from.
    pub module: PathBuf,
    /// The pipeline.
    pub pipeline: String,
    /// What its secrets hold.
    pub secrets: Secrets,
    /// Where notifications go.
    pub(crate) channels: Arc<Channels>,
    /// Its scripts.
    pub(crate) scripts: Scripts,
}

/// One attempt of a step.
#[derive(Clone)]
pub struct Attempt {
    /// Its name.
    pub key: Key,
    /// What to do.
    pub call: Call,
    /// The outputs that it has to give.
    pub outputs: Fields<ValueType>,
    /// A folder for whatever the driver has to keep; made by the driver that needs it.
    pub directory: PathBuf,
    /// How long it may take, from `commanded_at`.
    pub timeout: Duration,
    /// When the machine asked for it: milliseconds since 1970.
    pub commanded_at: u64,
    /// Whether it may be repeated when nobody knows how it ended.
    pub repeatable: bool,
    /// Where its output goes.
    pub output: Output,
    /// Says when it is to end.
    pub cancel: Cancel,
    /// What all attempts of the run share.
    pub context: Arc<Context>,
}

impl Attempt {
    /// The argument's text, empty when it was not given.
    pub fn text(&self, name: &str) -> &str {
        self.call.arguments.get(name).and_then(Value::as_text).unwrap_or_default()
    }
}

/// Takes the lines of one attempt.
#[derive(Clone)]
pub struct Output {
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) step: StepId,
    pub(crate) attempt: u32,
    pub(crate) redactor: Redactor,
}

impl Output {
    /// Passes a line on, with secrets struck out.
    pub fn line(&self, stream: Stream, text: &str) {
        let text = self.redactor.redact(text);
        self.observer.line(&Line { step: self.step, attempt: self.attempt, stream, text: &text });
    }

    /// Says what the driver does or waits for.
    pub fn say(&self, text: &str) {
        self.line(Stream::Driver, text);
    }
}

/// Says when an attempt is to end.
#[derive(Clone)]
pub struct Cancel(watch::Receiver<bool>);

/// Makes an attempt end.
pub(crate) struct Canceller(watch::Sender<bool>);

impl Canceller {
    pub fn new() -> (Canceller, Cancel) {
        let (sender, receiver) = watch::channel(false);
        (Canceller(sender), Cancel(receiver))
    }

    /// What the attempt sees of it.
    pub fn watch(&self) -> Cancel {
        Cancel(self.0.subscribe())
    }

    pub fn cancel(&self) {
        self.0.send_replace(true);
    }
}

impl Cancel {
    /// One that never comes.
    pub(crate) fn never() -> Cancel {
        Canceller::new().1
    }

    /// Returns once the attempt is to end.
    pub async fn cancelled(&self) {
        let mut receiver = self.0.clone();
        // A canceller that is gone will never cancel: the whole run is being detached.
        if receiver.wait_for(|cancelled| *cancelled).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Whether it is to end.
    pub fn is_cancelled(&self) -> bool {
        *self.0.borrow()
    }
}

/// Says that an attempt was stopped. The machine knows why it had it stopped.
pub(crate) fn stopped() -> Outcome {
    Outcome::Failed(Failure::new(Kind::Timeout, "it was stopped before its end"))
}

/// Nobody knows how an attempt ended that may not be repeated.
pub(crate) fn unknown() -> Outcome {
    Outcome::Failed(Failure::new(
        Kind::Application,
        "the process that ran it was killed, and nobody knows how it ended: see what it has changed (it is not repeated, but undone \
         where it can be)",
    ))
}

/// Drivers by the provider whose steps they carry out.
#[derive(Clone)]
pub struct Drivers {
    by_provider: BTreeMap<String, Arc<dyn Driver>>,
}

impl Drivers {
    /// No driver at all.
    pub fn none() -> Drivers {
        Drivers { by_provider: BTreeMap::new() }
    }

    /// The drivers of this crate.
    pub fn built_in() -> Drivers {
        let mut drivers = Drivers::none();
        drivers.add("http", Arc::new(crate::drivers::Http));
        drivers.add("kubernetes", Arc::new(crate::drivers::Kubernetes::default()));
        drivers.add("local", Arc::new(crate::drivers::Local));
        drivers.add("notify", Arc::new(crate::drivers::Notify));
        drivers.add("shell", Arc::new(crate::drivers::Shell::SHELL));
        drivers.add("verify", Arc::new(crate::drivers::Verify));
        drivers.add("wait", Arc::new(crate::drivers::Wait));
        drivers
    }

    /// Adds or replaces the driver of a provider.
    pub fn add(&mut self, provider: &str, driver: Arc<dyn Driver>) {
        self.by_provider.insert(provider.into(), driver);
    }

    /// Adds the programs that a plan names, for providers that have no driver.
    pub(crate) fn with_programs(mut self, plan: &Plan) -> Drivers {
        for (provider, program) in Program::of(plan) {
            self.by_provider.entry(provider).or_insert_with(|| Arc::new(program));
        }
        self
    }

    /// Has every driver put into a plan what has to stay as it is now.
    pub(crate) fn complete(&self, plan: &mut Plan, module: &Path) {
        for driver in self.by_provider.values() {
            driver.complete(plan, module);
        }
    }

    /// The driver of a provider.
    pub fn provider(&self, provider: &str) -> Option<&Arc<dyn Driver>> {
        self.by_provider.get(provider)
    }

    /// The driver that knows that step.
    pub fn step(&self, provider: &str, step: &str) -> Option<&Arc<dyn Driver>> {
        self.provider(provider).filter(|driver| driver.knows(step))
    }
}
