//! Records, their entries, and settings.

use super::{Build, Nodes};
use crate::ast::{Construct, Entry, Expr, ExprKind, Name, Path, Record, Setting, Span};
use crate::message;
use crate::place::Place;
use crate::syntax::{Pair, Rule};

/// `resource "type" "name" { … }`
const TWO_NAMES: &str = "a block has one name, without quotes";

impl<'s> Build<'s> {
    /// `{ a = 1, version }`
    pub(super) fn record(&mut self, pair: Pair<'_>) -> Record {
        let entries = Vec::with_capacity(pair.into_inner().count());
        let mut record = Record { span: self.span(&pair), entries };
        let mut members = self.members(pair, Place::Record);
        while let Some(member) = self.member(&mut members) {
            self.undocumented(member.docs);
            match member.pair.as_rule() {
                Rule::entry => record.entries.extend(self.entry(member.pair)),
                Rule::short if member.pair.as_str().starts_with('"') && !record.entries.is_empty() => {
                    // `members = "a", "b"`: the value before is not whole.
                    record.entries.pop();
                    self.short(member.pair, Place::Record);
                    if let Some(error) = self.errors.last_mut() {
                        error.help = Some(super::expression::LIST.into());
                    }
                }
                Rule::short => record.entries.extend(self.short(member.pair, Place::Record)),
                _ => self.stray(&member.pair, Place::Record),
            }
        }
        record
    }

    /// `a = 1`, `"b.c/d" = 2`
    pub(super) fn entry(&mut self, pair: Pair<'_>) -> Option<Entry> {
        let span = self.span(&pair);
        let mut nodes = self.children(pair);
        let (name, quoted) = self.key(&mut nodes)?;
        if message::is_reserved(&name.text) && self.foreign_key(&name) {
            return None;
        }
        let value = self.value(&mut nodes, &name)?;
        Some(Entry { span, name, quoted, value, short: false })
    }

    /// `version`
    pub(super) fn short(&mut self, pair: Pair<'_>, place: Place) -> Option<Entry> {
        let mut nodes = self.children(pair);
        let (name, quoted) = self.key(&mut nodes)?;
        let junk = self.take(&mut nodes, Rule::junk);
        if quoted || junk.is_some() {
            let at = nodes.end;
            match junk {
                Some(_) => self.unknown_member(pair.start(), place),
                None => self.expected(at, &[Rule::equals]),
            }
            self.damage();
            if quoted {
                // A value without a name, which may be any.
                self.broken.push(self.scope);
            }
            return None;
        }
        let span = name.span;
        let path = Path { names: vec![name.clone()], span };
        Some(Entry { span, name, quoted, value: Expr { span, kind: ExprKind::Path(path) }, short: true })
    }

    /// `timeout = 10m`
    pub(super) fn setting(&mut self, pair: Pair<'_>, place: Place) -> Option<Setting> {
        let span = self.span(&pair);
        let mut nodes = self.children(pair);
        let (name, _) = self.key(&mut nodes)?;
        let end = nodes.end;
        if message::is_reserved(&name.text) && self.foreign_key(&name) {
            return None;
        }
        let is_yaml = nodes.pairs.peek().is_some_and(|pair| pair.as_str() == ":");
        if is_yaml && matches!(name.text.as_str(), "use" | "notify") {
            let help = match name.text.as_str() {
                "use" => "write `use RESOURCE`, or `use RESOURCE { permits = 2 }`",
                _ => "write `notify CHANNEL on EVENT, …`",
            };
            let message = format!("`{}` is nothing to be set", name.text);
            self.report(message::spelling(name.span, message, "not Lockstep").help(help));
            self.damage();
            return None;
        }
        let keyword =
            matches!(name.text.as_str(), "phase" | "step" | "section" | "barrier" | "infrastructure");
        if keyword && is_yaml {
            self.expected(end, &[Rule::name]);
            self.damage();
            return None;
        }
        let reported = self.errors.len();
        let value = self.value(&mut nodes, &name);
        let value = value?;
        let word = match place {
            Place::Environment => Some("infrastructure"),
            Place::Phase => Some("step").filter(|_| !matches!(name.text.as_str(), "service" | "infra")),
            _ => None,
        };
        if let Some(word) = word.filter(|_| !keyword)
            && let ExprKind::Construct(Construct { path: Path { span, .. }, .. })
            | ExprKind::Call { name: Name { span, .. }, .. } = value.kind
        {
            // All that is wrong with `name: shell { … }` is that it says nothing of a step.
            self.errors.truncate(reported);
            self.without_keyword(&name, word, span);
            return None;
        }
        if keyword && matches!(value.kind, ExprKind::Construct(_) | ExprKind::Record(_)) {
            // What may stand in it, and in no record.
            let inside = self.errors.split_off(reported);
            self.errors.extend(inside.into_iter().filter(|error| error.rule != "syntax/place"));
            self.expected(end, &[Rule::name]);
            self.damage();
            return None;
        }
        Some(Setting { span, name, value })
    }

