//! What a branch can go through: its places in order, and at each the failures that end it for good.
//!
//! Nothing here says what a rule means: which rule matches, what a broken barrier leads to, which answers people have
//! and what a rollback undoes are asked of the machine's own functions.

use super::causes::decided;
use super::worlds::{Known, Staged, World, known};
use crate::machine::rollback_queue;
use crate::machine::{Settled, answers, final_verdict, is_approval, judge_barrier, passes, rule_for};
use crate::{
    Answer, ApprovalId, BarrierId, Before, BlockItem, ConditionId, Expr, Failure, ItemId, Kind, Part,
    PlaceId, Plan, Reaction, ScopeId, StageId, StepId, Verdict, Work,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a step can fail with. A barrier's breaking and a person's no come from elsewhere.
const STEP_KINDS: [Kind; 7] = [
    Kind::Application,
    Kind::Connectivity,
    Kind::Authentication,
    Kind::Authorization,
    Kind::Verification,
    Kind::Timeout,
    Kind::Policy,
];
/// What an approval can fail with.
const APPROVAL_KINDS: [Kind; 2] = [Kind::ApprovalRejected, Kind::Timeout];

/// What is known of each condition of a plan.
#[derive(Debug)]
pub(super) struct Truth {
    known: Vec<Known>,
    /// Whether deciding it may go wrong.
    may_fail: Vec<bool>,
    /// What it comes to by what is known before the run alone, if it stands at or around a barrier.
    before: Vec<Before>,
    /// Those of what undoes steps that read what steps put out.
    staged: BTreeMap<ConditionId, Staged>,
}

impl Truth {
    /// Before anything is asked.
    pub fn of(plan: &Plan) -> Self {
        Truth::nothing_asked(plan, &decided(plan))
    }

    /// The same; some conditions are decided in all worlds.
    pub fn nothing_asked(plan: &Plan, decided: &BTreeMap<ConditionId, bool>) -> Self {
        let known = known(&plan.conditions);
        Truth::new(plan, known, &|condition| plan.conditions[condition.index()].known_before(), decided)
    }

    /// In a world.
    pub fn in_world(plan: &Plan, world: &dyn World, decided: &BTreeMap<ConditionId, bool>) -> Self {
        Truth::new(plan, world.known().to_vec(), &|condition| world.before(condition), decided)
    }

    fn new(
        plan: &Plan,
        mut known: Vec<Known>,
        before: &dyn Fn(ConditionId) -> Before,
        decided: &BTreeMap<ConditionId, bool>,
    ) -> Self {
        for (condition, to) in decided {
            let known = &mut known[condition.index()];
            if matches!(known, Known::Open | Known::Asks(_)) {
                *known = Known::Comes { to: *to, surely: true };
            }
        }
        let may_fail = |(condition, known): (&Expr, &Known)| {
            !matches!(known, Known::Comes { surely: true, .. }) && may_fail(condition)
        };
        let may_fail = plan.conditions.iter().zip(&known).map(may_fail).collect();
        // Who comes for sure, or fails, is not kept away; and of other conditions nobody asks it.
        let mut all = vec![Before::Late; known.len()];
        for condition in plan.conditions_of_places().flat_map(|(_, when)| when) {
            if matches!(known[condition.index()], Known::Open | Known::Comes { to: false, .. }) {
                all[condition.index()] = before(condition);
            }
        }
        Truth { known, may_fail, before: all, staged: BTreeMap::new() }
    }

    /// With what conditions come to that read what steps put out.
    pub fn with(self, staged: BTreeMap<ConditionId, Staged>) -> Self {
        Truth { staged, ..self }
    }

    /// Whether there are any.
    pub fn is_staged(&self) -> bool {
        !self.staged.is_empty()
    }

    /// A condition that reads what steps put out.
    pub fn staged(&self, condition: ConditionId) -> Option<&Staged> {
        self.staged.get(&condition)
    }

    /// What is known of one.
    pub fn known(&self, condition: ConditionId) -> &Known {
        &self.known[condition.index()]
    }

    /// What is known of all.
    pub fn all(&self) -> &[Known] {
        &self.known
    }

    /// Whether what is known before the run keeps somebody away from a place with these conditions, so that nobody waits for him
    /// (see [`Plan::settle_places`]); nothing: it may.
    pub fn kept_away<'a>(&self, when: impl IntoIterator<Item = &'a ConditionId>) -> Option<bool> {
        let mut away = Some(false);
        for condition in when {
            match self.before[condition.index()] {
                Before::Comes(false) => return Some(true),
                Before::Open => away = None,
                Before::Comes(true) | Before::Late => {}
            }
        }
        away
    }

    /// Whether it holds; nothing: it may come to either.
    fn holds(&self, condition: ConditionId) -> Option<bool> {
        match self.known(condition) {
            Known::Comes { to, .. } => Some(*to),
            Known::Open | Known::Fails | Known::Asks(_) => None,
        }
    }
}

