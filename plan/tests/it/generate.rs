//! Small pipelines of every kind, at random: what the proof and the machine's theorems are held to.

use crate::build::{Builder, Shape, ask, retry, rule};
use crate::explore::Adversary;
use lockstep_plan::proof::{Known, Staged, World};
use lockstep_plan::*;
use proptest::prelude::{Just, Strategy, any, prop, prop_oneof};
use proptest::strategy::BoxedStrategy;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// When the last step of a rollback block runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runs {
    Always,
    /// As a condition says that is open before the run.
    Perhaps,
    /// Unless the stage failed in this way.
    Unless(Kind),
    /// Only once the stage's last step has run, or only until then.
    Once(bool),
}

/// What undoes a stage in place of what is derived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Whether its last step undoes what the stage changes.
    covers: bool,
    runs: Runs,
    /// Whether it stands in the workflow, not in its first phase.
    whole: bool,
}

/// A stage: its words, the rules of its workflow and of one of its steps or barriers, a rollback block.
#[derive(Debug, Clone)]
pub struct StageSpec {
    words: Vec<String>,
    rules: Vec<Rule>,
    inner: Option<(usize, Vec<Rule>)>,
    block: Option<Block>,
    skippable: bool,
    /// From where to where a section reaches that has a condition; further than the stage, or within one phase or not.
    section: Option<(usize, usize)>,
    hosts: bool,
}

/// An item behind the group.
#[derive(Debug, Clone)]
pub struct Later {
    /// Its branches, each the words of its stages, one after another.
    lanes: &'static [&'static [&'static str]],
    /// The rules of its stages.
    rules: Vec<Rule>,
    /// The pipeline's.
    pipeline: Vec<Rule>,
}

/// Items that may stand behind the group.
const LATER: [&[&[&str]]; 7] = [
    &[&["z"]],
    &[&["z!"]],
    &[&["z |r"], &["|r"]],
    &[&["|r"], &["z!"], &["|r"]],
    &[&["z! |r"], &["|r u"]],
    &[&["z", "|r"], &["|r"]],
    &[&["@ok", "|r"], &["|r u!"]],
];

/// A pipeline: a group, and perhaps an item behind it.
#[derive(Debug, Clone)]
pub struct Spec {
    pub promise: bool,
    branches: Vec<Vec<StageSpec>>,
    /// For each branch, before which of its stages a person is asked.
    approvals: Vec<Option<usize>>,
    /// For each barrier and branch where it stands, if it does, and whether a condition decides.
    barriers: Vec<Vec<Option<(usize, bool)>>>,
    max: Option<u32>,
    later: Option<Later>,
    /// Which of the open conditions, counted round and round, it may be impossible to decide.
    undecidable: Option<usize>,
    /// Which of them, counted in the same way, hang on the run.
    late: u8,
    /// Whether all meet once more, behind which one branch does what cannot be undone, and that counts as done.
    tells: bool,
    pairs: bool,
}

/// How wild the rules are. Plain ones make promises that are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Plain,
    Wild,
}

fn reactions(mood: Mood) -> BoxedStrategy<Reaction> {
    let wild = u32::from(mood == Mood::Wild);
    let last = prop_oneof![
        9 => Just(Reaction::Rollback),
        3 => Just(Reaction::Succeed),
        2 * wild => Just(Reaction::Ignore),
        wild => Just(Reaction::Fail),
        wild => Just(Reaction::Abort),
        1 + wild => Just(Reaction::RollbackPhase),
    ];
    (last, 0..8u32)
        .prop_map(|(last, around)| match around {
            0 => retry(1, last),
            1 => ask(last),
            2 => retry(1, ask(last)),
            _ => last,
        })
        .boxed()
}

