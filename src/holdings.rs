//! Who holds what and who waits for whom, for `status` and `runs`.

use crate::clock::rfc3339;
use crate::failure::Failure;
use lockstep_executor::{Holding, Store};
use serde::Serialize;
use std::collections::BTreeMap;

/// What a run holds, or waits for, as JSON.
#[derive(Serialize)]
pub struct Claim {
    what: Vec<String>,
    holds: bool,
    since: String,
    after: Vec<After>,
}

/// A run that comes first.
#[derive(Serialize)]
pub struct After {
    run: String,
    what: String,
    holds: bool,
    alive: bool,
    elsewhere: bool,
}

/// What every run holds or waits for.
pub struct Holdings {
    all: Vec<Holding>,
    /// Runs that somebody waits for, and whether anybody carries them out.
    alive: BTreeMap<String, bool>,
}

impl Holdings {
    /// Reads them.
    pub fn of(store: &Store) -> Result<Holdings, Failure> {
        let all = store.holdings()?;
        let mut alive = BTreeMap::new();
        for other in all.iter().flat_map(|holding| &holding.after) {
            if !alive.contains_key(&other.run) {
                // One of another state directory is at work for as long as its target says so.
                let at_work = other.elsewhere || store.is_carried_out(&other.run)?;
                alive.insert(other.run.clone(), at_work);
            }
        }
        Ok(Holdings { all, alive })
    }

    fn of_run<'a>(&'a self, run: &'a str) -> impl Iterator<Item = &'a Holding> {
        self.all.iter().filter(move |holding| holding.run == run)
    }

    /// Whether a run waits for others.
    pub fn waits(&self, run: &str) -> bool {
        self.of_run(run).any(|holding| holding.granted_at.is_none())
    }

    /// For programs.
    pub fn claims(&self, run: &str) -> Vec<Claim> {
        let after = |holding: &Holding| {
            let others = holding.after.iter();
            others
                .map(|it| After {
                    run: it.run.clone(),
                    what: it.what.clone(),
                    holds: it.holds,
                    alive: self.alive[&it.run],
                    elsewhere: it.elsewhere,
                })
                .collect()
        };
        self.of_run(run)
            .map(|holding| Claim {
                what: holding.what.clone(),
                holds: holding.granted_at.is_some(),
                since: rfc3339(holding.granted_at.unwrap_or(holding.asked_at)),
                after: after(holding),
            })
            .collect()
    }

    /// A line for each thing that a run holds or waits for.
    pub fn lines(&self, run: &str) -> Vec<String> {
        self.of_run(run)
            .map(|holding| {
                let what = holding.what.join(", ");
                if holding.granted_at.is_some() {
                    return format!("holds {what}");
                }
                let others: Vec<String> = holding
                    .after
                    .iter()
                    .map(|it| {
                        let run = &it.run;
                        let does = if it.holds { "holds" } else { "waits in front of it for" };
                        let dead = match self.alive[run] {
                            true => String::new(),
                            false => format!(
                                " (nobody carries it out: `dsl resume {run}` goes on with it, `dsl rollback {run}` or `dsl abort \
                                 {run}` ends it)"
                            ),
                        };
                        let place = if it.elsewhere { " of another state directory" } else { "" };
                        format!("run {run}{place} {does} {}{dead}", it.what)
                    })
                    .collect();
                match others.is_empty() {
                    true => format!("waits for {what}"),
                    false => format!("waits for {what}: {}", others.join("; ")),
                }
            })
            .collect()
    }
}