/// Something that can go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Every attempt of a step fails so; a person who is asked answers so, or nobody does.
    Step {
        /// Which step.
        step: StepId,
        /// Of which kind.
        kind: Kind,
        /// How many of its hosts failed, of how many.
        hosts: Option<(u32, u32)>,
        /// What a person answers where a rule asks one; nothing: nobody answers.
        answer: Option<Answer>,
    },
    /// A participant has waited for as long as its barrier lets it.
    Waited(PlaceId),
    /// An approval between stages is refused, or not given in time.
    Approval(ApprovalId, Kind),
    /// A condition cannot be decided.
    Condition(ConditionId),
}

/// A fault, and what the rules make of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trigger {
    pub fault: Fault,
    pub verdict: Verdict,
    /// The rule that says so.
    pub rule: Option<(ScopeId, u32)>,
}

/// A changing step, and which rollbacks take it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub step: StepId,
    /// Rolling the whole stage back does.
    pub whole: bool,
    /// Rolling its phase back does.
    pub phase: bool,
}

/// What a branch comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Steps,
    Barrier {
        barrier: BarrierId,
        place: PlaceId,
        /// Whether the branch may wait here.
        may_wait: bool,
        /// Whether nothing lets it go past before everybody has arrived.
        must_wait: bool,
        /// Whether all others surely wait for it to have come here; else it may be kept away, see [`Truth::kept_away`].
        awaited: bool,
        /// What its own rules make of the barrier being broken; nothing: it goes on, or asks (see `judge`).
        judged: Option<Judged>,
    },
    Approval,
}

/// A verdict, and the rule that says so.
pub(super) type Judged = (Verdict, Option<(ScopeId, u32)>);

/// One place of a branch, where time can pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    /// Index among the branch's parts.
    pub part: usize,
    /// Index among the stage's positions.
    pub at: usize,
    pub phase: u32,
    pub what: What,
    pub triggers: Vec<Trigger>,
    pub changes: Vec<Change>,
}

/// A branch, from its first place to its last. Behind the last it waits at `commit`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Course {
    pub elements: Vec<Element>,
    /// Where the first changing step stands.
    pub first_change: Option<usize>,
    /// Where the first changing step stands that rolling everything back leaves as it is.
    pub first_left: Option<usize>,
    /// Whether a broken barrier may lead to anything but rolling everything back.
    pub judges: bool,
    /// Every barrier with the element where it stands, in order.
    places: Vec<(BarrierId, usize)>,
    /// The elements that change something.
    pub changing: Vec<usize>,
    /// The verdicts of broken barriers by part, each with an example and the last element that has it.
    verdicts: Vec<(usize, Judged, usize)>,
    /// Whether it ends before its last place, because a condition there can surely not be decided.
    ends: bool,
    /// Conditions of what undoes its steps that ask how the stage failed: then branches are alike only where these come to
    /// the same.
    pub asks: Vec<(StageId, ConditionId)>,
}

/// Whether conditions hold: surely, surely not, or perhaps.
fn all_hold(
    truth: &Truth,
    when: impl IntoIterator<Item = impl std::borrow::Borrow<ConditionId>>,
) -> Option<bool> {
    let mut sure = true;
    for condition in when {
        match truth.holds(*condition.borrow()) {
            Some(false) => return Some(false),
            Some(true) => {}
            None => sure = false,
        }
    }
    sure.then_some(true)
}

