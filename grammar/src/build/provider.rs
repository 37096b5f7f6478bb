//! Providers: fields, artifact types and step signatures.

use super::Build;
use crate::ast::{ArtifactType, Fields, Name, Provider, Signature, Span};
use crate::message;
use crate::place::Place;
use crate::syntax::{Pair, Rule};

impl<'s> Build<'s> {
    pub(super) fn provider(&mut self, body: Pair<'_>) -> Provider {
        let mut provider = Provider { body: self.span(&body), ..Provider::default() };
        let mut members = self.members(body, Place::Provider);
        while let Some(member) = self.member(&mut members) {
            let pair = member.pair;
            match pair.as_rule() {
                Rule::signature => {
                    provider.steps.extend(self.signature(pair, member.docs));
                    continue;
                }
                Rule::artifact => {
                    provider.artifacts.extend(self.artifact(pair, member.docs));
                    continue;
                }
                _ => self.undocumented(member.docs),
            }
            match pair.as_rule() {
                Rule::setting => provider.settings.extend(self.setting(pair, Place::Provider)),
                Rule::service_fields => self.own_fields(pair, "service", &mut provider.service),
                Rule::infrastructure_fields => {
                    self.own_fields(pair, "infrastructure", &mut provider.infrastructure)
                }
                _ => self.stray(&pair, Place::Provider),
            }
        }
        provider
    }

    /// `service { … }`, once in a provider.
    fn own_fields(&mut self, pair: Pair<'_>, word: &str, slot: &mut Option<Fields>) {
        let span = self.span(&pair);
        let mut nodes = self.keyworded(pair, word);
        let Some(pair) = self.take(&mut nodes, Rule::fields) else { return };
        let fields = self.fields(pair);
        if let Some(first) = slot {
            let message = format!("a provider describes its `{word}` once");
            self.report(
                message::unexpected(super::workflow::first_word(span, word), message, "a second time")
                    .related(first.span, "here already")
                    .help("put all fields into one block"),
            );
            first.items.extend(fields.items);
            return;
        }
        *slot = Some(fields);
    }

    fn artifact(&mut self, pair: Pair<'_>, docs: Vec<Span>) -> Option<ArtifactType> {
        let span = self.span(&pair);
        let mut nodes = self.keyworded(pair, "artifact");
        let name = self.label(&mut nodes);
        let docs = self.docs(docs);
        let fields = self.body(&mut nodes, Rule::fields).map(|pair| self.fields(pair)).unwrap_or_default();
        Some(ArtifactType { span, docs, name: name?, fields })
    }

    /// `step NAME(params) -> { outputs } { … }`
    fn signature(&mut self, pair: Pair<'_>, docs: Vec<Span>) -> Option<Signature> {
        let span = self.span(&pair);
        let mut nodes = self.keyworded(pair, "step");
        let name = self.label(&mut nodes);
        let docs = self.docs(docs);
        let params = self.params(&mut nodes);
        let mut outputs = None;
        if self.take(&mut nodes, Rule::arrow).is_some() {
            match self.take(&mut nodes, Rule::fields) {
                Some(pair) => outputs = Some(self.fields(pair)),
                None => {
                    self.expected(nodes.end, &[Rule::fields]);
                    self.damage();
                }
            }
        }
        let name = name.unwrap_or_else(|| crate::ast::Name { text: Default::default(), span });
        let mut signature = Signature {
            span,
            docs,
            name,
            params,
            outputs,
            changes: None,
            undone_by: None,
            irreversible: None,
            settings: Vec::new(),
        };
        if nodes.pairs.peek().is_some()
            && let Some(body) = self.body(&mut nodes, Rule::signature_body)
        {
            self.signature_body(body, &mut signature);
        }
        Some(signature).filter(|signature| !signature.name.text.is_empty())
    }

    fn signature_body(&mut self, body: Pair<'_>, signature: &mut Signature) {
        let mut members = self.members(body, Place::Signature);
        while let Some(member) = self.member(&mut members) {
            self.undocumented(member.docs);
            let pair = member.pair;
            let span = self.span(&pair);
            if let Some(name) = self.undone_by(&pair) {
                signature.undone_by = Some(name);
                continue;
            }
            if self.changes_by_value(&pair) {
                signature.changes = Some(span);
                continue;
            }
            match pair.as_rule() {
                Rule::setting => signature.settings.extend(self.setting(pair, Place::Signature)),
                Rule::changes => {
                    signature.changes = Some(span);
                    self.tail(pair);
                }
                Rule::irreversible => {
                    signature.irreversible = Some(span);
                    self.tail(pair);
                }
                Rule::undone => {
                    let blanks = pair.as_str()[6..].len() - pair.as_str()[6..].trim_start().len();
                    let start = pair.start() + 6 + blanks + 2;
                    let mut nodes = self.children(pair);
                    nodes.end = start;
                    match self.take(&mut nodes, Rule::name) {
                        Some(name) => signature.undone_by = Some(self.name(&name)),
                        None => {
                            self.expected(start, &[Rule::name]);
                            self.damage();
                        }
                    }
                    self.tail(pair);
                }
                _ => self.stray(&pair, Place::Signature),
            }
        }
    }

    /// `undone_by NAME`, as steps of a workflow spell it.
    fn undone_by(&mut self, pair: &Pair<'_>) -> Option<Name> {
        let rest = pair.as_str().strip_prefix("undone_by")?;
        let name = rest.trim_start_matches([' ', '\t', '=', ':']);
        let length = name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(name.len());
        if length == 0 || name.len() == rest.len() || !name[length..].trim().is_empty() {
            return None;
        }
        let (name, more) = name.split_at(length);
        let end = pair.start() + pair.as_str().len() - more.len();
        let span = self.place(pair.start(), end);
        let message = "what undoes a step is declared with `undone by`";
        let fixed = format!("undone by {name}");
        self.report(message::spelling(span, message, "two words").replace(
            format!("write `{fixed}`"),
            span,
            fixed,
        ));
        Some(Name { text: name.into(), span: self.place(end - length, end) })
    }

    /// `changes = true`, as steps of a workflow spell it.
    fn changes_by_value(&mut self, pair: &Pair<'_>) -> bool {
        let Some(rest) = pair.as_str().strip_prefix("changes") else { return false };
        let value = rest.trim().trim_start_matches(['=', ':']).trim();
        if value.len() == rest.trim().len() || !matches!(value, "true" | "target") {
            return false;
        }
        let span = self.span(pair);
        let message = "that a step changes its target is declared with `changes target`";
        let error = message::spelling(span, message, "nothing to be set");
        self.report(error.replace("write `changes target`", span, "changes target"));
        true
    }

    /// Reports what is left over behind a short rule.
    fn tail(&mut self, pair: Pair<'_>) {
        if let Some(junk) = pair.into_inner().find(|part| part.as_rule() == Rule::junk) {
            self.junk(&junk, &[Rule::separator]);
            self.damage();
        }
    }
}
