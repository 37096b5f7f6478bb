//! What a run takes from others, and how it is given back: fields that a forced step took over, and whole objects that somebody
//! else had put there.
//!
//! The object itself remembers it, in an annotation that is written together with what is taken: so nothing is taken that is
//! not remembered, whenever the process ends. It is kept for as long as the run can be taken back.

use super::cluster::MANAGER;
use super::fields::{self, Path};
use super::object::{INSTANCE, annotate, at, note, notes, text};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

/// Annotation, one for each run: what it took.
pub(super) const TAKEN: &str = "lockstep/taken";

/// What a run took with one object.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Taken {
    /// Whether the object was somebody else's altogether.
    #[serde(default)]
    pub whole: bool,
    #[serde(default)]
    fields: Vec<Field>,
}

/// A field that was somebody else's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Field {
    path: Path,
    value: Json,
    /// Their entries of `managedFields`, without the fields.
    owners: Vec<Json>,
}

impl Taken {
    /// What the object remembers of that run.
    pub fn of(live: &Json, run: &str) -> Taken {
        let mut notes = notes(live, TAKEN).filter(|(by, _)| *by == run);
        notes.next().and_then(|(_, text)| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// What writing an object takes, where nobody is forced to give anything.
    pub fn adopt(&mut self, live: &Json) {
        self.whole |= text(live, &["metadata", "labels", INSTANCE]).is_none();
    }

    /// Adds the fields that are to be taken by force. `conflicts`: as the API server words them.
    pub fn take(&mut self, live: &Json, conflicts: &[String]) {
        for entry in others(live) {
            for path in fields::leaves(&entry["fieldsV1"]) {
                let Some(value) = fields::value(live, &path) else { continue };
                if !conflicts.contains(&fields::shown(&path)) {
                    continue;
                }
                let owner = owner(entry);
                match self.fields.iter_mut().find(|field| field.path == path) {
                    Some(field) if field.owners.contains(&owner) => {}
                    Some(field) => field.owners.push(owner),
                    None => self.fields.push(Field { path, value: value.clone(), owners: vec![owner] }),
                }
            }
        }
    }

    /// The fields among `conflicts` that somebody else manages by now. Who had one when it was taken, and has written nothing
    /// since, is still named for it where a server counts him in: that one gets it back.
    pub fn theirs_by_now(&self, live: &Json, conflicts: &[String]) -> Vec<Path> {
        let had = |path: &Path, entry: &Json| {
            let owner = owner(entry);
            self.fields.iter().any(|field| field.path == *path && field.owners.contains(&owner))
        };
        let mut theirs = theirs(live, conflicts);
        theirs.retain(|path| {
            let names = |entry: &&Json| fields::names(&entry["fieldsV1"], path);
            let ours = entries(live).filter(|entry| is_ours(entry)).any(|entry| names(&entry));
            !ours || !others(live).filter(names).all(|entry| had(path, entry))
        });
        theirs
    }

    pub fn is_empty(&self) -> bool {
        !self.whole && self.fields.is_empty()
    }

    /// Has an object remember that the run took it.
    pub fn remember(&self, object: &mut Json, run: &str) {
        if !self.is_empty() {
            annotate(object, &note(TAKEN, run), &json!(self).to_string());
        }
    }

    /// Gives the fields the values that they had.
    pub fn restore(&self, object: &mut Json) {
        for field in &self.fields {
            fields::set(object, &field.path, &field.value);
        }
    }

    /// The fields, as the API server words them, each with who gets it back.
    pub fn given(&self) -> Vec<(String, String)> {
        let owner = |field: &Field| {
            let names: Vec<&str> =
                field.owners.iter().filter_map(|owner| text(owner, &["manager"])).collect();
            names.join(" and ")
        };
        self.fields.iter().map(|field| (fields::shown(&field.path), owner(field))).collect()
    }

    /// Who manages what once all is given back.
    pub fn managers(&self, live: &Json) -> Json {
        let mut entries: Vec<Json> =
            at(live, &["metadata", "managedFields"]).and_then(Json::as_array).cloned().unwrap_or_default();
        for field in &self.fields {
            // What somebody else has taken since stays theirs.
            let Some(ours) = entries.iter_mut().find(|entry| is_ours(entry)) else { break };
            if !fields::names(&ours["fieldsV1"], &field.path) {
                continue;
            }
            fields::unname(&mut ours["fieldsV1"], &field.path);
            for owner in &field.owners {
                let same = |entry: &&mut Json| {
                    ["manager", "operation", "apiVersion", "subresource"]
                        .iter()
                        .all(|key| entry[key] == owner[key])
                };
                match entries.iter_mut().find(|entry| same(entry)) {
                    Some(entry) => fields::name(&mut entry["fieldsV1"], &field.path),
                    None => {
                        let mut entry = owner.clone();
                        entry["fieldsV1"] = json!({});
                        fields::name(&mut entry["fieldsV1"], &field.path);
                        entries.push(entry);
                    }
                }
            }
        }
        if self.whole {
            entries.retain(|entry| !is_ours(entry));
        }
        entries.into()
    }
}

/// The fields among `conflicts` that somebody else manages.
pub(super) fn theirs(live: &Json, conflicts: &[String]) -> Vec<Path> {
    let mut found: Vec<Path> = Vec::new();
    for path in others(live).flat_map(|entry| fields::leaves(&entry["fieldsV1"])) {
        if conflicts.contains(&fields::shown(&path)) && !found.contains(&path) {
            found.push(path);
        }
    }
    found
}

/// What others have put on an object beside what releases hold, each field with who did, a restart of ours among them. Left out is
/// what controllers of the cluster note there, and the number of pods, which is kept apart.
pub(super) fn put_by_others(live: &Json) -> Vec<String> {
    const CONTROLLERS: [&str; 4] =
        ["kube-controller-manager", "cloud-controller-manager", "kube-scheduler", "kubelet"];
    const LAST_APPLIED: &str = "f:kubectl.kubernetes.io/last-applied-configuration";
    let ours = entries(live).filter(|entry| is_ours(entry));
    let ours: Vec<Path> = ours.flat_map(|entry| fields::leaves(&entry["fieldsV1"])).collect();
    let apart = |path: &Path| {
        path[0] == "f:status"
            || *path == ["f:spec", "f:replicas"]
            || path.iter().any(|step| step == LAST_APPLIED || step.starts_with("f:lockstep/"))
    };
    let mut found = Vec::new();
    for entry in others(live) {
        let by = entry["manager"].as_str().unwrap_or("somebody");
        if CONTROLLERS.contains(&by) || by == MANAGER {
            continue;
        }
        let all = fields::leaves(&entry["fieldsV1"]);
        // What is said of a map is said of what is in it.
        let inner = |path: &Path| all.iter().any(|it| it.len() > path.len() && it.starts_with(path));
        for path in all.iter().filter(|path| !apart(path) && !ours.contains(path) && !inner(path)) {
            let told = format!("`{}` ({by})", fields::shown(path));
            if !found.contains(&told) {
                found.push(told);
            }
        }
    }
    found
}

/// Whether all of these fields are ours.
pub(super) fn are_ours(live: &Json, conflicts: &[String]) -> bool {
    let ours = entries(live).filter(|entry| is_ours(entry));
    let ours: Vec<String> =
        ours.flat_map(|entry| fields::leaves(&entry["fieldsV1"])).map(|path| fields::shown(&path)).collect();
    conflicts.iter().all(|field| ours.contains(field))
}

fn is_ours(entry: &Json) -> bool {
    entry["manager"] == MANAGER && entry["operation"] == "Apply"
}

/// Somebody's entry, without the fields.
fn owner(entry: &Json) -> Json {
    let mut owner = entry.clone();
    owner.as_object_mut().map(|owner| owner.remove("fieldsV1"));
    owner
}

fn others(live: &Json) -> impl Iterator<Item = &Json> {
    entries(live).filter(|entry| !is_ours(entry))
}

fn entries(live: &Json) -> impl Iterator<Item = &Json> {
    at(live, &["metadata", "managedFields"]).and_then(Json::as_array).into_iter().flatten()
}