/// Whether deciding an expression may itself go wrong: it reads what a step has to give first or what may be missing, or
/// tries a pattern.
fn may_fail(expr: &Expr) -> bool {
    let mut found = false;
    expr.walk(&mut |part| {
        found |= match part {
            Expr::Output { .. } | Expr::Failure(_) | Expr::Call(crate::Function::Matches, _) => true,
            Expr::Param(name) => Expr::may_be_missing(name),
            _ => false,
        };
    });
    found
}

/// Barriers whose breaking some participants need not mind.
pub(super) struct Soft {
    /// Everybody passes over them, or perhaps does not come at all: nobody surely waits there.
    lax: BTreeSet<BarrierId>,
    /// Everybody passes over them, or surely does not come at all, and nobody can be late: nobody can fail there.
    harmless: BTreeSet<BarrierId>,
}

/// Whether the stage of some participant may not have been started while others wait: it stands behind something in its lane, or
/// behind `max`. Where such a barrier breaks that stage never starts, whatever its rules would have said.
pub(super) fn may_come_late(plan: &Plan, barrier: BarrierId) -> bool {
    plan.barriers[barrier.index()].places.iter().any(|place| {
        let Some(stage) = plan.places[place.index()].stage else { return false };
        let data = &plan.stages[stage.index()];
        let item = &plan.items[data.item.index()];
        let max = item.group.and_then(|group| group.max);
        let first = item.branches[data.branch as usize].parts.first() == Some(&Part::Stage(stage));
        !first || max.is_some_and(|max| (max as usize) < item.branches.len())
    })
}

/// The barriers of a group that are [`Soft`].
pub(super) fn soft_barriers(plan: &Plan, item: ItemId, truth: &Truth) -> Soft {
    // Whether a place is come to at all: the last thing known of all conditions around it.
    let mut known: Vec<Option<bool>> = vec![Some(true); plan.places.len()];
    for (place, when) in plan.conditions_of_places() {
        known[place.index()] = all_hold(truth, when);
    }
    let comes = |place: PlaceId| known[place.index()];
    let mut soft = Soft { lax: BTreeSet::new(), harmless: BTreeSet::new() };
    for (index, barrier) in plan.barriers.iter().enumerate() {
        if barrier.item != item || barrier.kind != crate::BarrierKind::Forward {
            continue;
        }
        let passed = |place: PlaceId| passes(&judge_barrier(plan, place).0);
        let id = BarrierId(index as u32);
        let nobody_fails = |place: &PlaceId| comes(*place) == Some(false) || passed(*place);
        if barrier.places.iter().all(nobody_fails) && !may_come_late(plan, id) {
            soft.harmless.insert(id);
        }
        if barrier.places.iter().all(|place| comes(*place) != Some(true) || passed(*place)) {
            soft.lax.insert(id);
        }
    }
    soft
}

/// The course of one branch of a group.
pub(super) fn course(plan: &Plan, item: ItemId, branch: usize, truth: &Truth, soft: &Soft) -> Course {
    let mut course = Course::default();
    for (part, it) in plan.items[item.index()].branches[branch].parts.iter().enumerate() {
        if course.ends {
            break;
        }
        match it {
            Part::Stage(stage) => add_stage(plan, *stage, part, truth, soft, &mut course),
            Part::Approval(approval) => course.elements.push(Element {
                part,
                at: 0,
                phase: 0,
                what: What::Approval,
                triggers: APPROVAL_KINDS
                    .map(|kind| Trigger {
                        fault: Fault::Approval(*approval, kind),
                        verdict: Verdict::Rollback,
                        rule: None,
                    })
                    .to_vec(),
                changes: Vec::new(),
            }),
        }
    }
    for (index, element) in course.elements.iter().enumerate() {
        if !element.changes.is_empty() {
            course.first_change.get_or_insert(index);
            course.changing.push(index);
        }
        if element.changes.iter().any(|change| !change.whole) {
            course.first_left.get_or_insert(index);
        }
        if let What::Barrier { barrier, judged, .. } = element.what {
            course.judges |= judged.is_some_and(|(verdict, _)| verdict != Verdict::Rollback);
            course.places.push((barrier, index));
            if let Some(judged) = judged {
                let mut of_part = course.verdicts.iter_mut().rev().take_while(|it| it.0 == element.part);
                match of_part.find(|it| it.1.0 == judged.0) {
                    Some((.., last)) => *last = index,
                    None => course.verdicts.push((element.part, judged, index)),
                }
            }
        }
    }
    course.places.sort_unstable();
    course
}

