//! Stages of a workflow that another stage has been lowered for, with arguments that make no difference: they take over what was
//! made for that one, under their own names. So a loop over targets costs one round, and a copy for each of the others.
//!
//! Only plans for checking are made so. They hold little of what depends on the arguments: mostly nothing has asked for the
//! target's settings or the stage's name, and then two stages of a group differ in these alone.

use super::Lowerer;
use super::value::{Val, Vars};
use crate::model::DeclId;
use lockstep_plan::{
    Action, BlockItem, Phase, Place, PlaceId, Position, Role, ScopeId, StageId, Step, StepId, TargetId, Undo,
    Work,
};

/// How much had been made at some moment.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    steps: usize,
    places: usize,
    scopes: usize,
    reports: usize,
    /// What was left of the budget.
    left: usize,
}

/// What was made of a workflow for one stage.
#[derive(Debug)]
pub struct Made<'p> {
    /// The values of its parameters.
    vars: Vars<'p>,
    stage: StageId,
    from: Extent,
    to: Extent,
}

/// How far the elements of a copy are from those that it is a copy of, and whose they are.
struct Copied<'n> {
    steps: u32,
    places: u32,
    scopes: u32,
    stage: StageId,
    /// The length of the name that theirs begin with, and what stands in its place.
    name: (usize, &'n str),
    /// The target of the first, and the copy's.
    target: Option<(TargetId, TargetId)>,
}

impl<'p> Lowerer<'_, 'p> {
    /// How much has been made up to now.
    pub(super) fn extent(&self) -> Extent {
        let (steps, places, scopes) = (self.plan.steps.len(), self.plan.places.len(), self.plan.scopes.len());
        Extent { steps, places, scopes, reports: self.sink.len(), left: self.budget.plans }
    }

    /// Remembers what was made of a workflow for a stage since then, unless it depends on the stage, or there was something to
    /// say about it.
    pub(super) fn remember(&mut self, workflow: DeclId, vars: Vars<'p>, stage: StageId, from: Extent) {
        let to = self.extent();
        if self.copies && !self.asked && to.reports == from.reports && to.left > 0 {
            self.made.insert(workflow, Made { vars, stage, from, to });
        }
    }

    /// Makes of a workflow for a stage, which is in the plan already, what has been made for an earlier one. False where that
    /// would not be the same.
    pub(super) fn copied(&mut self, workflow: DeclId, vars: &Vars<'p>, stage: StageId) -> bool {
        let Some(made) = self.made.get(&workflow) else { return false };
        let Some(target) = self.difference(&made.vars, vars) else { return false };
        let (from, to, first) = (made.from, made.to, made.stage);
        let item = |id: StageId| self.plan.stages[id.index()].item;
        // Barriers are those of an item.
        if to.places > from.places && item(first) != item(stage) {
            return false;
        }
        let length = self.plan.stages[first.index()].name.len();
        let name = self.plan.stages[stage.index()].name.clone();
        let copied = Copied {
            steps: (self.plan.steps.len() - from.steps) as u32,
            places: (self.plan.places.len() - from.places) as u32,
            scopes: (self.plan.scopes.len() - from.scopes) as u32,
            stage,
            name: (length, &name),
            target,
        };
        self.plan.scopes.extend_from_within(from.scopes..to.scopes);
        self.origins.scopes.extend_from_within(from.scopes..to.scopes);
        for index in from.steps..to.steps {
            let step = copied.step(&self.plan.steps[index]);
            self.plan.steps.push(step);
        }
        self.origins.steps.extend_from_within(from.steps..to.steps);
        let branch = self.plan.stages[stage.index()].branch;
        for index in from.places..to.places {
            let place = copied.place(&self.plan.places[index], branch);
            let id = PlaceId(self.plan.places.len() as u32);
            self.plan.barriers[place.barrier.index()].places.push(id);
            self.plan.places.push(place);
        }
        self.origins.places.extend_from_within(from.places..to.places);
        let phases = self.origins.phases[first.index()].clone();
        self.origins.phases[stage.index()] = phases;
        let like = &self.plan.stages[first.index()];
        let phases = like.phases.iter().map(|phase| copied.phase(phase)).collect();
        let positions = like.positions.iter().map(|position| copied.position(position)).collect();
        let rollback = like.rollback.as_deref().map(|block| copied.block(block));
        let (uses, notifies) = (like.uses.clone(), like.notifies.clone());
        let own = &mut self.plan.stages[stage.index()];
        (own.phases, own.positions, own.rollback) = (phases, positions, rollback);
        (own.uses, own.notifies) = (uses, notifies);
        // What a copy holds counts as much as what was made.
        self.charge(from.left - to.left);
        true
    }

    /// In what two stages' arguments differ: in nothing, or in their targets, if these are of one kind. None where they differ in
    /// something else.
    fn difference(&self, one: &Vars<'p>, two: &Vars<'p>) -> Option<Option<(TargetId, TargetId)>> {
        let (one, two) = (one.as_slice(), two.as_slice());
        let mut target = None;
        for ((_, one), (_, two)) in one.iter().zip(two) {
            match (one, two) {
                (Val::Target(one), Val::Target(two)) if target.is_none() => {
                    let provider = |id: TargetId| &self.plan.targets[id.index()].provider;
                    if provider(*one) != provider(*two) {
                        return None;
                    }
                    target = Some((*one, *two));
                }
                _ if one == two => {}
                _ => return None,
            }
        }
        (one.len() == two.len()).then_some(target)
    }
}

