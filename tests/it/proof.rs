//! `dsl check --explain-proof`: what it says of every pipeline, promise or not.

use crate::support::{Sandbox, dsl, repository, said};

/// Two pipelines without a promise: one of which nothing may stay, one with everything that may leave something.
const FREE: &str = r#"
workflow good {
  phase p {
    step set = shell { script = "t", changes = true, undone_by = unset }
    rollback { step unset = shell { script = "t" } }
  }
}

workflow loose {
  phase a {
    step first = shell { script = "t", changes = true, undone_by = u1 }
    rollback { step u1 = shell { script = "t" } }
  }
  phase b {
    step ignored = shell { script = "t", changes = true, undone_by = u2, on failure { ignore } }
    step failed = shell { script = "t", changes = true, undone_by = u3, on failure of timeout { fail } }
    step told = shell { script = "t", changes = true, irreversible = true }
    step seldom = shell { script = "t", changes = true, undone_by = u4, on failure of timeout { rollback phase } }
    rollback {
      step u4 = shell { skip if failure.kind == "policy", script = "t" }
      step u3 = shell { script = "t" }
      step u2 = shell { script = "t" }
    }
  }
  phase c {
    step stopped = shell { script = "t", on failure { abort } }
  }
}

pipeline clean {
  stage one = good {}
}

pipeline all {
  stage one = loose {}
}
"#;

fn explained(source: &str) -> (Option<i32>, String) {
    let sandbox = Sandbox::of_source(source);
    let told = said(dsl().arg("check").arg("--explain-proof").arg(sandbox.module()));
    (told.code, told.err)
}

/// What is said of one pipeline.
fn of<'t>(text: &'t str, pipeline: &str) -> &'t str {
    let start = text.find(&format!("pipeline {pipeline} (")).expect("the pipeline");
    let rest = &text[start..];
    let end = rest[1..]
        .find("\npipeline ")
        .or_else(|| rest.find("\nproving took "))
        .map_or(rest.len(), |at| at + 1);
    &rest[..end]
}

#[test]
fn what_is_true_of_every_pipeline_is_said_without_a_promise() {
    let (code, text) = explained(FREE);
    assert_eq!(code, Some(0), "{text}");
    for pipeline in ["clean", "all"] {
        let said = of(&text, pipeline);
        assert!(said.contains("every run of it ends, and no stage waits for ever"), "{said}");
        assert!(!said.contains("all_or_nothing"), "{said}");
    }
}

#[test]
fn what_may_stay_changed_is_named() {
    let (_, text) = explained(FREE);
    assert!(!of(&text, "clean").contains("may stay changed"), "{text}");
    let all = of(&text, "all");
    assert!(all.contains("after a failure this may stay changed:"), "{all}");
    for left in [
        "`ignore` goes on although `ignored` failed",
        "`fail` leaves what ",
        "`rollback phase` leaves what `first`",
        "`abort` leaves what ",
        "nothing undoes what `told` changed",
        "what undoes `seldom` may not run",
    ] {
        assert!(all.contains(left), "{left}: {all}");
    }
}

#[test]
fn what_a_rule_leaves_goes_back_with_the_pipeline_unless_somebody_may_stop_everything() {
    let source = |other: &str| {
        format!(
            r#"
group sre {{ members = ["ada"] }}
workflow leaves {{
  phase p {{ step set = shell {{ script = "t", changes = true, undone_by = unset, on failure {{ fail }} }}
    rollback {{ step unset = shell {{ script = "t" }} }} }}
}}
workflow other {{
  phase p {{ step look = shell {{ script = "t", on failure {{ {other} }} }} }}
}}
pipeline q {{
  parallel {{ stage a = leaves {{}}
    stage b = other {{}} }}
  on failure {{ rollback pipeline }}
}}
"#
        )
    };
    let (_, text) = explained(&source("rollback"));
    assert!(!of(&text, "q").contains("may stay changed"), "{text}");
    // A person may answer `abort` while `set` is still as it was left.
    let (_, text) = explained(&source("ask sre within 1h then rollback"));
    assert!(of(&text, "q").contains("`fail` leaves what `set` changed"), "{text}");
}

#[test]
fn what_was_covered_and_in_what_time_is_said_of_a_promise() {
    let told =
        said(dsl().arg("check").arg("--explain-proof").arg(repository().join("examples/fifty-regions")));
    let text = told.exits(0).err;
    for words in [
        " holds\n",
        " scenarios: ",
        " faults, ",
        "by symmetry 1 shapes, by barriers ",
        " ms\n",
        "proving took ",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let share = text.lines().find(|line| line.starts_with("proving took ")).expect("the share");
    let numbers: Vec<f64> = share.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [proving, whole, share] = numbers[..] else { panic!("{share}") };
    assert!(proving > 0.0 && whole > 0.0, "{share}");
    // It is what the two come to, whatever they are.
    assert!((share - 100.0 * proving / whole).abs() < 0.2 + share / 100.0, "{proving} of {whole}: {share}");
}

#[test]
fn what_does_not_hold_and_what_is_not_judged_is_said() {
    let source = |rule: &str| {
        format!(
            r#"
workflow w {{
  phase p {{ step set = shell {{ script = "t", changes = true, undone_by = unset, on failure {{ {rule} }} }}
    rollback {{ step unset = shell {{ script = "t" }} }} }}
}}
pipeline q {{ parallel all_or_nothing {{ stage a = w {{}}
    stage b = w {{}} }} }}
"#
        )
    };
    let (code, text) = explained(&source("fail"));
    assert!(code == Some(1) && text.contains(": DOES NOT HOLD"), "{text}");
    let (code, text) = explained(&source("rollback"));
    assert!(code == Some(0) && text.contains(": holds\n"), "{text}");
    let (code, text) =
        explained(&format!("{}workflow broken {{ phase p {{ step x = nosuch {{}} }} }}", source("rollback")));
    assert!(code == Some(1) && text.contains(": not judged, there are other errors"), "{text}");
}
