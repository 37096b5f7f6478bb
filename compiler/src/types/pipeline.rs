//! The types of pipelines: stages, approvals, loops.

use super::expr::Typer;
use super::scope::Var;
use super::{ParamInfo, Ty, What};
use crate::checks;
use lockstep_grammar::ast::{DeclarationKind, Expr, For, Name, Pipeline, PipelineItem, Span, Stage};

impl<'p> Typer<'_, 'p> {
    pub fn pipeline(&mut self, pipeline: &'p Pipeline) {
        let infos = self.declare_params(&pipeline.params.items);
        let mut names = Vec::new();
        let mut passed = checks::template_conflicting_values::Passed::default();
        self.pipeline_items(&pipeline.items, &infos, &mut names, &mut passed);
        // A lane may be called as a stage is.
        let (lanes, others): (Vec<_>, Vec<_>) = names.iter().copied().partition(|(_, what)| *what == "lane");
        self.each_once(lanes.into_iter());
        self.each_once(others.into_iter());
        passed.report(self, &infos);
        self.failures(&pipeline.failures);
        self.notifies(&pipeline.notifies);
    }

    fn pipeline_items(
        &mut self,
        items: &'p [PipelineItem],
        infos: &[ParamInfo<'p>],
        names: &mut Vec<(&'p Name, &'static str)>,
        passed: &mut checks::template_conflicting_values::Passed<'p>,
    ) {
        for item in items {
            match item {
                PipelineItem::Stage(stage) => {
                    if stage.index.is_none() {
                        names.push((&stage.name, "stage"));
                    }
                    self.stage(stage, infos, passed);
                }
                PipelineItem::Approval(approval) => {
                    names.push((&approval.name, "approval"));
                    let what = What("approval", &approval.name.text);
                    let settings = [("from", Ty::Group, true), ("within", Ty::Duration, true)];
                    self.known_entries(&approval.record, &settings, approval.name.span, what);
                }
                PipelineItem::Parallel(parallel) => {
                    self.pipeline_items(&parallel.items, infos, names, passed)
                }
                PipelineItem::Lane(lane) => {
                    self.index(lane.index.as_ref());
                    if lane.index.is_none() {
                        names.push((&lane.name, "lane"));
                    }
                    self.pipeline_items(&lane.items, infos, names, passed);
                }
                PipelineItem::For(it) => self.loop_over(it, infos, names, passed),
            }
        }
    }

    /// Whether something that was not understood follows what a loop runs over.
    fn is_cut_short(&self, list: Span) -> bool {
        let text = &self.model.program.file(self.file).text;
        text.get(list.end as usize..).is_some_and(|behind| behind.starts_with(['*', '.']))
    }

    fn loop_over(
        &mut self,
        it: &'p For,
        infos: &[ParamInfo<'p>],
        names: &mut Vec<(&'p Name, &'static str)>,
        passed: &mut checks::template_conflicting_values::Passed<'p>,
    ) {
        let ty = match self.infer(&it.list) {
            Ty::List(element) => Ty::clone(&element),
            Ty::Error => Ty::Error,
            // `world*`, `world.`
            _ if self.is_cut_short(it.list.span) => Ty::Error,
            other => {
                let at = self.at(it.list.span);
                self.sink.push(checks::type_mismatch::report(at, "list", &other.show(self.model), &None));
                Ty::Error
            }
        };
        let at = self.at(it.name.span);
        // Approvals take their names from it.
        if it.items.iter().any(asks) {
            self.used.names.insert(at);
        }
        self.vars.push(Var { name: it.name.text.as_str(), ty, at });
        self.pipeline_items(&it.items, infos, names, passed);
        self.vars.pop();
    }

    /// What stands between `[` and `]`: text, or something that has a name.
    fn index(&mut self, index: Option<&'p Expr>) {
        let Some(index) = index else { return };
        let ty = self.infer(index);
        let fine =
            matches!(ty, Ty::Error | Ty::String | Ty::Path | Ty::Infra(_) | Ty::Service(_) | Ty::Environment);
        if !fine {
            let at = self.at(index.span);
            self.sink.push(checks::type_mismatch::report(at, "string", &ty.show(self.model), &None));
        }
    }

    fn stage(
        &mut self,
        stage: &'p Stage,
        pipeline: &[ParamInfo<'p>],
        passed: &mut checks::template_conflicting_values::Passed<'p>,
    ) {
        self.index(stage.index.as_ref());
        self.conditions(&stage.conditions);
        // What the arguments are worth does not depend on who takes them.
        let values = |typer: &mut Self| {
            for entry in &stage.arguments.entries {
                typer.infer(&entry.value);
            }
        };
        let Some((id, taken)) = self.find(&stage.path, "workflow") else { return values(self) };
        let DeclarationKind::Workflow(workflow) = &self.model.decl(id).kind else {
            let at = self.at(stage.path.span);
            let name = self.model.program.text(self.file, stage.path.span);
            self.sink.push(checks::type_mismatch::wrong_kind(at, name, "workflow"));
            return values(self);
        };
        if taken != stage.path.names.len() {
            let at = self.at(stage.path.span);
            let name = self.model.program.text(self.file, stage.path.span);
            self.sink.push(checks::type_mismatch::wrong_kind(at, name, "workflow"));
            return values(self);
        }
        let infos = self.model.params(id.file, &workflow.params.items);
        let before = self.sink.len();
        let what = What("workflow", self.model.name(id));
        self.called = Some((id.file, workflow.params.span));
        self.record(&stage.arguments, &infos, stage.path.span, what, &[]);
        // A service of another deployment type makes whatever else does not match a consequence.
        if self.sink[before..].iter().any(|found| found.rule == checks::template_deployment_type::RULE.name) {
            let hidden =
                [checks::template_artifact_type::RULE.name, checks::template_infrastructure_type::RULE.name];
            let mut index = 0;
            self.sink.retain(|found| {
                index += 1;
                index <= before || !hidden.contains(&found.rule)
            });
        }
        passed.collect(self, stage, &infos, pipeline);
    }
}

/// Whether it is an approval, or a lane that holds one.
fn asks(item: &PipelineItem) -> bool {
    match item {
        PipelineItem::Approval(_) => true,
        PipelineItem::Lane(lane) => lane.items.iter().any(asks),
        _ => false,
    }
}
