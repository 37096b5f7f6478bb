//! Small plans from small texts.
//!
//! A stage is written as a line of words: `x` a step, `x!` a step that changes its target and can be undone, `x!!` one
//! that is irreversible, `x?` a step whose condition is open, `x~` a step that can be cut short, `@x` a step that asks for
//! an approval, `x&y` parallel steps, `|B` a barrier (`|B?` with an open condition), `/` a new phase. A stage called `@x` is an approval in the lane.

use lockstep_plan::*;

/// A pipeline under construction.
#[derive(Clone, Default)]
pub struct Builder {
    pub plan: Plan,
}

/// What a `parallel` says.
#[derive(Clone, Copy, Default)]
pub struct Shape {
    pub max: Option<u32>,
    pub promise: bool,
}

impl Builder {
    /// One group: branches of stages, each a name, its words, and the rules of its workflow.
    pub fn group(mut self, shape: Shape, branches: &[&[(&str, &str, &[Rule])]]) -> Self {
        let item = ItemId(self.plan.items.len() as u32);
        let number = self.plan.items.len() as u32 + 1;
        let group = Group { number, max: shape.max, all_or_nothing: shape.promise };
        self.plan.items.push(Item { group: Some(group), branches: Vec::new() });
        for (branch, stages) in branches.iter().enumerate() {
            let mut parts = Vec::new();
            for (name, words, rules) in *stages {
                let branch = branch as u32;
                if let Some(name) = name.strip_prefix('@') {
                    let (name, from) = (name.to_owned(), "sre".to_owned());
                    self.plan.approvals.push(Approval { name, item, branch, from, within: 3_600_000 });
                    parts.push(Part::Approval(ApprovalId(self.plan.approvals.len() as u32 - 1)));
                    continue;
                }
                parts.push(Part::Stage(self.stage(item, branch, name, words, rules)));
            }
            let lane = (stages.len() > 1).then(|| format!("lane{branch}"));
            let commit = shape.promise.then(|| {
                let stage = match parts.last() {
                    Some(Part::Stage(stage)) => Some(*stage),
                    _ => None,
                };
                self.place(item, "commit", BarrierKind::Commit, stage, branch as u32, None, Vec::new())
            });
            self.plan.items[item.index()].branches.push(Branch { lane, parts, commit });
        }
        self
    }

    fn stage(&mut self, item: ItemId, branch: u32, name: &str, words: &str, rules: &[Rule]) -> StageId {
        let id = StageId(self.plan.stages.len() as u32);
        let mut scopes = Vec::new();
        if !rules.is_empty() {
            scopes.push(ScopeId(self.plan.scopes.len() as u32));
            self.plan.scopes.push(Scope { owner: format!("workflow {name}"), rules: rules.to_vec() });
        }
        let target = TargetId(self.plan.targets.len() as u32);
        self.plan.targets.push(Target {
            name: format!("env.{name}"),
            provider: "local".into(),
            environment: "env".into(),
            kind: "production".into(),
            settings: Fields::from_iter([("name".into(), Expr::Value(Value::Text(name.into())))]),
            identity: vec!["name".into()],
        });
        self.plan.stages.push(Stage {
            name: name.into(),
            workflow: "work".into(),
            item,
            branch,
            when: Vec::new(),
            phases: Vec::new(),
            positions: Vec::new(),
            rollback: None,
            uses: Vec::new(),
            concurrency: Concurrency::Queue,
            notifies: Vec::new(),
            claim: None,
            rollback_claim: None,
        });
        let mut phases = vec!["p1".to_owned()];
        for word in words.split_whitespace() {
            let phase = phases.len() as u32 - 1;
            let work = if word == "/" {
                phases.push(format!("p{}", phases.len() + 1));
                continue;
            } else if let Some(barrier) = word.strip_prefix('|') {
                let timeout = Some(600_000);
                let (barrier, open) = (barrier.trim_end_matches('?'), barrier.ends_with('?'));
                let place = self.place(
                    item,
                    barrier,
                    BarrierKind::Forward,
                    Some(id),
                    branch,
                    timeout,
                    scopes.clone(),
                );
                if open {
                    let condition = self.condition(&format!("{barrier} of {name}"));
                    self.plan.places[place.index()].when.push(condition);
                }
                Work::Barrier(place)
            } else {
                Work::Steps(
                    word.split('&').map(|word| self.step(id, name, phase, word, target, &scopes)).collect(),
                )
            };
            self.plan.stages[id.index()].positions.push(Position {
                phase,
                sections: Vec::new(),
                when: Vec::new(),
                work,
            });
        }
        self.plan.stages[id.index()].phases = phases
            .into_iter()
            .map(|name| Phase {
                name: name.into(),
                conditions: 0,
                rollback: None,
                uses: Vec::new(),
                claim: None,
            })
            .collect();
        id
    }

