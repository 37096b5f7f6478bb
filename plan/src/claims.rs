//! Which stages hold their targets and resources together, and what a phase holds by itself.
//!
//! Stages that barriers join, directly or through others, claim together, and so do all branches of an `all_or_nothing`
//! group. Beyond that, whatever would have a run hold one claim while it waits for another is joined too, so that runs
//! cannot wait for each other in a circle, and that nobody comes between two stages on one target:
//!
//! - the stages of a lane, each of which holds what it has until the lane has ended;
//! - stages on the same target, and everything that runs between them;
//! - the branches of a group with `max`, whose slots would be a second thing to wait for, where one of them is joined with what
//!   is outside of it;
//! - all stages of a pipeline that says `rollback pipeline`: until its end each of them may have to go back.

use crate::{
    BarrierKind, BlockItem, Branch, Claim, ClaimId, ClaimScope, Concurrency, Expr, Held, ItemId, Plan,
    Reaction, ServiceId, StageId, TargetId, Use, Work,
};
use foldhash::HashMap;
use petgraph::unionfind::UnionFind;
use std::collections::{BTreeMap, BTreeSet};

/// Permits by resource.
type Permits<'a> = BTreeMap<&'a str, u32>;

/// What makes two targets the same: provider, identity, service.
type Key<'a> = (&'a str, Vec<Option<&'a Expr>>, Option<&'a str>);

impl Plan {
    /// Fills [`Plan::claims`] from what the stages use. Called once, when everything else of the plan is there.
    pub fn join_claims(&mut self) {
        let mut union = self.joined();
        let (mut members, mut order) = (HashMap::default(), Vec::new());
        for stage in self.stage_ids() {
            let of = union.find_mut(stage.0);
            members.entry(of).or_insert_with(|| {
                order.push(of);
                Vec::new()
            });
            members.entry(of).and_modify(|stages: &mut Vec<StageId>| stages.push(stage));
        }
        for stages in order.into_iter().filter_map(|of| members.remove(&of)) {
            self.claim_together(stages);
        }
    }

    /// Whether what stages hold until their claim ends can be too much, whatever is joined: cheap to ask before claims are made.
    /// Where nobody holds a resource so, or there is enough for all uses at once, no claim asks in vain.
    pub fn may_claim_in_vain(&self) -> bool {
        let uses = |stage: StageId| {
            let data = &self.stages[stage.index()];
            data.uses.iter().chain(data.phases.iter().flat_map(|phase| &phase.uses))
        };
        let holds = |stage: &StageId| {
            let data = &self.stages[stage.index()];
            if !data.uses.is_empty() || uses(*stage).next().is_none() {
                return !data.uses.is_empty();
            }
            let mut with_barrier = self.phases_with_barrier(*stage).into_iter();
            with_barrier.any(|phase| !data.phases[phase as usize].uses.is_empty())
        };
        if !self.stage_ids().any(|stage| holds(&stage)) {
            return false;
        }
        let mut all = Permits::new();
        for it in self.stage_ids().flat_map(uses) {
            let sum = all.entry(&it.resource).or_default();
            *sum = sum.saturating_add(it.permits);
        }
        all.into_iter().any(|(resource, permits)| permits > self.capacity(resource))
    }

    fn stage_ids(&self) -> impl Iterator<Item = StageId> + use<> {
        (0..self.stages.len() as u32).map(StageId)
    }

    fn joined(&self) -> UnionFind<u32> {
        let mut union: UnionFind<u32> = UnionFind::new(self.stages.len());
        let join = |union: &mut UnionFind<u32>, stages: &mut dyn Iterator<Item = StageId>| {
            let Some(first) = stages.next() else { return };
            for stage in stages {
                union.union(first.0, stage.0);
            }
        };
        for barrier in &self.barriers {
            if barrier.kind != BarrierKind::Commit {
                let places = barrier.places.iter();
                join(&mut union, &mut places.filter_map(|place| self.places[place.index()].stage));
            }
        }
        for (index, item) in self.items.iter().enumerate() {
            if item.promises() {
                join(&mut union, &mut self.stages_of(ItemId(index as u32)));
            }
        }
        for branch in self.items.iter().flat_map(|item| &item.branches) {
            join(&mut union, &mut branch.stages());
        }
        let mut on: HashMap<Key<'_>, StageId> = HashMap::default();
        for stage in self.stage_ids() {
            for held in self.held_by(stage) {
                let first = *on.entry(self.key(held)).or_insert(stage);
                union.union(first.0, stage.0);
            }
        }
        if self.rules.iter().any(|rule| rolls_pipeline_back(&rule.reaction)) {
            join(&mut union, &mut self.stage_ids());
        }
        while self.join_between(&mut union) || self.join_limited(&mut union) {}
        union
    }

