//! Tickets: who holds what, and who waits for it, across all processes that share the state directory.
//!
//! A ticket names everything that a claim needs. It is granted as a whole, and for each key in the order of the tickets, so
//! that nobody is passed over for ever. A run that waits and that nobody carries out is passed over until it is resumed; one
//! that holds something keeps it.
//!
//! Tickets of phases (`inner`) are asked for by runs that hold their targets already. They wait for holders and for each
//! other, never for a run that only waits for its targets: that one may be waiting for them.

use super::{Pen, Store};
use crate::error::Error;
use crate::id;
use lockstep_plan::{Rival, suffices};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use std::collections::BTreeMap;

pub(super) const CREATE: &str = "
    CREATE TABLE tickets (
        id INTEGER PRIMARY KEY AUTOINCREMENT, run TEXT NOT NULL REFERENCES runs(id), claim INTEGER NOT NULL,
        turn INTEGER NOT NULL, inner INTEGER NOT NULL, at INTEGER NOT NULL, granted_at INTEGER, UNIQUE (run, claim, turn)
    );
    CREATE TABLE needs (
        ticket INTEGER NOT NULL REFERENCES tickets(id) ON DELETE CASCADE, key TEXT NOT NULL, what TEXT NOT NULL,
        permits INTEGER NOT NULL, capacity INTEGER NOT NULL, target INTEGER NOT NULL, PRIMARY KEY (ticket, key)
    ) WITHOUT ROWID;
    CREATE INDEX needs_of_key ON needs(key);
    CREATE TABLE holdings (
        key TEXT NOT NULL, run TEXT NOT NULL REFERENCES runs(id), ticket INTEGER NOT NULL, PRIMARY KEY (key, run)
    ) WITHOUT ROWID;
";

/// What a ticket waits for that others hold who know nothing of this state directory.
pub(super) const ADD_OUTSIDE: &str = "ALTER TABLE tickets ADD COLUMN outside TEXT";

/// One thing that a claim needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Need {
    /// The same for everybody who means the same thing.
    pub key: String,
    /// For people.
    pub what: String,
    /// How much of it.
    pub permits: u32,
    /// How much there is.
    pub capacity: u32,
    /// A target, which two claims of one run may share.
    pub target: bool,
}

/// Names a ticket: a claim of a run, and which time it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// Of which run, and by which process.
    pub pen: Pen,
    pub claim: u32,
    pub turn: u32,
    /// Asked for by a run that holds its targets already.
    pub inner: bool,
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is held.
    Granted,
    /// These come first.
    After(Vec<Blocker>),
}

/// Who comes before a ticket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blocker {
    /// Which run.
    pub run: String,
    /// What it holds, or waits for first.
    pub what: String,
    /// Whether it holds it.
    pub holds: bool,
    /// Whether it is a run of another state directory.
    pub elsewhere: bool,
}

/// What a run holds or waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holding {
    /// Which run.
    pub run: String,
    /// What, for people.
    pub what: Vec<String>,
    /// Since when it waits, in milliseconds since 1970.
    pub asked_at: u64,
    /// Since when it holds it; none while it waits.
    pub granted_at: Option<u64>,
    /// Who comes first, while it waits.
    pub after: Vec<Blocker>,
}

impl Store {
    /// Asks for what a claim needs; asking again keeps the place. With `wait` false a ticket that is not granted is gone.
    pub(crate) fn take(&self, ticket: &Ticket, needs: &[Need], wait: bool) -> Result<Taken, Error> {
        // Looking is cheap; writing is for the first time and for when there is something to be had.
        let known = self.read(|connection| find(connection, ticket))?;
        if let Some((id, granted)) = known {
            if granted {
                return Ok(Taken::Granted);
            }
            let after = self.blockers(id)?;
            if wait && !after.is_empty() {
                return Ok(Taken::After(after));
            }
        }
        let waiting = self.unattended()?;
        self.write_with(&ticket.pen, |transaction| {
            let id = match find(transaction, ticket)? {
                Some((id, _)) => id,
                None => insert(transaction, ticket, needs)?,
            };
            let after = blockers(transaction, id, &waiting)?;
            if after.is_empty() {
                let now = id::now() as i64;
                transaction.execute("UPDATE tickets SET granted_at = ?2 WHERE id = ?1", params![id, now])?;
                transaction.execute(
                    "INSERT OR IGNORE INTO holdings (key, run, ticket)
                     SELECT key, ?2, ticket FROM needs WHERE ticket = ?1 AND target = 1",
                    params![id, ticket.pen.run],
                )?;
                return Ok(Taken::Granted);
            }
            if !wait {
                transaction.execute("DELETE FROM tickets WHERE id = ?1", [id])?;
            }
            Ok(Taken::After(after))
        })
    }