fn one_rule(mood: Mood) -> BoxedStrategy<Rule> {
    let kinds = prop_oneof![
        2 => Just(vec![]),
        2 => Just(vec![Kind::Application]),
        2 => Just(vec![Kind::Barrier]),
        1 => Just(vec![Kind::Verification]),
        1 => Just(vec![Kind::ApprovalRejected, Kind::Timeout]),
    ];
    // A barrier may be passed over in any mood: that is no matter of changes.
    let passes = Just(rule(&[Kind::Barrier], Reaction::Ignore));
    let under = prop::option::weighted(0.15, prop_oneof![Just(20u32), Just(50)]);
    let any = (kinds, under, reactions(mood)).prop_map(|(kinds, under, reaction)| Rule {
        under: under.filter(|_| !kinds.contains(&Kind::Barrier)),
        ..rule(&kinds, reaction)
    });
    prop_oneof![1 => passes, 8 => any].boxed()
}

fn rules(mood: Mood) -> BoxedStrategy<Vec<Rule>> {
    prop_oneof![
        3 => Just(Vec::new()),
        3 => prop::collection::vec(one_rule(mood), 1..2),
        1 => prop::collection::vec(one_rule(mood), 2..3),
    ]
    .boxed()
}

fn stage(mood: Mood) -> BoxedStrategy<StageSpec> {
    let wild = u32::from(mood == Mood::Wild);
    let word = prop_oneof![
        8 => Just("x!"),
        6 => Just("u"),
        2 => Just("w~"),
        1 + wild => Just("k!!"),
        1 => Just("m!&n"),
        1 => Just("m!&n!"),
        1 => Just("c!?"),
        1 => Just("c?"),
        1 => Just("@g"),
        2 => Just("/"),
    ];
    let block = (prop::bool::weighted(if mood == Mood::Wild { 0.6 } else { 0.95 }), any::<u8>()).prop_map(
        |(covers, bits)| Block {
            covers,
            runs: match bits / 3 % 16 {
                0 | 1 => Runs::Perhaps,
                2 => Runs::Unless(Kind::Barrier),
                3 => Runs::Unless(Kind::Application),
                4 => Runs::Unless(Kind::Authentication),
                5 => Runs::Once(true),
                6 => Runs::Once(false),
                _ => Runs::Always,
            },
            whole: bits % 3 == 0,
        },
    );
    (
        prop::collection::vec(word, 1..4),
        rules(mood),
        prop::option::weighted(0.25, (0usize..5, prop::collection::vec(one_rule(mood), 1..2))),
        prop::option::weighted(0.25, block),
        prop::bool::weighted(0.1),
        prop::option::weighted(0.15, (0usize..4, 1usize..3)),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(words, rules, inner, block, skippable, section, hosts)| {
            // Names are unique in a stage.
            let numbered = words.iter().enumerate().map(|(at, word)| {
                word.split('&')
                    .map(|word| match word.trim_start_matches('@') {
                        "/" => "/".to_owned(),
                        rest => {
                            let sign = if word.starts_with('@') { "@" } else { "" };
                            format!("{sign}{}{at}{}", &rest[..1], &rest[1..])
                        }
                    })
                    .collect::<Vec<_>>()
                    .join("&")
            });
            StageSpec { words: numbered.collect(), rules, inner, block, skippable, section, hosts }
        })
        .boxed()
}

/// Any pipeline that makes a promise.
pub fn spec() -> BoxedStrategy<Spec> {
    prop_oneof![1 => spec_of(Mood::Plain), 1 => spec_of(Mood::Wild)].boxed()
}

/// Any pipeline, with or without its promise.
pub fn any_spec() -> impl Strategy<Value = Spec> {
    (spec(), any::<bool>()).prop_map(|(spec, promise)| Spec { promise, ..spec })
}