fn add_stage(plan: &Plan, id: StageId, part: usize, truth: &Truth, soft: &Soft, course: &mut Course) {
    let stage = &plan.stages[id.index()];
    let around = all_hold(truth, &stage.when);
    let mut undone = Undone::new(plan, id);
    let mut undecided = fallible(truth, stage.when.iter().copied());
    // A stage that does nothing fails all the same where its conditions cannot be decided.
    if stage.positions.is_empty()
        && let Some(trigger) = undecided.take()
    {
        let (triggers, changes) = (vec![trigger], Vec::new());
        course.elements.push(Element { part, at: 0, phase: 0, what: What::Steps, triggers, changes });
        course.ends = surely_fails(truth, &stage.when);
    }
    for (at, position) in stage.positions.iter().enumerate() {
        let when = stage.when.iter().chain(&position.when);
        let holds = all_hold(truth, when.clone());
        let mut element = Element {
            part,
            at,
            phase: position.phase,
            what: What::Steps,
            triggers: Vec::new(),
            changes: Vec::new(),
        };
        let mut asked: Vec<ConditionId> = Vec::new();
        if around != Some(false) {
            asked.extend(&position.when);
        }
        let mut never_passed = false;
        let away = match &position.work {
            Work::Barrier(place) => truth.kept_away(when.clone().chain(&plan.places[place.index()].when)),
            Work::Steps(_) => Some(false),
        };
        let stops = match away {
            // What stands around the place is not asked there.
            Some(true) => {
                asked.clear();
                surely_fails(truth, &stage.when)
            }
            _ => surely_fails(truth, when.clone()),
        };
        match &position.work {
            Work::Barrier(_) if away == Some(true) => {}
            Work::Steps(steps) => {
                for step in steps.iter().copied() {
                    let data = &plan.steps[step.index()];
                    if stops || holds == Some(false) || all_hold(truth, &data.when) == Some(false) {
                        continue;
                    }
                    if surely_fails(truth, &data.when) {
                        // It never starts.
                        let fails = |it: &Trigger| {
                            matches!(it.fault, Fault::Step { kind: Kind::Application, hosts: None, .. })
                        };
                        element.triggers.extend(triggers(plan, step).into_iter().filter(fails));
                        never_passed |= holds == Some(true) && !passes_over(plan, step);
                        continue;
                    }
                    element.triggers.extend(triggers(plan, step));
                    if data.changes {
                        element.changes.push(undone.change(position.phase, step, truth));
                        course.asks.extend(undo_asks(plan, step, truth).map(|condition| (id, condition)));
                    }
                }
            }
            Work::Barrier(place) => {
                let data = &plan.places[place.index()];
                let holds = all_hold(truth, when.chain(&data.when));
                if around != Some(false) {
                    asked.extend(&data.when);
                }
                let alone = plan.barriers[data.barrier.index()].places.len() < 2;
                let settled = judge_barrier(plan, *place);
                let judged = match settled {
                    (Settled::Verdict(verdict), decision) if !passes(&Settled::Verdict(verdict)) => {
                        Some((verdict, decision.rule))
                    }
                    // Passed over.
                    _ => None,
                };
                element.what = What::Barrier {
                    barrier: data.barrier,
                    place: *place,
                    may_wait: holds != Some(false) && !alone,
                    must_wait: holds == Some(true) && !soft.lax.contains(&data.barrier),
                    awaited: away == Some(false),
                    judged,
                };
                let harmless = soft.harmless.contains(&data.barrier);
                if holds != Some(false) && !alone && !harmless && data.timeout.is_some() {
                    // What follows depends on the other participants: see `Group::verdict_at`.
                    element.triggers.push(Trigger {
                        fault: Fault::Waited(*place),
                        verdict: Verdict::Rollback,
                        rule: None,
                    });
                }
            }
        }
        // The stage's own conditions are decided where it begins.
        element.triggers.extend(undecided.take());
        element.triggers.extend(fallible(truth, asked));
        let rests = !matches!(element.what, What::Steps)
            || !element.triggers.is_empty()
            || !element.changes.is_empty()
            || matches!(&position.work, Work::Steps(steps) if holds != Some(false)
                && steps.iter().any(|step| all_hold(truth, &plan.steps[step.index()].when) != Some(false)));
        if rests {
            course.elements.push(element);
        }
        // The branch ends here, whatever happens: nothing behind is come to.
        if stops || never_passed {
            course.ends = true;
            return;
        }
    }
}

