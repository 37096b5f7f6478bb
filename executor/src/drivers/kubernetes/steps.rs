//! The steps of the provider.

use super::apply::{apply, delete_others, held, prune, wait};
use super::head::Head;
use super::manifest::{self, settle};
use super::object::Id;
use super::problem::{policy, wrong};
use super::release::Release;
use super::target::Target;
use super::template::Scope;
use super::{parties, versioned};
use crate::driver::{Attempt, Context};
use lockstep_plan::{Call, Failure, Value};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// The steps that are known.
pub(super) const NAMES: [&str; 2] = ["rolling", "rollback"];

/// How many restarts of a new pod are a crash loop.
const RESTARTS: i64 = 3;

type Outputs = BTreeMap<String, Value>;

/// Carries an attempt out.
pub(super) async fn carry_out(target: Target, attempt: &Attempt) -> Result<Outputs, Failure> {
    match attempt.call.step.as_str() {
        "rolling" => rolling(&target, attempt).await,
        "rollback" => roll_back(&target, attempt).await.map(|()| Outputs::new()),
        other => Err(wrong(format!("the provider `kubernetes` has no step `{other}`"))),
    }
}

/// The objects of the call's service, as its manifests have them.
pub(super) fn rendered(call: &Call, context: &Context) -> Result<Vec<Json>, Failure> {
    let (_, service) = parties(call)?;
    let patterns = manifest::patterns(service.settings.get("manifests"));
    manifest::load(&context.module, &patterns, &Scope::of(call, &context.run))
}

/// Objects as they are applied: in the target's namespace, ConfigMaps and Secrets named by their content.
async fn settled(target: &Target, mut objects: Vec<Json>) -> Result<Vec<Json>, Failure> {
    for object in &mut objects {
        let (_, resource) = target.collection(&Id::of(object)).await?;
        if resource.namespaced {
            settle(object, &target.namespace)?;
        }
    }
    versioned::version(&mut objects);
    Ok(objects)
}

fn flag(attempt: &Attempt, name: &str) -> bool {
    attempt.call.arguments.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn restarts(attempt: &Attempt) -> i64 {
    match attempt.call.arguments.get("restarts") {
        Some(Value::Int(restarts)) => (*restarts).max(1),
        _ => RESTARTS,
    }
}

async fn rolling(target: &Target, attempt: &Attempt) -> Result<Outputs, Failure> {
    let objects = settled(target, rendered(&attempt.call, &attempt.context)?).await?;
    let before = Head::read(target).await?;
    let release = Release { objects, extra: extra(target, &before).await?, colour: None };
    deploy(target, attempt, &release, &before).await
}

/// What `apply` steps of the same run have added to the instance.
async fn extra(target: &Target, head: &Head) -> Result<Vec<Json>, Failure> {
    match head.pending.as_ref().or(head.current.as_ref()) {
        Some(name) if head.run == target.run => Ok(Release::read(target, name).await?.extra),
        _ => Ok(Vec::new()),
    }
}

/// Puts a release in place.
async fn deploy(
    target: &Target,
    attempt: &Attempt,
    release: &Release,
    before: &Head,
) -> Result<Outputs, Failure> {
    let name = release.name();
    for object in release.all().filter(|object| object["kind"] == "Namespace") {
        target.make_namespace(object).await?;
    }
    release.store(target).await?;
    let taken = Head::take(target, |head| {
        head.pending = Some(name.clone());
        head.run.clone_from(&target.run);
        Ok(())
    });
    let head = taken.await?;
    target.say(&format!("release {name}"));
    let work = async {
        // The first of a run to come here forgets what an earlier run has left.
        if before.run != target.run
            && let Some(current) = head.current.as_deref().filter(|current| *current != name)
        {
            prune_all_but(target, current, &name, head.epoch).await;
        }
        let applied = apply(target, release.all(), head.epoch, flag(attempt, "force")).await?;
        wait(target, &applied, restarts(attempt)).await
    };
    held(target, head.epoch, work).await?;
    let head = Head::release(target, head.epoch, |head| {
        if head.current.as_ref() != Some(&name) || head.revision == 0 {
            head.revision += 1;
        }
        head.current = Some(name.clone());
        head.pending = None;
    });
    let revision = head.await?.revision;
    Ok(Outputs::from([("revision".to_string(), Value::Int(revision))]))
}

async fn prune_all_but(target: &Target, current: &str, new: &str, epoch: u64) {
    if let Err(failure) = prune(target, &[current, new], epoch).await {
        target.say(&format!("what earlier releases left could not be removed: {}", failure.message));
    }
}

/// Returns to the recorded release, or to nothing.
async fn roll_back(target: &Target, attempt: &Attempt) -> Result<(), Failure> {
    let Some(Value::Map(record)) = &attempt.call.record else {
        return Err(wrong("it was not recorded what ran here before, so nothing can be returned to"));
    };
    let to =
        record.get("release").and_then(Value::as_text).filter(|name| !name.is_empty()).map(str::to_string);
    let before = Head::read(target).await?;
    if before.run != target.run {
        let untouched = before.pending.is_none() && (before.run.is_empty() || before.current == to);
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
        head.pending = head.pending.take().or_else(|| head.current.clone());
        Ok(())
    });
    let head = taken.await?;
    let work = async {
        match &to {
            Some(name) => target.say(&format!("returning to release {name}")),
            None => target.say("returning to nothing: no release ran here before"),
        }
        let applied = apply(target, release.all(), head.epoch, false).await?;
        wait(target, &applied, RESTARTS).await?;
        let stored: Vec<String> =
            Release::names(target).await?.into_iter().filter(|name| Some(name) != to.as_ref()).collect();
        delete_others(target, &stored, &[&release], head.epoch).await
    };
    held(target, head.epoch, work).await?;
    Head::release(target, head.epoch, |head| {
        head.current.clone_from(&to);
        head.pending = None;
        head.canary = None;
    })
    .await
    .map(drop)
}

/// What a later run has put here is not this run's to take away.
fn overtaken(target: &Target, head: &Head) -> Failure {
    policy(format!(
        "`{}` in {} has been changed by run {} since; it is left as it is",
        target.instance,
        target.place(),
        head.run
    ))
}
