//! Secrets: resolved when a run starts, kept in memory, handed to scripts as environment variables and nowhere else.

use lockstep_plan::{Expr, NoFacts, Plan, Source, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::env::VarError;
use std::fmt;
use std::path::Path;

/// A secret of fewer characters is part of ordinary words.
const SHORT: usize = 4;

/// What the secrets of a plan hold. Never printed, not even by `{:?}`.
#[derive(Default, Clone)]
pub struct Secrets {
    values: BTreeMap<String, String>,
    variables: Vec<String>,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

impl Secrets {
    /// Resolves the secrets that steps of the plan are given. Relative paths start from `module`.
    ///
    /// # Errors
    /// What is missing, a sentence for each.
    pub(crate) fn resolve(plan: &Plan, module: &Path) -> Result<Secrets, Vec<String>> {
        let mut secrets = Secrets::default();
        let mut missing = Vec::new();
        for source in plan.secrets.values() {
            if source.kind == "env"
                && let Some(variable) = setting(source, "name")
            {
                secrets.variables.push(variable);
            }
        }
        for name in used(plan) {
            let resolved = match plan.secrets.get(&name) {
                Some(source) => resolve(source, module),
                None => Err("the plan does not say where it comes from".into()),
            };
            match resolved {
                Ok(value) => drop(secrets.values.insert(name, value)),
                Err(why) => missing.push(format!("secret `{name}`: {why}")),
            }
        }
        if missing.is_empty() { Ok(secrets) } else { Err(missing) }
    }

    /// What a secret holds.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// The names of all.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// Environment variables that hold secrets: what a step was not given it must not inherit.
    pub fn variables(&self) -> &[String] {
        &self.variables
    }

    /// Those that are so short that what is printed will hold them by chance.
    pub(crate) fn short(&self) -> impl Iterator<Item = (&str, usize)> {
        let sizes = self.values.iter().map(|(name, value)| (name.as_str(), value.chars().count()));
        sizes.filter(|(_, size)| (1..SHORT).contains(size))
    }

    /// Strikes secrets of these names out of text.
    pub(crate) fn redactor<'a>(&self, names: impl Iterator<Item = &'a str>) -> Redactor {
        let mut pieces = BTreeSet::new();
        for value in names.filter_map(|name| self.get(name)) {
            pieces.insert(value.to_string());
            // Output is handled line by line; a short line of a long secret says too little and hides too much.
            pieces.extend(value.lines().filter(|line| line.len() >= 8).map(str::to_string));
        }
        pieces.remove("");
        let mut pieces: Vec<String> = pieces.into_iter().collect();
        pieces.sort_by_key(|piece| std::cmp::Reverse(piece.len()));
        Redactor { pieces }
    }
}

/// Strikes secrets out of text.
#[derive(Clone, Default)]
pub(crate) struct Redactor {
    /// The longest first.
    pieces: Vec<String>,
}

impl Redactor {
    /// What is struck out, the longest first.
    pub fn pieces(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().map(String::as_str)
    }

    /// Strikes them out of all texts of a value.
    pub fn strike(&self, value: &mut Value) {
        match value {
            Value::Text(text) | Value::Path(text) => *text = self.redact(text),
            Value::List(items) => items.iter_mut().for_each(|item| self.strike(item)),
            Value::Map(entries) => {
                let struck = std::mem::take(entries).into_iter().map(|(name, mut value)| {
                    self.strike(&mut value);
                    (self.redact(&name), value)
                });
                *entries = struck.collect();
            }
            _ => {}
        }
    }

    pub fn redact(&self, text: &str) -> String {
        self.pieces.iter().fold(text.to_string(), |text, piece| text.replace(piece.as_str(), "***"))
    }
}

fn resolve(source: &Source, module: &Path) -> Result<String, String> {
    match source.kind.as_str() {
        "env" => {
            let name = setting(source, "name").ok_or("its `name` is not known before the run")?;
            std::env::var(&name).map_err(|error| match error {
                VarError::NotPresent => format!("set the environment variable `{name}`"),
                VarError::NotUnicode(_) => format!("the environment variable `{name}` holds no UTF-8 text"),
            })
        }
        "file" => {
            let path = module.join(setting(source, "path").ok_or("its `path` is not known before the run")?);
            let text = std::fs::read_to_string(&path)
                .map_err(|error| format!("the file `{}` cannot be read: {error}", path.display()))?;
            Ok(text.trim_end_matches(['\n', '\r']).to_string())
        }
        kind => Err(format!("secrets from `{kind}` cannot be read yet")),
    }
}

fn setting(source: &Source, name: &str) -> Option<String> {
    source.settings.get(name)?.eval(&NoFacts).ok()?.as_text().map(str::to_string)
}

/// Names of the secrets that some step, target, service or channel of the plan is given.
fn used(plan: &Plan) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let arguments = plan.steps.iter().flat_map(|step| step.action.arguments.values());
    let targets = plan.targets.iter().flat_map(|target| target.settings.values());
    let services =
        plan.services.iter().flat_map(|service| service.settings.values().chain(service.artifact.values()));
    let channels = plan.channels.values().flat_map(|channel| channel.settings.values());
    for expr in arguments.chain(targets).chain(services).chain(channels) {
        expr.walk(&mut |part| {
            if let Expr::Value(value) = part {
                collect(value, &mut names);
            }
        });
    }
    names
}

fn collect(value: &Value, names: &mut BTreeSet<String>) {
    match value {
        Value::Secret(name) => drop(names.insert(name.clone())),
        Value::List(items) => items.iter().for_each(|item| collect(item, names)),
        Value::Map(entries) => entries.values().for_each(|item| collect(item, names)),
        _ => {}
    }
}
