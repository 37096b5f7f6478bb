//! Diagnostics as people see them.

use crate::support::{example, program, rendered, rules_of, single};
use lockstep_compiler::{check, check_output};

/// One file with every fault that the first pipeline's checks know, all of them found in one run.
const ALL: &str = include_str!("support/all.lockstep");

#[test]
fn all_in_one_run() {
    let program = single(ALL);
    let found = check(&program);
    let rules: std::collections::BTreeSet<&str> = found.iter().map(|it| it.rule).collect();
    for rule in [
        "barrier/alone",
        "barrier/deadlock",
        "barrier/duplicate",
        "phase/parallel",
        "template/artifact-type",
        "template/deployment-type",
    ] {
        assert!(rules.contains(rule), "{rule} is missing");
    }
    insta::assert_snapshot!(rendered(&program, &found));
}

#[test]
fn every_rule_rendered() {
    let mut text = String::new();
    for rule in lockstep_compiler::rules().iter().filter(|rule| !rule.name.starts_with("syntax/")) {
        let wrong = rule.page.split("```").find_map(|part| part.strip_prefix("lockstep\n")).unwrap();
        let program = example(rule.name, wrong);
        text.push_str(&rendered(&program, &check(&program)));
        text.push('\n');
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_json_form() {
    let program = single("group sre { member = [\"Zoë\"] }\n");
    let output = check_output(&program, &check(&program));
    insta::assert_snapshot!(serde_json::to_string_pretty(&output).unwrap());
}

#[test]
fn fixes_leave_a_file_that_checks() {
    let source = "workflow w {\n  parallel {\n    phase a { step a = shell { script = \"a\" } }\n    phase b { step b = shell { script = \"b\" } }\n  }\n}\n";
    let found = check(&single(source));
    assert_eq!(found.len(), 1);
    let mut edits = found[0].fix.clone().unwrap().edits;
    edits.sort_by_key(|(at, _)| std::cmp::Reverse(at.span.start));
    let mut fixed = source.to_string();
    for (at, text) in edits {
        fixed.replace_range(at.span.start as usize..at.span.end as usize, &text);
    }
    assert_eq!(rules_of(&fixed), Vec::<&str>::new(), "{fixed}");
}

#[test]
fn a_syntax_error_has_no_consequences() {
    // The workflow is damaged, and so is one environment: nothing that uses them is to blame.
    let source = "environment test {\n  infrastructure a = local { root = \"a\" }\n  infrastructure b local\n}\n
workflow deploy(infra: infrastructure<local>, x: ) {\n  phase deploy {\n    step deploy = local.deploy { timeout = }\n  }\n}\n
pipeline release {\n  stage a = deploy { infra = test.a, x = 1 }\n  stage b = deploy { infra = test.b, x = 2 }\n}\n";
    let rules = rules_of(source);
    assert!(!rules.is_empty());
    assert!(rules.iter().all(|rule| rule.starts_with("syntax/")), "{}", {
        let program = single(source);
        rendered(&program, &check(&program))
    });
}

#[test]
fn allow_silences_the_next_line_only() {
    let source = "service a(\n  // allow(name/unused): for later\n  x: int,\n  y: int,\n) = local { artifact = other { path = \"a\" } }\n";
    let found = check(&single(source));
    assert_eq!(
        found.iter().map(|it| it.message.as_str()).collect::<Vec<_>>(),
        ["parameter `y` is never read"]
    );
}

#[test]
fn modules_see_each_other_by_their_import() {
    let common = "service web = local { artifact = other { path = \"web\" } }\n";
    let main = "import \"../common\"\n\nenvironment test {\n  infrastructure a = local { root = \"a\" }\n}\n
workflow deploy(service: service<local>, infra: infrastructure<local>) {\n  phase deploy { step deploy = local.deploy {} }\n}\n
pipeline release {\n  stage a = deploy { service = common.web, infra = test.a }\n}\n";
    let it = program(&[("app/main.lockstep", main), ("common/web.lockstep", common)]);
    assert_eq!(check(&it), []);
    let lowered = lockstep_compiler::lower(&it, "app".as_ref(), "release", &Default::default()).unwrap();
    let path = &lowered.plan.services[0].artifact.get("path").unwrap();
    assert_eq!(format!("{path:?}"), "Value(Path(\"../common/web\"))");
    assert_eq!(rules_of(&main.replace("\"../common\"", "\"../commn\" as common")), ["import/unreadable"]);
}

/// What is reported for a source, and what to do about it.
fn helps(source: &str) -> Vec<String> {
    check(&single(source))
        .iter()
        .map(|it| format!("{}: {}", it.rule, it.help.clone().unwrap_or_default()))
        .collect()
}

#[test]
fn words_of_other_languages_are_answered_in_this_one() {
    let entry = |name: &str| {
        helps(&format!(
            "workflow w {{\n  phase p {{ step s = shell {{ script = \"x\", {name} = [\"a\"] }} }}\n}}\n"
        ))
    };
    assert!(entry("depends_on")[0].contains("order in which they stand"), "{:?}", entry("depends_on"));
    assert!(entry("needs")[0].contains("order in which they stand"));
    assert!(entry("when")[0].contains("only if CONDITION"));
    assert!(entry("skip_if")[0].contains("`skip if CONDITION`"));
    assert!(entry("on_failure")[0].contains("on failure { … }"));
    for (theirs, ours) in [("str", "string"), ("integer", "int"), ("boolean", "bool")] {
        let source = format!(
            "workflow w(x: {theirs}) {{\n  phase p {{ step s = shell {{ script = \"${{x}}\" }} }}\n}}\n"
        );
        assert_eq!(helps(&source), [format!("name/unknown: did you mean `{ours}`?")]);
    }
    let source = "workflow w {\n  phase p { step s = shell { only if True, script = \"x\" } }\n}\n";
    assert_eq!(helps(source), ["name/unknown: did you mean `true`?"]);
}

#[test]
fn a_word_in_quotes_has_a_fix() {
    let source = "environment e { kind = \"production\" }\n";
    let found = check(&single(source));
    assert_eq!(found.iter().map(|it| it.rule).collect::<Vec<_>>(), ["type/not-allowed-value"]);
    let fix = found[0].fix.clone().unwrap();
    let (at, text) = &fix.edits[0];
    let mut fixed = source.to_string();
    fixed.replace_range(at.span.start as usize..at.span.end as usize, text);
    assert_eq!(rules_of(&fixed), Vec::<&str>::new());
}

#[test]
fn the_elements_of_a_loop_are_counted() {
    let source = "workflow w(n: string in [\"x\"]) {\n  phase p { step s = shell { script = \"echo ${n}\" } }\n}\npipeline p {\n  for n in [\"a\", \"b\", \"c\"] { stage s[n] = w { n } }\n}\n";
    let messages: Vec<String> = check(&single(source)).into_iter().map(|it| it.message).collect();
    assert_eq!(messages, ["`a` is not allowed for `n` (and 2 more like it)"]);
}

#[test]
fn names_of_other_modules_stand_where_a_name_can() {
    let common = "group sre { members = [\"ada\"] }\nchannel ops = webhook { url = \"http://localhost\" }\nprovider edge {\n  program = \"edge\"\n  artifacts = [other]\n  service { zone: string = \"\" }\n  infrastructure { region: string }\n  step push() { changes target, undone by pull }\n  step pull()\n}\n";
    let main = "import \"../common\"\n\nworkflow w(service: service<common.edge>, infra: infrastructure<common.edge>) {\n  phase p {\n    step s = common.edge.push { on failure { ask common.sre within 1h then rollback } }\n  }\n  notify common.ops on success, failure\n}\n
service site = common.edge { artifact = other { path = \"site\" } }\nenvironment e { infrastructure a = edge { region = \"eu\" } }\npipeline release {\n  stage s = w { service = site, infra = e.a }\n  notify common.ops on failure\n}\n";
    let check_with = |main: &str| {
        let it = program(&[("app/main.lockstep", main), ("common/it.lockstep", common)]);
        let found: Vec<String> =
            check(&it).into_iter().map(|it| format!("{}: {}", it.rule, it.message)).collect();
        (found, it)
    };
    let (found, it) = check_with(main);
    assert_eq!(found, [""; 0]);
    let lowered = lockstep_compiler::lower(&it, "app".as_ref(), "release", &Default::default()).unwrap();
    assert_eq!(lowered.plan.groups.keys().collect::<Vec<_>>(), ["sre"]);
    assert_eq!(lowered.plan.channels.keys().collect::<Vec<_>>(), ["ops"]);
    assert_eq!(lowered.plan.notifies[0].channels, ["ops"]);
    // By the provider's own name the import is read, too.
    let (found, _) = check_with(
        "import \"../common\"\n\nworkflow w(infra: infrastructure<edge>) {\n  phase p { step s = edge.push {} }\n}\n",
    );
    assert_eq!(found, [""; 0]);
    let (found, _) = check_with(
        &main.replace("common.sre", "common.sra").replace("service<common.edge>", "service<common.edg>"),
    );
    assert_eq!(
        found,
        [
            "name/unknown: there is no deployment type `common.edg`",
            "failure/invalid: there is no group `common.sra` to ask"
        ]
    );
}

#[test]
fn an_import_of_a_declarations_name_is_one_report() {
    let program = crate::support::program(&[
        (
            "work/main.lockstep",
            "import \"./c\"\nresource c { capacity = 2 }\npipeline p { stage s = c.w {} }\n",
        ),
        ("work/c/main.lockstep", "workflow w { phase p { step s = shell { script = \"true\" } } }\n"),
    ]);
    let found: Vec<&str> = lockstep_compiler::check(&program).iter().map(|it| it.rule).collect();
    assert_eq!(found, ["name/duplicate"]);
}

#[test]
fn an_unknown_artifact_of_a_provider_is_told_the_near_one() {
    let source = "provider edge {\n  artifacts = [bundl, \"tar\"]\n  service { name: string }\n  artifact bundle { path: path }\n}\n";
    let program = single(source);
    insta::assert_snapshot!(rendered(&program, &check(&program)));
}

#[test]
fn what_is_asked_for_by_kind_is_looked_for_among_its_kind() {
    let source = "resource rnu { capacity = 1 }\ngroup rin { members = [] }\n\
         workflow w(rum: int) {\n  phase p {\n    use stage { permits = 1 }\n    use rvn\n\
         step rim = shell { script = \"true\" }\n  }\n}\n";
    let program = single(source);
    let unknown = check(&program).into_iter().filter(|it| it.rule == "name/unknown");
    let helps: Vec<_> = unknown.filter_map(|it| it.help).collect();
    assert_eq!(helps, ["the only resource here is `rnu`", "did you mean `rnu`?"]);
}

#[test]
fn an_import_whose_quotes_do_not_close_is_one_report() {
    for import in ["import \"../common", "import ../common\"", "import '../common", "import \"../common as c"]
    {
        let source = format!("{import}\n\npipeline p {{\n  stage s = common.w {{ n = common.n }}\n}}\n");
        let found = check(&single(&source));
        assert_eq!(found.len(), 1, "{import}: {found:?}");
    }
}

/// What is said at a place besides the main one.
fn labels(source: &str, rule: &str) -> Vec<String> {
    let program = single(source);
    let found = check(&program);
    let told = found.iter().find(|it| it.rule == rule).map(|it| it.labels.clone()).unwrap_or_default();
    told.iter()
        .map(|(place, text)| {
            let span = place.span.start as usize..place.span.end as usize;
            format!("{}: {text}", &source[span])
        })
        .collect()
}

const LANES: &str = "workflow x { phase p {\n  step a = shell { script = \"x\" }\n  barrier x\n} }\n\
     workflow y { phase p {\n  step a = shell { script = \"x\" }\n  barrier y\n} }\n\
     workflow z { phase p { step a = shell { script = \"x\" } } }\n";

#[test]
fn a_circle_over_lanes_is_told_by_stage() {
    let pipeline = "pipeline p {\n  parallel {\n    lane a { stage a1 = x {} stage a2 = y {} }\n    \
                    lane b { stage b1 = y {} stage b2 = x {} }\n  }\n}\n";
    let found = labels(&format!("{LANES}{pipeline}"), "barrier/deadlock");
    let expected = [
        "x: stage `a1` waits here at `x`, before stage `a2` starts; stage `b2` waits here at `x`, when stage `b1` has ended",
        "y: stage `a2` waits here at `y`, when stage `a1` has ended; stage `b1` waits here at `y`, before stage `b2` starts",
    ];
    assert_eq!(found, expected);
}

#[test]
fn the_stage_of_a_lane_that_waits_without_a_slot_is_shown() {
    let pipeline = "pipeline p {\n  parallel max 2 {\n    lane a { stage a1 = z {} stage a2 = x {} }\n    \
                    stage b = x {}\n    lane c { stage c1 = z {} stage c2 = x {} }\n  }\n}\n";
    let found = labels(&format!("{LANES}{pipeline}"), "barrier/limited-parallelism");
    let expected = [
        "a2: `a2` holds a slot and waits at `x`",
        "b: `b` holds a slot and waits at `x`",
        "c2: `c2` is waited for, and gets no slot",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_stage_that_asks_for_too_much_alone_is_not_told_of_others() {
    let source = "resource db { capacity = 1 }\nworkflow w {\n  use db { permits = 2 }\n  \
                  phase p { step a = shell { script = \"x\" } }\n}\npipeline p { stage s = w {} }\n";
    let found = check(&single(source));
    let [only] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(only.message, "stage `s` needs 2 of `db` at once, and there is 1");
    assert_eq!(only.help.as_deref(), Some("raise the capacity of `db`, or ask for less of it"));
    assert!(only.labels.is_empty(), "{:?}", only.labels);
}

#[test]
fn a_computed_number_of_permits_is_told_what_is_wanted() {
    let source = "resource db { capacity = 2 }\nworkflow w(n: int) {\n  use db { permits = n }\n  \
                  phase p { step a = shell { script = \"x\" } }\n}\n";
    let found = check(&single(source));
    let [only] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!(only.message, "`permits` has to be a number that is written here, not `n`");
}

#[test]
fn a_group_of_another_module_is_declared_there() {
    let source = "workflow w {\n  phase p { step a = shell { script = \"x\" } }\n  \
                  on failure { ask x.sre within 1h then rollback }\n}\n";
    let found = check(&single(source));
    let help = found.iter().find(|it| it.rule == "failure/invalid").and_then(|it| it.help.clone());
    assert_eq!(help.as_deref(), Some("declare it in `x`: `group sre { members = [\"…\"] }`"), "{found:?}");
}
