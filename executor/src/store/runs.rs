//! Which runs there are, what they carry out, how they ended, and who carried them out when.

use super::requests::answer_all;
use super::{Pen, Store, damaged, newest_epoch, plans, put_blob, whole_blob};
use crate::error::{At, Error};
use crate::id;
use lockstep_plan::{Plan, RunOutcome};
use rusqlite::{OptionalExtension, params};
use std::fs;
use std::path::{Path, PathBuf};

/// What is known of a run without its journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunInfo {
    /// Its id.
    pub id: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The directory that relative paths start from.
    pub module: PathBuf,
    /// Milliseconds since 1970.
    pub created_at: u64,
    /// Who started it.
    pub by: String,
    /// How it ended; none while it has not.
    pub outcome: Option<RunOutcome>,
    /// When a process last said that it carries the run out, in milliseconds since 1970.
    pub seen_at: Option<u64>,
}

/// A time during which a process carried the run out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Life {
    pub epoch: u64,
    pub boot: String,
    pub started_at: u64,
    pub seen_at: u64,
}

impl Store {
    /// Records a new run of that plan. Relative paths in it start from `module`.
    ///
    /// # Errors
    /// The journal cannot be written.
    pub fn create_run(&self, plan: &Plan, module: &Path, by: &str) -> Result<RunInfo, Error> {
        let data = plans::packed(plan).map_err(|error| damaged("the plan", &error))?;
        let module = fs::canonicalize(module).at("open", module)?;
        let created_at = id::now();
        let run = id::new_run_id(created_at).at("make a run id in", &self.directory)?;
        self.write(|transaction| {
            let plan_hash = put_blob(transaction, &data)?;
            transaction.execute(
                "INSERT INTO runs (id, pipeline, plan, module, created_at, by) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![run, plan.pipeline, plan_hash, module.to_string_lossy(), created_at as i64, by],
            )
        })?;
        self.run(&run)
    }

    /// The id of the run that is meant: an id, a prefix that only one has, or `last`.
    ///
    /// # Errors
    /// None fits, or several do, or the name is empty.
    pub fn find_run(&self, given: &str) -> Result<String, Error> {
        if given.is_empty() {
            return Err(Error::Nameless);
        }
        let mut ids: Vec<String> = self.read(|connection| {
            connection
                .prepare(
                    "SELECT id FROM runs WHERE substr(id, 1, length(?1)) = ?1 OR ?1 = 'last' ORDER BY id",
                )?
                .query_map([given], |row| row.get(0))?
                .collect()
        })?;
        match ids.len() {
            0 => Err(Error::NoRun(given.into())),
            1 => Ok(ids.remove(0)),
            _ if given == "last" => Ok(ids.remove(ids.len() - 1)),
            _ if ids.iter().any(|id| id == given) => Ok(given.into()),
            _ => Err(Error::Ambiguous { given: given.into(), candidates: ids }),
        }
    }

