//! Plans as text for people.

use crate::{Barrier, BarrierKind, Part, PlaceId, Plan, StageId, StepId, Undo, Value, Work, format_duration};
use compact_str::CompactString;
use std::fmt::Write;

/// A plan as an indented list.
pub fn plan_text(plan: &Plan) -> String {
    let mut out = String::new();
    let arguments: Vec<String> =
        plan.arguments.iter().map(|(name, value)| format!("{name} = {}", quoted(value))).collect();
    line(&mut out, 0, &format!("pipeline {}({})", plan.pipeline, arguments.join(", ")));
    for item in &plan.items {
        let mut depth = 1;
        if let Some(group) = item.group {
            let max = group.max.map(|max| format!(" max {max}")).unwrap_or_default();
            let promise = if group.all_or_nothing { " all_or_nothing" } else { "" };
            line(&mut out, 1, &format!("parallel{max}{promise}"));
            depth = 2;
        }
        for branch in &item.branches {
            let mut depth = depth;
            if let Some(lane) = &branch.lane {
                line(&mut out, depth, &format!("lane {lane}"));
                depth += 1;
            }
            for part in &branch.parts {
                match part {
                    Part::Stage(stage) => stage_text(&mut out, plan, *stage, depth),
                    Part::Approval(approval) => {
                        let approval = &plan.approvals[approval.index()];
                        let within = format_duration(approval.within);
                        line(
                            &mut out,
                            depth,
                            &format!("approval {} from {} within {within}", approval.name, approval.from),
                        );
                    }
                }
            }
            if let Some(place) = branch.commit {
                let meets = meets(plan, place);
                line(&mut out, depth, &format!("◆ barrier commit{meets}"));
            }
        }
    }
    out
}

fn stage_text(out: &mut String, plan: &Plan, id: StageId, depth: usize) {
    let stage = &plan.stages[id.index()];
    let targets: Vec<&str> =
        plan.targets_of(id).into_iter().map(|target| plan.targets[target.index()].name.as_str()).collect();
    let targets = if targets.is_empty() { String::new() } else { format!(" → {}", targets.join(", ")) };
    line(
        out,
        depth,
        &format!("stage {} = {}{targets}{}", stage.name, stage.workflow, condition(plan, &stage.when)),
    );
    let mut phase = None;
    let mut sections: &[CompactString] = &[];
    for position in &stage.positions {
        if phase != Some(position.phase) {
            phase = Some(position.phase);
            sections = &[];
            line(out, depth + 1, &format!("phase {}", stage.phases[position.phase as usize].name));
        }
        if sections != position.sections.as_slice() {
            sections = &position.sections;
            if let Some(section) = sections.last() {
                line(out, depth + 2, &format!("section {section}"));
            }
        }
        let depth = depth + 2 + sections.len();
        match &position.work {
            Work::Steps(steps) if steps.len() > 1 => {
                line(out, depth, "parallel");
                steps.iter().for_each(|step| step_text(out, plan, *step, depth + 1, &position.when));
            }
            Work::Steps(steps) => {
                steps.iter().for_each(|step| step_text(out, plan, *step, depth, &position.when))
            }
            Work::Barrier(place) => {
                let data = &plan.places[place.index()];
                let barrier = &plan.barriers[data.barrier.index()];
                let timeout = data.timeout.map(|timeout| format!(", timeout {}", format_duration(timeout)));
                let condition = condition(plan, &[position.when.as_slice(), &data.when].concat());
                let text = format!(
                    "◆ barrier {}{}{}{condition}",
                    barrier.name,
                    meets(plan, *place),
                    timeout.unwrap_or_default()
                );
                line(out, depth, &text);
            }
        }
    }
}

fn step_text(out: &mut String, plan: &Plan, id: StepId, depth: usize, when: &[crate::ConditionId]) {
    let step = &plan.steps[id.index()];
    let name = step.name.rsplit('.').next().unwrap_or(&step.name);
    let undo = match &step.undo {
        Undo::Derived(undo) => format!(", undone by {}", plan.steps[undo.index()].action.name()),
        Undo::Block(undo) => format!(", undone by {}", plan.steps[undo.index()].name),
        Undo::Irreversible => ", irreversible".into(),
        Undo::None => String::new(),
    };
    let condition = condition(plan, &[when, &step.when].concat());
    let timeout = format_duration(step.timeout);
    line(out, depth, &format!("{name} = {} (timeout {timeout}{undo}){condition}", step.action.name()));
}

/// What conditions come to before the run.
fn condition(plan: &Plan, when: &[crate::ConditionId]) -> String {
    let mut open = false;
    for condition in when {
        match plan.conditions[condition.index()].as_value() {
            Some(Value::Bool(false)) => return "  skipped".into(),
            Some(_) => {}
            None => open = true,
        }
    }
    if open { "  if its condition holds".into() } else { String::new() }
}

fn meets(plan: &Plan, place: PlaceId) -> String {
    let barrier: &Barrier = &plan.barriers[plan.places[place.index()].barrier.index()];
    let peers: Vec<&str> = barrier
        .places
        .iter()
        .filter(|peer| **peer != place)
        .filter_map(|peer| plan.places[peer.index()].stage)
        .map(|stage| plan.stages[stage.index()].name.as_str())
        .collect();
    let kind = if barrier.kind == BarrierKind::Rollback { " on rollback" } else { "" };
    match peers.len() {
        0 => format!("{kind} alone"),
        1..=4 => format!("{kind} with {}", peers.join(", ")),
        count => format!("{kind} with {}, … ({count} others)", peers[..3].join(", ")),
    }
}

/// A value as the language writes it.
pub(super) fn quoted(value: &Value) -> String {
    match value {
        Value::Text(text) | Value::Path(text) => format!("{text:?}"),
        other => other.to_string(),
    }
}

fn line(out: &mut String, depth: usize, text: &str) {
    let _ = writeln!(out, "{:indent$}{text}", "", indent = depth * 2);
}