    /// `say = shell { … }`, its keyword forgotten.
    fn without_keyword(&mut self, name: &Name, word: &str, path: Span) {
        let path = &self.repaired.source[path.start as usize..path.end as usize];
        let message = format!("`{}` says nothing of what it is", name.text);
        let error = message::unexpected(name.span, message, format!("expected `{word}`"));
        self.report(error.help(format!("write `{word} {} = {path} {{ … }}`", name.text)));
        self.damage();
    }

    /// `if = …`: advice in place of the report that the name is reserved, which is the last one.
    fn foreign_key(&mut self, name: &Name) -> bool {
        let Some(error) = crate::recover::foreign_entry(&name.text, name.span) else { return false };
        if self.errors.last().is_some_and(|last| last.span == name.span) {
            self.errors.pop();
        }
        self.report(error);
        self.damage();
        true
    }

    fn key(&mut self, nodes: &mut Nodes<'_>) -> Option<(Name, bool)> {
        let key = self.next(nodes)?;
        match key.as_rule() {
            Rule::name => Some((self.name(&key), false)),
            _ => Some((self.plain(key, "a key"), true)),
        }
    }

    /// What follows a key: a value, unless it is another language's.
    fn value(&mut self, nodes: &mut Nodes<'_>, name: &Name) -> Option<Expr> {
        let colon = nodes.pairs.rule() == Some(Rule::wrong_assign);
        if colon && self.indented_block(nodes, name) {
            return None;
        }
        if colon && let Some(error) = crate::recover::foreign_entry(&name.text, name.span) {
            self.report(error);
            self.damage();
            return None;
        }
        self.detail(|build| build.whole_value(nodes, colon))
    }

    /// `=` (or what was written for it), the value, and what is left over.
    fn whole_value(&mut self, nodes: &mut Nodes<'_>, colon: bool) -> Option<Expr> {
        self.assign(nodes);
        let reported = self.errors.len();
        let value = self.assigned(nodes);
        if let Some(junk) = self.take(nodes, Rule::junk) {
            self.junk(&junk, &[Rule::separator]);
            // What an operator at the end of a line would join stands on the lines below.
            if junk.as_str().trim_end().ends_with(['+', '-', '*', '/', '\\', '.', '?']) {
                self.mute(junk.start());
            }
            // What follows the value was probably meant to be part of it, so nobody knows the value.
            self.damage();
            self.one_mistake(colon, reported);
            return None;
        }
        if value.is_none() {
            self.one_mistake(colon, reported);
        }
        value
    }

    /// `script: echo hi`, `script: ./a.sh` are one mistake: that of another language.
    fn one_mistake(&mut self, colon: bool, reported: usize) {
        if !colon || self.errors.len() == reported || reported == 0 {
            return;
        }
        let help = self.errors.drain(reported..).find_map(|error| error.help);
        if let Some(error) = self.errors.last_mut() {
            error.help = help.or_else(|| Some("text stands in quotes".into()));
            error.fix = None;
        }
    }

    /// `name:` and nothing else on its line: a block by indentation.
    fn indented_block(&mut self, nodes: &mut Nodes<'_>, name: &Name) -> bool {
        let Some(colon) = nodes.pairs.peek().filter(|pair| pair.as_str() == ":") else { return false };
        let at = colon.end();
        if message::token(self.text, at).text != "\n" {
            return false;
        }
        let span = name.span.to(self.span(&colon));
        let word = &name.text;
        self.report(crate::recover::no_block(span, word));
        self.mute(at);
        self.damage();
        true
    }

    /// The value after `=`.
    pub(super) fn assigned(&mut self, nodes: &mut Nodes<'_>) -> Option<Expr> {
        if let Some(pair) = self.take(nodes, Rule::expr) {
            if pair.as_str().starts_with("{{") {
                let span = self.span(&pair);
                self.report(
                    message::spelling(span, "there is no `{{ … }}`", "not Lockstep")
                        .help("a name stands for its value by itself; in text write `${name}`"),
                );
                self.damage();
                return None;
            }
            return self.expr(pair);
        }
        self.take(nodes, Rule::no_value);
        self.expected(nodes.end, &[Rule::value]);
        self.damage();
        let next = self.text[nodes.end..].trim_start();
        if next.starts_with("- ")
            && let Some(error) = self.errors.last_mut()
        {
            // A list by dashes: the lines below belong to it.
            error.help = Some("lists are not written with dashes: a list is `[a, b]`".into());
            self.mute(nodes.end);
        }
        None
    }

