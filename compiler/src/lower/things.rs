//! Lowering of declarations: services, targets, secrets, channels, groups, resources.

use super::Lowerer;
use super::value::{Frame, Val};
use crate::index::Index;
use crate::model::{DeclId, setting, words};
use crate::program::ModuleId;
use crate::types::{ParamInfo, Ty, field, service_type};
use compact_str::CompactString;
use lockstep_grammar::ast::{Construct, DeclarationKind, Entry, ExprKind, Name, Path, Record, Setting};
use lockstep_plan::{Deed, Expr, Fields, Service, ServiceId, Source, Target, TargetId, Value, fields};
use std::rc::Rc;

/// Which settings a plan holds that is made for checking; one that is carried out holds all.
#[derive(Debug, Clone, Copy)]
pub enum Held<'n> {
    /// All of them.
    All,
    /// Those that something is to be said about.
    Doubtful,
    /// Those of these names, and all that are not constant. [`Lowerer::fields`] finds the others where they are written.
    Named(&'n [&'n str]),
}

/// Where the settings of something are written.
struct Written<'p> {
    record: &'p Record,
    infos: Rc<[ParamInfo<'p>]>,
}

impl<'p> Lowerer<'_, 'p> {
    /// What a declaration and the names after it mean.
    pub fn declared(&mut self, id: DeclId, rest: &'p [Name]) -> Val {
        match &self.model.decl(id).kind {
            DeclarationKind::Service { .. } => {
                // Of what is no field of it at all, nothing else is said.
                let ty = service_type(self.model, id);
                let known =
                    |name: &Name| name.text == "artifact" || field(self.model, &ty, &name.text).is_ok();
                if !rest.first().is_none_or(known) {
                    return Val::Unknown(self.model.name(id).to_string());
                }
                let value = self.instance(id, None);
                self.fields(value, rest)
            }
            DeclarationKind::Environment(environment) => match rest {
                [] => Val::Environment(id),
                [name, rest @ ..] => {
                    match environment.infrastructure.iter().position(|it| it.name.text == name.text) {
                        Some(index) => {
                            let target = self.target(id, index);
                            self.fields(target, rest)
                        }
                        None => self.fields(Val::Environment(id), std::slice::from_ref(name)),
                    }
                }
            },
            DeclarationKind::Secret(value) => {
                let name = self.plan_name(id);
                if !self.plan.secrets.contains_key(&name) {
                    let source = self.source(id, value, "secret");
                    self.plan.secrets.insert(name.clone(), source);
                }
                Val::constant(Value::Secret(name))
            }
            DeclarationKind::Channel(_) => Val::constant(Value::Text(self.channel(id))),
            DeclarationKind::Group(_) => Val::constant(Value::Text(self.group(id))),
            _ => Val::Unknown(self.model.name(id).to_string()),
        }
    }

    /// The name that a declaration has in the plan: its own, or a longer one where another module's has it already.
    fn plan_name(&mut self, id: DeclId) -> String {
        if let Some(name) = self.named.get(&id) {
            return name.clone();
        }
        let own = self.model.name(id).to_string();
        let taken = self.named.iter().any(|(_, name)| *name == own);
        let name = if taken {
            let dir = self.model.program.module_dir(self.model.module(id.file));
            format!("{}.{own}", dir.display())
        } else {
            own
        };
        self.named.insert(id, name.clone());
        name
    }

    /// Notes the program that carries a provider's steps out, where it names one.
    pub fn program(&mut self, id: DeclId) {
        let name = self.model.name(id);
        if let DeclarationKind::Provider(provider) = &self.model.decl(id).kind
            && let Some(setting) = setting(&provider.settings, "program")
            && !self.plan.programs.contains_key(name)
            && let Some(Value::Text(program)) =
                self.eval(&setting.value, &Ty::String, &Frame::of(id.file)).as_value().cloned()
        {
            self.plan.programs.insert(name.to_string(), program);
        }
    }

    /// The plan's name of a channel.
    pub fn channel(&mut self, id: DeclId) -> String {
        let name = self.plan_name(id);
        if let DeclarationKind::Channel(value) = &self.model.decl(id).kind
            && !self.plan.channels.contains_key(&name)
        {
            let source = self.source(id, value, "channel");
            self.plan.channels.insert(name.clone(), source);
        }
        name
    }

    /// The plan's name of a group.
    pub fn group(&mut self, id: DeclId) -> String {
        let name = self.plan_name(id);
        if let DeclarationKind::Group(record) = &self.model.decl(id).kind
            && !self.plan.groups.contains_key(&name)
        {
            let members = self.entry(record, "members", &Ty::List(Rc::new(Ty::String)), &Frame::of(id.file));
            let members = match members {
                Some(Val::Data(Expr::Value(Value::List(items)))) => {
                    items.iter().map(Value::to_string).collect()
                }
                _ => Vec::new(),
            };
            self.plan.groups.insert(name.clone(), members);
        }
        name
    }

    /// The plan's name of a resource.
    pub fn resource(&mut self, id: DeclId) -> String {
        let name = self.plan_name(id);
        if let DeclarationKind::Resource(record) = &self.model.decl(id).kind
            && !self.plan.resources.contains_key(&name)
        {
            let capacity = self.entry(record, "capacity", &Ty::Int, &Frame::of(id.file));
            let capacity = match capacity.as_ref().and_then(Val::as_value) {
                // Of what is not told, or told wrong, nobody waits for more.
                Some(Value::Int(capacity @ 1..)) => u32::try_from(*capacity).unwrap_or(u32::MAX),
                _ => u32::MAX,
            };
            self.plan.resources.insert(name.clone(), capacity);
        }
        name
    }

    /// The value of an entry, if there is one.
    pub fn entry(&mut self, record: &'p Record, name: &str, ty: &Ty, frame: &Frame<'p>) -> Option<Val> {
        let entry = record.entries.iter().find(|entry| entry.name.text == name)?;
        Some(self.eval(&entry.value, ty, frame))
    }

    fn source(&mut self, id: DeclId, value: &'p Construct, family: &str) -> Source {
        let kind = value.path.names[0].text.as_str().to_owned();
        let provider = self.model.names(ModuleId::PRELUDE).get(family);
        let signature = provider.and_then(|id| self.model.signature(id, &kind));
        let settings = match (provider, signature) {
            (Some(provider), Some(signature)) => {
                let infos = self.model.params(provider.file, &signature.params.items);
                self.settings(&value.record, &infos, &Frame::of(id.file))
            }
            _ => Fields::new(),
        };
        Source { kind, settings }
    }

    /// What a record gives to parameters, defaults included, optional ones that are not given missing.
    pub fn settings(
        &mut self,
        record: &'p Record,
        infos: &[ParamInfo<'p>],
        frame: &Frame<'p>,
    ) -> Fields<Expr> {
        self.settings_held(Held::All, record, infos, frame)
    }

    /// As [`Lowerer::settings`]; a plan that is made for checking holds only some of them.
    pub fn settings_held(
        &mut self,
        held: Held<'_>,
        record: &'p Record,
        infos: &[ParamInfo<'p>],
        frame: &Frame<'p>,
    ) -> Fields<Expr> {
        let mut defaults: Option<Frame<'p>> = None;
        // A default may read what stands before it; most are plain.
        let reads = infos.iter().any(|info| !info.plain);
        let entries = Index::new(&record.entries, |entry| entry.name.text.as_str());
        let mut settings = Vec::new();
        let held = if reads || !self.open { Held::All } else { held };
        for info in infos {
            let given = entries.get(info.name());
            if self.leaves_out(held, info, given, frame) {
                continue;
            }
            let value = match (given, &info.param.default) {
                (Some(entry), _) => {
                    let value = self.eval(&entry.value, &info.ty, frame);
                    self.restricted(&value, info, frame.at(entry.value.span));
                    value
                }
                (None, Some(default)) => {
                    let frame = defaults.get_or_insert_with(|| Frame::of(info.file));
                    self.eval(default, &info.ty, frame)
                }
                (None, None) => Val::Absent,
            };
            if reads {
                let frame = defaults.get_or_insert_with(|| Frame::of(info.file));
                frame.bind(info.name(), value.clone());
            }
            if value != Val::Absent {
                if settings.is_empty() {
                    settings.reserve_exact(infos.len());
                }
                settings.push((info.name().to_string(), value.into_expr()));
            }
        }
        fields(settings)
    }

    /// Whether a setting is one that the plan does without.
    fn leaves_out(
        &mut self,
        held: Held<'_>,
        info: &ParamInfo<'p>,
        given: Option<&'p Entry>,
        frame: &Frame<'p>,
    ) -> bool {
        let constant = match held {
            Held::All => return false,
            Held::Doubtful => false,
            Held::Named(names) if names.contains(&info.name()) => return false,
            Held::Named(_) => true,
        };
        match given {
            Some(entry) => !info.is_restricted() && self.is_quiet(&entry.value, frame, constant),
            // There is nothing to say about a plain default.
            None => {
                self.charge(1);
                true
            }
        }
    }

    /// The value of a setting that the plan does without.
    fn left_out(&mut self, written: Option<Written<'p>>, name: &str, frame: &Frame<'p>) -> Option<Val> {
        let Written { record, infos } = written.filter(|_| self.open)?;
        let info = infos.iter().find(|info| info.name() == name)?;
        let given = record.entries.iter().find(|entry| entry.name.text == name);
        if infos.iter().any(|info| !info.plain) || !self.leaves_out(Held::Named(&[]), info, given, frame) {
            return None;
        }
        match (given, &info.param.default) {
            (Some(entry), _) => Some(self.eval(&entry.value, &info.ty, frame)),
            (None, Some(default)) => Some(self.eval(default, &info.ty, &Frame::of(info.file))),
            (None, None) => None,
        }
    }

    /// Reports a constant that its parameter does not allow.
    pub fn restricted(&mut self, value: &Val, info: &ParamInfo<'p>, at: crate::diagnostic::Location) {
        if let Some(value) = value.as_value()
            && let Some(found) = crate::checks::type_not_allowed_value::check(self.model, at, value, info)
        {
            self.sink.push(found);
        }
    }

    /// `checkout { version }`
    pub fn service(&mut self, construct: &'p Construct, frame: &Frame<'p>) -> Val {
        let module = self.model.module(frame.file);
        match self.model.find(module, &construct.path) {
            Ok(found) if matches!(self.model.decl(found.decl).kind, DeclarationKind::Service { .. }) => {
                self.instance(found.decl, Some((&construct.record, frame)))
            }
            _ => Val::Unknown(self.model.program.text(frame.file, construct.span).to_string()),
        }
    }

    /// Whether a service or target may be read: not while its own settings are, and not at the end of a chain that is
    /// longer than the stack.
    fn begin(&mut self, id: DeclId, index: usize) -> bool {
        const DEEPEST: usize = 64;
        let at = self.model.location(id);
        if self.making.contains(&(id, index)) {
            self.sink.push(crate::checks::name_unknown::circle(at, self.model.name(id)));
        } else if self.making.len() == DEEPEST {
            self.sink.push(crate::checks::name_unknown::chain(at, self.model.name(id), DEEPEST));
        } else {
            self.making.push((id, index));
            return true;
        }
        false
    }

    /// A service with these arguments.
    fn instance(&mut self, id: DeclId, given: Option<(&'p Record, &Frame<'p>)>) -> Val {
        if !self.begin(id, 0) {
            return Val::Unknown(self.model.name(id).to_string());
        }
        let made = self.make_instance(id, given);
        self.making.pop();
        made
    }

    fn make_instance(&mut self, id: DeclId, given: Option<(&'p Record, &Frame<'p>)>) -> Val {
        let DeclarationKind::Service { params: declared, value } = &self.model.decl(id).kind else {
            return Val::Unknown("?".into());
        };
        let infos = self.model.params(id.file, &declared.items);
        let mut frame = Frame::of(id.file);
        let entries = given.map(|(record, _)| Index::new(&record.entries, |entry| entry.name.text.as_str()));
        for info in infos.iter() {
            let entry = given.and_then(|(_, outer)| Some((entries.as_ref()?.get(info.name())?, outer)));
            let value = match (entry, &info.param.default) {
                (Some((entry, outer)), _) => {
                    let value = self.eval(&entry.value, &info.ty, outer);
                    self.restricted(&value, info, outer.at(entry.value.span));
                    value
                }
                (None, Some(default)) => self.eval(default, &info.ty, &frame),
                (None, None) => Val::Absent,
            };
            frame.bind(info.name(), value);
        }
        let key = (
            id,
            frame.vars.as_slice().iter().map(|(_, value)| value.clone().into_expr()).collect::<Vec<_>>(),
        );
        if let Some(service) = self.services.get(&key) {
            return Val::Service(*service, id);
        }
        let module = self.model.module(id.file);
        let Some(provider) = self.model.find_provider(module, &value.path) else {
            return Val::Unknown(self.model.name(id).to_string());
        };
        let Written { record, infos } = self.service_written(value, provider.decl);
        let settings = self.settings_held(Held::Named(&[]), record, &infos, &frame);
        let (artifact_type, artifact) = match self.artifact_written(id, value) {
            Some((name, Written { record, infos })) => {
                (name, self.settings_held(Held::Named(&[]), record, &infos, &frame))
            }
            None => ("", Fields::new()),
        };
        let service = ServiceId(self.plan.services.len() as u32);
        self.service_vars.push(frame.vars);
        self.plan.services.push(Service {
            name: self.model.name(id).to_string(),
            provider: self.model.name(provider.decl).into(),
            artifact_type: artifact_type.into(),
            artifact,
            settings,
        });
        self.services.insert(key, service);
        Val::Service(service, id)
    }

    /// The settings of a service.
    fn service_written(&self, value: &'p Construct, provider: DeclId) -> Written<'p> {
        let fields = self.model.as_provider(provider).and_then(|it| it.service.as_ref());
        let infos = fields.map(|fields| self.model.params(provider.file, &fields.items));
        Written { record: &value.record, infos: infos.unwrap_or_default() }
    }

    /// The type and the settings of the artifact that a service is made of.
    fn artifact_written(&self, id: DeclId, value: &'p Construct) -> Option<(&'p str, Written<'p>)> {
        let entry = value.record.entries.iter().find(|entry| entry.name.text == "artifact")?;
        let ExprKind::Construct(construct) = &entry.value.kind else { return None };
        let name = construct.path.names[0].text.as_str();
        let artifact = self.model.artifact(name);
        let infos = artifact.map(|artifact| self.model.params(id.file, &artifact.fields.items));
        Some((name, Written { record: &construct.record, infos: infos.unwrap_or_default() }))
    }

    /// The settings of a target.
    fn target_written(&self, value: &'p Construct, provider: Option<DeclId>, own: DeclId) -> Written<'p> {
        let fields = provider
            .and_then(|id| self.model.as_provider(id))
            .and_then(|provider| provider.infrastructure.as_ref());
        let file = provider.map_or(own.file, |id| id.file);
        let infos = fields.map(|fields| self.model.params(file, &fields.items));
        Written { record: &value.record, infos: infos.unwrap_or_default() }
    }

    /// The value of a setting of a service, or of its artifact, that the plan does without.
    fn left_out_of_service(&mut self, id: ServiceId, own: DeclId, artifact: bool, name: &str) -> Option<Val> {
        let DeclarationKind::Service { value, .. } = &self.model.decl(own).kind else { return None };
        let written = match artifact {
            true => self.artifact_written(own, value)?.1,
            false => {
                let provider = self.model.find_provider(self.model.module(own.file), &value.path)?;
                self.service_written(value, provider.decl)
            }
        };
        let frame = Frame { vars: self.service_vars[id.index()].clone(), ..Frame::of(own.file) };
        self.left_out(Some(written), name, &frame)
    }

    /// The value of a setting of a target that the plan does without.
    fn left_out_of_target(&mut self, id: TargetId, name: &str) -> Option<Val> {
        let (own, index) = *self.environments.get(id.index())?;
        let infrastructure = self.model.as_environment(own)?.infrastructure.get(index)?;
        let module = self.model.module(own.file);
        let provider = self.model.find_provider(module, &infrastructure.value.path).map(|found| found.decl);
        let written = self.target_written(&infrastructure.value, provider, own);
        self.left_out(Some(written), name, &Frame::of(own.file))
    }

    /// The target of an environment with that index.
    pub fn target(&mut self, id: DeclId, index: usize) -> Val {
        if let Some(target) = self.targets.get(&(id, index)) {
            return Val::Target(*target);
        }
        if !self.begin(id, index) {
            return Val::Unknown(self.model.name(id).to_string());
        }
        let made = self.make_target(id, index);
        self.making.pop();
        self.targets.insert((id, index), made);
        Val::Target(made)
    }

    fn make_target(&mut self, id: DeclId, index: usize) -> TargetId {
        let environment = self.model.as_environment(id);
        let infrastructure = environment.and_then(|environment| environment.infrastructure.get(index));
        if let (Some(environment), Some(infrastructure)) = (environment, infrastructure) {
            let module = self.model.module(id.file);
            let provider = self.model.find_provider(module, &infrastructure.value.path);
            let provider = provider.map(|found| found.decl);
            let Written { record, infos } = self.target_written(&infrastructure.value, provider, id);
            let identity = provider
                .and_then(|id| self.model.as_provider(id))
                .map(|provider| words(&provider.settings, "identity"))
                .unwrap_or_default();
            // Without an identity, all settings tell it from others.
            let read = [identity.as_slice(), &["hosts"]].concat();
            let held = if identity.is_empty() { Held::All } else { Held::Named(&read) };
            let mut settings = self.settings_held(held, record, &infos, &Frame::of(id.file));
            // A setting that is missing, or that a misspelt name was to set, is not known: not absent, not its default. Nor is what
            // tells targets from others, where that is misspelt.
            let given = Index::new(&record.entries, |entry| entry.name.text.as_str());
            let missing: Vec<_> = infos.iter().filter(|info| given.get(info.name()).is_none()).collect();
            let all_known = infos.len() - missing.len() == record.entries.len();
            let missing = missing.into_iter().filter(|info| info.is_required() || !all_known);
            let misnamed =
                identity.iter().copied().filter(|name| infos.iter().all(|info| info.name() != *name));
            for name in missing.map(|info| info.name()).chain(misnamed) {
                settings.insert(name.to_string(), Expr::Param(name.to_string()));
            }
            let identity = identity.into_iter().map(CompactString::from).collect();
            let kind = setting(&environment.settings, "kind").map(|it| &it.value.kind);
            let kind = match kind {
                Some(ExprKind::Path(path)) => path.names[0].text.clone(),
                _ => "non_production".into(),
            };
            self.environments.push((id, index));
            self.plan.targets.push(Target {
                name: [self.model.name(id), ".", &infrastructure.name.text].concat(),
                provider: provider.map_or("", |id| self.model.name(id)).into(),
                environment: self.model.name(id).into(),
                kind,
                settings,
                identity,
            });
            self.origins
                .targets
                .push(crate::diagnostic::Location { file: id.file, span: infrastructure.span });
            self.permissions(id, &environment.settings);
        }
        // Settings may read other targets, which come before this one then.
        TargetId(self.plan.targets.len() as u32 - 1)
    }

    /// `may_run = [deployers]` and its kin.
    fn permissions(&mut self, id: DeclId, settings: &'p [Setting]) {
        // Another target has led here before.
        if self.named.contains_key(&id) {
            return;
        }
        let environment = self.plan_name(id);
        for deed in Deed::ALL {
            let Some(said) = setting(settings, deed.setting()) else { continue };
            let value = self.eval(&said.value, &Ty::List(Rc::new(Ty::Group)), &Frame::of(id.file));
            let groups = match value.as_value() {
                Some(Value::List(groups)) => groups.iter().map(Value::to_string).collect(),
                _ => Vec::new(),
            };
            self.plan.permissions.entry(environment.clone()).or_default().groups.insert(deed, groups);
        }
    }

    /// `production.*`
    pub fn star(&mut self, path: &'p Path, frame: &Frame<'p>) -> Val {
        let of = match frame.var(path.names[0].text.as_str()) {
            Some(value) => self.fields(value.clone(), &path.names[1..]),
            None => match self.model.find(self.model.module(frame.file), path) {
                Ok(found) => self.declared(found.decl, &path.names[found.taken..]),
                Err(_) => Val::Unknown("?".into()),
            },
        };
        match of {
            Val::Environment(id) => {
                let all = self.model.as_environment(id).map_or(&[][..], |it| &it.infrastructure);
                // Of two of one name, which is an error of its own, the first counts.
                let repeated = crate::types::repeated(all.iter().map(|it| it.name.text.as_str()));
                let again: foldhash::HashSet<usize> = repeated.into_iter().map(|(_, again)| again).collect();
                let indexes = (0..all.len()).filter(|index| !again.contains(index));
                Val::List(indexes.map(|index| self.target(id, index)).collect())
            }
            _ => Val::Unknown(self.model.program.text(frame.file, path.span).to_string()),
        }
    }

    /// The environment that a target belongs to.
    pub fn environment_of(&self, target: TargetId) -> Option<DeclId> {
        self.environments.get(target.index()).map(|(environment, _)| *environment)
    }

    /// Follows the fields of a value.
    pub fn fields(&mut self, value: Val, names: &[Name]) -> Val {
        let Some((name, rest)) = names.split_first() else { return value };
        self.asked |= matches!(value, Val::Target(_));
        let field = name.text.as_str();
        let text = |text: &str| Val::constant(Value::Text(text.to_string()));
        let unknown = |owner: &str| Val::Unknown(format!("{owner}.{field}"));
        let found = match &value {
            Val::Service(id, own) => {
                let service = &self.plan.services[id.index()];
                match (field, rest) {
                    ("name", _) => text(&service.name),
                    ("artifact", [inner, ..]) => {
                        let held = service.artifact.get(inner.text.as_str()).cloned().map(Val::Data);
                        held.or_else(|| self.left_out_of_service(*id, *own, true, &inner.text))
                            .unwrap_or_else(|| unknown(&self.plan.services[id.index()].name))
                    }
                    _ => {
                        let held = service.settings.get(field).cloned().map(Val::Data);
                        held.or_else(|| self.left_out_of_service(*id, *own, false, field))
                            .unwrap_or(Val::Absent)
                    }
                }
            }
            Val::Target(id) => match field {
                "name" => text(short_name(&self.plan.targets[id.index()].name)),
                "environment" => {
                    self.environment_of(*id).map_or_else(|| unknown("environment"), Val::Environment)
                }
                _ => {
                    let held = self.plan.targets[id.index()].settings.get(field).cloned().map(Val::Data);
                    held.or_else(|| self.left_out_of_target(*id, field)).unwrap_or(Val::Absent)
                }
            },
            Val::Environment(id) => match field {
                "name" => text(self.model.name(*id)),
                _ => {
                    let settings = self.model.as_environment(*id).map(|it| it.settings.as_slice());
                    match setting(settings.unwrap_or_default(), field).map(|it| &it.value.kind) {
                        Some(ExprKind::Path(path)) => text(&path.names[0].text),
                        _ if field == "kind" => text("non_production"),
                        _ => unknown("environment"),
                    }
                }
            },
            Val::Data(Expr::Value(Value::Map(entries))) => {
                entries.get(field).map_or(Val::Absent, |value| Val::constant(value.clone()))
            }
            Val::Data(Expr::Param(name)) => Val::Data(Expr::key_of(name, field)),
            Val::Data(Expr::Output { step, name }) => {
                Val::Data(Expr::Output { step: *step, name: Expr::key_name(name, field) })
            }
            Val::Unknown(name) => unknown(name),
            _ => unknown("?"),
        };
        let skip = usize::from(matches!(value, Val::Service(..)) && field == "artifact");
        self.fields(found, rest.get(skip..).unwrap_or_default())
    }
}

/// `region1` of `production.region1`
pub fn short_name(name: &str) -> &str {
    name.split_once('.').map_or(name, |(_, short)| short)
}

#[cfg(test)]
mod tests {
    use super::super::{Budget, lower_open, of_text};
    use crate::model::Model;
    use lockstep_plan::{Expr, Value};

    #[test]
    fn settings_that_a_plan_for_checking_does_without_are_read_all_the_same() {
        let program = of_text::program(
            r#"
service shop(tier: string = "gold") = kubernetes {
  artifact  = docker_image { image = "shop-${tier}" }
  manifests = ["${tier}.yaml", "other.yaml"]
}
environment test {
  infrastructure here = kubernetes { namespace = "a" }
}
workflow deploy(service: service<kubernetes>, infra: infrastructure<kubernetes>) {
  phase p {
    step a = kubernetes.rolling { skip if service.artifact.tag == "latest" }
    step b = kubernetes.rolling { skip if service.artifact.image == "shop-gold" }
    step c = kubernetes.rolling { skip if contains(service.manifests, "gold.yaml") }
    step d = kubernetes.rolling { skip if len(infra.cluster_kinds) == 0 }
    step e = kubernetes.rolling { skip if infra.keep_releases == 2 || infra.context != "" }
  }
}
pipeline release() {
  stage one = deploy { service = shop, infra = test.here }
}
"#,
        );
        let model = Model::new(&program);
        let pipeline = model.declarations().find(|id| model.name(*id) == "release").expect("a pipeline");
        let (mut budget, mut found) = (Budget::of(&program), Vec::new());
        let lowered = lower_open(&model, pipeline, &mut budget, &mut found).expect("it is small");
        assert!(found.is_empty(), "{found:?}");
        assert_eq!(lowered.plan.conditions, [Expr::Value(Value::Bool(false))]);
        let skipped = |name: &str| {
            let of_name = |step: &&lockstep_plan::Step| step.name == format!("one.p.{name}");
            lowered.plan.steps.iter().find(of_name).map(|step| !step.when.is_empty())
        };
        assert_eq!(["a", "b", "c", "d", "e"].map(skipped), [true, true, true, true, false].map(Some));
        let service = &lowered.plan.services[0];
        assert!(service.settings.is_empty() && service.artifact.is_empty(), "{service:?}");
    }
}
