//! What drivers can tell before there is a run, without changing anything: what a plan would change where it deploys to, and
//! whether it may.

use crate::driver::{Change, Drivers};
use crate::error::Error;
use futures_util::StreamExt;
use lockstep_plan::{
    Action, Call, ConditionId, EvalError, Expr, Facts, Failure, FailureFact, Fields, Kind, Plan, Role,
    RunFact, ServiceId, Step, StepId, TargetId, Value,
};
use std::collections::BTreeSet;
use std::path::Path;

/// A service and a target that a plan brings together.
#[derive(Debug)]
pub struct Preview {
    /// The service's name.
    pub service: String,
    /// The target's name.
    pub target: String,
    /// The steps of the target's provider, which the changes count from 0; but for those of which it is known already that they
    /// are skipped.
    pub steps: Vec<String>,
    /// Steps of other providers that change the target, in ways that nobody can tell.
    pub others: Vec<String>,
    /// What would change, or why that cannot be told; none where the provider has no way to tell.
    pub changes: Option<Result<Vec<Change>, Failure>>,
}

/// Asks the drivers of every service and target that changing steps of the plan bring together, in the plan's order.
/// Relative paths start from `module`.
pub async fn preview(plan: &Plan, drivers: &Drivers, module: &Path) -> Vec<Preview> {
    let pairs = pairs(plan, &skipped(plan)).into_iter();
    let pairs =
        pairs.filter(|(.., steps)| steps.iter().any(|step| step.changes)).map(|(service, target, steps)| {
            let (service, target) = (&plan.services[service.index()], &plan.targets[target.index()]);
            let (own, mut others): (Vec<&Step>, Vec<&Step>) =
                steps.into_iter().partition(|step| step.action.provider == target.provider);
            others.retain(|step| step.changes);
            let names = |steps: &[&Step]| steps.iter().map(|step| step.name.clone()).collect();
            let mut preview = Preview {
                service: service.name.clone(),
                target: target.name.clone(),
                steps: names(&own),
                others: names(&others),
                changes: Some(Ok(Vec::new())),
            };
            async move {
                let calls: Result<Vec<Call>, EvalError> =
                    own.iter().map(|step| before_run(plan, &step.action)).collect();
                let calls = calls.map_err(|error| {
                    Failure::new(Kind::Application, format!("{error} before the pipeline runs"))
                });
                preview.changes = match (drivers.provider(&target.provider), calls) {
                    _ if own.is_empty() => preview.changes,
                    (Some(driver), Ok(calls)) => match driver.preview(calls, module.to_path_buf()) {
                        Some(work) => Some(work.await),
                        None => None,
                    },
                    (Some(_), Err(failure)) => Some(Err(failure)),
                    (None, _) => None,
                };
                preview
            }
        });
    futures_util::stream::iter(pairs).buffered(AT_A_TIME).collect().await
}

/// How many targets are asked at a time.
const AT_A_TIME: usize = 32;

/// Asks the drivers whether the plan's steps will find what they need, as far as that can be told before a run: sound files,
/// permissions. Relative paths start from `module`.
///
/// # Errors
/// What would surely fail, once for all services and targets that it is said of, in the plan's order. Nothing was changed.
pub async fn check(plan: &Plan, drivers: &Drivers, module: &Path) -> Result<(), Error> {
    let look = || async {
        let checks = pairs(plan, &skipped(plan)).into_iter().filter_map(|(service, target, steps)| {
            let target = &plan.targets[target.index()];
            let driver = drivers.provider(&target.provider)?;
            let actions = steps.into_iter().map(|step| &step.action);
            let own = actions.filter(|action| action.provider == target.provider);
            let calls = own.filter_map(|action| before_run(plan, action).ok()).collect();
            let what = format!("{} on {}", plan.services[service.index()].name, target.name);
            let check = driver.check(calls, module.to_path_buf());
            Some(async move { (what, check.await) })
        });
        futures_util::stream::iter(checks).buffered(AT_A_TIME).collect::<Vec<_>>().await
    };
    let mut answers = look().await;
    if answers.iter().any(|(_, answer)| answer.is_err()) {
        // By now the drivers know what all of them need: where something is missing, they can name it as a whole.
        answers = look().await;
    }
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

/// Every service and target that forward steps but for those `without` bring together, with these steps; in the plan's order.
fn pairs<'p>(plan: &'p Plan, without: &BTreeSet<usize>) -> Vec<(ServiceId, TargetId, Vec<&'p Step>)> {
    let mut pairs: Vec<(ServiceId, TargetId, Vec<&Step>)> = Vec::new();
    let steps = plan.steps.iter().enumerate().filter(|(index, _)| !without.contains(index));
    for (_, step) in steps.filter(|(_, step)| step.role == Role::Forward) {
        let (Some(service), Some(target)) = (step.action.service, step.action.target) else { continue };
        match pairs.iter_mut().find(|(its, there, _)| (*its, *there) == (service, target)) {
            Some((.., steps)) => steps.push(step),
            None => pairs.push((service, target, vec![step])),
        }
    }
    pairs
}

/// The call of an action with those of its arguments that are known before there is a run, and without files that depend on
/// more than that.
fn before_run(plan: &Plan, action: &Action) -> Result<Call, EvalError> {
    let bare = Action { arguments: Fields::new(), ..action.clone() };
    let call = Call::of(plan, &bare, &BeforeRun)
        .or_else(|_| Call::of(plan, &Action { files: Vec::new(), ..bare }, &BeforeRun));
    let mut call = call?;
    let known = |argument: &Expr| argument.eval(&BeforeRun).ok();
    let arguments = action.arguments.iter();
    call.arguments = arguments.filter_map(|(name, it)| Some((name.to_string(), known(it)?))).collect();
    Ok(call)
}

/// The forward steps, as indices into the plan's, of which it is known already that their own conditions, or those of their place or stage, do not hold.
fn skipped(plan: &Plan) -> BTreeSet<usize> {
    let fails = |ids: &[ConditionId]| {
        ids.iter().any(|id| plan.conditions[id.index()].eval(&BeforeRun) == Ok(Value::Bool(false)))
    };
    let mut skipped = BTreeSet::new();
    for stage in &plan.stages {
        let whole = fails(&stage.when);
        for place in &stage.positions {
            let all = whole || fails(&place.when);
            let steps = place.steps().iter().map(|step| step.index());
            skipped.extend(steps.filter(|step| all || fails(&plan.steps[*step].when)));
        }
    }
    skipped
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
