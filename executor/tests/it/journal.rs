//! The state directory: what is written reads back, and whoever must not use it is refused.

use crate::support::*;
use lockstep_executor::{Drivers, End, Error, Nobody, Runner, Store, replay, unsupported};
use lockstep_plan::*;
use sha2::{Digest, Sha256};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

#[tokio::test]
async fn a_run_reads_back_as_it_happened() {
    let world = World::new();
    let wanted = plan(vec![stage("a", vec![shell("one", "echo hello"), shell("two", "true")])]);
    let ended = world.run(wanted.clone()).await;
    assert_eq!(ended.end, End::Finished(RunOutcome::Succeeded));
    let store = world.store();
    assert_eq!(store.plan(&ended.run).unwrap(), wanted);
    let history = store.history(&ended.run).unwrap();
    assert_eq!(history[0].event, Event::Started { run: ended.run.clone(), by: "tester".into() });
    let seqs: Vec<u64> = history.iter().map(|entry| entry.seq).collect();
    assert_eq!(seqs, vec![1, 2, 3]);
    assert!(history.is_sorted_by_key(|entry| entry.at));
    let info = store.run(&ended.run).unwrap();
    assert_eq!((info.outcome, info.by.as_str()), (Some(RunOutcome::Succeeded), "tester"));
    let replayed = replay(&store, &ended.run).unwrap();
    assert_eq!(replayed.state.outcome(), Some(RunOutcome::Succeeded));
    let told: Vec<Happening> = replayed.happenings.into_iter().map(|(_, happening)| happening).collect();
    let seen: Vec<Happening> =
        ended.memory.happenings.lock().unwrap().iter().map(|(h, _)| h.clone()).collect();
    assert_eq!(told, seen);
}

#[tokio::test]
async fn long_output_is_kept_and_cut() {
    let world = World::new();
    let script = "head -c 3000000 /dev/zero | tr '\\0' x";
    let ended = world.run(plan(vec![stage("a", vec![shell("one", script)])])).await;
    let stdout = ended.stdout();
    assert!(stdout.starts_with("xxx") && stdout.len() < 1_100_000);
    assert!(stdout.contains("[cut: the first 1048576 of 3000000 bytes"), "{}", &stdout[1_048_000..]);
}

