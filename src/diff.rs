//! `dsl plan --diff`: what a pipeline would change on each target.

use crate::failure::{Failure, say};
use lockstep_executor::{Change, Drivers, preview};
use lockstep_plan::Plan;
use similar::TextDiff;
use std::path::Path;

/// The differences as text; what cannot be told is said on standard error.
pub fn text(plan: &Plan, module: &Path) -> Result<String, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("cannot start the runtime: {error}")))?;
    let previews = runtime.block_on(preview(plan, &Drivers::built_in(), module));
    let mut text = String::new();
    let mut failed = Vec::new();
    for preview in previews {
        let title = format!("{} on {}", preview.service, preview.target);
        match preview.changes {
            None => text.push_str(&format!("{title}: its provider cannot tell what would change\n")),
            Some(Err(failure)) => failed.push(format!("{title}: {}", failure.message)),
            Some(Ok(changes)) => {
                let differences: Vec<String> = changes.iter().filter_map(difference).collect();
                match differences.is_empty() {
                    true => text.push_str(&format!("{title}: nothing would change\n")),
                    false => text.push_str(&format!("{title}:\n{}", differences.concat())),
                }
            }
        }
    }
    if failed.is_empty() {
        return Ok(text);
    }
    say(text.trim_end());
    Err(Failure::new(format!("what would change cannot be told:\n  {}", failed.join("\n  "))))
}

/// None where nothing would change.
fn difference(change: &Change) -> Option<String> {
    let (before, after) = (change.before.as_deref().unwrap_or(""), change.after.as_deref().unwrap_or(""));
    if before == after {
        return None;
    }
    let names = match (&change.before, &change.after) {
        (None, _) => ("nothing".to_string(), change.what.clone()),
        (_, None) => {
            (change.what.clone(), "nothing, once it is not needed for a rollback any more".to_string())
        }
        _ => (change.what.clone(), change.what.clone()),
    };
    Some(TextDiff::from_lines(before, after).unified_diff().header(&names.0, &names.1).to_string())
}
