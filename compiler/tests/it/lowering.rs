//! Plans of whole examples.

use crate::support::{EXAMPLE, rendered, single};
use lockstep_compiler::{DiskLoader, Program, check, lower};
use std::path::Path;

#[test]
fn the_example_of_the_language() {
    let program = single(EXAMPLE);
    let found = check(&program);
    assert!(found.is_empty(), "{}", rendered(&program, &found));
    let arguments = [("version".to_string(), "1.4.0".to_string())].into();
    let lowered = lower(&program, Path::new(""), "release", &arguments);
    let lowered = lowered.unwrap_or_else(|found| panic!("{}", rendered(&program, &found)));
    insta::assert_snapshot!(serde_json::to_string_pretty(&lowered.plan).unwrap());
}

#[test]
fn the_prelude_is_in_order() {
    let program = single("");
    for (_, file) in program.files() {
        assert!(file.parse.errors.is_empty(), "{}: {:#?}", file.path.display(), file.parse.errors);
    }
}

#[test]
fn a_little_of_everything() {
    let program = single(include_str!("support/wide.lockstep"));
    let found = check(&program);
    assert!(
        found.iter().all(|it| matches!(it.rule, "barrier/skippable" | "barrier/alone")),
        "{}",
        rendered(&program, &found)
    );
    for (pipeline, arguments) in [
        ("release", vec![("version", "2.0.0"), ("regions", "a,b"), ("share", "20%")]),
        ("edge_release", vec![]),
    ] {
        let arguments =
            arguments.into_iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let lowered = lower(&program, Path::new(""), pipeline, &arguments);
        let lowered = lowered.unwrap_or_else(|found| panic!("{}", rendered(&program, &found)));
        insta::assert_snapshot!(pipeline, serde_json::to_string_pretty(&lowered.plan).unwrap());
    }
}

#[test]
fn arguments_are_read_by_their_type() {
    let program = single(EXAMPLE);
    let wrong = |arguments: &[(&str, &str)]| {
        let arguments =
            arguments.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())).collect();
        let found = lower(&program, Path::new(""), "release", &arguments).unwrap_err();
        found
            .iter()
            .map(|it| format!("{}: {} ({})", it.rule, it.message, it.help.clone().unwrap_or_default()))
            .collect::<Vec<_>>()
            .join("\n")
    };
    insta::assert_snapshot!(
        [
            wrong(&[]),
            wrong(&[("version", "1"), ("break_region2", "yes")]),
            wrong(&[("version", "1"), ("break_region", "true")]),
            lower(&program, Path::new(""), "relase", &Default::default()).unwrap_err()[0].message.clone(),
        ]
        .join("\n")
    );
}

#[test]
fn the_quickstart_from_the_disk() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart");
    let program = Program::load(&DiskLoader, std::slice::from_ref(&dir)).unwrap();
    let found = check(&program);
    assert!(found.is_empty(), "{}", rendered(&program, &found));
    let module = program.module_of(&dir).unwrap();
    let pipelines = program.pipelines(module);
    assert!(!pipelines.is_empty());
    for pipeline in pipelines {
        let arguments = [("version".to_string(), "1.0.0".to_string())].into();
        let lowered = lower(&program, &dir, pipeline, &arguments);
        let lowered = lowered.unwrap_or_else(|found| panic!("{}", rendered(&program, &found)));
        assert!(!lowered.plan.steps.is_empty());
        assert_eq!(lowered.origins.steps.len(), lowered.plan.steps.len());
        assert_eq!(lowered.origins.places.len(), lowered.plan.places.len());
        assert_eq!(lowered.origins.scopes.len(), lowered.plan.scopes.len());
    }
}

#[test]
fn approvals_of_a_loop_are_named_after_its_elements() {
    let program = single(
        "group sre { members = [\"ada\"] }\nenvironment test {\n  infrastructure a = local { root = test.b.root }\n  infrastructure b = local { root = \"b\" }\n}\n
workflow w(infra: infrastructure<local>) { phase p { step s = local.stop {} } }\n
pipeline p {\n  for t in test.* {\n    approval ok { from = sre, within = 1h }\n    stage s[t] = w { infra = t }\n  }\n
  parallel {\n    for t in test.* {\n      lane l[t] {\n        approval fine { from = sre, within = 1h }\n        stage again[t] = w { infra = t }\n      }\n    }\n  }\n}\n",
    );
    let lowered = lower(&program, Path::new(""), "p", &Default::default());
    let plan = lowered.unwrap_or_else(|found| panic!("{}", rendered(&program, &found))).plan;
    let names: Vec<&str> = plan.approvals.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["ok[a]", "ok[b]", "fine[a]", "fine[b]"]);
    // A target whose settings read another one keeps its own place.
    let of_first = plan.steps[0].action.target.map(|id| plan.targets[id.index()].name.as_str());
    assert_eq!(of_first, Some("test.a"));
}

#[test]
fn what_undoes_a_step_has_to_be_able_to_begin() {
    let source = |undo: &str| {
        format!(
            "workflow w(m: map<string>) {{
  phase p {{
    step ch = shell {{ script = \"t\", changes = true, undone_by = u }}
    rollback {{ step u = shell {{ {undo} }} }}
  }}
}}
pipeline p(m: map<string> = {{}}) {{
  parallel all_or_nothing {{
    stage a = w {{ m }}
    stage b = w {{ m }}
  }}
}}
"
        )
    };
    let plain = source("script = \"t\", env = { K = m.k }");
    let program = single(&plain);
    let given = |value: &str| [("m".to_owned(), value.to_owned())].into();
    // With no key before the run the machine could only find out when it is too late.
    let found = lower(&program, Path::new(""), "p", &Default::default()).unwrap_err();
    assert_eq!(found.len(), 1, "{}", rendered(&program, &found));
    let text = |at: lockstep_compiler::Location| &plain[at.span.start as usize..at.span.end as usize];
    assert_eq!((found[0].rule, text(found[0].primary)), ("all-or-nothing/violated", "u"));
    assert!(found[0].label.contains("`env` asks a map for a key that it lacks"), "{}", found[0].label);
    assert!(lower(&program, Path::new(""), "p", &given("{ k = \"a\" }")).is_ok());
    // It can be looked at, all the same.
    let rehearsal = lockstep_compiler::Purpose::Rehearsal;
    let looked_at =
        lockstep_compiler::lower_for(rehearsal, &program, check(&program), Path::new(""), "p", &given("{}"));
    assert!(looked_at.is_ok());
    // Where something stands for it, or it is not come to, nothing is wrong.
    for undo in [
        "script = \"t\", env = { K = default(m.k, \"none\") }",
        "only if \"k\" in m, script = \"t\", env = { K = if \"k\" in m then m.k else \"none\" }",
    ] {
        let program = single(&source(undo));
        let lowered = lower(&program, Path::new(""), "p", &Default::default());
        assert!(
            lowered.as_ref().err().is_none_or(|found| found.iter().all(|it| !it.label.contains("env"))),
            "{}",
            rendered(&program, &lowered.unwrap_err())
        );
    }
}
