//! What drivers can tell before there is a run, without changing anything: what a plan would change where it deploys to, and
//! whether it may.

use crate::driver::{Change, Drivers};
use crate::error::Error;
use futures_util::StreamExt;
use lockstep_plan::{
    Action, Call, EvalError, Facts, Failure, FailureFact, Fields, Kind, Plan, Role, RunFact, ServiceId, Step,
    StepId, TargetId, Value,
};
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
    let mut previews = Vec::new();
    for (service, target, actions) in pairs(plan, |step| step.changes) {
        let (service, target) = (&plan.services[service.index()], &plan.targets[target.index()]);
        let action = Action { step: String::new(), files: Vec::new(), ..actions[0].clone() };
        let call = before_run(plan, &action)
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

/// How many targets are asked at a time.
const AT_A_TIME: usize = 32;

/// Asks the drivers whether the plan's steps will find what they need, as far as that can be told before a run: sound files,
/// permissions. Relative paths start from `module`.
///
/// # Errors
/// What would surely fail, once for all services and targets that it is said of, in the plan's order. Nothing was changed.
pub async fn check(plan: &Plan, drivers: &Drivers, module: &Path) -> Result<(), Error> {
    let checks = pairs(plan, |_| true).into_iter().filter_map(|(service, target, actions)| {
        let target = &plan.targets[target.index()];
        let driver = drivers.provider(&target.provider)?;
        let own = actions.into_iter().filter(|action| action.provider == target.provider);
        let calls = own.filter_map(|action| before_run(plan, action).ok()).collect();
        let what = format!("{} on {}", plan.services[service.index()].name, target.name);
        let check = driver.check(calls, module.to_path_buf());
        Some(async move { (what, check.await) })
    });
    let answers: Vec<_> = futures_util::stream::iter(checks).buffered(AT_A_TIME).collect().await;
    let mut denied: Vec<(String, Vec<String>)> = Vec::new();
    for (what, failure) in answers.into_iter().filter_map(|(what, answer)| Some((what, answer.err()?))) {
        match denied.iter_mut().find(|(message, _)| *message == failure.message) {
            Some((_, whats)) => whats.push(what),
            None => denied.push((failure.message, vec![what])),
        }
    }
    if denied.is_empty() {
        return Ok(());
    }
    let line = |(message, whats): (String, Vec<String>)| match whats.as_slice() {
        [first, more @ ..] if !more.is_empty() => format!("{first}, and {} more: {message}", more.len()),
        whats => format!("{}: {message}", whats.concat()),
    };
    Err(Error::Denied(denied.into_iter().map(line).collect()))
}

/// Every service and target that forward steps bring together, with these steps' actions; in the plan's order.
fn pairs(plan: &Plan, counts: fn(&Step) -> bool) -> Vec<(ServiceId, TargetId, Vec<&Action>)> {
    let mut pairs: Vec<(ServiceId, TargetId, Vec<&Action>)> = Vec::new();
    for step in plan.steps.iter().filter(|step| step.role == Role::Forward && counts(step)) {
        let action = &step.action;
        let (Some(service), Some(target)) = (action.service, action.target) else { continue };
        match pairs.iter_mut().find(|(its, there, _)| (*its, *there) == (service, target)) {
            Some((.., actions)) => actions.push(action),
            None => pairs.push((service, target, vec![action])),
        }
    }
    pairs
}

/// The call of an action without its arguments, which may depend on what only the run knows. So may files that they name.
fn before_run(plan: &Plan, action: &Action) -> Result<Call, EvalError> {
    let action = Action { arguments: Fields::new(), ..action.clone() };
    Call::of(plan, &action, &BeforeRun)
        .or_else(|_| Call::of(plan, &Action { files: Vec::new(), ..action }, &BeforeRun))
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
