//! The types of expressions.

use super::scope::{Standing, StepInfo, Var};
use super::{ParamInfo, Ty};
use crate::checks;
use crate::diagnostic::{Diagnostic, Location};
use crate::index::Index;
use crate::model::Model;
use crate::program::{FileId, ModuleId};
use crate::suggest;
use compact_str::CompactString;
use foldhash::{HashMap, HashSet};
use lockstep_grammar::ast::{
    DeclarationKind, Expr, ExprKind, Name, Operator, Param, Record, Span, Text, TextPart,
};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;

/// What is read somewhere: places of parameters and loop variables, and imports by module and name.
#[derive(Debug, Default)]
pub struct Used {
    pub names: HashSet<Location>,
    pub imports: HashSet<(ModuleId, String)>,
}

impl Used {
    /// Takes in what is read elsewhere.
    pub fn absorb(&mut self, other: Used) {
        if self.names.is_empty() {
            self.names = other.names;
        } else {
            self.names.extend(other.names);
        }
        self.imports.extend(other.imports);
    }
}

/// More answers than this are not tried out in one declaration.
const MOST_TRIES: usize = 1 << 20;

/// Why a type is expected: a place and what it says.
pub type Because = Option<(Location, Why)>;

/// What the place says that asks for a type. It is only put into words where something does not fit.
#[derive(Debug, Clone)]
pub enum Why {
    /// Something of that name is declared there.
    Declared(CompactString),
    Said(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Declared(name) => write!(f, "`{name}` is declared here"),
            Why::Said(text) => f.write_str(text),
        }
    }
}

/// Whose entries a record holds: what kind of thing, which may be left out, and its name.
#[derive(Debug, Clone, Copy)]
pub struct What<'t>(pub &'t str, pub &'t str);

impl fmt::Display for What<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let What(kind, name) = self;
        match *kind {
            "" => write!(f, "`{name}`"),
            kind => write!(f, "{kind} `{name}`"),
        }
    }
}

