//! Branches that are alike but for names: what comes of a failure in one comes of the same failure in the other.
//!
//! Two branches of a group are twins when they do the same at the same places, under the same rules and conditions, and meet
//! the same barriers. Swapping them turns every execution into another one, for a rehearsal lets nothing depend on which
//! comes first (see [`crate::simulate`]), unless `max` lets only some of them run, they wait for each other's claims or
//! directories, or a rollback asks for names.

use crate::rehearsal::Rehearsal;
use crate::roots::Roots;
use crate::tickets;
use crate::{
    ApprovalId, BlockItem, Chosen, ClaimId, ConditionId, Expr, FailureFact, Fallible, Fields, Part, PlaceId,
    Plan, Question, Readable, Role, Scenario, ScopeId, StageId, StepId, Undo, Work,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// What belongs to a branch, in an order that twins share.
#[derive(Debug, Default)]
struct Members {
    stages: Vec<StageId>,
    steps: Vec<StepId>,
    places: Vec<PlaceId>,
    approvals: Vec<ApprovalId>,
    /// The first of its twins.
    first: usize,
}

/// The branches of a plan, and which are alike.
pub(crate) struct Twins {
    branches: Vec<Members>,
    /// For each stage, step, place and approval: its branch, and where it is in it.
    stages: Vec<(usize, usize)>,
    steps: Vec<(usize, usize)>,
    places: Vec<(usize, usize)>,
    approvals: Vec<(usize, usize)>,
}

impl Twins {
    /// Finds them. What the scenario says of them has to be the same, too.
    pub fn new(plan: &Plan, scenario: &Scenario) -> Self {
        let mut branches: Vec<Members> = Vec::new();
        let mut begins = Vec::new();
        for item in &plan.items {
            begins.push(branches.len());
            branches.extend(item.branches.iter().map(|_| Members::default()));
        }
        let mut twins = Twins {
            stages: Vec::new(),
            steps: Vec::new(),
            places: Vec::new(),
            approvals: Vec::new(),
            branches: Vec::new(),
        };
        for (index, stage) in plan.stages.iter().enumerate() {
            let branch = begins[stage.item.index()] + stage.branch as usize;
            twins.stages.push((branch, branches[branch].stages.len()));
            branches[branch].stages.push(StageId(index as u32));
        }
        for (index, step) in plan.steps.iter().enumerate() {
            let (branch, _) = twins.stages[step.stage.index()];
            twins.steps.push((branch, branches[branch].steps.len()));
            branches[branch].steps.push(StepId(index as u32));
        }
        for (index, place) in plan.places.iter().enumerate() {
            let item = plan.barriers[place.barrier.index()].item;
            let branch = begins[item.index()] + place.branch as usize;
            twins.places.push((branch, branches[branch].places.len()));
            branches[branch].places.push(PlaceId(index as u32));
        }
        for (index, approval) in plan.approvals.iter().enumerate() {
            let branch = begins[approval.item.index()] + approval.branch as usize;
            twins.approvals.push((branch, branches[branch].approvals.len()));
            branches[branch].approvals.push(ApprovalId(index as u32));
        }
        twins.branches = branches;
        twins.pair(plan, scenario, &begins);
        twins
    }

    fn pair(&mut self, plan: &Plan, scenario: &Scenario, begins: &[usize]) {
        let rules = rules(plan);
        let waits = Waits { claims: tickets::contended(plan), roots: Roots::shared(plan) };
        let mut known: BTreeMap<(usize, String), usize> = BTreeMap::new();
        for (number, item) in plan.items.iter().enumerate() {
            let limited = item.group.and_then(|group| group.max);
            let limited = limited.is_some_and(|max| (max as usize) < item.branches.len());
            for at in 0..item.branches.len() {
                let branch = begins[number] + at;
                let mut writer = Writer {
                    plan,
                    scenario,
                    twins: self,
                    rules: &rules,
                    waits: &waits,
                    text: String::new(),
                    alone: limited,
                };
                writer.branch(branch);
                let (alone, text) = (writer.alone, writer.text);
                let first = if alone { branch } else { *known.entry((number, text)).or_insert(branch) };
                self.branches[branch].first = first;
            }
        }
    }

    /// The same failure in the first of the twins, and how to get back from there.
    pub fn first(&self, chosen: Chosen) -> (Chosen, Option<Swap<'_>>) {
        let (branch, at) = match chosen.what {
            Fallible::Step(step) => self.steps[step.index()],
            Fallible::Approval(approval) => self.approvals[approval.index()],
            Fallible::Wait(place) => self.places[place.index()],
        };
        let first = self.branches[branch].first;
        if first == branch {
            return (chosen, None);
        }
        let twin = &self.branches[first];
        let what = match chosen.what {
            Fallible::Step(_) => Fallible::Step(twin.steps[at]),
            Fallible::Approval(_) => Fallible::Approval(twin.approvals[at]),
            Fallible::Wait(_) => Fallible::Wait(twin.places[at]),
        };
        (Chosen { what, ..chosen }, Some(Swap { twins: self, one: first, other: branch }))
    }
}

/// Two twins in each other's place.
pub(crate) struct Swap<'t> {
    twins: &'t Twins,
    one: usize,
    other: usize,
}

