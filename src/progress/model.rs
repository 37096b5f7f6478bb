//! What each stage does at this moment, folded from what is told of a run.

use crate::text::one_line;
use lockstep_executor::Line;
use lockstep_plan::{
    ApprovalId, BarrierId, Happening, PlaceId, Plan, Question, RunOutcome, StageOutcome, StepId, Verdict,
};
use std::collections::BTreeMap;

/// A run as the live view shows it.
pub struct Model {
    /// In the plan's order.
    pub lanes: Vec<Lane>,
    /// In the plan's order.
    pub places: Vec<Place>,
    /// In the plan's order: whether it opened, once it is decided.
    pub barriers: Vec<Option<bool>>,
    /// Approvals between stages that people are asked for, and since when.
    pub approvals: BTreeMap<ApprovalId, (String, u64)>,
    /// When the run began.
    pub began: u64,
    /// Whether somebody stops it or takes it back.
    pub turned: Option<&'static str>,
    /// How it ended.
    pub ended: Option<RunOutcome>,
}

/// A stage.
#[derive(Debug, Clone, Default)]
pub struct Lane {
    /// What it does as a whole.
    pub mode: Mode,
    /// The phase that it came to.
    pub phase: Option<u32>,
    /// What it is at, with the time since when.
    pub doing: BTreeMap<StepId, (Doing, u64)>,
    /// The barrier's place at which it waits, and since when.
    pub waits: Option<(PlaceId, u64)>,
    /// A person decides about a broken barrier: who is asked, and since when.
    pub asked: Option<(PlaceId, String, u64)>,
    /// The last line that one of its steps printed.
    pub line: Option<(StepId, String)>,
    /// When it began and when it ended.
    pub began: Option<u64>,
    pub ended: Option<u64>,
}

/// What a stage does as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// It has not begun.
    #[default]
    Waiting,
    /// It goes forward.
    Forward,
    /// It has failed; what runs comes to its end.
    Failing,
    /// It undoes what it did.
    Back,
    /// It has ended.
    Ended(StageOutcome),
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doing {
    /// That attempt runs.
    Attempt(u32),
    /// The next attempt comes after that many milliseconds.
    Backoff(u64),
    /// Somebody of that group is asked.
    Asking(String),
}

/// A participant at a barrier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Place {
    /// Not there.
    #[default]
    Ahead,
    /// There.
    Arrived,
    /// It does not come.
    Excused,
    /// It goes on though the barrier broke.
    Passed,
}

impl Model {
    /// Nothing has happened.
    pub fn new(plan: &Plan) -> Model {
        Model {
            lanes: vec![Lane::default(); plan.stages.len()],
            places: vec![Place::default(); plan.places.len()],
            barriers: vec![None; plan.barriers.len()],
            approvals: BTreeMap::new(),
            began: 0,
            turned: None,
            ended: None,
        }
    }

    /// A step printed a line.
    pub fn printed(&mut self, plan: &Plan, line: &Line<'_>) {
        let lane = &mut self.lanes[plan.steps[line.step.index()].stage.index()];
        if !line.text.trim().is_empty() {
            lane.line = Some((line.step, one_line(line.text)));
        }
    }

