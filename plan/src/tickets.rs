//! Tickets: in which order what stages claim is granted.
//!
//! Whoever asks for a claim draws a ticket that names everything the claim needs. It is granted as a whole, and for each thing
//! in the order of the tickets, so that nobody is passed over for ever. What counts against a ticket is said here once
//! ([`Rival`], [`suffices`]): the runner asks it about the tickets of all runs, a simulation about those of its own ([`Queue`]).

use crate::{Claim, ClaimId, ClaimScope, Plan};
use std::collections::BTreeMap;

/// What another ticket needs of a thing that a ticket needs, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rival {
    /// How much of it.
    pub permits: u64,
    /// How much there is, as far as it knows.
    pub capacity: u64,
    /// Whether it is granted.
    pub holds: bool,
    /// Whether it was drawn before.
    pub earlier: bool,
    /// Asked for by a run that holds its targets already: the ticket of a phase or of a rollback.
    pub inner: bool,
    /// A target of the same run, which its claims may share.
    pub shared: bool,
}

impl Rival {
    /// Whether it comes before a ticket that is, or is not, [`Rival::inner`] itself. Inner tickets wait for holders and for each
    /// other, never for whoever only waits for its targets: that one may be waiting for them.
    pub fn comes_before(&self, inner: bool) -> bool {
        !self.shared && (self.holds || (self.earlier && (self.inner || !inner)))
    }
}

/// Whether there is enough for so many permits beside everything that comes before. The smallest capacity that anybody knows
/// counts.
pub fn suffices(permits: u64, capacity: u64, before: &[Rival]) -> bool {
    let taken: u64 = before.iter().map(|rival| rival.permits).sum();
    let capacity = before.iter().map(|rival| rival.capacity).fold(capacity, u64::min);
    before.is_empty() || taken + permits <= capacity
}

/// The tickets of one run, while nobody else is there.
///
/// Within one run claims share targets, so that only permits of resources are waited for.
pub(crate) struct Queue<'p> {
    plan: &'p Plan,
    /// In the order in which they were drawn.
    tickets: Vec<Ticket>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticket {
    claim: ClaimId,
    turn: u32,
    granted: bool,
}

/// Permits of a resource: what is held, and what those wait for who come earlier.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    held: u64,
    inner: u64,
    outer: u64,
}

impl<'p> Queue<'p> {
    /// Without tickets.
    pub fn new(plan: &'p Plan) -> Self {
        Queue { plan, tickets: Vec::new() }
    }

    /// Draws a ticket.
    pub fn ask(&mut self, claim: ClaimId, turn: u32) {
        self.tickets.push(Ticket { claim, turn, granted: false });
    }

    /// Gives a ticket back, granted or not.
    pub fn release(&mut self, claim: ClaimId, turn: u32) {
        self.tickets.retain(|ticket| (ticket.claim, ticket.turn) != (claim, turn));
    }

    /// What can be granted now and was not before; it is from now on.
    pub fn grant(&mut self) -> Vec<(ClaimId, u32)> {
        let plan = self.plan;
        let mut sums: BTreeMap<&str, Sums> = BTreeMap::new();
        for ticket in self.tickets.iter().filter(|ticket| ticket.granted) {
            for it in &plan.claims[ticket.claim.index()].uses {
                sums.entry(&it.resource).or_default().held += u64::from(it.permits);
            }
        }
        let mut granted = Vec::new();
        for ticket in self.tickets.iter_mut().filter(|ticket| !ticket.granted) {
            let claim = &plan.claims[ticket.claim.index()];
            let inner = claim.scope != ClaimScope::Stages;
            ticket.granted = claim.uses.iter().all(|it| {
                let capacity = u64::from(capacity(plan, &it.resource));
                let before = sums.get(it.resource.as_str()).copied().unwrap_or_default();
                let mut before = before.rivals(capacity);
                before.retain(|rival| rival.permits > 0 && rival.comes_before(inner));
                suffices(it.permits.into(), capacity, &before)
            });
            if ticket.granted {
                granted.push((ticket.claim, ticket.turn));
            }
            for it in &claim.uses {
                let sums = sums.entry(&it.resource).or_default();
                let sum = match (ticket.granted, inner) {
                    (true, _) => &mut sums.held,
                    (false, true) => &mut sums.inner,
                    (false, false) => &mut sums.outer,
                };
                *sum += u64::from(it.permits);
            }
        }
        granted
    }
}

impl Sums {
    fn rivals(self, capacity: u64) -> Vec<Rival> {
        let rival =
            |permits, holds, inner| Rival { permits, capacity, holds, earlier: true, inner, shared: false };
        vec![rival(self.held, true, false), rival(self.inner, false, true), rival(self.outer, false, false)]
    }
}

/// How many permits of a resource there are.
fn capacity(plan: &Plan, resource: &str) -> u32 {
    plan.resources.get(resource).copied().unwrap_or(1)
}

/// For each claim whether it may have to wait for others of its run: together they need more of something than there is.
pub(crate) fn contended(plan: &Plan) -> Vec<bool> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    for it in plan.claims.iter().flat_map(|claim| &claim.uses) {
        *sums.entry(&it.resource).or_default() += u64::from(it.permits);
    }
    sums.retain(|resource, sum| *sum > u64::from(capacity(plan, resource)));
    let contended = |claim: &Claim| claim.uses.iter().any(|it| sums.contains_key(it.resource.as_str()));
    plan.claims.iter().map(contended).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Use;

    /// Claims that need so many permits of `a` and of `b`, of which there are two and one; whether of a phase.
    fn plan(claims: &[(u32, u32, bool)]) -> Plan {
        let uses =
            |permits: u32, resource: &str| (permits > 0).then(|| Use { resource: resource.into(), permits });
        let claim = |(a, b, inner): &(u32, u32, bool)| Claim {
            scope: if *inner { ClaimScope::Phase(0) } else { ClaimScope::Stages },
            stages: Vec::new(),
            targets: Vec::new(),
            uses: [uses(*a, "a"), uses(*b, "b")].into_iter().flatten().collect(),
            reject: false,
        };
        let claims = claims.iter().map(claim).collect();
        Plan { claims, resources: [("a".into(), 2), ("b".into(), 1)].into(), ..Plan::default() }
    }

    fn granted(queue: &mut Queue<'_>) -> Vec<u32> {
        queue.grant().into_iter().map(|(claim, _)| claim.0).collect()
    }

    #[test]
    fn claims_are_granted_whole_and_in_order() {
        let plan = plan(&[(1, 0, false), (2, 1, false), (0, 1, false), (1, 0, false)]);
        let mut queue = Queue::new(&plan);
        (0..4).for_each(|claim| queue.ask(ClaimId(claim), 1));
        // The second waits for the first, and the others for what the second needs.
        assert_eq!(granted(&mut queue), [0]);
        assert_eq!(granted(&mut queue), [0; 0]);
        queue.release(ClaimId(0), 1);
        assert_eq!(granted(&mut queue), [1]);
        queue.release(ClaimId(1), 1);
        assert_eq!(granted(&mut queue), [2, 3]);
    }

    #[test]
    fn a_phase_does_not_wait_for_who_waits_for_targets() {
        let plan = plan(&[(2, 0, true), (1, 1, false), (0, 1, true), (0, 1, false)]);
        let mut queue = Queue::new(&plan);
        (0..4).for_each(|claim| queue.ask(ClaimId(claim), 1));
        assert_eq!(granted(&mut queue), [0, 2]);
        queue.release(ClaimId(2), 1);
        assert_eq!(granted(&mut queue), [0; 0]);
    }
}
