//! Taking the Leases of a claim: all of them, or none while another run holds one.
//!
//! Nothing is kept while something is waited for, so runs cannot wait for each other in a circle, whatever state directories
//! they have and in whatever order their sources name the targets. All take them in the order of the Leases' own ids: of those
//! that are after some of the same at one time, one gets further than the others.

use super::head::Head;
use super::lease::PATIENCE;
use super::target::Target;
use crate::driver::{Other, Wish};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

/// How often held Leases are looked at, at most and at least.
const LOOK: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// How long an answer is waited for. Who does not give one is left to the steps.
const ANSWER: Duration = Duration::from_secs(15);

/// How long a holder may take to let go, where nobody is to be waited for: it may have come to its end just now.
const ENDING: Duration = Duration::from_secs(2);

/// How often one is tried to take that others write at the same time.
const WRITES: u32 = 20;

/// Each target with its number.
type Targets = [(usize, Target)];

/// The version of each Lease that another run holds, and since when it is that.
type Seen = BTreeMap<usize, (String, Instant)>;

/// Holds the targets, as soon as no other run holds any of them. Gives who does, where that is not to be waited for.
pub(super) async fn hold(targets: &Targets, wish: &Wish) -> Vec<Other> {
    let mut seen = Seen::new();
    let (mut pause, mut told) = (LOOK.0, Vec::new());
    let began = Instant::now();
    while !wish.cancel.is_cancelled() {
        let mut there = look(targets).await;
        let mut others: Vec<Other> =
            there.iter().filter_map(|(index, target, head)| held(*index, target, head, &mut seen)).collect();
        if others.is_empty() {
            // What is not there yet comes last; where there is one of it, it is known by where it is.
            there.sort_by_cached_key(|(_, target, head)| {
                let uid = head.lease["metadata"]["uid"].as_str().map(str::to_string);
                let place = (&target.cluster.server, &target.namespace, &target.instance);
                (uid.is_none(), uid, format!("{place:?}"))
            });
            match take(&there, &mut seen, wish).await {
                None => return Vec::new(),
                Some(other) => others.push(other),
            }
        }
        if !wish.wait && began.elapsed() > ENDING {
            return others;
        }
        if wish.wait && others != told {
            (wish.waiting)(others.clone());
            told = others;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = wish.cancel.cancelled() => {}
        }
        pause = (pause * 2).min(LOOK.1);
    }
    Vec::new()
}

/// The heads of all that answer.
async fn look(targets: &Targets) -> Vec<(usize, &Target, Head)> {
    let looks = targets.iter().map(|(index, target)| async move {
        let head = tokio::time::timeout(ANSWER, Head::now(target)).await;
        Some((*index, target, head.ok()?.ok()?))
    });
    join_all(looks).await.into_iter().flatten().collect()
}

/// The other run that holds it and is heard of. Clocks differ, so only our own says how long nothing has been heard.
fn held(index: usize, target: &Target, head: &Head, seen: &mut Seen) -> Option<Other> {
    let Some(run) = head.other(target) else {
        seen.remove(&index);
        return None;
    };
    let version = head.version().unwrap_or_default();
    let now = || (version.to_string(), Instant::now());
    let known = seen.entry(index).or_insert_with(now);
    if known.0 != version {
        *known = now();
    }
    (known.1.elapsed() < PATIENCE).then(|| Other { call: index, run: run.to_string() })
}

/// Takes one after another. Who is in the way, if anybody: then none of them is kept that was not held before.
async fn take(there: &[(usize, &Target, Head)], seen: &mut Seen, wish: &Wish) -> Option<Other> {
    let mut taken = Vec::new();
    for (index, target, head) in there {
        let mut head = head.clone();
        let mut hindrance = None;
        for _ in 0..WRITES {
            let before = target.leases.head(target).is_some();
            match head.seize(target).await {
                Ok(true) => {
                    if !before {
                        taken.push(*target);
                    }
                    break;
                }
                Ok(false) => {}
                // Its steps will meet the same, and say so.
                Err(_) => break,
            }
            let Ok(now) = Head::read(target).await else { break };
            hindrance = held(*index, target, &now, seen);
            if hindrance.is_some() {
                break;
            }
            head = now;
        }
        // What is called off while it is being taken is let go of here: whoever called it off could not know of it.
        if hindrance.is_some() || wish.cancel.is_cancelled() {
            for target in taken {
                target.leases.let_go(target).await;
            }
            return hindrance;
        }
    }
    None
}
