//! After a run: its release is successful, what earlier ones left goes, and older ones are forgotten; until a later run
//! changes the instance, it can be returned to what ran before.

use super::apply::{delete_others, held};
use super::head::Head;
use super::object::{Id, at};
use super::problem::policy;
use super::release::Release;
use super::replicas::{Say, counted, scale_target};
use super::rollback::{overtaken, recorded};
use super::target::{Manner, Target};
use lockstep_plan::{Call, Failure, Value};
use serde_json::Value as Json;

/// Makes the release in place the last successful one, and removes what only others hold. The one that ran before the run,
/// and as many before that as the infrastructure keeps, can still be returned to. Gives what was deleted.
pub(super) async fn seal(target: &Target, call: &Call) -> Result<Vec<String>, Failure> {
    let before = recorded(call)?;
    let keep = match call.target.as_ref().and_then(|target| target.settings.get("keep_releases")) {
        Some(Value::Int(keep)) => usize::try_from(*keep).unwrap_or(1),
        _ => 1,
    };
    let taken = Head::take(target, |head| match head.run == target.run {
        true => Ok(()),
        false => Err(overtaken(target, head)),
    });
    let head = taken.await?;
    if head.tidy {
        Head::close(target, head.epoch, |_| {}).await?;
        return Ok(Vec::new());
    }
    let history = head.history_with(&target.run, before.as_deref().unwrap_or_default(), keep);
    let known = Head { history: history.clone(), ..head.clone() };
    let kept: Vec<&str> = head.current.as_deref().into_iter().chain(head.canary.as_deref()).collect();
    let deleted = held(target, head.epoch, tidy(target, &known, &kept)).await?;
    let closed = Head::close(target, head.epoch, |head| {
        head.history.clone_from(&history);
        head.tidy = true;
    });
    closed.await?;
    Ok(deleted)
}

/// Deletes the objects of all stored releases but `kept`, unless one of these holds them too, and forgets the releases that
/// are not in the head's history. Gives the objects that were deleted.
async fn tidy(target: &Target, head: &Head, kept: &[&str]) -> Result<Vec<String>, Failure> {
    let mut others = Release::stored(target).await?;
    let mut holds = Vec::new();
    // The step that put it in place failed, and a rule went on: what runs may need it. A colour that nobody is sent to is not needed.
    if let Some(pending) = head.pending.as_deref().filter(|name| !kept.contains(name))
        && others.get(pending).is_some_and(|held| !held.coloured)
    {
        holds.extend(others.remove(pending).into_iter().flat_map(|held| held.objects));
    }
    for name in kept {
        match others.remove(*name) {
            Some(held) => holds.extend(held.objects),
            // Nothing is taken for left over because it cannot be read what is in place.
            None => holds.extend(Release::read(target, name).await?.all().map(Id::of)),
        }
    }
    let leaving =
        others.values().flat_map(|held| &held.objects).filter(|id| !holds.iter().any(|it| it.same(id)));
    let leaving: Vec<&Id> = leaving.collect();
    let freed = scaled_by(target, &leaving).await?;
    // Whoever brings them back has to know.
    let counted = counted(target, leaving.into_iter()).await?;
    Head::change(target, head.epoch, |head| head.replicas.extend(counted.clone())).await?;
    // Before the autoscaler goes, so that it is not forgotten; and after it, which may have had its say in between.
    set_replicas(target, head, &freed).await?;
    let deleted = delete_others(target, others.values(), &holds, head.epoch).await?;
    set_replicas(target, head, &freed).await?;
    let kept = |name: &&String| head.history.iter().any(|(kept, _)| kept == *name);
    for name in others.keys().filter(|name| !kept(name)) {
        Release::forget(target, name).await?;
    }
    Ok(deleted.iter().map(Id::to_string).collect())
}

/// What those among these objects that are autoscalers scale.
async fn scaled_by(target: &Target, leaving: &[&Id]) -> Result<Vec<Id>, Failure> {
    let mut scaled = Vec::new();
    for id in leaving.iter().filter(|id| id.kind == "HorizontalPodAutoscaler") {
        if target.out_of_reach(id).await?.is_none()
            && let Some(live) = target.get(id).await?
            && target.owns(&live)
        {
            scaled.extend(scale_target(&live));
        }
    }
    Ok(scaled)
}

/// Gives workloads of the release in place as many replicas as it says: no autoscaler does any more.
async fn set_replicas(target: &Target, head: &Head, freed: &[Id]) -> Result<(), Failure> {
    let Some(current) = head.current.as_deref().filter(|_| !freed.is_empty()) else { return Ok(()) };
    let release = Release::read(target, current).await?;
    let says = |object: &&Json| {
        at(object, &["spec", "replicas"]).is_some() && freed.iter().any(|id| id.same(&Id::of(object)))
    };
    for object in release.all().filter(says) {
        target.apply(object, head.epoch, Manner::Forced, Say::Written).await?;
    }
    Ok(())
}

/// Whether the instance can be returned to the call's record: no run has changed it since, nobody has taken over what would
/// have to be returned, and the release is still there.
pub(super) async fn can_return(target: &Target, call: &Call) -> Result<(), Failure> {
    let to = recorded(call)?;
    let head = Head::read(target).await?;
    if head.run != target.run {
        return Err(overtaken(target, &head));
    }
    match to {
        Some(name) if !Release::is_stored(target, &name).await? => Err(policy(format!(
            "the release {name} of `{}` is not kept in {} any more (`keep_releases` of the infrastructure says how many are)",
            target.instance,
            target.place()
        ))),
        Some(name) => {
            let release = Release::read(target, &name).await?;
            // What others had put there is theirs to change.
            let Some(current) = head.current.as_deref().filter(|_| !release.found) else { return Ok(()) };
            let current = Release::read(target, current).await?;
            for object in release.all() {
                let id = Id::of(object);
                let Some(now) = current.all().find(|now| Id::of(now).same(&id)) else { continue };
                let fields = target.others_fields(object, now).await?;
                if !fields.is_empty() {
                    let fields: Vec<String> =
                        fields.iter().map(|(field, owner)| format!("`{field}` belongs to {owner}")).collect();
                    return Err(policy(format!(
                        "{} in {} was changed by somebody else since: {}, and going back would leave it as it is. Deploy what \
                         is to run there instead, with `force = true`",
                        id,
                        target.place(),
                        fields.join(", ")
                    )));
                }
            }
            Ok(())
        }
        None => Ok(()),
    }
}