impl Copied<'_> {
    fn step_id(&self, id: StepId) -> StepId {
        StepId(id.0 + self.steps)
    }

    fn scopes(&self, scopes: &[ScopeId]) -> Vec<ScopeId> {
        scopes.iter().map(|id| ScopeId(id.0 + self.scopes)).collect()
    }

    fn name(&self, name: &str) -> String {
        [self.name.1, &name[self.name.0..]].concat()
    }

    fn step(&self, it: &Step) -> Step {
        let Action { provider, step, arguments, target, service, files, service_files } = &it.action;
        let target = match self.target {
            Some((old, new)) if *target == Some(old) => Some(new),
            _ => *target,
        };
        Step {
            name: self.name(&it.name),
            stage: self.stage,
            phase: it.phase,
            role: match it.role {
                Role::Undo(of) => Role::Undo(self.step_id(of)),
                role => role,
            },
            action: Action {
                provider: provider.clone(),
                step: step.clone(),
                arguments: arguments.clone(),
                target,
                service: *service,
                files: files.clone(),
                service_files: service_files.clone(),
            },
            when: it.when.clone(),
            timeout: it.timeout,
            changes: it.changes,
            undo: match it.undo {
                Undo::Derived(undo) => Undo::Derived(self.step_id(undo)),
                Undo::Block(undo) => Undo::Block(self.step_id(undo)),
                Undo::Irreversible => Undo::Irreversible,
                Undo::None => Undo::None,
            },
            idempotent: it.idempotent,
            interruptible: it.interruptible,
            scopes: self.scopes(&it.scopes),
            outputs: it.outputs.clone(),
        }
    }

    fn place(&self, it: &Place, branch: u32) -> Place {
        Place {
            name: self.name(&it.name),
            barrier: it.barrier,
            stage: Some(self.stage),
            branch,
            when: it.when.clone(),
            timeout: it.timeout,
            scopes: self.scopes(&it.scopes),
            skipped: false,
        }
    }

    fn place_id(&self, id: PlaceId) -> PlaceId {
        PlaceId(id.0 + self.places)
    }

    fn steps(&self, steps: &[StepId]) -> Vec<StepId> {
        steps.iter().map(|id| self.step_id(*id)).collect()
    }

    fn block(&self, block: &[BlockItem]) -> Vec<BlockItem> {
        let item = |item: &BlockItem| match item {
            BlockItem::Steps(steps) => BlockItem::Steps(self.steps(steps)),
            BlockItem::Barrier(place) => BlockItem::Barrier(self.place_id(*place)),
        };
        block.iter().map(item).collect()
    }

    fn phase(&self, it: &Phase) -> Phase {
        Phase {
            name: it.name.clone(),
            conditions: it.conditions,
            rollback: it.rollback.as_deref().map(|block| self.block(block)),
            uses: it.uses.clone(),
            claim: it.claim,
        }
    }

    fn position(&self, it: &Position) -> Position {
        Position {
            phase: it.phase,
            sections: it.sections.clone(),
            when: it.when.clone(),
            work: match &it.work {
                Work::Steps(steps) => Work::Steps(self.steps(steps)),
                Work::Barrier(place) => Work::Barrier(self.place_id(*place)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Budget, lower_with, of_text};
    use crate::model::Model;

    const SOURCE: &str = r#"
group sre { members = ["ada"] }
resource tables { capacity = 9 }
service shop(version: string) = kubernetes {
  artifact  = docker_image { image = "shop", tag = version }
  manifests = ["k8s/*.yaml"]
}
environment production {
  kind = production
  infrastructure a = kubernetes { context = "prod", namespace = "a" }
  infrastructure b = kubernetes { context = "prod", namespace = "b" }
  infrastructure c = kubernetes { context = "prod", namespace = "c" }
}
environment test {
  infrastructure local = local { root = "/srv" }
}
workflow rolling(service: service<kubernetes>, infra: infrastructure<kubernetes>, quick: bool = false) {
  use tables
  phase prepare {
    use tables { permits = 2 }
    step migrate = shell { script = "up", changes = true, undone_by = unmigrate }
    rollback { step unmigrate = shell { script = "down" } }
  }
  phase deploy {
    skip if quick
    step rollout = kubernetes.rolling { timeout = 15m }
    section look {
      parallel {
        step one = shell { script = "${infra.namespace} ${stage.name} ${rollout.revision}" }
        step two = shell { script = "two" }
      }
      on failure of verification { ask sre within 30m then rollback }
    }
    barrier meet { timeout = 1h }
    on failure of timeout { retry 2 every 10s then rollback }
  }
  on failure { rollback }
}
workflow asking(infra: infrastructure<kubernetes>) {
  phase p {
    step s = shell { script = "x", skip if infra.namespace == "b" }
    step t = kubernetes.rolling { timeout = 1m }
  }
}
workflow undoing(infra: infrastructure) {
  phase p {
    step s = shell { script = "x", changes = true, undone_by = back }
    barrier b { timeout = 1h }
  }
  rollback {
    barrier r { timeout = 1h }
    step back = shell { script = "y" }
  }
}
pipeline release(version: string, quick: bool = true) {
  parallel {
    for target in production.* {
      stage deploy[target] = rolling { service = shop { version }, infra = target, quick }
    }
    stage last = rolling { service = shop { version = "1" }, infra = production.a }
    stage same = rolling { service = shop { version = "1" }, infra = production.b }
  }
  for target in production.* {
    stage ask[target] = asking { infra = target }
  }
  stage alone = undoing { infra = production.a }
  parallel {
    stage x = undoing { infra = production.a }
    stage y = undoing { infra = test.local }
    stage z = undoing { infra = test.local, only if quick }
  }
}
"#;

    #[test]
    fn a_copy_is_what_would_have_been_made() {
        let program = of_text::program(SOURCE);
        let model = Model::new(&program);
        let pipeline = model.declarations().find(|id| model.name(*id) == "release").expect("a pipeline");
        let lower = |copies: bool| {
            let (mut budget, mut found) = (Budget::of(&program), Vec::new());
            let lowered = lower_with(&model, pipeline, &mut budget, &mut found, copies);
            (format!("{lowered:#?}"), format!("{found:#?}"))
        };
        let (made, copied) = (lower(false), lower(true));
        assert!(made.0.contains("deploy[b].deploy.rollout.undo"), "{}", made.0);
        assert_eq!(made, copied);
    }
}
