//! One service instance in one namespace of one cluster: reading and writing its objects, with failures that say where.

use super::addresses;
use super::cluster::{Call, Cluster, MANAGER, Resource, base};
use super::definition::defined;
use super::fields::{self, Path};
use super::head::Head;
use super::lease::Leases;
use super::object::{
    EPOCH, INSTANCE, Id, MANAGED_BY, NAMESPACE, annotate, dns_name, label, note, notes, stamp, text,
};
use super::permissions::Needed;
use super::problem::{Problem, policy, wrong};
use super::replicas::{self, GIVEN, Say};
use super::taken::{self, TAKEN, Taken};
use crate::driver::{Cancel, Output};
use http::Method;
use lockstep_plan::{CallService, CallTarget, Failure, Kind, Value};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use tokio::time::Instant;

/// How often an object that changes under our hands is read and written again.
pub(super) const WRITES: usize = 10;

/// How an object is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// What belongs to somebody else is a conflict.
    Plain,
    /// What belongs to somebody else is taken over, and remembered.
    Forced,
    /// As it was before: what this run took is given back, and what belongs to somebody else by now is left as it is.
    Back,
    /// Only to see what would come of it.
    Dry,
}

/// What of an object belongs to somebody else.
pub(super) struct Conflict {
    /// How applying it fails, where nothing is taken by force.
    pub message: String,
    /// The fields, as the API server words them, each with its owner.
    pub fields: Vec<(String, String)>,
}

/// An instance of a service, and all that is needed to work on it.
#[derive(Clone)]
pub(super) struct Target {
    pub cluster: Arc<Cluster>,
    pub namespace: String,
    /// What its objects are labelled with.
    pub instance: String,
    /// Kinds that belong to no namespace and may be written all the same.
    pub cluster_kinds: Vec<String>,
    /// The run that works on it, and how often that run has changed hands.
    pub run: String,
    pub life: u64,
    pub output: Option<Output>,
    pub cancel: Cancel,
    /// When the step has to be at its end.
    pub deadline: Instant,
    /// What this process holds.
    pub leases: Arc<Leases>,
    /// What this process was found to need.
    pub needed: Arc<Needed>,
}

impl Target {
    /// The instance's name: the service's, within the infrastructure's `release` if it has one.
    pub fn instance(target: &CallTarget, service: &CallService) -> String {
        match target.settings.get("release").and_then(Value::as_text) {
            None | Some("") => dns_name(&service.name),
            Some(release) => dns_name(&format!("{release}-{}", service.name)),
        }
    }

    /// For people: `namespace `region1` of context `prod``.
    pub fn place(&self) -> String {
        format!("namespace `{}` of context `{}`", self.namespace, self.cluster.context)
    }

    /// Whether what a run has noted in objects is kept: it is another one than this, and can still be taken back.
    pub fn keeps_notes_of(&self, run: &str) -> bool {
        let told = |head: Head| head.history.iter().any(|(_, by)| by == run);
        run != self.run && self.leases.head(self).is_none_or(told)
    }

    pub fn say(&self, text: &str) {
        if let Some(output) = &self.output {
            output.say(text);
        }
    }

    /// The failure of something that was tried with an object.
    pub fn failure(&self, doing: &str, problem: &Problem) -> Failure {
        match problem {
            Problem::Status(status) if status.code == 404 && status.message.starts_with("namespaces ") => {
                policy(format!(
                    "cannot {doing}: there is no {}; create the namespace first, or put it into the manifests",
                    self.place()
                ))
            }
            _ => problem.failure(doing, &self.place()),
        }
    }

