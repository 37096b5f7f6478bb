//! `phase/parallel`: phases of one workflow in a parallel block.

use crate::checks::walk;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::Model;
use crate::rules::Rule;
use crate::suggest;
use lockstep_grammar::ast::Span;

pub const RULE: Rule = Rule {
    name: "phase/parallel",
    severity: Severity::Error,
    summary: "phases of one workflow in a `parallel` block",
    page: include_str!("phase_parallel.md"),
};

/// Looks at every workflow.
pub fn check(model: &Model<'_>, sink: &mut Vec<Diagnostic>) {
    for (file, name, workflow) in walk::workflows(model) {
        let name = name.text.as_str();
        for block in &workflow.parallel_phases {
            let at = |span: Span| Location { file, span };
            let phases = &workflow.phases[block.phases.clone()];
            let names: Vec<&str> = phases.iter().map(|phase| phase.name.text.as_str()).collect();
            let mut diagnostic =
                Diagnostic::new(&RULE, at(block.keyword), format!("phases of workflow `{name}` cannot run in parallel"))
                    .label("phases run one after another")
                    .help(format!(
                        "make a workflow of each of {}, run them as parallel stages of a pipeline, and let them wait for each other at a `barrier`",
                        suggest::list(&names)
                    ));
            for phase in phases {
                diagnostic = diagnostic.also(at(phase.name.span), format!("phase `{}`", phase.name.text));
            }
            let text = model.program.text(file, block.span);
            if let Some(open) = text.find('{')
                && text.ends_with('}')
            {
                let start = block.span.start as usize;
                let end = block.span.end as usize;
                let around = [Span::new(start, start + open + 1), Span::new(end - 1, end)];
                let edits = around.map(|span| (model.program.removal(at(span)), String::new()));
                diagnostic = diagnostic.fix("run the phases one after another", edits.into());
            }
            sink.push(diagnostic);
        }
    }
}
