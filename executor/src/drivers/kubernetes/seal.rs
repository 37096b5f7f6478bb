//! After a run: its release is successful, what earlier ones left goes, and older ones are forgotten; until a later run
//! changes the instance, it can be returned to what ran before.

use super::addresses;
use super::apply::{delete_others, held};
use super::canary;
use super::colours;
use super::head::Head;
use super::object::{Id, number};
use super::problem::policy;
use super::release::Release;
use super::replicas::{Say, counted, scale_target, take_over};
use super::rollback::{goal, overtaken, recorded};
use super::rollout::{Progress, progress};
use super::target::{Manner, Target};
use lockstep_plan::{Call, Failure, Kind, Value, Verdict};
use serde_json::Value as Json;

/// Makes the release in place the last successful one, and removes what only others hold. The one that ran before the run,
/// and as many before that as the infrastructure keeps, can still be returned to. `passed`: how failures of its steps were passed
/// over. Gives what was deleted.
pub(super) async fn seal(
    target: &Target,
    call: &Call,
    passed: Option<Verdict>,
) -> Result<Vec<String>, Failure> {
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
    // It was, before the process ended that was to note it, or for another service that is one here.
    if head.tidy && head.history.first().is_some_and(|(_, by)| *by == target.run) {
        Head::close(target, head.epoch, |_| {}).await?;
        return Ok(Vec::new());
    }
    let work = async {
        let (head, mut deleted) = unfinished(target, head.clone(), passed).await?;
        // Where what was to take a canary's place did not get to its end.
        deleted.extend(canary::remove(target, &head).await?);
        let mut deleted: Vec<String> = deleted.iter().map(Id::to_string).collect();
        // Of several stages, or services that are one here, the first one found it.
        let found = head.found.as_ref().filter(|(_, by)| *by == target.run).map(|(found, _)| found.as_str());
        let found = found.or(before.as_deref()).unwrap_or_default();
        let mut history = head.history_with(&target.run, found, keep);
        let (told, current) = tidy(target, &Head { history: history.clone(), ..head }).await?;
        deleted.extend(told);
        if let (Some(current), Some(newest)) = (current, history.first_mut()) {
            newest.0 = current;
        }
        Ok((history, deleted))
    };
    let (history, deleted) = held(target, head.epoch, work).await?;
    let closed = Head::close(target, head.epoch, |head| {
        head.history.clone_from(&history);
        head.leaving = None;
        head.tidy = true;
    });
    closed.await?;
    Ok(deleted)
}

/// What becomes of a release that the run has left half done: where a rule says that its step counts as a success, and where all
/// requests are sent to its colour, it is the one in place. A colour that is not served is taken away. Any other stays as it is, for
/// what runs may need it, and [`in_place`] says later what came of it.
async fn unfinished(
    target: &Target,
    head: Head,
    passed: Option<Verdict>,
) -> Result<(Head, Vec<Id>), Failure> {
    let Some(pending) = &head.pending else { return Ok((head, Vec::new())) };
    let release = Release::read(target, pending).await?;
    let stands = match release.colour {
        Some(_) => colours::is_served(target, &release).await?,
        None => passed == Some(Verdict::Succeed),
    };
    if stands {
        let head = Head::change(target, head.epoch, |head| head.complete(pending)).await?;
        return Ok((head, Vec::new()));
    }
    if release.colour.is_none() {
        return Ok((head, Vec::new()));
    }
    let serving = match &head.current {
        Some(current) => Release::read(target, current).await?,
        None => Release::default(),
    };
    let deleted = colours::unstage(target, &release, &serving, head.epoch).await?;
    let head = Head::change(target, head.epoch, |head| head.pending = None).await?;
    Ok((head, deleted))
}

/// The release in place before a run begins. What another run, which has ended well, has left half done is that where all of it is
/// rolled out by now, and where nothing was in place before it.
pub(super) async fn in_place(target: &Target, head: &Head) -> Result<Option<String>, Failure> {
    let current = head.current.clone();
    // What is left of a run that did not get to its end is not tidied up.
    let Some(pending) = head.pending.clone().filter(|_| head.tidy) else { return Ok(current) };
    if current.is_none() {
        return Ok(Some(pending));
    }
    for object in Release::read(target, &pending).await?.all() {
        let id = Id::of(object);
        if !id.is_workload() || id.kind == "Job" {
            continue;
        }
        let Some(live) = target.get(&id).await? else { return Ok(current) };
        let wanted = match target.dry_run(object, head.epoch, Say::Autoscaler).await {
            Ok((wanted, _)) => wanted,
            Err(failure) if [Kind::Policy, Kind::Application].contains(&failure.kind) => return Ok(current),
            Err(failure) => return Err(failure),
        };
        if wanted["spec"] != live["spec"] || progress(&id.kind, &live, 0) != Progress::Done {
            return Ok(current);
        }
    }
    Ok(Some(pending))
}

