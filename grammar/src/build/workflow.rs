//! Workflows, phases, sections, steps and barriers.

use super::Build;
use crate::ast::{
    Barrier, Condition, Docs, Item, Name, Notify, ParallelPhases, Params, Phase, Record, Rollback, Section,
    Span, Step, Steps, Use, Workflow,
};
use crate::place::Place;
use crate::syntax::{Pair, Rule};

impl<'s> Build<'s> {
    pub(super) fn workflow(&mut self, params: Params, body: Pair<'_>) -> Workflow {
        let mut workflow = Workflow { params, body: self.span(&body), ..Workflow::default() };
        let mut members = self.members(body, Place::Workflow);
        while let Some(member) = self.member(&mut members) {
            let pair = member.pair;
            if pair.as_rule() == Rule::phase {
                workflow.phases.extend(self.phase(pair, member.docs));
                continue;
            }
            self.undocumented(member.docs);
            match pair.as_rule() {
                Rule::setting => workflow.settings.extend(self.setting(pair, Place::Workflow)),
                Rule::phases => self.phases(pair, &mut workflow),
                Rule::failure => workflow.failures.extend(self.failure(pair)),
                Rule::rollback => workflow.rollbacks.extend(self.rollback(pair)),
                Rule::notify => workflow.notifies.extend(self.notify(pair)),
                Rule::use_resource => workflow.uses.extend(self.use_resource(pair)),
                _ => self.stray(&pair, Place::Workflow),
            }
        }
        workflow
    }

    /// `parallel { phase … }`
    fn phases(&mut self, pair: Pair<'_>, workflow: &mut Workflow) {
        let span = self.span(&pair);
        let keyword = first_word(span, "parallel");
        let mut nodes = self.keyworded(pair, "parallel");
        let first = workflow.phases.len();
        if let Some(body) = self.body(&mut nodes, Rule::phases_body) {
            let mut members = self.members(body, Place::Phases);
            while let Some(member) = self.member(&mut members) {
                if member.pair.as_rule() == Rule::phase {
                    workflow.phases.extend(self.phase(member.pair, member.docs));
                } else {
                    self.undocumented(member.docs);
                    self.stray(&member.pair, Place::Phases);
                }
            }
        }
        let phases = first..workflow.phases.len();
        workflow.parallel_phases.push(ParallelPhases { span, keyword, phases });
    }

    fn phase(&mut self, pair: Pair<'_>, docs: Vec<Span>) -> Option<Phase> {
        let span = self.span(&pair);
        let mut nodes = self.keyworded(pair, "phase");
        let name = self.label(&mut nodes);
        let mut phase = Phase {
            span,
            docs: self.docs(docs),
            name: name.clone().unwrap_or_else(|| nameless(span)),
            conditions: Vec::new(),
            settings: Vec::new(),
            items: Vec::new(),
            failures: Vec::new(),
            rollbacks: Vec::new(),
            uses: Vec::new(),
        };
        if let Some(body) = self.body(&mut nodes, Rule::phase_body) {
            phase.items.reserve_exact(body.into_inner().filter(|pair| is_item(pair.as_rule())).count());
            let mut members = self.members(body, Place::Phase);
            while let Some(member) = self.member(&mut members) {
                let pair = member.pair;
                if is_item(pair.as_rule()) {
                    phase.items.extend(self.item(pair, member.docs));
                    continue;
                }
                self.undocumented(member.docs);
                match pair.as_rule() {
                    Rule::condition => phase.conditions.extend(self.condition(pair)),
                    Rule::setting => phase.settings.extend(self.setting(pair, Place::Phase)),
                    Rule::failure => phase.failures.extend(self.failure(pair)),
                    Rule::rollback => phase.rollbacks.extend(self.rollback(pair)),
                    Rule::use_resource => phase.uses.extend(self.use_resource(pair)),
                    _ => self.stray(&pair, Place::Phase),
                }
            }
        }
        name.map(|_| phase)
    }

    /// A step, parallel steps, a section or a barrier.
    fn item(&mut self, pair: Pair<'_>, docs: Vec<Span>) -> Option<Item> {
        match pair.as_rule() {
            Rule::step => self.step(pair, docs).map(Item::Step),
            Rule::section => self.section(pair, docs).map(Item::Section),
            Rule::barrier => self.barrier(pair, docs).map(Item::Barrier),
            _ => {
                self.undocumented(docs);
                Some(Item::Steps(self.steps(pair)))
            }
        }
    }

