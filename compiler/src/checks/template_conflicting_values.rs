//! `template/conflicting-values`: a pipeline parameter that no value can satisfy in all workflows it goes to.

use crate::checks::type_not_allowed_value::{self, allowed, constant};
use crate::diagnostic::{Diagnostic, Location, Severity};
use crate::index::Index;
use crate::rules::Rule;
use crate::types::{ParamInfo, Typer};
use lockstep_grammar::ast::{DeclarationKind, Expr, ExprKind, Record, Stage, Within};

pub const RULE: Rule = Rule {
    name: "template/conflicting-values",
    severity: Severity::Error,
    summary: "a pipeline parameter goes to workflows that allow no common value",
    page: include_str!("template_conflicting_values.md"),
};

/// Where the pipeline's parameters are restricted by the workflows they go to.
#[derive(Default)]
pub struct Passed<'p> {
    uses: Vec<(&'p str, Location, &'p Within, Location)>,
}

impl<'p> Passed<'p> {
    /// Remembers the parameters that a stage passes on.
    pub fn collect(
        &mut self,
        typer: &Typer<'_, 'p>,
        stage: &'p Stage,
        infos: &[ParamInfo<'p>],
        pipeline: &[ParamInfo<'p>],
    ) {
        self.record(typer, &stage.arguments, infos, pipeline);
    }

    /// Services take arguments as well, with restrictions of their own.
    fn record(
        &mut self,
        typer: &Typer<'_, 'p>,
        record: &'p Record,
        infos: &[ParamInfo<'p>],
        pipeline: &[ParamInfo<'p>],
    ) {
        let declared = Index::new(infos, |info| info.name());
        for entry in &record.entries {
            if let ExprKind::Construct(construct) = &entry.value.kind {
                let model = typer.model;
                if let Ok(found) = model.find(typer.module(), &construct.path)
                    && let DeclarationKind::Service { params, .. } = &model.decl(found.decl).kind
                {
                    let inner = model.params(found.decl.file, &params.items);
                    self.record(typer, &construct.record, &inner, pipeline);
                }
                continue;
            }
            // Most values are no names.
            if let Some(name) = bare(&entry.value)
                && let Some(info) = declared.get(&entry.name.text)
                && let Some(within) = info.within()
                && pipeline.iter().any(|param| param.name() == name)
            {
                self.uses.push((name, typer.at(entry.value.span), within, info.location()));
            }
        }
    }

    /// Reports a default that a workflow which it goes to does not allow, at the first such use.
    fn default_fits(&self, typer: &mut Typer<'_, 'p>, param: &ParamInfo<'p>) {
        let Some(default) = &param.param.default else { return };
        let Some(value) = constant(default) else { return };
        let wrong = self.uses.iter().filter(|(name, ..)| *name == param.name());
        let wrong = wrong
            .filter_map(|(_, at, within, declared)| Some((*at, *declared, allowed(&value, within)?)))
            .next();
        if let Some((at, declared, allowed)) = wrong {
            let default = typer.at(default.span);
            let report =
                type_not_allowed_value::default(at, default, declared, (param.name(), &value), &allowed);
            typer.sink.push(report);
        }
    }

    /// Reports each parameter whose allowed values have nothing in common, at the later use.
    pub fn report(&self, typer: &mut Typer<'_, 'p>, pipeline: &[ParamInfo<'p>]) {
        for param in pipeline {
            let own = param.within().map(|within| (param.location(), within, param.location()));
            let uses = self.uses.iter().filter(|(name, ..)| *name == param.name());
            let all: Vec<_> = own
                .into_iter()
                .chain(uses.map(|(_, at, within, declared)| (*at, *within, *declared)))
                .collect();
            let clash = (1..all.len()).find_map(|later| {
                (0..later).find(|first| disjoint(all[*first].1, all[later].1)).map(|first| (first, later))
            });
            let Some((first, later)) = clash else {
                match together(&all.iter().map(|(_, within, _)| *within).collect::<Vec<_>>()) {
                    None => self.default_fits(typer, param),
                    Some(last) => {
                        let message = format!("no value of `{}` is allowed everywhere it goes", param.name());
                        let mut diagnostic = Diagnostic::new(&RULE, all[last].0, message)
                            .label("it goes here")
                            .also(all[last].2, "this allows some values")
                            .help("let the restrictions have a value in common, or make several parameters of it");
                        for (_, _, declared) in &all[..last] {
                            diagnostic = diagnostic.also(*declared, "and this");
                        }
                        typer.sink.push(diagnostic);
                    }
                }
                continue;
            };
            let name = param.name();
            typer.sink.push(
                Diagnostic::new(
                    &RULE,
                    all[later].0,
                    format!("no value of `{name}` is allowed everywhere it goes"),
                )
                .label("it goes here")
                .also(all[later].2, "this allows some values")
                .also(all[first].2, "this allows others, none of them the same")
                .help("let the two restrictions overlap, or make two parameters of it"),
            );
        }
    }
}

/// The first restriction after which no value is left, where no two of them exclude each other: only lists can do that.
fn together(all: &[&Within]) -> Option<usize> {
    let list = all.iter().find_map(|within| match within {
        Within::List(items, _) => Some(items),
        _ => None,
    })?;
    let mut left: Vec<_> = list.iter().map(constant).collect::<Option<_>>()?;
    for (index, within) in all.iter().enumerate() {
        left.retain(|value| allowed(value, within).is_none());
        if left.is_empty() {
            return Some(index);
        }
    }
    None
}

/// The name that an expression is, and nothing else.
fn bare(expr: &Expr) -> Option<&str> {
    match &expr.kind {
        ExprKind::Path(path) if path.names.len() == 1 => Some(path.names[0].text.as_str()),
        ExprKind::Paren(inner) => bare(inner),
        _ => None,
    }
}

fn disjoint(first: &Within, second: &Within) -> bool {
    match (first, second) {
        (Within::Range(from, to, _), Within::Range(other_from, other_to, _)) => {
            to < other_from || other_to < from
        }
        (Within::List(items, _), other) | (other, Within::List(items, _)) => {
            let values: Option<Vec<_>> = items.iter().map(constant).collect();
            values.is_some_and(|values| values.iter().all(|value| allowed(value, other).is_some()))
        }
        _ => false,
    }
}
