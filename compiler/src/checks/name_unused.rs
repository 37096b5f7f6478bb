//! `name/unused`: a parameter, loop variable or import that nothing reads.

use crate::checks::template_fixed_infrastructure;
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::{Model, import_name};
use crate::program::ModuleId;
use crate::rules::Rule;
use crate::types::Used;
use foldhash::HashSet;
use lockstep_grammar::ast::{DeclarationKind, Name, Params, PipelineItem};

pub const RULE: Rule = Rule {
    name: "name/unused",
    severity: Severity::Warning,
    summary: "a parameter, loop variable or import that nothing reads",
    page: include_str!("name_unused.md"),
};

fn report(at: Location, what: &str, name: &str) -> Diagnostic {
    Diagnostic::new(&RULE, at, format!("{what} `{name}` is never read"))
        .label("never read")
        .help(format!("remove it, or read `{name}` where it was meant"))
}

/// An environment that is not read because the infrastructure is fixed: `template/fixed-infrastructure` points at it.
pub fn hide_consequences(found: &mut Vec<Diagnostic>) {
    let fixed = found.iter().filter(|it| it.rule == template_fixed_infrastructure::RULE.name);
    let explained: Vec<Location> = fixed.flat_map(|it| it.labels.iter().map(|(at, _)| *at)).collect();
    found.retain(|it| {
        let within = |at: &Location| at.file == it.primary.file && at.span.contains(it.primary.span.start);
        it.rule != RULE.name || !explained.iter().any(within)
    });
}

/// Looks at everything that could be read.
pub fn check(model: &Model<'_>, used: &Used, sink: &mut Vec<Diagnostic>) {
    for id in model.declarations() {
        if model.program.is_damaged(id.file, model.decl(id).span) {
            continue;
        }
        let mut look = |name: &Name, what: &str| {
            let at = Location { file: id.file, span: name.span };
            if !used.names.contains(&at) {
                sink.push(report(at, what, &name.text));
            }
        };
        let params = |params: &Params, look: &mut dyn FnMut(&Name, &str)| {
            // Of two that are called alike, which is an error of its own, one is never read.
            let repeated = crate::types::repeated(params.items.iter().map(|param| param.name.text.as_str()));
            let repeated: HashSet<usize> =
                repeated.into_iter().flat_map(|(first, again)| [first, again]).collect();
            for (_, param) in params.items.iter().enumerate().filter(|(index, _)| !repeated.contains(index)) {
                look(&param.name, "parameter");
            }
        };
        match &model.decl(id).kind {
            DeclarationKind::Service { params: it, .. } => params(it, &mut look),
            DeclarationKind::Workflow(it) => params(&it.params, &mut look),
            DeclarationKind::Pipeline(it) => {
                params(&it.params, &mut look);
                loops(&it.items, &mut look);
            }
            _ => {}
        }
    }
    for module in (1..model.program.modules.len() as u32).map(ModuleId) {
        let files: Vec<_> = model.program.module_files(module).collect();
        // What was not understood may be what reads the import.
        if files.iter().any(|(_, file)| !file.parse.errors.is_empty()) {
            continue;
        }
        for (file, source) in files {
            for (import, found) in source.parse.file.imports.iter().zip(&source.imports) {
                if found.is_ok()
                    && let Some((name, span)) = import_name(import)
                    && !used.imports.contains(&(module, name.to_string()))
                    // Two things of one name, of which one is never read, are an error of their own.
                    && model.names(module).get(&name).is_none()
                {
                    let line = model.program.removal(Location { file, span: import.span });
                    let report = report(Location { file, span }, "import", &name);
                    sink.push(report.fix("remove the import", vec![(line, String::new())]));
                }
            }
        }
    }
}

fn loops(items: &[PipelineItem], look: &mut dyn FnMut(&Name, &str)) {
    for item in items {
        match item {
            PipelineItem::Parallel(it) => loops(&it.items, look),
            PipelineItem::Lane(it) => loops(&it.items, look),
            PipelineItem::For(it) => {
                look(&it.name, "loop variable");
                loops(&it.items, look);
            }
            PipelineItem::Stage(_) | PipelineItem::Approval(_) => {}
        }
    }
}
