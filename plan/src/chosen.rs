//! What can be chosen to fail in a rehearsal, what can be asked, and which failures a plan tells apart.

use crate::machine::{Settled, answers, final_verdict, is_approval, judge_barrier, matches, rule_for};
use crate::proof::limits;
use crate::simulate::Scenario;
use crate::{
    Answer, ApprovalId, Expr, Facts, Failure, FailureFact, Kind, PlaceId, Plan, Question, Reaction, Role,
    RunFact, StepId, Value, Verdict,
};
use std::fmt::Write;

/// Something that can be chosen to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fallible {
    /// A step.
    Step(StepId),
    /// An approval between stages.
    Approval(ApprovalId),
    /// The wait of a participant at a barrier, which runs out because others are late.
    Wait(PlaceId),
}

/// A failure that is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Chosen {
    /// What fails.
    pub what: Fallible,
    /// How.
    pub kind: Kind,
    /// On how many of its hosts, in percent; nothing where that makes no difference.
    pub share: Option<u32>,
}

impl Chosen {
    /// As `--fail` takes it: `STEP=KIND` or `STEP=KIND@SHARE%`.
    pub fn text(self, plan: &Plan) -> String {
        let mut text = format!("{}={}", self.what.name(plan), self.kind);
        if let Some(share) = self.share {
            let _ = write!(text, "@{share}%");
        }
        text
    }
}

impl Fallible {
    /// Its full name.
    pub fn name(self, plan: &Plan) -> &str {
        match self {
            Fallible::Step(step) => &plan.steps[step.index()].name,
            Fallible::Approval(approval) => &plan.approvals[approval.index()].name,
            Fallible::Wait(place) => &plan.places[place.index()].name,
        }
    }

    /// The kinds of failure that it can end with, the plainest first.
    pub fn kinds(self, plan: &Plan) -> Vec<Kind> {
        let asks = match self {
            Fallible::Step(step) => is_approval(&plan.steps[step.index()]),
            Fallible::Approval(_) => true,
            Fallible::Wait(_) => return vec![Kind::Barrier],
        };
        match asks {
            true => vec![Kind::ApprovalRejected, Kind::Timeout],
            false => Kind::ALL
                .into_iter()
                .filter(|kind| !matches!(kind, Kind::Barrier | Kind::ApprovalRejected))
                .collect(),
        }
    }
}

impl Scenario {
    /// Lets something fail. A wait is let run out by [`late`].
    pub fn fail(&mut self, chosen: Chosen) {
        match chosen.what {
            Fallible::Step(step) => {
                self.fail.insert(step, chosen.kind);
                self.shares.extend(chosen.share.map(|share| (step, share)));
            }
            Fallible::Approval(approval) => _ = self.refuse.insert(approval, chosen.kind),
            Fallible::Wait(_) => {}
        }
    }

    /// What was chosen to fail: steps, also of what undoes others, and approvals.
    pub(crate) fn failing(&self) -> impl Iterator<Item = Chosen> {
        let steps = self.fail.iter().map(|(step, kind)| (Fallible::Step(*step), *kind));
        let refused = self.refuse.iter().map(|(approval, kind)| (Fallible::Approval(*approval), *kind));
        steps.chain(refused).map(|(what, kind)| Chosen { what, kind, share: None })
    }

    /// Whether something was chosen to fail.
    pub(crate) fn fails(&self, what: Fallible) -> bool {
        match what {
            Fallible::Step(step) => self.fail.contains_key(&step),
            Fallible::Approval(approval) => self.refuse.contains_key(&approval),
            Fallible::Wait(_) => false,
        }
    }
}

/// What people may ever be asked, and what they may answer.
pub fn questions(plan: &Plan) -> Vec<(Question, Vec<Answer>)> {
    let asks = |rule: &crate::Rule| {
        let mut reaction = &rule.reaction;
        while let Reaction::Retry { then, .. } = reaction {
            reaction = then;
        }
        matches!(reaction, Reaction::Ask { .. })
    };
    let mut found = Vec::new();
    for index in 0..plan.approvals.len() {
        let question = Question::Approval(ApprovalId(index as u32));
        found.push((question, vec![Answer::Approve, Answer::Reject]));
    }
    for (index, step) in plan.steps.iter().enumerate() {
        let id = StepId(index as u32);
        if is_approval(step) {
            found.push((Question::Step(id), vec![Answer::Approve, Answer::Reject]));
        } else if step.scopes.iter().any(|scope| plan.scopes[scope.index()].rules.iter().any(asks)) {
            found.push((Question::Step(id), answers(plan, id)));
        }
    }
    for index in 0..plan.places.len() {
        let id = PlaceId(index as u32);
        if let Settled::Ask(ask) = judge_barrier(plan, id).0 {
            let mut answers = vec![Answer::Rollback, Answer::Abort];
            if ask.named {
                answers.extend([Answer::Ignore, Answer::Succeed]);
            }
            found.push((Question::Place(id), answers));
        }
    }
    found
}

