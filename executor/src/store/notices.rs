//! Which notices of a run have been told, so that a resume tells the others and no more.

use super::Store;
use crate::error::Error;
use crate::id;
use rusqlite::params;
use std::collections::BTreeSet;

pub(super) const CREATE: &str = "
    CREATE TABLE notices (
        run TEXT NOT NULL REFERENCES runs(id), number INTEGER NOT NULL, channel TEXT NOT NULL, at INTEGER NOT NULL,
        error TEXT, PRIMARY KEY (run, number, channel)
    ) WITHOUT ROWID;
";

impl Store {
    /// Notes that a channel was told, or why it could not be, for good.
    pub(crate) fn told(
        &self,
        run: &str,
        number: u64,
        channel: &str,
        error: Option<&str>,
    ) -> Result<(), Error> {
        self.write(|transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO notices (run, number, channel, at, error) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![run, number as i64, channel, id::now() as i64, error],
            )
        })?;
        Ok(())
    }

    /// What was told, or given up, by number and channel.
    pub(crate) fn notices(&self, run: &str) -> Result<BTreeSet<(u64, String)>, Error> {
        self.read(|connection| {
            connection
                .prepare("SELECT number, channel FROM notices WHERE run = ?1")?
                .query_map([run], |row| Ok((row.get::<_, i64>(0)? as u64, row.get(1)?)))?
                .collect()
        })
    }
}