    fn section(&mut self, pair: Pair<'_>, docs: Vec<Span>) -> Option<Section> {
        let span = self.span(&pair);
        let mut nodes = self.keyworded(pair, "section");
        let name = self.label(&mut nodes);
        let docs = self.docs(docs);
        let (mut conditions, mut items, mut failures) = (Vec::new(), Vec::new(), Vec::new());
        if let Some(body) = self.body(&mut nodes, Rule::section_body) {
            let mut members = self.members(body, Place::Section);
            while let Some(member) = self.member(&mut members) {
                let pair = member.pair;
                match pair.as_rule() {
                    Rule::step | Rule::steps | Rule::barrier => {
                        items.extend(self.item(pair, member.docs));
                        continue;
                    }
                    _ => self.undocumented(member.docs),
                }
                match pair.as_rule() {
                    Rule::condition => conditions.extend(self.condition(pair)),
                    Rule::failure => failures.extend(self.failure(pair)),
                    _ => self.stray(&pair, Place::Section),
                }
            }
        }
        Some(Section { span, docs, name: name?, conditions, items, failures })
    }

    /// `parallel { step … }`
    fn steps(&mut self, pair: Pair<'_>) -> Steps {
        let span = self.span(&pair);
        let mut steps = Steps { span, keyword: first_word(span, "parallel"), steps: Vec::new() };
        let mut nodes = self.keyworded(pair, "parallel");
        if let Some(body) = self.body(&mut nodes, Rule::steps_body) {
            let mut members = self.members(body, Place::Steps);
            while let Some(member) = self.member(&mut members) {
                if member.pair.as_rule() == Rule::step {
                    steps.steps.extend(self.step(member.pair, member.docs));
                } else {
                    self.undocumented(member.docs);
                    self.stray(&member.pair, Place::Steps);
                }
            }
        }
        steps
    }

    /// `step NAME = PROVIDER.STEP { … }`
    fn step(&mut self, pair: Pair<'_>, docs: Vec<Span>) -> Option<Step> {
        let span = self.span(&pair);
        let mut nodes = self.keyworded(pair, "step");
        let name = self.label(&mut nodes);
        let docs: Docs = self.docs(docs);
        let (path, body) = self.construct(&mut nodes, Rule::step_body);
        let (mut conditions, mut failures) = (Vec::new(), Vec::new());
        let mut arguments = Record { span: self.place(nodes.end, nodes.end), entries: Vec::new() };
        if let Some(body) = body {
            arguments.span = self.span(&body);
            arguments.entries.reserve_exact(body.into_inner().count());
            let mut members = self.members(body, Place::Step);
            while let Some(member) = self.member(&mut members) {
                self.undocumented(member.docs);
                let pair = member.pair;
                match pair.as_rule() {
                    Rule::entry => arguments.entries.extend(self.entry(pair)),
                    Rule::short => arguments.entries.extend(self.short(pair, Place::Step)),
                    Rule::condition => conditions.extend(self.condition(pair)),
                    Rule::failure => failures.extend(self.failure(pair)),
                    _ => self.stray(&pair, Place::Step),
                }
            }
        }
        Some(Step { span, docs, name: name?, path: path?, conditions, arguments, failures })
    }

    /// `barrier NAME { timeout = 10m }`
    fn barrier(&mut self, pair: Pair<'_>, docs: Vec<Span>) -> Option<Barrier> {
        let span = self.span(&pair);
        let mut nodes = self.keyworded(pair, "barrier");
        let name = self.label(&mut nodes);
        let docs = self.docs(docs);
        let (mut conditions, mut settings) = (Vec::new(), Vec::new());
        // The body may be missing, unless something stands where it should begin.
        let bodied = nodes.pairs.peek().is_some() || name.is_none();
        if let Some(body) = bodied.then(|| self.body(&mut nodes, Rule::barrier_body)).flatten() {
            let mut members = self.members(body, Place::Barrier);
            while let Some(member) = self.member(&mut members) {
                self.undocumented(member.docs);
                match member.pair.as_rule() {
                    Rule::condition => conditions.extend(self.condition(member.pair)),
                    Rule::setting => settings.extend(self.setting(member.pair, Place::Barrier)),
                    _ => self.stray(&member.pair, Place::Barrier),
                }
            }
        }
        Some(Barrier { span, docs, name: name?, conditions, settings })
    }