/// Infers and checks types in one file.
pub struct Typer<'a, 'p> {
    pub model: &'a Model<'p>,
    pub file: FileId,
    /// The module whose names are seen.
    module: ModuleId,
    pub sink: &'a mut Vec<Diagnostic>,
    pub used: &'a mut Used,
    pub vars: Vec<Var<'p>>,
    pub steps: Vec<StepInfo<'p>>,
    /// Indexes of the first and of the second step of a name.
    pub step_names: HashMap<&'p str, (usize, Option<usize>)>,
    pub standing: Standing,
    /// Conditions by what they say, numbered.
    pub numbers: HashMap<(bool, &'p str), u32>,
    /// Those conditions, by their number.
    pub said: Vec<(bool, &'p Expr)>,
    /// How much more may be tried out to see whether conditions imply each other.
    pub tries: Cell<usize>,
    /// Whether `stage`, `run` and the like mean something here.
    pub in_workflow: bool,
    /// The parameters of what is being called.
    pub called: Option<(FileId, Span)>,
    /// Whether parameters of the declaration may have been lost.
    pub params_damaged: bool,
    /// Names that seem to be given in the declaration where something was not understood.
    pub lost: HashSet<&'p str>,
    /// Whether it may be any name: that of a parameter was not given.
    pub any_lost: bool,
    /// What the brackets around these take, of those that are never closed: the end of what stands in them is a guess.
    around: Vec<String>,
}

/// Whether a member of a list or a record begins with that sign, where its name should stand. What is too long to look through
/// again and again is not.
pub fn begins_with(text: &str, sign: char) -> bool {
    const MOST: usize = 4096;
    text.len() <= MOST && text.split(['{', '(', ',', '\n']).any(|part| part.trim_start().starts_with(sign))
}

/// Whether a comma stands where the first of these brackets' members should.
fn first_is_comma(brackets: &str) -> bool {
    brackets.get(1..).is_some_and(|inside| inside.trim_start().starts_with(','))
}

/// Among more words than this no slip is looked for.
const MOST_WORDS: usize = 256;

/// More bytes that were not understood than these are not searched for names.
const MOST_LOST: usize = 2048;

impl<'a, 'p> Typer<'a, 'p> {
    pub fn new(
        model: &'a Model<'p>,
        file: FileId,
        sink: &'a mut Vec<Diagnostic>,
        used: &'a mut Used,
    ) -> Self {
        Typer {
            model,
            file,
            module: model.module(file),
            sink,
            used,
            vars: Vec::new(),
            steps: Vec::new(),
            step_names: HashMap::default(),
            standing: Standing::default(),
            numbers: HashMap::default(),
            said: Vec::new(),
            tries: Cell::new(MOST_TRIES),
            in_workflow: false,
            called: None,
            params_damaged: false,
            lost: HashSet::default(),
            any_lost: false,
            around: Vec::new(),
        }
    }

    pub fn at(&self, span: Span) -> Location {
        Location { file: self.file, span }
    }

    pub fn module(&self) -> ModuleId {
        self.module
    }

    /// Resolves parameters, checks their defaults, and brings them into scope one after another.
    pub fn declare_params(&mut self, items: &'p [Param]) -> Rc<[ParamInfo<'p>]> {
        let infos = self.model.read_params(self.file, items, self.sink);
        for (first, again) in super::repeated(infos.iter().map(|info| info.name())) {
            let (first, again) = (&infos[first].param.name, &infos[again].param.name);
            let diagnostic = checks::name_duplicate::report(
                self.at(again.span),
                self.at(first.span),
                "parameter",
                &again.text,
            );
            self.sink.push(diagnostic);
        }
        for info in infos.iter() {
            if let Some(default) = &info.param.default {
                let because = Some((info.location(), Why::Declared(info.name().into())));
                self.expect(default, &info.ty, &because);
                checks::type_not_allowed_value::literal(self.model, self.file, default, info, self.sink);
            }
            checks::type_mismatch::restriction(self, info);
            if info.ty.is_in_doubt() {
                // What it would be read for cannot be told, nor what it would be for the phases.
                self.params_damaged = true;
                self.used.names.insert(self.at(info.param.name.span));
            }
            self.vars.push(Var { name: info.name(), ty: info.ty.clone(), at: self.at(info.param.name.span) });
        }
        // A restriction may name a parameter that is declared later.
        for info in infos.iter() {
            if let Some(lockstep_grammar::ast::Within::Name(name)) = info.within() {
                self.read_environment_param(name);
            }
        }
        infos
    }

    fn read_environment_param(&mut self, name: &Name) {
        let found = self.vars.iter().rev().find(|var| var.name == name.text).cloned();
        match found {
            Some(var) => {
                self.used.names.insert(var.at);
                if !var.ty.fits(&Ty::Environment) {
                    let at = self.at(name.span);
                    let found = var.ty.show(self.model);
                    self.sink.push(checks::type_mismatch::report(at, "environment", &found, &None));
                }
            }
            None if self.params_damaged => {}
            None => {
                let known: Vec<&str> =
                    self.vars.iter().filter(|var| var.ty == Ty::Environment).map(|var| var.name).collect();
                let at = self.at(name.span);
                self.sink.push(checks::name_unknown::report(at, "environment parameter", &name.text, known));
            }
        }
    }

    /// Checks that an expression fits a type.
    pub fn expect(&mut self, expr: &'p Expr, ty: &Ty, because: &Because) {
        match (&expr.kind, ty.required()) {
            (ExprKind::Paren(inner), _) => self.expect(inner, ty, because),
            (ExprKind::If { condition, then, otherwise }, _) => {
                self.expect(condition, &Ty::Bool, &None);
                self.where_it_holds(true, condition, |typer| typer.expect(then, ty, because));
                self.where_it_holds(false, condition, |typer| typer.expect(otherwise, ty, because));
            }
            (ExprKind::List(items), Ty::List(element)) => {
                for item in items {
                    self.expect(item, element, because);
                }
            }
            (ExprKind::Record(record), Ty::Map(element)) => {
                self.keys_once(record);
                for entry in &record.entries {
                    self.expect(&entry.value, element, because);
                }
            }
            _ => {
                let found = self.infer(expr);
                self.fit(expr.span, &found, ty, because);
            }
        }
    }

    /// Reports a type that does not fit.
    pub fn fit(&mut self, span: Span, found: &Ty, ty: &Ty, because: &Because) {
        if found.fits(ty) {
            return;
        }
        let at = self.at(span);
        if found.leaks_into(ty) {
            let text = self.model.program.text(self.file, span);
            let leak = checks::secret_leak::report(at, text);
            self.sink
                .push(because.iter().fold(leak, |leak, (place, text)| leak.also(*place, text.to_string())));
            return;
        }
        // What is missing in it has been reported, and may be what it should be.
        if self.model.program.is_damaged(self.file, span) {
            return;
        }
        let diagnostic = super::template::mismatch(self.model, at, found, ty, because).unwrap_or_else(|| {
            let expected = ty.show(self.model);
            let report = checks::type_mismatch::report(at, &expected, &found.show(self.model), because);
            checks::type_mismatch::quoted(report, &expected, self.model.program.text(self.file, span))
        });
        self.sink.push(diagnostic);
    }

    pub fn keys_once(&mut self, record: &Record) {
        for (first, again) in super::repeated(record.entries.iter().map(|entry| entry.name.text.as_str())) {
            let (first, again) = (&record.entries[first].name, &record.entries[again].name);
            let diagnostic = checks::name_duplicate::report(
                self.at(again.span),
                self.at(first.span),
                "entry",
                &again.text,
            );
            self.sink.push(diagnostic);
        }
    }

    /// The type of an expression; its problems are reported.
    pub fn infer(&mut self, expr: &'p Expr) -> Ty {
        match &expr.kind {
            ExprKind::Bool(_) => Ty::Bool,
            ExprKind::Int(_) => Ty::Int,
            ExprKind::Percent(_) => Ty::Percent,
            ExprKind::Duration(_) => Ty::Duration,
            ExprKind::Text(text) => {
                self.text(text);
                Ty::String
            }
            ExprKind::List(items) => {
                let mut element = Ty::Error;
                for item in items {
                    let found = self.infer(item);
                    if element == Ty::Error {
                        element = found;
                    } else if let Some(joined) = element.join(&found) {
                        element = joined;
                    } else if !found.fits(&element) {
                        let because = Some((
                            self.at(items[0].span),
                            Why::Said("the list begins with another type".into()),
                        ));
                        self.fit(item.span, &found, &element, &because);
                    }
                }
                Ty::List(Rc::new(element))
            }
            ExprKind::Record(record) => {
                self.keys_once(record);
                let mut element = Ty::Error;
                for entry in &record.entries {
                    let found = self.infer(&entry.value);
                    if element == Ty::Error {
                        element = found;
                    } else {
                        self.fit(entry.value.span, &found, &element, &None);
                    }
                }
                Ty::Map(Rc::new(element))
            }
            ExprKind::Path(path) => self.path(path),
            ExprKind::Star(path) => self.star(path),
            ExprKind::Construct(construct) => self.construct(&construct.path, &construct.record),
            ExprKind::Call { name, arguments } => self.call(name, arguments, expr.span),
            ExprKind::Not(inner) => {
                self.expect(inner, &Ty::Bool, &None);
                Ty::Bool
            }
            ExprKind::Binary { operator, operator_span, left, right } => {
                self.binary(*operator, *operator_span, left, right);
                Ty::Bool
            }
            ExprKind::If { condition, then, otherwise } => {
                self.expect(condition, &Ty::Bool, &None);
                let first = self.where_it_holds(true, condition, |typer| typer.infer(then));
                let second = self.where_it_holds(false, condition, |typer| typer.infer(otherwise));
                if second.fits(&first) {
                    return if first == Ty::Error { second } else { first };
                }
                if !first.fits(&second) {
                    let why = Why::Said(format!("this is `{}`", first.show(self.model)));
                    let because = Some((self.at(then.span), why));
                    self.fit(otherwise.span, &second, &first, &because);
                    return Ty::Error;
                }
                second
            }
            ExprKind::Paren(inner) => self.infer(inner),
        }
    }

    pub(super) fn text(&mut self, text: &'p Text) {
        for part in &text.parts {
            let TextPart::Expr(expr) = part else { continue };
            let before = self.sink.len();
            let ty = self.infer(expr);
            self.sink[before..].iter_mut().for_each(checks::name_unknown::within_text);
            let at = self.at(expr.span);
            if *ty.required() == Ty::Secret {
                self.sink
                    .push(checks::secret_leak::report(at, self.model.program.text(self.file, expr.span)));
            } else if !ty.is_textual() {
                self.sink.push(checks::type_mismatch::text(at, &ty.show(self.model)));
            }
        }
    }

    fn binary(&mut self, operator: Operator, operator_span: Span, left: &'p Expr, right: &'p Expr) {
        match operator {
            Operator::And | Operator::Or => {
                self.expect(left, &Ty::Bool, &None);
                // The right side is only looked at where the left one does not decide.
                let goes_on = operator == Operator::And;
                self.where_it_holds(goes_on, left, |typer| typer.expect(right, &Ty::Bool, &None));
            }
            Operator::In => {
                let item = self.infer(left);
                let list = self.infer(right);
                if item.holds_secret() || list.holds_secret() {
                    return self.not_comparable(operator_span, left, &item, right, &list);
                }
                match list {
                    // What may be missing is compared with nothing, as with the other operators.
                    Ty::List(element)
                        if item.fits(&element)
                            || (element.fits(&item) && !matches!(item, Ty::Optional(_))) => {}
                    Ty::Map(_) => {
                        let because = Some((self.at(right.span), Why::Said("its keys are text".into())));
                        self.fit(left.span, &item, &Ty::String, &because);
                    }
                    Ty::Error => {}
                    Ty::List(element) => {
                        let because = Some((
                            self.at(right.span),
                            Why::Said(format!("this holds `{}` values", element.show(self.model))),
                        ));
                        self.fit(left.span, &item, &element, &because);
                    }
                    other => {
                        let at = self.at(right.span);
                        let found = other.show(self.model);
                        self.sink.push(checks::type_mismatch::report(at, "list", &found, &None));
                    }
                }
            }
            Operator::Equal | Operator::NotEqual => {
                let first = self.infer(left);
                let second = self.infer(right);
                let comparable =
                    first.is_data() && second.is_data() && !first.holds_secret() && !second.holds_secret();
                if !comparable
                    || !(first.fits(&second) || second.fits(&first))
                    || matches!(first, Ty::Optional(_))
                {
                    self.not_comparable(operator_span, left, &first, right, &second);
                }
            }
            _ => {
                let first = self.infer(left);
                let second = self.infer(right);
                let ordered = |ty: &Ty| {
                    matches!(ty, Ty::Error | Ty::Int | Ty::Percent | Ty::Duration | Ty::String | Ty::Path)
                };
                if !ordered(&first) || !ordered(&second) || !(first.fits(&second) || second.fits(&first)) {
                    self.not_comparable(operator_span, left, &first, right, &second);
                }
            }
        }
    }

    fn not_comparable(&mut self, operator: Span, left: &Expr, first: &Ty, right: &Expr, second: &Ty) {
        // That comparisons do not follow each other without parentheses is a matter of syntax.
        if [left, right].iter().any(|side| matches!(side.kind, ExprKind::Binary { .. })) {
            return;
        }
        let at = self.at(operator);
        let (first, second) = (first.show(self.model), second.show(self.model));
        let (left, right) = (self.at(left.span), self.at(right.span));
        self.sink.push(checks::type_mismatch::comparison(at, (left, &first), (right, &second)));
    }

    fn call(&mut self, name: &Name, arguments: &'p [Expr], span: Span) -> Ty {
        const NAMES: [(&str, usize); 9] = [
            ("contains", 2),
            ("starts_with", 2),
            ("ends_with", 2),
            ("matches", 2),
            ("lower", 1),
            ("upper", 1),
            ("join", 2),
            ("len", 1),
            ("default", 2),
        ];
        let Some((function, count)) = NAMES.iter().find(|(known, _)| name.text == *known) else {
            for argument in arguments {
                self.infer(argument);
            }
            let at = self.at(name.span);
            let declared = self.model.find_name(self.module(), name);
            let report = match declared.map(|id| (id, &self.model.decl(id).kind)) {
                Some((id, DeclarationKind::Service { .. })) => {
                    checks::name_unknown::service_called(at, &name.text, self.model.location(id))
                }
                _ => {
                    let known = NAMES.iter().map(|(name, _)| *name);
                    checks::name_unknown::report(at, "function", &name.text, known)
                }
            };
            self.sink.push(report);
            return Ty::Error;
        };
        if arguments.len() != *count && self.model.program.is_damaged(self.file, span) {
            arguments.iter().for_each(|argument| {
                self.infer_quietly(argument);
            });
            return Ty::Error;
        }
        if arguments.len() != *count {
            let at = self.at(span);
            let report = if arguments.len() < *count {
                checks::type_argument_missing::function
            } else {
                checks::type_argument_unknown::function
            };
            self.sink.push(report(at, function, *count, arguments.len()));
            return Ty::Error;
        }
        match *function {
            "default" => {
                let before = std::mem::replace(&mut self.standing.lenient, true);
                let first = self.infer(&arguments[0]);
                self.standing.lenient = before;
                let ty = first.required().clone();
                self.expect(&arguments[1], &ty, &None);
                ty
            }
            "contains" => {
                match self.infer(&arguments[0]) {
                    list @ Ty::List(_) if list.holds_secret() => {
                        let item = self.infer(&arguments[1]);
                        self.not_comparable(name.span, &arguments[0], &list, &arguments[1], &item);
                    }
                    Ty::List(element) => self.expect(&arguments[1], &element, &None),
                    other => {
                        self.fit(arguments[0].span, &other, &Ty::String, &None);
                        self.expect(&arguments[1], &Ty::String, &None);
                    }
                }
                Ty::Bool
            }
            "join" => {
                let list = self.infer(&arguments[0]);
                let fine =
                    matches!(&list, Ty::Error) || matches!(&list, Ty::List(element) if element.is_textual());
                if !fine {
                    self.fit(arguments[0].span, &list, &Ty::List(Rc::new(Ty::String)), &None);
                }
                self.expect(&arguments[1], &Ty::String, &None);
                Ty::String
            }
            "len" => {
                let of = self.infer(&arguments[0]);
                if !matches!(of, Ty::Error | Ty::List(_) | Ty::Map(_) | Ty::String | Ty::Path) {
                    let at = self.at(arguments[0].span);
                    let found = of.show(self.model);
                    self.sink.push(checks::type_mismatch::report(at, "string, list or map", &found, &None));
                }
                Ty::Int
            }
            function => {
                for argument in arguments {
                    let ty = self.infer(argument);
                    if ty != Ty::Path {
                        self.fit(argument.span, &ty, &Ty::String, &None);
                    }
                }
                if function == "matches" {
                    let at = self.at(arguments[1].span);
                    self.sink.extend(checks::type_not_allowed_value::bad_pattern(at, &arguments[1]));
                }
                if matches!(function, "lower" | "upper") { Ty::String } else { Ty::Bool }
            }
        }
    }

    /// Checks the entries of a record against parameters: all known, none twice, none missing, each of its type.
    /// `others` are entries that are somebody else's matter.
    pub fn record(
        &mut self,
        record: &'p Record,
        infos: &[ParamInfo<'p>],
        owner: Span,
        what: What<'_>,
        others: &[&str],
    ) -> Vec<&'p str> {
        // Values have owners of their own.
        let called = std::mem::take(&mut self.called);
        self.keys_once(record);
        let declared = Index::new(infos, |info| info.name());
        let program = self.model.program;
        let called = called.filter(|(file, params)| program.is_damaged(*file, *params));
        // Names of parameters that were not understood; none where they may be any.
        let lost: Option<BTreeSet<&str>> = called.map_or(Some(BTreeSet::new()), |(file, params)| {
            let is_clear = !program.is_broken(file, params) && !begins_with(program.text(file, params), ':');
            let words = self.lost_words(file, params).filter(|_| is_clear)?;
            Some(words.filter(|word| declared.get(word).is_none()).collect())
        });
        let around = self.around.len();
        if program.damaged(self.file, record.span).next().is_some_and(|it| it.start == record.span.start) {
            let names = infos.iter().map(|info| info.name()).chain(others.iter().copied());
            self.around.extend(names.map(str::to_owned));
        }
        let mut unknown: Vec<&'p str> = Vec::new();
        let mut strange: Vec<(&'p Name, Ty)> = Vec::new();
        for entry in &record.entries {
            let name = entry.name.text.as_str();
            if others.contains(&name) {
                continue;
            }
            let Some(info) = declared.get(name) else {
                // `{ service = web { version, infra = a }`: the bracket that is missing may be that of the service.
                let is_around = self.around[..around].iter().any(|around| around == name);
                if is_around || lost.as_ref().is_some_and(|lost| lost.contains(name)) {
                    self.infer(&entry.value);
                    continue;
                }
                unknown.push(name);
                strange.push((&entry.name, self.infer_quietly(&entry.value)));
                continue;
            };
            let because = Some((info.location(), Why::Declared(name.into())));
            self.expect(&entry.value, &info.ty, &because);
            checks::type_not_allowed_value::literal(self.model, self.file, &entry.value, info, self.sink);
        }
        self.around.truncate(around);
        let model = self.model;
        let slipped = |name: &str| {
            !unknown.is_empty() && suggest::slipped(name, model.candidates(unknown.iter().copied()))
        };
        let given = Index::new(&record.entries, |entry| entry.name.text.as_str());
        let mut missing: Vec<&ParamInfo<'_>> = infos
            .iter()
            .filter(|info| info.is_required() && !others.contains(&info.name()))
            .filter(|info| given.get(info.name()).is_none() && !slipped(info.name()))
            .collect();
        let Some(lost) = lost else { return unknown };
        if !lost.is_empty() {
            strange.retain(|(name, _)| !suggest::slipped(&name.text, lost.iter().copied()));
        }
        if called.is_some() {
            // A default may be what was not understood.
            missing.retain(|info| !program.is_damaged(info.file, info.param.span));
        }
        for (name, ty) in strange {
            let known = infos.iter().map(|info| info.name()).chain(others.iter().copied());
            let known = self.model.candidates(known);
            let at = self.at(name.span);
            // One that is missing, and that the value would fit, is probably what it was meant for.
            let is_open = !checks::type_argument_unknown::is_explained(&name.text, known.iter().copied());
            let meant = missing.iter().position(|info| is_open && ty.fits(&info.ty));
            let report = checks::type_argument_unknown::report(at, &what.to_string(), &name.text, known);
            self.sink.push(match meant.map(|index| missing.remove(index)) {
                Some(info) => checks::type_argument_unknown::renamed(report, info.name())
                    .also(info.location(), "declared here, without a default"),
                None => report,
            });
        }
        if !missing.is_empty() {
            let may_be_lost = self.lost_in(record.span);
            missing.retain(|info| !may_be_lost(info.name()));
        }
        if let Some(first) = missing.first() {
            let names: Vec<&str> = missing.iter().map(|info| info.name()).collect();
            let at = self.at(owner);
            let what = what.to_string();
            self.sink.push(checks::type_argument_missing::report(at, &what, &names, first.location()));
        }
        unknown
    }

    /// Whether an entry of a name may be among what was not understood between these brackets.
    pub fn lost_in(&self, brackets: Span) -> impl Fn(&str) -> bool + use<'p> {
        let program = self.model.program;
        let mut broken = program.is_broken(self.file, brackets);
        let mut words: Vec<&'p str> = Vec::new();
        if program.is_damaged(self.file, brackets) {
            // `{ = 1 }` may be any of them.
            let text = program.text(self.file, brackets);
            broken |= begins_with(text, '=') || first_is_comma(text);
            words.extend(words_of(program.text(self.file, brackets)));
            words.sort_unstable();
            words.dedup();
        }
        move |name| {
            let slips = words.iter().copied().take(MOST_WORDS);
            broken || words.binary_search(&name).is_ok() || suggest::slipped(name, slips)
        }
    }

    /// The words of what was not understood in a range; none where that is too much to look through again and again.
    pub fn lost_words(
        &self,
        file: FileId,
        range: Span,
    ) -> Option<impl Iterator<Item = &'p str> + Clone + use<'p>> {
        let program = self.model.program;
        let spans: Vec<Span> = program.damaged(file, range).take(MOST_WORDS).collect();
        let is_little = spans.iter().map(|span| span.len()).sum::<usize>() <= MOST_LOST;
        is_little.then(|| spans.into_iter().flat_map(move |span| words_of(program.text(file, span))))
    }

    /// The same for every value of a record.
    pub fn infer_entries_quietly(&mut self, record: &'p Record) {
        for entry in &record.entries {
            self.infer_quietly(&entry.value);
        }
    }

    /// Reads an expression for what it uses, where its own mistakes would only be consequences.
    pub fn infer_quietly(&mut self, expr: &'p Expr) -> Ty {
        let before = self.sink.len();
        let ty = self.infer(expr);
        self.sink.truncate(before);
        ty
    }
}

/// The words of a text.
fn words_of(text: &str) -> impl Iterator<Item = &str> + Clone {
    text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-'))).filter(|word| !word.is_empty())
}
