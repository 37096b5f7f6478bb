//! State directories that cannot be written: full, limited, read-only. The run stops safely, says so, and goes on later.

use crate::control::Started;
use crate::support::{Sandbox, said};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const STEPS: usize = 120;

/// Steps that each leave a line of their own.
fn counted() -> Sandbox {
    let step = |n| format!("    step s{n} = shell {{ script = \"echo s{n} >>lines\" }}\n");
    let steps: String = (0..STEPS).map(step).collect();
    Sandbox::of_source(&format!(
        "workflow counting() {{\n  phase all {{\n{steps}  }}\n}}\npipeline count {{ stage s = counting {{}} }}\n"
    ))
}

/// A small file system in memory, gone at the end. None where this account may not mount.
struct Small(PathBuf);

impl Small {
    fn at(path: &Path) -> Option<Small> {
        fs::create_dir_all(path).expect("a folder");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m,mode=0700", "none"])
            .arg(path)
            .output();
        status.is_ok_and(|output| output.status.success()).then(|| Small(path.into()))
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(status.expect("mount").success(), "cannot remount {}", self.0.display());
    }

    /// Takes all the space there is.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut file = File::create(&path).expect("a file");
        while file.write_all(&[0; 4096]).is_ok() {}
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_in_the_middle_of_a_run() {
    let sandbox = counted();
    let source = fs::read_to_string(sandbox.module().join("main.lockstep")).expect("the module");
    let gate = "phase all {\n    step gate = shell { script = \"until [ -e open ]; do sleep 0.01; done\" }\n";
    fs::write(sandbox.module().join("main.lockstep"), source.replacen("phase all {\n", gate, 1))
        .expect("the module");
    let Some(disk) = Small::at(&sandbox.state()) else {
        eprintln!("nothing may be mounted here: `a_journal_that_cannot_grow` is what looks at it");
        return;
    };
    let mut run = Started::of(sandbox, "count");
    run.until("s.all.gate started");
    let filler = disk.fill();
    run.open();
    let (sandbox, told) = run.ends_saying(5);
    assert!(told.contains("journal.db` cannot be used"), "{told}");
    assert!(told.contains("help: make space where"), "{told}");
    assert!(told.contains("was left as it is, with all that its journal knows; `dsl resume"), "{told}");
    // Still no space: nothing gets worse.
    said(sandbox.dsl("resume").arg("last")).exits(5);
    fs::remove_file(filler).expect("the filler");
    said(sandbox.dsl("resume").arg("last")).exits(0);
    every_line_once(&sandbox);
    // Before the folder that it is in.
    drop(disk);
}

#[test]
fn a_journal_that_cannot_grow() {
    let sandbox = counted();
    // Half a megabyte for each file.
    let mut limited = Command::new("sh");
    let run = sandbox.run(&["count"]);
    limited.args(["-c", "ulimit -f 1000; exec \"$@\"", "sh"]).arg(run.get_program()).args(run.get_args());
    limited.env("LOCKSTEP_STATE", sandbox.state()).env("NO_COLOR", "1");
    let told = said(&mut limited).exits(5);
    assert!(told.err.contains("journal.db` cannot be used"), "{}", told.err);
    assert!(told.err.contains("`ulimit -f`"), "{}", told.err);
    said(sandbox.dsl("resume").arg("last")).exits(0);
    every_line_once(&sandbox);
}

fn every_line_once(sandbox: &Sandbox) {
    let lines = fs::read_to_string(sandbox.module().join("lines")).expect("lines");
    let wanted: String = (0..STEPS).map(|n| format!("s{n}\n")).collect();
    assert_eq!(lines, wanted);
}

#[test]
fn a_read_only_directory() {
    let sandbox = counted();
    said(&mut sandbox.run(&["count"])).exits(0);
    fs::rename(sandbox.state(), sandbox.state().with_file_name("before")).expect("the state");
    let disk = Small::at(&sandbox.state());
    match &disk {
        Some(disk) => {
            let from = sandbox.state().with_file_name("before");
            let mut copy = Command::new("sh");
            copy.args(["-c", "cp -r \"$1\"/journal* \"$1\"/runs \"$2\"", "sh"]);
            let copied = copy.arg(from).arg(sandbox.state()).status();
            assert!(copied.is_ok_and(|status| status.success()), "the state cannot be copied");
            disk.remount("ro");
        }
        None => {
            eprintln!("nothing may be mounted here: the permissions say that it is read-only");
            use std::os::unix::fs::PermissionsExt;
            fs::remove_dir_all(sandbox.state()).expect("the folder");
            fs::create_dir(sandbox.state()).expect("a folder");
            fs::set_permissions(sandbox.state(), fs::Permissions::from_mode(0o500)).expect("permissions");
        }
    }
    for mut command in [sandbox.run(&["count"]), sandbox.dsl("runs")] {
        let told = said(&mut command).exits(2);
        assert!(told.err.contains(&sandbox.state().display().to_string()), "{}", told.err);
        assert!(told.err.contains("has to be writable"), "{}", told.err);
    }
    every_line_once(&sandbox);
    drop(disk);
}