    /// Fails where the target's namespace is not there.
    pub async fn refuse_nowhere(&self) -> Result<(), Failure> {
        // Whether one is there may not be ours to ask; what could be written into it is.
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "lockstep" },
        });
        let uri = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases?dryRun=All", self.namespace);
        match self.call(&Call::json(Method::POST, uri, &lease)).await {
            Err(problem) if problem.is(404) => {
                Err(self.failure(&format!("deploy `{}`", self.instance), &problem))
            }
            // Whatever else is wrong, its own step tells.
            _ => Ok(()),
        }
    }

    pub async fn call(&self, call: &Call) -> Result<Json, Problem> {
        self.cluster.call(call, &self.cancel).await
    }

    /// A kind as the API server knows it; none where it does not.
    pub async fn known(&self, id: &Id) -> Result<Option<Resource>, Failure> {
        let found = self.cluster.resource(&id.version, &id.kind, &self.cancel).await;
        found.map_err(|problem| self.failure(&format!("look up the kind {}", id.kind), &problem))
    }

    /// A kind as the API server knows it, or as it will once these objects are applied.
    pub async fn kind(&self, id: &Id, objects: &[Json]) -> Result<Resource, Failure> {
        let found = match self.known(id).await? {
            Some(resource) => Some(resource),
            None => defined(id, objects),
        };
        found.ok_or_else(|| {
            wrong(format!(
                "context `{}` does not know the kind {} of `{}`: install its CustomResourceDefinition first, put it among the \
                 manifests, or use a version that the cluster serves",
                self.cluster.context, id.kind, id.version
            ))
        })
    }

    /// Where the objects of a kind are.
    pub async fn collection(&self, id: &Id) -> Result<(String, Resource), Failure> {
        let resource = self.kind(id, &[]).await?;
        let base = base(&id.version);
        let path = match resource.namespaced {
            true => format!("{base}/namespaces/{}/{}", self.namespace, resource.name),
            false => format!("{base}/{}", resource.name),
        };
        Ok((path, resource))
    }

    /// Whether an object of that kind is this instance's to write.
    pub fn may_write(&self, id: &Id, resource: &Resource) -> Result<(), Failure> {
        // Beside what is named, only the target's own namespace is ever touched outside of namespaces.
        let own = id.kind == "Namespace" && id.name == self.namespace;
        if !(resource.namespaced || own || self.cluster_kinds.contains(&id.kind)) {
            return Err(policy(format!(
                "{id} belongs to no namespace, so a whole cluster shares it: apply it apart from this service, or let the \
                 infrastructure say that it is this service's own: `cluster_kinds = [\"{}\"]`",
                id.kind
            )));
        }
        Ok(())
    }

    /// Where an object is.
    async fn path(&self, id: &Id) -> Result<String, Failure> {
        let (path, resource) = self.collection(id).await?;
        self.may_write(id, &resource)?;
        Ok(format!("{path}/{}", id.name))
    }

    /// Why an object that some release holds is not looked for: its kind is gone from the cluster, with all there was of it,
    /// or is not this instance's to write.
    pub async fn out_of_reach(&self, id: &Id) -> Result<Option<String>, Failure> {
        let found = self.cluster.resource(&id.version, &id.kind, &self.cancel).await;
        let found =
            found.map_err(|problem| self.failure(&format!("look up the kind {}", id.kind), &problem))?;
        Ok(match found {
            None => {
                Some(format!("the cluster does not know the kind {} of `{}` any more", id.kind, id.version))
            }
            Some(resource) => self.may_write(id, &resource).err().map(|failure| failure.message),
        })
    }

    /// An object as it is now. There is none of a kind that is not known.
    pub async fn get(&self, id: &Id) -> Result<Option<Json>, Failure> {
        if self.known(id).await?.is_none() {
            return Ok(None);
        }
        let path = self.path(id).await?;
        match self.call(&Call::get(path)).await {
            Ok(object) => Ok(Some(object)),
            Err(problem) if problem.is(404) => Ok(None),
            Err(problem) => Err(self.failure(&format!("read {id}"), &problem)),
        }
    }

    /// An object with what is said of who manages it, which is left out elsewhere.
    pub async fn whole(&self, id: &Id) -> Result<Option<Json>, Failure> {
        let read = self.cluster.text(&Call::get(self.path(id).await?), &self.cancel).await;
        match read {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|error| wrong(format!("cannot read {id} in {}: {error}", self.place()))),
            Err(problem) if problem.is(404) => Ok(None),
            Err(problem) => Err(self.failure(&format!("read {id}"), &problem)),
        }
    }

    /// Objects of a kind that a selector (`labelSelector=…`) picks.
    pub async fn list(&self, version: &str, plural: &str, selector: &str) -> Result<Vec<Json>, Failure> {
        let uri = format!("{}/namespaces/{}/{plural}?{selector}", base(version), self.namespace);
        let listed = self.call(&Call::get(uri)).await;
        let mut listed = listed.map_err(|problem| self.failure(&format!("list {plural}"), &problem))?;
        let items = listed["items"].take();
        Ok(serde_json::from_value(items).unwrap_or_default())
    }

    /// Makes the target's namespace, unless it is there. It may be shared, so it is never changed or deleted.
    pub async fn make_namespace(&self, object: &Json) -> Result<(), Failure> {
        let id = Id::of(object);
        if self.get(&id).await?.is_some() {
            return Ok(());
        }
        match self.call(&Call::json(Method::POST, "/api/v1/namespaces", object)).await {
            Ok(_) => {
                self.say(&format!("made {id}"));
                Ok(())
            }
            Err(problem) if problem.is(409) => Ok(()),
            Err(problem) => Err(self.failure(&format!("make {id}"), &problem)),
        }
    }

    /// Applies an object, as the holder of `epoch`. Gives what came of it.
    ///
    /// # Errors
    /// Somebody else owns the object or one of its fields, a newer holder has written it, or the API server refuses it.
    pub async fn apply(&self, object: &Json, epoch: u64, manner: Manner, say: Say) -> Result<Json, Failure> {
        let id = Id::of(object);
        let (applied, _) = self.patch(object, epoch, manner, say).await?;
        let applied = match manner {
            Manner::Back => self.release(&id, applied, epoch).await?,
            _ => applied,
        };
        replicas::let_go(self, &id, applied, epoch).await
    }

    /// What applying an object would make of it, and what of it belongs to somebody else.
    pub async fn dry_run(
        &self,
        object: &Json,
        epoch: u64,
        say: Say,
    ) -> Result<(Json, Option<Conflict>), Failure> {
        self.patch(object, epoch, Manner::Dry, say).await
    }

    async fn patch(
        &self,
        object: &Json,
        epoch: u64,
        manner: Manner,
        say: Say,
    ) -> Result<(Json, Option<Conflict>), Failure> {
        let id = Id::of(object);
        let path = self.path(&id).await?;
        let plain = format!("{path}?fieldManager={MANAGER}&fieldValidation=Strict");
        let forced = format!("{plain}&force=true");
        let mut left: Vec<Path> = Vec::new();
        // What a Service had, and cannot have again.
        let mut refused: Vec<String> = Vec::new();
        for _ in 0..WRITES {
            let live = self.get(&id).await?;
            let mut taken = live.as_ref().map(|live| Taken::of(live, &self.run)).unwrap_or_default();
            let mut wanted = object.clone();
            if let Some(live) = &live {
                self.refuse_foreign(&id, live, epoch)?;
                match manner {
                    Manner::Plain | Manner::Forced => taken.adopt(live),
                    // A run gives back what it took, and nothing else of what others have put here.
                    Manner::Back
                        if !taken.whole && text(live, &["metadata", "labels", INSTANCE]).is_none() =>
                    {
                        return Ok((live.clone(), None));
                    }
                    Manner::Back | Manner::Dry => {}
                }
                // Whoever has written since it was looked at is noticed.
                wanted["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"].clone();
            }
            if !(manner == Manner::Back && taken.whole) {
                label(&mut wanted, MANAGED_BY, MANAGER);
                label(&mut wanted, INSTANCE, &self.instance);
                if self.cluster_kinds.contains(&id.kind) {
                    label(&mut wanted, NAMESPACE, &self.namespace);
                }
                annotate(&mut wanted, EPOCH, &epoch.to_string());
                let noted = live.iter().flat_map(|live| notes(live, TAKEN));
                for (run, taken) in noted.filter(|(run, _)| self.keeps_notes_of(run)) {
                    annotate(&mut wanted, &note(TAKEN, run), taken);
                }
            }
            replicas::settle(self, &mut wanted, live.as_ref(), say).await?;
            let mut asked = match manner {
                Manner::Dry => Vec::new(),
                _ => addresses::wanted(self, &wanted, live.as_ref()).await?,
            };
            asked.retain(|it| !refused.contains(it));
            addresses::ask(&mut wanted, &asked);
            if !asked.is_empty() {
                annotate(&mut wanted, GIVEN, &addresses::told(&asked));
            }
            if manner == Manner::Back {
                taken.restore(&mut wanted);
            }
            left.iter().for_each(|path| fields::remove(&mut wanted, path));
            if manner != Manner::Dry {
                taken.remember(&mut wanted, &self.run);
            }
            let call = |uri: &str, wanted: &Json| Call {
                method: Method::PATCH,
                uri: uri.into(),
                body: Some(("application/apply-patch+yaml", wanted.to_string().into_bytes())),
            };
            let mut sent = match manner {
                Manner::Dry => self.call(&call(&format!("{plain}&dryRun=All"), &wanted)).await,
                _ => self.cluster.write(&call(&plain, &wanted), self, epoch).await,
            };
            let conflicts = sent.as_ref().err().map(Problem::conflicts).unwrap_or_default();
            let mut conflict = None;
            if !conflicts.is_empty() && manner == Manner::Dry {
                // What would come of it is of interest all the same.
                let told = sent.as_ref().err().map(|problem| self.failure(&format!("apply {id}"), problem));
                conflict = told.map(|told| Conflict { message: told.message, fields: conflicts.clone() });
                sent = self.call(&call(&format!("{forced}&dryRun=All"), &wanted)).await;
            }
            if !conflicts.is_empty() && matches!(manner, Manner::Forced | Manner::Back) {
                let Some(whole) = self.whole(&id).await? else { continue };
                if whole["metadata"]["resourceVersion"] != wanted["metadata"]["resourceVersion"] {
                    continue;
                }
                let fields: Vec<String> = conflicts.iter().map(|(field, _)| field.clone()).collect();
                if manner == Manner::Forced {
                    for (field, owner) in &conflicts {
                        self.say(&format!("taking `{field}` of {id} over from {owner}"));
                    }
                    taken.take(&whole, &fields);
                    taken.remember(&mut wanted, &self.run);
                    sent = self.cluster.write(&call(&forced, &wanted), self, epoch).await;
                } else {
                    let theirs = taken.theirs_by_now(&whole, &fields);
                    if !theirs.is_empty() {
                        for (field, owner) in &conflicts {
                            self.say(&format!(
                                "`{field}` of {id} is left as it is: it belongs to {owner} by now"
                            ));
                        }
                        left.extend(theirs);
                        continue;
                    }
                    // Kubernetes 1.20 names those who had a field before the run, too: it is ours until it is given back.
                    if taken::are_ours(&whole, &fields) {
                        sent = self.cluster.write(&call(&forced, &wanted), self, epoch).await;
                    }
                }
            }
            match sent {
                Ok(applied) => return Ok((applied, conflict)),
                Err(problem) if problem.outdated() => {}
                Err(problem) => {
                    let told = match &problem {
                        Problem::Status(status) => status.message.as_str(),
                        _ => "",
                    };
                    let gone = addresses::refused(&wanted, &asked, told);
                    if gone.is_empty() {
                        return Err(self.failure(&format!("apply {id}"), &problem));
                    }
                    self.say(&format!("{id} gets another {} than it had: {told}", addresses::kind(&gone)));
                    refused.extend(gone);
                }
            }
        }
        Err(wrong(format!("{id} in {} keeps changing while it is being applied", self.place())))
    }

    /// Fields of an object that going back to it from `now` would leave as they are, because they are somebody else's by now;
    /// each with its owner. What is the same in both was not changed by going there, and how many replicas there are is not
    /// what a run puts in place. Looks only.
    pub async fn others_fields(&self, object: &Json, now: &Json) -> Result<Vec<(String, String)>, Failure> {
        let id = Id::of(object);
        if self.out_of_reach(&id).await?.is_some() {
            return Ok(Vec::new());
        }
        let Some(live) = self.get(&id).await?.filter(|live| self.owns(live)) else { return Ok(Vec::new()) };
        let mut wanted = object.clone();
        Taken::of(&live, &self.run).restore(&mut wanted);
        let call = Call {
            method: Method::PATCH,
            uri: format!("{}?fieldManager={MANAGER}&dryRun=All", self.path(&id).await?),
            body: Some(("application/apply-patch+yaml", wanted.to_string().into_bytes())),
        };
        // Whatever else hinders it, the rollback will tell.
        let mut conflicts = self.call(&call).await.err().map(|it| it.conflicts()).unwrap_or_default();
        conflicts.retain(|(field, _)| field != ".spec.replicas");
        if conflicts.is_empty() {
            return Ok(conflicts);
        }
        let Some(whole) = self.whole(&id).await? else { return Ok(Vec::new()) };
        let fields: Vec<String> = conflicts.iter().map(|(field, _)| field.clone()).collect();
        let changed: Vec<String> = taken::theirs(&whole, &fields)
            .iter()
            .filter(|path| fields::value(object, path) != fields::value(now, path))
            .map(|path| fields::shown(path))
            .collect();
        conflicts.retain(|(field, _)| changed.contains(field));
        Ok(conflicts)
    }

    /// Returns what this run took with an object, which has its values again, to those whose it was.
    async fn release(&self, id: &Id, live: Json, epoch: u64) -> Result<Json, Failure> {
        if Taken::of(&live, &self.run).is_empty() {
            return Ok(live);
        }
        for _ in 0..WRITES {
            let Some(whole) = self.whole(id).await? else { return Ok(live) };
            let taken = Taken::of(&whole, &self.run);
            if taken.is_empty() {
                return Ok(whole);
            }
            let mark = note(TAKEN, &self.run);
            let Some(given) = self.manage(id, &whole, taken.managers(&whole), Some(&mark), epoch).await?
            else {
                continue;
            };
            for (field, owner) in taken.given() {
                self.say(&format!("gave `{field}` of {id} back to {owner}"));
            }
            if taken.whole {
                self.say(&format!("let go of {id}, which was here before"));
            }
            return Ok(given);
        }
        Err(wrong(format!("{id} in {} keeps changing while it is being given back", self.place())))
    }

    /// Writes who manages which fields of an object as it was read, without that annotation; none where it has changed since.
    pub async fn manage(
        &self,
        id: &Id,
        whole: &Json,
        managers: Json,
        without: Option<&str>,
        epoch: u64,
    ) -> Result<Option<Json>, Failure> {
        let mut patch = vec![
            json!({ "op": "replace", "path": "/metadata/resourceVersion", "value": whole["metadata"]["resourceVersion"] }),
        ];
        patch.extend(without.map(|mark| {
            json!({ "op": "remove", "path": format!("/metadata/annotations/{}", mark.replace('/', "~1")) })
        }));
        patch.push(json!({ "op": "replace", "path": "/metadata/managedFields", "value": managers }));
        let call = Call {
            method: Method::PATCH,
            uri: format!("{}?fieldManager={MANAGER}", self.path(id).await?),
            body: Some(("application/json-patch+json", Json::from(patch).to_string().into_bytes())),
        };
        match self.cluster.write(&call, self, epoch).await {
            Ok(written) => Ok(Some(written)),
            Err(problem) if problem.is(409) || problem.passing() => Ok(None),
            Err(problem) => Err(self.failure(&format!("give fields of {id} to others"), &problem)),
        }
    }

    /// Whether an object is labelled as this instance's: instances of several namespaces may have one name.
    pub fn owns(&self, live: &Json) -> bool {
        let label = |name: &str| text(live, &["metadata", "labels", name]);
        label(INSTANCE) == Some(self.instance.as_str())
            && label(NAMESPACE).is_none_or(|namespace| namespace == self.namespace)
    }

    /// What belongs to another instance, or what a newer holder has written, is left alone.
    fn refuse_foreign(&self, id: &Id, live: &Json, epoch: u64) -> Result<(), Failure> {
        if let Some(owner) = text(live, &["metadata", "labels", INSTANCE])
            && !self.owns(live)
        {
            let owner = match text(live, &["metadata", "labels", NAMESPACE]) {
                Some(namespace) => format!("{owner}` of namespace `{namespace}"),
                None => owner.to_string(),
            };
            return Err(policy(format!(
                "{id} in {} belongs to the service instance `{owner}`: give one of them another name, or the \
                 infrastructure another `release`",
                self.place()
            )));
        }
        let stamp = stamp(live);
        if stamp > epoch {
            return Err(policy(format!(
                "{id} in {} was written by a newer holder of `{}` (epoch {stamp}, ours is {epoch}): this run has lost \
                 its target",
                self.place(),
                self.instance
            )));
        }
        Ok(())
    }

    /// Deletes an object of this instance, with what depends on it. One that is not there, or not ours, is left as it is.
    /// Says whether it was deleted.
    pub async fn delete(&self, id: &Id, epoch: u64) -> Result<bool, Failure> {
        if let Some(why) = self.out_of_reach(id).await? {
            self.say(&format!("nothing to delete of {id}: {why}"));
            return Ok(false);
        }
        for _ in 0..WRITES {
            let Some(live) = self.get(id).await? else { return Ok(false) };
            if !self.owns(&live)
                || id.kind == "Namespace"
                || live["metadata"]["deletionTimestamp"].is_string()
            {
                return Ok(false);
            }
            self.refuse_foreign(id, &live, epoch)?;
            if Taken::of(&live, &self.run).whole {
                let nothing =
                    json!({ "apiVersion": id.version, "kind": id.kind, "metadata": { "name": id.name } });
                return self.apply(&nothing, epoch, Manner::Back, Say::Written).await.map(|_| false);
            }
            let preconditions = json!({
                "uid": live["metadata"]["uid"], "resourceVersion": live["metadata"]["resourceVersion"],
            });
            let body = json!({ "propagationPolicy": "Background", "preconditions": preconditions });
            self.say(&format!("deleting {id}"));
            let call = Call::json(Method::DELETE, self.path(id).await?, &body);
            match self.cluster.write(&call, self, epoch).await {
                Ok(_) => return Ok(true),
                Err(problem) if problem.is(404) => return Ok(false),
                Err(problem) if problem.is(409) => {}
                Err(problem) => return Err(self.failure(&format!("delete {id}"), &problem)),
            }
        }
        Err(wrong(format!("{id} in {} keeps changing while it is being deleted", self.place())))
    }

    /// Fails once the step is to end.
    pub fn go_on(&self) -> Result<(), Failure> {
        if self.cancel.is_cancelled() {
            return Err(Failure::new(Kind::Timeout, "it was stopped before its end"));
        }
        Ok(())
    }
}