/// Which failures a plan tells apart.
pub struct ToldApart<'p> {
    plan: &'p Plan,
    /// For each stage the conditions of what undoes it that ask how the stage failed.
    undoing: Vec<Vec<&'p Expr>>,
}

/// What a failure leads to, as far as it depends on its kind and on how many hosts failed.
#[derive(PartialEq)]
struct Consequence {
    /// The step's rule that matches.
    rule: Option<(crate::ScopeId, u32)>,
    /// The rule of the pipeline that matches when the item has ended.
    pipeline: Option<usize>,
    /// What the conditions of undoing come to; the kind itself where that cannot be said before.
    undoing: Vec<Result<bool, Kind>>,
    /// Of an approval: nobody answers, which is not the same as a refusal.
    silence: bool,
}

impl<'p> ToldApart<'p> {
    /// Reads the plan's rules and conditions.
    pub fn new(plan: &'p Plan) -> Self {
        let mut undoing: Vec<Vec<&Expr>> = vec![Vec::new(); plan.stages.len()];
        let steps = plan.steps.iter().filter(|step| step.role != Role::Forward);
        let steps = steps.map(|step| (step.stage, &step.when));
        let places = plan.places.iter().filter_map(|place| Some((place.stage?, &place.when)));
        for (stage, when) in steps.chain(places) {
            for condition in when.iter().map(|condition| &plan.conditions[condition.index()]) {
                if condition.asks_of_failure(&[FailureFact::Kind]) {
                    undoing[stage.index()].push(condition);
                }
            }
        }
        ToldApart { plan, undoing }
    }

    /// The failures of a step that make a difference, the plainest of each: kinds, and shares of the step's hosts just under
    /// what rules ask for. What is told apart by the step's rules, by those of the pipeline, and by conditions of what undoes
    /// the stage; all others are one.
    pub fn failures(&self, step: StepId) -> Vec<Chosen> {
        let shares = limits(self.plan, step).into_iter().map(|limit| limit.min(101).saturating_sub(1));
        let shares: Vec<Option<u32>> =
            std::iter::once(None).chain(shares.filter(|share| *share > 0).map(Some)).collect();
        let what = Fallible::Step(step);
        let kinds = what.kinds(self.plan);
        let mut seen: Vec<Consequence> = Vec::new();
        let mut found = Vec::new();
        for share in shares {
            for &kind in &kinds {
                let consequence = self.consequence(step, kind, share);
                if !seen.contains(&consequence) {
                    seen.push(consequence);
                    found.push(Chosen { what, kind, share });
                }
            }
        }
        found
    }

    fn consequence(&self, step: StepId, kind: Kind, share: Option<u32>) -> Consequence {
        let plan = self.plan;
        let data = &plan.steps[step.index()];
        let failure = Failure { hosts: share.map(|share| (share, 100)), ..Failure::new(kind, "") };
        let rule = rule_for(plan, &data.scopes, &failure);
        // Then neither rules of the pipeline nor what undoes the stage see it.
        let unseen = rule.is_some_and(|(_, rule)| {
            let mut reaction = &rule.reaction;
            while let Reaction::Retry { then, .. } = reaction {
                reaction = then;
            }
            matches!(final_verdict(reaction), Verdict::Ignore | Verdict::Succeed | Verdict::Abort)
        });
        let silence = kind == Kind::Timeout && is_approval(data);
        let rule = rule.map(|(rule, _)| rule);
        if unseen {
            return Consequence { rule, pipeline: None, undoing: Vec::new(), silence };
        }
        let seen = Failure::new(kind, "");
        let facts = HowItFailed { step: &data.name, kind: Some(kind) };
        let undoing = self.undoing[data.stage.index()].iter();
        Consequence {
            rule,
            pipeline: plan.rules.iter().position(|rule| matches(rule, &seen)),
            undoing: undoing
                .map(|it| it.eval(&facts).ok().and_then(|value| value.as_bool()).ok_or(kind))
                .collect(),
            silence,
        }
    }
}

/// What is known of a failure before it happens.
pub(crate) struct HowItFailed<'a> {
    /// Which step, barrier, approval or stage it is that failed.
    pub step: &'a str,
    /// Of which kind; none where it goes back for something else.
    pub kind: Option<Kind>,
}

impl Facts for HowItFailed<'_> {
    fn output(&self, _: StepId, _: &str) -> Option<Value> {
        None
    }
    fn run(&self, _: RunFact) -> Option<Value> {
        None
    }
    fn failure(&self, fact: FailureFact) -> Option<Value> {
        match fact {
            FailureFact::Step => Some(Value::Text(self.step.to_owned())),
            FailureFact::Kind => Some(Value::Text(self.kind.map_or("", Kind::name).into())),
            FailureFact::Message => None,
        }
    }
}
