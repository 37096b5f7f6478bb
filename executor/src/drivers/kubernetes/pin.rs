//! Manifests that a parameter names: found when a run begins, and from then on part of its plan, so that files which change
//! while it is carried out, or before it is resumed, change nothing.
//!
//! Those that the source itself names are in the plan already. Those that only a step's output names, or that a step makes,
//! are read by the step that needs them.

use super::manifest::{files, names, patterns};
use super::template;
use lockstep_plan::{Action, Expr, Filled, NoFacts, Plan, RunFact, Template, TemplateId, Value};
use std::collections::BTreeMap;
use std::path::Path;

/// Puts the files into the plan. Relative paths start from `module`.
pub(super) fn pin(plan: &mut Plan, module: &Path) {
    let mut pins = Pins { module, templates: std::mem::take(&mut plan.templates), known: BTreeMap::new() };
    let mut steps = std::mem::take(&mut plan.steps);
    for action in steps.iter_mut().map(|step| &mut step.action).filter(|it| it.provider == "kubernetes") {
        let service =
            action.service.and_then(|service| plan.services[service.index()].settings.get("manifests"));
        let own = ["manifests", "manifest"].into_iter().find_map(|name| action.arguments.get(name));
        let (more, own) = (
            pins.missing(plan, action, service, &action.service_files),
            pins.missing(plan, action, own, &action.files),
        );
        action.service_files.extend(more);
        action.files.extend(own);
    }
    (plan.steps, plan.templates) = (steps, pins.templates);
}

struct Pins<'a> {
    module: &'a Path,
    templates: Vec<Template>,
    /// By path: where a file is among the templates, and what its placeholders name.
    known: BTreeMap<String, Option<(TemplateId, Vec<String>)>>,
}

impl Pins<'_> {
    /// The files that a setting names, but for those that are there already.
    fn missing(
        &mut self,
        plan: &Plan,
        action: &Action,
        setting: Option<&Expr>,
        there: &[Filled],
    ) -> Vec<Filled> {
        let named = setting.and_then(|setting| setting.eval(&NoFacts).ok());
        let mut found = Vec::new();
        for pattern in patterns(named.as_ref()) {
            let path = |filled: &Filled| self.templates[filled.template.index()].path.clone();
            if there.iter().any(|filled| names(pattern, &path(filled))) {
                continue;
            }
            for file in files(self.module, pattern).unwrap_or_default() {
                let path = file.strip_prefix(self.module).unwrap_or(&file).display().to_string();
                let Some((template, names)) = self.read(&path, &file) else { continue };
                let holes = names.iter().map(|name| hole(plan, action, name)).collect();
                // What is wrong with a placeholder says the step.
                if let Some(holes) = holes {
                    found.push(Filled { template, holes });
                }
            }
        }
        found
    }

    fn read(&mut self, path: &str, file: &Path) -> Option<(TemplateId, Vec<String>)> {
        if let Some(known) = self.known.get(path) {
            return known.clone();
        }
        let text = std::fs::read_to_string(file).ok();
        let read = text.and_then(|text| template::parts(&text).ok()).map(|(pieces, names)| {
            let id = TemplateId(u32::try_from(self.templates.len()).unwrap_or(u32::MAX));
            self.templates.push(Template { path: path.into(), pieces });
            (id, names.into_iter().map(|(name, _)| name).collect())
        });
        self.known.insert(path.into(), read.clone());
        read
    }
}

/// What a placeholder stands for in the files of an action; what there is says [`template::Scope`].
fn hole(plan: &Plan, action: &Action, name: &str) -> Option<Expr> {
    let service = action.service.map(|service| &plan.services[service.index()]);
    let target = action.target.map(|target| &plan.targets[target.index()]);
    let text = |text: &str| Some(Expr::Value(Value::Text(text.into())));
    match name {
        "run.id" => Some(Expr::Run(RunFact::Id)),
        "service.name" => text(&service?.name),
        "infra.name" => text(target?.name.rsplit_once('.').map_or(&target?.name, |(_, name)| name)),
        "infra.environment.name" => {
            text(target?.name.rsplit_once('.').map_or("", |(environment, _)| environment))
        }
        _ => {
            let (of, setting) = name.rsplit_once('.')?;
            match of {
                "service" => service?.settings.get(setting),
                "service.artifact" => service?.artifact.get(setting),
                "infra" => target?.settings.get(setting),
                _ => None,
            }
            .cloned()
        }
    }
}
