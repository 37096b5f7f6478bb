//! Placeholders in manifests: `${service.artifact.tag}` and the like, filled in from what a call says.

use lockstep_plan::{Call, File, Value};
use std::collections::BTreeMap;

/// What placeholders can name.
#[derive(Debug, Default)]
pub(super) struct Scope(BTreeMap<String, Value>);

impl Scope {
    #[cfg(test)]
    pub fn new<const N: usize>(entries: [(&str, &str); N]) -> Scope {
        Scope(
            entries.into_iter().map(|(name, value)| (name.to_string(), Value::Text(value.into()))).collect(),
        )
    }

    /// The settings of the call's service and target.
    pub fn of(call: &Call, run: &str) -> Scope {
        let mut entries = BTreeMap::from([("run.id".to_string(), Value::Text(run.into()))]);
        let mut add = |prefix: &str, settings: &BTreeMap<String, Value>| {
            for (name, value) in settings {
                // A secret is handed over as such, never as text.
                if !matches!(value, Value::Secret(_)) {
                    entries.insert(format!("{prefix}.{name}"), value.clone());
                }
            }
        };
        if let Some(service) = &call.service {
            add("service", &service.settings);
            add("service.artifact", &service.artifact);
        }
        if let Some(target) = &call.target {
            add("infra", &target.settings);
            let (environment, name) = target.name.rsplit_once('.').unwrap_or(("", &target.name));
            entries.insert("infra.name".into(), Value::Text(name.into()));
            entries.insert("infra.environment.name".into(), Value::Text(environment.into()));
        }
        if let Some(service) = &call.service {
            entries.insert("service.name".into(), Value::Text(service.name.clone()));
        }
        Scope(entries)
    }
}

/// A text taken apart: what stands before, between and after its placeholders, and what these name, each with its line.
pub(super) type Parts = (Vec<String>, Vec<(String, usize)>);

/// Takes a text apart; `\${` stands for `${`.
pub(super) fn parts(text: &str) -> Result<Parts, String> {
    let (mut pieces, mut names) = (vec![String::new()], Vec::new());
    let push = |pieces: &mut Vec<String>, more: &str| {
        if let Some(last) = pieces.last_mut() {
            last.push_str(more);
        }
    };
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let line = text[..text.len() - rest.len() + start].lines().count().max(1);
        if let Some(before) = rest[..start].strip_suffix('\\') {
            push(&mut pieces, before);
            push(&mut pieces, "${");
            rest = &rest[start + 2..];
            continue;
        }
        push(&mut pieces, &rest[..start]);
        let inner = &rest[start + 2..];
        let Some(end) = inner.find('}') else {
            return Err(format!("line {line}: a `${{` that no `}}` ends"));
        };
        names.push((inner[..end].trim().to_string(), line));
        pieces.push(String::new());
        rest = &inner[end + 1..];
    }
    push(&mut pieces, rest);
    Ok((pieces, names))
}

/// Fills placeholders of a file in.
pub(super) fn render(path: String, text: &str, scope: &Scope) -> Result<File, String> {
    let (pieces, names) = parts(text)?;
    let mut file = File { path, text: String::with_capacity(text.len()), filled: Vec::new() };
    let mut names = names.iter();
    for piece in &pieces {
        file.text.push_str(piece);
        let Some((name, line)) = names.next() else { continue };
        let Some(value) = scope.0.get(name) else {
            let known: Vec<&str> = scope.0.keys().map(String::as_str).collect();
            return Err(format!("line {line}: `${{{name}}}` names nothing; there are {}", known.join(", ")));
        };
        file.fill(value);
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_in() {
        let scope = Scope::new([("a.b", "1"), ("c", "x")]);
        let render = |text: &str| render("f".into(), text, &scope);
        let file = render("${a.b}-${ c } \\${a.b} $c").unwrap();
        assert_eq!((file.text.as_str(), file.filled), ("1-x ${a.b} $c", vec![0..1, 2..3]));
        assert!(
            render("x\ny: ${d}").unwrap_err().starts_with("line 2: `${d}` names nothing; there are a.b, c")
        );
        assert!(render("${a").unwrap_err().contains("no `}` ends"));
    }
}
