//! The head of an instance: a Lease that says which release is in place, and who may change it.
//!
//! Every change of the Lease is a compare-and-set by its `resourceVersion`. Each new holder raises the epoch, which is
//! stamped on all that it writes: a holder that was overtaken without knowing is told so by the first object it meets.

use super::cluster::{Call, MANAGER};
use super::object::{INSTANCE, MANAGED_BY, number, text};
use super::problem::policy;
use super::target::Target;
use crate::driver::Cancel;
use http::Method;
use jiff::Timestamp;
use lockstep_plan::{Failure, Kind};
use serde_json::{Value as Json, json};
use std::time::Duration;
use tokio::time::Instant;

/// How long a holder that says nothing is believed to be at work.
const PATIENCE: Duration = Duration::from_secs(40);

/// How often a holder says that it is at work.
const RENEWAL: Duration = Duration::from_secs(10);

/// How often a held Lease is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What the head says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Head {
    /// The release in place.
    pub current: Option<String>,
    /// The release that is being put in place, or that was left half done.
    pub pending: Option<String>,
    /// The release that a canary runs.
    pub canary: Option<String>,
    /// The run that changed the instance last.
    pub run: String,
    /// Counts the releases that were put in place.
    pub revision: i64,
    /// Counts the holders.
    pub epoch: u64,
    /// Who works on it now: `RUN/LIFE`.
    holder: Option<String>,
    /// The Lease as it was read.
    lease: Json,
}

const CURRENT: &str = "lockstep/current";
const PENDING: &str = "lockstep/pending";
const CANARY: &str = "lockstep/canary";
const RUN: &str = "lockstep/run";
const REVISION: &str = "lockstep/revision";

impl Head {
    fn of(lease: Json) -> Head {
        let annotation = |name: &str| {
            text(&lease, &["metadata", "annotations", name])
                .filter(|value| !value.is_empty())
                .map(str::to_string)
        };
        Head {
            current: annotation(CURRENT),
            pending: annotation(PENDING),
            canary: annotation(CANARY),
            run: annotation(RUN).unwrap_or_default(),
            revision: annotation(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0),
            epoch: number(&lease, &["spec", "leaseTransitions"]).and_then(|n| n.try_into().ok()).unwrap_or(0),
            holder: text(&lease, &["spec", "holderIdentity"])
                .filter(|holder| !holder.is_empty())
                .map(str::to_string),
            lease,
        }
    }

    /// The release that is being put in place, else the one in place.
    pub fn latest(&self) -> Option<&str> {
        self.pending.as_deref().or(self.current.as_deref())
    }

    /// The release of that name is in place from now on.
    pub fn complete(&mut self, name: &str) {
        if self.current.as_deref() != Some(name) || self.revision == 0 {
            self.revision += 1;
        }
        self.current = Some(name.to_string());
        self.pending = None;
    }

    /// The head as it is; of an instance that was never deployed, an empty one.
    pub async fn read(target: &Target) -> Result<Head, Failure> {
        // A step that is to end still has to let go.
        match target.cluster.call(&Call::get(uri(target)), &Cancel::never()).await {
            Ok(lease) => Ok(Head::of(lease)),
            Err(problem) if problem.is(404) => Ok(Head::default()),
            Err(problem) => Err(target.failure(&format!("read the Lease `{}`", name(target)), &problem)),
        }
    }