/// Whether conditions can surely not be decided.
fn surely_fails<'a>(truth: &Truth, when: impl IntoIterator<Item = &'a ConditionId>) -> bool {
    let mut fails = false;
    let decided = when.into_iter().all(|condition| match truth.known(*condition) {
        Known::Fails => {
            fails = true;
            true
        }
        Known::Comes { to, .. } => *to,
        Known::Open | Known::Asks(_) => false,
    });
    decided && fails
}

/// Whether the stage may go on when a step fails because its own condition cannot be decided.
fn passes_over(plan: &Plan, step: StepId) -> bool {
    let failure = Failure::new(Kind::Application, "");
    let Some((_, rule)) = rule_for(plan, &plan.steps[step.index()].scopes, &failure) else { return false };
    let mut ends = ends(plan, step, &rule.reaction).into_iter();
    ends.any(|(_, verdict)| matches!(verdict, Verdict::Ignore | Verdict::Succeed))
}

/// The first of some conditions that may be impossible to decide: then the stage rolls back, whatever its rules say.
fn fallible(truth: &Truth, conditions: impl IntoIterator<Item = ConditionId>) -> Option<Trigger> {
    let condition =
        conditions.into_iter().find(|id| truth.holds(*id) != Some(false) && truth.may_fail[id.index()])?;
    Some(Trigger { fault: Fault::Condition(condition), verdict: Verdict::Rollback, rule: None })
}

/// What a stage's rollbacks run, each asked of the machine once for a phase: whether a step is undone depends on no step of
/// another phase but those that the phase's own rollback, or the stage's, names.
struct Undone<'a> {
    plan: &'a Plan,
    stage: StageId,
    /// By phase: what rolling back the stage runs when only that phase was executed, and what rolling back the phase does.
    known: BTreeMap<u32, [BTreeSet<StepId>; 2]>,
}

impl<'a> Undone<'a> {
    fn new(plan: &'a Plan, stage: StageId) -> Self {
        Undone { plan, stage, known: BTreeMap::new() }
    }

    /// Which rollbacks take a changing step back. An undoing step that may be skipped takes nothing back for sure.
    fn change(&mut self, phase: u32, step: StepId, truth: &Truth) -> Change {
        let (plan, stage) = (self.plan, self.stage);
        let undo = plan.steps[step.index()].undo.step();
        let Some(undo) = undo.filter(|undo| all_hold(truth, &plan.steps[undo.index()].when) == Some(true))
        else {
            return Change { step, whole: false, phase: false };
        };
        let [whole, own] = self.known.entry(phase).or_insert_with(|| {
            // A block leaves out only what undoes steps that were not executed, so that all of the phase may have been: a
            // step's own undoing is there when it is there for that step alone.
            let here = |it: StepId| plan.steps[it.index()].phase == Some(phase);
            [None, Some(phase)].map(|only| {
                let queue = rollback_queue(plan, stage, only, &here);
                let steps = queue.into_iter().flat_map(|item| match item {
                    BlockItem::Steps(steps) => steps,
                    BlockItem::Barrier(_) => Vec::new(),
                });
                steps.collect()
            })
        });
        Change { step, whole: whole.contains(&undo), phase: own.contains(&undo) }
    }
}

/// What it depends on whether a step is undone, of what asks about the failure.
fn undo_asks(plan: &Plan, step: StepId, truth: &Truth) -> impl Iterator<Item = ConditionId> {
    let undo = plan.steps[step.index()].undo.step();
    let when = undo.map(|undo| plan.steps[undo.index()].when.as_slice()).unwrap_or_default();
    when.iter().copied().filter(|id| {
        truth.holds(*id).is_none() && plan.conditions[id.index()].asks_of_failure(&crate::FailureFact::ALL)
    })
}

