//! What a claim of a plan means on this machine: keys that two runs share when they mean the same thing.

use crate::store::Need;
use lockstep_plan::{Call, CallService, CallTarget, Claim, Held, NoFacts, Plan, Value};
use std::collections::BTreeMap;
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
    if let Some(resolved) = plan.resolved.iter().find(|resolved| plan.is_one(resolved.held, held)) {
        return format!("{key} {}", resolved.identity);
    }
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

/// What tells a driver which service and target are meant, without what only a run knows; none where even that is open.
pub(crate) fn call(plan: &Plan, held: Held) -> Option<Call> {
    let target = &plan.targets[held.target.index()];
    let settings =
        target.settings.iter().map(|(name, value)| Some((name.clone(), value.eval(&NoFacts).ok()?)));
    let service = held.service.map(|service| &plan.services[service.index()]).map(|service| CallService {
        name: service.name.clone(),
        artifact_type: service.artifact_type.to_string(),
        artifact: BTreeMap::new(),
        settings: BTreeMap::new(),
        files: Vec::new(),
    });
    Some(Call {
        provider: target.provider.to_string(),
        step: String::new(),
        arguments: BTreeMap::new(),
        target: Some(CallTarget {
            name: target.name.clone(),
            provider: target.provider.to_string(),
            settings: settings.collect::<Option<_>>()?,
        }),
        service,
        record: None,
        files: Vec::new(),
    })
}

/// Every service and target that the plan brings together, each once.
pub(crate) fn touched(plan: &Plan) -> Vec<Held> {
    let mut touched: Vec<Held> = Vec::new();
    for action in plan.steps.iter().map(|step| &step.action) {
        if let Some(target) = action.target {
            let held = Held { target, service: action.service };
            if !touched.contains(&held) {
                touched.push(held);
            }
        }
    }
    touched
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
