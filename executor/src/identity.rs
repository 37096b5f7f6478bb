//! What the names of a plan's targets stand for: asked once, before the plan is a run's, and kept with it.

use crate::claims::{call, touched, what};
use crate::driver::{Drivers, Identity};
use crate::error::Error;
use futures_util::StreamExt;
use lockstep_plan::{Held, Plan, Resolved};

/// How many targets are asked at a time.
const AT_A_TIME: usize = 32;

/// Fills [`Plan::resolved`] with what drivers know of the plan's targets, so that runs wait for each other where they mean
/// the same, whatever they call it.
///
/// # Errors
/// Two targets of the plan are one. Whatever was found out about the plan, and proved of it, took them for two.
pub async fn resolve(plan: &mut Plan, drivers: &Drivers) -> Result<(), Error> {
    let asked = distinct(plan).into_iter().filter_map(|held| {
        let driver = drivers.provider(&plan.targets[held.target.index()].provider)?;
        let identity = driver.identify(call(plan, held)?)?;
        Some(async move { (held, identity.await) })
    });
    let found: Vec<(Held, Identity)> = futures_util::stream::iter(asked).buffered(AT_A_TIME).collect().await;
    let twins: Vec<String> = found
        .iter()
        .enumerate()
        .filter_map(|(at, (held, identity))| {
            let (other, _) = found[..at].iter().find(|(_, earlier)| is_one(earlier, identity))?;
            let place = identity.place.as_deref().unwrap_or_default();
            Some(format!(
                "{} and {} are one: {place}. The pipeline takes them for two, and what was proved of it is true of two only: \
                 use one infrastructure in both places, or have one of them name another target",
                what(plan, *other),
                what(plan, *held)
            ))
        })
        .collect();
    if !twins.is_empty() {
        return Err(Error::Denied(twins));
    }
    let known = |(held, identity): (Held, Identity)| {
        Some(Resolved { held, identity: identity.id.or(identity.place)? })
    };
    plan.resolved = found.into_iter().filter_map(known).collect();
    Ok(())
}

/// Every service and target that the plan itself tells from others.
fn distinct(plan: &Plan) -> Vec<Held> {
    let mut distinct: Vec<Held> = Vec::new();
    for held in touched(plan) {
        if !distinct.iter().any(|other| plan.is_one(*other, held)) {
            distinct.push(held);
        }
    }
    distinct
}

/// Whether two names stand for one target. An address may lead to several, so it counts only where there is nothing better.
fn is_one(one: &Identity, other: &Identity) -> bool {
    match (&one.id, &other.id) {
        (Some(one), Some(other)) => one == other,
        _ => one.place.is_some() && one.place == other.place,
    }
}
