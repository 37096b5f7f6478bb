//! `region/uncoordinated`: one service goes to several places at once, and nothing joins them.

use super::Judged;
use crate::diagnostic::{Diagnostic, Severity};
use crate::rules::Rule;
use lockstep_plan::{BarrierKind, Part, Role, StageId};
use std::collections::{BTreeMap, BTreeSet};

pub const RULE: Rule = Rule {
    name: "region/uncoordinated",
    severity: Severity::Warning,
    summary: "parallel stages deploy one service to several targets and share no barrier",
    page: include_str!("region_uncoordinated.md"),
};

/// Looks at every group.
pub fn check(judged: &Judged<'_, '_>, sink: &mut Vec<Diagnostic>) {
    let (plan, origins) = (&judged.lowered.plan, &judged.lowered.origins);
    for id in judged.items().filter(|item| !judged.is_damaged(*item)) {
        let item = &plan.items[id.index()];
        if item.branches.len() < 2 || item.group.is_none_or(|group| group.all_or_nothing) {
            continue;
        }
        // Branches by the service that they deploy.
        let mut deployed: BTreeMap<&str, BTreeMap<usize, (StageId, BTreeSet<u32>)>> = BTreeMap::new();
        for step in plan.steps.iter().filter(|step| step.changes && step.role == Role::Forward) {
            let stage = &plan.stages[step.stage.index()];
            if stage.item != id {
                continue;
            }
            let (Some(service), Some(target)) = (step.action.service, step.action.target) else { continue };
            let branches = deployed.entry(plan.services[service.index()].name.as_str()).or_default();
            let entry = branches.entry(stage.branch as usize).or_insert((step.stage, BTreeSet::new()));
            entry.1.insert(target.0);
        }
        let meetings = judged.meetings(id, BarrierKind::Forward);
        let mut members: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (branch, met) in meetings.iter().enumerate() {
            for meeting in met {
                members.entry(meeting.barrier.0).or_default().push(branch);
            }
        }
        for (service, branches) in deployed {
            let targets: BTreeSet<u32> =
                branches.values().flat_map(|(_, targets)| targets).copied().collect();
            let shared = members
                .values()
                .any(|members| members.iter().filter(|branch| branches.contains_key(branch)).count() > 1);
            if branches.len() < 2 || targets.len() < 2 || shared {
                continue;
            }
            debug_assert!(
                item.branches.iter().any(|branch| matches!(branch.parts.first(), Some(Part::Stage(_))))
            );
            let mut diagnostic = Diagnostic::new(
                &RULE,
                origins.items[id.index()],
                format!("`{service}` goes to {} targets at once, and nothing joins them", targets.len()),
            )
            .label("one may succeed and another fail")
            .help("let their workflows meet at a `barrier` after the deployment, or write `parallel all_or_nothing`");
            for (stage, _) in branches.values().take(4) {
                let name = &plan.stages[stage.index()].name;
                diagnostic = diagnostic.also(origins.stages[stage.index()], format!("stage `{name}`"));
            }
            sink.push(diagnostic);
        }
    }
}