fn spec_of(mood: Mood) -> BoxedStrategy<Spec> {
    let lane = prop_oneof![
        5 => prop::collection::vec(stage(mood), 1..2),
        1 => prop::collection::vec(stage(mood), 2..3),
    ];
    let place = prop::option::weighted(0.8, (0usize..5, prop::bool::weighted(0.15)));
    let barriers = prop::collection::vec(prop::collection::vec(place, 3), 0..3);
    let later = prop::option::weighted(0.3, later());
    (
        prop::collection::vec(lane, 2..4),
        prop::collection::vec(prop::option::weighted(0.1, 0usize..2), 3),
        barriers,
        prop::option::weighted(0.25, 1u32..3),
        later,
        (prop::option::weighted(0.6, 0usize..4), any::<u8>()),
        prop::bool::weighted(0.15),
        any::<bool>(),
    )
        .prop_map(|(mut branches, approvals, mut barriers, max, later, open, tells, mut pairs)| {
            if later.as_ref().is_some_and(|later| later.lanes.len() > 1) {
                // All of its states stand behind each end of the group.
                branches.truncate(2);
                for lane in &mut branches {
                    lane.truncate(1);
                    lane.iter_mut().for_each(|stage| stage.words.truncate(2));
                }
                barriers.truncate(1);
                pairs = false;
            }
            Spec {
                promise: true,
                branches,
                approvals,
                // With `max` a group with barriers could not finish: another rule's matter.
                barriers: if max.is_some() { Vec::new() } else { barriers },
                tells: tells && max.is_none(),
                max,
                later,
                undecidable: open.0,
                late: open.1,
                pairs,
            }
        })
        .boxed()
}

fn later() -> impl Strategy<Value = Later> {
    let kinds = || prop_oneof![Just(vec![]), Just(vec![Kind::Barrier]), Just(vec![Kind::Application])];
    let own = prop_oneof![
        4 => Just(Vec::new()),
        1 => Just(vec![rule(&[Kind::Barrier], Reaction::Ignore)]),
        1 => kinds().prop_map(|kinds| vec![rule(&kinds, ask(Reaction::Rollback))]),
        1 => kinds().prop_map(|kinds| vec![rule(&kinds, retry(1, Reaction::Fail))]),
        1 => kinds().prop_map(|kinds| vec![rule(&kinds, Reaction::RollbackPhase)]),
    ];
    let reaction = prop_oneof![
        5 => Just(Reaction::RollbackPipeline),
        2 => Just(Reaction::Ignore),
        1 => Just(Reaction::Fail),
        1 => Just(Reaction::Abort),
    ];
    let one = (kinds(), reaction).prop_map(|(kinds, reaction)| rule(&kinds, reaction));
    let pipeline = prop::collection::vec(one, 1..3);
    (0..LATER.len(), own, pipeline).prop_map(|(at, rules, pipeline)| Later {
        lanes: LATER[at],
        rules,
        pipeline,
    })
}

/// A condition that is not decided before the run.
fn open(plan: &mut Plan, name: String) -> ConditionId {
    plan.conditions.push(Expr::Param(name));
    ConditionId(plan.conditions.len() as u32 - 1)
}

