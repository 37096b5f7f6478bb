//! Files, imports and declarations.

use super::{Build, Nodes};
use crate::ast::{
    Construct, Declaration, DeclarationKind, Docs, Environment, Import, Infrastructure, Name, Params,
    Pipeline, Provider, Record, Span, Workflow,
};
use crate::message;
use crate::place::Place;
use crate::syntax::{Pair, Rule};

impl<'s> Build<'s> {
    /// A file, or a piece of it.
    pub(super) fn file(&mut self, pair: Pair<'_>) {
        let mut members = self.members(pair, Place::File);
        while let Some(member) = self.member(&mut members) {
            let docs = self.file_docs(member.docs);
            if self.headless && member.pair.as_rule() != Rule::EOI {
                // What follows a declaration without a body was meant to be its body.
                if !self.begins_declaration(member.pair.start()) {
                    self.undocumented(docs);
                    members.due = false;
                    continue;
                }
                self.headless = false;
            }
            match member.pair.as_rule() {
                Rule::EOI => self.pending = docs,
                Rule::import => {
                    self.undocumented(docs);
                    let import = self.import(member.pair);
                    self.file.imports.extend(import);
                }
                Rule::misplaced | Rule::bad_line => {
                    self.undocumented(docs);
                    self.stray(&member.pair, Place::File);
                }
                _ => {
                    let declaration = self.declaration(member.pair, docs);
                    self.file.declarations.extend(declaration);
                }
            }
        }
    }

    /// Whether a declaration certainly begins at an offset: its line starts there, with a keyword and a name.
    fn begins_declaration(&self, at: usize) -> bool {
        (at == 0 || self.text[..at].ends_with('\n')) && crate::scan::declares(&self.text[at..])
    }

    /// Takes the `//!` lines out of documentation.
    fn file_docs(&mut self, docs: Vec<Span>) -> Vec<Span> {
        if docs.is_empty() {
            return docs;
        }
        let source = self.repaired.source;
        let is_file = |span: &Span| source[span.start as usize..].starts_with("//!");
        let (own, rest) = docs.into_iter().partition::<Vec<Span>, _>(is_file);
        if !own.is_empty() {
            self.file.docs = self.docs(own);
        }
        rest
    }

    /// `import "../common" as shared`
    fn import(&mut self, pair: Pair<'_>) -> Option<Import> {
        let span = self.span(&pair);
        let mut nodes = self.keyworded(pair, "import");
        let path = match self.take(&mut nodes, Rule::text) {
            Some(pair) => {
                let reported = self.errors.len();
                Some(self.plain(pair, "the path of an import")).filter(|_| self.errors.len() == reported)
            }
            None => {
                self.expected(nodes.end, &[Rule::text]);
                None
            }
        };
        let mut alias = None;
        if self.take(&mut nodes, Rule::as_word).is_some() {
            alias = match self.take(&mut nodes, Rule::name) {
                Some(pair) => Some(self.name(&pair)),
                None => {
                    self.expected(nodes.end, &[Rule::name]);
                    self.damage();
                    return None;
                }
            };
        }
        if let Some(junk) = self.take(&mut nodes, Rule::junk) {
            match alias {
                None => self.junk(&junk, &[Rule::as_word, Rule::space]),
                Some(_) => self.junk(&junk, &[Rule::space]),
            }
            self.damage();
        }
        let Some(Name { text, span: path_span }) = path else {
            self.damage();
            return None;
        };
        // A path whose quotes do not close was made blank, and has been reported.
        let written = &self.repaired.source[path_span.start as usize..path_span.end as usize];
        if text.trim().is_empty() && !written.trim_matches(['"', ' ']).is_empty() {
            self.damage();
            return None;
        }
        Some(Import { span, path: text, path_span, alias })
    }

