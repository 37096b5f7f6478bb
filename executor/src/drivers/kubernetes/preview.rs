//! What a pipeline would change: every object that its steps write, as it is before the step, and as the API server would make
//! it; at last what is left over when the run has ended.

use super::colours::{coloured, narrowed, refuse_foreign, switches};
use super::head::Head;
use super::object::{EPOCH, Id, is_note, map_at};
use super::preflight::refuse_nowhere;
use super::release::Release;
use super::replicas::{GIVEN, Say, autoscaled, refuse_dangling, scale_target, scales};
use super::steps::{further, released, rendered};
use super::taken::TAKEN;
use super::target::Target;
use super::template::Scope;
use super::traffic::deployments;
use super::workloads::RESTARTED;
use super::{adopt, canary, manifest, seal, workloads};
use crate::driver::Change;
use lockstep_plan::{Call, Failure, Kind, Value};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::Path;

/// Of the metadata, what only the API server writes.
const KEPT_BY_SERVER: [&str; 6] =
    ["managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink"];

/// What the calls of one service and target would change, one after the other, and then the end of the run. Nothing is shown
/// of what comes after a call that would fail.
pub(super) async fn changes(target: &Target, calls: &[Call], module: &Path) -> Result<Vec<Change>, Failure> {
    let head = Head::read(target).await?;
    for looked in
        [refuse_nowhere(target, &head, calls, module).await, adopt::in_place(target, &head).await.map(drop)]
    {
        match looked {
            Err(failure) if failure.kind == Kind::Policy => {
                return Ok(vec![Change::Fails { call: 0, why: failure.message }]);
            }
            looked => looked?,
        }
    }
    let first = stored(target, seal::in_place(target, &head).await?.as_deref()).await?;
    let mut sight = Sight {
        target,
        module,
        epoch: head.epoch,
        now: BTreeMap::new(),
        changes: Vec::new(),
        made: false,
        untouched: true,
        current: first.clone(),
        pending: None,
        canary: stored(target, head.canary.as_deref()).await?.unwrap_or_default(),
        leaving: stored(target, head.leaving.as_deref()).await?.unwrap_or_default(),
        extra: Vec::new(),
    };
    for (index, call) in calls.iter().enumerate() {
        match sight.step(index, call).await {
            Ok(()) => {}
            Err(failure) if [Kind::Policy, Kind::Application].contains(&failure.kind) => {
                sight.changes.push(Change::Fails { call: index, why: failure.message });
                return Ok(sight.changes);
            }
            Err(failure) => return Err(failure),
        }
    }
    sight.end(first.unwrap_or_default()).await?;
    Ok(sight.changes)
}

async fn stored(target: &Target, name: Option<&str>) -> Result<Option<Release>, Failure> {
    match name {
        Some(name) => Release::read(target, name).await.map(Some),
        None => Ok(None),
    }
}

/// What was seen so far.
struct Sight<'a> {
    target: &'a Target,
    module: &'a Path,
    epoch: u64,
    /// Objects as the steps so far would leave them; none: gone.
    now: BTreeMap<Id, Option<Json>>,
    changes: Vec<Change>,
    /// Whether the steps make the namespace: then nothing in it can be asked for.
    made: bool,
    /// Whether no step so far changes what is in place.
    untouched: bool,
    /// The release in place, and what the steps put beside it.
    current: Option<Release>,
    pending: Option<Release>,
    canary: Release,
    /// A canary that goes when the run has ended.
    leaving: Release,
    /// What `apply` steps have added.
    extra: Vec<Json>,
}