    /// Every run, oldest first.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn runs(&self) -> Result<Vec<RunInfo>, Error> {
        let ids: Vec<String> = self.read(|connection| {
            connection.prepare("SELECT id FROM runs ORDER BY id")?.query_map([], |row| row.get(0))?.collect()
        })?;
        ids.iter().map(|id| self.run(id)).collect()
    }

    /// What is known of that run.
    ///
    /// # Errors
    /// There is none of that id.
    pub fn run(&self, id: &str) -> Result<RunInfo, Error> {
        let found = self.read(|connection| {
            connection
                .query_row(
                    "SELECT pipeline, module, created_at, by, outcome, (SELECT max(seen_at) FROM runners WHERE run = id)
                     FROM runs WHERE id = ?1",
                    [id],
                    |row| {
                        let info = RunInfo {
                            id: id.into(),
                            pipeline: row.get(0)?,
                            module: PathBuf::from(row.get::<_, String>(1)?),
                            created_at: row.get::<_, i64>(2)? as u64,
                            by: row.get(3)?,
                            outcome: None,
                            seen_at: row.get::<_, Option<i64>>(5)?.map(|at| at as u64),
                        };
                        Ok((info, row.get::<_, Option<String>>(4)?))
                    },
                )
                .optional()
        })?;
        let (mut info, outcome) = found.ok_or_else(|| Error::NoRun(id.into()))?;
        if let Some(outcome) = outcome {
            let outcome =
                serde_json::from_str(&outcome).map_err(|error| damaged(&format!("run {id}"), &error))?;
            info.outcome = Some(outcome);
        }
        Ok(info)
    }

    /// The plan of a run.
    ///
    /// # Errors
    /// There is no such run, or what is stored is damaged.
    pub fn plan(&self, run: &str) -> Result<Plan, Error> {
        let found: Option<(String, Vec<u8>)> = self.read(|connection| {
            connection
                .query_row(
                    "SELECT hash, data FROM runs JOIN blobs ON hash = plan WHERE id = ?1",
                    [run],
                    |row| Ok((row.get(0)?, row.get(1)?)),
                )
                .optional()
        })?;
        let (hash, data) = found.ok_or_else(|| Error::NoRun(run.into()))?;
        let what = format!("the plan of run {run}");
        let data = whole_blob(&what, &hash, data)?;
        plans::unpacked(&data).map_err(|error| damaged(&what, &error))
    }

    /// Records how a run ended, and lets go of whatever it held. Requests that are still open came too late, and are told so.
    pub(crate) fn finish(&self, pen: &Pen, ended: RunOutcome) -> Result<(), Error> {
        let outcome = serde_json::to_string(&ended).map_err(|error| damaged("an outcome", &error))?;
        self.write_with(pen, |transaction| {
            answer_all(transaction, &pen.run)?;
            transaction.execute("DELETE FROM tickets WHERE run = ?1", [&pen.run])?;
            transaction.execute("UPDATE runs SET outcome = ?2 WHERE id = ?1", [&pen.run, &outcome])
        })?;
        Ok(())
    }

    /// A run that had ended goes on: it is taken back.
    pub(crate) fn reopen(&self, pen: &Pen) -> Result<(), Error> {
        self.write_with(pen, |transaction| {
            transaction.execute("UPDATE runs SET outcome = NULL WHERE id = ?1", [&pen.run])
        })?;
        Ok(())
    }

    /// A new process carries the run out: gives the lives before, and the right to write. Whoever had it has it no longer.
    pub(crate) fn begin_life(&self, run: &str, boot: &str) -> Result<(Vec<Life>, Pen), Error> {
        let at = id::now() as i64;
        self.write(|transaction| {
            let lives: Vec<Life> = transaction
                .prepare(
                    "SELECT epoch, boot, started_at, seen_at FROM runners WHERE run = ?1 ORDER BY epoch",
                )?
                .query_map([run], |row| {
                    Ok(Life {
                        epoch: row.get::<_, i64>(0)? as u64,
                        boot: row.get(1)?,
                        started_at: row.get::<_, i64>(2)? as u64,
                        seen_at: row.get::<_, i64>(3)? as u64,
                    })
                })?
                .collect::<Result<_, _>>()?;
            let epoch = lives.last().map_or(1, |life| life.epoch + 1);
            transaction.execute(
                "INSERT INTO runners (run, epoch, boot, started_at, seen_at) VALUES (?1, ?2, ?3, ?4, ?4)",
                params![run, epoch as i64, boot, at],
            )?;
            Ok((lives, Pen { run: run.into(), epoch }))
        })
    }

    /// Says that this process still carries the run out, and finds out whether it does.
    pub(crate) fn heartbeat(&self, pen: &Pen) -> Result<(), Error> {
        let newest = self.write_loosely(|transaction| {
            transaction.execute(
                "UPDATE runners SET seen_at = ?3 WHERE run = ?1 AND epoch = ?2",
                params![pen.run, pen.epoch as i64, id::now() as i64],
            )?;
            newest_epoch(transaction, &pen.run)
        })?;
        if newest == pen.epoch { Ok(()) } else { Err(Error::Replaced { run: pen.run.clone() }) }
    }
}
