//! Parameters, fields and types.

use super::{Build, Nodes};
use crate::ast::{Expr, ExprKind, Fields, Name, Param, Params, Span, Type, Within};
use crate::message;
use crate::place::Place;
use crate::syntax::{Pair, Rule};

/// Types that are written as one word.
const TYPES: [&str; 8] = ["string", "int", "bool", "duration", "percent", "path", "secret", "list"];

/// Types that are made of others.
const GENERICS: [&str; 4] = ["service", "infrastructure", "list", "map"];

impl<'s> Build<'s> {
    /// `(name: type, …)`, or nothing where none is written.
    pub(super) fn params(&mut self, nodes: &mut Nodes<'_>) -> Params {
        let end = nodes.end;
        let Some(pair) = self.take(nodes, Rule::params) else {
            return Params { span: self.place(end, end), items: Vec::new() };
        };
        Params { span: self.span(&pair), items: self.param_list(pair, Place::Params) }
    }

    /// `{ name: type … }`
    pub(super) fn fields(&mut self, pair: Pair<'_>) -> Fields {
        Fields { span: self.span(&pair), items: self.param_list(pair, Place::Fields) }
    }

    fn param_list(&mut self, pair: Pair<'_>, place: Place) -> Vec<Param> {
        let mut items = Vec::with_capacity(pair.into_inner().count());
        let mut members = self.members(pair, place);
        while let Some(member) = self.member(&mut members) {
            match member.pair.as_rule() {
                Rule::param => {
                    let whole = self.span(&member.pair);
                    let outer = std::mem::replace(&mut self.scope, whole);
                    items.extend(self.param(member.pair, member.docs));
                    self.scope = outer;
                }
                _ => {
                    self.undocumented(member.docs);
                    self.stray(&member.pair, place);
                }
            }
        }
        items
    }

    fn param(&mut self, pair: Pair<'_>, docs: Vec<Span>) -> Option<Param> {
        let span = self.span(&pair);
        let mut nodes = self.children(pair);
        let name = self.next(&mut nodes)?;
        let name = self.name(&name);
        let docs = self.docs(docs);
        let mut ty = None;
        if self.take(&mut nodes, Rule::colon).is_some() {
            match self.take(&mut nodes, Rule::ty) {
                Some(pair) => ty = self.ty(pair),
                None => self.expected(nodes.end, &[Rule::ty]),
            }
        } else if self.errors.last().is_none_or(|last| last.span != name.span) {
            // `string name` has been reported, where the name stands.
            self.expected(nodes.end, &[Rule::colon]);
        }
        let mut default = None;
        self.assign(&mut nodes);
        if let Some(Rule::expr | Rule::no_value) = nodes.pairs.rule() {
            default = self.assigned(&mut nodes);
        }
        // `name = string`
        if ty.is_none()
            && let Some(Expr { kind: ExprKind::Path(path), .. }) = &default
            && let [name] = path.names.as_slice()
            && TYPES.contains(&name.text.as_str())
        {
            let (span, name) = (path.span, name.clone());
            ty = Some(Type { span, name, arguments: Vec::new(), optional: None, within: None });
            default = None;
        }
        if let Some(junk) = self.take(&mut nodes, Rule::junk) {
            if let Some(whole) =
                ty.as_ref().filter(|_| junk.as_str().starts_with('>')).and_then(|ty| self.joined(ty))
            {
                let rest = junk.as_str()[1..].trim();
                if !rest.is_empty() {
                    self.damage();
                }
                return Some(Param { span, docs, name, ty: whole, default });
            }
            self.junk(&junk, &[Rule::separator]);
            self.damage();
            if default.is_none() && junk.as_str().starts_with('[') {
                // `list[string]`: nobody knows the type.
                return None;
            }
        }
        if ty.is_none() {
            self.damage();
        }
        Some(Param { span, docs, name, ty: ty?, default })
    }

