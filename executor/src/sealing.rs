//! After the end of a run: its releases become successful, or a person takes them back.

use crate::claims;
use crate::driver::{Context, Drivers, Work};
use crate::error::Error;
use crate::observer::Observer;
use crate::replay::replay;
use crate::store::Store;
use lockstep_plan::machine::{Changed, State};
use lockstep_plan::{Held, Plan};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Tells the drivers that what the run has left is successful. What goes wrong is said, and harms nothing: the next run on
/// the target removes what is still there.
pub(crate) async fn seal(
    plan: &Plan,
    state: &State,
    drivers: &Drivers,
    context: &Arc<Context>,
    observer: &dyn Observer,
) {
    // A target is told once, of all stages: what one of them replaced another may have put there.
    let mut targets: BTreeMap<String, Vec<Changed>> = BTreeMap::new();
    for changed in state.sealed(plan) {
        targets.entry(claims::key(plan, changed.held, &context.module)).or_default().push(changed);
    }
    for changed in targets.into_values() {
        let Some(driver) = changed.first().and_then(|changed| driver(plan, changed, drivers)) else {
            continue;
        };
        let name = plan.targets[changed[0].held.target.index()].name.clone();
        // What the last one that failed has left is what is there.
        let passed = changed.iter().rev().find_map(|changed| changed.passed);
        let calls = changed.into_iter().map(|changed| changed.call).collect();
        match driver.seal(calls, context.clone(), passed).await {
            Ok(deleted) if deleted.is_empty() => {}
            Ok(deleted) => {
                observer.note(&format!("{name}: deleted what is left over: {}", deleted.join(", ")))
            }
            Err(failure) => observer.note(&format!("warning: {name}: {}", failure.message)),
        }
    }
}

/// Tells the driver of a target that the run holds it no more; nothing where there is nobody to tell.
pub(crate) fn let_go(plan: &Plan, held: Held, drivers: &Drivers, context: &Arc<Context>) -> Option<Work<()>> {
    let provider = &plan.targets[held.target.index()].provider;
    let call = claims::call(plan, held)?;
    Some(drivers.provider(provider)?.let_go(call, context.clone()))
}

/// Why what stands of a run that has ended cannot be taken back; empty when it can.
pub(crate) async fn obstacles(
    plan: &Plan,
    state: &State,
    store: &Store,
    drivers: &Drivers,
    context: &Arc<Context>,
) -> Result<Vec<String>, Error> {
    // One target may have one for each stage that changed it.
    let mut reasons = BTreeSet::new();
    for changed in state.standing(plan) {
        let what = claims::what(plan, changed.held);
        let key = claims::key(plan, changed.held, &context.module);
        if let Some(later) = overtaken(store, &context.run, &key)? {
            reasons.insert(format!("{what}: {later}"));
            continue;
        }
        let Some(driver) = driver(plan, &changed, drivers) else { continue };
        if let Err(failure) = driver.can_return(changed.call, context.clone()).await {
            reasons.insert(format!("{what}: {}", failure.message));
        }
    }
    Ok(reasons.into_iter().collect())
}

/// The run that has changed the target after this one and was not taken back itself.
fn overtaken(store: &Store, run: &str, key: &str) -> Result<Option<String>, Error> {
    for (later, _) in store.holders_after(run, &[key.to_owned()])? {
        let info = store.run(&later)?;
        let told = replay(store, &later)?;
        let same = |changed: &Changed| is_key(&told.plan, changed, &info.module, key);
        if !told.state.is_finished() && told.state.records.keys().next().is_some() {
            return Ok(Some(format!("run {later} by {} is at work on it", info.by)));
        }
        if told.state.standing(&told.plan).iter().any(same) {
            return Ok(Some(format!(
                "run {later} by {} has changed it since; roll that back first",
                info.by
            )));
        }
    }
    Ok(None)
}

fn is_key(plan: &Plan, changed: &Changed, module: &Path, key: &str) -> bool {
    claims::key(plan, changed.held, module) == key
}

fn driver<'a>(
    plan: &Plan,
    changed: &Changed,
    drivers: &'a Drivers,
) -> Option<&'a Arc<dyn crate::driver::Driver>> {
    drivers.provider(&plan.targets[changed.held.target.index()].provider)
}