impl Spec {
    pub fn plan(&self) -> Plan {
        let texts = self.texts();
        let branches: Vec<Vec<(&str, &str, &[Rule])>> = texts
            .iter()
            .map(|lane| lane.iter().map(|(n, w, r)| (n.as_str(), w.as_str(), r.as_slice())).collect())
            .collect();
        let branches: Vec<&[(&str, &str, &[Rule])]> = branches.iter().map(Vec::as_slice).collect();
        let shape = Shape { promise: self.promise, max: self.max };
        let mut builder = Builder::default().group(shape, &branches);
        if let Some(later) = &self.later {
            let name = |branch: usize, at: usize, words: &str| match words.starts_with('@') {
                true => words.to_owned(),
                false => format!("later{branch}{at}"),
            };
            let lanes: Vec<Vec<(String, &str)>> = later
                .lanes
                .iter()
                .enumerate()
                .map(|(branch, lane)| {
                    lane.iter().enumerate().map(|(at, words)| (name(branch, at, words), *words)).collect()
                })
                .collect();
            let lanes: Vec<Vec<(&str, &str, &[Rule])>> = lanes
                .iter()
                .map(|lane| {
                    lane.iter().map(|(name, words)| (name.as_str(), *words, later.rules.as_slice())).collect()
                })
                .collect();
            let lanes: Vec<&[(&str, &str, &[Rule])]> = lanes.iter().map(Vec::as_slice).collect();
            builder = builder.group(Shape::default(), &lanes);
        }
        for (name, at, spec) in self.stages() {
            if let Some(block) = spec.block {
                let sign = if block.runs == Runs::Perhaps { "?" } else { "" };
                builder = builder.rollback(&name, 0, &format!("|back{at} v{sign}"));
            }
        }
        let mut plan = builder.done();
        for (name, _, spec) in self.stages() {
            let id = plan.stages.iter().position(|stage| stage.name == name).expect("the stage");
            spec.complete(&mut plan, StageId(id as u32));
        }
        if let Some(step) = plan.steps.iter().position(|step| step.name.ends_with(".y")) {
            let scope = ScopeId(plan.scopes.len() as u32);
            plan.scopes.push(Scope { owner: "step y".into(), rules: vec![rule(&[], Reaction::Succeed)] });
            plan.steps[step].scopes.insert(0, scope);
        }
        plan.rules = self.later.iter().flat_map(|later| later.pipeline.clone()).collect();
        let open: Vec<usize> =
            (0..plan.conditions.len()).filter(|at| is_open(&plan.conditions[*at])).collect();
        for (nth, at) in open.iter().enumerate().filter(|(nth, _)| self.late >> (nth % 8) & 1 == 1) {
            let (name, run) = (Expr::Param(format!("c{nth}")), Expr::Run(RunFact::Id));
            plan.conditions[*at] = Expr::Binary(Operator::Equal, Box::new(name), Box::new(run));
        }
        if let Some(nth) = self.undecidable
            && !open.is_empty()
        {
            plan.conditions[open[nth % open.len()]] = Expr::key_of("m", "k");
        }
        plan
    }

    /// Every stage, with its name and its place in its lane.
    fn stages(&self) -> impl Iterator<Item = (String, usize, &StageSpec)> {
        self.branches.iter().enumerate().flat_map(|(branch, stages)| {
            stages.iter().enumerate().map(move |(at, stage)| (format!("s{branch}{at}"), at, stage))
        })
    }

    /// The lanes as the builder reads them.
    fn texts(&self) -> Vec<Vec<(String, String, Vec<Rule>)>> {
        let mut texts = Vec::new();
        for (branch, stages) in self.branches.iter().enumerate() {
            let mut words: Vec<Vec<String>> = stages.iter().map(|stage| stage.words.clone()).collect();
            // In one order everywhere, so that nobody waits for ever: each stands behind the one before.
            let mut least = 0;
            for (number, places) in self.barriers.iter().enumerate() {
                let Some((at, open)) = places[branch] else { continue };
                let total: usize = words.iter().map(Vec::len).sum();
                let mut at = at.clamp(least, total.max(least)).min(total);
                least = at + 1;
                let sign = if open { "?" } else { "" };
                let word = format!("|{}{sign}", ["p", "q"][number]);
                for stage in &mut words {
                    if at <= stage.len() {
                        stage.insert(at, word.clone());
                        break;
                    }
                    at -= stage.len();
                }
            }
            if let Some(last) = words.last_mut().filter(|_| self.tells) {
                last.push("|all".into());
                last.extend((branch == 0).then(|| "y!!".into()));
            }
            let mut lane: Vec<(String, String, Vec<Rule>)> = Vec::new();
            for (at, (stage, words)) in stages.iter().zip(&words).enumerate() {
                if self.approvals[branch] == Some(at) {
                    lane.push((format!("@ok{branch}"), String::new(), Vec::new()));
                }
                lane.push((format!("s{branch}{at}"), words.join(" "), stage.rules.clone()));
            }
            texts.push(lane);
        }
        texts
    }