impl Swap<'_> {
    fn branch(&self, branch: usize) -> Option<&Members> {
        match branch {
            _ if branch == self.one => Some(&self.twins.branches[self.other]),
            _ if branch == self.other => Some(&self.twins.branches[self.one]),
            _ => None,
        }
    }

    fn step(&self, step: StepId) -> StepId {
        let (branch, at) = self.twins.steps[step.index()];
        self.branch(branch).map_or(step, |members| members.steps[at])
    }

    fn question(&self, question: Question) -> Question {
        match question {
            Question::Step(step) => Question::Step(self.step(step)),
            Question::Place(place) => {
                let (branch, at) = self.twins.places[place.index()];
                Question::Place(self.branch(branch).map_or(place, |members| members.places[at]))
            }
            Question::Approval(approval) => {
                let (branch, at) = self.twins.approvals[approval.index()];
                Question::Approval(self.branch(branch).map_or(approval, |members| members.approvals[at]))
            }
        }
    }

    /// The row of the same failure in the other one.
    pub fn row(&self, row: &Rehearsal, fail: Chosen) -> Rehearsal {
        let mut row = Rehearsal { fail: Some(fail), ..row.clone() };
        let (one, other) = (&self.twins.branches[self.one], &self.twins.branches[self.other]);
        for (stage, twin) in one.stages.iter().zip(&other.stages) {
            row.stages.swap(stage.index(), twin.index());
        }
        for (question, _) in &mut row.asked {
            *question = self.question(*question);
        }
        for (source, _) in &mut row.given {
            if let Readable::Output(step, _) = source {
                *step = self.step(*step);
            }
        }
        row
    }
}

/// A number for each scope, the same for the same rules.
fn rules(plan: &Plan) -> Vec<usize> {
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let number = |scope: &crate::Scope| {
        let count = known.len();
        *known.entry(format!("{:?}", scope.rules)).or_insert(count)
    };
    plan.scopes.iter().map(number).collect()
}

/// Where it matters who comes first.
struct Waits {
    /// By claim: whether it may have to wait for others.
    claims: Vec<bool>,
    /// Stages that may have to wait for a directory.
    roots: BTreeSet<StageId>,
}

/// Writes down what makes a branch what it is, with its own elements by their place in it.
struct Writer<'w> {
    plan: &'w Plan,
    scenario: &'w Scenario,
    twins: &'w Twins,
    rules: &'w [usize],
    waits: &'w Waits,
    text: String,
    /// Nothing is like it.
    alone: bool,
}