#[test]
fn the_directory_is_private() {
    let world = World::new();
    let store = world.store();
    let mode = std::fs::metadata(store.directory()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

/// A state directory that somebody has made before stays as it is; what is in it is nobody else's.
#[tokio::test]
async fn everything_in_the_directory_is_private() {
    let world = World::new();
    let directory = world.store().directory().to_owned();
    std::fs::remove_dir_all(&directory).unwrap();
    std::fs::create_dir(&directory).unwrap();
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    let long = format!("echo said; : {}", "x".repeat(200_000));
    let steps = vec![shell("one", &long), shell("two", "echo said >&2")];
    let ended = world.run(plan(vec![stage("a", steps)])).await;
    assert_eq!(ended.stdout(), "said");
    assert_eq!(std::fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o755);
    let (mut folders, mut files) = (vec![directory], 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = std::fs::metadata(&path).unwrap();
            assert_eq!(metadata.permissions().mode() & 0o077, 0, "{}", path.display());
            match metadata.is_dir() {
                true => folders.push(path),
                false => files += 1,
            }
        }
    }
    // The journal, two locks, and of the run its log, its epoch, a script and what was printed.
    assert!(files >= 8, "{files}");
}

#[test]
fn a_newer_schema_is_refused() {
    let world = World::new();
    let path = world.store().directory().join("journal.db");
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let Err(error) = Store::open(path.parent().unwrap()) else { panic!("opened") };
    assert!(matches!(error, Error::NewerSchema { found: 99, known: 7, .. }), "{error}");
}

#[test]
fn a_file_that_is_no_database_is_refused() {
    let world = World::new();
    let path = world.store().directory().join("journal.db");
    std::fs::write(&path, "this is no database, however long it may be".repeat(100)).unwrap();
    for beside in ["journal.db-wal", "journal.db-shm"] {
        let _ = std::fs::remove_file(path.with_file_name(beside));
    }
    let Err(error) = Store::open(path.parent().unwrap()) else { panic!("opened") };
    assert!(error.to_string().contains("not a database"), "{error}");
}

#[tokio::test]
async fn runs_are_found_by_prefix_and_last() {
    let world = World::new();
    let first = world.run(plan(vec![stage("a", vec![shell("one", "true")])])).await.run;
    let second = world.run(plan(vec![stage("a", vec![shell("one", "true")])])).await.run;
    let store = world.store();
    assert_eq!(store.find_run("last").unwrap(), second);
    assert_eq!(store.find_run(&first).unwrap(), first);
    assert_eq!(store.find_run(&first[..11]).unwrap(), first);
    let shared: String =
        first.chars().zip(second.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect();
    let error = store.find_run(&shared).unwrap_err();
    assert!(matches!(&error, Error::Ambiguous { candidates, .. } if candidates.len() == 2), "{error}");
    assert!(matches!(store.find_run("zzz"), Err(Error::NoRun(_))));
    assert!(matches!(store.find_run("%"), Err(Error::NoRun(_))));
    let ids: Vec<String> = store.runs().unwrap().into_iter().map(|run| run.id).collect();
    assert_eq!(ids, vec![first, second]);
}

#[tokio::test]
async fn two_runners_on_one_run_are_refused() {
    let world = World::new();
    let runner = world.runner(plan(vec![stage("a", vec![shell("one", "true")])]));
    let run = runner.info().id.clone();
    let Err(error) = Runner::resume(world.store(), Drivers::built_in(), &run) else { panic!("both run") };
    assert!(
        matches!(&error, Error::Locked { holder, .. } if holder.process == Some(std::process::id())),
        "{error}"
    );
    assert_eq!(runner.run(Arc::new(Nobody)).await.unwrap(), End::Finished(RunOutcome::Succeeded));
    let again = world.resume(&run).run(Arc::new(Nobody)).await.unwrap();
    assert_eq!(again, End::Finished(RunOutcome::Succeeded));
    let starts = world.store().history(&run).unwrap().len();
    assert_eq!(starts, 2, "nothing was added to a run that has ended");
}

#[test]
fn a_plan_beyond_the_drivers_is_refused_before_it_begins() {
    let world = World::new();
    let mut needs = plan(vec![stage("a", vec![shell("one", "touch begun")])]);
    let mut other = needs.steps[0].clone();
    other.name = "a.main.two".into();
    other.action.provider = "helm".into();
    other.action.step = "rolling".into();
    needs.steps.push(other);
    needs.secrets.insert("token".into(), Source { kind: "env".into(), settings: Default::default() });
    let Err(error) =
        Runner::start(world.store(), Drivers::built_in(), needs.clone(), &world.module(), "tester")
    else {
        panic!("started");
    };
    let named = unsupported(&needs, &Drivers::built_in());
    assert_eq!(named[0].to_string(), "step `helm.rolling` (needed by a.main.two)");
    assert!(error.to_string().contains("step `helm.rolling` (needed by a.main.two)"), "{error}");
    assert!(world.store().runs().unwrap().is_empty());
}

#[tokio::test]
async fn another_process_can_abort() {
    let world = World::new();
    let runner = world.runner(plan(vec![stage("a", vec![shell("one", "echo begun; exec sleep 60")])]));
    let run = runner.info().id.clone();
    let memory = Arc::new(Memory::default());
    let running = tokio::spawn(runner.run(memory.clone()));
    memory.line("begun").await;
    assert!(world.store().is_carried_out(&run).unwrap());
    world.store().request(&run, &Event::AbortRequested { by: "somebody".into() }).unwrap();
    assert_eq!(running.await.unwrap().unwrap(), End::Finished(RunOutcome::Aborted));
    assert!(!world.store().is_carried_out(&run).unwrap());
    let history = world.store().history(&run).unwrap();
    assert!(history.iter().any(|entry| entry.event == Event::AbortRequested { by: "somebody".into() }));
}

#[test]
fn a_new_directory_may_be_opened_by_many_at_once() {
    for _ in 0..20 {
        let world = World::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| world.store().runs().unwrap());
            }
        });
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_named() {
    let world = World::new();
    let path = world.path("file");
    std::fs::write(&path, "").unwrap();
    let Err(error) = Store::open(&path.join("state")) else { panic!("opened") };
    assert!(error.to_string().contains("file/state"), "{error}");
}

#[test]
fn a_journal_of_an_older_version_is_brought_up_to_date() {
    let world = World::new();
    let wanted = plan(vec![stage("a", vec![shell("one", "true")])]);
    let run = world.runner(wanted.clone()).info().id.clone();
    let path = world.store().directory().join("journal.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    // Plans were plain text.
    let text = serde_json::to_vec(&wanted).unwrap();
    let hash: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
    old.execute("INSERT INTO blobs (hash, data) VALUES (?1, ?2)", rusqlite::params![hash, text]).unwrap();
    assert_eq!(old.execute("UPDATE runs SET plan = ?1", [hash]).unwrap(), 1);
    let later = "DROP TABLE notices; DROP TABLE holdings; DROP TABLE needs; DROP TABLE tickets";
    let later = format!("ALTER TABLE journal DROP COLUMN sum; {later}");
    old.execute_batch(&format!("ALTER TABLE requests DROP COLUMN reply; {later}; PRAGMA user_version = 1"))
        .unwrap();
    drop(old);
    let store = world.store();
    assert_eq!(store.plan(&run).unwrap(), wanted);
    let request = store.request(&run, &Event::AbortRequested { by: "somebody".into() }).unwrap();
    assert_eq!(store.reply(request).unwrap(), None);
    assert!(store.holdings().unwrap().is_empty());
}
