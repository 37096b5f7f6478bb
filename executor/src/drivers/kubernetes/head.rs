//! The head of an instance: a Lease that says which release is in place, and who may change it.
//!
//! Every change of the Lease is a compare-and-set by its `resourceVersion`. Each new holder raises the epoch, which is
//! stamped on all that it writes: a holder that was overtaken without knowing is told so by the first object it meets.
//! What this process holds is kept by [`super::lease`].

use super::cluster::{Call, MANAGER};
use super::lease::PATIENCE;
use super::object::{INSTANCE, MANAGED_BY, number, text};
use super::problem::policy;
use super::target::Target;
use crate::driver::Cancel;
use http::Method;
use jiff::Timestamp;
use lockstep_plan::{Failure, Kind};
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;
use tokio::time::Instant;

/// How often a held Lease is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How many runs can be taken back one after another at most, however few releases they were.
const MOST_RUNS: usize = 100;

/// How many runs that were overtaken are told at most.
const MOST_OVERTAKEN: usize = 20;

/// What the head says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Head {
    /// The release in place.
    pub current: Option<String>,
    /// The release that is being put in place, or that was left half done.
    pub pending: Option<String>,
    /// The release that a canary runs.
    pub canary: Option<String>,
    /// That of a canary which is to go: another release takes its place, or somebody removes it.
    pub leaving: Option<String>,
    /// The run that changed the instance last.
    pub run: String,
    /// The run that has the say: the last one that looked at the instance in order to change it.
    pub claim: String,
    /// What the run that has the say found in place before it changed anything (empty: nothing), and that run.
    pub found: Option<(String, String)>,
    /// Counts the releases that were put in place.
    pub revision: i64,
    /// Counts the holders.
    pub epoch: u64,
    /// What the last successful runs have put in place, the newest first: releases (empty: nothing), each with its run. The
    /// first one may be taken back, then the second, and so on.
    pub history: Vec<(String, String)>,
    /// How many pods workloads had (`Deployment/web`) when the last run deleted them.
    pub replicas: BTreeMap<String, i64>,
    /// The addresses that Services had when the last run deleted them.
    pub addresses: BTreeMap<String, String>,
    /// Runs that others have taken the instance over from, the last one first: which run had the say then, and the run.
    pub overtaken: Vec<(String, String)>,
    /// Whether nothing is left of other releases than the one in place.
    pub tidy: bool,
    /// Who works on it now: `RUN/LIFE`.
    pub holder: Option<String>,
    /// The Lease as it was read.
    pub lease: Json,
}

