//! `dsl check --fix`: fixed findings are gone, nothing gets worse, and nothing else is touched.

use crate::support::{Sandbox, dsl, fed, repository, said};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Every source that is wrong on purpose, by name.
fn wrong_sources() -> Vec<(String, String)> {
    let mut sources = Vec::new();
    let read = |path: &Path| fs::read_to_string(path).expect("a source");
    for folder in sorted(&repository().join("examples/wrong")) {
        let file = folder.join("main.lockstep");
        if file.exists() {
            sources.push((format!("wrong {}", name(&folder)), read(&file)));
        }
    }
    for page in sorted(&repository().join("docs/rules")) {
        for (index, block) in read(&page).split("```lockstep\n").skip(1).enumerate() {
            let source = block.split("```").next().unwrap_or_default();
            sources.push((format!("page {} {index}", name(&page)), source.to_owned()));
        }
    }
    for file in sorted(&repository().join("compiler/tests/cases")) {
        for (index, case) in read(&file).split("// --- ").skip(1).enumerate() {
            sources.push((format!("case {} {index}", name(&file)), format!("// {case}")));
        }
    }
    for file in ["tests/fixtures/many.lockstep", "grammar/tests/it/corpus/twenty.lockstep"] {
        sources.push((file.to_owned(), read(&repository().join(file))));
    }
    sources
}

fn sorted(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_stem().expect("a name").to_string_lossy().into_owned()
}

/// What is found in each module below a folder.
fn check(folder: &Path, flags: &[&str]) -> BTreeMap<String, Vec<Value>> {
    let told = said(dsl().arg("check").arg(folder).args(["--format", "json"]).args(flags)).exits(1);
    let value: Value = serde_json::from_str(&told.out).expect("JSON");
    let mut found: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for diagnostic in value["diagnostics"].as_array().expect("diagnostics") {
        let file = Path::new(diagnostic["file"].as_str().expect("a file"));
        let module = file.parent().and_then(Path::file_name).expect("a module");
        found.entry(module.to_string_lossy().into_owned()).or_default().push(diagnostic.clone());
    }
    found
}

#[test]
fn whatever_is_fixed_is_gone_and_nothing_is_worse() {
    let sandbox = Sandbox::of_source("");
    let root = sandbox.module();
    let sources = wrong_sources();
    assert!(sources.len() > 150, "{}", sources.len());
    for (index, (_, source)) in sources.iter().enumerate() {
        let folder = root.join(format!("m{index:04}"));
        fs::create_dir(&folder).expect("a folder");
        fs::write(folder.join("main.lockstep"), source).expect("a file");
    }
    let before = check(&root, &[]);
    let after = check(&root, &["--fix"]);
    assert_eq!(after, check(&root, &[]), "what is found after fixing is what the files hold");
    let mut fixed = 0;
    for (index, (name, source)) in sources.iter().enumerate() {
        let module = format!("m{index:04}");
        let nothing = Vec::new();
        let (before, after) =
            (before.get(&module).unwrap_or(&nothing), after.get(&module).unwrap_or(&nothing));
        let path = root.join(&module).join("main.lockstep");
        let text = fs::read_to_string(path).expect("a file");
        let context = format!("{name}\n{source}\n--->\n{text}\n{after:#?}");
        let fixable = |found: &[Value]| found.iter().filter(|it| !it["fix"].is_null()).count();
        let syntax = |found: &[Value]| {
            found
                .iter()
                .filter(|it| it["rule"].as_str().is_some_and(|rule| rule.starts_with("syntax/")))
                .count()
        };
        if fixable(before) == 0 {
            assert_eq!(&text, source, "touched without a fix: {context}");
            continue;
        }
        fixed += 1;
        assert_eq!(fixable(after), 0, "{context}");
        assert!(syntax(after) < syntax(before) || syntax(before) == 0, "{context}");
        // What could not be read before may hold other mistakes; where all could be read there are none.
        if syntax(before) == 0 {
            assert!(after.len() < before.len(), "{context}");
        }
    }
    assert!(fixed >= 10, "{fixed}");
}

const ODD: &str = "// As the author likes it.\ngroup   odd {members=[ 'it''s', 'x\\'y' ]}\n\n\n\ngroup sre {\n      members : [\"a\"]   // kept\n\t}\n";
const ODD_FIXED: &str = "// As the author likes it.\ngroup   odd {members=[ \"it's\", \"x'y\" ]}\n\n\n\ngroup sre {\n      members = [\"a\"]   // kept\n\t}\n";

#[test]
fn nothing_else_is_touched() {
    let sandbox = Sandbox::of_source(ODD);
    let file = sandbox.module().join("main.lockstep");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("permissions");
    let link = sandbox.module().join("link.lockstep");
    std::os::unix::fs::symlink("main.lockstep", &link).expect("a link");
    let told = said(dsl().arg("check").arg(&link).arg("--fix"));
    assert_eq!(fs::read_to_string(&file).expect("a file"), ODD_FIXED, "{}{}", told.out, told.err);
    assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o640);
    assert!(fs::symlink_metadata(&link).expect("a link").is_symlink());
    assert_eq!(fs::read_dir(sandbox.module()).expect("a folder").count(), 2, "nothing is left behind");
}

#[test]
fn standard_input_is_fixed_to_standard_output() {
    let told = fed(dsl().args(["check", "--fix", "-"]), ODD).exits(0);
    assert_eq!((told.out.as_str(), told.err.as_str()), (ODD_FIXED, "3 fixed\nnothing found\n"));
    let told = fed(dsl().args(["check", "--fix", "-"]), "group g { x = 1; }\n").exits(1);
    assert_eq!(told.out, "group g { x = 1 }\n");
    assert!(told.err.contains("type/argument-unknown"), "{}", told.err);
    let told = fed(dsl().args(["check", "--fix", "-", "--format", "json"]), ODD).exits(2);
    assert_eq!(told.out, "");
}

/// With `rollback` written right, `of` is wrong as well: a fix that makes nothing better, which the others do not wait for.
#[test]
fn one_fix_that_helps_nothing_keeps_none_of_the_others_back() {
    let group = |index| format!("group g{index} {{ members: [\"a\"] }}\n");
    let helpless = "workflow w { phase p { rolback of t { } } }\n";
    let source = (0..40).map(group).collect::<String>() + helpless + &(40..80).map(group).collect::<String>();
    let told = fed(dsl().args(["check", "--fix", "-"]), &source).exits(1);
    assert!(told.err.contains("80 fixed"), "{}", told.err);
    assert_eq!(told.out, source.replace("members:", "members ="));
}

/// Where nobody can know what was meant, there is no fix.
#[test]
fn what_can_only_be_guessed_is_not_fixed() {
    for source in [
        "group g { members = ['a\\nb'] }\n",
        "group g { members = ['a ${b}'] }\n",
        "service s(a: int = p { }\n",
    ] {
        let told = fed(dsl().args(["check", "--fix", "-"]), source).exits(1);
        assert_eq!(told.out, source, "{}", told.err);
    }
}