    /// Says so where something else than `=` was written.
    pub(super) fn assign(&mut self, nodes: &mut Nodes<'_>) {
        let end = nodes.end;
        let Some(pair) = self.take(nodes, Rule::wrong_assign) else {
            // The sign itself is not among the pairs.
            let rest = &self.text.as_bytes()[end..];
            let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r')).count();
            if rest.get(blanks) == Some(&b'=') && rest.get(blanks + 1) != Some(&b'=') {
                nodes.end = end + blanks + 1;
            }
            return;
        };
        let span = self.span(&pair);
        let sign = pair.as_str();
        let tight = pair.start() == end;
        let loose = self.text[pair.end()..].starts_with([' ', '\n', '\r', '\t']);
        let fixed = match (tight, loose) {
            (true, true) => " =",
            (true, false) => " = ",
            _ => "=",
        };
        self.report(
            message::spelling(span, format!("a value is given with `=`, not with `{sign}`"), "write `=`")
                .replace("write `=`", span, fixed),
        );
    }

    /// A text that may hold no expressions.
    pub(super) fn plain(&mut self, pair: Pair<'_>, what: &str) -> Name {
        let span = self.span(&pair);
        let hole = pair.into_inner().find(|part| part.as_rule() == Rule::hole);
        if let Some(hole) = hole {
            let span = self.span(&hole);
            let message = format!("{what} is plain text, without `${{…}}`");
            self.report(message::text(span, message, "nothing can be interpolated here"));
            self.damage();
        }
        let text = self.text(pair).parts.into_iter().fold(String::new(), |mut text, part| {
            if let crate::ast::TextPart::Literal(literal) = part {
                text.push_str(&literal);
            }
            text
        });
        Name { text: text.into(), span }
    }

    /// The name after a keyword. Quotes around it are forgiven, once reported.
    pub(super) fn label(&mut self, nodes: &mut Nodes<'_>) -> Option<Name> {
        if let Some(pair) = self.take(nodes, Rule::name) {
            return Some(self.name(&pair));
        }
        let Some(pair) = self.take(nodes, Rule::text) else {
            self.expected(nodes.end, &[Rule::name]);
            self.damage();
            return None;
        };
        let name = self.plain(pair, "a name");
        if message::token(self.text, nodes.end).text.starts_with('"') {
            let error = message::spelling(name.span, TWO_NAMES, "not Lockstep");
            self.report(error.help("what it is made of follows a `=`: `KIND NAME = PROVIDER { … }`"));
            self.take(nodes, Rule::head_junk);
            self.damage();
            return None;
        }
        let error = message::spelling(name.span, "a name is written without quotes", "remove the quotes");
        let word = name.text.as_str();
        if crate::recover::is_name(word) {
            let fixed = word.to_owned();
            self.report(error.replace("remove the quotes", name.span, fixed));
            return Some(name);
        }
        self.report(error.help("a name is a letter or `_`, then letters, digits, `_`, and inner `-`"));
        self.damage();
        None
    }

