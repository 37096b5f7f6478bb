//! The journal itself: what happened, in order.

use super::requests::{Reply, answer};
use super::{INLINE_EVENT, Store, damaged, put_blob};
use crate::error::Error;
use lockstep_plan::Event;
use rusqlite::params;

/// An entry of a run's journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// From 1, without gaps.
    pub seq: u64,
    /// Milliseconds since 1970; never less than the entry before.
    pub at: u64,
    /// What happened.
    pub event: Event,
}

impl Store {
    /// The journal of a run, from the beginning.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn history(&self, run: &str) -> Result<Vec<Entry>, Error> {
        type Row = (i64, i64, Option<String>, Option<Vec<u8>>);
        let rows: Vec<Row> = self.read(|connection| {
            connection
                .prepare(
                    "SELECT seq, at, event, data FROM journal LEFT JOIN blobs ON hash = blob WHERE run = ?1 ORDER BY seq",
                )?
                .query_map([run], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
                .collect()
        })?;
        let mut entries = Vec::with_capacity(rows.len());
        for (seq, at, event, data) in rows {
            let bytes = event.map(String::into_bytes).or(data).unwrap_or_default();
            let event = serde_json::from_slice(&bytes)
                .map_err(|error| damaged(&format!("run {run}, entry {seq}"), &error))?;
            entries.push(Entry { seq: seq as u64, at: at as u64, event });
        }
        if let Some((index, _)) =
            entries.iter().enumerate().find(|(index, entry)| entry.seq != *index as u64 + 1)
        {
            let what = format!("run {run}");
            return Err(Error::Damaged { what, message: format!("entry {} is missing", index + 1) });
        }
        Ok(entries)
    }

    /// Writes entries in one transaction; they are on disk when this returns. `replies` go to the requests among them.
    pub(crate) fn append(&self, run: &str, entries: &[Entry], replies: &[(i64, Reply)]) -> Result<(), Error> {
        let mut texts = Vec::with_capacity(entries.len());
        for entry in entries {
            texts.push(serde_json::to_string(&entry.event).map_err(|error| damaged("an event", &error))?);
        }
        self.write(|transaction| {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO journal (run, seq, at, event, blob) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?;
            for (entry, text) in entries.iter().zip(&texts) {
                let inline = text.len() <= INLINE_EVENT;
                let blob = if inline { None } else { Some(put_blob(transaction, text.as_bytes())?) };
                insert.execute(params![
                    run,
                    entry.seq as i64,
                    entry.at as i64,
                    inline.then_some(text),
                    blob
                ])?;
            }
            for (id, reply) in replies {
                answer(transaction, *id, reply)?;
            }
            Ok(())
        })
    }
}
