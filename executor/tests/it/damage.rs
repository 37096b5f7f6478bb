//! Damaged journals: whatever is read back is what was written, or it is said that it is not.

use crate::support::*;
use lockstep_executor::{Drivers, End, Error, Nobody, Runner, Store, replay};
use lockstep_plan::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A run whose third step waits for a file that is not there yet, detached, and where its journal is.
async fn unfinished(world: &World) -> (String, PathBuf) {
    let works = vec![
        shell("one", "echo x >>one; head -c 9000 /dev/zero | tr '\\0' y"),
        shell("two", "echo x >>two"),
        shell("three", "until [ -e open ]; do sleep 0.01; done"),
    ];
    let runner = world.runner(plan(vec![stage("a", works)]));
    let run = runner.info().id.clone();
    let memory = Arc::new(Memory::default());
    let handle = runner.handle();
    let running = tokio::spawn(runner.run(memory.clone()));
    memory.happening(|it| matches!(it, Happening::StepStarted(StepId(2), _))).await;
    handle.detach();
    assert_eq!(running.await.unwrap().unwrap(), End::Detached);
    let path = world.store().directory().join("journal.db");
    settle(&path);
    (run, path)
}

/// Everything into the one file.
fn settle(path: &Path) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
}

/// What became of an attempt to go on with the run.
async fn go_on(world: &World, run: &str) -> Result<End, Error> {
    let store = Arc::new(Store::open(&world.directory.path().join("state"))?);
    Runner::resume(store, Drivers::built_in(), run)?.run(Arc::new(Nobody)).await
}

fn says_what_to_do(error: &Error) {
    let help = error.help().unwrap_or_else(|| panic!("{error}: and now?"));
    assert!(help.contains("nothing was done"), "{error}: {help}");
}

#[tokio::test]
async fn a_truncated_journal_is_refused_and_left_alone() {
    let world = World::new();
    let (_run, path) = unfinished(&world).await;
    let whole = fs::read(&path).unwrap();
    for length in [whole.len() / 2, whole.len() - 4096, 5000, 100, 17] {
        fs::write(&path, &whole[..length]).unwrap();
        let error = match Store::open(path.parent().unwrap()) {
            // Whoever looks at what is missing is told.
            Ok(store) => store
                .runs()
                .and_then(|runs| runs.iter().try_for_each(|run| replay(&store, &run.id).map(drop)))
                .expect_err("a truncated journal was read"),
            Err(error) => error,
        };
        says_what_to_do(&error);
        assert_eq!(fs::read(&path).unwrap(), whole[..length], "it was changed, cut to {length}: {error}");
    }
    fs::write(world.path("open"), "").unwrap();
}