const CURRENT: &str = "lockstep/current";
const PENDING: &str = "lockstep/pending";
const CANARY: &str = "lockstep/canary";
const LEAVING: &str = "lockstep/leaving";
const RUN: &str = "lockstep/run";
const CLAIM: &str = "lockstep/claim";
const FOUND: &str = "lockstep/found";
const REVISION: &str = "lockstep/revision";
const HISTORY: &str = "lockstep/history";
const REPLICAS: &str = "lockstep/replicas";
const ADDRESSES: &str = "lockstep/addresses";
const OVERTAKEN: &str = "lockstep/overtaken";
const TIDY: &str = "lockstep/tidy";

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
            leaving: annotation(LEAVING),
            run: annotation(RUN).unwrap_or_default(),
            claim: annotation(CLAIM).unwrap_or_default(),
            found: annotation(FOUND).and_then(|text| history(&text).pop()),
            revision: annotation(REVISION).and_then(|text| text.parse().ok()).unwrap_or(0),
            history: annotation(HISTORY).map(|text| history(&text)).unwrap_or_default(),
            replicas: annotation(REPLICAS).map(|text| table(&text)).unwrap_or_default(),
            addresses: annotation(ADDRESSES).map(|text| table(&text)).unwrap_or_default(),
            overtaken: annotation(OVERTAKEN).map(|text| history(&text)).unwrap_or_default(),
            tidy: annotation(TIDY).is_some(),
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

    /// That run changes the instance from now on. What an earlier one deleted is nothing that it brings back.
    pub fn begun_by(&mut self, run: &str) {
        if self.run != run {
            self.replicas.clear();
            self.addresses.clear();
            self.run = run.to_string();
        }
    }

    /// The canary, if there is one, is to go.
    pub fn retire_canary(&mut self) {
        self.leaving = self.canary.take().or_else(|| self.leaving.take());
    }

    /// That run finds that in place, unless it has changed it already: then it is its own.
    pub fn found_now(&mut self, run: &str, release: Option<&str>) {
        if self.run != run {
            self.found = Some((release.unwrap_or_default().to_string(), run.to_string()));
        }
    }

    /// The release of that name is in place from now on.
    pub fn complete(&mut self, name: &str) {
        if self.current.as_deref() != Some(name) || self.revision == 0 {
            self.revision += 1;
        }
        self.current = Some(name.to_string());
        self.pending = None;
    }

    /// The history once that run has ended well, which found the release `before` (empty: nothing) in place: with as many
    /// releases before the one that it left as are to be kept.
    pub fn history_with(&self, run: &str, before: &str, keep: usize) -> Vec<(String, String)> {
        let now = (self.latest().unwrap_or_default().to_string(), run.to_string());
        let mut told: Vec<(String, String)> =
            self.history.iter().filter(|(_, by)| by != run).cloned().collect();
        if told.first().is_none_or(|(name, _)| name != before) {
            told.insert(0, (before.to_string(), String::new()));
        }
        let mut releases = BTreeSet::new();
        let within = |(name, _): &(String, String)| {
            if !name.is_empty() {
                releases.insert(name.clone());
            }
            releases.len() <= keep + 1
        };
        std::iter::once(now).chain(told).take_while(within).take(MOST_RUNS).collect()
    }

    /// What that run found in place (empty: nothing), where it was the last one that ended well. Its later stages may have recorded what
    /// its earlier ones left, which is not kept.
    pub fn found_by(&self, run: &str) -> Option<&str> {
        let [(_, last), (found, _), ..] = self.history.as_slice() else { return None };
        (last == run).then_some(found)
    }

    /// What a run did is taken back: `to` is in place again, as the run before it has left it.
    pub fn taken_back(&mut self, run: &str, to: &str) {
        self.history.retain(|(_, by)| by != run);
        if let Some((name, before)) = self.history.first()
            && name == to
            && !before.is_empty()
        {
            self.run.clone_from(before);
        }
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

    /// The head as it is: as this process wrote it last, where it holds the instance.
    pub async fn now(target: &Target) -> Result<Head, Failure> {
        match target.leases.head(target).filter(Head::is_known) {
            Some(head) => Ok(head),
            None => Head::read(target).await,
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
                    LEAVING: self.leaving.as_deref().unwrap_or_default(),
                    RUN: self.run,
                    CLAIM: self.claim,
                    FOUND: told(self.found.as_slice()),
                    REVISION: self.revision.to_string(),
                    HISTORY: told(&self.history),
                    REPLICAS: written(&self.replicas),
                    ADDRESSES: written(&self.addresses),
                    OVERTAKEN: told(&self.overtaken),
                    TIDY: if self.tidy { "true" } else { "" },
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
        let began = Instant::now();
        match target.cluster.call(&call, &Cancel::never()).await {
            Ok(written) => {
                *self = Head::of(written);
                if self.holder.is_some() {
                    target.leases.written(target, self, began);
                }
                Ok(true)
            }
            // Whether a lost write was carried out shows when it is read again.
            Err(problem) if problem.is(409) || problem.passing() => {
                target.leases.forget(target);
                Ok(false)
            }
            Err(problem) => Err(target.failure(&format!("write the Lease `{}`", name(target)), &problem)),
        }
    }

    /// The run that holds the instance, where it is another one.
    pub fn other(&self, target: &Target) -> Option<&str> {
        let (run, _) = self.holder.as_deref()?.rsplit_once('/')?;
        (run != target.run).then_some(run)
    }

    /// The instance is this run's from now on. Whoever holds it still may be gone on with some day, and learns of it then.
    fn hand_to(&mut self, target: &Target) {
        if let Some(run) = self.other(target).map(str::to_string) {
            self.overtaken.retain(|(_, other)| *other != run);
            self.overtaken.insert(0, (self.claim.clone(), run));
            self.overtaken.truncate(MOST_OVERTAKEN);
        }
        self.holder = Some(holder(target));
    }

    /// What the Lease was when it was read: another text after each write.
    pub fn version(&self) -> Option<&str> {
        text(&self.lease, &["metadata", "resourceVersion"])
    }

    /// Takes the instance as it was read, unless somebody has written it since: then nothing. Whether it was had.
    pub async fn seize(mut self, target: &Target) -> Result<bool, Failure> {
        let life = self.holder.as_deref().and_then(|holder| holder.rsplit_once('/'));
        let life = life.filter(|(run, _)| *run == target.run).and_then(|(_, life)| life.parse::<u64>().ok());
        if life.is_some_and(|life| life > target.life) {
            return Err(stale(target));
        }
        if life == Some(target.life) && target.leases.head(target).is_some() {
            return Ok(true);
        }
        if life != Some(target.life) {
            self.epoch += 1;
        }
        self.hand_to(target);
        self.write(target).await
    }

    /// Takes the instance, and changes its head in the same write. What this run is to change it holds already, so another
    /// holder is not waited for: only one of whom nothing is heard is replaced. So nothing that is held waits for what another
    /// run holds.
    ///
    /// # Errors
    /// Another run holds it, a later process carries the run out, time is up, or `edit` refuses.
    pub async fn take(
        target: &Target,
        mut edit: impl FnMut(&mut Head) -> Result<(), Failure>,
    ) -> Result<Head, Failure> {
        let mut seen: Option<(Json, Instant)> = None;
        let mut tries = 0;
        loop {
            target.go_on()?;
            let mut head = Head::now(target).await?;
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
                    Some(_) => return Err(held_by(target, head.other(target).unwrap_or_default())),
                    None => {
                        seen = Some((version, Instant::now()));
                        wait(target, LOOK).await?;
                        continue;
                    }
                }
            }
            let before = head.clone();
            edit(&mut head)?;
            if mine && head == before && target.leases.head(target).is_some() {
                return Ok(head);
            }
            if !mine {
                head.epoch += 1;
            }
            head.hand_to(target);
            if head.write(target).await? {
                return Ok(head);
            }
            tries += 1;
            if tries > 20 {
                return Err(unwritable(target));
            }
            wait(target, Duration::from_millis(100)).await?;
        }
    }

    /// Changes the head as its holder.
    pub async fn change(target: &Target, epoch: u64, edit: impl Fn(&mut Head)) -> Result<Head, Failure> {
        for _ in 0..20 {
            let mut head = Head::now(target).await?;
            if head.epoch != epoch {
                return Err(stale(target));
            }
            let before = head.clone();
            edit(&mut head);
            if head == before || head.write(target).await? {
                return Ok(head);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(unwritable(target))
    }

    /// Changes the head for the last time, and gives the instance up in the same write.
    pub async fn close(target: &Target, epoch: u64, edit: impl Fn(&mut Head)) -> Result<(), Failure> {
        let closed = Head::change(target, epoch, |head| {
            edit(head);
            head.holder = None;
        });
        closed.await?;
        target.leases.given_up(target);
        Ok(())
    }

    /// Says that the holder is at work; none when it is the holder no more.
    pub async fn renew(target: &Target, epoch: u64) -> Result<Option<Head>, Failure> {
        let known = target.leases.head(target).filter(Head::is_known);
        for known in [known, None] {
            let mut head = match known {
                Some(head) => head,
                None => Head::read(target).await?,
            };
            if head.epoch != epoch {
                return Ok(None);
            }
            head.holder = Some(holder(target));
            if head.write(target).await? {
                return Ok(Some(head));
            }
        }
        Err(unwritable(target))
    }

    /// Gives the instance up, if it is still held by this process or an earlier one of the run. `known`: the head as this
    /// process wrote it last.
    pub async fn let_go(target: &Target, known: Option<Head>) -> Result<(), Failure> {
        let mut known = known.filter(Head::is_known);
        for _ in 0..20 {
            let mut head = match known.take() {
                Some(head) => head,
                None => Head::read(target).await?,
            };
            let holder = head.holder.as_deref().and_then(|holder| holder.rsplit_once('/'));
            let life = holder.filter(|(run, _)| *run == target.run).and_then(|(_, life)| life.parse().ok());
            if life.is_none_or(|life: u64| life > target.life) {
                return Ok(());
            }
            head.holder = None;
            if head.write(target).await? {
                return Ok(());
            }
        }
        Err(unwritable(target))
    }

    /// Fails where another run has the say: a run that was away for so long that another one took its place is not to
    /// change anything on top of that.
    pub fn claimed(&self, target: &Target) -> Result<(), Failure> {
        if self.claim.is_empty() || self.claim == target.run {
            return Ok(());
        }
        Err(policy(format!(
            "run {} took `{}` in {} over, because nothing was heard of this one: it changes nothing any more",
            self.claim,
            target.instance,
            target.place()
        )))
    }

    /// The same for what needs no say of its own: fails where another run has got it since this process held the instance, or since
    /// the run's hold was taken over.
    pub fn still_claimed(&self, target: &Target) -> Result<(), Failure> {
        let overtaken = self.overtaken.iter().find(|(_, run)| *run == target.run);
        let known = [overtaken.map(|(claim, _)| claim.clone()), target.leases.claim(target)];
        match known.into_iter().flatten().all(|claim| claim == self.claim) {
            true => Ok(()),
            false => self.claimed(target),
        }
    }

    /// Whether it was read or written, and not only thought to be so.
    pub fn is_known(&self) -> bool {
        self.lease["metadata"]["resourceVersion"].is_string()
    }
}

fn table<T: FromStr>(text: &str) -> BTreeMap<String, T> {
    let entry = |entry: &str| {
        let (name, value) = entry.split_once('=')?;
        Some((name.to_string(), value.parse().ok()?))
    };
    text.split(',').filter_map(entry).collect()
}

fn written<T: Display>(table: &BTreeMap<String, T>) -> String {
    table.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}

fn told(history: &[(String, String)]) -> String {
    history.iter().map(|(name, run)| format!("{name}@{run}")).collect::<Vec<_>>().join(",")
}

fn history(text: &str) -> Vec<(String, String)> {
    let entry = |entry: &str| {
        let (name, run) = entry.split_once('@').unwrap_or((entry, ""));
        (name.to_string(), run.to_string())
    };
    text.split(',').map(entry).collect()
}

fn holder(target: &Target) -> String {
    format!("{}/{}", target.run, target.life)
}

fn held_by(target: &Target, run: &str) -> Failure {
    policy(format!(
        "run {run} holds `{}` in {}, so this one changes nothing there",
        target.instance,
        target.place()
    ))
}

fn unwritable(target: &Target) -> Failure {
    let message = format!("the Lease `{}` in {} cannot be written", name(target), target.place());
    Failure::new(Kind::Connectivity, message)
}

pub(super) fn stale(target: &Target) -> Failure {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A head as it is after these runs, each with what it put in place; two releases are kept beside that.
    fn after(runs: &[(&str, &str)]) -> Head {
        let mut head = Head::default();
        for (run, release) in runs {
            let before = head.current.take().unwrap_or_default();
            head.current = Some((*release).to_string()).filter(|name| !name.is_empty());
            head.run = (*run).to_string();
            head.history = head.history_with(run, &before, 2);
        }
        head
    }

    fn told(head: &Head) -> String {
        super::told(&head.history)
    }

    #[test]
    fn runs_are_taken_back_in_turn_whatever_they_put_in_place() {
        let mut head = after(&[("r1", "a"), ("r2", "a"), ("r3", "b"), ("r4", ""), ("r5", "b")]);
        assert_eq!(told(&head), "b@r5,@r4,b@r3,a@r2,a@r1,@");
        assert_eq!(history(&told(&head)), head.history);
        for (run, to, next) in [("r5", "", "r4"), ("r4", "b", "r3"), ("r3", "a", "r2"), ("r2", "a", "r1")] {
            assert_eq!(head.run, run);
            assert_eq!((head.found_by(run), head.found_by("r0")), (Some(to), None));
            head.taken_back(run, to);
            assert_eq!(head.run, next);
        }
        assert_eq!(told(&head), "a@r1,@");
        assert_eq!(head.found_by("r1"), Some(""), "nothing");
    }

    #[test]
    fn as_many_releases_are_told_as_are_kept() {
        let head = after(&[("r1", "a"), ("r2", "b"), ("r3", "c"), ("r4", "c"), ("r5", "d")]);
        assert_eq!(told(&head), "d@r5,c@r4,c@r3,b@r2");
        let again = head.history_with("r5", "c", 2);
        assert_eq!(again, head.history, "it is told once, however often the run is ended");
        // What a run found that no run had put there.
        let found = Head { current: Some("b".into()), ..Head::default() };
        let history = found.history_with("r1", "a", 1);
        assert_eq!(told(&Head { history, ..Head::default() }), "b@r1,a@");
        assert_eq!(
            Head { history: found.history_with("r1", "a", 0), ..found }.found_by("r1"),
            None,
            "not kept"
        );
    }
}