impl Sight<'_> {
    async fn step(&mut self, index: usize, call: &Call) -> Result<(), Failure> {
        match call.step.as_str() {
            "rolling" | "promote" => {
                let objects = self.service(call).await?;
                let release = Release { objects, extra: self.extra.clone(), ..Release::default() };
                self.write(index, call, &release, |_| true).await?;
                (self.current, self.pending, self.untouched) = (Some(release), None, false);
                match call.step.as_str() {
                    "promote" => self.end_canary(index).await?,
                    _ => self.leaving.extra.extend(std::mem::take(&mut self.canary).objects),
                }
            }
            "canary" => {
                let objects = self.service(call).await?;
                let Some(stable) = &self.current else { return Err(canary::nothing_beside(self.target)) };
                let release = canary::beside(self.target, call, objects, stable).await?;
                self.write(index, call, &release, |_| true).await?;
                self.canary = release;
            }
            "canary_delete" => self.end_canary(index).await?,
            "stage" => self.stage(index, call).await?,
            "swap" => {
                let Some(release) = self.pending.take() else {
                    return Err(super::colours::nothing_staged(self.target));
                };
                self.write(index, call, &release, switches).await?;
                (self.current, self.untouched) = (Some(release), false);
            }
            "scale" => {
                let Some(Value::Int(replicas)) = call.arguments.get("replicas") else {
                    self.hide(index, "sets a number of replicas that only the run knows");
                    return Ok(());
                };
                let mut release = self.latest().ok_or_else(|| workloads::nothing_in_place(self.target))?;
                if !self.made {
                    workloads::refuse_autoscaled(self.target, &release).await?;
                }
                workloads::set_replicas(&mut release, *replicas);
                self.write(index, call, &release, scales).await?;
                self.put(release);
            }
            "apply" => self.apply(index, call).await?,
            "delete" => {
                let gone = match self.latest() {
                    Some(release) => release,
                    None => Release { objects: self.service(call).await?, ..Release::default() },
                };
                let canary = std::mem::take(&mut self.canary);
                let ids: Vec<Id> = gone.all().chain(canary.all()).map(Id::of).collect();
                for id in ids.into_iter().rev() {
                    self.gone(Some(index), id).await?;
                }
                (self.current, self.pending, self.untouched) = (None, None, false);
            }
            "traffic" => {
                let share = match call.arguments.get("share") {
                    Some(Value::Percent(share)) => format!("{share}%"),
                    _ => "a share".into(),
                };
                self.hide(index, &format!(
                    "sends {share} of the requests to the new release, by the weights of the routes, once its pods are ready; these \
                     weights are not shown"
                ));
            }
            "restart" => {
                self.hide(index, "restarts the pods of the release in place, and changes nothing else of it")
            }
            "job" => self.hide(index, "runs a Job to its end; what that does is not known"),
            other => self.hide(index, &format!("what `{other}` does is not shown")),
        }
        Ok(())
    }

    async fn service(&self, call: &Call) -> Result<Vec<Json>, Failure> {
        released(self.target, rendered(call, self.module, &self.target.run)?).await
    }

    async fn stage(&mut self, index: usize, call: &Call) -> Result<(), Failure> {
        let serving = self.current.clone().unwrap_or_default();
        let objects = self.service(call).await?;
        let release = Release { extra: self.extra.clone(), ..coloured(objects, &serving)? };
        match &self.current {
            Some(_) => refuse_dangling(self.target, &serving, &release).await?,
            None => refuse_foreign(self.target, &release, |id| self.now.get(id) != Some(&None)).await?,
        }
        // Pods that only an earlier step makes cannot be told apart yet.
        if serving.colour.is_none() && self.untouched {
            let fits = |it: &_| deployments(&release, it).next().is_some();
            let objects = narrowed(self.target, &serving, fits).await?;
            self.write(index, call, &Release { objects, ..Release::default() }, |_| true).await?;
        }
        self.write(index, call, &release, |object| !switches(object)).await?;
        self.pending = Some(release);
        Ok(())
    }

    async fn apply(&mut self, index: usize, call: &Call) -> Result<(), Failure> {
        let patterns = manifest::patterns(call.arguments.get("manifests"));
        let scope = Scope::of(call, &self.target.run);
        let more = match manifest::load(self.module, &patterns, &call.files, &scope) {
            Ok(more) => further(self.target, (call, self.module), more).await?,
            // What a file holds, or which one it is, may be for the run to tell.
            Err(failure) if call.files.is_empty() => {
                self.hide(
                    index,
                    &format!("applies manifests that cannot be read before it runs: {}", failure.message),
                );
                return Ok(());
            }
            Err(failure) => return Err(failure),
        };
        let mut release = self.latest().unwrap_or_default();
        release.extra.clone_from(&self.extra);
        workloads::add(&mut release, more.clone());
        self.write(index, call, &release, |object| more.contains(object)).await?;
        self.extra.clone_from(&release.extra);
        self.put(release);
        Ok(())
    }

    /// The release on its way, or in place.
    fn latest(&self) -> Option<Release> {
        self.pending.clone().or_else(|| self.current.clone())
    }

    /// Has a release take the place of that one.
    fn put(&mut self, release: Release) {
        match &mut self.pending {
            Some(pending) => *pending = release,
            None => self.current = Some(release),
        }
        self.untouched = false;
    }

    fn hide(&mut self, call: usize, why: &str) {
        self.remark(Some(call), why);
    }

    fn remark(&mut self, call: Option<usize>, text: &str) {
        self.changes.push(Change::Remark { call, text: text.into() });
    }

    /// How an object is by now.
    async fn before(&self, id: &Id) -> Result<Option<Json>, Failure> {
        match self.now.get(id) {
            Some(now) => Ok(now.clone()),
            None => self.target.get(id).await,
        }
    }

    fn saw(&mut self, call: Option<usize>, id: Id, before: Option<Json>, after: Option<Json>) {
        self.now.insert(id.clone(), after.clone());
        let (before, after) = shown(&id, before, after);
        self.changes.push(Change::Object { call, what: id.to_string(), before, after });
    }

    /// What applying those objects of a release would do.
    async fn write(
        &mut self,
        index: usize,
        call: &Call,
        release: &Release,
        applied: impl Fn(&Json) -> bool,
    ) -> Result<(), Failure> {
        let objects: Vec<&Json> = release.all().filter(|object| applied(object)).collect();
        for namespace in release.all().filter(|object| object["kind"] == "Namespace") {
            let id = Id::of(namespace);
            if self.before(&id).await?.is_none() {
                self.made = true;
                self.saw(Some(index), id, None, Some(namespace.clone()));
            }
        }
        let scaled = match self.made {
            true => Vec::new(),
            false => autoscaled(self.target, &objects, release).await?,
        };
        let forced = call.arguments.get("force").and_then(Value::as_bool) == Some(true);
        for object in objects.into_iter().filter(|object| object["kind"] != "Namespace") {
            let id = Id::of(object);
            let before = self.before(&id).await?;
            // What only an earlier step makes room for is shown as it is written.
            if self.made || self.target.known(&id).await?.is_none() {
                self.saw(Some(index), id, before, Some(object.clone()));
                continue;
            }
            let (after, conflict) = self.target.dry_run(object, self.epoch, Say::of(object, &scaled)).await?;
            match conflict {
                Some(conflict) if forced => {
                    for (field, owner) in conflict.fields {
                        self.remark(Some(index), &format!("takes `{field}` of {id} over from {owner}"));
                    }
                }
                Some(conflict) => self.changes.push(Change::Fails { call: index, why: conflict.message }),
                None => {}
            }
            self.saw(Some(index), id, before, Some(after));
        }
        Ok(())
    }

    /// What removing the canary would do.
    async fn end_canary(&mut self, index: usize) -> Result<(), Failure> {
        let canary = std::mem::take(&mut self.canary);
        let kept = self.current.clone().unwrap_or_default();
        let ids: Vec<Id> = canary.all().map(Id::of).filter(|id| !kept.holds(id)).collect();
        for id in ids.into_iter().rev() {
            self.gone(Some(index), id).await?;
        }
        Ok(())
    }

    /// What is deleted at the end of the run: whatever neither the release in place nor a canary holds. `first`: what was in
    /// place.
    async fn end(&mut self, first: Release) -> Result<(), Failure> {
        // What is staged and not swapped in is no release that a run ends with.
        let kept = [self.current.clone().unwrap_or_default(), std::mem::take(&mut self.canary)];
        let there = self.now.iter().filter(|(_, now)| now.is_some()).map(|(id, _)| id.clone());
        let mut ids: Vec<Id> = first.all().map(Id::of).collect();
        ids.extend(there.filter(|id| !first.holds(id)));
        let leaving = std::mem::take(&mut self.leaving);
        ids.extend(leaving.all().map(Id::of).filter(|id| !ids.contains(id)).collect::<Vec<_>>());
        for id in ids.into_iter().rev().filter(|id| !kept.iter().any(|kept| kept.holds(id))) {
            self.gone(None, id.clone()).await?;
            if id.kind == "HorizontalPodAutoscaler" && self.now.get(&id) == Some(&None) {
                self.handed_over(&id, &kept[0]).await?;
            }
        }
        // What was narrowed for it fits all its pods again.
        if self.pending.is_some() {
            for object in kept[0].all().filter(|object| object["kind"] == "Service") {
                let id = Id::of(object);
                if let Some(narrowed) = self.now.get(&id).cloned().flatten() {
                    let (after, _) = self.target.dry_run(object, self.epoch, Say::Written).await?;
                    self.saw(None, id, Some(narrowed), Some(after));
                }
            }
        }
        Ok(())
    }

    /// What becomes of a workload whose autoscaler is deleted in the end.
    async fn handed_over(&mut self, scaler: &Id, kept: &Release) -> Result<(), Failure> {
        let scaler = self.target.get(scaler).await?;
        let Some(scaled) = scaler.as_ref().and_then(scale_target) else { return Ok(()) };
        if let Some(object) = kept.all().find(|object| Id::of(object).same(&scaled))
            && let Some(live) = self.before(&Id::of(object)).await?
            && let Some(told) = seal::kept_replicas(&scaled, object, &live)
        {
            self.remark(None, &told);
        }
        Ok(())
    }

    async fn gone(&mut self, call: Option<usize>, id: Id) -> Result<(), Failure> {
        if id.kind != "Namespace"
            && self.target.out_of_reach(&id).await?.is_none()
            && let Some(before) = self.before(&id).await?
            && (self.now.contains_key(&id) || self.target.owns(&before))
        {
            self.saw(call, id, Some(before), None);
        }
        Ok(())
    }
}