/// A copy of a state directory whose last entries are in the write-ahead log, as a `kill -9` leaves it.
fn left_behind(world: &World, to: &str) -> PathBuf {
    let from = world.store().directory().to_owned();
    let to = world.path(to);
    fs::create_dir_all(to.join("runs")).unwrap();
    for name in ["journal.db", "journal.db-wal"] {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
    to
}

/// SQLite would begin a new journal, and remove the log that holds the old one.
#[tokio::test]
async fn an_emptied_journal_is_not_a_new_one() {
    let world = World::new();
    let open = world.store();
    let works = vec![shell("one", "true"), shell("two", "true")];
    world.run(plan(vec![stage("a", works)])).await;
    for (name, bytes) in [("gone", None), ("empty", Some(&b""[..])), ("one", Some(b"S"))] {
        let state = left_behind(&world, name);
        match bytes {
            Some(bytes) => fs::write(state.join("journal.db"), bytes).unwrap(),
            None => fs::remove_file(state.join("journal.db")).unwrap(),
        }
        let log = fs::read(state.join("journal.db-wal")).unwrap();
        says_what_to_do(&Store::open(&state).map(drop).expect_err(name));
        assert_eq!(fs::read(state.join("journal.db-wal")).unwrap(), log, "{name}: the log was touched");
        // Without the log, there still are the runs.
        fs::remove_file(state.join("journal.db-wal")).unwrap();
        fs::write(state.join("runs/1.lock"), "").unwrap();
        says_what_to_do(&Store::open(&state).map(drop).expect_err(name));
    }
    drop(open);
    Store::open(&world.path("new")).unwrap();
}

/// What lies there instead of a journal is called what it is.
#[test]
fn what_is_too_short_for_a_journal_is_named() {
    let world = World::new();
    for (bytes, what) in [
        (&b"garbage\n"[..], "it is no journal, but 8 bytes of something else"),
        (&b"x"[..], "it is no journal, but 1 byte of something else"),
        (&b"SQLite format 3\0\x10\0"[..], "it is cut short: no more is left of it than 18 bytes"),
    ] {
        let state = world.path("state");
        fs::create_dir_all(&state).unwrap();
        fs::write(state.join("journal.db"), bytes).unwrap();
        let error = Store::open(&state).map(drop).expect_err(what);
        assert!(error.to_string().contains(what), "{error}");
        says_what_to_do(&error);
        assert_eq!(fs::read(state.join("journal.db")).unwrap(), bytes);
    }
}

/// Of what stands behind a damaged frame of the write-ahead log SQLite would say that it was never written.
#[tokio::test]
async fn a_damaged_log_is_refused_and_left_alone() {
    const HEADER: usize = 32;
    const FRAME: usize = 24 + 4096;
    let world = World::new();
    let open = world.store();
    let works = vec![shell("one", "true"), shell("two", "true"), shell("three", "true")];
    world.run(plan(vec![stage("a", works)])).await;
    let runs = open.runs().unwrap().len();
    let state = left_behind(&world, "left");
    let log = state.join("journal.db-wal");
    let whole = fs::read(&log).unwrap();
    let is_commit = |frame: usize| whole[HEADER + frame * FRAME + 4..][..4] != [0; 4];
    let frames = (whole.len() - HEADER) / FRAME;
    let last = (0..frames - 1).rev().find(|frame| is_commit(*frame)).unwrap();
    assert!(last > 5, "{frames} frames, the last transaction begins behind {last}");
    for frame in 0..=last {
        for at in [0, 9, 17, 24 + 2000] {
            let mut bytes = whole.clone();
            bytes[HEADER + frame * FRAME + at] ^= 0x5a;
            fs::write(&log, &bytes).unwrap();
            let error = Store::open(&state).map(drop).expect_err(&format!("frame {frame}, byte {at}"));
            says_what_to_do(&error);
            assert!(error.to_string().contains(&format!("frame {} of", frame + 1)), "{frame}, {at}: {error}");
            assert_eq!(fs::read(&log).unwrap(), bytes, "it was changed: {error}");
        }
    }
    // What a power cut leaves of the last transaction is not there, as if it had never been written.
    fs::write(&log, &whole[..whole.len() - 100]).unwrap();
    assert_eq!(Store::open(&state).unwrap().runs().unwrap().len(), runs);
}

/// Bytes in the middle and at the beginning of every page in turn.
#[tokio::test]
async fn a_corrupted_page_is_noticed_or_does_no_harm() {
    let world = World::new();
    let (run, path) = unfinished(&world).await;
    let before = world.store().history(&run).unwrap();
    settle(&path);
    let whole = fs::read(&path).unwrap();
    let mut noticed = 0;
    for page in 0..whole.len() / 4096 {
        for (at, length) in [(0, 8), (2000, 64), (4000, 64)] {
            let mut bytes = whole.clone();
            let at = page * 4096 + at;
            bytes[at..at + length].iter_mut().for_each(|byte| *byte ^= 0x5a);
            for beside in ["journal.db-wal", "journal.db-shm"] {
                let _ = fs::remove_file(path.with_file_name(beside));
            }
            fs::write(&path, &bytes).unwrap();
            let read = Store::open(path.parent().unwrap())
                .and_then(|store| replay(&store, &run).and_then(|_| store.history(&run)));
            match read {
                Ok(history) => assert_eq!(history, before, "page {page}"),
                Err(_) => noticed += 1,
            }
        }
    }
    assert!(noticed > 5, "{noticed} of {} pages", whole.len() / 4096);
    fs::write(world.path("open"), "").unwrap();
}

#[tokio::test]
async fn an_entry_that_is_not_what_was_written_is_not_acted_on() {
    let world = World::new();
    let (run, path) = unfinished(&world).await;
    let whole = fs::read(&path).unwrap();
    let changes = [
        ("UPDATE journal SET event = replace(event, '\"attempt\":1', '\"attempt\":2')", "entry"),
        ("UPDATE journal SET at = at + 1 WHERE seq = 2", "entry 2"),
        ("UPDATE journal SET seq = 5 WHERE seq = 3", "entry 5"),
        ("DELETE FROM journal WHERE seq = 2", "entry 2 is missing"),
        (
            "UPDATE blobs SET data = CAST(replace(data, 'yyy', 'yyx') AS BLOB) WHERE hash IN (SELECT blob FROM journal)",
            "entry 2",
        ),
        (
            "UPDATE blobs SET data = CAST(substr(data, 1, 99) || X'5a' || substr(data, 101) AS BLOB) WHERE hash IN (SELECT plan FROM runs)",
            "plan",
        ),
    ];
    fs::write(world.path("open"), "").unwrap();
    for (change, what) in changes {
        fs::write(&path, &whole).unwrap();
        let connection = rusqlite::Connection::open(&path).unwrap();
        assert!(connection.execute(change, []).unwrap() > 0, "{change}");
        drop(connection);
        settle(&path);
        let error = go_on(&world, &run).await.expect_err(change);
        assert!(matches!(error, Error::Damaged { .. }), "{change}: {error}");
        assert!(error.to_string().contains(what), "{change}: {error}");
        says_what_to_do(&error);
    }
    // Put back, it goes on as if nothing had been.
    fs::write(&path, &whole).unwrap();
    assert_eq!(go_on(&world, &run).await.unwrap(), End::Finished(RunOutcome::Succeeded));
    assert_eq!((world.read("one"), world.read("two")), ("x\n".into(), "x\n".into()));
}

/// Plans and long outputs are kept by what they hold: the same ones once.
#[tokio::test]
async fn what_is_the_same_is_kept_once() {
    let world = World::new();
    let works = || vec![shell("one", "head -c 9000 /dev/zero | tr '\\0' y"), shell("two", "true")];
    for _ in 0..3 {
        world.run(plan(vec![stage("a", works())])).await;
    }
    let path = world.store().directory().join("journal.db");
    let connection = rusqlite::Connection::open(path).unwrap();
    let count: i64 = connection.query_row("SELECT count(*) FROM blobs", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 2, "one plan, one output");
}