    /// Notes whom a ticket waits for although nobody of this state directory is in its way; nobody: it is held.
    pub(crate) fn wait_outside(&self, ticket: &Ticket, others: &[Blocker]) -> Result<(), Error> {
        let others: Vec<(&str, &str)> = others.iter().map(|it| (it.run.as_str(), it.what.as_str())).collect();
        let text = (!others.is_empty()).then(|| serde_json::json!(others).to_string());
        self.write_with(&ticket.pen, |transaction| {
            transaction.execute(
                "UPDATE tickets SET outside = ?4, granted_at = ?5 WHERE run = ?1 AND claim = ?2 AND turn = ?3",
                params![ticket.pen.run, ticket.claim, ticket.turn, text, id::now() as i64],
            )
        })?;
        Ok(())
    }

    /// Lets go of a ticket, granted or not.
    pub(crate) fn release(&self, ticket: &Ticket) -> Result<(), Error> {
        self.write_with(&ticket.pen, |transaction| {
            transaction.execute(
                "DELETE FROM tickets WHERE run = ?1 AND claim = ?2 AND turn = ?3",
                params![ticket.pen.run, ticket.claim, ticket.turn],
            )
        })?;
        Ok(())
    }

    /// Lets go of every ticket of the run but these (claim and turn): what a crash left behind.
    pub(crate) fn release_but(&self, pen: &Pen, keep: &[(u32, u32)]) -> Result<(), Error> {
        let tickets: Vec<(i64, u32, u32)> = self.read(|connection| {
            connection
                .prepare("SELECT id, claim, turn FROM tickets WHERE run = ?1")?
                .query_map([&pen.run], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        })?;
        for (id, ..) in tickets.into_iter().filter(|(_, claim, turn)| !keep.contains(&(*claim, *turn))) {
            self.write_with(pen, |transaction| {
                transaction.execute("DELETE FROM tickets WHERE id = ?1", [id])
            })?;
        }
        Ok(())
    }

    /// Everything that runs hold or wait for, in the order in which they asked.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn holdings(&self) -> Result<Vec<Holding>, Error> {
        let rows: Vec<(i64, Holding, Option<String>)> = self.read(|connection| {
            let mut whats = connection.prepare("SELECT what FROM needs WHERE ticket = ?1 ORDER BY key")?;
            connection
                .prepare("SELECT id, run, at, granted_at, outside FROM tickets ORDER BY id")?
                .query_map([], |row| {
                    let id: i64 = row.get(0)?;
                    let what = whats.query_map([id], |row| row.get(0))?.collect::<Result<_, _>>()?;
                    let granted_at = row.get::<_, Option<i64>>(3)?.map(|at| at as u64);
                    let asked_at = row.get::<_, i64>(2)? as u64;
                    let holding = Holding { run: row.get(1)?, what, asked_at, granted_at, after: Vec::new() };
                    Ok((id, holding, row.get(4)?))
                })?
                .collect()
        })?;
        rows.into_iter()
            .map(|(id, holding, outside)| {
                if let Some(text) = outside {
                    let others: Vec<(String, String)> = serde_json::from_str(&text).unwrap_or_default();
                    let after = others.into_iter().map(|(run, what)| self.outside(run, what)).collect();
                    return Ok(Holding { after, granted_at: None, ..holding });
                }
                let after = if holding.granted_at.is_none() { self.blockers(id)? } else { Vec::new() };
                Ok(Holding { after, ..holding })
            })
            .collect()
    }

    /// A run that holds something as the target itself says.
    pub(crate) fn outside(&self, run: String, what: String) -> Blocker {
        let elsewhere = self.run(&run).is_err();
        Blocker { run, what, holds: true, elsewhere }
    }