    /// What can go wrong: every kind that the rules tell apart.
    pub fn adversary(&self) -> Adversary {
        let stages = self.branches.iter().flatten();
        let inner = |stage: &StageSpec| stage.inner.clone().map(|(_, rules)| rules).unwrap_or_default();
        let rules: Vec<Rule> =
            stages.clone().flat_map(|stage| [stage.rules.clone(), inner(stage)].concat()).collect();
        let later = self.later.iter().flat_map(|later| [later.rules.as_slice(), &later.pipeline]).flatten();
        let mut kinds: BTreeSet<Kind> =
            rules.iter().chain(later).flat_map(|rule| rule.kinds.clone()).collect();
        // And one that no rule names.
        if !kinds.insert(Kind::Application) {
            kinds.insert(Kind::Policy);
        }
        for block in self.branches.iter().flatten().filter_map(|stage| stage.block) {
            if let Runs::Unless(kind) = block.runs {
                // That one, and one that is another.
                kinds.extend([kind, Kind::Policy]);
            }
        }
        let shares = match rules.iter().any(|rule| rule.under.is_some()) {
            // Under both limits, between them, all of them.
            true => vec![(1, 10), (3, 10), (10, 10)],
            false => Vec::new(),
        };
        // A barrier's breaking, a person's no and a timeout come by themselves, but a timeout of some hosts is told by the step.
        kinds.retain(|kind| match kind {
            Kind::Barrier | Kind::ApprovalRejected => false,
            Kind::Timeout => !shares.is_empty(),
            _ => true,
        });
        Adversary {
            kinds: kinds.into_iter().collect(),
            shares,
            failures: if self.pairs { 3 } else { 2 },
            timeouts: true,
            ..Adversary::default()
        }
    }

    /// What the pipeline has of what the language has.
    pub fn features(&self, plan: &Plan) -> BTreeSet<&'static str> {
        let mut found = BTreeSet::new();
        let mut has = |feature: &'static str, there: bool| {
            if there {
                found.insert(feature);
            }
        };
        has("lanes", self.branches.iter().any(|branch| branch.len() > 1));
        has("max", self.max.is_some());
        has(
            "approvals",
            !plan.approvals.is_empty() || plan.steps.iter().any(|it| it.action.provider == "approval"),
        );
        has("a later item", plan.items.len() > 1);
        has("pairs of failures", self.pairs);
        let takes_back = |rule: &Rule| rule.reaction == Reaction::RollbackPipeline;
        has("rollback pipeline", plan.rules.iter().any(takes_back));
        let later = |barrier: &Barrier| barrier.item.index() > 0 && barrier.places.len() > 1;
        has("a later item with barriers", plan.barriers.iter().any(later));
        has(
            "rollback pipeline and later barriers",
            plan.rules.iter().any(takes_back) && plan.barriers.iter().any(later),
        );
        let asks = |condition: &Expr| condition.asks_of_failure(&FailureFact::ALL);
        has("undoing that asks how it failed", plan.conditions.iter().any(asks));
        has("undoing that asks what has run", asks_what_has_run(plan));
        has("conditions that the run decides", plan.conditions.iter().any(is_late));
        let kept = |at: &ConditionId| !is_late(&plan.conditions[at.index()]);
        let places = plan.stages.iter().flat_map(|stage| stage.positions.iter().map(move |it| (stage, it)));
        let barriers = places.filter(|(_, it)| matches!(it.work, Work::Barrier(_)));
        let away = |when: &[ConditionId]| when.iter().any(kept);
        has(
            "barriers that an argument keeps somebody away from",
            barriers.clone().any(|(stage, it)| {
                let Work::Barrier(place) = it.work else { return false };
                away(&stage.when) || away(&it.when) || away(&plan.places[place.index()].when)
            }),
        );
        has("conditions that cannot be decided", plan.conditions.iter().any(may_fail));
        let sections = plan.stages.iter().flat_map(|stage| &stage.positions);
        has("sections that may be skipped", sections.clone().any(|it| !it.when.is_empty()));
        let fails = |it: &ConditionId| may_fail(&plan.conditions[it.index()]);
        has("sections that cannot be decided", sections.clone().any(|it| it.when.iter().any(fails)));
        has("stages that cannot be decided", plan.stages.iter().any(|it| it.when.iter().any(fails)));
        has("steps that cannot be decided", plan.steps.iter().any(|it| it.when.iter().any(fails)));
        has("barriers that cannot be decided", plan.places.iter().any(|it| it.when.iter().any(fails)));
        has("stages that may be skipped", plan.stages.iter().any(|stage| !stage.when.is_empty()));
        has("steps with conditions", plan.steps.iter().any(|step| !step.when.is_empty()));
        has("barriers that may be excused", plan.places.iter().any(|place| !place.when.is_empty()));
        let barriers = |kind| plan.barriers.iter().any(|it| it.kind == kind && it.places.len() > 1);
        has("barriers", barriers(BarrierKind::Forward));
        has("rollback barriers", barriers(BarrierKind::Rollback));
        has("rollback blocks", plan.stages.iter().any(|it| it.phases.iter().any(|it| it.rollback.is_some())));
        has("workflow rollbacks", plan.stages.iter().any(|it| it.rollback.is_some()));
        has("irreversible steps", plan.steps.iter().any(|step| step.undo == Undo::Irreversible));
        let several = |it: &Position| matches!(&it.work, Work::Steps(steps) if steps.len() > 1);
        has("parallel steps", plan.stages.iter().flat_map(|it| &it.positions).any(several));
        for rule in plan.scopes.iter().flat_map(|scope| &scope.rules) {
            has("under N% of hosts", rule.under.is_some());
            let mut reaction = &rule.reaction;
            loop {
                reaction = match reaction {
                    Reaction::Retry { then, .. } => {
                        has("retries", true);
                        then
                    }
                    Reaction::Ask { then, .. } => {
                        has("asks", true);
                        then
                    }
                    _ => break,
                };
            }
            let barrier = rule.kinds.contains(&Kind::Barrier);
            match reaction {
                Reaction::Ignore | Reaction::Succeed if barrier => has("ignored barriers", true),
                Reaction::Ignore => has("ignored steps", true),
                Reaction::Succeed => has("asserted steps", true),
                Reaction::Fail => has("fail", true),
                Reaction::Abort => has("abort", true),
                Reaction::RollbackPhase => has("rollback phase", true),
                _ => {}
            }
        }
        found
    }
}

