//! `barrier/lock-deadlock`: resources that stages need together, or in opposite orders.

use super::{Judged, pipeline_conflict, walk};
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::{DeclId, Model};
use crate::rules::Rule;
use foldhash::HashMap;
use lockstep_grammar::ast::{DeclarationKind, ExprKind, Item, Phase, Record, Use};
use lockstep_plan::{BarrierKind, Branch, Claim, ClaimId, ItemId, Plan, StageId};
use petgraph::unionfind::UnionFind;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

pub const RULE: Rule = Rule {
    name: "barrier/lock-deadlock",
    severity: Severity::Error,
    summary: "stages joined by barriers need more of a resource than there is, or `use`s are nested in opposite orders",
    page: include_str!("barrier_lock_deadlock.md"),
};

/// What is joined claims together: targets and resources that it needs at once must not be more than there are.
pub fn together(judged: &Judged<'_, '_>, sink: &mut Vec<Diagnostic>) {
    let plan = &judged.lowered.plan;
    // Found once, for the first item that asks.
    let held = OnceCell::new();
    // By barrier, which belongs to one item: the first stage that meets it.
    let mut met: Vec<Option<StageId>> = vec![None; plan.barriers.len()];
    for item in judged.items() {
        let branches = judged.meetings(item, BarrierKind::Forward);
        let joined = plan.items[item.index()].promises();
        let branches_of = &plan.items[item.index()].branches;
        let stages: Vec<StageId> = branches_of.iter().flat_map(Branch::stages).collect();
        let Some(first) = stages.first().copied() else { continue };
        let mut union: UnionFind<u32> = UnionFind::new(stages.len());
        let number = |stage: StageId| stage.0 - first.0;
        for meeting in branches.iter().flatten() {
            let earlier = *met[meeting.barrier.index()].get_or_insert(meeting.stage);
            union.union(number(earlier), number(meeting.stage));
        }
        if joined {
            for stage in &stages {
                union.union(0, number(*stage));
            }
        }
        // What comes before in a lane is waited for, too, while what the others claim is held.
        let in_lanes = branches_of.iter().any(|branch| branch.parts.len() > 1).then(|| {
            let mut all = union.clone();
            let mut size: Vec<u32> = vec![0; stages.len()];
            stages.iter().for_each(|stage| size[union.find(number(*stage)) as usize] += 1);
            for branch in branches_of {
                let lane: Vec<StageId> = branch.stages().collect();
                let joined = |stage: &StageId| size[union.find(number(*stage)) as usize] > 1;
                let Some(last) = lane.iter().rposition(joined) else { continue };
                for stage in &lane[..last] {
                    all.union(number(lane[last]), number(*stage));
                }
            }
            all
        });
        let component = |stage: StageId| {
            (in_lanes.as_ref().unwrap_or(&union).find(number(stage)), union.find(number(stage)))
        };
        // Nobody waits for a stage that stands alone.
        if pipeline_conflict::is_crowded(judged, item) {
            let held = held.get_or_init(|| pipeline_conflict::held(judged));
            targets(judged, item, held, (&stages, &component), sink);
        }
    }
    claims(judged, sink);
}

/// What is claimed together, as a run claims it: what barriers and promises join, lanes, groups with `max` some of whose branches
/// are joined, what shares a target, and pipelines that may go back as a whole. Such a claim is held until the last of its stages
/// has ended. One that is larger than what there is waits for ever; so does a phase of one of them that asks for more than the
/// claim leaves, or two runs of which each holds what the other's phase asks for.
fn claims(judged: &Judged<'_, '_>, sink: &mut Vec<Diagnostic>) {
    if !judged.lowered.plan.may_claim_in_vain() {
        return;
    }
    let mut plan = judged.lowered.plan.clone();
    plan.join_claims();
    let mut reported: BTreeSet<(Option<ClaimId>, &str)> = BTreeSet::new();
    for (at, claim) in plan.claims.iter().enumerate() {
        let Some(first) = claim.stages.first().copied() else { continue };
        let joint = plan.stages[first.index()].claim;
        let asks = (joint != Some(ClaimId(at as u32))).then_some(first);
        for it in &claim.uses {
            let resource = it.resource.as_str();
            let joined = joint.iter().flat_map(|id| &plan.claims[id.index()].uses);
            let held =
                asks.and(joined.clone().find(|own| own.resource == resource)).map_or(0, |own| own.permits);
            let capacity = plan.resources.get(resource).copied().unwrap_or(1);
            // A phase that asks where nothing of it is held waits for others, and they for nobody.
            let waits = if asks.is_some() { held > 0 } else { it.permits > capacity };
            // What the workflow itself holds is reported there.
            let own = asks.is_some_and(|stage| {
                plan.stages[stage.index()].uses.iter().any(|own| own.resource == resource)
            });
            if waits && !own && reported.insert((joint, resource)) {
                sink.push(claimed_in_vain(judged, &plan, (claim, asks), (it, held, capacity)));
            }
        }
    }
}