    /// Writes it, unless somebody else has since it was read: then nothing.
    async fn write(&mut self, target: &Target) -> Result<bool, Failure> {
        let mut lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": name(target),
                "namespace": target.namespace,
                "labels": { MANAGED_BY: MANAGER, INSTANCE: target.instance },
                "annotations": {
                    CURRENT: self.current.as_deref().unwrap_or_default(),
                    PENDING: self.pending.as_deref().unwrap_or_default(),
                    CANARY: self.canary.as_deref().unwrap_or_default(),
                    RUN: self.run,
                    REVISION: self.revision.to_string(),
                },
            },
            "spec": {
                "leaseTransitions": self.epoch,
                "leaseDurationSeconds": PATIENCE.as_secs(),
                "renewTime": format!("{:.6}", Timestamp::now()),
            },
        });
        if let Some(holder) = &self.holder {
            lease["spec"]["holderIdentity"] = holder.as_str().into();
        }
        let call = match self.lease["metadata"]["resourceVersion"].as_str() {
            Some(version) => {
                lease["metadata"]["resourceVersion"] = version.into();
                Call::json(Method::PUT, uri(target), &lease)
            }
            None => Call::json(Method::POST, collection(target), &lease),
        };
        match target.cluster.call(&call, &Cancel::never()).await {
            Ok(written) => {
                *self = Head::of(written);
                Ok(true)
            }
            // Whether a lost write was carried out shows when it is read again.
            Err(problem) if problem.is(409) || problem.passing() => Ok(false),
            Err(problem) => Err(target.failure(&format!("write the Lease `{}`", name(target)), &problem)),
        }
    }

    /// Takes the instance, as soon as nobody else works on it, and changes its head in the same write.
    ///
    /// # Errors
    /// A later process carries the run out, time is up, or `edit` refuses.
    pub async fn take(
        target: &Target,
        mut edit: impl FnMut(&mut Head) -> Result<(), Failure>,
    ) -> Result<Head, Failure> {
        let me = format!("{}/{}", target.run, target.life);
        let mut seen: Option<(Json, Instant)> = None;
        let mut tries = 0;
        loop {
            target.go_on()?;
            let mut head = Head::read(target).await?;
            let (held, mine) = match head.holder.as_deref().and_then(|holder| holder.rsplit_once('/')) {
                None => (false, false),
                Some((run, life)) if run == target.run => {
                    let life: u64 = life.parse().unwrap_or(0);
                    if life > target.life {
                        return Err(stale(target));
                    }
                    (false, life == target.life)
                }
                Some(_) => (true, false),
            };
            if held {
                // Clocks differ, so only our own says how long nothing has been heard.
                let version = head.lease["metadata"]["resourceVersion"].clone();
                match &seen {
                    Some((same, since)) if *same == version => {
                        if since.elapsed() < PATIENCE {
                            wait(target, LOOK).await?;
                            continue;
                        }
                        target.say("nothing has been heard of its holder; taking it over");
                    }
                    _ => {
                        if seen.is_none() {
                            let holder = head.holder.as_deref().unwrap_or_default();
                            target.say(&format!("waiting for `{}`, held by run {holder}", target.instance));
                        }
                        seen = Some((version, Instant::now()));
                        wait(target, LOOK).await?;
                        continue;
                    }
                }
            }
            edit(&mut head)?;
            if !mine {
                head.epoch += 1;
            }
            head.holder = Some(me.clone());
            if head.write(target).await? {
                return Ok(head);
            }
            tries += 1;
            if tries > 20 {
                return Err(Failure::new(
                    Kind::Connectivity,
                    format!("the Lease `{}` in {} cannot be written", name(target), target.place()),
                ));
            }
            wait(target, Duration::from_millis(100)).await?;
        }
    }

    /// Says again and again that the holder is at work; ends only when it is the holder no more.
    pub async fn keep(target: &Target, epoch: u64) -> Failure {
        let me = format!("{}/{}", target.run, target.life);
        loop {
            tokio::time::sleep(RENEWAL).await;
            // One that cannot be reached may be reachable again before anybody takes it over; what is written meanwhile
            // is checked by its stamp.
            let Ok(mut head) = Head::read(target).await else { continue };
            if head.epoch != epoch {
                return stale(target);
            }
            head.holder = Some(me.clone());
            let _ = head.write(target).await;
        }
    }

    /// Changes the head for the last time in a step, and lets go of it.
    pub async fn release(target: &Target, epoch: u64, edit: impl Fn(&mut Head)) -> Result<Head, Failure> {
        for _ in 0..20 {
            let mut head = Head::read(target).await?;
            if head.epoch != epoch {
                return Err(stale(target));
            }
            edit(&mut head);
            head.holder = None;
            if head.write(target).await? {
                return Ok(head);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let message = format!("the Lease `{}` in {} cannot be written", name(target), target.place());
        Err(Failure::new(Kind::Connectivity, message))
    }
}

fn stale(target: &Target) -> Failure {
    policy(format!(
        "`{}` in {} has been taken over by another process or run: this one changes nothing any more",
        target.instance,
        target.place()
    ))
}

async fn wait(target: &Target, pause: Duration) -> Result<(), Failure> {
    if Instant::now() + pause >= target.deadline {
        let message =
            format!("`{}` in {} was held by another run all the time", target.instance, target.place());
        return Err(Failure::new(Kind::Timeout, message));
    }
    tokio::select! {
        () = tokio::time::sleep(pause) => Ok(()),
        () = target.cancel.cancelled() => target.go_on(),
    }
}

fn name(target: &Target) -> String {
    format!("lockstep.{}", target.instance)
}

fn collection(target: &Target) -> String {
    format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", target.namespace)
}

fn uri(target: &Target) -> String {
    format!("{}/{}", collection(target), name(target))
}
