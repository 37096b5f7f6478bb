//! Processes that outlive this one: their own session, their end, and how to tell one from a later one of the same number.
//!
//! Everything that differs between operating systems is here.

use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use std::io;
use std::process::{Command, ExitStatus};
use std::time::Duration;
use tokio::sync::oneshot;

/// What carries out scripts, as `system` of the C library and `make` do: looking for it in each directory of PATH costs more than
/// starting it.
pub(crate) const SHELL: &str = "/bin/sh";

/// How long a process group is given after SIGTERM before SIGKILL.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// How long the end of a process group is waited for after SIGKILL.
const KILL_PATIENCE: Duration = Duration::from_secs(5);

/// A process that was just started.
pub(crate) struct Spawned {
    /// Its number; it leads the session and process group of that number.
    pub pid: u32,
    /// How it ended. Dropping this does nothing to the process.
    pub ended: oneshot::Receiver<io::Result<ExitStatus>>,
}

/// Starts a process in a session of its own. It is not stopped when this process ends, however that ends.
pub(crate) fn spawn(command: Command) -> io::Result<Spawned> {
    let mut child =
        process_wrap::std::CommandWrap::from(command).wrap(process_wrap::std::ProcessSession).spawn()?;
    let pid = child.id();
    let (sender, ended) = oneshot::channel();
    // A thread rather than a task: a service may run for weeks, and waiting for it must not keep a runtime alive.
    std::thread::Builder::new().name("reaper".into()).stack_size(128 * 1024).spawn(move || {
        let _ = sender.send(child.wait());
    })?;
    Ok(Spawned { pid, ended })
}

fn group(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

/// Whether any process of the group is alive. Ended ones that nobody has collected do not count.
pub(crate) fn group_alive(pid: u32) -> bool {
    let Some(group) = group(pid) else { return false };
    // EPERM also says that there is something.
    if test_kill_process_group(group) == Err(rustix::io::Errno::SRCH) {
        return false;
    }
    system::group_has_living_member(pid)
}

/// Whether anything of a group is alive whose leader was, at that time after the machine was started (see [`uptime`]), and has
/// been since the machine was. When a leader of that number began later, it leads another group, which the kernel allows only
/// when nothing of the first is left.
pub(crate) fn is_left_behind(pid: u32, at: u64) -> bool {
    !system::began_after(pid, at) && group_alive(pid)
}

/// Milliseconds since the machine was started.
pub(crate) fn uptime() -> u64 {
    system::uptime()
}

/// Ends a process group: SIGTERM, after [`GRACE`] SIGKILL. True when nothing of it is left.
pub(crate) async fn stop_group(pid: u32) -> bool {
    let Some(group) = group(pid) else { return true };
    for (signal, patience) in [(Signal::TERM, GRACE), (Signal::KILL, KILL_PATIENCE)] {
        if !group_alive(pid) {
            return true;
        }
        // It may have ended since; that is what is wanted.
        let _ = kill_process_group(group, signal);
        if wait_gone(pid, patience).await {
            return true;
        }
    }
    false
}

/// Waits until nothing of the group is left, at most that long. The kernel tells nobody but the parent of such an end,
/// so it has to be asked.
pub(crate) async fn wait_gone(pid: u32, patience: Duration) -> bool {
    let deadline = tokio::time::Instant::now() + patience;
    let mut pause = Duration::from_millis(2);
    while group_alive(pid) {
        if tokio::time::Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    true
}

/// A process, told apart from any other that has or will have its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub pid: u32,
    born: String,
}

/// Shell commands that print two lines by which [`Identity::parse`] knows the shell that runs them.
pub(crate) const PRINT_IDENTITY: &str = system::PRINT_IDENTITY;

impl Identity {
    /// From the lines that [`PRINT_IDENTITY`] printed.
    pub fn parse<'a>(mut lines: impl Iterator<Item = &'a str>) -> Option<Identity> {
        let pid = lines.next()?.trim().parse().ok()?;
        let born = system::parse_birth(lines.next()?)?;
        Some(Identity { pid, born })
    }

    /// Whether the process, or one of the group that it leads or led, is alive.
    pub fn is_alive(&self) -> bool {
        match system::birth(self.pid) {
            // Its number belongs to another now, which the kernel gives away only when nothing of the group is left.
            Some(born) if born != self.born => false,
            Some(_) => group_alive(self.pid),
            None => self.same_boot() && group_alive(self.pid),
        }
    }

    fn same_boot(&self) -> bool {
        let boot = boot_id();
        boot.is_empty() || self.born.starts_with(&boot)
    }
}