impl StageSpec {
    /// What the builder's words cannot say.
    fn complete(&self, plan: &mut Plan, id: StageId) {
        let stage = id.index();
        if let Some(block) = self.block {
            let Some(BlockItem::Steps(steps)) =
                plan.stages[stage].phases[0].rollback.as_ref().and_then(|block| block.last()).cloned()
            else {
                panic!("a step at the end of the block")
            };
            if let Runs::Unless(kind) = block.runs {
                let kind = Expr::Value(Value::Text(kind.name().into()));
                let fact = Box::new(Expr::Failure(FailureFact::Kind));
                plan.conditions.push(Expr::Binary(Operator::NotEqual, fact, Box::new(kind)));
                plan.steps[steps[0].index()].when.push(ConditionId(plan.conditions.len() as u32 - 1));
            }
            let last = plan.stages[stage].positions.iter().rev().find_map(|position| match &position.work {
                Work::Steps(steps) => steps.last().copied(),
                Work::Barrier(_) => None,
            });
            if let (Runs::Once(after), Some(step)) = (block.runs, last) {
                let done = Expr::Output { step, name: DONE.into() };
                let done = Expr::Call(Function::Default, vec![done, Expr::Value(Value::Bool(false))]);
                plan.conditions.push(if after { done } else { Expr::Not(Box::new(done)) });
                plan.steps[steps[0].index()].when.push(ConditionId(plan.conditions.len() as u32 - 1));
            }
            let whole = block.whole;
            if whole {
                plan.stages[stage].rollback = plan.stages[stage].phases[0].rollback.take();
                plan.steps[steps[0].index()].phase = None;
            }
            for step in plan.steps.iter_mut().filter(|step| {
                step.stage == id && (whole || step.phase == Some(0)) && step.role == Role::Forward
            }) {
                if matches!(step.undo, Undo::Derived(_)) {
                    step.undo = if block.covers { Undo::Block(steps[0]) } else { Undo::None };
                }
            }
        }
        if let Some((nth, rules)) = &self.inner {
            let position = nth % plan.stages[stage].positions.len().max(1);
            let scope = ScopeId(plan.scopes.len() as u32);
            plan.scopes.push(Scope { owner: "a step".into(), rules: rules.clone() });
            match plan.stages[stage].positions.get(position).map(|it| it.work.clone()) {
                Some(Work::Steps(steps)) => {
                    steps.iter().for_each(|step| plan.steps[step.index()].scopes.insert(0, scope));
                }
                Some(Work::Barrier(place)) => plan.places[place.index()].scopes.insert(0, scope),
                None => {}
            }
        }
        if self.hosts {
            let hosts = Expr::Value(Value::Text("h1".into()));
            let targets = plan.steps.iter().filter(|step| step.stage == id).filter_map(|it| it.action.target);
            let targets: BTreeSet<TargetId> = targets.collect();
            for target in targets {
                plan.targets[target.index()].settings.insert("hosts".into(), hosts.clone());
            }
        }
        if self.skippable {
            let condition = open(plan, format!("skip {}", plan.stages[stage].name));
            plan.stages[stage].when.push(condition);
        }
        if let Some((from, count)) = self.section {
            let condition = open(plan, format!("section of {}", plan.stages[stage].name));
            for position in plan.stages[stage].positions.iter_mut().skip(from).take(count) {
                position.when.push(condition);
            }
        }
    }
}

