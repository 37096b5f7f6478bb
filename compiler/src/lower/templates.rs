//! Lowering of files with placeholders that services and steps name: their text is in the plan once, what the placeholders
//! stand for with each step.

use super::Lowerer;
use super::expr::relative;
use super::value::{Frame, Val};
use crate::model::{DeclId, words};
use crate::program::FileId;
use crate::templates::{SETTING, patterns};
use lockstep_grammar::ast::{DeclarationKind, Record, TextPart};
use lockstep_plan::{Filled, Template, TemplateId};

impl<'p> Lowerer<'_, 'p> {
    /// The files that a step's service names, for a step of the service's own provider.
    pub(super) fn service_files(&mut self, provider: DeclId, frame: &Frame<'p>) -> Vec<Filled> {
        if self.open {
            return Vec::new();
        }
        let Some(Val::Service(service, id)) = &frame.service else { return Vec::new() };
        let DeclarationKind::Service { value, .. } = &self.model.decl(*id).kind else { return Vec::new() };
        let own = self.model.find_provider(self.model.module(id.file), &value.path);
        if own.is_none_or(|own| own.decl != provider) {
            return Vec::new();
        }
        let inner = Frame {
            vars: self.service_vars[service.index()].clone(),
            service: frame.service.clone(),
            infra: frame.infra.clone(),
            stage: frame.stage.clone(),
            ..Frame::of(id.file)
        };
        self.files(provider, &value.record, &inner)
    }

    /// The files that entries of a record name, where the provider says that they have placeholders. A plan that is only
    /// made for checking does without.
    pub(super) fn files(&mut self, provider: DeclId, record: &'p Record, frame: &Frame<'p>) -> Vec<Filled> {
        if self.open {
            return Vec::new();
        }
        let settings = self.model.as_provider(provider).map(|it| it.settings.as_slice());
        let names = words(settings.unwrap_or_default(), SETTING);
        let mut found = Vec::new();
        for entry in record.entries.iter().filter(|entry| names.contains(&entry.name.text.as_str())) {
            patterns(&entry.value, &mut found);
        }
        let mut files: Vec<Filled> = Vec::new();
        let program = self.model.program;
        for pattern in found {
            let found = program.templates.found(self.model.module(frame.file), &pattern);
            for file in found.into_iter().flatten().flatten() {
                let known = self.templates.get(file);
                if known.is_none_or(|known| files.iter().all(|filled| filled.template != *known)) {
                    files.extend(self.file(*file, frame));
                }
            }
        }
        files
    }

    fn file(&mut self, file: FileId, frame: &Frame<'p>) -> Option<Filled> {
        let text = &self.model.program.templates.get(file)?.text;
        let frame = Frame { file, ..frame.clone() };
        let mut holes = Vec::new();
        for part in &text.parts {
            if let TextPart::Expr(expr) = part {
                holes.push(self.data(expr, &crate::types::Ty::Error, &frame));
            }
        }
        let template = match self.templates.get(&file) {
            Some(template) => *template,
            None => self.template(file),
        };
        Some(Filled { template, holes })
    }

    fn template(&mut self, file: FileId) -> TemplateId {
        let program = self.model.program;
        let mut pieces = vec![String::new()];
        for part in program.templates.get(file).into_iter().flat_map(|template| &template.text.parts) {
            match (part, pieces.last_mut()) {
                (TextPart::Literal(text), Some(piece)) => piece.push_str(text),
                _ => pieces.push(String::new()),
            }
        }
        let path = &program.file(file).path;
        let path = match path.is_absolute() && !program.module_dir(self.root).is_absolute() {
            true => path.clone(),
            false => relative(program.module_dir(self.root), path),
        };
        let id = TemplateId(self.plan.templates.len() as u32);
        self.plan.templates.push(Template { path: path.display().to_string(), pieces });
        self.templates.insert(file, id);
        id
    }
}
