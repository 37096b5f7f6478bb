//! What people of other processes ask of a run: kept until the process that carries it out has answered.

use super::{Store, damaged};
use crate::error::Error;
use crate::id;
use lockstep_plan::Event;
use rusqlite::{OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};

/// A request that waits to be taken up: an abort, a rollback, an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Names it, see [`Store::reply`].
    pub id: i64,
    /// When it was made, in milliseconds since 1970.
    pub at: u64,
    /// What the machine is told. It says who asks.
    pub event: Event,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// It is journalled, and the run acts on it.
    Taken,
    /// It came too late to change anything.
    Late {
        /// Why, for people.
        why: String,
    },
}

impl Store {
    /// Asks the process that carries the run out to take an event from people: an answer, an abort, a rollback. Gives the
    /// number under which [`Store::reply`] tells what became of it. Whoever takes it up has it on disk; where nobody does, see
    /// [`Store::settle`].
    ///
    /// # Errors
    /// There is no such run, it has ended, or the journal cannot be written.
    pub fn request(&self, run: &str, event: &Event) -> Result<i64, Error> {
        let text = serde_json::to_string(event).map_err(|error| damaged("a request", &error))?;
        // In one transaction with the look at the run: a request to a run that ends meanwhile is answered by its end.
        let id = self.write_loosely(|transaction| {
            let found = transaction.execute(
                "INSERT INTO requests (run, at, event) SELECT id, ?2, ?3 FROM runs WHERE id = ?1 AND outcome IS NULL",
                params![run, id::now() as i64, text],
            )?;
            Ok((found > 0).then(|| transaction.last_insert_rowid()))
        })?;
        match (id, self.run(run)?.outcome) {
            (Some(id), _) => Ok(id),
            (None, Some(outcome)) => Err(Error::Ended { run: run.into(), outcome }),
            // It was there, and had not ended: only a journal that loses rows gets here.
            (None, None) => Err(Error::NoRun(run.into())),
        }
    }

    /// Has a request that nobody has taken up survive the end of the machine.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn settle(&self, request: i64) -> Result<(), Error> {
        // What was written before is on disk with it.
        self.write(|transaction| {
            transaction.execute("UPDATE requests SET at = at WHERE id = ?1", [request])
        })?;
        Ok(())
    }

    /// What became of a request; none while nobody has taken it up.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn reply(&self, request: i64) -> Result<Option<Reply>, Error> {
        let text: Option<Option<String>> = self.read(|connection| {
            connection
                .prepare_cached("SELECT reply FROM requests WHERE id = ?1")?
                .query_row([request], |row| row.get(0))
                .optional()
        })?;
        let parse = |text: String| {
            serde_json::from_str(&text).map_err(|error| damaged("the reply to a request", &error))
        };
        text.flatten().map(parse).transpose()
    }

    /// Requests that came too late to change anything, in order, and why.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn late_requests(&self, run: &str) -> Result<Vec<(Request, String)>, Error> {
        let rows: Vec<(i64, i64, String, String)> = self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT id, at, event, reply FROM requests
                     WHERE run = ?1 AND taken = 1 AND reply IS NOT NULL ORDER BY id",
                )?
                .query_map([run], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
                .collect()
        })?;
        let mut late = Vec::new();
        for (id, at, event, reply) in rows {
            let broken = |error| damaged(&format!("request {id} to run {run}"), &error);
            if let Reply::Late { why } = serde_json::from_str(&reply).map_err(broken)? {
                let event = serde_json::from_str(&event).map_err(broken)?;
                late.push((Request { id, at: at as u64, event }, why));
            }
        }
        Ok(late)
    }

    /// Requests that nobody has taken up, in order.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn requests(&self, run: &str) -> Result<Vec<Request>, Error> {
        let rows: Vec<(i64, i64, String)> = self.read(|connection| {
            connection
                .prepare_cached(
                    "SELECT id, at, event FROM requests WHERE run = ?1 AND taken = 0 ORDER BY id",
                )?
                .query_map([run], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
                .collect()
        })?;
        rows.into_iter()
            .map(|(id, at, text)| match serde_json::from_str(&text) {
                Ok(event) => Ok(Request { id, at: at as u64, event }),
                Err(error) => Err(damaged(&format!("request {id} to run {run}"), &error)),
            })
            .collect()
    }
}

/// Answers a request, as part of what follows from it.
pub(super) fn answer(transaction: &Transaction<'_>, id: i64, reply: &Reply) -> rusqlite::Result<()> {
    let text = serde_json::to_string(reply)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    transaction.execute("UPDATE requests SET taken = 1, reply = ?2 WHERE id = ?1", params![id, text])?;
    Ok(())
}

/// Answers every request that is still open: the run has ended.
pub(super) fn answer_all(transaction: &Transaction<'_>, run: &str) -> rusqlite::Result<()> {
    let reply = Reply::Late { why: "the run had just ended".into() };
    let text = serde_json::to_string(&reply)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    transaction.execute(
        "UPDATE requests SET taken = 1, reply = ?2 WHERE run = ?1 AND taken = 0",
        params![run, text],
    )?;
    Ok(())
}