/// What every step puts out that a condition asks for.
const DONE: &str = "done";

/// What a step puts out when it succeeds.
pub fn put_out(plan: &Plan, step: StepId) -> BTreeMap<String, Value> {
    let asked = plan.conditions.iter().any(|it| asked_step(it) == Some(step));
    asked.then(|| (DONE.to_owned(), Value::Bool(true))).into_iter().collect()
}

/// Whether any condition asks what has run. Rehearsals put out what steps declare, which these do not.
pub fn asks_what_has_run(plan: &Plan) -> bool {
    plan.conditions.iter().any(|it| asked_step(it).is_some())
}

/// The step that a condition asks whether it has run.
fn asked_step(condition: &Expr) -> Option<StepId> {
    let mut found = None;
    condition.walk(&mut |part| {
        if let Expr::Output { step, .. } = part {
            found = Some(*step);
        }
    });
    found
}

/// Whether a condition is open before the run, and decided when it begins.
fn is_open(condition: &Expr) -> bool {
    !condition.asks_of_failure(&FailureFact::ALL) && asked_step(condition).is_none()
}

/// How many conditions are open before the run.
pub fn open_conditions(plan: &Plan) -> usize {
    plan.conditions.iter().filter(|condition| is_open(condition)).count()
}

/// Whether a condition may be impossible to decide.
pub fn may_fail(condition: &Expr) -> bool {
    matches!(condition, Expr::Param(name) if Expr::may_be_missing(name))
}

/// Every set of answers to the plan's conditions, but for those that ask how something failed.
pub fn worlds(plan: &Plan) -> Vec<Vec<Expr>> {
    let mut worlds: Vec<Vec<Expr>> = vec![Vec::new()];
    for condition in &plan.conditions {
        let answer = |to| match is_late(condition) {
            true => late(to),
            false => Expr::Value(Value::Bool(to)),
        };
        let answers = match (is_open(condition), may_fail(condition)) {
            (false, _) => vec![condition.clone()],
            (true, false) => vec![answer(true), answer(false)],
            (true, true) => vec![answer(true), answer(false), condition.clone()],
        };
        let with =
            |world: &Vec<Expr>, answer: &Expr| [world.as_slice(), std::slice::from_ref(answer)].concat();
        worlds = worlds.iter().flat_map(|world| answers.iter().map(|it| with(world, it))).collect();
    }
    worlds
}

/// The plan in one of them.
pub fn decided(plan: &Plan, world: &[Expr]) -> Plan {
    let mut plan = Plan { conditions: world.to_vec(), ..plan.clone() };
    plan.settle_places();
    plan
}

