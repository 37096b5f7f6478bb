//! The journal itself: what happened, in order.

use super::requests::{Reply, answer};
use super::{INLINE_EVENT, Pen, Store, damaged, put_blob, whole_blob};
use crate::error::Error;
use lockstep_plan::Event;
use rusqlite::params;
use sha2::{Digest, Sha256};

/// What brings the entries of an older version up to date; those that were there are taken as they are.
pub(super) const ADD_SUMS: &str = "ALTER TABLE journal ADD COLUMN sum INTEGER";

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

/// An entry as it stands in the database.
struct Written {
    seq: i64,
    at: i64,
    event: Option<String>,
    /// Its hash, and what is kept under it.
    blob: Option<(String, Vec<u8>)>,
    sum: Option<i64>,
}

impl Written {
    /// The entry, when it is what was written.
    fn read(self, run: &str) -> Result<Entry, Error> {
        let Written { seq, at, .. } = self;
        let what = || format!("run {run}, entry {seq}");
        let bytes = match (self.event, self.blob) {
            (Some(event), _) => event.into_bytes(),
            (None, Some((hash, data))) => whole_blob(&what(), &hash, data)?,
            (None, None) => Vec::new(),
        };
        if self.sum.is_some_and(|wanted| wanted != sum(run, seq, at, &bytes)) {
            let message = "it is not what was written".into();
            return Err(Error::Damaged { what: what(), message });
        }
        let event = serde_json::from_slice(&bytes).map_err(|error| damaged(&what(), &error))?;
        Ok(Entry { seq: seq as u64, at: at as u64, event })
    }
}

impl Store {
    /// The journal of a run, from the beginning.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn history(&self, run: &str) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        self.tell(run, |entry| entries.push(entry))?;
        Ok(entries)
    }

    /// Tells the journal of a run, from the beginning, without ever holding all of it. `listener` cannot use the store.
    ///
    /// # Errors
    /// As [`Store::history`]; what came before was told.
    pub fn tell(&self, run: &str, mut listener: impl FnMut(Entry)) -> Result<(), Error> {
        self.read(|connection| {
            let mut statement = connection.prepare(
                "SELECT seq, at, event, hash, data, sum FROM journal LEFT JOIN blobs ON hash = blob
                 WHERE run = ?1 ORDER BY seq",
            )?;
            let mut rows = statement.query([run])?;
            let mut expected = 1;
            while let Some(row) = rows.next()? {
                let blob = row.get::<_, Option<String>>(3)?.zip(row.get(4)?);
                let written =
                    Written { seq: row.get(0)?, at: row.get(1)?, event: row.get(2)?, blob, sum: row.get(5)? };
                let entry = match written.read(run) {
                    Ok(entry) => entry,
                    Err(error) => return Ok(Err(error)),
                };
                if entry.seq != expected {
                    let what = format!("run {run}");
                    return Ok(Err(Error::Damaged { what, message: format!("entry {expected} is missing") }));
                }
                expected += 1;
                listener(entry);
            }
            Ok(Ok(()))
        })?
    }

    /// Writes entries in one transaction; they are on disk when this returns. `replies` go to the requests among them. A process
    /// that a later one has replaced writes nothing.
    pub(crate) fn append(&self, pen: &Pen, entries: &[Entry], replies: &[(i64, Reply)]) -> Result<(), Error> {
        let mut texts = Vec::with_capacity(entries.len());
        for entry in entries {
            texts.push(serde_json::to_string(&entry.event).map_err(|error| damaged("an event", &error))?);
        }
        self.write_with(pen, |transaction| {
            let mut insert = transaction.prepare_cached(
                "INSERT INTO journal (run, seq, at, event, blob, sum) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            for (entry, text) in entries.iter().zip(&texts) {
                let inline = text.len() <= INLINE_EVENT;
                let blob = if inline { None } else { Some(put_blob(transaction, text.as_bytes())?) };
                let (seq, at) = (entry.seq as i64, entry.at as i64);
                let sum = sum(&pen.run, seq, at, text.as_bytes());
                insert.execute(params![pen.run, seq, at, inline.then_some(text), blob, sum])?;
            }
            for (id, reply) in replies {
                answer(transaction, *id, reply)?;
            }
            Ok(())
        })
    }
}

/// By which an entry is known to be what was written.
fn sum(run: &str, seq: i64, at: i64, text: &[u8]) -> i64 {
    let mut hasher = Sha256::new();
    hasher.update(run);
    hasher.update(seq.to_le_bytes());
    hasher.update(at.to_le_bytes());
    hasher.update(text);
    let digest = hasher.finalize();
    i64::from_le_bytes(std::array::from_fn(|at| digest[at]))
}
