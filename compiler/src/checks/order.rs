//! The order of barriers: which branch of a group meets which barriers, in which order.

use super::Judged;
use lockstep_plan::{
    BarrierId, BarrierKind, BlockItem, ConditionId, Expr, ItemId, Part, PlaceId, StageId, Value, Work,
};

/// A barrier as one branch meets it.
#[derive(Debug, Clone)]
pub struct Meeting {
    pub barrier: BarrierId,
    pub place: PlaceId,
    pub stage: StageId,
    /// What has to hold for the branch to meet it: conditions of stage, phase, section and barrier.
    pub when: Vec<ConditionId>,
}

impl Judged<'_, '_> {
    /// For each branch of an item the barriers of a kind that it can meet, in order. Constantly skipped ones are
    /// left out; rollbacks go through phases backwards.
    pub fn meetings(&self, item: ItemId, kind: BarrierKind) -> Vec<Vec<Meeting>> {
        let plan = &self.lowered.plan;
        let branches = &plan.items[item.index()].branches;
        branches
            .iter()
            .map(|branch| {
                let mut met = Vec::new();
                for part in &branch.parts {
                    if let Part::Stage(stage) = part {
                        self.of_stage(*stage, kind, &mut met);
                    }
                }
                if kind == BarrierKind::Rollback {
                    met.reverse();
                }
                met
            })
            .collect()
    }

    fn of_stage(&self, id: StageId, kind: BarrierKind, met: &mut Vec<Meeting>) {
        let plan = &self.lowered.plan;
        let stage = &plan.stages[id.index()];
        let mut meet = |place: PlaceId, around: &[ConditionId]| {
            let it = &plan.places[place.index()];
            let mut when = stage.when.clone();
            when.extend(around.iter().chain(&it.when).filter(|id| !stage.when.contains(id)));
            let never = when.iter().any(|id| plan.conditions[id.index()] == Expr::Value(Value::Bool(false)));
            if !never && plan.barriers[it.barrier.index()].kind == kind {
                met.push(Meeting { barrier: it.barrier, place, stage: id, when });
            }
        };
        match kind {
            BarrierKind::Rollback => {
                // Collected backwards: the caller turns the whole branch around.
                let blocks =
                    stage.rollback.iter().chain(stage.phases.iter().filter_map(|it| it.rollback.as_ref()));
                for block in blocks {
                    for item in block.iter().rev() {
                        if let BlockItem::Barrier(place) = item {
                            meet(*place, &[]);
                        }
                    }
                }
            }
            _ => {
                for position in &stage.positions {
                    if let Work::Barrier(place) = &position.work {
                        meet(*place, &position.when);
                    }
                }
            }
        }
    }

    /// Whether something of an item was not understood, so that what it lacks may be a consequence.
    pub fn is_damaged(&self, item: ItemId) -> bool {
        let (plan, origins) = (&self.lowered.plan, &self.lowered.origins);
        let at = self.model.location(self.pipeline);
        self.model.program.is_damaged(at.file, self.model.decl(self.pipeline).span)
            || plan
                .stages
                .iter()
                .zip(&origins.workflows)
                .any(|(stage, at)| stage.item == item && self.model.program.is_damaged(at.file, at.span))
    }

    /// Every item, with its index.
    pub fn items(&self) -> impl Iterator<Item = ItemId> {
        (0..self.lowered.plan.items.len() as u32).map(ItemId)
    }
}
