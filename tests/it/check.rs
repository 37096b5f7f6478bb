//! `dsl check` and its neighbours, as whole commands.

use crate::support::{Sandbox, dsl, repository, said};
use std::io::Write;
use std::process::{Command, Stdio};

/// The rules that a run of `dsl check --format json` reports.
fn rules(command: &mut Command, code: i32) -> Vec<String> {
    let told = said(command.args(["--format", "json"])).exits(code);
    let value: serde_json::Value = serde_json::from_str(&told.out).expect("JSON");
    assert_eq!(value["version"], 1);
    let found = value["diagnostics"].as_array().expect("diagnostics");
    found.iter().map(|diagnostic| diagnostic["rule"].as_str().expect("a name").to_owned()).collect()
}

#[test]
fn many_mistakes_come_out_together() {
    let file = repository().join("tests/fixtures/many.lockstep");
    let found = rules(dsl().arg("check").arg(&file), 1);
    for rule in [
        "barrier/alone",
        "barrier/deadlock",
        "barrier/duplicate",
        "phase/parallel",
        "template/artifact-type",
        "template/deployment-type",
    ] {
        assert!(found.iter().any(|name| name == rule), "{rule} is missing among {found:?}");
    }
}

#[test]
fn the_rendered_form_shows_source_label_and_help() {
    let mut command = dsl();
    command.current_dir(repository()).args(["check", "tests/fixtures/many.lockstep"]);
    let told = said(&mut command).exits(1);
    insta::assert_snapshot!("many", told.out);
}

