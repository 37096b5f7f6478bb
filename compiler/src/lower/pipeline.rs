//! Lowering of pipelines: items, groups, lanes, loops, approvals.

use super::Lowerer;
use super::things::short_name;
use super::value::{Frame, Val};
use crate::checks;
use crate::model::DeclId;
use crate::types::Ty;
use foldhash::HashMap;
use lockstep_grammar::ast::{self, DeclarationKind, ExprKind, PipelineItem};
use lockstep_plan::{
    Approval, ApprovalId, Barrier, BarrierId, BarrierKind, Branch, Expr, Group, Item, ItemId, Notify,
    NotifyEvent, Part, Place, PlaceId, Value,
};

/// What a stage or an approval costs, in the units of the budget.
const PART: usize = 48;

impl<'p> Lowerer<'_, 'p> {
    /// Lowers a whole pipeline.
    pub fn pipeline(&mut self, id: DeclId, mut values: HashMap<String, Val>) {
        let DeclarationKind::Pipeline(pipeline) = &self.model.decl(id).kind else { return };
        self.root = self.model.module(id.file);
        self.plan.pipeline = self.model.name(id).to_string();
        let infos = self.model.params(id.file, &pipeline.params.items);
        let mut frame = Frame::of(id.file);
        for info in infos.iter() {
            let name = info.name();
            let default = info.param.default.as_ref().map(|default| self.eval(default, &info.ty, &frame));
            let value = if self.open {
                if let Some(value) = default.as_ref().and_then(Val::as_value) {
                    self.loops.insert(name.to_string(), value.clone());
                }
                match default {
                    Some(default) if !info.ty.is_data() => default,
                    _ if info.ty.is_data() => Val::Data(Expr::Param(name.to_string())),
                    _ => Val::Unknown(name.to_string()),
                }
            } else {
                let given = values.remove(name).map(|value| self.given(value, &info.ty));
                given.or(default).unwrap_or(Val::Absent)
            };
            if let Some(value) = value.as_value() {
                self.plan.arguments.insert(name.to_string(), value.clone());
            }
            frame.bind(name, value);
        }
        for item in &pipeline.items {
            self.item(item, &frame);
        }
        let (rules, places) = self.rules(&pipeline.failures, &frame);
        self.plan.rules = rules;
        self.origins.rules = places;
        self.plan.notifies = self.notifies(&pipeline.notifies, &frame);
        if self.is_spent() {
            let at = *self.cut.get_or_insert(self.model.location(id));
            self.sink.push(checks::type_not_allowed_value::too_large(at, self.open));
        }
    }

    /// An argument that was given as text: names become what they mean, text becomes a path.
    fn given(&mut self, value: Val, ty: &Ty) -> Val {
        let by_name = matches!(ty.required(), Ty::Infra(_) | Ty::Group | Ty::Channel | Ty::Secret);
        let name = match &value {
            Val::Unknown(name) | Val::Data(Expr::Value(Value::Text(name))) if by_name => name.as_str(),
            _ => return self.coerce(value, ty, self.root),
        };
        let (alias, rest) = name.split_once('.').unwrap_or((name, ""));
        let names = self.model.names(self.root);
        let (mut id, mut rest) = (names.get(alias), rest);
        if id.is_none()
            && let Some(module) = names.imports.get(alias).and_then(|import| import.module)
        {
            let (head, after) = rest.split_once('.').unwrap_or((rest, ""));
            (id, rest) = (self.model.names(module).get(head), after);
        }
        let Some(id) = id else { return value };
        match self.model.as_environment(id) {
            Some(environment) => {
                match environment.infrastructure.iter().position(|it| it.name.text == rest) {
                    Some(index) => self.target(id, index),
                    None => value,
                }
            }
            None => self.declared(id, &[]),
        }
    }

    fn item(&mut self, item: &'p PipelineItem, frame: &Frame<'p>) {
        if self.is_spent() {
            return;
        }
        match item {
            PipelineItem::For(it) => {
                for frame in self.iterations(it, frame) {
                    if self.is_spent() {
                        return;
                    }
                    for item in &it.items {
                        self.item(item, &frame);
                    }
                }
            }
            PipelineItem::Parallel(parallel) => self.parallel(parallel, frame),
            PipelineItem::Stage(_) | PipelineItem::Approval(_) | PipelineItem::Lane(_) => {
                let at = match item {
                    PipelineItem::Stage(stage) => stage.name.span,
                    PipelineItem::Approval(approval) => approval.name.span,
                    PipelineItem::Lane(lane) => lane.name.span,
                    _ => return,
                };
                let id = self.new_item(None, frame.at(at));
                self.branch(item, frame, id);
                self.drop_if_empty(id);
            }
        }
    }

    fn new_item(&mut self, group: Option<Group>, at: crate::diagnostic::Location) -> ItemId {
        let id = ItemId(self.plan.items.len() as u32);
        self.plan.items.push(Item { group, branches: Vec::new() });
        self.origins.items.push(at);
        id
    }

    fn drop_if_empty(&mut self, id: ItemId) {
        if self.plan.items[id.index()].branches.is_empty() {
            self.plan.items.pop();
            self.origins.items.pop();
            self.lacking.retain(|lacking| *lacking != id);
        }
    }

    fn parallel(&mut self, parallel: &'p ast::Parallel, frame: &Frame<'p>) {
        let number = self.plan.items.iter().filter(|item| item.group.is_some()).count() as u32 + 1;
        let all_or_nothing = parallel.all_or_nothing.is_some();
        let group = Group { number, max: parallel.max.map(|(max, _)| max), all_or_nothing };
        let id = self.new_item(Some(group), frame.at(parallel.keyword));
        for item in &parallel.items {
            match item {
                PipelineItem::For(it) => {
                    for frame in self.iterations(it, frame) {
                        if self.is_spent() {
                            break;
                        }
                        for item in &it.items {
                            self.branch(item, &frame, id);
                        }
                    }
                }
                _ => self.branch(item, frame, id),
            }
        }
        if let Some(span) = parallel.all_or_nothing {
            self.commit(id, frame.at(span));
        }
        self.drop_if_empty(id);
    }

    /// The barrier that closes every branch of an `all_or_nothing` group.
    fn commit(&mut self, item: ItemId, at: crate::diagnostic::Location) {
        let barrier = BarrierId(self.plan.barriers.len() as u32);
        let mut places = Vec::new();
        for branch in 0..self.plan.items[item.index()].branches.len() {
            let data = &self.plan.items[item.index()].branches[branch];
            let stage = data.stages().next_back();
            let owner = match (stage, data.parts.last()) {
                (Some(stage), _) => self.plan.stages[stage.index()].name.clone(),
                (None, Some(Part::Approval(approval))) => self.plan.approvals[approval.index()].name.clone(),
                _ => format!("{branch}"),
            };
            let place = PlaceId(self.plan.places.len() as u32);
            self.plan.places.push(Place {
                name: format!("{owner}.commit"),
                barrier,
                stage,
                branch: branch as u32,
                when: Vec::new(),
                timeout: None,
                scopes: Vec::new(),
                skipped: false,
            });
            self.origins.places.push(at);
            self.plan.items[item.index()].branches[branch].commit = Some(place);
            places.push(place);
        }
        if !places.is_empty() {
            self.plan.barriers.push(Barrier {
                name: "commit".into(),
                item,
                kind: BarrierKind::Commit,
                places,
            });
        }
    }

    fn branch(&mut self, item: &'p PipelineItem, frame: &Frame<'p>, id: ItemId) {
        let number = self.plan.items[id.index()].branches.len() as u32;
        let mut lane = None;
        let mut parts = Vec::new();
        match item {
            PipelineItem::Lane(it) => {
                let name = self.indexed(&it.name.text, it.index.as_ref(), frame);
                lane = Some(self.distinct(name, frame.at(it.name.span), "lane"));
                for item in &it.items {
                    parts.extend(self.part(item, frame, id, number));
                }
            }
            other => parts.extend(self.part(other, frame, id, number)),
        }
        if !parts.is_empty() {
            self.plan.items[id.index()].branches.push(Branch { lane, parts, commit: None });
        }
    }

    fn part(&mut self, item: &'p PipelineItem, frame: &Frame<'p>, id: ItemId, branch: u32) -> Option<Part> {
        self.charge(PART);
        if self.is_spent() {
            return None;
        }
        match item {
            PipelineItem::Stage(stage) => self.stage(stage, frame, id, branch).map(Part::Stage),
            PipelineItem::Approval(approval) => {
                let from = self.entry(&approval.record, "from", &Ty::Group, frame);
                let within = self.entry(&approval.record, "within", &Ty::Duration, frame);
                let from = match from.as_ref().and_then(Val::as_value) {
                    Some(Value::Text(group)) => group.clone(),
                    _ => String::new(),
                };
                let within = match within.as_ref().and_then(Val::as_value) {
                    Some(Value::Duration(within)) => *within,
                    _ => 0,
                };
                // Each round of a loop asks for itself.
                let name = match &frame.round {
                    Some(round) => format!("{}[{round}]", approval.name.text),
                    None => approval.name.text.as_str().to_owned(),
                };
                let name = self.distinct(name, frame.at(approval.name.span), "approval");
                self.origins.approvals.push(frame.at(approval.name.span));
                self.plan.approvals.push(Approval { name, item: id, branch, from, within });
                Some(Part::Approval(ApprovalId(self.plan.approvals.len() as u32 - 1)))
            }
            _ => None,
        }
    }

    /// Reports a stage, lane or approval whose name was given before: a loop that leaves out the index, or repeats it.
    pub fn distinct(&mut self, name: String, at: crate::diagnostic::Location, what: &str) -> String {
        // Lanes have names of their own.
        let key = if what == "lane" { format!("lane {name}") } else { name.clone() };
        match self.stage_names.get(&key) {
            // The same name in the source at two places was reported already.
            Some(first) if *first != at && !name.contains('[') => {}
            // `stage deployregion] = …`: it has an index.
            Some(_) if self.is_half_indexed(at) => {}
            Some(first) => {
                let help = match what {
                    "stage" | "lane" if name.contains('[') => {
                        "the index has to differ for each element of the loop, and the elements from each other".into()
                    }
                    "stage" => format!(
                        "stages of a loop need an index that tells them apart: `stage {name}[VARIABLE] = …`"
                    ),
                    "lane" => {
                        format!("lanes of a loop need an index that tells them apart: `lane {name}[VARIABLE] {{ … }}`")
                    }
                    _ => "the elements of the loop have to differ: each gives its name to an approval".to_string(),
                };
                let mut diagnostic = checks::name_duplicate::report(at, *first, what, &name).help(help);
                if *first == at {
                    diagnostic.labels.clear();
                }
                self.sink.push(diagnostic);
            }
            None => {
                self.stage_names.insert(key, at);
            }
        }
        name
    }

    fn is_half_indexed(&self, name: crate::diagnostic::Location) -> bool {
        let behind = self.model.program.file(name.file).text.get(name.span.end as usize..);
        behind.is_some_and(|behind| behind.starts_with(']'))
    }

    /// `deploy`, or `deploy[us-east]`.
    pub fn indexed(&mut self, name: &str, index: Option<&'p ast::Expr>, frame: &Frame<'p>) -> String {
        let Some(index) = index else { return name.to_string() };
        let index = self.eval(index, &Ty::Error, frame);
        let unknown = matches!(index, Val::Unknown(_));
        let mut index = self.element(index);
        // What is not known is taken to differ from one round to the next.
        if unknown && let Some(round) = frame.round.as_ref().filter(|round| !index.contains(&***round)) {
            index = format!("{index} {round}");
        }
        [name, "[", &index, "]"].concat()
    }

    /// What an element of a loop is called.
    fn element(&self, value: Val) -> String {
        match value {
            Val::Target(id) => short_name(&self.plan.targets[id.index()].name).to_string(),
            Val::Service(id, _) => self.plan.services[id.index()].name.clone(),
            Val::Environment(id) => self.model.name(id).to_string(),
            Val::Data(Expr::Value(value)) => value.to_string(),
            Val::Data(Expr::Param(name)) | Val::Unknown(name) => name,
            _ => "?".into(),
        }
    }

    /// The frame of each round of a loop.
    fn iterations(&mut self, it: &'p ast::For, frame: &Frame<'p>) -> Vec<Frame<'p>> {
        let items: Vec<Val> = match &it.list.kind {
            ExprKind::List(items) => items.iter().map(|item| self.eval(item, &Ty::Error, frame)).collect(),
            _ => match self.eval(&it.list, &Ty::Error, frame) {
                Val::List(items) => items,
                Val::Data(Expr::Value(Value::List(items))) => items.into_iter().map(Val::constant).collect(),
                Val::Data(Expr::List(items)) => items.into_iter().map(Val::Data).collect(),
                Val::Absent => Vec::new(),
                other => {
                    let name = match other {
                        Val::Data(Expr::Param(name)) | Val::Unknown(name) => name,
                        _ => it.name.text.as_str().to_owned(),
                    };
                    match self.loops.get(&name) {
                        Some(Value::List(items)) => items.iter().cloned().map(Val::constant).collect(),
                        // Nothing is known: two elements show what happens when there are several.
                        _ => (1..=2).map(|n| Val::Unknown(format!("{name} {n}"))).collect(),
                    }
                }
            },
        };
        self.charge(items.len() * (1 + frame.vars.as_slice().len()));
        if self.is_spent() {
            return Vec::new();
        }
        items
            .into_iter()
            .map(|value| {
                let mut frame = frame.clone();
                frame.round = Some(self.element(value.clone()).into());
                frame.bind(it.name.text.as_str(), value);
                frame
            })
            .collect()
    }

    /// The plan's form of notifications.
    pub fn notifies(&mut self, notifies: &'p [ast::Notify], frame: &Frame<'p>) -> Vec<Notify> {
        let mut lowered = Vec::new();
        for notify in notifies {
            let mut channels = Vec::new();
            for channel in &notify.channels {
                let value = match frame.var(&channel.text) {
                    Some(value) => value.clone(),
                    None => match self.model.find_name(self.model.module(frame.file), channel) {
                        Some(id) => self.declared(id, &[]),
                        None => continue,
                    },
                };
                if let Some(Value::Text(name)) = value.as_value() {
                    channels.push(name.clone());
                }
            }
            let events = notify
                .events
                .iter()
                .filter_map(|event| match event.text.as_str() {
                    "success" => Some(NotifyEvent::Success),
                    "failure" => Some(NotifyEvent::Failure),
                    "rollback" => Some(NotifyEvent::Rollback),
                    "waiting" => Some(NotifyEvent::Waiting),
                    _ => None,
                })
                .collect();
            lowered.push(Notify { channels, events });
        }
        lowered
    }
}
