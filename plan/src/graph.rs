//! The plan as a graph: what comes before what, what meets, what undoes what.

use crate::{BarrierKind, BlockItem, Part, PlaceId, Plan, Role, StepId, Work};
use petgraph::graph::{DiGraph, NodeIndex};

/// A plan's graph.
pub type Graph = DiGraph<Node, Edge>;

/// A node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Unique: the element's full name.
    pub id: String,
    /// What it is.
    pub kind: NodeKind,
    /// Its stage.
    pub stage: Option<String>,
    /// Its phase.
    pub phase: Option<String>,
}

/// Kinds of node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A step of a phase.
    Step,
    /// A step that undoes, or one of a rollback block.
    Rollback,
    /// A place where a barrier stands.
    Barrier,
    /// A person's go-ahead.
    Approval,
    /// Where branches come together before others start.
    Join,
}

impl NodeKind {
    /// As output forms spell it.
    pub fn name(self) -> &'static str {
        match self {
            NodeKind::Step => "step",
            NodeKind::Rollback => "rollback",
            NodeKind::Barrier => "barrier",
            NodeKind::Approval => "approval",
            NodeKind::Join => "join",
        }
    }
}

/// Kinds of edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// The second starts when the first has ended.
    Order,
    /// Both are places of one barrier: neither goes on without the other.
    Barrier,
    /// The second undoes the first.
    Rollback,
}

impl Edge {
    /// As output forms spell it.
    pub fn name(self) -> &'static str {
        match self {
            Edge::Order => "order",
            Edge::Barrier => "barrier",
            Edge::Rollback => "rollback",
        }
    }
}

impl Plan {
    /// The graph. Its size is linear in the plan's.
    pub fn graph(&self) -> Graph {
        Builder {
            plan: self,
            graph: Graph::new(),
            places: vec![None; self.places.len()],
            steps: vec![None; self.steps.len()],
        }
        .build()
    }
}

struct Builder<'a> {
    plan: &'a Plan,
    graph: Graph,
    places: Vec<Option<NodeIndex>>,
    steps: Vec<Option<NodeIndex>>,
}

impl Builder<'_> {
    fn build(mut self) -> Graph {
        let mut before = Vec::new();
        for (index, item) in self.plan.items.iter().enumerate() {
            if before.len() > 1 && item.branches.len() > 1 {
                let id = format!("join[{}]", index + 1);
                let join = self.graph.add_node(Node { id, kind: NodeKind::Join, stage: None, phase: None });
                self.order(&before, &[join]);
                before = vec![join];
            }
            let mut ends = Vec::new();
            for branch in &item.branches {
                let mut last = before.clone();
                for part in &branch.parts {
                    match part {
                        Part::Stage(stage) => {
                            for position in &self.plan.stages[stage.index()].positions {
                                let next = match &position.work {
                                    Work::Steps(steps) => steps.iter().map(|step| self.step(*step)).collect(),
                                    Work::Barrier(place) => vec![self.place(*place, Some(position.phase))],
                                };
                                last = self.chain(last, next);
                            }
                        }
                        Part::Approval(approval) => {
                            let id = self.plan.approvals[approval.index()].name.clone();
                            let node = Node { id, kind: NodeKind::Approval, stage: None, phase: None };
                            let next = vec![self.graph.add_node(node)];
                            last = self.chain(last, next);
                        }
                    }
                }
                if let Some(place) = branch.commit {
                    let next = vec![self.place(place, None)];
                    last = self.chain(last, next);
                }
                ends.extend(last);
            }
            ends.dedup();
            before = ends;
        }
        self.rollbacks();
        self.meetings();
        self.graph
    }

    /// Puts `next` after `last`; gives what comes last now. Many to many would be quadratic, so it goes through a join.
    fn chain(&mut self, last: Vec<NodeIndex>, next: Vec<NodeIndex>) -> Vec<NodeIndex> {
        if next.is_empty() {
            return last;
        }
        if last.len() > 1 && next.len() > 1 {
            let id = format!("join before {}", self.graph[next[0]].id);
            let stage = self.graph[next[0]].stage.clone();
            let join = self.graph.add_node(Node { id, kind: NodeKind::Join, stage, phase: None });
            self.order(&last, &[join]);
            self.order(&[join], &next);
        } else {
            self.order(&last, &next);
        }
        next
    }

    fn order(&mut self, from: &[NodeIndex], to: &[NodeIndex]) {
        for &from in from {
            for &to in to {
                self.graph.add_edge(from, to, Edge::Order);
            }
        }
    }

    fn step(&mut self, step: StepId) -> NodeIndex {
        let data = &self.plan.steps[step.index()];
        let stage = &self.plan.stages[data.stage.index()];
        let node = self.graph.add_node(Node {
            id: data.name.clone(),
            kind: if data.role == Role::Forward { NodeKind::Step } else { NodeKind::Rollback },
            stage: Some(stage.name.clone()),
            phase: data.phase.map(|phase| stage.phases[phase as usize].name.to_string()),
        });
        self.steps[step.index()] = Some(node);
        node
    }

    fn place(&mut self, place: PlaceId, phase: Option<u32>) -> NodeIndex {
        let data = &self.plan.places[place.index()];
        let stage = data.stage.map(|stage| &self.plan.stages[stage.index()]);
        let node = self.graph.add_node(Node {
            id: data.name.clone(),
            kind: NodeKind::Barrier,
            stage: stage.map(|stage| stage.name.clone()),
            phase: stage.zip(phase).map(|(stage, phase)| stage.phases[phase as usize].name.to_string()),
        });
        self.places[place.index()] = Some(node);
        node
    }

    /// Steps and barriers of rollbacks, in the order of the plan.
    fn rollbacks(&mut self) {
        for stage in &self.plan.stages {
            let blocks =
                stage.phases.iter().filter_map(|phase| phase.rollback.as_ref()).chain(&stage.rollback);
            for block in blocks {
                let mut last = Vec::new();
                for item in block {
                    let next = match item {
                        BlockItem::Steps(steps) => steps.iter().map(|step| self.step(*step)).collect(),
                        BlockItem::Barrier(place) => vec![self.place(*place, None)],
                    };
                    last = self.chain(last, next);
                }
            }
        }
        for (index, step) in self.plan.steps.iter().enumerate() {
            let Some(undo) = step.undo.step() else { continue };
            let Some(from) = self.steps[index] else { continue };
            let to = match self.steps[undo.index()] {
                Some(node) => node,
                None => self.step(undo),
            };
            self.graph.add_edge(from, to, Edge::Rollback);
        }
    }

    /// Places of one barrier, chained: each meets the next.
    fn meetings(&mut self) {
        for barrier in &self.plan.barriers {
            debug_assert!(barrier.kind != BarrierKind::Commit || !barrier.places.is_empty());
            for pair in barrier.places.windows(2) {
                if let (Some(from), Some(to)) = (self.places[pair[0].index()], self.places[pair[1].index()]) {
                    self.graph.add_edge(from, to, Edge::Barrier);
                }
            }
        }
    }
}
