//! `dsl explain`: what a rule is about.

use crate::args::{ExplainArgs, ExplainFormat};
use crate::failure::{Failure, print, to_json};
use lockstep_compiler::{Rule, rules, rules_near};
use serde::Serialize;

#[derive(Serialize)]
struct One {
    version: u32,
    #[serde(flatten)]
    rule: RuleOutput,
}

#[derive(Serialize)]
struct RuleOutput {
    name: &'static str,
    severity: &'static str,
    summary: &'static str,
    page: &'static str,
}

impl From<&Rule> for RuleOutput {
    fn from(rule: &Rule) -> RuleOutput {
        RuleOutput { name: rule.name, severity: rule.severity.name(), summary: rule.summary, page: rule.page }
    }
}

/// Writes a rule's page, or the list of all rules.
pub fn run(args: &ExplainArgs) -> Result<u8, Failure> {
    let Some(name) = &args.rule else {
        let text = match args.format {
            ExplainFormat::Json => {
                #[derive(Serialize)]
                struct Rules {
                    version: u32,
                    rules: Vec<RuleOutput>,
                }
                to_json(&Rules { version: 1, rules: rules().iter().map(RuleOutput::from).collect() })?
            }
            ExplainFormat::Human => {
                let width = rules().iter().map(|rule| rule.name.len()).max().unwrap_or(0);
                rules()
                    .iter()
                    .map(|rule| {
                        format!("{:width$}  {:7}  {}\n", rule.name, rule.severity.name(), rule.summary)
                    })
                    .collect()
            }
        };
        print(&text)?;
        return Ok(0);
    };
    let Some(rule) = rules().iter().find(|rule| rule.name == name) else {
        let failure = Failure::new(format!("there is no rule `{name}`"));
        let near: Vec<String> = rules_near(name).iter().map(|near| format!("`{near}`")).collect();
        return Err(match near.is_empty() {
            false => failure.help(format!("did you mean {}?", near.join(" or "))),
            true => failure.help("`dsl explain` lists all rules"),
        });
    };
    print(&match args.format {
        ExplainFormat::Json => to_json(&One { version: 1, rule: RuleOutput::from(rule) })?,
        ExplainFormat::Human => format!("{} ({})\n\n{}\n", rule.name, rule.severity.name(), rule.page.trim()),
    })?;
    Ok(0)
}
