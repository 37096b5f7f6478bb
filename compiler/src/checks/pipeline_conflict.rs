//! `pipeline/conflict`: stages that run at the same time and change the same service in the same place.

use super::Judged;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::program::ModuleId;
use crate::rules::Rule;
use lockstep_plan::{Concurrency, Expr, ItemId, Part, Plan, Role, Stage, StageId, Step, Target, Value, Work};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

pub const RULE: Rule = Rule {
    name: "pipeline/conflict",
    severity: Severity::Error,
    summary: "concurrent stages change the same service on the same infrastructure",
    page: include_str!("pipeline_conflict.md"),
};

/// Looks at the branches of every group.
pub fn check(judged: &Judged<'_, '_>, sink: &mut Vec<Diagnostic>) {
    let (plan, origins) = (&judged.lowered.plan, &judged.lowered.origins);
    for id in judged.items().filter(|id| is_crowded(judged, *id)) {
        let item = &plan.items[id.index()];
        let changed = changes(judged);
        let mut first: BTreeMap<Change<'_>, Vec<StageId>> = BTreeMap::new();
        let mut reported: BTreeSet<(StageId, StageId)> = BTreeSet::new();
        let branch = |stage: StageId| plan.stages[stage.index()].branch;
        for it in &item.branches {
            for part in &it.parts {
                let Part::Stage(stage) = part else { continue };
                for change in changed.get(stage).into_iter().flatten() {
                    let earlier = judged.beside(first.entry(*change).or_default(), *stage);
                    let Some(earlier) = earlier.filter(|it| branch(*it) != branch(*stage)) else { continue };
                    if !reported.insert((earlier, *stage)) {
                        continue;
                    }
                    let name = |id: StageId| &plan.stages[id.index()].name;
                    // Two of one name are reported as that.
                    if name(earlier) == name(*stage) {
                        continue;
                    }
                    sink.push(
                        Diagnostic::new(
                            &RULE,
                            origins.stages[stage.index()],
                            format!(
                                "stages `{}` and `{}` run at the same time and both change `{}` on `{}`",
                                name(earlier),
                                name(*stage),
                                change.service,
                                change.target
                            ),
                        )
                        .label("changes it, too")
                        .also(origins.stages[earlier.index()], "already changes it")
                        .help("run them one after another, in a `lane` or outside of `parallel`, or give one of them another target"),
                    );
                }
            }
        }
    }
}

/// What a stage changes: a service, where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change<'a> {
    /// Number of the place: two names of one place have one number.
    place: usize,
    service: &'a str,
    /// The first name of the place that this service goes to.
    target: &'a str,
}

/// What each stage changes, and where.
#[derive(Debug, Default)]
pub struct Works<'a> {
    /// For each target the number of its place: two names of one place have one number. None where that is not known yet.
    places: OnceCell<Vec<Option<usize>>>,
    crowded: OnceCell<Vec<bool>>,
    changed: OnceCell<Changes<'a>>,
}

/// What each stage changes.
pub type Changes<'a> = BTreeMap<StageId, BTreeSet<Change<'a>>>;

/// What each stage changes, found once for all checks.
pub fn changes<'a, 'j>(judged: &'j Judged<'a, '_>) -> &'j Changes<'a> {
    judged.works.changed.get_or_init(|| changed(judged))
}

fn changed<'a>(judged: &Judged<'a, '_>) -> Changes<'a> {
    let plan = &judged.lowered.plan;
    let places = places(judged);
    let mut all: BTreeMap<StageId, BTreeSet<Change<'a>>> = BTreeMap::new();
    let mut names: BTreeMap<(usize, &str), &str> = BTreeMap::new();
    for step in running(plan).filter(|step| step.changes) {
        let (Some(target), Some(service)) = (step.action.target, step.action.service) else { continue };
        let Some(place) = places[target.index()] else { continue };
        let service = plan.services[service.index()].name.as_str();
        let target = *names.entry((place, service)).or_insert(plan.targets[target.index()].name.as_str());
        all.entry(step.stage).or_default().insert(Change { place, service, target });
    }
    all
}

/// For each target the number of its place; none where that is not known yet.
fn places<'j>(judged: &'j Judged<'_, '_>) -> &'j [Option<usize>] {
    judged.works.places.get_or_init(|| {
        let mut numbers: BTreeMap<Identity<'_>, usize> = BTreeMap::new();
        let mut number = |target| {
            let next = numbers.len();
            Some(*numbers.entry(identity(target)?).or_insert(next))
        };
        let program = judged.model.program;
        let targets = judged.lowered.plan.targets.iter().zip(&judged.lowered.origins.targets);
        // What tells a target from another may be what was not understood of it.
        let known = |at: &Location| !program.is_damaged(at.file, at.span);
        targets.map(|(target, at)| number(target).filter(|_| known(at))).collect()
    })
}

