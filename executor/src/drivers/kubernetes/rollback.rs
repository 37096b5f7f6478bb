//! Returning to the release that ran before.

use super::apply::{apply_of, delete_others, held, wait_back};
use super::colours::{alone, switches};
use super::head::Head;
use super::object::Id;
use super::problem::{policy, wrong};
use super::release::Release;
use super::target::{Manner, Target};
use super::workloads::unrestart;
use crate::driver::Attempt;
use lockstep_plan::{Call, Failure, Value};
use serde_json::Value as Json;

/// Whether what this run found is no release that a run has ended with.
fn is_left_over(head: &Head, target: &Target, name: &str, release: &Release) -> bool {
    let found = head.found.as_ref().is_some_and(|(found, by)| found == name && *by == target.run);
    found && !release.found && head.history.first().is_none_or(|(newest, _)| newest != name)
}

/// Returns to the recorded release, or to nothing.
pub(super) async fn roll_back(target: &Target, attempt: &Attempt) -> Result<(), Failure> {
    let before = Head::now(target).await?;
    let to = goal(target, &attempt.call, &before)?;
    if before.run != target.run {
        let same = before.pending.is_none() && (before.run.is_empty() || before.current == to);
        // Nobody has changed anything since this run looked: it has the say still.
        let untouched = same || before.claim == target.run;
        if untouched {
            target.say("nothing was changed here");
            return Ok(());
        }
        return Err(overtaken(target, &before));
    }
    let release = match &to {
        Some(name) => Release::read(target, name).await?,
        None => Release::default(),
    };
    let taken = Head::take(target, |head| {
        if head.run != target.run {
            return Err(overtaken(target, head));
        }
        head.claim.clone_from(&target.run);
        head.pending = head.pending.take().or_else(|| head.current.clone());
        head.tidy = false;
        Ok(())
    });
    let head = taken.await?;
    let work = async {
        match &to {
            Some(name) if is_left_over(&head, target, name, &release) => target.say(&format!(
                "returning to release {name}, which is what ran here: a run that has not come to its end had put it in place"
            )),
            Some(name) => target.say(&format!("returning to release {name}")),
            None => target.say("returning to nothing: no release ran here before"),
        }
        let stored = Release::stored(target).await?;
        let uncoloured = release.colour.is_none() && stored.values().any(|held| held.coloured);
        // Where colours take turns, pods come before what sends requests to them.
        let last = |object: &&Json| {
            release.colour.is_some() && switches(object) || uncoloured && object["kind"] == "Service"
        };
        let first = release.all().filter(|object| !last(object));
        let mut applied = apply_of(target, &release, first, head.epoch, Manner::Back).await?;
        unrestart(target, &mut applied, head.epoch).await?;
        wait_back(target, &applied, head.epoch).await?;
        let last: Vec<&Json> = release.all().filter(last).collect();
        let kept: Vec<Id> = release.all().map(Id::of).collect();
        let others = delete_others(target, stored.values(), &kept, head.epoch);
        alone(target, &release, &last, uncoloured, head.epoch, others).await
    };
    held(target, head.epoch, work).await?;
    Head::change(target, head.epoch, |head| {
        // What others had put there is looked at anew by the next run: they may change it meanwhile.
        head.current = to.clone().filter(|_| !release.found);
        head.pending = None;
        (head.canary, head.leaving) = (None, None);
        // Nothing of what was taken back is left, and the run before may be taken back next.
        head.tidy = true;
        head.taken_back(&target.run, to.as_deref().unwrap_or_default());
    })
    .await
    .map(drop)
}

/// The release that is to be returned to: the one of the call's record, or, where the run has ended well, the one that it found first.
pub(super) fn goal(target: &Target, call: &Call, head: &Head) -> Result<Option<String>, Failure> {
    let recorded = recorded(call)?;
    Ok(match head.found_by(&target.run) {
        Some(found) => Some(found.to_string()).filter(|found| !found.is_empty()),
        None => recorded,
    })
}

/// The release that ran before the stage's first change; none where nothing did.
pub(super) fn recorded(call: &Call) -> Result<Option<String>, Failure> {
    let Some(Value::Map(record)) = &call.record else {
        return Err(wrong("it was not recorded what ran here before, so nothing can be returned to"));
    };
    Ok(record.get("release").and_then(Value::as_text).filter(|name| !name.is_empty()).map(str::to_string))
}

/// What a later run has put here is not this run's to take away.
pub(super) fn overtaken(target: &Target, head: &Head) -> Failure {
    policy(format!(
        "`{}` in {} has been changed by run {} since; it is left as it is",
        target.instance,
        target.place(),
        head.run
    ))
}
