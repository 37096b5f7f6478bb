//! The one change that a broken promise suggests makes it right.

use crate::support::{rendered, single};
use lockstep_compiler::{Diagnostic, Program, check};
use std::path::Path;

const RULE: &str = "all-or-nothing/violated";

/// A program, and what is said of its promises.
pub fn broken(source: &str) -> (Program, Vec<Diagnostic>) {
    let program = single(source);
    let found = check(&program).into_iter().filter(|it| it.rule == RULE).collect();
    (program, found)
}

/// Does what the help of a report says, where it is about words of a rule.
fn follow(source: &str, found: &Diagnostic) -> Option<String> {
    let help = found.help.as_deref()?;
    let (good, rest) = help.strip_prefix("write `")?.split_once("` instead of `")?;
    let bad = rest.split('`').next()?;
    let text = |start: u32, end: u32| &source[start as usize..end as usize];
    let (at, _) = found.labels.iter().find(|(_, label)| label.contains("this rule"))?;
    let at = at.span;
    let rule = text(at.start, at.end);
    let start = at.start as usize + rule.rfind(bad)?;
    Some([&source[..start], good, &source[start + bad.len()..]].concat())
}

/// What a label points at.
fn labelled<'s>(source: &'s str, found: &Diagnostic, words: &str) -> &'s str {
    let (at, _) = found.labels.iter().find(|(_, label)| label.contains(words)).unwrap();
    &source[at.span.start as usize..at.span.end as usize]
}

