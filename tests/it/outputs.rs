//! The forms of `dsl check` at their edges: strange names, wide characters, very many findings, nothing to look at.

use crate::support::{Said, Sandbox, dsl, fed, repository, said};
use serde_json::Value;
use std::fs;

/// A parameter that nothing reads, after tabs and wide characters; another file's name asks to be escaped.
const WIDE: &str = "//! Ümläute und 漢字.\n\n/* nö */ group 漢字 { members = [\"é\u{301}😀\"]\t; }\nworkflow w(\tünused: string = \"100%: a, b\") { }\n";

fn json(told: &Said) -> Value {
    serde_json::from_str(&told.out).expect("JSON")
}

#[track_caller]
fn is_sarif(text: &str) -> Value {
    let path = repository().join("tests/schemas/sarif-2.1.0.json");
    let schema = fs::read_to_string(path).expect("the schema");
    // A bracket without its partner, which not every engine takes for a character.
    let schema = schema.replace("[a-zA-Z]{2}]?$", "[a-zA-Z]{2}$");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a JSON Schema");
    let value: Value = serde_json::from_str(text).expect("JSON");
    let errors: Vec<String> =
        validator.iter_errors(&value).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:#?}");
    value
}

#[test]
fn sarif_is_what_its_standard_says() {
    for module in ["tests/fixtures/many.lockstep", "examples/wrong", "examples/quickstart"] {
        let mut command = dsl();
        command.current_dir(repository()).args(["check", module, "--format", "sarif"]);
        let log = is_sarif(&said(&mut command).out);
        let results = log["runs"][0]["results"].as_array().expect("results");
        assert_eq!(results.is_empty(), module == "examples/quickstart", "{module}");
    }
    let sandbox = Sandbox::of_source("");
    let folder = sandbox.module().join("mit leer, und 100%: ä");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("x.lockstep"), WIDE).expect("a file");
    let mut command = dsl();
    let told = said(command.current_dir(sandbox.module()).args(["check", "--format", "sarif"])).exits(1);
    let log = is_sarif(&told.out);
    let first = &log["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    assert_eq!(
        first["artifactLocation"]["uri"], "mit%20leer%2C%20und%20100%25%3A%20%C3%A4/x.lockstep",
        "{log:#}"
    );
}

#[test]
fn annotations_stay_on_their_line() {
    let sandbox = Sandbox::of_source("");
    let folder = sandbox.module().join("a, b: 100%");
    fs::create_dir(&folder).expect("a folder");
    fs::write(folder.join("x.lockstep"), WIDE).expect("a file");
    let mut command = dsl();
    let told = said(command.current_dir(sandbox.module()).args(["check", "--format", "github"])).exits(1);
    assert!(!told.out.is_empty());
    for line in told.out.lines() {
        let rest = line.strip_prefix("::").unwrap_or_else(|| panic!("not a command: {line}"));
        let (command, _) = rest.split_once("::").expect("a message");
        assert!(command.contains("file=a%2C b%3A 100%25/x.lockstep,line="), "{line}");
    }
}

#[test]
fn columns_count_characters() {
    let told = fed(dsl().args(["check", "-", "--format", "json"]), WIDE).exits(1);
    let value = json(&told);
    let places: Vec<(&str, u64, u64, u64)> = value["diagnostics"]
        .as_array()
        .expect("diagnostics")
        .iter()
        .map(|found| {
            let number = |name: &str| found[name].as_u64().expect("a number");
            (found["rule"].as_str().expect("a rule"), number("line"), number("column"), number("end_column"))
        })
        .collect();
    assert_eq!(
        places,
        [
            // The comment; the `;` behind a tab; the parameter behind one.
            ("syntax/spelling", 3, 1, 9),
            ("syntax/spelling", 3, 39, 40),
            ("name/unused", 4, 13, 19),
        ],
        "{value:#}"
    );
}

#[test]
fn ten_thousand_findings_come_out_whole() {
    let mut source = String::from("workflow w {\n  phase p {\n");
    for index in 0..10_000 {
        source += &format!("    step s{index} = shell {{ script = x{index} }}\n");
    }
    source += "  }\n}\n";
    let sandbox = Sandbox::of_source(&source);
    let check =
        |format: &str| said(dsl().arg("check").arg(sandbox.module()).args(["--format", format])).exits(1);
    assert_eq!(json(&check("json"))["diagnostics"].as_array().map(Vec::len), Some(10_000));
    let log = json(&check("sarif"));
    assert_eq!(log["runs"][0]["results"].as_array().map(Vec::len), Some(10_000));
    assert_eq!(check("github").out.lines().count(), 10_000);
}

#[test]
fn nothing_to_look_at_is_wrong_use() {
    let sandbox = Sandbox::of_source("");
    let empty = sandbox.module().join("empty");
    fs::create_dir(&empty).expect("a folder");
    for (path, why) in
        [(empty, "there is no `.lockstep` file"), (sandbox.module().join("gone"), "cannot read")]
    {
        for command in ["check", "fmt"] {
            let told = said(dsl().arg(command).arg(&path)).exits(2);
            assert!(told.err.contains(why) && told.out.is_empty(), "{}", told.err);
        }
    }
    let other = sandbox.module().join("notes.txt");
    fs::write(&other, "").expect("a file");
    let told = said(dsl().arg("check").arg(other)).exits(2);
    assert!(told.err.contains("is not a Lockstep file"), "{}", told.err);
    // An empty file is a fine one.
    said(dsl().arg("check").arg(sandbox.module().join("main.lockstep"))).exits(0);
}

#[test]
fn warnings_count_when_they_are_denied() {
    let source = "workflow w(unused: string) { phase p { step s = shell { script = \"date\" } } }\n";
    for (flags, code) in [(&[][..], 0), (&["--deny-warnings"][..], 1)] {
        let told = fed(dsl().args(["check", "-"]).args(flags), source).exits(code);
        assert!(told.out.contains("name/unused"), "{}", told.out);
        assert_eq!(told.err, "1 warning\n");
    }
}
