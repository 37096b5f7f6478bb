//! What a plan would change where it deploys to, as far as its drivers can tell without changing anything.

use crate::driver::{Change, Drivers};
use lockstep_plan::{
    Call, CallService, CallTarget, Expr, Failure, Kind, NoFacts, Plan, Role, ServiceId, TargetId, Value,
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
    let mut pairs: Vec<(ServiceId, TargetId)> = Vec::new();
    for step in plan.steps.iter().filter(|step| step.role == Role::Forward && step.changes) {
        if let (Some(service), Some(target)) = (step.action.service, step.action.target)
            && !pairs.contains(&(service, target))
        {
            pairs.push((service, target));
        }
    }
    let mut previews = Vec::new();
    for (service, target) in pairs {
        let (service, target) = (&plan.services[service.index()], &plan.targets[target.index()]);
        let call = || -> Result<Call, Failure> {
            let service = CallService {
                name: service.name.clone(),
                artifact_type: service.artifact_type.clone(),
                artifact: values(&service.artifact)?,
                settings: values(&service.settings)?,
            };
            let target = CallTarget {
                name: target.name.clone(),
                provider: target.provider.clone(),
                settings: values(&target.settings)?,
            };
            Ok(Call {
                provider: target.provider.clone(),
                step: String::new(),
                arguments: BTreeMap::new(),
                target: Some(target),
                service: Some(service),
                record: None,
            })
        };
        let changes = match (drivers.provider(&target.provider), call()) {
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

fn values(settings: &BTreeMap<String, Expr>) -> Result<BTreeMap<String, Value>, Failure> {
    settings
        .iter()
        .map(|(name, expr)| match expr.eval(&NoFacts) {
            Ok(value) => Ok((name.clone(), value)),
            Err(_) => {
                let message = format!("`{name}` is only known when the pipeline runs");
                Err(Failure::new(Kind::Application, message))
            }
        })
        .collect()
}
