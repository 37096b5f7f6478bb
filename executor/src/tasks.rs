//! Everything of a run that is under way: attempts, records, timers. Each ends in one event.

use crate::driver::{
    Attempt, Canceller, Context, Driver, Drivers, Key, Output, Probe, Work, stopped, unknown,
};
use crate::error::Error;
use crate::observer::Observer;
use crate::outside::Outside;
use crate::replay::PendingAttempt;
use crate::secrets::Redactor;
use crate::store::{Blocker, Pen, Store, Taken, Ticket};
use crate::{claims, sealing};
use lockstep_plan::machine::State;
use lockstep_plan::{
    Call, ClaimId, ClaimScope, Event, Failure, Held, Kind, Outcome, Plan, ServiceId, StageId, StepId,
    TargetId, Timer, Value,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, Id, JoinSet};

/// How often a claim that others hold is asked for again.
const CLAIM_PAUSE: Duration = Duration::from_millis(50);

/// How long a driver may take to stop what it was told to. Drivers have shorter limits of their own.
const STOP_LIMIT: Duration = Duration::from_secs(60);

/// How long news of what has ended may take to get here: it is heard before a clock that ran out in the same moment.
const NEWS: Duration = Duration::from_millis(5);
/// A clock that is that late says that this process was held up,
const OVERSLEPT: Duration = Duration::from_millis(100);
/// and this is how long news of what ended meanwhile may take.
const CATCHING_UP: Duration = Duration::from_millis(500);

/// What is under way. Dropping it detaches.
pub(crate) struct Tasks {
    plan: Arc<Plan>,
    store: Arc<Store>,
    drivers: Drivers,
    context: Arc<Context>,
    observer: Arc<dyn Observer>,
    /// Strikes out every secret of the run.
    redactor: Redactor,
    set: JoinSet<Event>,
    /// What to say for a task that panicked.
    otherwise: BTreeMap<Id, Event>,
    cancellers: BTreeMap<(StepId, u32), Canceller>,
    timers: BTreeMap<Timer, AbortHandle>,
    /// Claims that are asked for, or held.
    claims: BTreeMap<ClaimId, Asked>,
    /// Closed once the ticket of the claim that was asked for last is drawn: tickets are drawn in the order of asking.
    drawn: Option<oneshot::Receiver<()>>,
    /// Targets that are held no more, of which drivers have not been told.
    released: Vec<Held>,
    /// Drivers that are being told.
    letting_go: JoinSet<()>,
}

/// A claim that is asked for, or held.
struct Asked {
    /// True once it is not any more.
    released: Arc<Mutex<bool>>,
    canceller: Canceller,
}

impl Tasks {
    pub fn new(
        plan: Arc<Plan>,
        store: Arc<Store>,
        drivers: Drivers,
        context: Arc<Context>,
        observer: Arc<dyn Observer>,
    ) -> Tasks {
        let redactor = context.secrets.redactor(context.secrets.names());
        Tasks {
            plan,
            store,
            drivers,
            context,
            observer,
            redactor,
            set: JoinSet::new(),
            otherwise: BTreeMap::new(),
            cancellers: BTreeMap::new(),
            timers: BTreeMap::new(),
            claims: BTreeMap::new(),
            drawn: None,
            released: Vec::new(),
            letting_go: JoinSet::new(),
        }
    }

