//! `dsl fmt`, as a whole command.

use crate::support::{Sandbox, dsl, examples, fed, repository, said};
use std::fs;

const UGLY: &str = "group   sre {members=[\"ana\"]}\n\n\n\n// why\ngroup dba {\nmembers=[\"bob\"]}";
const NEAT: &str = "group sre { members = [\"ana\"] }\n\n// why\ngroup dba {\n  members = [\"bob\"]\n}\n";
const FAULTY: &str = "group   sre {members=[\"ana\"]}\n\ngroup   dba {members=}\n";

fn main_file(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.module().join("main.lockstep")).expect("a file")
}

#[test]
fn the_house_keeps_its_own_style() {
    let mut command = dsl();
    command.current_dir(repository()).args(["fmt", "--check", "compiler/src/prelude"]).args(examples());
    let told = said(&mut command).exits(0);
    assert_eq!(told.out, "");
}

#[test]
fn files_are_written_once() {
    let sandbox = Sandbox::of_source(UGLY);
    let told = said(dsl().arg("fmt").arg(sandbox.module())).exits(0);
    assert_eq!((told.out.as_str(), told.err.as_str()), ("", "1 file formatted\n"));
    assert_eq!(main_file(&sandbox), NEAT);
    let told = said(dsl().arg("fmt").arg(sandbox.module())).exits(0);
    assert_eq!(told.err, "nothing to format\n");
    let names: Vec<_> = fs::read_dir(sandbox.module()).expect("a folder").flatten().collect();
    assert_eq!(names.len(), 1, "nothing else is left behind");
}

#[test]
fn check_and_diff_write_nothing() {
    let sandbox = Sandbox::of_source(UGLY);
    let mut command = dsl();
    let told = said(command.current_dir(sandbox.module()).args(["fmt", "--check"])).exits(1);
    assert_eq!((told.out.as_str(), told.err.as_str()), ("main.lockstep\n", "1 file is not formatted\n"));
    let mut command = dsl();
    let told = said(command.current_dir(sandbox.module()).args(["fmt", "--diff", "main.lockstep"])).exits(1);
    insta::assert_snapshot!("diff", told.out);
    assert_eq!(main_file(&sandbox), UGLY);
    fs::write(sandbox.module().join("main.lockstep"), NEAT).expect("a file");
    for flag in ["--check", "--diff"] {
        let told = said(dsl().arg("fmt").arg(sandbox.module()).arg(flag)).exits(0);
        assert_eq!(told.out, "");
    }
}

#[test]
fn only_what_is_named_is_written() {
    let sandbox = Sandbox::of_source(UGLY);
    let module = sandbox.module();
    fs::write(module.join("other.lockstep"), UGLY).expect("a file");
    fs::write(module.join("ignored.lockstep"), UGLY).expect("a file");
    fs::write(module.join(".gitignore"), "ignored.lockstep\n").expect("a file");
    let read = |name: &str| fs::read_to_string(module.join(name)).expect("a file");
    said(dsl().arg("fmt").arg(module.join("other.lockstep"))).exits(0);
    assert_eq!((read("other.lockstep").as_str(), read("main.lockstep").as_str()), (NEAT, UGLY));
    said(dsl().arg("fmt").arg(&module)).exits(0);
    assert_eq!((read("main.lockstep").as_str(), read("ignored.lockstep").as_str()), (NEAT, UGLY));
}

#[test]
fn a_link_stays_one() {
    let sandbox = Sandbox::of_source(UGLY);
    let link = sandbox.module().join("link.lockstep");
    std::os::unix::fs::symlink("main.lockstep", &link).expect("a link");
    said(dsl().arg("fmt").arg(&link)).exits(0);
    assert!(fs::symlink_metadata(&link).expect("a link").is_symlink());
    assert_eq!(main_file(&sandbox), NEAT);
}

#[test]
fn standard_input_goes_to_standard_output() {
    let told = fed(dsl().args(["fmt", "-"]), UGLY).exits(0);
    assert_eq!((told.out.as_str(), told.err.as_str()), (NEAT, ""));
    let told = fed(dsl().args(["fmt", "-", "--check", "--stdin-filename", "a/b.lockstep"]), UGLY).exits(1);
    assert_eq!(told.out, "a/b.lockstep\n");
    let told = fed(dsl().args(["fmt", "-", "--diff"]), NEAT).exits(0);
    assert_eq!(told.out, "");
}

#[test]
fn faulty_declarations_are_left_and_told_of() {
    let sandbox = Sandbox::of_source(FAULTY);
    let told = said(dsl().arg("fmt").arg(sandbox.module())).exits(0);
    assert_eq!(main_file(&sandbox), "group sre { members = [\"ana\"] }\n\ngroup   dba {members=}\n");
    assert!(told.err.contains("main.lockstep:3: syntax errors"), "{}", told.err);
    said(dsl().arg("fmt").arg(sandbox.module()).arg("--check")).exits(0);
}

#[test]
fn what_cannot_be_read_is_wrong_use() {
    let sandbox = Sandbox::of_source(UGLY);
    said(dsl().arg("fmt").arg(sandbox.module().join("missing"))).exits(2);
    fs::write(sandbox.module().join("bytes.lockstep"), [0xff, 0xfe, 0x00]).expect("a file");
    let told = said(dsl().arg("fmt").arg(sandbox.module())).exits(2);
    assert!(told.err.contains("bytes.lockstep"), "{}", told.err);
    assert_eq!(main_file(&sandbox), UGLY, "nothing is written then");
}
