//! `region/uncoordinated`: one service goes to several places at once, and nothing joins them.

use super::order::Meeting;
use super::pipeline_conflict::running;
use super::{Judged, barrier_alone};
use crate::diagnostic::{Diagnostic, Severity};
use crate::rules::Rule;
use lockstep_plan::{BarrierKind, ItemId, StageId};
use petgraph::unionfind::UnionFind;
use std::collections::{BTreeMap, BTreeSet};

pub const RULE: Rule = Rule {
    name: "region/uncoordinated",
    severity: Severity::Warning,
    summary: "parallel stages deploy one service to several targets and share no barrier",
    page: include_str!("region_uncoordinated.md"),
};

/// By service and branch: the first stage that deploys it there, and the targets.
type Deployments<'a> = BTreeMap<&'a str, BTreeMap<u32, (StageId, BTreeSet<u32>)>>;

/// Looks at every group.
pub fn check(judged: &Judged<'_, '_>, sink: &mut Vec<Diagnostic>) {
    let (plan, origins) = (&judged.lowered.plan, &judged.lowered.origins);
    let apart: Vec<ItemId> = judged.items().filter(|item| may_be_apart(judged, *item)).collect();
    if apart.is_empty() {
        return;
    }
    // For each item the branches by the service that they deploy.
    let mut deployments: Vec<Deployments<'_>> = vec![BTreeMap::new(); plan.items.len()];
    for step in running(plan).filter(|step| step.changes) {
        let (Some(service), Some(target)) = (step.action.service, step.action.target) else { continue };
        let stage = &plan.stages[step.stage.index()];
        let services = &mut deployments[stage.item.index()];
        let branches = services.entry(plan.services[service.index()].name.as_str()).or_default();
        branches.entry(stage.branch).or_insert((step.stage, BTreeSet::new())).1.insert(target.0);
    }
    for id in apart {
        let meetings = judged.meetings(id, BarrierKind::Forward);
        let mut members: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (branch, met) in (0_u32..).zip(meetings) {
            for meeting in met {
                members.entry(meeting.barrier.0).or_default().push(branch);
            }
        }
        for (service, branches) in &deployments[id.index()] {
            let targets: BTreeSet<u32> =
                branches.values().flat_map(|(_, targets)| targets).copied().collect();
            let sets = joined(branches.keys().copied(), members.values());
            if sets.len() < 2 || targets.len() < 2 || barrier_alone::is_misspelt(judged, id) {
                continue;
            }
            let stages = |set: &[u32]| set.iter().map(|branch| branches[branch].0).collect::<Vec<_>>();
            // Of stages of which a run has one none is left behind.
            let mut others = Vec::new();
            let mut sets: Vec<Vec<StageId>> = sets.iter().map(|set| stages(set)).collect();
            let beside = |(at, set): (usize, &Vec<StageId>)| {
                others.clear();
                sets[..at].iter().flatten().for_each(|stage| {
                    judged.beside(&mut others, *stage);
                });
                set.iter().any(|stage| judged.beside(&mut others.clone(), *stage).is_some())
            };
            if !sets.iter().enumerate().skip(1).any(beside) {
                continue;
            }
            // The smallest first: these are the odd ones.
            sets.sort_by_key(Vec::len);
            let firsts = sets.iter().flat_map(|set| set.iter().take(if sets.len() == 2 { 2 } else { 1 }));
            let mut diagnostic = Diagnostic::new(
                &RULE,
                origins.items[id.index()],
                format!("`{service}` goes to {} targets at once, and nothing joins them", targets.len()),
            )
            .label("one may succeed and another fail")
            .help("let their workflows meet at a `barrier` after the deployment, or write `parallel all_or_nothing`");
            for stage in firsts.take(4) {
                let name = &plan.stages[stage.index()].name;
                diagnostic = diagnostic.also(origins.stages[stage.index()], format!("stage `{name}`"));
            }
            sink.push(diagnostic);
        }
    }
}

/// These branches in sets, each of which barriers join, directly or through others of them.
fn joined<'m>(
    branches: impl Iterator<Item = u32>,
    members: impl Iterator<Item = &'m Vec<u32>>,
) -> Vec<Vec<u32>> {
    let branches: Vec<u32> = branches.collect();
    let mut sets: UnionFind<usize> = UnionFind::new(branches.len());
    for members in members {
        let mut indexes = members.iter().filter_map(|branch| branches.binary_search(branch).ok());
        if let Some(first) = indexes.next() {
            indexes.for_each(|other| {
                sets.union(first, other);
            });
        }
    }
    let mut found: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for (index, branch) in branches.iter().enumerate() {
        found.entry(sets.find(index)).or_default().push(*branch);
    }
    let mut found: Vec<Vec<u32>> = found.into_values().collect();
    found.sort();
    found
}

/// Whether an item has several branches that neither a promise nor one barrier joins.
fn may_be_apart(judged: &Judged<'_, '_>, id: ItemId) -> bool {
    let plan = &judged.lowered.plan;
    let item = &plan.items[id.index()];
    if item.branches.len() < 2 || item.group.is_none_or(|it| it.all_or_nothing) || judged.is_broken(id) {
        return false;
    }
    let met = judged.by_barrier(id, BarrierKind::Forward);
    let branch = |meeting: &Meeting| plan.stages[meeting.stage.index()].branch;
    let joins_all = |meetings: &[&Meeting]| {
        meetings.chunk_by(|one, two| branch(one) == branch(two)).count() == item.branches.len()
    };
    !met.chunk_by(|one, two| one.barrier == two.barrier).any(joins_all)
}