    fn stages_of(&self, item: ItemId) -> impl Iterator<Item = StageId> + '_ {
        self.items[item.index()].branches.iter().flat_map(Branch::stages)
    }

    /// Joins what runs between two stages of one claim: it would be waited for while that claim is held. Whether there was
    /// any.
    fn join_between(&self, union: &mut UnionFind<u32>) -> bool {
        let mut changed = false;
        // By claim: first and last item, and how many stages.
        let mut spans: BTreeMap<u32, (u32, u32, usize)> = BTreeMap::new();
        for stage in self.stage_ids() {
            let item = self.stages[stage.index()].item.0;
            let span = spans.entry(union.find_mut(stage.0)).or_insert((item, item, 0));
            *span = (span.0.min(item), span.1.max(item), span.2 + 1);
        }
        // Spans that share an item become one; going through them by their first item meets each once.
        let mut wide: Vec<(u32, u32, u32)> = spans
            .iter()
            .filter(|(_, span)| span.0 < span.1)
            .map(|(of, span)| (span.0, span.1, *of))
            .collect();
        wide.sort_unstable();
        let mut done = 0;
        for (first, last, of) in wide {
            for item in first.max(done)..=last {
                for stage in self.stages_of(ItemId(item)) {
                    changed |= union.union(of, stage.0);
                }
            }
            if first < done {
                let met = self.stages_of(ItemId(first)).next();
                changed |= met.is_some_and(|stage| union.union(of, stage.0));
            }
            done = done.max(last + 1);
        }
        for branch in self.items.iter().flat_map(|item| &item.branches) {
            let lane: Vec<StageId> = branch.stages().collect();
            let mut met: BTreeMap<u32, (usize, usize, usize)> = BTreeMap::new();
            for (at, stage) in lane.iter().enumerate() {
                let seen = met.entry(union.find_mut(stage.0)).or_insert((at, at, 0));
                *seen = (seen.0, at, seen.2 + 1);
            }
            for (of, (first, last, count)) in met {
                // Others of the claim may start before this lane comes to it; else its first here is its first at all.
                let others = spans.get(&of).is_none_or(|span| span.2 > count);
                let from = if others { 0 } else { first };
                for stage in &lane[from..=last] {
                    changed |= union.union(of, stage.0);
                }
            }
        }
        changed
    }

    /// Joins the branches of groups with fewer slots than branches, where a claim is held for a branch that may have no slot yet:
    /// that one waits for the branches that have one, and these wait for what they claim. Whether there was any.
    ///
    /// Elsewhere nothing is to be joined. A claim that is no larger than a branch is held while the branch has its slot, or goes
    /// back, which takes none: who holds it waits for no slot. And who waits for a slot holds nothing. So slots add no circle.
    fn join_limited(&self, union: &mut UnionFind<u32>) -> bool {
        let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
        for stage in self.stage_ids() {
            *sizes.entry(union.find_mut(stage.0)).or_default() += 1;
        }
        let mut changed = false;
        for (item, index) in self.items.iter().zip(0..) {
            let max = item.group.and_then(|group| group.max);
            if max.is_none_or(|max| max as usize >= item.branches.len()) {
                continue;
            }
            // Stages of a lane are one claim.
            let reaches_out = item.branches.iter().any(|branch| {
                let stages = branch.stages().count();
                branch.stages().next().is_some_and(|first| sizes[&union.find_mut(first.0)] > stages)
            });
            let mut stages = self.stages_of(ItemId(index));
            if let Some(first) = stages.next().filter(|_| reaches_out) {
                stages.for_each(|stage| changed |= union.union(first.0, stage.0));
            }
        }
        changed
    }

    /// The targets that a stage holds, whether it changes them or looks at them.
    fn held_by(&self, stage: StageId) -> Vec<Held> {
        let data = &self.stages[stage.index()];
        if data.concurrency == Concurrency::None {
            return Vec::new();
        }
        let blocks =
            data.rollback.iter().chain(data.phases.iter().filter_map(|phase| phase.rollback.as_ref()));
        let undoing = blocks.flatten().flat_map(|item| match item {
            BlockItem::Steps(steps) => steps.as_slice(),
            BlockItem::Barrier(_) => &[],
        });
        let mut seen: BTreeSet<(TargetId, Option<ServiceId>)> = BTreeSet::new();
        let mut targets = Vec::new();
        for step in data.forward_steps().chain(undoing.copied()) {
            let action = &self.steps[step.index()].action;
            if let Some(target) = action.target
                && seen.insert((target, action.service))
            {
                targets.push(Held { target, service: action.service });
            }
        }
        targets
    }

    /// Whether both are one service on one target, as far as the plan itself can tell.
    pub fn is_one(&self, one: Held, other: Held) -> bool {
        one == other || self.key(one) == self.key(other)
    }

    fn key(&self, held: Held) -> Key<'_> {
        let target = &self.targets[held.target.index()];
        let service = held.service.map(|service| self.services[service.index()].name.as_str());
        (&target.provider, target.identity().map(|(_, value)| value).collect(), service)
    }

    fn claim_together(&mut self, stages: Vec<StageId>) {
        let mut needs = self.needs_together(&stages);
        // A phase that asks for a resource while another one is held could wait in a circle with a phase of another module:
        // where there is enough, it takes it beforehand.
        let folded: BTreeSet<StageId> = match needs.is_empty() {
            true => BTreeSet::new(),
            false => {
                let with = self.needs(&stages, true);
                let fits = with.iter().all(|(name, permits)| *permits <= self.capacity(name));
                needs = if fits { with } else { needs };
                stages.iter().copied().filter(|_| fits).collect()
            }
        };
        let uses = uses(needs);
        let mut targets: Vec<Held> = Vec::new();
        let mut seen: BTreeSet<(TargetId, Option<ServiceId>)> = BTreeSet::new();
        for held in stages.iter().flat_map(|stage| self.held_by(*stage)) {
            if seen.insert((held.target, held.service)) {
                targets.push(held);
            }
        }
        let reject = stages.iter().any(|stage| self.stages[stage.index()].concurrency == Concurrency::Reject);
        if !targets.is_empty() || !uses.is_empty() {
            let (scope, stages) = (ClaimScope::Stages, stages.clone());
            let id = self.add_claim(Claim { scope, stages: stages.clone(), targets, uses, reject });
            stages.iter().for_each(|stage| self.stages[stage.index()].claim = Some(id));
        }
        for stage in stages.into_iter().filter(|stage| !folded.contains(stage)) {
            self.claim_in_phases(stage);
        }
    }

    fn claim_in_phases(&mut self, stage: StageId) {
        let with_barrier = self.phases_with_barrier(stage);
        let mut all: BTreeMap<String, u32> = BTreeMap::new();
        for phase in 0..self.stages[stage.index()].phases.len() as u32 {
            let mut permits = Permits::new();
            add(&mut permits, &self.stages[stage.index()].phases[phase as usize].uses);
            if with_barrier.contains(&phase) || permits.is_empty() {
                continue;
            }
            for (name, permits) in &permits {
                let most = all.entry((*name).to_owned()).or_default();
                *most = (*most).max(*permits);
            }
            let claim = Claim {
                scope: ClaimScope::Phase(phase),
                stages: vec![stage],
                targets: Vec::new(),
                uses: uses(permits),
                reject: false,
            };
            let id = self.add_claim(claim);
            self.stages[stage.index()].phases[phase as usize].claim = Some(id);
        }
        if self.stages[stage.index()].rollback.is_some() && !all.is_empty() {
            let uses = all.into_iter().map(|(resource, permits)| Use { resource, permits }).collect();
            let (scope, stages) = (ClaimScope::Rollback, vec![stage]);
            let id = self.add_claim(Claim { scope, stages, targets: Vec::new(), uses, reject: false });
            self.stages[stage.index()].rollback_claim = Some(id);
        }
    }

    fn add_claim(&mut self, claim: Claim) -> ClaimId {
        self.claims.push(claim);
        ClaimId(self.claims.len() as u32 - 1)
    }

    fn capacity(&self, resource: &str) -> u32 {
        self.resources.get(resource).copied().unwrap_or(1)
    }

    /// Phases that meet others at a barrier, on their way forward or back.
    fn phases_with_barrier(&self, stage: StageId) -> BTreeSet<u32> {
        let data = &self.stages[stage.index()];
        let meets = |block: &Vec<BlockItem>| block.iter().any(|item| matches!(item, BlockItem::Barrier(_)));
        if data.rollback.as_ref().is_some_and(meets) {
            return (0..data.phases.len() as u32).collect();
        }
        let forward = data.positions.iter().filter(|position| matches!(position.work, Work::Barrier(_)));
        let back =
            data.phases.iter().zip(0..).filter(|(phase, _)| phase.rollback.as_ref().is_some_and(meets));
        forward.map(|position| position.phase).chain(back.map(|(_, index)| index)).collect()
    }

    fn needs_together(&self, stages: &[StageId]) -> Permits<'_> {
        self.needs(stages, false)
    }

    /// The permits that stages of one claim may need at the same time: those of branches that run side by side add up,
    /// stages of one lane and items come one after another. With `every`, what phases take by themselves counts too.
    fn needs(&self, stages: &[StageId], every: bool) -> Permits<'_> {
        let mut branches: BTreeMap<(ItemId, u32), Permits<'_>> = BTreeMap::new();
        for &stage in stages {
            let data = &self.stages[stage.index()];
            let with_barrier = self.phases_with_barrier(stage);
            let (mut own, mut later) = (Permits::new(), Permits::new());
            add(&mut own, &data.uses);
            for (phase, index) in data.phases.iter().zip(0u32..) {
                if with_barrier.contains(&index) {
                    add(&mut own, &phase.uses);
                } else if every {
                    let mut of_phase = Permits::new();
                    add(&mut of_phase, &phase.uses);
                    most(&mut later, of_phase);
                }
            }
            for (name, permits) in later {
                *own.entry(name).or_default() += permits;
            }
            most(branches.entry((data.item, data.branch)).or_default(), own);
        }
        // `max` is no limit here: who goes back needs no slot, and who waits at `commit` holds what it has.
        let mut items: BTreeMap<ItemId, Permits<'_>> = BTreeMap::new();
        for ((item, _), permits) in branches {
            let of_item = items.entry(item).or_default();
            for (name, permits) in permits {
                let sum = of_item.entry(name).or_default();
                *sum = sum.saturating_add(permits);
            }
        }
        let mut needs = Permits::new();
        items.into_values().for_each(|of_item| most(&mut needs, of_item));
        needs
    }
}