    fn declaration(&mut self, pair: Pair<'_>, docs: Vec<Span>) -> Option<Declaration> {
        let rule = pair.as_rule();
        let span = self.span(&pair);
        let word = match rule {
            Rule::service => "service",
            Rule::environment => "environment",
            Rule::secret => "secret",
            Rule::channel => "channel",
            Rule::group => "group",
            Rule::resource => "resource",
            Rule::workflow => "workflow",
            Rule::pipeline => "pipeline",
            _ => "provider",
        };
        let docs = self.docs(docs);
        let keyword = Span { start: span.start, end: span.start + word.len() as u32 };
        let mut nodes = self.keyworded(pair, word);
        let name = self.label(&mut nodes);
        let reported = self.errors.len();
        let kind = match rule {
            Rule::service => {
                let params = self.head_params(&mut nodes);
                self.instance(&mut nodes).map(|value| DeclarationKind::Service { params, value })
            }
            Rule::environment => {
                let body = self.body(&mut nodes, Rule::environment_body);
                Some(DeclarationKind::Environment(
                    body.map(|body| self.environment(body)).unwrap_or_default(),
                ))
            }
            Rule::secret => self.instance(&mut nodes).map(DeclarationKind::Secret),
            Rule::channel => self.instance(&mut nodes).map(DeclarationKind::Channel),
            Rule::group => Some(DeclarationKind::Group(self.own_record(&mut nodes))),
            Rule::resource => Some(DeclarationKind::Resource(self.own_record(&mut nodes))),
            Rule::workflow => {
                let params = self.head_params(&mut nodes);
                let body = self.body(&mut nodes, Rule::workflow_body);
                let end = self.place(nodes.end, nodes.end);
                Some(DeclarationKind::Workflow(match body {
                    Some(body) => self.workflow(params, body),
                    None => Workflow { params, body: end, ..Workflow::default() },
                }))
            }
            Rule::pipeline => {
                let params = self.head_params(&mut nodes);
                let body = self.body(&mut nodes, Rule::pipeline_body);
                let end = self.place(nodes.end, nodes.end);
                Some(DeclarationKind::Pipeline(match body {
                    Some(body) => self.pipeline(params, body),
                    None => Pipeline { params, body: end, ..Pipeline::default() },
                }))
            }
            _ => {
                let body = self.body(&mut nodes, Rule::provider_body);
                let end = self.place(nodes.end, nodes.end);
                Some(DeclarationKind::Provider(match body {
                    Some(body) => self.provider(body),
                    None => Provider { body: end, ..Provider::default() },
                }))
            }
        };
        self.headless = !self.text[..nodes.end].ends_with('}');
        if name.is_none() && self.headless {
            // Where even the name is missing, that is all there is to say.
            self.errors.truncate(reported);
        } else if name.is_none() {
            // What else is wrong with the head is the same mistake: `service: web = …`.
            let start = (keyword.end as usize).min(self.repaired.source.len());
            let head =
                self.repaired.source[start..].find(['{', '\n']).map_or(usize::MAX, |length| start + length);
            let mut at = 0;
            self.errors.retain(|error| {
                at += 1;
                at <= reported || error.span.start as usize > head
            });
        }
        let Some((name, kind)) = name.zip(kind) else {
            self.damage();
            return None;
        };
        Some(Declaration { span, docs, keyword, name, kind })
    }

    /// The parameters of a declaration. Where they only follow something else they are not known.
    fn head_params(&mut self, nodes: &mut Nodes<'_>) -> Params {
        let params = self.params(nodes);
        let junk = nodes.pairs.peek().filter(|pair| pair.as_rule() == Rule::head_junk);
        if junk.is_some_and(|junk| junk.as_str().contains('(')) {
            self.broken.push(params.span);
        }
        params
    }

    /// The rest of `= PATH { … }`.
    pub(super) fn instance(&mut self, nodes: &mut Nodes<'_>) -> Option<Construct> {
        let (path, body) = self.construct(nodes, Rule::record);
        let record = body.map(|body| self.record(body));
        let path = path?;
        let end = self.place(nodes.end, nodes.end);
        let record = record.unwrap_or(Record { span: end, entries: Vec::new() });
        Some(Construct { span: path.span.to(record.span), path, record })
    }

    /// The rest of `NAME { … }`.
    pub(super) fn own_record(&mut self, nodes: &mut Nodes<'_>) -> Record {
        match self.body(nodes, Rule::record) {
            Some(body) => self.record(body),
            None => Record { span: self.place(nodes.end, nodes.end), entries: Vec::new() },
        }
    }

    fn environment(&mut self, pair: Pair<'_>) -> Environment {
        let mut environment = Environment::default();
        let mut members = self.members(pair, Place::Environment);
        while let Some(member) = self.member(&mut members) {
            let span = self.span(&member.pair);
            match member.pair.as_rule() {
                Rule::infrastructure => {
                    let docs = self.docs(member.docs);
                    environment.infrastructure.extend(self.infrastructure(member.pair, span, docs));
                }
                rule => {
                    self.undocumented(member.docs);
                    match rule {
                        Rule::setting => {
                            environment.settings.extend(self.setting(member.pair, Place::Environment))
                        }
                        _ => self.stray(&member.pair, Place::Environment),
                    }
                }
            }
        }
        environment
    }

    fn infrastructure(&mut self, pair: Pair<'_>, span: Span, docs: Docs) -> Option<Infrastructure> {
        let mut nodes = self.keyworded(pair, "infrastructure");
        let name = self.label(&mut nodes);
        let value = self.instance(&mut nodes);
        Some(Infrastructure { span, docs, name: name?, value: value? })
    }
}

impl<'s> Build<'s> {
    /// The children of a construct that starts with a keyword, which is not among them.
    pub(super) fn keyworded<'t>(&mut self, pair: Pair<'t>, word: &str) -> Nodes<'t> {
        let start = pair.start();
        let mut nodes = self.children(pair);
        nodes.end = start + word.len();
        nodes
    }

    /// A word that can never be a name stands where one should.
    #[cold]
    pub(super) fn reserved(&mut self, span: Span, word: &str) {
        let help = match word {
            "if" => "a condition is `only if CONDITION` or `skip if CONDITION`".to_owned(),
            _ => format!("choose another name, like `{word}_`"),
        };
        self.report(
            message::unexpected(span, format!("`{word}` is a reserved word"), "cannot be a name").help(help),
        );
        self.damage();
    }
}
