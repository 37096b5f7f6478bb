//! The JSON forms of plans and simulations: `docs/plan.schema.json` and `docs/simulate.schema.json`.

use super::events::{EventLine, event_line};
use crate::machine::BarrierState;
use crate::{Plan, RunOutcome, Simulation, StageId, Value, format_duration};
use petgraph::visit::EdgeRef;
use serde::Serialize;
use std::collections::BTreeMap;

/// A plan.
#[derive(Debug, Serialize)]
pub struct PlanJson {
    version: u32,
    pipeline: String,
    arguments: BTreeMap<String, String>,
    stages: Vec<PlanStage>,
    nodes: Vec<PlanNode>,
    edges: Vec<PlanEdge>,
}

#[derive(Debug, Serialize)]
struct PlanStage {
    name: String,
    workflow: String,
    group: Option<u32>,
    lane: Option<String>,
    phases: Vec<String>,
    targets: Vec<String>,
}

#[derive(Debug, Serialize)]
struct PlanNode {
    id: String,
    kind: &'static str,
    stage: Option<String>,
    phase: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
}

#[derive(Debug, Serialize)]
struct PlanEdge {
    from: String,
    to: String,
    kind: &'static str,
}

/// The form of a plan.
pub fn plan_json(plan: &Plan) -> PlanJson {
    let graph = plan.graph();
    let steps: BTreeMap<&str, &crate::Step> =
        plan.steps.iter().map(|step| (step.name.as_str(), step)).collect();
    let nodes = graph.node_weights().map(|node| {
        let step = steps.get(node.id.as_str());
        PlanNode {
            id: node.id.clone(),
            kind: node.kind.name(),
            stage: node.stage.clone(),
            phase: node.phase.clone(),
            action: step.map(|step| step.action.name()),
            timeout: step.map(|step| format_duration(step.timeout)),
        }
    });
    let edges = graph.edge_references().map(|edge| PlanEdge {
        from: graph[edge.source()].id.clone(),
        to: graph[edge.target()].id.clone(),
        kind: edge.weight().name(),
    });
    PlanJson {
        version: 1,
        pipeline: plan.pipeline.clone(),
        arguments: plan.arguments.iter().map(|(name, value)| (name.clone(), value.to_string())).collect(),
        stages: (0..plan.stages.len()).map(|index| plan_stage(plan, StageId(index as u32))).collect(),
        nodes: nodes.collect(),
        edges: edges.collect(),
    }
}

fn plan_stage(plan: &Plan, id: StageId) -> PlanStage {
    let stage = &plan.stages[id.index()];
    let item = &plan.items[stage.item.index()];
    PlanStage {
        name: stage.name.clone(),
        workflow: stage.workflow.to_string(),
        group: item.group.map(|group| group.number),
        lane: item.branches[stage.branch as usize].lane.clone(),
        phases: stage.phases.iter().map(|phase| phase.name.to_string()).collect(),
        targets: plan
            .targets_of(id)
            .into_iter()
            .map(|target| plan.targets[target.index()].name.clone())
            .collect(),
    }
}

/// A simulation.
#[derive(Debug, Serialize)]
pub struct SimulationJson {
    version: u32,
    outcome: &'static str,
    stages: BTreeMap<String, StageJson>,
    barriers: BTreeMap<String, &'static str>,
    broken_promises: Vec<u32>,
    outside_promises: Vec<u32>,
    events: Vec<TimedEvent>,
}

/// How a stage ended.
#[derive(Debug, Serialize)]
pub struct StageJson {
    /// One of the words of `CLI.md`.
    pub outcome: &'static str,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Debug, Serialize)]
struct TimedEvent {
    at: String,
    #[serde(flatten)]
    line: EventLine,
}

/// The form of a simulation.
pub fn simulation_json(plan: &Plan, simulation: &Simulation) -> SimulationJson {
    let stages = plan.stages.iter().enumerate().map(|(index, stage)| {
        let outcome = simulation.state.stage_outcome(StageId(index as u32));
        let reason = simulation.state.stages[index].cause.as_ref().map(|cause| cause.describe(plan));
        (stage.name.clone(), StageJson { outcome: outcome.map_or("stuck", |outcome| outcome.name()), reason })
    });
    let barriers = plan.barrier_names().into_iter().zip(&simulation.state.barriers);
    let barriers = barriers.map(|(name, state)| (name, barrier_word(state)));
    let events = simulation
        .events
        .iter()
        .map(|(at, happening)| TimedEvent { at: format_duration(*at), line: event_line(plan, happening) });
    SimulationJson {
        version: 1,
        outcome: simulation.outcome.map_or("needs_person", RunOutcome::name),
        stages: stages.collect(),
        barriers: barriers.collect(),
        broken_promises: simulation.broken.clone(),
        outside_promises: simulation.outside.clone(),
        events: events.collect(),
    }
}

/// As output forms spell it.
pub(super) fn barrier_word(state: &BarrierState) -> &'static str {
    match state {
        BarrierState::Open => "open",
        BarrierState::Broken => "broken",
        BarrierState::Undecided { .. } => "not_reached",
    }
}

impl Plan {
    /// The targets that a stage works on, in the order in which it first does.
    pub fn targets_of(&self, stage: StageId) -> Vec<crate::TargetId> {
        let mut targets = Vec::new();
        for position in &self.stages[stage.index()].positions {
            if let crate::Work::Steps(steps) = &position.work {
                for step in steps {
                    if let Some(target) = self.steps[step.index()].action.target
                        && !targets.contains(&target)
                    {
                        targets.push(target);
                    }
                }
            }
        }
        targets
    }

    /// The step of that full name.
    pub fn step_named(&self, name: &str) -> Option<crate::StepId> {
        let at = self.steps.iter().position(|step| step.name == name)?;
        Some(crate::StepId(at as u32))
    }
}

impl crate::Action {
    /// As the language writes it: `local.deploy`, `shell`.
    pub fn name(&self) -> String {
        if self.provider == self.step {
            self.step.to_string()
        } else {
            format!("{}.{}", self.provider, self.step)
        }
    }
}

impl crate::Target {
    /// A setting, where it is constant.
    pub fn setting(&self, name: &str) -> Option<&Value> {
        self.settings.get(name)?.as_value()
    }
}
