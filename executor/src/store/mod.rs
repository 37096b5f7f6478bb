//! The state directory: the journal database, a lock file for each run, a folder for each attempt.
//!
//! One SQLite database in WAL mode, `synchronous=FULL` unless less is asked for: what [`Store::append`] has returned from
//! survives a power cut. Plans and long events are kept once, by the hash of what they hold.

mod claims;
mod holder;
mod intact;
mod journal;
mod notices;
mod output;
mod plans;
mod requests;
mod runs;

pub use claims::{Blocker, Holding};
pub(crate) use claims::{Need, Taken, Ticket};
pub use holder::Holder;
pub use journal::Entry;
pub use output::Outputs;
pub use requests::{Reply, Request};
pub(crate) use runs::Life;
pub use runs::RunInfo;

use crate::error::{At, Error};
use crate::{id, private};
use rusqlite::{Connection, Transaction, params};
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The version of the schema below, kept in `user_version`.
const SCHEMA: i64 = 7;

const CREATE: &str = "
    CREATE TABLE blobs (hash TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE runs (
        id TEXT PRIMARY KEY, pipeline TEXT NOT NULL, plan TEXT NOT NULL REFERENCES blobs(hash),
        module TEXT NOT NULL, created_at INTEGER NOT NULL, by TEXT NOT NULL, outcome TEXT
    ) WITHOUT ROWID;
    CREATE TABLE runners (
        run TEXT NOT NULL REFERENCES runs(id), epoch INTEGER NOT NULL, boot TEXT NOT NULL,
        started_at INTEGER NOT NULL, seen_at INTEGER NOT NULL, PRIMARY KEY (run, epoch)
    ) WITHOUT ROWID;
    CREATE TABLE journal (
        run TEXT NOT NULL REFERENCES runs(id), seq INTEGER NOT NULL, at INTEGER NOT NULL,
        event TEXT, blob TEXT REFERENCES blobs(hash), sum INTEGER, PRIMARY KEY (run, seq)
    ) WITHOUT ROWID;
    CREATE TABLE requests (
        id INTEGER PRIMARY KEY, run TEXT NOT NULL REFERENCES runs(id), at INTEGER NOT NULL,
        event TEXT NOT NULL, taken INTEGER NOT NULL DEFAULT 0, reply TEXT
    );
    CREATE INDEX open_requests ON requests(run) WHERE taken = 0;
";

/// What brings a database of version 1, 2, … to the one after it.
const MIGRATIONS: [&str; (SCHEMA - 1) as usize] = [
    "ALTER TABLE requests ADD COLUMN reply TEXT",
    claims::CREATE,
    notices::CREATE,
    journal::ADD_SUMS,
    // Plans are compressed from here on, those that were there stay as they are: an older program must not look at them.
    "",
    claims::ADD_OUTSIDE,
];

/// Longer events (a step's captured output) go to the blobs.
const INLINE_EVENT: usize = 4096;

/// A process that was killed while it started another is survived by the beginnings of that other, for a moment, and
/// they hold what it held. A lock is not taken for held before this has passed,
const LOCK_PATIENCE: Duration = Duration::from_millis(500);
/// or this, where its holder is known to be dead: on a busy machine the moment can be long.
const DEAD_HOLDER_PATIENCE: Duration = Duration::from_secs(30);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// The state directory. Cheap to share; one connection writes, another reads.
pub struct Store {
    directory: PathBuf,
    database: PathBuf,
    writer: Mutex<Writer>,
    /// What is only looked at does not wait for what is being written.
    reader: Mutex<Connection>,
    durability: Durability,
}

/// The connection that writes, and what its transactions survive now.
struct Writer {
    connection: Connection,
    durability: Durability,
}

/// The right to carry a run out: nobody else does while this lives. The kernel frees it with the process.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

pub(crate) fn hash(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The right to write to a run's journal: the run, and the process of it by its epoch. A later one makes it void, even where
/// the lock of the earlier was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pen {
    pub run: String,
    pub epoch: u64,
}

/// What journalled entries survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// A power cut: entries are on disk before anything that follows from them is begun.
    #[default]
    Machine,
    /// The end of the process, however it ends. The operating system writes entries to disk when it sees fit: after a
    /// power cut the last ones may be missing, so that steps which they told of run again. The journal is whole even then.
    Process,
}

