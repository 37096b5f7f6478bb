//! How much may be done to find out whether promises are kept.

use crate::Plan;

/// What proofs may still cost, in events that the machine is given; what takes as long as so many counts as they do. One
/// counts for all the groups of a source, so that the time stays in proportion to it. The first look at a group, with all
/// conditions open, is free: it is short, and decides most of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort(usize);

impl Effort {
    /// So many events.
    pub fn new(events: usize) -> Self {
        Effort(events)
    }

    /// No more than so many of these.
    pub fn at_most(self, events: usize) -> Self {
        Effort(self.0.min(events))
    }

    /// Whether no more may be done.
    pub fn is_spent(self) -> bool {
        self.0 == 0
    }

    /// Takes some. Nothing where there was none left.
    pub(super) fn take(&mut self, events: usize) -> Option<()> {
        let allowed = !self.is_spent();
        self.0 = self.0.saturating_sub(events);
        allowed.then_some(())
    }
}

/// What it takes to go through all of a plan once, in events.
pub(super) fn once(plan: &Plan) -> usize {
    const OF_ONE_EVENT: usize = 3;
    (plan.steps.len() + plan.places.len() + plan.stages.len() + plan.conditions.len()) / OF_ONE_EVENT
}