/// A claim, and the stage that asks for it in a phase, if it is no joint one; a resource of it, how much of that the joint claim
/// holds meanwhile, and how much there is.
fn claimed_in_vain(
    judged: &Judged<'_, '_>,
    plan: &Plan,
    (claim, asks): (&Claim, Option<StageId>),
    (asked, held, capacity): (&lockstep_plan::Use, u32, u32),
) -> Diagnostic {
    let origins = &judged.lowered.origins;
    let (resource, permits) = (asked.resource.as_str(), asked.permits);
    let called = |stage: StageId| &plan.stages[stage.index()].name;
    let joint = claim.stages.first().and_then(|stage| plan.stages[stage.index()].claim);
    let members = joint.map(|id| plan.claims[id.index()].stages.as_slice()).unwrap_or_default();
    let are = if capacity == 1 { "is" } else { "are" };
    let message = match asks {
        None => match members {
            [only] => format!(
                "stage `{}` needs {permits} of `{resource}` at once, and there {are} {capacity}",
                called(*only)
            ),
            _ => format!("these stages need {permits} of `{resource}` at once, and there {are} {capacity}"),
        },
        Some(stage) if u64::from(held) + u64::from(permits) > u64::from(capacity) => format!(
            "stage `{}` waits for ever for {permits} of `{resource}`: {held} of {capacity} are held until it has ended",
            called(stage)
        ),
        Some(stage) => format!(
            "two runs can wait for each other: each holds {held} of `{resource}` until stage `{}` has ended, which asks for {permits} more",
            called(stage)
        ),
    };
    let item = claim.stages.first().map(|stage| plan.stages[stage.index()].item).unwrap_or(ItemId(0));
    let diagnostic = Diagnostic::new(&RULE, origins.items[item.index()], message)
        .label(match members {
            [_] => "what a stage uses as a whole, or in a phase with a barrier, is held until it has ended",
            _ => "what is joined here is claimed together, and held until all of it has ended",
        })
        .help(match members {
            [_] => format!("raise the capacity of `{resource}`, or ask for less of it"),
            _ => format!(
                "raise the capacity of `{resource}`, or move every `use` of it into a phase without a barrier"
            ),
        });
    let takes = |stage: &&StageId| {
        let own = &plan.stages[stage.index()];
        let uses = own.uses.iter().chain(own.phases.iter().flat_map(|phase| &phase.uses));
        members.len() > 1 && Some(**stage) != asks && uses.into_iter().any(|it| it.resource == resource)
    };
    let says = if asks.is_some() { "holds it" } else { "needs it" };
    let diagnostic = members.iter().filter(takes).take(5).fold(diagnostic, |diagnostic, stage| {
        diagnostic.also(origins.stages[stage.index()], format!("`{}` {says}", called(*stage)))
    });
    match asks {
        Some(stage) => {
            diagnostic.also(origins.stages[stage.index()], format!("`{}` asks for it", called(stage)))
        }
        None => diagnostic,
    }
}

/// The places that each stage holds.
type Held<'a> = BTreeMap<StageId, BTreeMap<usize, &'a str>>;

/// Stages of different branches that are joined and need one target for themselves. Those that change the same service there
/// are the matter of `pipeline/conflict`.
fn targets(
    judged: &Judged<'_, '_>,
    item: ItemId,
    held: &Held<'_>,
    (stages, component): (&[StageId], &dyn Fn(StageId) -> (u32, u32)),
    sink: &mut Vec<Diagnostic>,
) {
    let (plan, origins) = (&judged.lowered.plan, &judged.lowered.origins);
    let mut first: BTreeMap<(u32, usize), Vec<StageId>> = BTreeMap::new();
    let mut reported: BTreeSet<(u32, usize)> = BTreeSet::new();
    for stage in stages {
        for (place, name) in held.get(stage).into_iter().flatten() {
            let key = (component(*stage).0, *place);
            let Some(earlier) = judged.beside(first.entry(key).or_default(), *stage) else { continue };
            let branch = |stage: StageId| plan.stages[stage.index()].branch;
            let changed = pipeline_conflict::changes(judged);
            let of = |stage: &StageId| changed.get(stage).into_iter().flatten().collect::<BTreeSet<_>>();
            if branch(earlier) == branch(*stage)
                || !of(&earlier).is_disjoint(&of(stage))
                || !reported.insert(key)
            {
                continue;
            }
            let called = |stage: StageId| &plan.stages[stage.index()].name;
            let message = match component(earlier).1 == component(*stage).1 {
                true => format!(
                    "stages `{}` and `{}` wait for each other, and both need `{name}` for themselves",
                    called(earlier),
                    called(*stage)
                ),
                false => format!(
                    "stages `{}` and `{}` both need `{name}` for themselves, and a lane brings one of them to what the other waits for",
                    called(earlier),
                    called(*stage)
                ),
            };
            sink.push(
                Diagnostic::new(&RULE, origins.items[item.index()], message)
                .label("what barriers join is claimed together")
                .also(origins.stages[earlier.index()], format!("`{}` holds `{name}`", called(earlier)))
                .also(origins.stages[stage.index()], format!("`{}` needs it, too", called(*stage)))
                .help("give each of them a target of its own, or let one start when the other has ended, in a `lane`"),
            );
        }
    }
}

