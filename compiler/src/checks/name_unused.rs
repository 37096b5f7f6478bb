//! `name/unused`: a parameter, loop variable or import that nothing reads.

use crate::checks::{template_fixed_infrastructure, type_argument_missing};
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::model::{Model, import_name};
use crate::program::{ModuleId, SourceFile};
use crate::rules::Rule;
use crate::types::Used;
use foldhash::{HashMap, HashSet};
use lockstep_grammar::ast::{DeclarationKind, Name, Params, PipelineItem, Span};

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

/// What is not read because something else is wrong: an environment because the infrastructure is fixed, which
/// `template/fixed-infrastructure` points at, or what was to be given where an argument is missing.
pub fn hide_consequences(model: &Model<'_>, found: &mut Vec<Diagnostic>) {
    let fixed = found.iter().filter(|it| it.rule == template_fixed_infrastructure::RULE.name);
    let explained: Vec<Location> = fixed.flat_map(|it| it.labels.iter().map(|(at, _)| *at)).collect();
    let declaration = |at: Location| {
        let declarations = model.program.declarations(at.file);
        let next = declarations.partition_point(|it| it.span.start <= at.span.start);
        next.checked_sub(1).map(|index| (at.file, index))
    };
    let lacking = found.iter().filter(|it| it.rule == type_argument_missing::RULE.name);
    let lacking: HashSet<_> = lacking.filter_map(|it| declaration(it.primary)).collect();
    found.retain(|it| {
        let within = |at: &Location| at.file == it.primary.file && at.span.contains(it.primary.span.start);
        let is_lacking = || declaration(it.primary).is_some_and(|it| lacking.contains(&it));
        it.rule != RULE.name || !explained.iter().any(within) && !is_lacking()
    });
}

/// Among more errors than these none is looked for that stands for a value.
const MOST_ERRORS: usize = 32;

/// Whether what was not expected stands where a value should.
fn lacks_value(text: &str, unexpected: Span) -> bool {
    let before = text[..unexpected.start as usize].trim_end();
    before.ends_with(['=', '<', '>', '!', '(', '[', '{', ',']) || before.ends_with(" if")
}

/// Looks at everything that could be read.
pub fn check(model: &Model<'_>, used: &Used, sink: &mut Vec<Diagnostic>) {
    for id in model.declarations() {
        let span = model.decl(id).span;
        let broken = model.program.is_broken(id.file, span);
        // Without its braces, what should read them stands outside of the declaration.
        if broken && model.program.broken(id.file, span).any(Span::is_empty) {
            continue;
        }
        // What was not understood may read whatever is named a second time in the declaration.
        let SourceFile { text, parse, .. } = model.program.file(id.file);
        let errors = &parse.errors;
        let first = errors.partition_point(|error| error.span.start < span.start);
        let inside = errors[first..].iter().take_while(|error| span.contains(error.span.start));
        let damaged = inside.clone().next().is_some();
        // Where a value is missing, anything may have been read.
        if inside.take(MOST_ERRORS).any(|error| lacks_value(text, error.span)) {
            continue;
        }
        let named = damaged.then(|| counted_names([model.program.text(id.file, span)]));
        let mut look = |name: &Name, what: &str| {
            let at = Location { file: id.file, span: name.span };
            let perhaps = named.as_ref().is_some_and(|it| it.get(name.text.as_str()) != Some(&1));
            if !used.names.contains(&at) && !perhaps {
                sink.push(report(at, what, &name.text));
            }
        };
        let params = |params: &Params, look: &mut dyn FnMut(&Name, &str)| {
            // Of two that are called alike, which is an error of its own, one is never read.
            let repeated = crate::types::repeated(params.items.iter().map(|param| param.name.text.as_str()));
            let repeated: HashSet<usize> =
                repeated.into_iter().flat_map(|(first, again)| [first, again]).collect();
            // What takes part in every step is read without being named.
            let is_implicit = |ty: &str| matches!(ty, "service" | "infrastructure" | "environment");
            let params = params.items.iter().enumerate().filter(|(index, _)| !repeated.contains(index));
            for (_, param) in params.filter(|(_, it)| !broken || !is_implicit(&it.ty.name.text)) {
                look(&param.name, "parameter");
            }
        };
        match &model.decl(id).kind {
            DeclarationKind::Service { params: it, .. } => params(it, &mut look),
            DeclarationKind::Workflow(it) => params(&it.params, &mut look),
            DeclarationKind::Pipeline(it) => {
                params(&it.params, &mut look);
                // An approval takes its name from a loop without naming the variable.
                if !broken {
                    loops(&it.items, &mut look);
                }
            }
            _ => {}
        }
    }
    for module in (1..model.program.modules.len() as u32).map(ModuleId) {
        let files: Vec<_> = model.program.module_files(module).collect();
        // What was not understood may be what reads the import: where its name stands a second time.
        let wrong = files.iter().any(|(_, file)| !file.parse.errors.is_empty());
        let texts = files.iter().map(|(_, file)| &*file.text);
        let named = if wrong { counted_names(texts) } else { HashMap::default() };
        for (file, source) in files {
            let perhaps = |name: &str, span| {
                wrong && named.get(name) != counted_names([model.program.text(file, span)]).get(name)
            };
            for (import, found) in source.parse.file.imports.iter().zip(&source.imports) {
                if found.is_ok()
                    && let Some((name, span)) = import_name(import)
                    && !used.imports.contains(&(module, name.to_string()))
                    && !perhaps(&name, import.span)
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

/// How often each word of these texts stands there.
fn counted_names<'t>(texts: impl IntoIterator<Item = &'t str>) -> HashMap<&'t str, usize> {
    let mut counts = HashMap::default();
    let words = texts
        .into_iter()
        .flat_map(|text| text.split(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')));
    for word in words {
        *counts.entry(word).or_default() += 1;
    }
    counts
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