    /// The rest of `= PATH { … }`: the path, and the pair that holds the body.
    pub(super) fn construct<'t>(
        &mut self,
        nodes: &mut Nodes<'t>,
        body: Rule,
    ) -> (Option<Path>, Option<Pair<'t>>) {
        self.assign(nodes);
        let mut path = None;
        if let Some(pair) = self.take(nodes, Rule::path) {
            path = Some(self.path(&pair));
        } else if self.take(nodes, Rule::no_value).is_some() {
            self.expected(nodes.end, &[Rule::path]);
        } else {
            path = self.unassigned(nodes);
        }
        if let Some(path) = &mut path {
            self.rest_of_path(nodes, path);
        }
        if path.is_none() {
            self.damage();
        }
        (path, self.body(nodes, body))
    }

    /// `kubernetes promote {`, `kubernetes::promote {`: a name behind a path that belongs to it.
    fn rest_of_path(&mut self, nodes: &mut Nodes<'_>, path: &mut Path) {
        let Some(junk) = nodes.pairs.peek().filter(|pair| pair.as_rule() == Rule::head_junk) else { return };
        let text = junk.as_str().trim_end();
        let name = text.trim_start_matches([':', '/', '.', ' ', '\t']);
        if !crate::recover::is_name(name) || self.begins_another(junk.start()) {
            return;
        }
        self.take(nodes, Rule::head_junk);
        let end = junk.start() + text.len();
        let span = self.place(end - name.len(), end);
        let gap = Span { start: path.span.end, end: span.start };
        let name = Name { text: name.into(), span };
        let error = match path.names.as_slice() {
            [only]
                if matches!(only.text.as_str(), "workflow" | "service" | "step" | "new" | "call" | "run") =>
            {
                let word = only.clone();
                path.names.clear();
                let error =
                    message::unexpected(word.span, format!("`{}` says nothing here", word.text), "not here");
                error.replace("remove it", Span { start: word.span.start, end: span.start }, "")
            }
            _ => {
                message::unexpected(span, format!("expected `.` before `{}`", name.text), "a name of its own")
                    .replace("write `.`", gap, ".")
            }
        };
        self.report(error);
        path.names.push(name);
        path.span = path.names[0].span.to(span);
    }

    /// `NAME PATH { … }`, the `=` forgotten.
    fn unassigned(&mut self, nodes: &mut Nodes<'_>) -> Option<Path> {
        let end = nodes.end;
        // A quoted name, and a block right behind it, is how another language writes the whole.
        let at = self.place(end, end);
        if self.errors.last().is_some_and(|last| last.rule == "syntax/spelling" && last.span.end == at.end) {
            self.errors.pop();
        }
        if self.errors.last().is_some_and(|last| last.message == TWO_NAMES) {
            return None;
        }
        self.expected(end, &[Rule::equals]);
        let junk = self.take(nodes, Rule::head_junk)?;
        let word = junk.as_str().trim_end();
        if !word.split('.').all(crate::recover::is_name) {
            return None;
        }
        let mut start = junk.start();
        let first = self.place(start, start);
        if let Some(error) = self.errors.last_mut() {
            error.fix = Some(("insert `=`".into(), vec![(first, "= ".into())]));
        }
        let mut names = Vec::new();
        for text in word.split('.') {
            names.push(Name { text: text.into(), span: self.place(start, start + text.len()) });
            start += text.len() + 1;
        }
        let span = Span { start: first.start, end: names.last()?.span.end };
        Some(Path { names, span })
    }

    /// The pair of a body, after whatever should not stand before its brace.
    pub(super) fn body<'t>(&mut self, nodes: &mut Nodes<'t>, rule: Rule) -> Option<Pair<'t>> {
        if nodes.pairs.rule() == Some(rule) {
            return self.take(nodes, rule);
        }
        let head = nodes.end;
        let junk = self.take(nodes, Rule::head_junk);
        if let Some(junk) = &junk {
            let word = message::token(self.text, junk.start()).text;
            let member = rule == Rule::barrier_body
                && matches!(word, "barrier" | "section" | "parallel" | "rollback" | "use" | "skip" | "only");
            if member || self.begins_another(junk.start()) {
                self.braces_of_another(nodes, rule, head, junk);
                return None;
            }
            self.junk(junk, &[Rule::opening_brace]);
            self.broken.push(self.span(junk));
        }
        let before = nodes.end;
        if self.take(nodes, Rule::late).is_some() {
            let at = nodes.end;
            let brace = self.place(at, at + 1);
            let gap = self.place(before, at);
            let error = message::unexpected(
                brace,
                "`{` must stand on the line of what it belongs to",
                "on a new line",
            );
            // A comment in between has to stay.
            let blank = self.text[before..at].trim().is_empty();
            self.report(if blank { error.replace("move `{` up", gap, " ") } else { error });
        }
        let body = self.take(nodes, rule);
        if body.is_none() {
            if junk.is_none() {
                self.expected(before, &[Rule::opening_brace]);
            }
            self.missing_body(nodes.end, junk.is_some());
            self.broken.push(self.place(nodes.end, nodes.end));
        }
        body
    }

    /// Whether `step t = …` or the like stands there, so that braces which follow are no body of what stands before.
    fn begins_another(&self, start: usize) -> bool {
        let word = message::token(self.text, start);
        let name = message::token(self.text, word.end());
        let keyword =
            matches!(word.text, "step" | "stage" | "infrastructure" | "service" | "secret" | "channel");
        keyword && crate::recover::is_name(name.text) && message::token(self.text, name.end()).text == "="
    }

    /// `barrier b step t = shell { … }`: one report, and nothing is said about what stands in the braces.
    fn braces_of_another(&mut self, nodes: &mut Nodes<'_>, rule: Rule, head: usize, junk: &Pair<'_>) {
        if rule == Rule::barrier_body {
            self.unseparated(Place::Phase, head, junk.start());
        } else {
            self.junk(junk, &[Rule::opening_brace]);
            self.broken.push(self.place(head, head));
        }
        self.take(nodes, Rule::late);
        self.take(nodes, rule);
        self.damage();
    }

    /// A body is missing: the rest of the line, and deeper lines that follow, were meant to be in it.
    pub(crate) fn missing_body(&mut self, end: usize, junk: bool) {
        if junk || message::token(self.text, end).text == "\n" {
            self.mute(end);
            self.missing_bodies.push((self.place(end, end).start, self.indent(end)));
        }
    }
}
