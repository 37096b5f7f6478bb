//! What has to be refused before a run begins, so that nothing ends half done for lack of a driver.

use crate::driver::Drivers;
use crate::drivers::Program;
use lockstep_plan::{NoFacts, Plan, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// Something that a plan needs and that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unsupported {
    /// `step kubernetes.rolling`, `channel ops`
    pub what: String,
    /// Names of the steps or stages that need it, in the plan's order.
    pub needed_by: Vec<String>,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        write!(
            f,
            "{} (needed by {}",
            self.what,
            self.needed_by[..self.needed_by.len().min(SHOWN)].join(", ")
        )?;
        match self.needed_by.len().saturating_sub(SHOWN) {
            0 => write!(f, ")"),
            more => write!(f, " and {more} more)"),
        }
    }
}

/// Artifact types that the provider `local` has no way to install.
const NOT_INSTALLED_LOCALLY: [&str; 3] = ["docker_image", "rpm", "zip"];

/// Everything that the plan needs and that cannot be carried out with these drivers, sorted.
pub fn unsupported(plan: &Plan, drivers: &Drivers) -> Vec<Unsupported> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut add = |what: String, by: &str| {
        let by = by.to_string();
        let needed_by = found.entry(what).or_default();
        if !needed_by.contains(&by) {
            needed_by.push(by);
        }
    };
    for step in &plan.steps {
        let action = &step.action;
        // The machine itself asks people.
        if action.provider == "approval" {
            continue;
        }
        if drivers.step(&action.provider, &action.step).is_none() {
            let what = match action.provider == action.step {
                true => format!("step `{}`", action.step),
                false => format!("step `{}.{}`", action.provider, action.step),
            };
            add(what, &step.name);
        }
        if let (true, Some(target)) = (step.changes, action.target) {
            let provider = &plan.targets[target.index()].provider;
            if drivers.provider(provider).is_none() {
                add(format!("targets of provider `{provider}`"), &step.name);
            }
        }
        if let (true, Some(service)) = (action.provider == "local" && action.step == "deploy", action.service)
        {
            let service = &plan.services[service.index()];
            if NOT_INSTALLED_LOCALLY.contains(&service.artifact_type.as_str()) {
                add(format!("artifact `{}` on provider `local`", service.artifact_type), &step.name);
            }
            let path = service.artifact.get("path").and_then(|path| path.eval(&NoFacts).ok());
            if path.as_ref().and_then(Value::as_text) == Some("") {
                add(format!("the empty artifact path of service `{}`", service.name), &step.name);
            }
        }
    }
    found.into_iter().map(|(what, needed_by)| Unsupported { what, needed_by }).collect()
}

/// Programs of providers that are not there.
pub(crate) fn absent_programs(plan: &Plan, module: &Path) -> Vec<Unsupported> {
    let absent = plan.programs.iter().filter(|(_, program)| !Program::new(program).exists(module));
    absent
        .map(|(provider, program)| {
            let steps = plan.steps.iter().filter(|step| step.action.provider == *provider);
            Unsupported {
                what: format!("the program `{program}` of provider `{provider}`, which is not there"),
                needed_by: steps.map(|step| step.name.clone()).collect(),
            }
        })
        .collect()
}