    /// Who has something of this, or waits for it, so that it could not be had at once.
    pub(crate) fn held(&self, needs: &[Need]) -> Result<Vec<Blocker>, Error> {
        let unattended = self.unattended()?;
        let mut found = Vec::new();
        for need in needs {
            let others: Vec<(String, i64, bool)> = self.read(|connection| {
                connection
                    .prepare_cached(
                        "SELECT run, permits, granted_at IS NOT NULL FROM needs JOIN tickets ON id = ticket WHERE key = ?1",
                    )?
                    .query_map([&need.key], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                    .collect()
            })?;
            let count = |(run, _, holds): &&(String, i64, bool)| *holds || !unattended.contains(run);
            let taken: i64 = others.iter().filter(count).map(|(_, permits, _)| permits).sum();
            if taken + i64::from(need.permits) > i64::from(need.capacity) {
                let blocker = |(run, _, holds): &(String, i64, bool)| Blocker {
                    run: run.clone(),
                    what: need.what.clone(),
                    holds: *holds,
                    elsewhere: false,
                };
                found.extend(others.iter().filter(count).map(blocker));
            }
        }
        Ok(found)
    }

    /// Runs that held one of these keys after that run first did, with the key.
    pub(crate) fn holders_after(&self, run: &str, keys: &[String]) -> Result<Vec<(String, String)>, Error> {
        let mut found = Vec::new();
        for key in keys {
            let later: Vec<String> = self.read(|connection| {
                connection
                    .prepare_cached(
                        "SELECT later.run FROM holdings AS later WHERE later.key = ?1 AND later.run <> ?2 AND later.ticket >
                         ifnull((SELECT ticket FROM holdings WHERE key = ?1 AND run = ?2), 0) ORDER BY later.ticket",
                    )?
                    .query_map([key.as_str(), run], |row| row.get(0))?
                    .collect()
            })?;
            found.extend(later.into_iter().map(|run| (run, key.clone())));
        }
        Ok(found)
    }

    fn blockers(&self, ticket: i64) -> Result<Vec<Blocker>, Error> {
        let waiting = self.unattended()?;
        self.read(|connection| blockers(connection, ticket, &waiting))
    }

    /// Runs that wait for something although nobody carries them out.
    fn unattended(&self) -> Result<Vec<String>, Error> {
        let waiting: Vec<String> = self.read(|connection| {
            connection
                .prepare_cached("SELECT DISTINCT run FROM tickets WHERE granted_at IS NULL")?
                .query_map([], |row| row.get(0))?
                .collect()
        })?;
        let mut unattended = Vec::new();
        for run in waiting {
            if !self.is_carried_out(&run)? {
                unattended.push(run);
            }
        }
        Ok(unattended)
    }
}

fn find(connection: &Connection, ticket: &Ticket) -> rusqlite::Result<Option<(i64, bool)>> {
    connection
        .prepare_cached(
            "SELECT id, granted_at IS NOT NULL FROM tickets WHERE run = ?1 AND claim = ?2 AND turn = ?3",
        )?
        .query_row(params![ticket.pen.run, ticket.claim, ticket.turn], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

fn insert(transaction: &Transaction<'_>, ticket: &Ticket, needs: &[Need]) -> rusqlite::Result<i64> {
    transaction.execute(
        "INSERT INTO tickets (run, claim, turn, inner, at) VALUES (?1, ?2, ?3, ?4, ?5)",
        params![ticket.pen.run, ticket.claim, ticket.turn, ticket.inner, id::now() as i64],
    )?;
    let id = transaction.last_insert_rowid();
    for need in needs {
        transaction.execute(
            "INSERT INTO needs (ticket, key, what, permits, capacity, target) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![id, need.key, need.what, need.permits, need.capacity, need.target],
        )?;
    }
    Ok(id)
}

/// Who comes before a ticket: those that hold what it needs, and those that wait for it in front of it.
fn blockers(connection: &Connection, ticket: i64, unattended: &[String]) -> rusqlite::Result<Vec<Blocker>> {
    type Other = (String, i64, i64, String, Rival);
    let mut statement = connection.prepare_cached(
        "SELECT own.key, own.permits, own.capacity, own.target AND tickets.run = mine.run, tickets.run, other.permits,
                other.capacity, tickets.granted_at IS NOT NULL, tickets.id < mine.id, tickets.inner, mine.inner
         FROM needs AS own
         JOIN tickets AS mine ON mine.id = own.ticket
         JOIN needs AS other ON other.key = own.key AND other.ticket <> own.ticket
         JOIN tickets ON tickets.id = other.ticket
         WHERE own.ticket = ?1
         ORDER BY own.key, tickets.id",
    )?;
    let others = statement.query_map([ticket], |row| {
        let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        let rival = Rival {
            shared: row.get(3)?,
            permits: number(5)?,
            capacity: number(6)?,
            holds: row.get(7)?,
            earlier: row.get(8)?,
            inner: row.get(9)?,
        };
        let other: Other = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(4)?, rival);
        Ok((other, row.get(10)?))
    })?;
    let mut by_key: BTreeMap<String, Vec<Other>> = BTreeMap::new();
    for other in others {
        let (other, inner): (Other, bool) = other?;
        let (key, .., run, rival) = &other;
        if rival.comes_before(inner) && (rival.holds || !unattended.contains(run)) {
            by_key.entry(key.clone()).or_default().push(other);
        }
    }
    let mut found = Vec::new();
    for (key, others) in by_key {
        let (permits, capacity) = (others[0].1.unsigned_abs(), others[0].2.unsigned_abs());
        let before: Vec<Rival> = others.iter().map(|other| other.4).collect();
        if suffices(permits, capacity, &before) {
            continue;
        }
        for (.., run, rival) in others {
            let what = connection
                .prepare_cached("SELECT what FROM needs WHERE ticket = ?1 AND key = ?2")?
                .query_row(params![ticket, key], |row| row.get(0))?;
            found.push(Blocker { run, what, holds: rival.holds, elsewhere: false });
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}