    /// `skip if E`, `only if E`
    pub(super) fn condition(&mut self, pair: Pair<'_>) -> Option<Condition> {
        let span = self.span(&pair);
        let only = pair.as_str().starts_with("only");
        let blanks = pair.as_str()[4..].len() - pair.as_str()[4..].trim_start().len();
        let start = pair.start() + 4 + blanks + 2;
        let mut nodes = self.children(pair);
        nodes.end = start;
        let value = self.detail(|build| match build.take(&mut nodes, Rule::expr) {
            Some(pair) => build.expr(pair),
            None => {
                build.expected(start, &[Rule::expr]);
                build.damage();
                None
            }
        });
        if let Some(junk) = self.take(&mut nodes, Rule::junk) {
            self.junk(&junk, &[Rule::separator]);
            self.damaging_junk(&junk);
            return None;
        }
        Some(Condition { span, only, value: value? })
    }

    /// `rollback { … }`
    fn rollback(&mut self, pair: Pair<'_>) -> Option<Rollback> {
        let span = self.span(&pair);
        let mut nodes = self.keyworded(pair, "rollback");
        let mut rollback = Rollback { span, keyword: first_word(span, "rollback"), items: Vec::new() };
        let body = self.body(&mut nodes, Rule::rollback_body)?;
        let mut members = self.members(body, Place::Rollback);
        while let Some(member) = self.member(&mut members) {
            match member.pair.as_rule() {
                Rule::misplaced | Rule::bad => {
                    self.undocumented(member.docs);
                    self.stray(&member.pair, Place::Rollback);
                }
                _ => rollback.items.extend(self.item(member.pair, member.docs)),
            }
        }
        Some(rollback)
    }

    /// `notify CHANNEL, … on EVENT, …`
    pub(super) fn notify(&mut self, pair: Pair<'_>) -> Option<Notify> {
        let span = self.span(&pair);
        let mut nodes = self.keyworded(pair, "notify");
        let channels = self.names(&mut nodes);
        let mut events = None;
        if self.take(&mut nodes, Rule::on_word).is_some() {
            events = self.names(&mut nodes);
        } else if channels.is_some() {
            self.expected(nodes.end, &[Rule::on_word]);
        }
        if let Some(junk) = self.take(&mut nodes, Rule::junk) {
            self.junk(&junk, &[Rule::separator]);
            self.damaging_junk(&junk);
            return None;
        }
        let notify = channels.zip(events).map(|(channels, events)| Notify { span, channels, events });
        if notify.is_none() {
            self.detail(Self::damage);
        }
        notify
    }

    /// What is left over behind a detail takes nothing with it, unless it has braces in which steps may stand.
    fn damaging_junk(&mut self, junk: &Pair<'_>) {
        match junk.as_str().contains('{') {
            true => self.damage(),
            false => self.detail(Self::damage),
        }
    }

    /// Names between commas.
    pub(super) fn names(&mut self, nodes: &mut super::Nodes<'_>) -> Option<Vec<Name>> {
        let Some(pair) = self.take(nodes, Rule::names) else {
            self.expected(nodes.end, &[Rule::names]);
            return None;
        };
        let mut inner = self.children(pair);
        let mut names = Vec::with_capacity(pair.into_inner().count());
        while let Some(pair) = self.next(&mut inner) {
            names.push(self.dotted(&pair));
        }
        Some(names)
    }

    /// `use RESOURCE { permits = 1 }`
    fn use_resource(&mut self, pair: Pair<'_>) -> Option<Use> {
        let span = self.span(&pair);
        let mut nodes = self.keyworded(pair, "use");
        let resource = match self.take(&mut nodes, Rule::path) {
            Some(pair) => Some(self.path(&pair)),
            None => {
                self.expected(nodes.end, &[Rule::path]);
                self.damage();
                None
            }
        };
        let record = self.take(&mut nodes, Rule::record).map(|pair| self.record(pair));
        if let Some(junk) = self.take(&mut nodes, Rule::junk) {
            match record {
                None => self.junk(&junk, &[Rule::record, Rule::separator]),
                Some(_) => self.junk(&junk, &[Rule::separator]),
            }
            self.damaging_junk(&junk);
        }
        Some(Use { span, resource: resource?, record })
    }
}

/// Whether a member of a phase is one of its items.
fn is_item(rule: Rule) -> bool {
    matches!(rule, Rule::step | Rule::steps | Rule::section | Rule::barrier)
}

/// Where the keyword of a construct stands.
pub(super) fn first_word(span: Span, word: &str) -> Span {
    Span { start: span.start, end: span.start + word.len() as u32 }
}

/// The name of something that is not kept.
fn nameless(span: Span) -> Name {
    Name { text: Default::default(), span }
}