impl Writer<'_> {
    fn word(&mut self, word: impl std::fmt::Debug) {
        let _ = write!(self.text, "{word:?} ");
    }

    fn branch(&mut self, branch: usize) {
        let members = &self.twins.branches[branch];
        for &stage in &members.stages {
            self.stage(stage);
        }
        for &step in &members.steps {
            self.step(step);
        }
        for &place in &members.places {
            self.place(place);
        }
        let first = members.stages.first().map(|stage| &self.plan.stages[stage.index()]);
        let first = first.map(|stage| (stage.item, stage.branch));
        let first = first.or_else(|| {
            let approval = &self.plan.approvals[members.approvals.first()?.index()];
            Some((approval.item, approval.branch))
        });
        let Some((item, at)) = first else { return };
        for part in &self.plan.items[item.index()].branches[at as usize].parts {
            match part {
                Part::Stage(stage) => self.word(("stage", self.twins.stages[stage.index()].1)),
                Part::Approval(approval) => {
                    let data = &self.plan.approvals[approval.index()];
                    self.word(("approval", &data.from, data.within));
                    self.word(self.scenario.refuse.get(approval));
                    self.asked(Question::Approval(*approval));
                }
            }
        }
    }

    fn stage(&mut self, stage: StageId) {
        let data = &self.plan.stages[stage.index()];
        self.alone |= self.waits.roots.contains(&stage);
        self.conditions(&data.when);
        self.claim(data.claim);
        self.claim(data.rollback_claim);
        for phase in &data.phases {
            self.claim(phase.claim);
            self.block(phase.rollback.as_deref());
        }
        self.block(data.rollback.as_deref());
        for position in &data.positions {
            self.word(position.phase);
            self.conditions(&position.when);
            match &position.work {
                Work::Steps(steps) => self.steps(steps),
                Work::Barrier(place) => self.word(("at", self.twins.places[place.index()].1)),
            }
        }
    }

    fn block(&mut self, block: Option<&[BlockItem]>) {
        self.word(block.map(<[_]>::len));
        for item in block.unwrap_or_default() {
            match item {
                BlockItem::Steps(steps) => self.steps(steps),
                BlockItem::Barrier(place) => self.word(("at", self.twins.places[place.index()].1)),
            }
        }
    }

    fn steps(&mut self, steps: &[StepId]) {
        let own: Vec<usize> = steps.iter().map(|step| self.twins.steps[step.index()].1).collect();
        self.word(own);
    }

    fn step(&mut self, step: StepId) {
        let data = &self.plan.steps[step.index()];
        let own = |step: StepId| self.twins.steps[step.index()].1;
        let role = match data.role {
            Role::Forward => (0, 0),
            Role::Undo(of) => (1, own(of)),
            Role::Block => (2, 0),
        };
        let undo = match data.undo {
            Undo::None => (0, 0),
            Undo::Irreversible => (1, 0),
            Undo::Derived(undo) => (2, own(undo)),
            Undo::Block(undo) => (3, own(undo)),
        };
        self.word((role, undo, data.timeout, data.changes, data.interruptible));
        self.word((&data.action.provider, &data.action.step, &data.outputs));
        self.scopes(&data.scopes);
        self.conditions(&data.when);
        for (name, argument) in &data.action.arguments {
            // Most values mean something to drivers only.
            if matches!(name.as_str(), "duration" | "from" | "within") || argument.as_value().is_none() {
                self.word(name);
                self.expr(argument);
            }
        }
        for filled in data.action.files.iter().chain(&data.action.service_files) {
            filled.holes.iter().filter(|hole| hole.as_value().is_none()).for_each(|hole| self.expr(hole));
        }
        if let Some(target) = data.action.target {
            let target = &self.plan.targets[target.index()];
            self.word(target.settings.contains_key("hosts"));
            self.open(&target.settings);
        }
        if let Some(service) = data.action.service {
            let service = &self.plan.services[service.index()];
            self.open(&service.settings);
            self.open(&service.artifact);
        }
        // Steps of twins on one target would share a record only where they are of one stage.
        self.word(data.action.target.is_some());
        let scenario = self.scenario;
        self.word((scenario.fail.get(&step), scenario.shares.get(&step), scenario.takes.get(&step)));
        self.word(scenario.given_by(step).collect::<Vec<_>>());
        self.asked(Question::Step(step));
    }

    fn place(&mut self, place: PlaceId) {
        let data = &self.plan.places[place.index()];
        self.word((data.barrier, data.timeout));
        self.scopes(&data.scopes);
        self.conditions(&data.when);
        self.asked(Question::Place(place));
    }

    fn asked(&mut self, question: Question) {
        let scenario = self.scenario;
        self.word((scenario.answers.get(&question), scenario.takes_to_answer.get(&question)));
    }

    fn scopes(&mut self, scopes: &[ScopeId]) {
        let numbers: Vec<usize> = scopes.iter().map(|scope| self.rules[scope.index()]).collect();
        self.word(numbers);
    }

    /// One that is shared has to be the same.
    fn claim(&mut self, claim: Option<ClaimId>) {
        let stages = claim.map_or(0, |claim| self.plan.claims[claim.index()].stages.len());
        self.word((claim.is_some(), claim.filter(|_| stages > 1)));
        self.alone |= claim.is_some_and(|claim| self.waits.claims[claim.index()]);
    }

    fn conditions(&mut self, when: &[ConditionId]) {
        self.word(when.len());
        for condition in when {
            let condition = &self.plan.conditions[condition.index()];
            self.alone |= condition.asks_of_failure(&[FailureFact::Step, FailureFact::Message]);
            self.expr(condition);
        }
    }

    /// What of these settings only the run knows.
    fn open(&mut self, settings: &Fields<Expr>) {
        for (name, setting) in settings {
            if setting.as_value().is_none() {
                self.word(name);
                self.expr(setting);
            }
        }
    }

    /// An expression, part by part.
    fn expr(&mut self, expr: &Expr) {
        expr.walk(&mut |part| match part {
            Expr::Value(value) => self.word(value),
            Expr::Param(name) => self.word(("param", name)),
            Expr::Output { step, name } => {
                let own = self.twins.steps[step.index()];
                self.word(("output", own.1, name));
            }
            Expr::Run(fact) => self.word(fact),
            Expr::Failure(fact) => self.word(fact),
            Expr::Not(_) => self.word("not"),
            Expr::Binary(operator, ..) => self.word(operator),
            Expr::If(..) => self.word("if"),
            Expr::Call(function, items) => self.word((function, items.len())),
            Expr::Text(items) => self.word(("text", items.len())),
            Expr::List(items) => self.word(("list", items.len())),
            Expr::Map(entries) => self.word(("map", entries.keys().collect::<Vec<_>>())),
        });
    }
}