impl Store {
    /// Opens the state directory, and makes it (mode 0700) when it is not there.
    ///
    /// # Errors
    /// It cannot be made, the database cannot be opened, or a newer program wrote it.
    pub fn open(directory: &Path) -> Result<Store, Error> {
        Store::open_with(directory, Durability::Machine)
    }

    /// As [`Store::open`]; what this process writes survives as much as `durability` says.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(directory: &Path, durability: Durability) -> Result<Store, Error> {
        private::directory(directory).at("create the directory", directory)?;
        let directory = fs::canonicalize(directory).at("open", directory)?;
        let database = directory.join("journal.db");
        // SQLite does not wait for others while it makes a database: one at a time.
        let opening = directory.join("opening.lock");
        let opening = private::file()
            .open(&opening)
            .and_then(|file| file.lock().map(|()| file))
            .at("lock", &opening)?;
        intact::check(&database)?;
        match private::file().create_new(true).open(&database) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).at("create", &database);
            }
            // SQLite opens it, and says what is wrong with it.
            _ => {}
        }
        let wrap = |source| Error::Journal { path: database.clone(), source };
        let connection = Connection::open(&database).map_err(wrap)?;
        prepare(&connection, durability).map_err(wrap)?;
        let found: i64 =
            connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(wrap)?;
        if found > SCHEMA {
            return Err(Error::NewerSchema { path: database, found, known: SCHEMA });
        }
        if found == 0 {
            intact::check_new(&database)?;
        }
        if found < SCHEMA {
            migrate(&connection).map_err(wrap)?;
        }
        drop(opening);
        let reader = Connection::open(&database).map_err(wrap)?;
        prepare(&reader, durability).map_err(wrap)?;
        Ok(Store {
            directory,
            database,
            writer: Mutex::new(Writer { connection, durability }),
            reader: Mutex::new(reader),
            durability,
        })
    }

    /// Where it is, absolute.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The folder of one attempt: what it was given, what it printed, how it ended.
    pub fn attempt_directory(&self, run: &str, step: &str, attempt: u32) -> PathBuf {
        self.attempts_directory(run).join(id::file_name(step)).join(attempt.to_string())
    }

    /// The folder of all attempts of a run.
    pub(crate) fn attempts_directory(&self, run: &str) -> PathBuf {
        self.directory.join("attempts").join(run)
    }

    /// Takes the right to carry the run out.
    ///
    /// # Errors
    /// Another process has it, or the lock file cannot be made.
    pub fn lock_run(&self, run: &str) -> Result<RunLock, Error> {
        let (mut file, mut path) = self.lock_file(run)?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) if is_at(&file, &path) => break,
                // Somebody has removed the file meanwhile: whoever comes next locks another.
                Ok(()) => (file, path) = self.lock_file(run)?,
                Err(fs::TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    file.rewind().and_then(|()| file.read_to_string(&mut holder)).at("read", &path)?;
                    let patience =
                        if Holder::parse(&holder).is_alive() { LOCK_PATIENCE } else { DEAD_HOLDER_PATIENCE };
                    if begun.elapsed() > patience {
                        return Err(Error::Locked { run: run.into(), holder: Holder::parse(&holder) });
                    }
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(fs::TryLockError::Error(source)) => return Err(Error::Io { what: "lock", path, source }),
            }
        }
        let write = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", Holder::this())
        };
        write(&mut file).at("write", &path)?;
        Ok(RunLock { _file: file })
    }

    /// Whether some process carries the run out at this moment.
    ///
    /// # Errors
    /// The lock file cannot be made.
    pub fn is_carried_out(&self, run: &str) -> Result<bool, Error> {
        let (mut file, path) = self.lock_file(run)?;
        let begun = Instant::now();
        loop {
            match file.try_lock_shared() {
                Ok(()) => return Ok(false),
                Err(fs::TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    file.rewind().and_then(|()| file.read_to_string(&mut holder)).at("read", &path)?;
                    if Holder::parse(&holder).is_alive() || begun.elapsed() > LOCK_PATIENCE {
                        return Ok(true);
                    }
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(fs::TryLockError::Error(source)) => return Err(Error::Io { what: "lock", path, source }),
            }
        }
    }

    /// The process that carries the run out, where a signal has stopped it: it takes nothing up until another one lets it go on.
    ///
    /// # Errors
    /// The lock file cannot be read.
    pub fn stopped_process(&self, run: &str) -> Result<Option<u32>, Error> {
        let (mut file, path) = self.lock_file(run)?;
        let mut holder = String::new();
        file.read_to_string(&mut holder).at("read", &path)?;
        let holder = Holder::parse(&holder);
        Ok(holder.process.filter(|_| holder.is_stopped()))
    }

    fn lock_file(&self, run: &str) -> Result<(File, PathBuf), Error> {
        let folder = self.directory.join("runs");
        private::directory(&folder).at("create the directory", &folder)?;
        let path = folder.join(format!("{run}.lock"));
        let file = private::file().read(true).open(&path).at("open", &path)?;
        Ok((file, path))
    }

    /// Whether writing to the journal takes until it is on disk.
    pub(crate) fn waits_for_disk(&self) -> bool {
        self.durability == Durability::Machine
    }

    fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
        query(&reader).map_err(|source| Error::Journal { path: self.database.clone(), source })
    }

    fn write<T>(&self, change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> Result<T, Error> {
        self.write_for(self.durability, change)
    }

    /// As [`Store::write`], for what may be lost with the machine: nobody waits until it is on disk.
    fn write_loosely<T>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        self.write_for(Durability::Process, change)
    }

    fn write_for<T>(
        &self,
        durability: Durability,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        // A panic elsewhere leaves the connection usable: an unfinished transaction was rolled back as it was dropped.
        let mut connection = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = &mut *connection;
        let transact = || {
            if durability != writer.durability {
                set_durability(&writer.connection, durability)?;
                writer.durability = durability;
            }
            let transaction =
                writer.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
            let result = change(&transaction)?;
            transaction.commit()?;
            Ok(result)
        };
        transact().map_err(|source| Error::Journal { path: self.database.clone(), source })
    }

    /// As [`Store::write`], for what only the process that carries the run out may do.
    fn write_with<T>(
        &self,
        pen: &Pen,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let done = self.write(|transaction| {
            if newest_epoch(transaction, &pen.run)? == pen.epoch {
                change(transaction).map(Some)
            } else {
                Ok(None)
            }
        })?;
        done.ok_or_else(|| Error::Replaced { run: pen.run.clone() })
    }
}