    /// `servicekubernetes>`: the type that lacks its `<`, reported and mended.
    fn joined(&mut self, ty: &Type) -> Option<Type> {
        let generic = GENERICS.iter().find(|generic| ty.name.text.starts_with(**generic))?;
        let argument = &ty.name.text[generic.len()..];
        if argument.is_empty() || !ty.arguments.is_empty() {
            return None;
        }
        let Span { start, end } = ty.name.span;
        let middle = start + generic.len() as u32;
        let message = format!("expected `<` between `{generic}` and `{argument}`");
        let at = Span { start: middle, end: middle };
        self.report(message::unexpected(ty.name.span, message, "expected `<`").replace(
            "insert `<`",
            at,
            "<",
        ));
        let name = Name { text: (*generic).into(), span: Span { start, end: middle } };
        let span = Span { start: middle, end };
        let argument = Name { text: argument.into(), span };
        let argument = Type { span, name: argument, arguments: Vec::new(), optional: None, within: None };
        Some(Type { name, arguments: vec![vec![argument]], ..ty.clone() })
    }

    /// A type as written.
    fn ty(&mut self, pair: Pair<'_>) -> Option<Type> {
        let span = self.span(&pair);
        self.nested(span, 1, |build| {
            let mut nodes = build.children(pair);
            let name = build.next(&mut nodes)?;
            let name = build.dotted(&name);
            let arguments = match build.take(&mut nodes, Rule::type_arguments) {
                Some(pair) => build.type_arguments(pair)?,
                None => Vec::new(),
            };
            let optional = build.take(&mut nodes, Rule::optional).map(|pair| build.span(&pair));
            let within = match build.take(&mut nodes, Rule::within) {
                Some(pair) => Some(build.within(pair)?),
                None => None,
            };
            Some(Type { span, name, arguments, optional, within })
        })
    }

    fn type_arguments(&mut self, pair: Pair<'_>) -> Option<Vec<Vec<Type>>> {
        let start = pair.start() + 1;
        let mut nodes = self.children(pair);
        nodes.end = start;
        let mut arguments = Some(Vec::with_capacity(1));
        while let Some(pair) = self.take(&mut nodes, Rule::alternatives) {
            let mut inner = self.children(pair);
            let mut types = Vec::with_capacity(1);
            while let Some(pair) = self.next(&mut inner) {
                match self.ty(pair) {
                    Some(ty) => types.push(ty),
                    None => arguments = None,
                }
            }
            if let Some(arguments) = &mut arguments {
                arguments.push(types);
            }
        }
        if arguments.as_ref().is_some_and(Vec::is_empty) {
            self.expected(start, &[Rule::ty]);
            arguments = None;
        } else if self.take(&mut nodes, Rule::angle).is_none() {
            self.expected(nodes.end, &[Rule::angle]);
            arguments = None;
        }
        if arguments.is_none() {
            self.damage();
        }
        arguments
    }

    /// `in ["gold", "silver"]`, `in 1..20`, `in environment_param`
    fn within(&mut self, pair: Pair<'_>) -> Option<Within> {
        let mut nodes = self.keyworded(pair, "in");
        let Some(pair) = self.next(&mut nodes) else {
            self.expected(nodes.end, &[Rule::list, Rule::range, Rule::name]);
            self.damage();
            return None;
        };
        let span = self.span(&pair);
        match pair.as_rule() {
            Rule::list => Some(Within::List(self.elements(pair, Place::List), span)),
            Rule::range => self.range(pair, span),
            _ => Some(Within::Name(self.name(&pair))),
        }
    }

    fn range(&mut self, pair: Pair<'_>, span: Span) -> Option<Within> {
        let end = pair.end();
        let mut nodes = self.children(pair);
        let low = self.next(&mut nodes)?;
        let low = self.integer(&low);
        let Some(high) = self.take(&mut nodes, Rule::number) else {
            self.expected(end, &[Rule::number]);
            self.damage();
            return None;
        };
        let (low, high) = (low?, self.integer(&high)?);
        if low > high {
            let message = format!("the range `{low}..{high}` is empty");
            let fix = format!("{high}..{low}");
            self.report(
                message::number(span, message, "no number is in it")
                    .help("the smaller number stands first; both ends belong to the range")
                    .replace(format!("write `{fix}`"), span, fix),
            );
            return Some(Within::Range(high, low, span));
        }
        Some(Within::Range(low, high, span))
    }
}
