//! What a plan would change where it deploys to, as far as its drivers can tell without changing anything.

use crate::driver::{Change, Drivers};
use lockstep_plan::{
    Action, Call, Facts, Failure, FailureFact, Kind, Plan, Role, RunFact, ServiceId, StepId, TargetId, Value,
};
use std::collections::BTreeMap;
use std::path::Path;

/// A service and a target that a plan brings together.
#[derive(Debug)]
pub struct Preview {
    /// The service's name.
    pub service: String,
    /// The target's name.
    pub target: String,
    /// What would change, or why that cannot be told; none where the provider has no way to tell.
    pub changes: Option<Result<Vec<Change>, Failure>>,
}

/// Asks the drivers of every service and target that changing steps of the plan bring together, in the plan's order.
/// Relative paths start from `module`.
pub async fn preview(plan: &Plan, drivers: &Drivers, module: &Path) -> Vec<Preview> {
    let mut pairs: Vec<(ServiceId, TargetId, &Action)> = Vec::new();
    for step in plan.steps.iter().filter(|step| step.role == Role::Forward && step.changes) {
        if let (Some(service), Some(target)) = (step.action.service, step.action.target)
            && pairs.iter().all(|(its, there, _)| (*its, *there) != (service, target))
        {
            pairs.push((service, target, &step.action));
        }
    }
    let mut previews = Vec::new();
    for (service, target, action) in pairs {
        let (service, target) = (&plan.services[service.index()], &plan.targets[target.index()]);
        let action =
            Action { step: String::new(), arguments: BTreeMap::new(), files: Vec::new(), ..action.clone() };
        let call = Call::of(plan, &action, &BeforeRun)
            .map_err(|error| Failure::new(Kind::Application, format!("{error} before the pipeline runs")));
        let changes = match (drivers.provider(&target.provider), call) {
            (Some(driver), Ok(call)) => match driver.preview(call, module.to_path_buf()) {
                Some(work) => Some(work.await),
                None => None,
            },
            (Some(_), Err(failure)) => Some(Err(failure)),
            (None, _) => None,
        };
        previews.push(Preview { service: service.name.clone(), target: target.name.clone(), changes });
    }
    previews
}

/// What is known before there is a run: nothing, but that it would have a name.
struct BeforeRun;

impl Facts for BeforeRun {
    fn output(&self, _: StepId, _: &str) -> Option<Value> {
        None
    }
    fn run(&self, fact: RunFact) -> Option<Value> {
        (fact == RunFact::Id).then(|| Value::Text("preview".into()))
    }
    fn failure(&self, _: FailureFact) -> Option<Value> {
        None
    }
}