/// Every way in which a step can end its stage, or stand failed. Retries only delay what follows them.
pub(super) fn triggers(plan: &Plan, step: StepId) -> Vec<Trigger> {
    let data = &plan.steps[step.index()];
    let kinds: &[Kind] = if is_approval(data) { &APPROVAL_KINDS } else { &STEP_KINDS };
    let mut found: Vec<Trigger> = Vec::new();
    for hosts in shares(plan, step) {
        for kind in kinds.iter().copied() {
            let failure = Failure { kind, message: String::new(), hosts };
            let (rule, reaction) = match rule_for(plan, &data.scopes, &failure) {
                Some((rule, found)) => (Some(rule), &found.reaction),
                None => (None, &Reaction::Rollback),
            };
            for (answer, verdict) in ends(plan, step, reaction) {
                let harmless = match verdict {
                    Verdict::Succeed => true,
                    Verdict::Ignore => !data.changes,
                    _ => false,
                };
                let known = |it: &Trigger| {
                    let same = matches!(it.fault, Fault::Step { kind: known, .. } if known == kind);
                    same && it.verdict == verdict && it.rule == rule
                };
                if !harmless && !found.iter().any(known) {
                    let fault = Fault::Step { step, kind, hosts, answer };
                    found.push(Trigger { fault, verdict, rule });
                }
            }
        }
    }
    found
}

/// Every way in which a stage can end because of itself: its steps, its waits, its conditions.
pub(super) fn stage_triggers(plan: &Plan, stage: StageId, truth: &Truth) -> Vec<Trigger> {
    let data = &plan.stages[stage.index()];
    let mut found = Vec::new();
    found.extend(fallible(truth, data.when.iter().copied()));
    for position in &data.positions {
        found.extend(fallible(truth, position.when.iter().copied()));
        match &position.work {
            Work::Steps(steps) => {
                for step in steps {
                    let when = &plan.steps[step.index()].when;
                    let around = data.when.iter().chain(&position.when);
                    if all_hold(truth, around.chain(when)) != Some(false) {
                        found.extend(fallible(truth, when.iter().copied()));
                        found.extend(triggers(plan, *step));
                    }
                }
            }
            Work::Barrier(place) => {
                let it = &plan.places[place.index()];
                found.extend(fallible(truth, it.when.iter().copied()));
                let alone = plan.barriers[it.barrier.index()].places.len() < 2;
                let (settled, decision) = judge_barrier(plan, *place);
                let verdict = match settled {
                    _ if alone || it.timeout.is_none() => continue,
                    // It goes on itself; another one fails that has not been started.
                    _ if passes(&settled) => match may_come_late(plan, it.barrier) {
                        true => Verdict::Rollback,
                        false => continue,
                    },
                    Settled::Verdict(verdict) => verdict,
                    // Somebody may answer `rollback`.
                    Settled::Ask(_) => Verdict::Rollback,
                };
                found.push(Trigger { fault: Fault::Waited(*place), verdict, rule: decision.rule });
            }
        }
    }
    found
}

/// Whether the stage may go on past a step that failed, which puts nothing out then.
pub fn may_be_passed_over(plan: &Plan, step: StepId) -> bool {
    let data = &plan.steps[step.index()];
    shares(plan, step).into_iter().any(|hosts| {
        STEP_KINDS.into_iter().any(|kind| {
            let failure = Failure { kind, message: String::new(), hosts };
            let Some((_, rule)) = rule_for(plan, &data.scopes, &failure) else { return false };
            let mut ends = ends(plan, step, &rule.reaction).into_iter();
            ends.any(|(_, verdict)| matches!(verdict, Verdict::Ignore | Verdict::Succeed))
        })
    })
}

