//! Manifests: from the files that a service names to the objects that its release consists of.

use super::document::{line, parse};
use super::object::{Id, MANAGED_BY};
use super::problem::{policy, wrong};
use super::template::{self, Scope};
use lockstep_plan::{Call, Failure, File, Value};
use serde_json::Value as Json;
use std::path::{Path, PathBuf};

/// What the files that `patterns` name describe, in the order in which it is to be applied.
///
/// As a rule they came with the plan, filled in. Only what could not be known when the run began (files that a step's output
/// names, or that a step made) is read now, relative to `module`, and filled in from `scope`.
pub(super) fn load(
    module: &Path,
    patterns: &[&str],
    filled: &[File],
    scope: &Scope,
) -> Result<Vec<Json>, Failure> {
    if patterns.is_empty() {
        return Err(wrong("the service has no `manifests`: name the files that describe it"));
    }
    let mut texts: Vec<File> = Vec::new();
    for pattern in patterns {
        match came(pattern, filled) {
            came if came.is_empty() => {
                for file in files(module, pattern)? {
                    texts.push(read(module, &file, scope)?);
                }
            }
            came => texts.extend(came),
        }
    }
    objects(&texts, patterns)
}

/// The same as far as it came with the plan; none where some of it did not.
pub(super) fn loaded(patterns: &[&str], filled: &[File]) -> Result<Option<Vec<Json>>, Failure> {
    let mut texts: Vec<File> = Vec::new();
    for pattern in patterns {
        match came(pattern, filled) {
            came if came.is_empty() => return Ok(None),
            came => texts.extend(came),
        }
    }
    objects(&texts, patterns).map(Some)
}

/// The files that came with a call and that its own arguments name, as one; each by itself where it is not known yet which of
/// them these are.
pub(super) fn chosen(call: &Call) -> Vec<Vec<File>> {
    let named = call.arguments.get("manifests").or_else(|| call.arguments.get("manifest"));
    if named.is_none() {
        return call.files.iter().map(|file| vec![file.clone()]).collect();
    }
    let named = patterns(named);
    let chosen = call.files.iter().filter(|file| named.iter().any(|pattern| names(pattern, &file.path)));
    let chosen: Vec<File> = chosen.cloned().collect();
    if chosen.is_empty() { Vec::new() } else { vec![chosen] }
}

fn came(pattern: &str, filled: &[File]) -> Vec<File> {
    filled.iter().filter(|file| names(pattern, &file.path)).cloned().collect()
}

/// What files describe, in the order in which it is to be applied. `patterns`: what named them.
pub(super) fn objects(files: &[File], patterns: &[&str]) -> Result<Vec<Json>, Failure> {
    let mut objects: Vec<Json> = Vec::new();
    // Of each object: its file, and its place among those of the file.
    let mut places: Vec<(&File, usize)> = Vec::new();
    for file in files {
        for (place, object) in read_objects(file)?.into_iter().enumerate() {
            objects.push(object);
            places.push((file, place));
        }
    }
    // To go on would mean that everything that runs is to be deleted.
    if objects.is_empty() {
        let shown: Vec<String> = patterns.iter().map(|pattern| format!("`{pattern}`")).collect();
        return Err(wrong(format!(
            "{} holds no object: a manifest has to describe one at least",
            shown.join(", ")
        )));
    }
    for (index, object) in objects.iter().enumerate() {
        let id = Id::of(object);
        if let Some(earlier) = objects[..index].iter().position(|other| Id::of(other).same(&id)) {
            let shown = |index: usize| {
                let (file, place) = places[index];
                let line = line(file, place).map_or(String::new(), |line| format!(" ({line})"));
                format!("`{}`{line}", file.path)
            };
            return Err(wrong(format!(
                "{id} stands in {} and again in {}: take one out",
                shown(earlier),
                shown(index)
            )));
        }
    }
    objects.sort_by_key(|object| rank(&Id::of(object)));
    Ok(objects)
}

fn read_objects(file: &File) -> Result<Vec<Json>, Failure> {
    parse(file).map_err(|error| wrong(format!("the manifest `{}`: {error}", file.path)))
}

/// Whether a pattern stands for a file: it names it, fits it, or names the folder that it lies in.
pub(super) fn names(pattern: &str, path: &str) -> bool {
    const WHOLE: glob::MatchOptions = glob::MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: false,
    };
    let folder = Path::new(path).parent().unwrap_or(Path::new(""));
    pattern == path
        || Path::new(pattern) == folder
        || (pattern == "." && folder.as_os_str().is_empty())
        || glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches_with(path, WHOLE))
}

fn read(module: &Path, file: &Path, scope: &Scope) -> Result<File, Failure> {
    let path = file.strip_prefix(module).unwrap_or(file).display().to_string();
    let text = std::fs::read_to_string(file)
        .map_err(|error| wrong(format!("the manifest `{path}` cannot be read: {error}")))?;
    template::render(path.clone(), &text, scope)
        .map_err(|error| wrong(format!("the manifest `{path}` cannot be filled in: {error}")))
}

/// The texts of a list of paths.
pub(super) fn patterns(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::List(items)) => items.iter().filter_map(Value::as_text).collect(),
        Some(one) => one.as_text().into_iter().collect(),
        None => Vec::new(),
    }
}

