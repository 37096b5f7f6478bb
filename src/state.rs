//! Where runs are kept, and who acts.

use crate::args::{Durability, StateArgs};
use crate::failure::Failure;
use lockstep_executor::Store;
use lockstep_plan::Deed;
use std::env;
use std::path::PathBuf;

/// Opens a state directory that has to be there: looking makes nothing.
pub fn existing(args: &StateArgs) -> Result<Store, Failure> {
    let nothing = |directory: PathBuf| {
        Failure::new(format!("nothing has run yet: there is no state in `{}`", directory.display()))
    };
    if_any(args)?.map_or_else(|| Err(nothing(directory(args)?)), Ok)
}

/// Opens a state directory; none before the first run.
pub fn if_any(args: &StateArgs) -> Result<Option<Store>, Failure> {
    let directory = directory(args)?;
    if directory.exists() { Ok(Some(Store::open(&directory)?)) } else { Ok(None) }
}

/// Refuses to go on with a run whose module is not where it was: its steps start from there.
pub fn module_of(store: &Store, run: &str) -> Result<(), Failure> {
    let module = store.run(run)?.module;
    std::fs::read_dir(&module).map(drop).map_err(|error| {
        Failure::new(format!("the module of run {run} cannot be opened: `{}`: {error}", module.display()))
            .help("put it back where it was: steps, artifacts and paths of the run start from there; none was begun")
    })
}

/// Opens the state directory to carry a run out, and makes it when it is not there.
pub fn open(args: &StateArgs, durability: Durability) -> Result<Store, Failure> {
    let durability = match durability {
        Durability::Machine => lockstep_executor::Durability::Machine,
        Durability::Process => lockstep_executor::Durability::Process,
    };
    Ok(Store::open_with(&directory(args)?, durability)?)
}

fn directory(args: &StateArgs) -> Result<PathBuf, Failure> {
    let named = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(directory) = &args.directory {
        return Ok(directory.clone());
    }
    if let Some(directory) = named("LOCKSTEP_STATE") {
        return Ok(directory);
    }
    // A relative path there counts as unset (XDG Base Directory Specification).
    if let Some(directory) = named("XDG_STATE_HOME").filter(|directory| directory.is_absolute()) {
        return Ok(directory.join("lockstep"));
    }
    match named("HOME") {
        Some(home) => Ok(home.join(".local/state/lockstep")),
        None => {
            Err(Failure::new("there is no place for the state: neither $LOCKSTEP_STATE nor $HOME is set")
                .help("name a directory with `--state DIR`"))
        }
    }
}

/// Refuses what an environment of the run does not let this person do.
pub fn permit(store: &Store, run: &str, deed: Deed) -> Result<(), Failure> {
    store.plan(run)?.permits(&person(), deed).map_err(|refusal| Failure::new(refusal.to_string()))
}

/// The name under which a person's doings are journalled: that of the account, whatever the environment says.
pub fn person() -> String {
    let uid = nix::unistd::getuid();
    match nix::unistd::User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        // An account without a name, as containers have them.
        Ok(None) | Err(_) => format!("uid {uid}"),
    }
}
