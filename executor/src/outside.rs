//! Claims on targets that keep themselves who holds them, such as by a Lease: so runs of other state directories wait, too.

use crate::driver::{Cancel, Context, Drivers, Other, Wish};
use crate::observer::Observer;
use crate::store::{Blocker, Store, Ticket};
use crate::tasks::blocked;
use crate::{claims, sealing};
use lockstep_plan::{Call, ClaimId, Held, Plan, Role};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A claim that nobody of this state directory is in the way of.
pub(crate) struct Outside {
    pub plan: Arc<Plan>,
    pub claim: ClaimId,
    pub ticket: Arc<Ticket>,
    /// True once it is held, or asked for, no more.
    pub released: Arc<Mutex<bool>>,
    pub store: Arc<Store>,
    pub drivers: Drivers,
    pub context: Arc<Context>,
    pub observer: Arc<dyn Observer>,
    /// How often others were in the way, and which of that was written last.
    pub told: (AtomicU64, Mutex<u64>),
}

impl Outside {
    /// Holds all of it. Who is in the way, where nobody is to be waited for: then nothing is held, the ticket neither.
    pub async fn hold(self, wait: bool, cancel: Cancel) -> Vec<Blocker> {
        let outside = Arc::new(self);
        let others = outside.clone().held(wait, &cancel).await;
        if !cancel.is_cancelled() {
            let told = outside.told.0.load(Ordering::Relaxed) > 0 || outside.context.epoch > 1;
            if !others.is_empty() {
                outside.let_go().await;
            } else if told {
                outside.note(Vec::new()).await;
            }
        }
        others
    }

    /// Holds all of it that nobody else holds.
    pub async fn hold_again(self, cancel: Cancel) {
        Arc::new(self).held(false, &cancel).await;
    }

    async fn held(self: Arc<Self>, wait: bool, cancel: &Cancel) -> Vec<Blocker> {
        // Drivers come in one order, the same in every run.
        for (provider, (whats, calls)) in self.wanted() {
            let Some(driver) = self.drivers.provider(&provider) else { continue };
            let whats = Arc::new(whats);
            let (outside, names) = (self.clone(), whats.clone());
            let waiting = move |others: Vec<Other>| {
                let others = outside.blockers(&names, others);
                outside.observer.note(&format!("waiting: {}", blocked(&others)));
                tokio::spawn(outside.clone().note(others));
            };
            let context = self.context.clone();
            let wish = Wish { calls, context, wait, waiting: Arc::new(waiting), cancel: cancel.clone() };
            let others = driver.hold(wish).await;
            if !others.is_empty() {
                return self.blockers(&whats, others);
            }
        }
        Vec::new()
    }

    /// What of the claim is changed, by provider: what it is called, and what tells the driver.
    fn wanted(&self) -> BTreeMap<String, (Vec<String>, Vec<Call>)> {
        let claim = &self.plan.claims[self.claim.index()];
        let mut wanted: BTreeMap<String, (Vec<String>, Vec<Call>)> = BTreeMap::new();
        let mut known: Vec<Held> = Vec::new();
        for held in claim.targets.iter().copied().filter(|held| self.is_changed(*held)) {
            if known.iter().any(|it| self.plan.is_one(*it, held)) {
                continue;
            }
            known.push(held);
            if let Some(call) = claims::call(&self.plan, held) {
                let provider = self.plan.targets[held.target.index()].provider.to_string();
                let (whats, calls) = wanted.entry(provider).or_default();
                whats.push(claims::what(&self.plan, held));
                calls.push(call);
            }
        }
        wanted
    }

    /// Whether a stage of the claim may change it.
    fn is_changed(&self, held: Held) -> bool {
        let claim = &self.plan.claims[self.claim.index()];
        self.plan.steps.iter().any(|step| {
            (step.role == Role::Forward && step.changes)
                && (step.action.target, step.action.service) == (Some(held.target), held.service)
                && claim.stages.contains(&step.stage)
        })
    }

    fn blockers(&self, whats: &[String], others: Vec<Other>) -> Vec<Blocker> {
        let blocker = |other: Other| {
            let what = whats.get(other.call).cloned().unwrap_or_default();
            self.store.outside(other.run, what)
        };
        others.into_iter().map(blocker).collect()
    }

    /// Has others see whom the run waits for. Should the journal be lost, the runner finds out by itself.
    fn note(self: Arc<Self>, others: Vec<Blocker>) -> impl Future<Output = ()> + Send + 'static {
        let number = self.told.0.fetch_add(1, Ordering::Relaxed) + 1;
        let note = move || {
            let released = self.released.lock().unwrap_or_else(PoisonError::into_inner);
            let mut last = self.told.1.lock().unwrap_or_else(PoisonError::into_inner);
            if !*released && *last < number {
                *last = number;
                let _ = self.store.wait_outside(&self.ticket, &others);
            }
        };
        async move { drop(tokio::task::spawn_blocking(note).await) }
    }

    /// Lets go of the ticket, and of whatever drivers hold for it.
    async fn let_go(self: Arc<Self>) {
        for held in &self.plan.claims[self.claim.index()].targets {
            if let Some(work) = sealing::let_go(&self.plan, *held, &self.drivers, &self.context) {
                work.await;
            }
        }
        let release = move || drop(self.store.release(&self.ticket));
        let _ = tokio::task::spawn_blocking(release).await;
    }
}