    /// Something happened at that time.
    pub fn happened(&mut self, plan: &Plan, at: u64, happening: &Happening) {
        match happening {
            Happening::RunStarted => self.began = at,
            Happening::StageStarted(stage) => {
                let lane = &mut self.lanes[stage.index()];
                (lane.mode, lane.began) = (Mode::Forward, Some(at));
            }
            Happening::PhaseStarted(stage, phase) => self.lanes[stage.index()].phase = Some(*phase),
            Happening::StageFailing(stage, ..) => {
                let lane = &mut self.lanes[stage.index()];
                (lane.mode, lane.waits) = (Mode::Failing, None);
                lane.doing.retain(|_, (doing, _)| matches!(doing, Doing::Attempt(_)));
            }
            Happening::RollbackStarted(stage) => {
                let lane = &mut self.lanes[stage.index()];
                (lane.mode, lane.ended, lane.waits) = (Mode::Back, None, None);
                lane.doing.clear();
            }
            Happening::StageEnded(stage, outcome) => {
                let lane = &mut self.lanes[stage.index()];
                *lane = Lane {
                    mode: Mode::Ended(*outcome),
                    phase: lane.phase,
                    began: lane.began,
                    ended: Some(at),
                    ..Lane::default()
                };
            }
            Happening::StepStarted(step, attempt) => {
                let step_data = &plan.steps[step.index()];
                let lane = &mut self.lanes[step_data.stage.index()];
                lane.phase = step_data.phase.or(lane.phase);
                lane.line = None;
                lane.doing.insert(*step, (Doing::Attempt(*attempt), at));
            }
            Happening::StepSucceeded(step) | Happening::StepDropped(step) | Happening::StepSkipped(step) => {
                self.lane_of(plan, *step).doing.remove(step);
            }
            Happening::StepFailed { step, decision, .. } => {
                let lane = self.lane_of(plan, *step);
                match decision.verdict {
                    Verdict::Retry(wait) => drop(lane.doing.insert(*step, (Doing::Backoff(wait), at))),
                    _ => drop(lane.doing.remove(step)),
                }
            }
            Happening::Asked(Question::Step(step), group) => {
                let asking = (Doing::Asking(group.clone()), at);
                self.lane_of(plan, *step).doing.insert(*step, asking);
            }
            Happening::Asked(Question::Place(place), group) => {
                if let Some(stage) = plan.places[place.index()].stage {
                    self.lanes[stage.index()].asked = Some((*place, group.clone(), at));
                }
            }
            Happening::Asked(Question::Approval(approval), group) => {
                self.approvals.insert(*approval, (group.clone(), at));
            }
            Happening::AnsweredBy(question, ..) | Happening::QuestionTimedOut(question) => match question {
                Question::Step(step) => drop(self.lane_of(plan, *step).doing.remove(step)),
                Question::Place(place) => {
                    if let Some(stage) = plan.places[place.index()].stage {
                        self.lanes[stage.index()].asked = None;
                    }
                }
                Question::Approval(approval) => drop(self.approvals.remove(approval)),
            },
            Happening::BarrierArrived(place) => {
                self.places[place.index()] = Place::Arrived;
                if let Some(stage) = plan.places[place.index()].stage {
                    self.lanes[stage.index()].waits = Some((*place, at));
                }
            }
            Happening::BarrierExcused(place) => self.places[place.index()] = Place::Excused,
            Happening::BarrierPassed(place, _) => {
                self.places[place.index()] = Place::Passed;
                self.leave(plan, plan.places[place.index()].barrier, Some(*place));
            }
            Happening::BarrierGivenUp(place) => {
                self.leave(plan, plan.places[place.index()].barrier, Some(*place));
            }
            Happening::BarrierOpened(barrier) => {
                self.barriers[barrier.index()] = Some(true);
                self.leave(plan, *barrier, None);
            }
            Happening::BarrierBroken(barrier, ..) => {
                self.barriers[barrier.index()] = Some(false);
                self.leave(plan, *barrier, None);
            }
            Happening::AbortRequested(_) => self.turned = Some("aborting"),
            Happening::RollbackRequested(_) => (self.turned, self.ended) = (Some("rolling back"), None),
            Happening::ClaimsGranted(_) | Happening::ClaimsRefused(..) => {}
            Happening::RunEnded(outcome, _) => self.ended = Some(*outcome),
            Happening::RollbackFailed(_, step, _) => {
                self.lane_of(plan, *step).doing.remove(step);
            }
        }
    }

    fn lane_of(&mut self, plan: &Plan, step: StepId) -> &mut Lane {
        &mut self.lanes[plan.steps[step.index()].stage.index()]
    }

    /// Nobody waits at the barrier any more, or the one at that place does not.
    fn leave(&mut self, plan: &Plan, barrier: BarrierId, only: Option<PlaceId>) {
        for place in &plan.barriers[barrier.index()].places {
            let Some(stage) =
                plan.places[place.index()].stage.filter(|_| only.is_none_or(|only| only == *place))
            else {
                continue;
            };
            let lane = &mut self.lanes[stage.index()];
            if lane.waits.is_some_and(|(at, _)| at == *place) {
                lane.waits = None;
            }
        }
    }

    /// Participants of a barrier: how many are there or do not come, of how many.
    pub fn count(&self, plan: &Plan, barrier: BarrierId) -> (usize, usize) {
        let places = &plan.barriers[barrier.index()].places;
        let there = places.iter().filter(|place| self.places[place.index()] != Place::Ahead).count();
        (there, places.len())
    }
}
