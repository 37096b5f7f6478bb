//! What attempts printed, for people who look later.

use super::Store;
use crate::error::{At, Error};
use crate::secrets::Secrets;
use std::io::ErrorKind;

impl Store {
    /// What an attempt of a step printed: its standard output, then its standard error. Empty where it printed nothing, or is
    /// no process of its own. Values of secrets were struck out before they came here; those that the secrets have now are, too,
    /// where whoever asks can read them.
    ///
    /// # Errors
    /// There is no such run, or the output cannot be read.
    pub fn output(&self, run: &str, step: &str, attempt: u32) -> Result<String, Error> {
        let plan = self.plan(run)?;
        let secrets = Secrets::resolve(&plan, &self.run(run)?.module).unwrap_or_default();
        let directory = self.attempt_directory(run, step, attempt);
        let mut text = String::new();
        for name in ["stdout", "stderr"] {
            let path = directory.join(name);
            match std::fs::read(&path) {
                Ok(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error).at("read", &path),
            }
        }
        Ok(secrets.redactor(plan.secrets.keys().map(String::as_str)).redact(&text))
    }
}