    /// The next event; none when nothing is under way.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let joined = self.set.join_next_with_id().await?;
            if let Some(event) = self.ended(joined) {
                return Some(event);
            }
        }
    }

    /// The next event that is there already.
    pub fn try_next(&mut self) -> Option<Event> {
        loop {
            let joined = self.set.try_join_next_with_id()?;
            if let Some(event) = self.ended(joined) {
                return Some(event);
            }
        }
    }

    /// A timer that was stopped gives none.
    fn ended(&mut self, joined: Result<(Id, Event), tokio::task::JoinError>) -> Option<Event> {
        let event = match joined {
            Ok((id, event)) => {
                self.otherwise.remove(&id);
                // A clock that was stopped just after it had run out, and perhaps started anew since.
                if let Event::TimerFired(timer) = &event
                    && self.timers.get(timer).is_none_or(|handle| handle.id() != id)
                {
                    return None;
                }
                event
            }
            Err(error) => {
                let otherwise = self.otherwise.remove(&error.id());
                if error.is_cancelled() {
                    return None;
                }
                otherwise?
            }
        };
        match &event {
            Event::StepEnded { step, attempt, .. } => drop(self.cancellers.remove(&(*step, *attempt))),
            Event::TimerFired(timer) => drop(self.timers.remove(timer)),
            _ => {}
        }
        Some(event)
    }

    /// The attempt as its driver sees it, and the driver.
    fn attempt(
        &mut self,
        step: StepId,
        attempt: u32,
        call: Call,
        at: u64,
    ) -> (Attempt, Option<Arc<dyn Driver>>) {
        let data = &self.plan.steps[step.index()];
        let (canceller, cancel) = Canceller::new();
        self.cancellers.insert((step, attempt), canceller);
        // Also of what was not handed to it: an earlier step may have left it where this one finds it.
        let redactor = self.redactor.clone();
        let driver = self.drivers.step(&call.provider, &call.step).cloned();
        let driver_repeats = driver.as_ref().is_some_and(|driver| driver.repeatable(&call.step));
        let attempt = Attempt {
            key: Key { run: self.context.run.clone(), step: data.name.clone(), attempt },
            directory: self.store.attempt_directory(&self.context.run, &data.name, attempt),
            outputs: data.outputs.clone(),
            timeout: Duration::from_millis(data.timeout),
            commanded_at: at,
            repeatable: data.idempotent || !data.changes || driver_repeats,
            output: Output { observer: self.observer.clone(), step, attempt, redactor },
            cancel,
            context: self.context.clone(),
            call,
        };
        (attempt, driver)
    }

    /// Starts an attempt that the machine asked for at that time.
    pub fn start(&mut self, step: StepId, number: u32, call: Call, at: u64) {
        let (attempt, driver) = self.attempt(step, number, call, at);
        let work = match driver {
            Some(driver) => driver.start(attempt),
            None => no_driver(&attempt.call),
        };
        self.follow(step, number, work);
    }

    fn follow(&mut self, step: StepId, attempt: u32, work: Work<Outcome>) {
        let cancel = self.cancellers.get(&(step, attempt)).map(Canceller::watch);
        let work = async move {
            let overdue = async {
                match cancel {
                    Some(cancel) => cancel.cancelled().await,
                    None => std::future::pending().await,
                }
                tokio::time::sleep(STOP_LIMIT).await;
            };
            let outcome = tokio::select! {
                outcome = work => outcome,
                () = overdue => Outcome::Lost { message: "its driver does not confirm that it has stopped".into() },
            };
            Event::StepEnded { step, attempt, outcome }
        };
        let message = "its driver failed in an unforeseen way; the step may still be working".to_string();
        let otherwise = Event::StepEnded { step, attempt, outcome: Outcome::Lost { message } };
        self.spawn(work, otherwise);
    }

    fn spawn(&mut self, work: impl Future<Output = Event> + Send + 'static, otherwise: Event) -> AbortHandle {
        let handle = self.set.spawn(work);
        self.otherwise.insert(handle.id(), otherwise);
        handle
    }

    /// Makes an attempt end soon.
    pub fn cancel(&mut self, step: StepId, attempt: u32) {
        if let Some(canceller) = self.cancellers.get(&(step, attempt)) {
            canceller.cancel();
        }
    }

    /// Finds out what the target runs.
    pub fn record(&mut self, stage: StageId, target: TargetId, service: Option<ServiceId>, call: Call) {
        let provider = call.target.as_ref().map_or(call.provider.as_str(), |target| target.provider.as_str());
        let work: Work<Result<Value, Failure>> = match self.drivers.provider(provider) {
            Some(driver) => driver.inspect(call, self.context.clone()),
            None => {
                let message = format!("there is no driver for provider `{provider}`");
                Box::pin(async move { Err(Failure::new(Kind::Policy, message)) })
            }
        };
        let event = async move { Event::Recorded { stage, target, service, record: work.await } };
        let record = Err(Failure::new(Kind::Application, "the driver failed in an unforeseen way"));
        self.spawn(event, Event::Recorded { stage, target, service, record });
    }

    /// Asks for a claim until it is granted, or once.
    pub fn claim(&mut self, claim: ClaimId, turn: u32, wait: bool) {
        let needs = claims::needs(&self.plan, &self.plan.claims[claim.index()], &self.context.module);
        let ticket = Arc::new(self.ticket(claim, turn));
        let (store, observer) = (self.store.clone(), self.observer.clone());
        let released = Arc::new(Mutex::new(false));
        let (canceller, cancel) = Canceller::new();
        self.claims.insert(claim, Asked { released: released.clone(), canceller });
        let needs = Arc::new(needs);
        let (drawing, drawn) = oneshot::channel::<()>();
        let before = self.drawn.replace(drawn);
        let outside = self.outside(claim, ticket.clone(), released.clone());
        self.released.retain(|held| !self.plan.claims[claim.index()].targets.contains(held));
        let event = async move {
            if let Some(before) = before {
                // Nothing is ever sent.
                let _ = before.await;
            }
            let mut drawing = Some(drawing);
            let mut told = String::new();
            loop {
                let (store, ticket, needs, released) =
                    (store.clone(), ticket.clone(), needs.clone(), released.clone());
                let take = tokio::task::spawn_blocking(move || {
                    // What was let go of meanwhile must not be asked for again.
                    let released = released.lock().unwrap_or_else(PoisonError::into_inner);
                    if *released { Ok(None) } else { store.take(&ticket, &needs, wait).map(Some) }
                });
                let taken = take.await;
                drop(drawing.take());
                let text = match taken {
                    // Then what the targets keep themselves, as a whole: nothing waits while it holds any of it.
                    Ok(Ok(Some(Taken::Granted))) => {
                        let others = outside.hold(wait, cancel).await;
                        return match others.is_empty() {
                            true => Event::ClaimsGranted { claim, turn },
                            false => Event::ClaimsRefused { claim, turn, why: blocked(&others) },
                        };
                    }
                    Ok(Ok(Some(Taken::After(after)))) if !wait => {
                        return Event::ClaimsRefused { claim, turn, why: blocked(&after) };
                    }
                    Ok(Ok(Some(Taken::After(after)))) => format!("waiting: {}", blocked(&after)),
                    Ok(Ok(None)) => std::future::pending().await,
                    // Should the journal be lost, the runner finds out by itself.
                    Ok(Err(error)) => error.to_string(),
                    Err(error) => error.to_string(),
                };
                if text != told {
                    observer.note(&text);
                    told = text;
                }
                tokio::time::sleep(CLAIM_PAUSE).await;
            }
        };
        let why = "asking for it failed in an unforeseen way".to_string();
        self.spawn(event, Event::ClaimsRefused { claim, turn, why });
    }

    /// Holds again, as far as nobody else does by now, what an earlier process of the run held.
    pub fn hold_again(&mut self, claim: ClaimId, turn: u32) {
        let released = Arc::new(Mutex::new(false));
        let (canceller, cancel) = Canceller::new();
        let outside = self.outside(claim, Arc::new(self.ticket(claim, turn)), released.clone());
        self.claims.insert(claim, Asked { released, canceller });
        self.letting_go.spawn(async move { outside.hold_again(cancel).await });
    }

    fn outside(&self, claim: ClaimId, ticket: Arc<Ticket>, released: Arc<Mutex<bool>>) -> Outside {
        Outside {
            plan: self.plan.clone(),
            claim,
            ticket,
            released,
            store: self.store.clone(),
            drivers: self.drivers.clone(),
            context: self.context.clone(),
            observer: self.observer.clone(),
            told: Default::default(),
        }
    }

    /// What the run has left is successful.
    pub async fn seal(&self, state: &State) {
        sealing::seal(&self.plan, state, &self.drivers, &self.context, &*self.observer).await;
    }

    /// Why the run, which has ended, cannot be taken back.
    pub async fn obstacles(&self, state: &State) -> Result<Vec<String>, Error> {
        sealing::obstacles(&self.plan, state, &self.store, &self.drivers, &self.context).await
    }

    /// Tells drivers which targets are held no more.
    pub fn let_go(&mut self) {
        for held in std::mem::take(&mut self.released) {
            let work = sealing::let_go(&self.plan, held, &self.drivers, &self.context);
            self.letting_go.extend(work);
        }
    }

    /// Tells drivers that nothing is held any more, and waits until they have taken notice.
    pub async fn let_go_of_all(&mut self) {
        self.released = claims::touched(&self.plan);
        self.let_go();
        while self.letting_go.join_next().await.is_some() {}
    }

    /// Lets go of a claim, granted or not.
    pub fn release(&mut self, claim: ClaimId, turn: u32) -> Result<(), Error> {
        self.released.extend(&self.plan.claims[claim.index()].targets);
        let asked = self.claims.remove(&claim);
        if let Some(asked) = &asked {
            asked.canceller.cancel();
        }
        let mut released =
            asked.as_ref().map(|asked| asked.released.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(released) = &mut released {
            **released = true;
        }
        self.store.release(&self.ticket(claim, turn))
    }

    fn ticket(&self, claim: ClaimId, turn: u32) -> Ticket {
        let inner = self.plan.claims[claim.index()].scope != ClaimScope::Stages;
        let pen = Pen { run: self.context.run.clone(), epoch: self.context.epoch };
        Ticket { pen, claim: claim.0, turn, inner }
    }

    /// Starts a timer that fires after `after` milliseconds.
    pub fn start_timer(&mut self, timer: Timer, after: u64) {
        let event = async move {
            let due = tokio::time::Instant::now() + Duration::from_millis(after);
            tokio::time::sleep_until(due).await;
            // A process that was stopped, or starved, hears first of what came in time.
            tokio::time::sleep(if due.elapsed() > OVERSLEPT { CATCHING_UP } else { NEWS }).await;
            Event::TimerFired(timer)
        };
        let handle = self.spawn(event, Event::TimerFired(timer));
        if let Some(earlier) = self.timers.insert(timer, handle) {
            earlier.abort();
        }
    }

    /// Stops a timer.
    pub fn stop_timer(&mut self, timer: Timer) {
        if let Some(handle) = self.timers.remove(&timer) {
            handle.abort();
        }
    }

    /// Asks the drivers what became of attempts that an earlier process was to carry out: how those ended that did,
    /// and the others. With `rebooted`, traces of a start may have been lost with the machine.
    pub async fn probe(
        &mut self,
        pending: Vec<((StepId, u32), PendingAttempt)>,
        rebooted: bool,
    ) -> (Vec<Event>, Vec<Found>) {
        let mut attempts = Vec::new();
        for ((step, number), pending) in pending {
            let (attempt, driver) = self.attempt(step, number, pending.call.clone(), pending.at);
            attempts.push((step, number, pending, attempt, driver));
        }
        self.context.scripts.seek(attempts.iter().map(|(.., attempt, _)| attempt.directory.as_path()));
        let mut probes = Vec::new();
        for (step, number, pending, attempt, driver) in attempts {
            let repeatable = attempt.repeatable;
            let probe = driver.map(|driver| tokio::spawn(driver.probe(attempt)));
            probes.push((step, number, pending, repeatable, probe));
        }
        let (mut events, mut found) = (Vec::new(), Vec::new());
        for (step, attempt, pending, repeatable, probe) in probes {
            let answer = match probe {
                Some(probe) => probe.await.unwrap_or(Probe::Unknown),
                None => Probe::NeverStarted,
            };
            let answer = match answer {
                Probe::NeverStarted if rebooted => Probe::Unknown,
                other => other,
            };
            let outcome = match answer {
                Probe::Running(work) => {
                    found.push(Found { step, attempt, pending, work: Some(work) });
                    continue;
                }
                Probe::Ended(outcome) => outcome,
                Probe::NeverStarted | Probe::Unknown if pending.cancelled => stopped(),
                Probe::NeverStarted => {
                    found.push(Found { step, attempt, pending, work: None });
                    continue;
                }
                Probe::Unknown if repeatable => {
                    found.push(Found { step, attempt, pending, work: None });
                    continue;
                }
                Probe::Unknown => unknown(),
            };
            self.cancellers.remove(&(step, attempt));
            events.push(Event::StepEnded { step, attempt, outcome });
        }
        (events, found)
    }

    /// Goes on with an attempt as the probe found it.
    pub fn go_on(&mut self, found: Found) {
        let Found { step, attempt, pending, work } = found;
        match work {
            Some(work) => {
                self.follow(step, attempt, work);
                if pending.cancelled {
                    self.cancel(step, attempt);
                }
            }
            None => self.start(step, attempt, pending.call, pending.at),
        }
    }
}

/// Who comes first, in a sentence.
pub(crate) fn blocked(after: &[Blocker]) -> String {
    let one = |it: &Blocker| match it.holds {
        true if it.elsewhere => format!("run {} of another state directory holds {}", it.run, it.what),
        true => format!("run {} holds {}", it.run, it.what),
        false => format!("run {} waits for {} first", it.run, it.what),
    };
    after.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// An attempt that goes on after a resume.
pub(crate) struct Found {
    pub step: StepId,
    pub attempt: u32,
    pending: PendingAttempt,
    /// Its end, when it runs; else it is to be started.
    work: Option<Work<Outcome>>,
}

fn no_driver(call: &Call) -> Work<Outcome> {
    let message = format!("there is no driver for the step `{}.{}`", call.provider, call.step);
    Box::pin(async move { Outcome::Failed(Failure::new(Kind::Policy, message)) })
}