/// An object before and after, for people: without what only the API server writes, and of a Secret only which of its entries
/// change.
fn shown(id: &Id, before: Option<Json>, after: Option<Json>) -> (Option<String>, Option<String>) {
    let entry =
        |object: &Option<Json>, part: &str, key: &str| object.as_ref().map(|it| it[part][key].clone());
    let text = |object: &Option<Json>, other: &Option<Json>, changed: &str| {
        let mut shown = object.clone()?;
        for part in ["data", "stringData"].into_iter().filter(|_| id.kind == "Secret") {
            for (key, value) in shown.get_mut(part).and_then(Json::as_object_mut).into_iter().flatten() {
                let same = other.is_none() || entry(other, part, key).as_ref() == Some(&*value);
                *value = if same { "(hidden)".into() } else { changed.into() };
            }
        }
        Some(plain(shown))
    };
    (text(&before, &after, "(hidden, as it was)"), text(&after, &before, "(hidden, changed)"))
}

/// An object as text, without what only the API server or this program writes for itself.
fn plain(mut object: Json) -> String {
    if let Some(metadata) = map_at(&mut object, &["metadata"]) {
        metadata.retain(|name, _| !KEPT_BY_SERVER.contains(&name.as_str()));
        if let Some(Json::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.remove(EPOCH);
            annotations.remove(GIVEN);
            annotations.retain(|key, _| ![TAKEN, RESTARTED].iter().any(|name| is_note(key, name)));
            annotations.remove("deployment.kubernetes.io/revision");
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    if let Some(object) = object.as_object_mut() {
        object.remove("status");
    }
    serde_saphyr::to_string(&object).unwrap_or_else(|_| object.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_secret_shows_only_whether_it_changes() {
        let secret = |value: &str| {
            Some(
                json!({ "kind": "Secret", "metadata": { "name": "a", "uid": "1" }, "data": { "k": value, "same": "eA==" } }),
            )
        };
        let id = Id::new("v1", "Secret", "a");
        let (one, two) = shown(&id, secret("aGk="), secret("aG8="));
        let (one, two) = (one.unwrap(), two.unwrap());
        assert!(one.contains("k: (hidden, as it was)") && two.contains("k: (hidden, changed)"), "{one}{two}");
        assert!(one.contains("same: (hidden)") && two.contains("same: (hidden)"), "{one}{two}");
        assert!(!["aGk=", "aG8=", "eA==", "uid"].iter().any(|it| one.contains(it) || two.contains(it)));
        let (one, two) = shown(&id, secret("aGk="), secret("aGk="));
        assert_eq!(one, two);
        assert!(!shown(&id, None, secret("aGk=")).1.unwrap().contains("aGk="));
    }

    #[test]
    fn texts_are_yaml() {
        let object = json!({ "kind": "ConfigMap", "metadata": { "name": "a", "annotations": { EPOCH: "3" } }, "data": { "n": "1" } });
        let back: Json = serde_saphyr::from_str(&plain(object)).unwrap();
        assert_eq!(back, json!({ "kind": "ConfigMap", "metadata": { "name": "a" }, "data": { "n": "1" } }));
    }
}
