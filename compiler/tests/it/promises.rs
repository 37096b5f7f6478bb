//! The one change that a broken promise suggests makes it right.

use crate::support::{rendered, single};
use lockstep_compiler::{Diagnostic, Program, check};
use std::path::Path;

const RULE: &str = "all-or-nothing/violated";

fn broken(source: &str) -> (Program, Vec<Diagnostic>) {
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
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("tests/cases/promises.lockstep")).unwrap();
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
