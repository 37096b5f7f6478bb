//! `dsl plan --diff`: what a pipeline would change on each target.

use crate::failure::{Failure, say};
use lockstep_executor::{Change, Drivers, preview};
use lockstep_plan::Plan;
use similar::TextDiff;
use std::path::Path;

/// The differences as text, and whether all steps that were looked at would succeed. What cannot be told is said on standard
/// error.
pub fn text(plan: &Plan, module: &Path) -> Result<(String, bool), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start the runtime: {error}")))?;
    let previews = runtime.block_on(preview(plan, &Drivers::built_in(), module));
    let mut text = String::new();
    let (mut untold, mut fine) = (Vec::new(), true);
    for preview in previews {
        let title = format!("{} on {}", preview.service, preview.target);
        match &preview.changes {
            None => text.push_str(&format!("{title}: its provider cannot tell what would change\n")),
            Some(Err(failure)) => untold.push(format!("{title}: {}", failure.message)),
            Some(Ok(changes)) => {
                fine &= !changes.iter().any(|change| matches!(change, Change::Fails { .. }));
                match told(&title, &preview.steps, changes) {
                    told if told.is_empty() && preview.others.is_empty() => {
                        text.push_str(&format!("{title}: nothing would change\n"));
                    }
                    told => text.push_str(&told),
                }
            }
        }
        for step in &preview.others {
            text.push_str(&format!("{title}, `{step}`: what it changes is not known before it runs\n"));
        }
    }
    if untold.is_empty() {
        return Ok((text, fine));
    }
    say(text.trim_end());
    Err(Failure::new(format!("what would change cannot be told:\n  {}", untold.join("\n  "))))
}

/// All changes, below the steps that make them; empty where nothing would change.
fn told(title: &str, steps: &[String], changes: &[Change]) -> String {
    let (mut text, mut under) = (String::new(), None);
    for change in changes {
        let (call, lines) = match change {
            Change::Object { call, what, before, after } => {
                (*call, difference(*call, what, before.as_deref(), after.as_deref()))
            }
            Change::Fails { call, why } => (Some(*call), format!("! it would fail: {why}\n")),
            Change::Remark { call, text } => (*call, format!("  {text}\n")),
        };
        if lines.is_empty() {
            continue;
        }
        if under != Some(call) {
            under = Some(call);
            let step = call.and_then(|call| steps.get(call));
            let when = step.map_or("once the run has ended for good".into(), |step| format!("`{step}`"));
            text.push_str(&format!("{title}, {when}:\n"));
        }
        text.push_str(&lines);
    }
    text
}

/// Empty where there is none.
fn difference(call: Option<usize>, what: &str, before: Option<&str>, after: Option<&str>) -> String {
    if before == after {
        return String::new();
    }
    let side = |there: Option<&str>, none: &str| there.map_or(none, |_| what).to_string();
    let gone = match call {
        Some(_) => "nothing",
        None => "nothing, once it is not needed for a rollback any more",
    };
    TextDiff::from_lines(before.unwrap_or_default(), after.unwrap_or_default())
        .unified_diff()
        .header(&side(before, "nothing"), &side(after, gone))
        .to_string()
}
