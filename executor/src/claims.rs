//! What a claim of a plan means on this machine: keys that two runs share when they mean the same thing.

use crate::store::Need;
use lockstep_plan::{Claim, Held, NoFacts, Plan, Value};
use std::path::{Component, Path, PathBuf};

/// What a claim needs. Relative paths start from `module`.
pub(crate) fn needs(plan: &Plan, claim: &Claim, module: &Path) -> Vec<Need> {
    let targets = claim.targets.iter().map(|held| Need {
        key: key(plan, *held, module),
        what: what(plan, *held),
        permits: 1,
        capacity: 1,
        target: true,
    });
    let uses = claim.uses.iter().map(|it| Need {
        key: format!("resource {}", it.resource),
        what: format!("`{}`", it.resource),
        permits: it.permits,
        capacity: plan.resources.get(&it.resource).copied().unwrap_or(1),
        target: false,
    });
    let mut needs: Vec<Need> = targets.chain(uses).collect();
    // Two names in the plan may mean one thing.
    needs.sort_by(|a, b| a.key.cmp(&b.key));
    needs.dedup_by(|a, b| a.key == b.key);
    needs
}

/// What can never be granted, for people: more permits than there are.
pub(crate) fn impossible(plan: &Plan) -> Vec<String> {
    let capacity = |resource: &str| plan.resources.get(resource).copied().unwrap_or(1);
    let too_much = |claim: &Claim| {
        let it = claim.uses.iter().find(|it| it.permits > capacity(&it.resource))?;
        let stages: Vec<&str> =
            claim.stages.iter().map(|stage| plan.stages[stage.index()].name.as_str()).collect();
        let (permits, resource) = (it.permits, &it.resource);
        let of = capacity(resource);
        Some(format!("{permits} permits of `{resource}`, which has {of}, at once (by {})", stages.join(", ")))
    };
    plan.claims.iter().filter_map(too_much).collect()
}

/// The same text for the same service on the same target, whatever the target is called.
pub(crate) fn key(plan: &Plan, held: Held, module: &Path) -> String {
    let target = &plan.targets[held.target.index()];
    let mut key = format!("target {}", target.provider);
    for (name, value) in target.identity() {
        let value = match value.map(|value| value.eval(&NoFacts)) {
            Some(Ok(Value::Path(path))) => absolute(&module.join(path)).display().to_string(),
            Some(Ok(value)) => value.to_string(),
            // Only a plan with open parameters has such a target, and that is never run.
            Some(Err(_)) => target.name.clone(),
            None => String::new(),
        };
        key.push_str(&format!(" {name}={value:?}"));
    }
    if let Some(service) = held.service {
        key.push_str(&format!(" service={:?}", plan.services[service.index()].name));
    }
    key
}

/// For people.
pub(crate) fn what(plan: &Plan, held: Held) -> String {
    let target = &plan.targets[held.target.index()].name;
    match held.service {
        Some(service) => format!("{} on {target}", plan.services[service.index()].name),
        None => target.clone(),
    }
}

/// One spelling for one path, whether or not it is there: what exists of it is resolved, the rest tidied.
fn absolute(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                // What a link leads to decides what `..` means after it.
                tidy = std::fs::canonicalize(&tidy).unwrap_or(tidy);
                tidy.pop();
            }
            other => tidy.push(other),
        }
    }
    let there = tidy.ancestors().find_map(|part| Some((part, std::fs::canonicalize(part).ok()?)));
    match there {
        Some((part, resolved)) => match tidy.strip_prefix(part) {
            Ok(rest) if rest.as_os_str().is_empty() => resolved,
            Ok(rest) => resolved.join(rest),
            Err(_) => tidy,
        },
        None => tidy,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_path_has_one_spelling() {
        let folder = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(folder.path()).unwrap();
        std::fs::create_dir(root.join("real")).unwrap();
        std::os::unix::fs::symlink(root.join("real"), root.join("link")).unwrap();
        for spelling in ["real/new/root", "./real/new/./root", "real/x/../new/root", "link/new/root"] {
            assert_eq!(absolute(&root.join(spelling)), root.join("real/new/root"), "{spelling}");
        }
    }
}
