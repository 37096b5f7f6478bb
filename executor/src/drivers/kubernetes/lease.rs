//! The instances that this process holds: what their heads say, how long that is known to be so, and who keeps them.
//!
//! An instance is taken when a run first looks at what it is about to change, and let go of when the run holds the target no
//! more. In between its Lease is renewed. A holder that could not renew it for a while (it was stopped, or cut off) writes
//! nothing before it has made sure that it still is the holder.

use super::head::{Head, stale};
use super::target::Target;
use crate::driver::Cancel;
use lockstep_plan::Failure;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// How long a holder that says nothing is believed to be at work.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// After how long without any write of the Lease a holder says that it is at work.
const RENEWAL: Duration = Duration::from_secs(10);

/// After how long it says so again where it could not.
const AGAIN: Duration = Duration::from_secs(2);

/// For how long after that a holder may be sure that nobody else has taken over.
pub(super) const CERTAIN: Duration = Duration::from_secs(15);

/// Context, namespace and name of an instance.
type Key = (String, String, String);

/// What this process holds.
#[derive(Default)]
pub(super) struct Leases(Mutex<BTreeMap<Key, Arc<Lease>>>);

/// An instance that this process holds, or has lost without letting go of it.
pub(super) struct Lease {
    run: (String, u64),
    state: Mutex<Known>,
    lost: watch::Sender<bool>,
    keeper: AbortHandle,
}

struct Known {
    head: Head,
    since: Instant,
}

impl Lease {
    fn state(&self) -> MutexGuard<'_, Known> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }
}

impl Leases {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Key, Arc<Lease>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of(&self, target: &Target) -> Option<Arc<Lease>> {
        let lease = self.all().get(&key(target)).cloned();
        lease.filter(|lease| lease.run == (target.run.clone(), target.life))
    }

    /// The head as this process wrote it last, where it holds the instance for that run.
    pub fn head(&self, target: &Target) -> Option<Head> {
        let lease = self.of(target).filter(|lease| !lease.is_lost())?;
        let head = lease.state().head.clone();
        Some(head)
    }

    /// Which run had the say when this process held the instance for that run last, if it did; it may have lost it since.
    pub fn claim(&self, target: &Target) -> Option<String> {
        self.of(target).map(|lease| lease.state().head.claim.clone())
    }

    /// The head was written as its holder; `since`: before the write was begun.
    pub fn written(&self, target: &Target, head: &Head, since: Instant) {
        let known = Known { head: head.clone(), since };
        match self.of(target) {
            Some(lease) if !lease.is_lost() && lease.state().head.epoch == head.epoch => {
                // An answer may come later than that to a later write.
                let mut state = lease.state();
                if known.since >= state.since {
                    *state = known;
                }
            }
            _ => {
                let keeper = tokio::spawn(keep(target.in_background(), head.epoch)).abort_handle();
                let run = (target.run.clone(), target.life);
                let lease = Lease { run, state: Mutex::new(known), lost: watch::Sender::new(false), keeper };
                if let Some(before) = self.all().insert(key(target), Arc::new(lease)) {
                    before.keeper.abort();
                }
            }
        }
    }

    /// What is known of the head turned out to be wrong: it is read again before it is written again.
    pub fn forget(&self, target: &Target) {
        if let Some(lease) = self.of(target) {
            let mut known = lease.state();
            let (epoch, claim) = (known.head.epoch, std::mem::take(&mut known.head.claim));
            known.head = Head { epoch, claim, ..Head::default() };
        }
    }

    /// The instance was given up.
    pub fn given_up(&self, target: &Target) {
        if let Some(lease) = self.of(target) {
            self.all().remove(&key(target));
            lease.keeper.abort();
        }
    }

    /// Gives the instance up, so that others need not wait until they think this process dead.
    pub async fn let_go(&self, target: &Target) {
        let (lost, known) = match self.of(target) {
            Some(lease) => {
                self.all().remove(&key(target));
                lease.keeper.abort();
                (lease.is_lost(), Some(lease.state().head.clone()))
            }
            // An earlier process of the run may have taken it, and this one had nothing left to do with it.
            None => (target.life < 2, None),
        };
        if !lost {
            // Whatever hinders it: the next one waits no longer than a holder is believed to be at work.
            let _ = tokio::time::timeout(super::LETTING_GO, Head::let_go(target, known)).await;
        }
    }

    /// Fails once another process or run has taken the instance over.
    pub async fn lost(&self, target: &Target, epoch: u64) -> Failure {
        match self.of(target) {
            Some(lease) if lease.state().head.epoch == epoch => {
                let mut lost = lease.lost.subscribe();
                if lost.wait_for(|lost| *lost).await.is_err() {
                    std::future::pending::<()>().await;
                }
                stale(target)
            }
            _ => stale(target),
        }
    }

    /// Makes sure that whoever writes with that epoch is the holder.
    pub async fn check(&self, target: &Target, epoch: u64) -> Result<(), Failure> {
        let Some(lease) = self.of(target) else { return Err(stale(target)) };
        let (now, since) = {
            let known = lease.state();
            (known.head.epoch, known.since)
        };
        if now != epoch || lease.is_lost() {
            return Err(stale(target));
        }
        if since.elapsed() < CERTAIN {
            return Ok(());
        }
        target.say("making sure that nobody has taken over");
        let began = Instant::now();
        match Head::renew(target, epoch).await? {
            Some(head) => {
                self.written(target, &head, began);
                Ok(())
            }
            None => {
                lease.lost.send_replace(true);
                Err(stale(target))
            }
        }
    }
}

fn key(target: &Target) -> Key {
    (target.cluster.context.clone(), target.namespace.clone(), target.instance.clone())
}

/// Says again and again that the holder is at work, until it is the holder no more.
async fn keep(target: Target, epoch: u64) {
    let mut pause = RENEWAL;
    loop {
        tokio::time::sleep(pause).await;
        let Some(lease) = target.leases.of(&target) else { return };
        let said = lease.state().since.elapsed();
        if said < RENEWAL {
            pause = RENEWAL - said;
            continue;
        }
        let began = Instant::now();
        // One that cannot be reached may be reachable again before anybody takes over.
        pause = AGAIN;
        let Ok(renewed) = Head::renew(&target, epoch).await else { continue };
        pause = RENEWAL;
        match renewed {
            Some(head) => target.leases.written(&target, &head, began),
            None => {
                lease.lost.send_replace(true);
                return;
            }
        }
    }
}

impl Target {
    /// For work that goes on between steps.
    fn in_background(&self) -> Target {
        Target { output: None, cancel: Cancel::never(), ..self.clone() }
    }
}