/// Whether several branches of an item work at one place. Only there they can be in each other's way.
pub fn is_crowded(judged: &Judged<'_, '_>, item: ItemId) -> bool {
    let crowded = judged.works.crowded.get_or_init(|| {
        let plan = &judged.lowered.plan;
        let places = places(judged);
        let mut crowded = vec![false; plan.items.len()];
        // By place: who was the last to work there. The steps of an item stand together.
        let mut last: Vec<Option<(ItemId, u32)>> = vec![None; places.len()];
        for step in plan.steps.iter().filter(|step| step.role == Role::Forward) {
            let Some(place) = step.action.target.and_then(|target| places[target.index()]) else { continue };
            let Stage { item, branch, .. } = plan.stages[step.stage.index()];
            let before = last[place].replace((item, branch));
            crowded[item.index()] |= before.is_some_and(|(of, other)| of == item && other != branch);
        }
        crowded
    });
    crowded[item.index()]
}

/// The places that each stage holds while it runs, and what they are called: those that its steps work on. Where the
/// `release` of a target is left empty, services go beside each other: such a place is each service's own.
pub fn held<'a>(judged: &'a Judged<'_, '_>) -> BTreeMap<StageId, BTreeMap<usize, &'a str>> {
    let plan = &judged.lowered.plan;
    let places = places(judged);
    let mut held: BTreeMap<StageId, BTreeMap<usize, &str>> = BTreeMap::new();
    // Most steps are of few providers.
    let mut general: Vec<(&str, bool)> = Vec::new();
    let mut is_general = |name: &'a str| {
        if let Some((_, known)) = general.iter().find(|(known, _)| *known == name) {
            return *known;
        }
        let provider = judged.model.provider_named(ModuleId::PRELUDE, name);
        let found = provider.is_some_and(|id| !judged.model.is_deployment_type(id));
        general.push((name, found));
        found
    };
    for step in plan.steps.iter().filter(|step| step.role == Role::Forward) {
        let stage = &plan.stages[step.stage.index()];
        if is_general(&step.action.provider)
            || stage.concurrency == Concurrency::None
            || never(plan, &stage.when)
            || never(plan, &step.when)
        {
            continue;
        }
        if let Some(target) = step.action.target
            && let Some(place) = places[target.index()]
            && !is_open_to_many(&plan.targets[target.index()])
        {
            held.entry(step.stage)
                .or_default()
                .entry(place)
                .or_insert(plan.targets[target.index()].name.as_str());
        }
    }
    held
}

/// Whether each service has a release of its own there. Another setting that is left empty, like a `context`, means the
/// usual one, and that is one place.
fn is_open_to_many(target: &Target) -> bool {
    let empty = Value::Text(String::new());
    target
        .identity()
        .any(|(name, value)| name == "release" && value.is_some_and(|value| value.as_value() == Some(&empty)))
}

/// The forward steps that no constant condition of theirs, of their section, phase or stage keeps from running.
pub fn running(plan: &Plan) -> impl Iterator<Item = &Step> {
    let stages = plan.stages.iter().filter(|stage| !never(plan, &stage.when));
    let positions = stages.flat_map(|stage| &stage.positions).filter(|position| !never(plan, &position.when));
    let steps = positions.filter_map(|position| match &position.work {
        Work::Steps(ids) => Some(ids.iter().map(|id| &plan.steps[id.index()])),
        Work::Barrier(_) => None,
    });
    steps.flatten().filter(|step| step.role == Role::Forward && !never(plan, &step.when))
}

fn never(plan: &Plan, when: &[lockstep_plan::ConditionId]) -> bool {
    when.iter().any(|id| plan.conditions[id.index()] == Expr::Value(Value::Bool(false)))
}

/// A provider, and the settings that tell a target from others of it.
type Identity<'a> = (&'a str, Vec<(&'a str, &'a Value)>);

/// What tells a target from others; none where that is not known yet.
fn identity(target: &Target) -> Option<Identity<'_>> {
    if target.provider.is_empty() {
        return None;
    }
    let known = target.identity().filter_map(|(name, value)| Some((name, value?)));
    let settings = known.map(|(name, value)| Some((name, value.as_value()?))).collect::<Option<_>>()?;
    Some((&target.provider, settings))
}