    fn step(
        &mut self,
        stage: StageId,
        name: &str,
        phase: u32,
        word: &str,
        target: TargetId,
        scopes: &[ScopeId],
    ) -> StepId {
        let short = word.trim_end_matches(['!', '?', '~']);
        let (provider, short) = match short.strip_prefix('@') {
            Some(short) => ("approval", short),
            None => ("local", short),
        };
        let changes = word.contains('!');
        let full = format!("{name}.p{}.{short}", phase + 1);
        let id = StepId(self.plan.steps.len() as u32);
        let when = word.contains('?').then(|| self.condition(short));
        let step = Step {
            name: full.clone(),
            stage,
            phase: Some(phase),
            role: Role::Forward,
            action: Action {
                provider: provider.into(),
                step: short.into(),
                arguments: Fields::new(),
                target: Some(target),
                service: None,
                files: Vec::new(),
                service_files: Vec::new(),
            },
            when: when.into_iter().collect(),
            timeout: 600_000,
            changes,
            undo: Undo::None,
            idempotent: true,
            interruptible: word.contains('~'),
            scopes: scopes.to_vec(),
            outputs: Fields::new(),
        };
        self.plan.steps.push(step.clone());
        if word.ends_with("!!") {
            self.plan.steps[id.index()].undo = Undo::Irreversible;
        } else if changes {
            let undo = StepId(self.plan.steps.len() as u32);
            self.plan.steps[id.index()].undo = Undo::Derived(undo);
            self.plan.steps.push(Step {
                name: format!("{full}.undo"),
                role: Role::Undo(id),
                when: Vec::new(),
                changes: true,
                scopes: Vec::new(),
                ..step
            });
        }
        id
    }

    /// A condition that holds unless the run is started by somebody who skips that.
    fn condition(&mut self, short: &str) -> ConditionId {
        let skips = Expr::Binary(
            Operator::Equal,
            Box::new(Expr::Run(RunFact::By)),
            Box::new(Expr::Value(Value::Text(format!("skips {short}")))),
        );
        self.plan.conditions.push(Expr::Not(Box::new(skips)));
        ConditionId(self.plan.conditions.len() as u32 - 1)
    }

    #[allow(clippy::too_many_arguments)]
    fn place(
        &mut self,
        item: ItemId,
        name: &str,
        kind: BarrierKind,
        stage: Option<StageId>,
        branch: u32,
        timeout: Option<u64>,
        scopes: Vec<ScopeId>,
    ) -> PlaceId {
        let id = PlaceId(self.plan.places.len() as u32);
        let same = |barrier: &Barrier| barrier.name == name && barrier.item == item && barrier.kind == kind;
        let at = match self.plan.barriers.iter().position(same) {
            Some(at) => at,
            None => {
                self.plan.barriers.push(Barrier { name: name.into(), item, kind, places: Vec::new() });
                self.plan.barriers.len() - 1
            }
        };
        self.plan.barriers[at].places.push(id);
        let stage_name = stage.map(|stage| self.plan.stages[stage.index()].name.clone()).unwrap_or_default();
        self.plan.places.push(Place {
            name: format!("{stage_name}.{name}"),
            barrier: BarrierId(at as u32),
            stage,
            branch,
            when: Vec::new(),
            timeout,
            scopes,
            skipped: false,
        });
        id
    }

    /// Gives a phase of a stage a rollback block, written like a stage: `x` a step, `|B` a rollback barrier.
    pub fn rollback(mut self, stage: &str, phase: u32, words: &str) -> Self {
        let at = self.plan.stages.iter().position(|known| known.name == stage).expect("a stage of that name");
        let (item, branch) = (self.plan.stages[at].item, self.plan.stages[at].branch);
        let id = StageId(at as u32);
        let target = TargetId(at as u32);
        let block = words
            .split_whitespace()
            .map(|word| match word.strip_prefix('|') {
                Some(name) => {
                    let timeout = Some(600_000);
                    BlockItem::Barrier(self.place(
                        item,
                        name,
                        BarrierKind::Rollback,
                        Some(id),
                        branch,
                        timeout,
                        Vec::new(),
                    ))
                }
                None => {
                    let step = self.step(id, stage, phase, word, target, &[]);
                    self.plan.steps[step.index()].role = Role::Block;
                    self.plan.steps[step.index()].name = format!("{stage}.p{}.rollback.{word}", phase + 1);
                    BlockItem::Steps(vec![step])
                }
            })
            .collect();
        self.plan.stages[at].phases[phase as usize].rollback = Some(block);
        self
    }

    /// Has a stage, or one of its phases, hold permits of a resource that has one of them.
    pub fn holding(mut self, stage: &str, phase: Option<usize>, resource: &str) -> Self {
        self.plan.resources.insert(resource.into(), 1);
        let stage =
            self.plan.stages.iter_mut().find(|known| known.name == stage).expect("a stage of that name");
        let uses = match phase {
            Some(phase) => &mut stage.phases[phase].uses,
            None => &mut stage.uses,
        };
        uses.push(Use { resource: resource.into(), permits: 1 });
        self
    }

    /// Everything is claimed as the compiler has it.
    pub fn claiming(mut self) -> Self {
        self.plan.join_claims();
        self
    }

    pub fn done(self) -> Plan {
        self.plan
    }
}

/// A rule for every kind, or for one.
pub fn rule(kinds: &[Kind], reaction: Reaction) -> Rule {
    Rule { kinds: kinds.to_vec(), under: None, reaction }
}

/// `retry N every 1s then …`
pub fn retry(times: u32, then: Reaction) -> Reaction {
    Reaction::Retry { times, every: vec![1000], then: Box::new(then) }
}

/// `ask sre within 1h then …`
pub fn ask(then: Reaction) -> Reaction {
    Reaction::Ask { group: "sre".into(), within: 3_600_000, then: Box::new(then) }
}