/// The files that a pattern stands for, sorted; of a directory its YAML and JSON files.
pub(super) fn files(module: &Path, pattern: &str) -> Result<Vec<PathBuf>, Failure> {
    let full = module.join(pattern);
    if full.is_file() {
        return Ok(vec![full]);
    }
    let mut found = Vec::new();
    if full.is_dir() {
        for extension in ["yaml", "yml", "json"] {
            found.extend(matching(&full.join(format!("*.{extension}")))?);
        }
    } else {
        found = matching(&full)?;
    }
    found.sort();
    if found.is_empty() {
        return Err(wrong(format!("there is no manifest `{pattern}` in `{}`", module.display())));
    }
    Ok(found)
}

fn matching(pattern: &Path) -> Result<Vec<PathBuf>, Failure> {
    let shown = pattern.display().to_string();
    let paths =
        glob::glob(&shown).map_err(|error| wrong(format!("`{shown}` is no pattern of files: {error}")))?;
    let mut found = Vec::new();
    for path in paths {
        let path = path.map_err(|error| wrong(format!("`{shown}` cannot be looked through: {error}")))?;
        if path.is_file() {
            found.push(path);
        }
    }
    Ok(found)
}

/// Settles the namespace of a namespaced object: only the target's.
pub(super) fn settle(object: &mut Json, namespace: &str) -> Result<(), Failure> {
    let id = Id::of(object);
    match object["metadata"]["namespace"].as_str() {
        None | Some("") => object["metadata"]["namespace"] = namespace.into(),
        Some(given) if given == namespace => {}
        Some(given) => {
            return Err(policy(format!(
                "{id} names the namespace `{given}`, but the target's is `{namespace}`: leave it out, or write \
                 `${{infra.namespace}}`"
            )));
        }
    }
    let foreign =
        object["metadata"]["labels"][MANAGED_BY].as_str().is_some_and(|by| by != super::cluster::MANAGER);
    if foreign {
        return Err(policy(format!("{id} has the label `{MANAGED_BY}` with another value: leave it out")));
    }
    Ok(())
}

/// What has to be there first comes first.
fn rank(id: &Id) -> usize {
    const ORDER: [&str; 20] = [
        "Namespace",
        "CustomResourceDefinition",
        "ResourceQuota",
        "LimitRange",
        "ServiceAccount",
        "Secret",
        "ConfigMap",
        "PersistentVolumeClaim",
        "Role",
        "RoleBinding",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
        "Ingress",
        "HTTPRoute",
        "GRPCRoute",
        "DaemonSet",
        "Deployment",
        "StatefulSet",
        "HorizontalPodAutoscaler",
    ];
    ORDER.iter().position(|kind| *kind == id.kind).unwrap_or(ORDER.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockstep_plan::Kind;
    use serde_json::json;

    #[test]
    fn another_namespace_is_refused() {
        let mut object = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "a" } });
        settle(&mut object, "one").unwrap();
        assert_eq!(object["metadata"]["namespace"], "one");
        assert_eq!(settle(&mut object, "two").unwrap_err().kind, Kind::Policy);
    }

    #[test]
    fn files_are_found_by_name_pattern_and_directory() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        write("b.yaml", "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}}");
        write("a.yaml", "{apiVersion: v1, kind: Service, metadata: {name: '${service.name}'}}");
        write("c.txt", "not a manifest");
        let scope = Scope::new([("service.name", "s")]);
        for pattern in [".", "*.yaml"] {
            let objects = load(directory.path(), &[pattern], &[], &scope).unwrap();
            let ids: Vec<String> = objects.iter().map(|object| Id::of(object).to_string()).collect();
            assert_eq!(ids, ["Service `s`", "Deployment `d`"]);
        }
        write("empty.yml", "# nothing\n---\n");
        let ids = load(directory.path(), &["a.yaml", "empty.yml"], &[], &scope).unwrap();
        assert_eq!(ids.len(), 1, "an empty document beside others says nothing");
        let empty = load(directory.path(), &["*.yml"], &[], &scope).unwrap_err();
        assert!(empty.message.starts_with("`*.yml` holds no object"), "{empty:?}");
        let twice = load(directory.path(), &["a.yaml", "*.yaml"], &[], &scope).unwrap_err();
        assert!(twice.message.contains("`a.yaml` (line 1) and again in `a.yaml` (line 1)"), "{twice:?}");
        assert!(
            load(directory.path(), &["no.yaml"], &[], &scope)
                .unwrap_err()
                .message
                .contains("no manifest `no.yaml`")
        );
    }

    #[test]
    fn what_came_with_the_plan_is_not_read_again() {
        let file = |path: &str, name: &str| File {
            path: path.into(),
            text: format!("{{apiVersion: v1, kind: Service, metadata: {{name: {name}}}}}"),
            filled: Vec::new(),
        };
        let filled = [file("k8s/a.yaml", "a"), file("k8s/more/b.yaml", "b"), file("../common/c.yml", "c")];
        for (pattern, expected) in [
            ("k8s/*.yaml", "a"),
            ("k8s", "a"),
            ("k8s/a.yaml", "a"),
            ("k8s/m*/*.yaml", "b"),
            ("k8s/more", "b"),
            ("../common/*", "c"),
        ] {
            let objects = load(Path::new("nowhere"), &[pattern], &filled, &Scope::default()).unwrap();
            let names: Vec<String> = objects.iter().map(|object| Id::of(object).name).collect();
            assert_eq!(names, [expected], "{pattern}");
        }
    }
}