#[test]
fn standard_input_is_checked_under_its_name() {
    let mut child = dsl()
        .args(["check", "-", "--format", "json", "--stdin-filename", "here.lockstep"])
        .current_dir(Sandbox::of_source("").module().parent().expect("a parent").parent().expect("a parent"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut input = child.stdin.take().expect("its standard input");
    input.write_all(b"workflow w {\n  phase p { step s = nothing.there }\n}\n").expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(value["diagnostics"][0]["rule"], "name/unknown");
    assert_eq!(value["diagnostics"][0]["file"], "here.lockstep");
    assert_eq!(value["diagnostics"][0]["line"], 2);
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn exit_codes() {
    let fine = Sandbox::of_source("group sre { members = [\"ana\"] }\n");
    said(dsl().arg("check").arg(fine.module())).exits(0);
    said(dsl().arg("check").arg(fine.module().join("missing"))).exits(2);
    let wrong = Sandbox::of_source("group {\n");
    said(dsl().arg("check").arg(wrong.module())).exits(1);
    said(dsl().arg("plan").arg(wrong.module()).arg("release")).exits(2);
    said(dsl().arg("plan").arg(fine.module()).arg("release")).exits(2);
}

#[test]
fn explain_has_a_page_for_each_rule() {
    let told = said(dsl().args(["explain", "--format", "json"])).exits(0);
    let value: serde_json::Value = serde_json::from_str(&told.out).expect("JSON");
    for rule in value["rules"].as_array().expect("rules") {
        let name = rule["name"].as_str().expect("a name");
        let told = said(dsl().args(["explain", name])).exits(0);
        assert!(told.out.starts_with(name), "{}", told.out);
    }
    let told = said(dsl().args(["explain", "barrier/deadlok"])).exits(2);
    assert!(told.err.contains("did you mean `barrier/deadlock`?"), "{}", told.err);
    let told = said(dsl().args(["explain", "deadlock"])).exits(2);
    assert!(told.err.contains("did you mean `barrier/deadlock`?"), "{}", told.err);
    let told = said(dsl().args(["explain", "duplicate"])).exits(2);
    assert!(told.err.contains("did you mean `barrier/duplicate` or `name/duplicate`?"), "{}", told.err);
}

#[test]
fn fixes_leave_a_file_without_their_findings() {
    let source =
        std::fs::read_to_string(repository().join("tests/fixtures/many.lockstep")).expect("a fixture");
    let sandbox = Sandbox::of_source(&source);
    let fixable = |found: &serde_json::Value| {
        found["diagnostics"]
            .as_array()
            .expect("diagnostics")
            .iter()
            .filter(|found| !found["fix"].is_null())
            .count()
    };
    let check = |fix: &[&str]| {
        let told =
            said(dsl().arg("check").arg(sandbox.module()).args(["--format", "json"]).args(fix)).exits(1);
        serde_json::from_str::<serde_json::Value>(&told.out).expect("JSON")
    };
    let before = check(&[]);
    assert!(fixable(&before) > 0);
    let after = check(&["--fix"]);
    assert_eq!(fixable(&after), 0, "{after:#}");
    assert!(after["diagnostics"].as_array().map(Vec::len) < before["diagnostics"].as_array().map(Vec::len));
    assert_eq!(after, check(&[]), "what is found after fixing is what the files hold");
}

#[test]
fn forms_for_code_hosts() {
    let mut command = dsl();
    command.current_dir(repository()).args(["check", "tests/fixtures/many.lockstep", "--format", "github"]);
    insta::assert_snapshot!("github", said(&mut command).exits(1).out);
    let mut command = dsl();
    command.current_dir(repository()).args(["check", "tests/fixtures/many.lockstep", "--format", "sarif"]);
    let log: serde_json::Value = serde_json::from_str(&said(&mut command).exits(1).out).expect("JSON");
    let run = &log["runs"][0];
    for result in run["results"].as_array().expect("results") {
        let at = result["ruleIndex"].as_u64().expect("a rule") as usize;
        assert_eq!(run["tool"]["driver"]["rules"][at]["id"], result["ruleId"]);
        assert_eq!(
            result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
            "tests/fixtures/many.lockstep"
        );
    }
}

#[test]
fn files_that_git_ignores_are_not_reported() {
    let sandbox = Sandbox::of_source("group sre { members = [\"ana\"] }\n");
    let module = sandbox.module();
    std::fs::write(module.join("scratch.lockstep"), "workflow {\n").expect("a file");
    said(dsl().arg("check").current_dir(&module)).exits(1);
    std::fs::write(module.join(".gitignore"), "scratch.lockstep\n").expect("a file");
    said(dsl().arg("check").current_dir(&module)).exits(0);
    // What is named is checked, ignored or not; without a directory its name has none either.
    let told =
        said(dsl().args(["check", "scratch.lockstep", "--format", "json"]).current_dir(&module)).exits(1);
    assert!(told.out.contains(r#""file": "scratch.lockstep""#), "{}", told.out);
}

#[test]
fn standard_input_may_have_a_name_that_does_not_exist() {
    let sandbox = Sandbox::of_source("");
    let mut command = dsl();
    command.args(["check", "-", "--stdin-filename", "no/such/place.lockstep"]).current_dir(sandbox.module());
    said(&mut command).exits(0);
}

#[test]
fn faults_in_manifests_are_shown_where_they_are() {
    let source = "service web = kubernetes {\n  artifact  = docker_image { image = \"web\" }\n  manifests = [\"k8s/*.yaml\"]\n}\n";
    let sandbox = Sandbox::of_source(source);
    let dir = sandbox.module().join("k8s");
    std::fs::create_dir(&dir).expect("a folder");
    std::fs::write(dir.join("web.yaml"), "kind: Deployment\nname: ${service.nam}\n").expect("a manifest");
    let file =
        std::fs::read_dir(sandbox.module()).expect("the module").map(|it| it.expect("an entry").path());
    let file = file.into_iter().find(|it| it.is_file()).expect("the source");
    // Whether the module is named or its file: the manifest belongs to it.
    for path in [sandbox.module().to_path_buf(), file] {
        let told = said(dsl().arg("check").arg(&path).args(["--format", "json"])).exits(1);
        let value: serde_json::Value = serde_json::from_str(&told.out).expect("JSON");
        let found = &value["diagnostics"][0];
        assert!(found["file"].as_str().is_some_and(|file| file.ends_with("k8s/web.yaml")), "{found}");
        assert_eq!(
            (&found["rule"], &found["line"], &found["column"]),
            (&"name/unknown".into(), &2.into(), &17.into())
        );
        let told = said(dsl().arg("check").arg(&path).args(["--format", "github"])).exits(1);
        assert!(told.out.contains("k8s/web.yaml,line=2,col=17"), "{}", told.out);
        let told = said(dsl().arg("check").arg(&path).args(["--format", "sarif"])).exits(1);
        let value: serde_json::Value = serde_json::from_str(&told.out).expect("JSON");
        let at = &value["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
        assert!(
            at["artifactLocation"]["uri"].as_str().is_some_and(|uri| uri.ends_with("k8s/web.yaml")),
            "{at}"
        );
        assert_eq!(at["region"]["startLine"], 2);
    }
    std::fs::write(dir.join("web.yaml"), "kind: Deployment\nname: ${service.name}\n").expect("a manifest");
    said(dsl().arg("check").arg(sandbox.module()).arg("--deny-warnings")).exits(0);
}

#[test]
fn a_file_that_is_no_text_hides_no_finding_of_the_others() {
    let sandbox = Sandbox::of_source(
        "group sre { members = [nobody] }\nworkflow w {\n  phase p { step s = shell { script = \"x\", timeout = 1 } }\n}\n",
    );
    std::fs::write(sandbox.module().join("zz.lockstep"), b"// caf\xe9\ngroup ops { members = [\"a\"] }\n")
        .expect("a file");
    let told = said(dsl().arg("check").arg(sandbox.module()).args(["--format", "json"])).exits(2);
    let value: serde_json::Value = serde_json::from_str(&told.out).expect("JSON");
    // What seems to be missing may stand in the file that cannot be read.
    let rules: Vec<_> =
        value["diagnostics"].as_array().expect("diagnostics").iter().map(|it| &it["rule"]).collect();
    assert_eq!(rules, ["type/mismatch"]);
    assert!(told.err.contains("zz.lockstep"), "{}", told.err);
    said(dsl().arg("plan").arg(sandbox.module()).arg("release")).exits(2);
}
