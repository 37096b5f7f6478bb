//! Values while lowering: data that the plan can hold, and things that are known by their declaration.

use crate::diagnostic::Location;
use crate::model::DeclId;
use crate::program::FileId;
use foldhash::HashMap;
use lockstep_plan::{Expr, ServiceId, StepId, TargetId, Value};
use std::rc::Rc;

/// What an expression comes to.
#[derive(Debug, Clone, PartialEq)]
pub enum Val {
    /// Something the plan can hold.
    Data(Expr),
    /// An optional parameter that was not given.
    Absent,
    /// A service instance.
    Service(ServiceId, DeclId),
    /// A target.
    Target(TargetId),
    /// An environment.
    Environment(DeclId),
    /// A list with things in it.
    List(Vec<Val>),
    /// Not known; the text tells it from others.
    Unknown(String),
}

impl Val {
    /// A constant.
    pub fn constant(value: Value) -> Val {
        Val::Data(Expr::Value(value))
    }

    /// The constant, where it is one.
    pub fn as_value(&self) -> Option<&Value> {
        match self {
            Val::Data(expr) => expr.as_value(),
            _ => None,
        }
    }

    /// What it costs to copy it, in the units of the budget.
    pub fn weight(&self) -> usize {
        match self {
            Val::Data(expr) => weight(expr),
            Val::List(items) => 1 + items.iter().map(Val::weight).sum::<usize>(),
            _ => 1,
        }
    }

    /// As the plan holds it; things that are no data are open.
    pub fn into_expr(self) -> Expr {
        match self {
            Val::Data(expr) => expr,
            Val::List(items) => Expr::List(items.into_iter().map(Val::into_expr).collect()),
            Val::Unknown(name) => Expr::Param(name),
            Val::Absent => Expr::Param("?".into()),
            Val::Service(..) | Val::Target(_) | Val::Environment(_) => Expr::Param("?".into()),
        }
    }
}

/// How much an expression holds: what it costs to copy it.
fn weight(expr: &Expr) -> usize {
    let mut weight = 0;
    expr.walk(&mut |part| {
        weight += match part {
            Expr::Value(value) => value_weight(value),
            _ => 1,
        }
    });
    weight
}

/// Whether an expression nests deeper than so many levels.
pub fn is_deeper(expr: &Expr, levels: usize) -> bool {
    let Some(levels) = levels.checked_sub(1) else { return true };
    match expr {
        Expr::Not(inner) => is_deeper(inner, levels),
        Expr::Binary(_, left, right) => is_deeper(left, levels) || is_deeper(right, levels),
        Expr::If(condition, then, otherwise) => {
            [condition, then, otherwise].into_iter().any(|part| is_deeper(part, levels))
        }
        Expr::Call(_, items) | Expr::Text(items) | Expr::List(items) => {
            items.iter().any(|item| is_deeper(item, levels))
        }
        Expr::Map(entries) => entries.values().any(|item| is_deeper(item, levels)),
        Expr::Value(_) | Expr::Param(_) | Expr::Output { .. } | Expr::Run(_) | Expr::Failure(_) => false,
    }
}

fn value_weight(value: &Value) -> usize {
    const BYTES: usize = 32;
    match value {
        Value::Text(text) | Value::Path(text) | Value::Secret(text) => 1 + text.len() / BYTES,
        Value::List(items) => 1 + items.iter().map(value_weight).sum::<usize>(),
        Value::Map(entries) => 1 + entries.values().map(value_weight).sum::<usize>(),
        Value::Bool(_) | Value::Int(_) | Value::Percent(_) | Value::Duration(_) => 1,
    }
}

/// Names with their meaning, shared between frames.
#[derive(Debug, Clone, Default)]
pub struct Vars<'p>(Option<Rc<Vec<(&'p str, Val)>>>);

impl<'p> Vars<'p> {
    pub fn as_slice(&self) -> &[(&'p str, Val)] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

/// Steps by their names, shared between frames.
#[derive(Debug, Clone, Default)]
pub struct Outputs<'p>(Option<Rc<HashMap<&'p str, StepId>>>);

impl<'p> Outputs<'p> {
    pub fn get(&self, name: &str) -> Option<StepId> {
        self.0.as_ref()?.get(name).copied()
    }

    pub fn insert(&mut self, name: &'p str, step: StepId) {
        // As much room as most phases need.
        let room = || Rc::new(HashMap::with_capacity_and_hasher(7, Default::default()));
        Rc::make_mut(self.0.get_or_insert_with(room)).insert(name, step);
    }
}

/// What names mean in one place.
#[derive(Debug, Clone)]
pub struct Frame<'p> {
    /// The file that the names stand in.
    pub file: FileId,
    /// Parameters and loop variables, innermost last.
    pub vars: Vars<'p>,
    /// The service of the phase.
    pub service: Option<Val>,
    /// The target of the phase.
    pub infra: Option<Val>,
    /// Whether they are the phase's own and win over parameters of the same name.
    pub own: bool,
    /// In a loop: what tells this round from the others.
    pub round: Option<Rc<str>>,
    /// The stage's name, inside a workflow.
    pub stage: Option<Rc<str>>,
    /// Steps whose outputs can be read.
    pub outputs: Outputs<'p>,
    /// Whether `failure` means something.
    pub rollback: bool,
}

impl<'p> Frame<'p> {
    /// Where nothing but declarations are known.
    pub fn of(file: FileId) -> Self {
        Frame {
            file,
            vars: Vars::default(),
            service: None,
            infra: None,
            own: false,
            round: None,
            stage: None,
            outputs: Outputs::default(),
            rollback: false,
        }
    }

    /// A place in the frame's file.
    pub fn at(&self, span: lockstep_grammar::ast::Span) -> Location {
        Location { file: self.file, span }
    }

    /// Gives a parameter or loop variable its meaning.
    pub fn bind(&mut self, name: &'p str, value: Val) {
        Rc::make_mut(self.vars.0.get_or_insert_default()).push((name, value));
    }

    /// What a parameter or loop variable means.
    pub fn var(&self, name: &str) -> Option<&Val> {
        self.vars.as_slice().iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value)
    }
}
