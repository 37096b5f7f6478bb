//! What attempts printed, for people who look later.

use super::Store;
use crate::error::{At, Error};
use crate::secrets::{Redactor, Secrets};
use lockstep_plan::Plan;
use std::io::ErrorKind;

/// Reads what the attempts of one run printed.
pub struct Outputs<'a> {
    store: &'a Store,
    run: &'a str,
    redactor: Redactor,
}

impl Store {
    /// What attempts of a run of that plan printed. Values of secrets were struck out before they came here; those that the
    /// secrets have now are, too, where whoever asks can read them.
    ///
    /// # Errors
    /// There is no such run.
    pub fn outputs<'a>(&'a self, run: &'a str, plan: &Plan) -> Result<Outputs<'a>, Error> {
        let secrets = Secrets::resolve(plan, &self.run(run)?.module).unwrap_or_default();
        let redactor = secrets.redactor(plan.secrets.keys().map(String::as_str));
        Ok(Outputs { store: self, run, redactor })
    }
}

impl Outputs<'_> {
    /// What an attempt of a step printed: its standard output, then its standard error. Empty where it printed nothing, or is
    /// no process of its own.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn of(&self, step: &str, attempt: u32) -> Result<String, Error> {
        let directory = self.store.attempt_directory(self.run, step, attempt);
        let mut text = String::new();
        for name in ["stdout", "stderr"] {
            let path = directory.join(name);
            match std::fs::read(&path) {
                Ok(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error).at("read", &path),
            }
        }
        Ok(self.redactor.redact(&text))
    }
}