/// Whether that path still leads to that file.
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let of = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    file.metadata().map(of).ok() == fs::metadata(path).map(of).ok()
}

fn prepare(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    // A damaged page is to be noticed where it is read, not where its content is used.
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.busy_timeout(Duration::from_secs(10))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    set_durability(connection, durability)?;
    connection.pragma_update(None, "foreign_keys", true)
}

fn set_durability(connection: &Connection, durability: Durability) -> rusqlite::Result<()> {
    let synchronous = match durability {
        Durability::Machine => "FULL",
        Durability::Process => "NORMAL",
    };
    connection.pragma_update(None, "synchronous", synchronous)
}

/// Makes the tables, or brings those of an older version up to date. Two processes may find them missing at once: the
/// second finds them made.
fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE")?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match usize::try_from(version) {
        Ok(version @ 1..) => {
            MIGRATIONS.iter().skip(version - 1).try_for_each(|text| connection.execute_batch(text))?
        }
        _ => {
            connection.execute_batch(CREATE)?;
            connection.execute_batch(claims::CREATE)?;
            connection.execute_batch(claims::ADD_OUTSIDE)?;
            connection.execute_batch(notices::CREATE)?;
        }
    }
    connection.pragma_update(None, "user_version", SCHEMA)?;
    connection.execute_batch("COMMIT")
}

/// Of the processes that have carried the run out, the last one's.
fn newest_epoch(transaction: &Transaction<'_>, run: &str) -> rusqlite::Result<u64> {
    let newest: i64 = transaction
        .prepare_cached("SELECT max(epoch) FROM runners WHERE run = ?1")?
        .query_row([run], |row| row.get(0))?;
    Ok(newest as u64)
}

fn put_blob(transaction: &Transaction<'_>, data: &[u8]) -> rusqlite::Result<String> {
    let hash = hash(data);
    transaction.execute("INSERT OR IGNORE INTO blobs (hash, data) VALUES (?1, ?2)", params![hash, data])?;
    Ok(hash)
}

/// A blob as it was put: what does not fit its hash any more is nobody's plan and no event.
fn whole_blob(what: &str, name: &str, data: Vec<u8>) -> Result<Vec<u8>, Error> {
    if hash(&data) == name {
        return Ok(data);
    }
    Err(Error::Damaged { what: what.into(), message: "it is not what was written".into() })
}

fn damaged(what: &str, error: &serde_json::Error) -> Error {
    Error::Damaged { what: what.into(), message: error.to_string() }
}