/// What a reaction comes to in the end, with the answer that leads there.
fn ends(plan: &Plan, step: StepId, reaction: &Reaction) -> Vec<(Option<Answer>, Verdict)> {
    match reaction {
        Reaction::Retry { then, .. } => ends(plan, step, then),
        Reaction::Ask { then, .. } => {
            let mut found = ends(plan, step, then);
            for answer in answers(plan, step) {
                let verdict = match answer {
                    Answer::Ignore => Verdict::Ignore,
                    Answer::Succeed => Verdict::Succeed,
                    Answer::Rollback => Verdict::Rollback,
                    Answer::Abort => Verdict::Abort,
                    // Another attempt, with another end.
                    Answer::Retry | Answer::Approve | Answer::Reject => continue,
                };
                found.push((Some(answer), verdict));
            }
            found
        }
        other => vec![(None, final_verdict(other))],
    }
}

/// The limits of `under N% of hosts` in the rules of a step that has hosts.
pub(crate) fn limits(plan: &Plan, step: StepId) -> BTreeSet<u32> {
    let data = &plan.steps[step.index()];
    let target = data.action.target.map(|target| &plan.targets[target.index()]);
    if !target.is_some_and(|target| target.settings.contains_key("hosts")) {
        return BTreeSet::new();
    }
    let rules = data.scopes.iter().flat_map(|scope| &plan.scopes[scope.index()].rules);
    rules.filter_map(|rule| rule.under).collect()
}

/// Shares of failed hosts that the rules of a step can tell apart.
fn shares(plan: &Plan, step: StepId) -> Vec<Option<(u32, u32)>> {
    const OF: u32 = 1000;
    let mut shares = vec![None];
    let limits = limits(plan, step);
    if !limits.is_empty() {
        shares.push(Some((OF, OF)));
    }
    // Just under each limit; fewer than one host of a thousand never fails.
    shares.extend(limits.into_iter().filter_map(|limit| {
        let failed = (limit.saturating_mul(OF / 100)).saturating_sub(1).min(OF);
        (failed > 0).then_some(Some((failed, OF)))
    }));
    shares
}

impl Course {
    /// The changing step that stays as it is when the branch, at element `q` (or at `commit`), meets that verdict.
    pub fn stays(&self, q: usize, verdict: Verdict) -> Option<StepId> {
        if verdict == Verdict::Rollback {
            let first = self.first_left.filter(|first| *first <= q)?;
            return self.elements[first].changes.iter().find(|it| !it.whole).map(|it| it.step);
        }
        self.left(q, verdict).next().map(|(_, step)| step)
    }

    /// What broken barriers may lead to that the stage at element `q` has before it, an example of each verdict.
    pub fn verdicts_ahead(&self, q: usize) -> impl Iterator<Item = Judged> + '_ {
        let part = self.elements.get(q).map(|it| it.part);
        let ahead = self.verdicts.iter().filter(move |(of, _, last)| Some(*of) == part && *last >= q);
        ahead.map(|(_, judged, _)| *judged)
    }

    /// The first element at or behind `from` that is a place of a barrier.
    pub fn next_place(&self, barrier: BarrierId, from: usize) -> Option<usize> {
        let next = self.places.partition_point(|it| *it < (barrier, from));
        self.places.get(next).filter(|(it, _)| *it == barrier).map(|(_, at)| *at)
    }

    /// The changing steps of the stage at element `q` that such a verdict leaves as they are.
    pub fn left_here(&self, q: usize, verdict: Verdict) -> impl Iterator<Item = StepId> + '_ {
        let part = self.elements[q].part;
        self.left(q, verdict).filter(move |(of, _)| *of == part).map(|(_, step)| step)
    }

    /// What such a verdict leaves, each with its part.
    fn left(&self, q: usize, verdict: Verdict) -> impl Iterator<Item = (usize, StepId)> + '_ {
        let here = self.elements.get(q);
        let started = self.changing.iter().take_while(move |at| **at <= q).map(|at| &self.elements[*at]);
        started
            .flat_map(|element| element.changes.iter().map(move |change| (element, change)))
            .filter(move |(element, change)| {
                let undone = match verdict {
                    Verdict::Abort => false,
                    // The earlier stages of a lane go back as a whole.
                    _ if here.is_none_or(|here| here.part != element.part) => change.whole,
                    Verdict::Rollback => change.whole,
                    Verdict::RollbackPhase => {
                        change.phase && here.is_some_and(|here| here.phase == element.phase)
                    }
                    _ => false,
                };
                !undone
            })
            .map(|(element, change)| (element.part, change.step))
    }
}
