//! The types of expressions.

use super::scope::{Standing, StepInfo, Var};
use super::{InfraTy, ParamInfo, ServiceTy, Ty, params};
use crate::checks;
use crate::diagnostic::{Diagnostic, Location};
use crate::model::{DeclId, Lost, Model};
use crate::program::{FileId, ModuleId};
use crate::suggest;
use lockstep_grammar::ast::{
    DeclarationKind, Expr, ExprKind, Name, Operator, Param, Path, Record, Span, Text, TextPart,
};
use std::collections::HashSet;

/// What is read somewhere: places of parameters and loop variables, and imports by module and name.
#[derive(Debug, Default)]
pub struct Used {
    pub names: HashSet<Location>,
    pub imports: HashSet<(ModuleId, String)>,
}

/// Why a type is expected: a place and what it says.
pub type Because = Option<(Location, String)>;

/// Infers and checks types in one file.
pub struct Typer<'a, 'p> {
    pub model: &'a Model<'p>,
    pub file: FileId,
    pub sink: &'a mut Vec<Diagnostic>,
    pub used: &'a mut Used,
    pub vars: Vec<Var<'p>>,
    pub steps: Vec<StepInfo<'p>>,
    pub step_names: HashSet<&'p str>,
    pub standing: Standing<'p>,
    /// Whether `stage`, `run` and the like mean something here.
    pub in_workflow: bool,
    /// Whether some parameters of what is being called were not understood.
    pub owner_damaged: bool,
    /// The declaration, where something in it was not understood.
    pub damaged: Option<Span>,
}

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
            sink,
            used,
            vars: Vec::new(),
            steps: Vec::new(),
            step_names: HashSet::new(),
            standing: Standing::default(),
            in_workflow: false,
            owner_damaged: false,
            damaged: None,
        }
    }

    pub fn at(&self, span: Span) -> Location {
        Location { file: self.file, span }
    }

    pub fn module(&self) -> ModuleId {
        self.model.module(self.file)
    }

    /// Resolves parameters, checks their defaults, and brings them into scope one after another.
    pub fn declare_params(&mut self, items: &'p [Param]) -> Vec<ParamInfo<'p>> {
        let infos = params(self.model, self.file, items, self.sink);
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
        for info in &infos {
            if let Some(default) = &info.param.default {
                let because = Some((info.location(), format!("`{}` is declared here", info.name())));
                self.expect(default, &info.ty, &because);
                checks::type_not_allowed_value::literal(self.model, self.file, default, info, self.sink);
            }
            checks::type_mismatch::restriction(self, info);
            if let Some(lockstep_grammar::ast::Within::Name(name)) = info.within() {
                self.read_environment_param(name);
            }
            self.vars.push(Var { name: info.name(), ty: info.ty.clone(), at: self.at(info.param.name.span) });
        }
        // A restriction may name a parameter that is declared later.
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
                self.expect(then, ty, because);
                self.expect(otherwise, ty, because);
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
        let diagnostic = super::template::mismatch(self.model, at, found, ty, because).unwrap_or_else(|| {
            checks::type_mismatch::report(at, &ty.show(self.model), &found.show(self.model), because)
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
                    } else if !found.fits(&element) {
                        let because =
                            Some((self.at(items[0].span), "the list begins with another type".into()));
                        self.fit(item.span, &found, &element, &because);
                    }
                }
                Ty::List(Box::new(element))
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
                Ty::Map(Box::new(element))
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
                let first = self.infer(then);
                let second = self.infer(otherwise);
                if second.fits(&first) {
                    return if first == Ty::Error { second } else { first };
                }
                if !first.fits(&second) {
                    let because = Some((self.at(then.span), format!("this is `{}`", first.show(self.model))));
                    self.fit(otherwise.span, &second, &first, &because);
                    return Ty::Error;
                }
                second
            }
            ExprKind::Paren(inner) => self.infer(inner),
        }
    }

    fn text(&mut self, text: &'p Text) {
        for part in &text.parts {
            let TextPart::Expr(expr) = part else { continue };
            let ty = self.infer(expr);
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
                self.expect(right, &Ty::Bool, &None);
            }
            Operator::In => {
                let item = self.infer(left);
                match self.infer(right) {
                    Ty::List(element) if item.fits(&element) || element.fits(&item) => {}
                    Ty::Map(_) if item.fits(&Ty::String) => {}
                    Ty::Error => {}
                    Ty::List(element) => {
                        let because = Some((
                            self.at(right.span),
                            format!("this holds `{}` values", element.show(self.model)),
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
                let comparable = first.is_data() && second.is_data() && *first.required() != Ty::Secret;
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
            let known = NAMES.iter().map(|(name, _)| *name);
            self.sink.push(checks::name_unknown::report(at, "function", &name.text, known));
            return Ty::Error;
        };
        if arguments.len() != *count {
            let at = self.at(span);
            self.sink.push(checks::type_argument_missing::function(at, function, *count, arguments.len()));
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
                    self.fit(arguments[0].span, &list, &Ty::List(Box::new(Ty::String)), &None);
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
                if matches!(function, "lower" | "upper") { Ty::String } else { Ty::Bool }
            }
        }
    }

    /// `production.*`
    fn star(&mut self, path: &'p Path) -> Ty {
        if let Some(var) = self.variable(path) {
            let ty = self.fields(var.1, &path.names[1..], path);
            return match ty {
                Ty::Environment | Ty::Error => Ty::List(Box::new(Ty::Infra(InfraTy::default()))),
                other => {
                    let at = self.at(path.span);
                    let found = other.show(self.model);
                    self.sink.push(checks::type_mismatch::report(at, "environment", &found, &None));
                    Ty::Error
                }
            };
        }
        let Some(found) = self.find(path, "environment") else { return Ty::Error };
        let environment = self.model.as_environment(found.0).filter(|_| found.1 == path.names.len());
        let Some(environment) = environment else {
            let at = self.at(path.span);
            self.sink.push(checks::type_mismatch::report(at, "environment", "something else", &None));
            return Ty::Error;
        };
        let module = self.model.module(found.0.file);
        let mut providers: Vec<DeclId> = Vec::new();
        for infrastructure in &environment.infrastructure {
            if let Some(found) = self.model.find_provider(module, &infrastructure.value.path)
                && !providers.contains(&found.decl)
            {
                providers.push(found.decl);
            }
        }
        Ty::List(Box::new(Ty::Infra(InfraTy { providers })))
    }

    fn variable(&mut self, path: &Path) -> Option<(Location, Ty)> {
        let head = path.names[0].text.as_str();
        let var = self.vars.iter().rev().find(|var| var.name == head)?;
        self.used.names.insert(var.at);
        Some((var.at, var.ty.clone()))
    }

    /// The declaration at the start of a path and how many names it takes; reports a path that leads nowhere.
    pub fn find(&mut self, path: &Path, what: &str) -> Option<(DeclId, usize)> {
        let module = self.module();
        let head = &path.names[0];
        if self.model.names(module).imports.contains_key(&head.text)
            && !self.model.names(module).declarations.contains_key(head.text.as_str())
        {
            self.used.imports.insert((module, head.text.to_string()));
        }
        match self.model.find(module, path) {
            Ok(found) => Some((found.decl, found.taken)),
            Err(Lost { known_cause: true, .. }) => None,
            Err(lost) => {
                let name = path.names.get(lost.at).unwrap_or(&path.names[0]);
                if self.may_be_lost(lost.module, &name.text) {
                    return None;
                }
                let mut known: Vec<&str> =
                    self.model.names(lost.module).declarations.keys().copied().collect();
                if lost.at == 0 {
                    known.extend(self.vars.iter().map(|var| var.name));
                    known.extend(self.model.names(module).imports.keys().map(|name| name.as_str()));
                }
                let at = self.at(name.span);
                self.sink.push(checks::name_unknown::report(at, what, &name.text, known));
                None
            }
        }
    }

    /// Whether a name seems to be declared where something was not understood.
    fn may_be_lost(&self, module: ModuleId, name: &str) -> bool {
        let program = self.model.program;
        let declares = |text: &str, words: &[&str]| {
            words.iter().any(|word| {
                text.match_indices(word).any(|(at, _)| {
                    text[at + word.len()..].strip_prefix(' ').is_some_and(|rest| {
                        rest.trim_start()
                            .strip_prefix(name)
                            .is_some_and(|rest| !rest.starts_with(is_name_char))
                    })
                })
            })
        };
        const KINDS: [&str; 9] = [
            "service",
            "environment",
            "secret",
            "channel",
            "group",
            "resource",
            "workflow",
            "pipeline",
            "provider",
        ];
        if let Some(span) = self.damaged {
            let text = program.text(self.file, span);
            if declares(text, &["step", "for"]) || text.contains(&format!("{name}:")) {
                return true;
            }
        }
        program
            .module_files(module)
            .any(|(_, file)| !file.parse.damaged.is_empty() && declares(&file.text, &KINDS))
    }

    /// The type of what a path names.
    pub fn path(&mut self, path: &'p Path) -> Ty {
        let head = path.names[0].text.as_str();
        let rest = &path.names[1..];
        let own = if self.standing.own { self.phase_thing(head) } else { None };
        if let Some(ty) = own {
            return self.fields(ty, rest, path);
        }
        if let Some((_, ty)) = self.variable(path) {
            return self.fields(ty, rest, path);
        }
        if let Some(ty) = self.phase_thing(head) {
            return self.fields(ty, rest, path);
        }
        if self.in_workflow {
            if let Some(ty) = self.fact(path) {
                return ty;
            }
            if !rest.is_empty() && self.step_names.contains(head) {
                return self.output(path);
            }
        }
        let Some((id, taken)) = self.find(path, "name") else { return Ty::Error };
        self.declared(id, taken, path)
    }

    fn phase_thing(&self, head: &str) -> Option<Ty> {
        match head {
            "service" => self.standing.service.clone(),
            "infra" => self.standing.infra.clone(),
            _ => None,
        }
    }

    /// `stage.name`, `run.id`, `failure.kind` and the like.
    fn fact(&mut self, path: &Path) -> Option<Ty> {
        let known: &[&str] = match path.names[0].text.as_str() {
            "stage" => &["name"],
            "run" => &["id", "by"],
            "failure" if self.standing.rollback.is_some() => &["step", "kind", "message"],
            _ => return None,
        };
        match path.names.as_slice() {
            [_, name] if known.contains(&name.text.as_str()) => Some(Ty::String),
            [head] => {
                let at = self.at(head.span);
                self.sink.push(checks::name_unknown::member(at, &head.text, "", known.iter().copied()));
                Some(Ty::Error)
            }
            [head, name, ..] => {
                let at = self.at(name.span);
                self.sink.push(checks::name_unknown::member(
                    at,
                    &head.text,
                    &name.text,
                    known.iter().copied(),
                ));
                Some(Ty::Error)
            }
            [] => None,
        }
    }

    /// `rollout.revision`
    fn output(&mut self, path: &'p Path) -> Ty {
        let head = &path.names[0];
        let named: Vec<usize> =
            (0..self.steps.len()).filter(|index| self.steps[*index].step.name.text == head.text).collect();
        let at = self.at(path.span);
        if let [first, second, ..] = named.as_slice() {
            let places = [*first, *second].map(|index| self.at(self.steps[index].step.name.span));
            self.sink.push(checks::type_output_unavailable::ambiguous(at, &head.text, places));
            return Ty::Error;
        }
        let info = self.steps[named[0]].clone();
        let Some(signature) = info.signature else { return Ty::Error };
        let name = &path.names[1];
        let Some(output) = info.outputs.iter().find(|output| output.name() == name.text) else {
            let at = self.at(name.span);
            let known: Vec<&str> = info.outputs.iter().map(|output| output.name()).collect();
            self.sink.push(checks::name_unknown::output(
                at,
                &head.text,
                &signature.name.text,
                &name.text,
                known,
            ));
            return Ty::Error;
        };
        if let Some(reason) = self.unavailable(&info) {
            let step = self.at(info.step.name.span);
            self.sink.push(checks::type_output_unavailable::report(at, step, &head.text, &name.text, reason));
            return Ty::Error;
        }
        self.fields(output.ty.clone(), &path.names[2..], path)
    }

    /// Why a step may not have run where the expression stands.
    fn unavailable(&self, info: &StepInfo<'p>) -> Option<&'static str> {
        let standing = &self.standing;
        let earlier = match (standing.rollback, standing.position) {
            (Some(Some(phase)), _) => info.phase < phase,
            (Some(None), _) => false,
            (None, Some(position)) => info.position < position,
            (None, None) => false,
        };
        let same = standing.rollback.is_none() && standing.position == Some(info.position);
        if !earlier {
            // In a rollback anything may not have run, which `default` can answer.
            if standing.rollback.is_some() {
                return (!standing.lenient).then_some("a rollback may start before it has run");
            }
            return Some(if same { "it runs in parallel, or is this step" } else { "it runs later" });
        }
        let implied = info
            .conditions
            .iter()
            .all(|condition| standing.conditions.iter().any(|held| same_condition(self, condition, held)));
        (!implied && !standing.lenient).then_some("it may be skipped")
    }

    /// What a declaration is as a value.
    fn declared(&mut self, id: DeclId, taken: usize, path: &'p Path) -> Ty {
        let rest = &path.names[taken..];
        match &self.model.decl(id).kind {
            DeclarationKind::Service { params, .. } => {
                if let Some(missing) = params.items.iter().find(|param| param.default.is_none()) {
                    let at = self.at(path.span);
                    let declared = Location { file: id.file, span: missing.span };
                    let name = self.model.name(id);
                    self.sink.push(
                        checks::type_argument_missing::report(
                            at,
                            name,
                            &[missing.name.text.as_str()],
                            declared,
                        )
                        .help(format!("write `{name} {{ {} = … }}`", missing.name.text)),
                    );
                }
                let ty = self.service_type(id);
                self.fields(ty, rest, path)
            }
            DeclarationKind::Environment(environment) => match rest {
                [] => Ty::Environment,
                [name, rest @ ..] => {
                    let found = environment.infrastructure.iter().find(|it| it.name.text == name.text);
                    if let Some(infrastructure) = found {
                        let module = self.model.module(id.file);
                        let provider = self.model.find_provider(module, &infrastructure.value.path);
                        let ty = provider
                            .map_or(Ty::Error, |found| Ty::Infra(InfraTy { providers: vec![found.decl] }));
                        return self.fields(ty, rest, path);
                    }
                    if matches!(name.text.as_str(), "kind" | "name") && rest.is_empty() {
                        return Ty::String;
                    }
                    if self.model.program.is_damaged(id.file, self.model.decl(id).span) {
                        return Ty::Error;
                    }
                    let known: Vec<&str> =
                        environment.infrastructure.iter().map(|it| it.name.text.as_str()).collect();
                    let at = self.at(name.span);
                    let owner = self.model.name(id);
                    self.sink.push(checks::name_unknown::member(at, owner, &name.text, known));
                    Ty::Error
                }
            },
            DeclarationKind::Secret(_) => self.fields(Ty::Secret, rest, path),
            DeclarationKind::Channel(_) => self.fields(Ty::Channel, rest, path),
            DeclarationKind::Group(_) => self.fields(Ty::Group, rest, path),
            other => {
                let at = self.at(path.span);
                let declared = self.model.location(id);
                let kind = kind_name(other);
                self.sink.push(checks::type_mismatch::not_a_value(at, self.model.name(id), kind, declared));
                Ty::Error
            }
        }
    }

    /// The type of a declared service.
    pub fn service_type(&self, id: DeclId) -> Ty {
        service_type(self.model, id)
    }

    /// `checkout { version }`
    fn construct(&mut self, path: &'p Path, record: &'p Record) -> Ty {
        let Some((id, taken)) = self.find(path, "service") else {
            for entry in &record.entries {
                self.infer(&entry.value);
            }
            return Ty::Error;
        };
        let DeclarationKind::Service { params, .. } = &self.model.decl(id).kind else {
            let at = self.at(path.span);
            let declared = self.model.location(id);
            let kind = kind_name(&self.model.decl(id).kind);
            self.sink.push(checks::type_mismatch::not_a_service(at, self.model.name(id), kind, declared));
            return Ty::Error;
        };
        if taken < path.names.len() {
            let at = self.at(path.span);
            let declared = self.model.location(id);
            self.sink.push(checks::type_mismatch::not_a_service(
                at,
                self.model.name(id),
                "service",
                declared,
            ));
            return Ty::Error;
        }
        let infos = super::params(self.model, id.file, &params.items, &mut Vec::new());
        self.owner_damaged = self.model.program.is_damaged(id.file, params.span);
        self.record(record, &infos, path.span, &format!("service `{}`", self.model.name(id)), &[]);
        self.owner_damaged = false;
        self.service_type(id)
    }

    /// Follows the fields of a value.
    fn fields(&mut self, mut ty: Ty, names: &'p [Name], path: &Path) -> Ty {
        let mut names = names;
        while let [name, rest @ ..] = names {
            if ty == Ty::Error {
                return Ty::Error;
            }
            // `service.artifact.image` takes two names at once: an artifact alone is no value.
            if name.text == "artifact"
                && let (Ty::Service(service), [field, after @ ..]) = (&ty, rest)
            {
                ty = self.artifact_field(&service.clone(), field);
                names = after;
                continue;
            }
            match super::template::field(self.model, &ty, &name.text) {
                Ok(found) => ty = found,
                Err(known) => {
                    let at = self.at(name.span);
                    let owner: Vec<&str> = path
                        .names
                        .iter()
                        .take_while(|part| part.span != name.span)
                        .map(|part| part.text.as_str())
                        .collect();
                    self.sink.push(checks::name_unknown::member(at, &owner.join("."), &name.text, known));
                    return Ty::Error;
                }
            }
            names = rest;
        }
        ty
    }

    fn artifact_field(&mut self, service: &ServiceTy, field: &Name) -> Ty {
        let mut artifacts: Vec<String> = service.artifacts.clone();
        if artifacts.is_empty() {
            artifacts = service
                .providers
                .iter()
                .flat_map(|id| self.model.artifacts_of(*id))
                .map(Into::into)
                .collect();
        }
        let mut known: Option<Vec<&str>> = None;
        for artifact in artifacts.iter().filter_map(|name| self.model.artifact(name)) {
            let fields: Vec<&str> =
                artifact.fields.items.iter().map(|field| field.name.text.as_str()).collect();
            known = Some(match known {
                None => fields,
                Some(known) => known.into_iter().filter(|name| fields.contains(name)).collect(),
            });
        }
        let known = known.unwrap_or_default();
        if known.contains(&field.text.as_str()) {
            let artifact = artifacts.first().and_then(|name| self.model.artifact(name));
            let item = artifact
                .and_then(|artifact| artifact.fields.items.iter().find(|item| item.name.text == field.text));
            return match item.map(|item| item.ty.name.text.as_str()) {
                Some("int") => Ty::Int,
                Some("path") => Ty::Path,
                Some("bool") => Ty::Bool,
                _ => Ty::String,
            };
        }
        let at = self.at(field.span);
        self.sink.push(checks::name_unknown::member(at, "service.artifact", &field.text, known));
        Ty::Error
    }

    /// Checks the entries of a record against parameters: all known, none twice, none missing, each of its type.
    /// `others` are entries that are somebody else's matter.
    pub fn record(
        &mut self,
        record: &'p Record,
        infos: &[ParamInfo<'p>],
        owner: Span,
        what: &str,
        others: &[&str],
    ) {
        self.keys_once(record);
        for entry in &record.entries {
            let name = entry.name.text.as_str();
            if others.contains(&name) {
                continue;
            }
            let Some(info) = infos.iter().find(|info| info.name() == name) else {
                self.infer_quietly(&entry.value);
                if self.owner_damaged {
                    continue;
                }
                let known = infos.iter().map(|info| info.name()).chain(others.iter().copied());
                let at = self.at(entry.name.span);
                self.sink.push(checks::type_argument_unknown::report(at, what, name, known));
                continue;
            };
            let because = Some((info.location(), format!("`{name}` is declared here")));
            self.expect(&entry.value, &info.ty, &because);
            checks::type_not_allowed_value::literal(self.model, self.file, &entry.value, info, self.sink);
        }
        // A slip in a name explains why the argument seems to be missing.
        let slipped = |name: &str| {
            let unknown = record.entries.iter().map(|entry| entry.name.text.as_str());
            let mut unknown = unknown.filter(|given| !infos.iter().any(|info| info.name() == *given));
            unknown.any(|given| suggest::nearest(given, [name]).is_some())
        };
        let missing: Vec<&ParamInfo<'_>> = infos
            .iter()
            .filter(|info| info.is_required() && !others.contains(&info.name()) && !slipped(info.name()))
            .filter(|info| !record.entries.iter().any(|entry| entry.name.text == info.name()))
            .collect();
        if let Some(first) = missing.first()
            && !self.model.program.is_damaged(self.file, record.span)
        {
            let names: Vec<&str> = missing.iter().map(|info| info.name()).collect();
            let at = self.at(owner);
            self.sink.push(checks::type_argument_missing::report(at, what, &names, first.location()));
        }
    }

    /// Reads an expression for what it uses, where its own mistakes would only be consequences.
    pub fn infer_quietly(&mut self, expr: &'p Expr) {
        let before = self.sink.len();
        self.infer(expr);
        self.sink.truncate(before);
    }
}

/// Whether two conditions are the same, in the source or by their spelling.
fn same_condition(
    typer: &Typer<'_, '_>,
    first: &lockstep_grammar::ast::Condition,
    second: &lockstep_grammar::ast::Condition,
) -> bool {
    let program = typer.model.program;
    first.only == second.only
        && program.text(typer.file, first.value.span) == program.text(typer.file, second.value.span)
}

/// The type of a declared service.
pub fn service_type(model: &Model<'_>, id: DeclId) -> Ty {
    let DeclarationKind::Service { value, .. } = &model.decl(id).kind else { return Ty::Error };
    let Some(found) = model.find_provider(model.module(id.file), &value.path) else { return Ty::Error };
    let artifact = value.record.entries.iter().find(|entry| entry.name.text == "artifact");
    let artifacts = match artifact.map(|entry| &entry.value.kind) {
        Some(ExprKind::Construct(construct)) if model.artifact(&construct.path.names[0].text).is_some() => {
            vec![construct.path.names[0].text.to_string()]
        }
        _ => Vec::new(),
    };
    Ty::Service(ServiceTy { providers: vec![found.decl], artifacts })
}

/// The word that declares it.
pub fn kind_name(kind: &DeclarationKind) -> &'static str {
    match kind {
        DeclarationKind::Service { .. } => "service",
        DeclarationKind::Environment(_) => "environment",
        DeclarationKind::Secret(_) => "secret",
        DeclarationKind::Channel(_) => "channel",
        DeclarationKind::Group(_) => "group",
        DeclarationKind::Resource(_) => "resource",
        DeclarationKind::Workflow(_) => "workflow",
        DeclarationKind::Pipeline(_) => "pipeline",
        DeclarationKind::Provider(_) => "provider",
    }
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '-'
}