impl crate::Target {
    /// The settings that tell it from others of its provider, with their values.
    pub fn identity(&self) -> impl Iterator<Item = (&str, Option<&Expr>)> {
        let all = self.identity.is_empty();
        let named = self.identity.iter().map(|name| (name.as_str(), self.settings.get(name.as_str())));
        let every =
            self.settings.iter().filter(move |_| all).map(|(name, value)| (name.as_str(), Some(value)));
        named.chain(every)
    }
}

fn rolls_pipeline_back(reaction: &Reaction) -> bool {
    match reaction {
        Reaction::RollbackPipeline => true,
        Reaction::Retry { then, .. } | Reaction::Ask { then, .. } => rolls_pipeline_back(then),
        _ => false,
    }
}

fn add<'a>(permits: &mut Permits<'a>, uses: &'a [Use]) {
    for it in uses.iter().filter(|it| it.permits > 0) {
        let sum = permits.entry(&it.resource).or_default();
        *sum = sum.saturating_add(it.permits);
    }
}

fn most<'a>(permits: &mut Permits<'a>, other: Permits<'a>) {
    for (name, other) in other {
        let most = permits.entry(name).or_default();
        *most = (*most).max(other);
    }
}

fn uses(permits: Permits<'_>) -> Vec<Use> {
    permits.into_iter().map(|(resource, permits)| Use { resource: resource.into(), permits }).collect()
}
