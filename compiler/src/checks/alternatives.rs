//! Stages of which a run has at most one: what is known before it keeps the one or the other away.

use super::Judged;
use super::satisfy::{Atoms, Domains};
use lockstep_plan::{Expr, StageId};

/// More questions than this are not tried out: alternatives ask few.
const MOST_ATOMS: usize = 4;

impl Judged<'_, '_> {
    /// What the parameters of the pipeline can be.
    pub fn domains(&self) -> &Domains {
        self.domains.get_or_init(|| Domains::of(self.model, self.pipeline))
    }

    /// Whether no run has both of these stages, whatever its arguments are.
    pub fn are_alternatives(&self, one: StageId, other: StageId) -> bool {
        let plan = &self.lowered.plan;
        let when = |stage: StageId| plan.stages[stage.index()].when.as_slice();
        if when(one).is_empty() || when(other).is_empty() {
            return false;
        }
        let both = when(one).iter().chain(when(other));
        let all: Vec<&Expr> = both.map(|id| &plan.conditions[id.index()]).collect();
        // They ask for arguments alone: no stage sees what another one put out.
        let mut atoms = Atoms::new(self.domains());
        all.iter().for_each(|condition| atoms.add(condition));
        let answers = if atoms.len() <= MOST_ATOMS { atoms.answers() } else { None };
        answers.is_some_and(|mut answers| {
            !answers.any(|answers| all.iter().all(|condition| atoms.holds(condition, &answers)))
        })
    }

    /// The first of some stages that this one may run beside; it is put to them otherwise, if they are not too many.
    pub fn beside(&self, earlier: &mut Vec<StageId>, stage: StageId) -> Option<StageId> {
        const MOST: usize = 4;
        let found = earlier.iter().find(|it| **it == stage || !self.are_alternatives(**it, stage));
        if let Some(found) = found {
            return Some(*found);
        }
        if earlier.len() < MOST {
            earlier.push(stage);
        }
        None
    }
}