/// Whether a condition is decided while the run goes on, as by what a step puts out: then a place that it skips is waited for until
/// it is come to.
fn is_late(condition: &Expr) -> bool {
    condition.asks_of_run() && is_open(condition)
}

/// What a condition comes to that is not seen before it is decided.
fn late(to: bool) -> Expr {
    let to = Expr::Value(Value::Bool(to));
    Expr::Call(Function::Default, vec![to.clone(), to])
}

/// What a condition has come to in a world.
fn value(condition: &Expr) -> Option<bool> {
    condition.eval(&NoFacts).ok()?.as_bool()
}

/// Some of these worlds: what they agree on is known.
pub struct Listed {
    conditions: Rc<Vec<Expr>>,
    worlds: Vec<Vec<Expr>>,
    known: Vec<Known>,
}

impl Listed {
    /// All worlds of a plan, and whether what conditions ask for that undo steps is there.
    pub fn all(plan: &Plan) -> Self {
        let mut all: Vec<Vec<Expr>> = Vec::new();
        for world in worlds(plan) {
            let mut answered: Vec<Vec<Expr>> = vec![Vec::new()];
            for condition in world {
                let answers = match asked_step(&condition) {
                    Some(_) => [true, false].map(|it| Expr::Value(Value::Bool(it))).to_vec(),
                    None => vec![condition],
                };
                let with = |known: &Vec<Expr>, answer: &Expr| {
                    [known.as_slice(), std::slice::from_ref(answer)].concat()
                };
                answered =
                    answered.iter().flat_map(|known| answers.iter().map(|it| with(known, it))).collect();
            }
            all.extend(answered);
        }
        Listed::of(Rc::new(plan.conditions.clone()), all)
    }

    fn of(conditions: Rc<Vec<Expr>>, worlds: Vec<Vec<Expr>>) -> Self {
        let known = (0..worlds[0].len()).map(|at| {
            let first = &worlds[0][at];
            match value(first) {
                _ if worlds.iter().any(|world| world[at] != *first) => Known::Open,
                Some(to) => Known::Comes { to, surely: true },
                None if may_fail(first) => Known::Fails,
                None => Known::Asks(first.clone()),
            }
        });
        let known = known.collect();
        Listed { conditions, worlds, known }
    }
}

impl World for Listed {
    fn known(&self) -> &[Known] {
        &self.known
    }

    fn split(&self, condition: ConditionId) -> Option<Vec<Box<dyn World>>> {
        let mut answers: Vec<Expr> = Vec::new();
        for world in &self.worlds {
            if !answers.contains(&world[condition.index()]) {
                answers.push(world[condition.index()].clone());
            }
        }
        if answers.len() < 2 {
            return None;
        }
        let of = |answer: &Expr| {
            let worlds = self.worlds.iter().filter(|world| world[condition.index()] == *answer);
            Box::new(Listed::of(self.conditions.clone(), worlds.cloned().collect())) as Box<dyn World>
        };
        Some(answers.iter().map(of).collect())
    }

    fn complete(&self) -> Option<Box<dyn World>> {
        Some(Box::new(Listed::of(self.conditions.clone(), vec![self.worlds[0].clone()])))
    }

    fn before(&self, condition: ConditionId) -> Before {
        let at = condition.index();
        match (&self.known[at], is_late(&self.conditions[at])) {
            (Known::Comes { to, .. }, false) => Before::Comes(*to),
            (Known::Open, false) => Before::Open,
            _ => Before::Late,
        }
    }

    fn staged(&self, condition: ConditionId) -> Option<Staged> {
        let asks = &self.conditions[condition.index()];
        let step = asked_step(asks)?;
        let Known::Comes { to, .. } = self.known[condition.index()] else { return None };
        let given = to != matches!(asks, Expr::Not(_));
        Some(match given {
            true => Staged { form: asks.clone(), silent: Vec::new() },
            false => Staged { form: Expr::Value(Value::Bool(to)), silent: vec![step] },
        })
    }
}
