//! Pipelines, stages, parallel groups, lanes, loops and approvals.

use super::Build;
use super::workflow::first_word;
use crate::ast::{Approval, Expr, For, Lane, Parallel, Params, Pipeline, PipelineItem, Record, Span, Stage};
use crate::message;
use crate::place::Place;
use crate::syntax::{Pair, Rule};

impl<'s> Build<'s> {
    pub(super) fn pipeline(&mut self, params: Params, body: Pair<'_>) -> Pipeline {
        let mut pipeline = Pipeline { params, body: self.span(&body), ..Pipeline::default() };
        let mut members = self.members(body, Place::Pipeline);
        while let Some(member) = self.member(&mut members) {
            match member.pair.as_rule() {
                Rule::failure => {
                    self.undocumented(member.docs);
                    pipeline.failures.extend(self.failure(member.pair));
                }
                Rule::notify => {
                    self.undocumented(member.docs);
                    pipeline.notifies.extend(self.notify(member.pair));
                }
                _ => pipeline.items.extend(self.pipeline_item(member.pair, member.docs, Place::Pipeline)),
            }
        }
        pipeline
    }

    fn pipeline_items(&mut self, body: Pair<'_>, place: Place) -> Vec<PipelineItem> {
        let mut items = Vec::with_capacity(body.into_inner().count());
        let mut members = self.members(body, place);
        while let Some(member) = self.member(&mut members) {
            items.extend(self.pipeline_item(member.pair, member.docs, place));
        }
        items
    }

    fn pipeline_item(&mut self, pair: Pair<'_>, docs: Vec<Span>, place: Place) -> Option<PipelineItem> {
        match pair.as_rule() {
            Rule::stage => return self.stage(pair, docs).map(PipelineItem::Stage),
            Rule::approval if place != Place::ParallelFor => {
                return self.approval(pair, docs).map(PipelineItem::Approval);
            }
            Rule::lane if place != Place::For => return self.lane(pair, docs).map(PipelineItem::Lane),
            _ => self.undocumented(docs),
        }
        match pair.as_rule() {
            Rule::parallel => Some(PipelineItem::Parallel(self.parallel(pair))),
            Rule::for_each => {
                let inner = if place == Place::Parallel { Place::ParallelFor } else { Place::For };
                self.for_each(pair, inner).map(PipelineItem::For)
            }
            _ => {
                self.stray(&pair, place);
                None
            }
        }
    }

    /// `stage NAME[index] = WORKFLOW { … }`
    fn stage(&mut self, pair: Pair<'_>, docs: Vec<Span>) -> Option<Stage> {
        let span = self.span(&pair);
        let mut nodes = self.keyworded(pair, "stage");
        let name = self.label(&mut nodes);
        let docs = self.docs(docs);
        let index = self.index(&mut nodes);
        let (path, body) = self.construct(&mut nodes, Rule::stage_body);
        let mut conditions = Vec::new();
        let mut arguments = Record { span: self.place(nodes.end, nodes.end), entries: Vec::new() };
        if let Some(body) = body {
            arguments.span = self.span(&body);
            arguments.entries.reserve_exact(body.into_inner().count());
            let mut members = self.members(body, Place::Stage);
            while let Some(member) = self.member(&mut members) {
                self.undocumented(member.docs);
                let pair = member.pair;
                match pair.as_rule() {
                    Rule::entry => arguments.entries.extend(self.entry(pair)),
                    Rule::short => arguments.entries.extend(self.short(pair, Place::Stage)),
                    Rule::condition => conditions.extend(self.condition(pair)),
                    _ => self.stray(&pair, Place::Stage),
                }
            }
        }
        Some(Stage { span, docs, name: name?, index: index?, path: path?, conditions, arguments })
    }

    /// `[index]`, if there is one.
    fn index(&mut self, nodes: &mut super::Nodes<'_>) -> Option<Option<Expr>> {
        match self.take(nodes, Rule::index) {
            None => Some(None),
            Some(pair) => self.bracketed(pair, Rule::closing_bracket).map(Some),
        }
    }

    fn approval(&mut self, pair: Pair<'_>, docs: Vec<Span>) -> Option<Approval> {
        let span = self.span(&pair);
        let mut nodes = self.keyworded(pair, "approval");
        let name = self.label(&mut nodes);
        let docs = self.docs(docs);
        let record = self.own_record(&mut nodes);
        Some(Approval { span, docs, name: name?, record })
    }

    /// `parallel max N all_or_nothing { … }`
    fn parallel(&mut self, pair: Pair<'_>) -> Parallel {
        let span = self.span(&pair);
        let keyword = first_word(span, "parallel");
        let mut parallel = Parallel { span, keyword, max: None, all_or_nothing: None, items: Vec::new() };
        let mut nodes = self.keyworded(pair, "parallel");
        loop {
            if let Some(pair) = self.take(&mut nodes, Rule::max) {
                let span = self.span(&pair);
                if parallel.max.is_some() || parallel.all_or_nothing.is_some() {
                    self.report(message::unexpected(
                        span,
                        "`max` stands once, right after `parallel`",
                        "not here",
                    ));
                }
                let mut inner = self.keyworded(pair, "max");
                match self.take(&mut inner, Rule::number) {
                    Some(number) => {
                        parallel.max = self.count(&number).map(|count| (count, self.span(&number)))
                    }
                    None => {
                        self.expected(inner.end, &[Rule::number]);
                        self.damage();
                    }
                }
            } else if let Some(pair) = self.take(&mut nodes, Rule::all_or_nothing) {
                let span = self.span(&pair);
                if parallel.all_or_nothing.replace(span).is_some() {
                    self.report(message::unexpected(span, "`all_or_nothing` stands once", "a second time"));
                }
            } else {
                break;
            }
        }
        if let Some(body) = self.body(&mut nodes, Rule::parallel_body) {
            parallel.items = self.pipeline_items(body, Place::Parallel);
        }
        parallel
    }

    fn lane(&mut self, pair: Pair<'_>, docs: Vec<Span>) -> Option<Lane> {
        let span = self.span(&pair);
        let mut nodes = self.keyworded(pair, "lane");
        let name = self.label(&mut nodes);
        let docs = self.docs(docs);
        let index = self.index(&mut nodes);
        let body = self.body(&mut nodes, Rule::lane_body);
        let items = body.map(|body| self.pipeline_items(body, Place::Lane)).unwrap_or_default();
        Some(Lane { span, docs, name: name?, index: index?, items })
    }

    /// `for x in LIST { … }`
    fn for_each(&mut self, pair: Pair<'_>, place: Place) -> Option<For> {
        let span = self.span(&pair);
        let mut nodes = self.keyworded(pair, "for");
        let name = match self.take(&mut nodes, Rule::name) {
            Some(pair) => Some(self.name(&pair)),
            None => {
                self.expected(nodes.end, &[Rule::name]);
                None
            }
        };
        let mut list = None;
        if self.take(&mut nodes, Rule::in_word).is_none() {
            self.expected(nodes.end, &[Rule::in_word]);
        } else if let Some(Rule::list | Rule::path) = nodes.pairs.rule() {
            if let Some(pair) = self.next(&mut nodes) {
                list = self.primary(pair, &mut nodes);
            }
        } else {
            self.expected(nodes.end, &[Rule::loop_named]);
        }
        let body = self.body(&mut nodes, Rule::for_body);
        let items = body.map(|body| self.pipeline_items(body, place)).unwrap_or_default();
        if name.is_none() || list.is_none() {
            self.damage();
        }
        Some(For { span, name: name?, list: list?, items })
    }
}
