//! Whether the database's files are whole, as far as SQLite would not say so but begin anew without a word.
//!
//! SQLite takes an empty file for a new database and removes the write-ahead log beside it; and it takes a frame of that
//! log whose check sum is wrong for the place where a power cut stopped the writing, and forgets what stands behind it.
//! Both are right after a power cut and lose a journal when the files were damaged. The format of the log is
//! <https://www.sqlite.org/fileformat2.html#walformat>.

use super::Error;
use crate::error::At;
use rusqlite::ffi;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The length of a database's header: a shorter file holds nothing.
const DATABASE_HEADER: u64 = 100;
/// What a database begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";
const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// Looks at the files of the database before SQLite does.
///
/// # Errors
/// What was written is not there any more, or a file cannot be read.
pub(super) fn check(database: &Path) -> Result<(), Error> {
    let log = beside(database, "-wal");
    let written = length(&log)? > LOG_HEADER as u64;
    match length(database)? {
        0 if written => return Err(emptied(database)),
        0 => return check_new(database),
        1..DATABASE_HEADER => return Err(stump(database)?),
        _ => {}
    }
    if !written || before_this_boot(&log) {
        return Ok(());
    }
    match damage(&log).at("read", &log)? {
        Some(frame) => Err(damaged(
            database,
            format!("frame {frame} of `{}` is damaged, and entries stand behind it", log.display()),
        )),
        None => Ok(()),
    }
}

/// Whether a database that holds nothing never held anything.
///
/// # Errors
/// There have been runs.
pub(super) fn check_new(database: &Path) -> Result<(), Error> {
    let used = |folder| fs::read_dir(database.with_file_name(folder)).is_ok_and(|mut it| it.next().is_some());
    if used("runs") || used("attempts") { Err(emptied(database)) } else { Ok(()) }
}

fn emptied(database: &Path) -> Error {
    damaged(database, "it is empty, and what lies beside it shows that it was not".into())
}

/// What is wrong with a file that is too short for a database.
fn stump(database: &Path) -> Result<Error, Error> {
    let bytes = fs::read(database).at("read", database)?;
    let begins = bytes.iter().zip(MAGIC).all(|(there, wanted)| there == wanted);
    let what = if begins { "it is cut short: no more is left of it than" } else { "it is no journal, but" };
    let plural = if bytes.len() == 1 { "" } else { "s" };
    let else_ = if begins { "" } else { " of something else" };
    Ok(damaged(database, format!("{what} {} byte{plural}{else_}", bytes.len())))
}

fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn length(path: &Path) -> Result<u64, Error> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(metadata.len()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error).at("read", path),
    }
}

fn damaged(database: &Path, message: String) -> Error {
    let source = rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CORRUPT), Some(message));
    Error::Journal { path: database.into(), source }
}

/// Whether the machine was started after the file was written to last: then a power cut may have come between, which leaves
/// frames behind that never were on disk as a whole.
fn before_this_boot(log: &Path) -> bool {
    let started = || {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let seconds = text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        Some(UNIX_EPOCH + Duration::from_secs(seconds))
    };
    let written: Option<SystemTime> = fs::metadata(log).and_then(|it| it.modified()).ok();
    !matches!((started(), written), (Some(started), Some(written)) if started < written)
}

/// The number of the first frame, from 1, that is not what was written although a later transaction was; 0 is the header.
/// Whoever writes at the same moment may begin the log anew: then it is looked at again.
fn damage(path: &Path) -> io::Result<Option<usize>> {
    loop {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut header = [0; LOG_HEADER];
        file.rewind()?;
        match file.read_exact(&mut header) {
            Ok(()) if bytes.starts_with(&header) => return Ok(damaged_frame(&bytes)),
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// A running check sum, of SQLite's kind.
type Sum = (u32, u32);

fn damaged_frame(log: &[u8]) -> Option<usize> {
    let header = log.get(..LOG_HEADER)?;
    // The lowest bit of the magic number says in which order of bytes the sums are taken.
    let big = word(header, 0) & 1 == 1;
    let page = word(header, 8) as usize;
    if !page.is_power_of_two() || !(512..=65_536).contains(&page) {
        return Some(0);
    }
    let salts = &header[16..24];
    let stored = |bytes: &[u8], at: usize| (word(bytes, at), word(bytes, at + 4));
    let start = stored(header, 24);
    if sum(big, (0, 0), &header[..24]) != start {
        return Some(0);
    }
    // Behind a damaged frame the sums go on from the one that stands in it, or from the one that it should have.
    let mut before = (start, None);
    let (mut bad, mut committed) = (None, false);
    for (index, frame) in log[LOG_HEADER..].chunks_exact(FRAME_HEADER + page).enumerate() {
        let after = stored(frame, 16);
        let sum_from = |before| sum(big, sum(big, before, &frame[..8]), &frame[FRAME_HEADER..]);
        let should_be = sum_from(before.0);
        let fits = should_be == after || before.1.is_some_and(|before| sum_from(before) == after);
        let links = &frame[8..16] == salts && fits;
        if bad.is_some() && committed && links {
            return bad;
        }
        if bad.is_none() && !links {
            bad = Some(index + 1);
        }
        // Its transaction was complete: what was written behind it was begun when that was over.
        committed |= bad.is_some() && word(frame, 4) != 0;
        before = (after, (should_be != after).then_some(should_be));
    }
    None
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|it| it.try_into().ok()).map_or(0, u32::from_be_bytes)
}

fn sum(big: bool, (mut first, mut second): Sum, bytes: &[u8]) -> Sum {
    let read = if big { u32::from_be_bytes } else { u32::from_le_bytes };
    for pair in bytes.chunks_exact(8) {
        let (x, y) = pair.split_at(4);
        let of = |it: &[u8]| it.try_into().map_or(0, read);
        first = first.wrapping_add(of(x)).wrapping_add(second);
        second = second.wrapping_add(of(y)).wrapping_add(first);
    }
    (first, second)
}