/// More pairs of nested `use`s than this no people write.
const MOST_PAIRS: usize = 50_000;

/// A workflow that holds one resource while a phase asks for another, and one that does it the other way round.
pub fn nested(model: &Model<'_>, sink: &mut Vec<Diagnostic>) {
    above_capacity(model, sink);
    let mut pairs: Vec<((DeclId, DeclId), Location, Location)> = Vec::new();
    for (file, _, workflow) in walk::workflows(model) {
        let find = |it: &Use| {
            let found = model.find(model.module(file), &it.resource).ok()?;
            Some((found.decl, Location { file, span: it.resource.span }))
        };
        let outer: Vec<(DeclId, Location)> = workflow.uses.iter().filter_map(find).collect();
        for phase in workflow.phases.iter().filter(|phase| !has_barrier(phase)) {
            let inner: Vec<(DeclId, Location)> = phase.uses.iter().filter_map(find).collect();
            for (first, outer) in &outer {
                let left = MOST_PAIRS.saturating_sub(pairs.len());
                pairs.extend(
                    inner.iter().take(left).map(|(second, inner)| ((*first, *second), *outer, *inner)),
                );
            }
        }
    }
    let mut seen: HashMap<(DeclId, DeclId), (Location, Location)> = HashMap::default();
    for ((first, second), outer, inner) in &pairs {
        let opposite = seen.get(&(*second, *first)).filter(|_| first != second);
        let (a, b) = (model.name(*first), model.name(*second));
        if let Some((other_outer, other_inner)) = opposite {
            sink.push(
                Diagnostic::new(&RULE, *inner, format!("`{a}` and `{b}` are taken in opposite orders"))
                    .label(format!("`{b}` is asked for here,"))
                    .also(*outer, format!("while `{a}` is held"))
                    .also(*other_outer, format!("elsewhere `{b}` is held"))
                    .also(*other_inner, format!("while `{a}` is asked for"))
                    .help("take them in one order everywhere, or both with the workflow's own `use`s"),
            );
        } else if first == second {
            sink.push(
                Diagnostic::new(&RULE, *inner, format!("`{a}` is asked for while it is held"))
                    .label("again here")
                    .also(*outer, "held for the whole workflow")
                    .help("one `use` for the workflow is enough"),
            );
        }
        seen.entry((*first, *second)).or_insert((*outer, *inner));
    }
}

/// A phase that asks for more of a resource than there is. With a barrier in it, it is judged with those that it joins.
fn above_capacity(model: &Model<'_>, sink: &mut Vec<Diagnostic>) {
    for (file, _, workflow) in walk::workflows(model) {
        for phase in workflow.phases.iter().filter(|phase| !has_barrier(phase)) {
            let mut asked: BTreeMap<DeclId, i64> = BTreeMap::new();
            for it in &phase.uses {
                let Ok(found) = model.find(model.module(file), &it.resource) else { continue };
                let DeclarationKind::Resource(resource) = &model.decl(found.decl).kind else { continue };
                let Some(capacity @ 1..) = number(resource, "capacity") else { continue };
                let permits = it.record.as_ref().and_then(|record| number(record, "permits")).unwrap_or(1);
                let before = asked.entry(found.decl).or_default();
                let fits = *before <= capacity;
                *before = before.saturating_add(permits);
                if *before <= capacity || !fits {
                    continue;
                }
                let name = model.name(found.decl);
                let message = format!(
                    "phase `{}` needs {before} permits of `{name}`, and there are {capacity}",
                    phase.name.text
                );
                sink.push(
                    Diagnostic::new(&RULE, Location { file, span: it.resource.span }, message)
                        .label("it would wait for ever")
                        .also(model.location(found.decl), format!("`{name}` has {capacity}"))
                        .help(format!("raise the capacity of `{name}`, or ask for less")),
                );
            }
        }
    }
}

/// The number that an entry is given.
fn number(record: &Record, name: &str) -> Option<i64> {
    let entry = record.entries.iter().find(|entry| entry.name.text == name)?;
    match entry.value.kind {
        ExprKind::Int(number) => Some(number),
        _ => None,
    }
}

fn has_barrier(phase: &Phase) -> bool {
    fn any(items: &[Item]) -> bool {
        items.iter().any(|item| match item {
            Item::Barrier(_) => true,
            Item::Section(section) => any(&section.items),
            Item::Step(_) | Item::Steps(_) => false,
        })
    }
    any(&phase.items)
}
