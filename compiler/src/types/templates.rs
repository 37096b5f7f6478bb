//! Files with placeholders, as what names them sees them.
//!
//! A placeholder may read what an expression could read where the file is named, and besides `service`, `infra`, `stage` and
//! `run`: a service's file is filled in for each stage that deploys the service.

use super::expr::Typer;
use super::scope::Standing;
use super::{InfraTy, Ty};
use crate::checks;
use crate::diagnostic::Location;
use crate::model::{DeclId, words};
use crate::program::FileId;
use crate::templates::{SETTING, patterns};
use lockstep_grammar::ast::Record;
use std::rc::Rc;

impl<'p> Typer<'_, 'p> {
    /// The files that a service's settings name.
    pub(super) fn service_files(&mut self, id: DeclId, provider: DeclId, record: &'p Record) {
        self.in_workflow = true;
        self.standing = Standing {
            service: Some(self.service_type(id)),
            infra: Some(Ty::Infra(Rc::new(InfraTy { providers: vec![provider] }))),
            ..Standing::default()
        };
        if !self.template_files(provider, record) {
            // What could not be looked at may read any of them.
            self.used.names.extend(self.vars.iter().map(|var| var.at));
        }
    }

    /// The files that entries of a record name, where the provider says that they have placeholders. Says whether all of
    /// them could be looked at.
    pub(super) fn template_files(&mut self, provider: DeclId, record: &'p Record) -> bool {
        let settings = self.model.as_provider(provider).map(|it| it.settings.as_slice());
        let names = words(settings.unwrap_or_default(), SETTING);
        let mut complete = true;
        for entry in record.entries.iter().filter(|entry| names.contains(&entry.name.text.as_str())) {
            let mut found = Vec::new();
            complete &= patterns(&entry.value, &mut found);
            for pattern in found {
                let at = self.at(pattern.expr.span);
                let Some(files) = self.model.program.templates.found(self.module(), &pattern) else {
                    continue;
                };
                complete &= !files.is_empty() && !pattern.open;
                if files.is_empty() && !pattern.open {
                    self.sink.push(checks::manifest_missing::report(at, &pattern.glob));
                }
                for file in files {
                    match file {
                        Ok(file) => self.template(*file, at),
                        Err((path, reason)) => {
                            complete = false;
                            self.sink.push(checks::manifest_unreadable::report(at, path, reason));
                        }
                    }
                }
            }
        }
        complete
    }

    /// One file, named at that place.
    fn template(&mut self, file: FileId, named: Location) {
        let Some(template) = self.model.program.templates.get(file) else { return };
        let before = self.sink.len();
        self.sink.extend(template.errors.iter().map(|error| checks::syntax::diagnostic(file, error)));
        let own = std::mem::replace(&mut self.file, file);
        self.text(&template.text);
        self.file = own;
        for found in self.sink[before..].iter_mut().filter(|found| found.primary.file == file) {
            found.labels.push((named, "the file is named here".into()));
            if found.rule == checks::name_unknown::RULE.name {
                let literal = "a `${` that is not meant for this program is written `\\${`";
                let help = found.help.take();
                found.help = Some(help.map_or(literal.into(), |help| format!("{help} ({literal})")));
            } else if found.rule == checks::secret_leak::RULE.name {
                found.help = Some("let the file say where the secret is found, instead of what it is".into());
            }
        }
    }
}