#[test]
fn the_rule_that_is_shown_is_the_one_that_takes_all_back() {
    let source = "environment e {
  infrastructure a = local { root = \"a\" }
}
service s = local { artifact = other { path = \"s\" } }
workflow plain(service: service<local>, infra: infrastructure<local>) {
  phase p { step deploy = local.deploy {}
   barrier ready }
}
workflow tell {
  phase p {
    step prep = shell { script = \"t\" }
    barrier ready
    step tell = shell { script = \"t\", changes = true, irreversible = true, on failure { succeed } }
  }
}
workflow look { phase p { step look = shell { script = \"t\" } } }
pipeline q {
  parallel all_or_nothing {
    stage a = plain { service = s, infra = e.a }
    stage b = tell {}
  }
  stage look = look {}
  on failure of connectivity { ignore }
  on failure of timeout { rollback pipeline }
}
";
    let (_, found) = broken(source);
    let shown = labelled(source, &found[0], "this rule takes everything back");
    assert_eq!(shown, "on failure of timeout { rollback pipeline }");
    assert!(found[0].help.as_deref().unwrap().contains("`rollback pipeline`"));
    assert!(found[0].message.contains("`look.p.look` fails (timeout)"), "{}", found[0].message);
}

fn cases() -> Vec<(String, String)> {
    cases_of("tests/cases/promises.lockstep")
}

/// The cases of a file: their names and sources.
pub fn cases_of(path: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join(path)).unwrap();
    let cases = text.split("// --- ").skip(1).map(|case| case.split_once('\n').unwrap());
    cases.map(|(name, source)| (name.to_owned(), source.to_owned())).collect()
}

#[test]
fn the_suggested_change_makes_it_right() {
    let (mut followed, mut others) = (0, Vec::new());
    for (name, mut source) in cases() {
        let (_, mut found) = broken(&source);
        // Each report is about the shortest story: behind it there may be another one.
        for _ in 0..4 {
            let Some(first) = found.first() else { break };
            let Some(changed) = follow(&source, first) else {
                others.push(first.help.clone().unwrap_or_else(|| panic!("{name}: no help")));
                break;
            };
            followed += 1;
            assert_ne!(changed, source, "{name}");
            source = changed;
            let (program, next) = broken(&source);
            let all = next.iter().all(|it| follow(&source, it).is_some());
            assert!(all, "{name}: {}", rendered(&program, &next));
            found = next;
        }
    }
    assert!(followed >= 4, "{followed}");
    // What is not a rule's word asks for a step to be written or moved: the pages of `dsl explain` and the cases show how.
    for help in others {
        assert!(
            help.starts_with("move `")
                || help.starts_with("say what undoes `")
                || help.starts_with("let what undoes `"),
            "{help}"
        );
    }
}

/// So many steps that nothing was found for, and yet each one is a suspicion: too many to try them all.
fn too_many() -> String {
    let steps: String =
        (0..600).map(|number| format!("    step c{number} = shell {{ script = \"t\" }}\n")).collect();
    format!(
        "workflow w {{
  phase p {{
    step first = shell {{ script = \"t\" }}
    step set = shell {{ script = \"t\", changes = true, undone_by = unset }}
{steps}    rollback {{ step unset = shell {{ skip if failure.step == \"${{stage.name}}.p.first\", script = \"t\" }} }}
  }}
}}
pipeline q {{
  parallel all_or_nothing {{
    stage a = w {{}}
    stage b = w {{}}
  }}
}}
"
    )
}

/// Every way in which a broken promise is told, and every change that is suggested.
#[test]
fn stories() {
    let mut told = String::new();
    let mut cases = cases_of("tests/stories.lockstep");
    cases.extend(self::cases());
    cases.push(("too many to try them all".into(), too_many()));
    for (name, source) in cases {
        let (_, found) = broken(&source);
        if !found.is_empty() {
            told.push_str(&format!("# {name}\n"));
        }
        for it in found {
            told.push_str(&format!("{}\n    parallel: {}\n", it.message, it.label));
            for (at, label) in &it.labels {
                let text = &source[at.span.start as usize..at.span.end as usize];
                told.push_str(&format!("    {}: {label}\n", text.lines().next().unwrap_or_default()));
            }
            told.push_str(&format!("  = {}\n\n", it.help.unwrap_or_default()));
        }
    }
    insta::assert_snapshot!(told);
    // None is without its case.
    for words in WORDS {
        assert!(told.contains(words), "nothing says `{words}`");
    }
}

/// What tells one story from another, of all that can be said.
const WORDS: &[&str] = &[
    " on all of its hosts",
    "% of its hosts",
    " and a person answers `rollback`",
    "when the wait at `",
    "when nobody answers `",
    " is refused",
    "its pattern is none",
    "and its rules went on without `",
    "` may have no `",
    ", and a person lets it roll back",
    " is waited at for too long",
    "is not given",
    "cannot be decided: ",
    " is here at that moment",
    " waits here at that moment",
    "this rule goes on, with a change that did not succeed",
    "this rule leaves the stage as it is",
    "this rule stops the run, and nothing is undone",
    "this rule takes back only the phase",
    "this rule takes everything back, also what cannot be",
    "changed stays: it is irreversible",
    "changed stays: the workflow's `rollback` does not undo it",
    "changed stays: nothing undoes it",
    "changed stays\n",
    "has changed nothing",
    " ends new",
    " ends old",
    " end old",
    " ends neither new nor old",
    " end neither new nor old",
    " others end ",
    " is rolled back, and ",
    "; and 3 more",
    " skips what it stands at, in this story",
    " skips what it stands at in `b`, in this story",
    "this block replaces the derived rollback, and leaves `dep` out",
    "it could not be proved that `all_or_nothing` holds",
    "depends on the words of a failure, which can be any",
    "too many conditions or branches to try them all",
    "write `rollback` instead of `ignore`",
    "write `rollback` instead of `fail`",
    "write `rollback` instead of `abort`",
    "is undone by the workflow's own `rollback`, which does not run for one phase",
    "so that earlier phases are taken back too",
    "write `fail` instead of `rollback pipeline`",
    "a step in a `rollback` block, and `undone_by` with its name",
    "to a stage behind the group, where nothing of it can fail any more",
    "in the `rollback` block, too: a step of `local.rollback`",
    "in the workflow's own `rollback`, which replaces those of its phases",
    "run whenever it does, without a condition of its own",
];