/// Whether a signal has stopped that process; false where the system does not tell.
pub(crate) fn is_stopped(pid: u32) -> bool {
    system::is_stopped(pid)
}

/// Names the time since the machine was last started; empty where the system does not tell.
pub(crate) fn boot_id() -> String {
    system::boot_id()
}

#[cfg(target_os = "linux")]
mod system {
    use std::fs;

    pub const PRINT_IDENTITY: &str = r#"read -r boot </proc/sys/kernel/random/boot_id
read -r stat </proc/$$/stat
printf '%s\n%s %s\n' "$$" "$boot" "$stat""#;

    /// `BOOT PID (NAME) STATE PARENT GROUP …` → `BOOT START`
    pub fn parse_birth(line: &str) -> Option<String> {
        let (boot, stat) = line.split_once(' ')?;
        Some(format!("{boot} {}", field(stat, 22)?))
    }

    pub fn birth(pid: u32) -> Option<String> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some(format!("{} {}", boot_id(), field(&stat, 22)?))
    }

    pub fn boot_id() -> String {
        fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().into()
    }

    /// A field of `/proc/PID/stat`, numbered from 1 as in proc(5); only those behind the name, which may hold anything.
    fn field(stat: &str, number: usize) -> Option<&str> {
        stat.rsplit_once(')')?.1.split_whitespace().nth(number - 3)
    }

    pub fn is_stopped(pid: u32) -> bool {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        matches!(field(&stat, 3), Some("T" | "t"))
    }

    pub fn uptime() -> u64 {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        now.tv_sec as u64 * 1000 + now.tv_nsec as u64 / 1_000_000
    }

    pub fn began_after(pid: u32, at: u64) -> bool {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let ticks: Option<u64> = field(&stat, 22).and_then(|ticks| ticks.parse().ok());
        ticks.is_some_and(|ticks| ticks * 1000 / rustix::param::clock_ticks_per_second() > at)
    }

    pub fn group_has_living_member(pid: u32) -> bool {
        let group = pid.to_string();
        let living = |stat: &str| {
            field(stat, 5) == Some(group.as_str()) && !matches!(field(stat, 3), Some("Z" | "X" | "x"))
        };
        // Nearly always the leader is there, and answers for all.
        if fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| living(&stat)) {
            return true;
        }
        let Ok(entries) = fs::read_dir("/proc") else { return true };
        entries
            .flatten()
            .filter(|entry| entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit))
            .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok())
            .any(|stat| living(&stat))
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::process::Command;

    pub const PRINT_IDENTITY: &str = r#"printf '%s\n%s\n' "$$" "$(ps -o lstart= -p $$)""#;

    pub fn parse_birth(line: &str) -> Option<String> {
        let born = line.trim();
        (!born.is_empty()).then(|| born.into())
    }

    pub fn birth(pid: u32) -> Option<String> {
        let output = Command::new("ps").args(["-o", "lstart=", "-p", &pid.to_string()]).output().ok()?;
        parse_birth(&String::from_utf8_lossy(&output.stdout))
    }

    pub fn boot_id() -> String {
        String::new()
    }

    pub fn is_stopped(pid: u32) -> bool {
        let output = Command::new("ps").args(["-o", "state=", "-p", &pid.to_string()]).output();
        output.is_ok_and(|output| output.stdout.trim_ascii_start().starts_with(b"T"))
    }

    pub fn uptime() -> u64 {
        0
    }

    /// Not known here: a leader that lives may be anybody's.
    pub fn began_after(pid: u32, _: u64) -> bool {
        let output = Command::new("ps").args(["-o", "state=", "-p", &pid.to_string()]).output();
        output.is_ok_and(|output| {
            let state = output.stdout.trim_ascii_start();
            !state.is_empty() && !state.starts_with(b"Z")
        })
    }

    pub fn group_has_living_member(_: u32) -> bool {
        true
    }
}