/// Deletes the objects of all stored releases but those in place, unless one of these holds them too, and forgets the releases
/// that are not in the head's history. Gives the objects that were deleted, and what the release in place is called now if its
/// workloads were handed over.
async fn tidy(target: &Target, head: &Head) -> Result<(Vec<String>, Option<String>), Failure> {
    let kept = [&head.current, &head.canary, &head.pending].into_iter().flatten();
    let mut others = Release::stored(target).await?;
    let mut holds = Vec::new();
    for name in kept {
        match others.remove(name) {
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
    let counted = counted(target, leaving.iter().copied()).await?;
    let addresses = addresses::noted(target, leaving.into_iter()).await?;
    let noted = Head::change(target, head.epoch, |head| {
        head.replicas.extend(counted.clone());
        head.addresses.extend(addresses.clone());
    });
    noted.await?;
    // Before the autoscaler goes, so that it is not forgotten; and after it, which may have had its say in between.
    hand_over(target, head, &freed).await?;
    let deleted = delete_others(target, others.values(), &holds, head.epoch).await?;
    let mut told: Vec<String> = deleted.iter().map(Id::to_string).collect();
    let (kept, current) = hand_over(target, head, &freed).await?;
    told.extend(kept.into_iter().map(|kept| format!("({kept})")));
    let kept = |name: &&String| head.history.iter().any(|(kept, _)| kept == *name);
    for name in others.keys().filter(|name| !kept(name)) {
        Release::forget(target, name).await?;
    }
    Ok((told, current))
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

/// Has workloads of the release in place keep the replicas that they have: no autoscaler says how many any more. Where the manifests
/// name a number, theirs comes with the next deployment; what is recorded is the one that they have, so that going back to it
/// takes no pods away. Gives what there is to say of it, and what the release in place is called then.
async fn hand_over(
    target: &Target,
    head: &Head,
    freed: &[Id],
) -> Result<(Vec<String>, Option<String>), Failure> {
    let mut told = Vec::new();
    let Some(current) = head.current.as_deref().filter(|_| !freed.is_empty()) else {
        return Ok((told, None));
    };
    let mut release = Release::read(target, current).await?;
    let Release { objects, extra, .. } = &mut release;
    for object in extra.iter_mut().chain(objects) {
        let id = Id::of(object);
        if !freed.iter().any(|freed| freed.same(&id)) {
            continue;
        }
        let Some(live) = target.get(&id).await?.filter(|live| target.owns(live)) else { continue };
        told.extend(kept_replicas(&id, object, &live));
        if let (Some(now), Some(_)) = (number(&live, REPLICAS), number(object, REPLICAS)) {
            object["spec"]["replicas"] = now.into();
            target.apply(object, head.epoch, Manner::Forced, Say::Written).await?;
            take_over(target, &id, head.epoch).await?;
        }
    }
    let name = release.name();
    release.store(target).await?;
    Head::change(target, head.epoch, |head| head.current = Some(name.clone())).await?;
    Ok((told, Some(name)))
}

/// Where a number of replicas is.
const REPLICAS: &[&str] = &["spec", "replicas"];

/// What becomes of the replicas of a workload that nothing scales any more: nothing, for now.
pub(super) fn kept_replicas(id: &Id, object: &Json, live: &Json) -> Option<String> {
    let now = number(live, REPLICAS)?;
    Some(match number(object, REPLICAS) {
        Some(said) if said != now => format!(
            "{id} keeps the {now} replicas that its autoscaler left; the {said} of the manifests come with the next deployment"
        ),
        _ => format!("{id} keeps its {now} replicas"),
    })
}

/// Whether the instance can be returned to the call's record: no run has changed it since, nobody has taken over what would
/// have to be returned, and the release is still there.
pub(super) async fn can_return(target: &Target, call: &Call) -> Result<(), Failure> {
    let head = Head::read(target).await?;
    let to = goal(target, call, &head)?;
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
            let Some(current) = head.latest().filter(|_| !release.found) else { return Ok(()) };
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
