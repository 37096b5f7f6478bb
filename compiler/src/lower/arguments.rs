//! Arguments of a pipeline as text: read by the type of the parameter they are for.

use super::value::Val;
use crate::checks;
use crate::diagnostic::{Diagnostic, Location};
use crate::model::{DeclId, Model};
use crate::types::{ParamInfo, Ty, targets};
use foldhash::HashMap;
use lockstep_grammar::ast::DeclarationKind;
use lockstep_plan::Value;
use std::collections::BTreeMap;

/// The values of a pipeline's parameters; problems go to `sink`.
pub fn read(
    model: &Model<'_>,
    pipeline: DeclId,
    arguments: &BTreeMap<String, String>,
    sink: &mut Vec<Diagnostic>,
) -> HashMap<String, Val> {
    let DeclarationKind::Pipeline(declared) = &model.decl(pipeline).kind else { return HashMap::default() };
    let infos = model.params(pipeline.file, &declared.params.items);
    let what = format!("pipeline `{}`", model.name(pipeline));
    let at = model.location(pipeline);
    let mut values = HashMap::default();
    for (name, text) in arguments {
        let Some(info) = infos.iter().find(|info| info.name() == name) else {
            let known = infos.iter().map(|info| info.name());
            sink.push(checks::type_argument_unknown::report(at, &what, name, known).label("this pipeline"));
            continue;
        };
        match value(model, pipeline, text, &info.ty) {
            Ok(value) => {
                if let Some(constant) = value.as_value()
                    && let Some(found) = not_allowed(model, constant, info)
                {
                    sink.push(found);
                }
                values.insert(name.clone(), value);
            }
            Err(help) => {
                let message = format!("argument `{name}` is not `{}`: `{text}`", info.ty.show(model));
                sink.push(
                    Diagnostic::new(&checks::type_mismatch::RULE, info.location(), message)
                        .label("declared here")
                        .help(help),
                );
            }
        }
    }
    let missing: Vec<&ParamInfo<'_>> =
        infos.iter().filter(|info| info.is_required() && !arguments.contains_key(info.name())).collect();
    if let Some(first) = missing.first() {
        let names: Vec<&str> = missing.iter().map(|info| info.name()).collect();
        let example: Vec<String> =
            missing.iter().map(|info| format!("{}=…  ({})", info.name(), info.ty.show(model))).collect();
        sink.push(
            checks::type_argument_missing::report(at, &what, &names, first.location())
                .label("this pipeline")
                .help(format!("give on the command line: {}", example.join(", "))),
        );
    }
    values
}

fn not_allowed(model: &Model<'_>, value: &Value, info: &ParamInfo<'_>) -> Option<Diagnostic> {
    let mut found = checks::type_not_allowed_value::check(model, info.location(), value, info)?;
    found.label = "declared here".into();
    found.labels.clear();
    Some(found)
}

/// Reads a text as a type, or says how it should look.
fn value(model: &Model<'_>, pipeline: DeclId, text: &str, ty: &Ty) -> Result<Val, String> {
    match ty {
        Ty::Environment => {
            let names = model.declared(model.module(pipeline.file));
            let found = names.get(text).filter(|id| model.as_environment(**id).is_some());
            found.map(|id| Val::Environment(*id)).ok_or_else(|| {
                let known = names.values().filter(|id| model.as_environment(**id).is_some());
                crate::suggest::help("environment", text, known.map(|id| model.name(*id)))
                    .unwrap_or_else(|| "no environment is declared here".into())
            })
        }
        Ty::Infra(infra) => {
            let known = targets(model, Location { file: pipeline.file, span: Default::default() }, infra);
            let help = || {
                crate::suggest::help("target", text, known.iter().map(String::as_str))
                    .unwrap_or_else(|| "no target fits".into())
            };
            if !known.iter().any(|name| name == text) {
                return Err(help());
            }
            Ok(Val::Unknown(text.to_string()))
        }
        Ty::Optional(inner) => value(model, pipeline, text, inner),
        Ty::Group | Ty::Channel | Ty::Secret => {
            let names = model.declared(model.module(pipeline.file));
            let fits = |id: &&DeclId| match &model.decl(**id).kind {
                DeclarationKind::Group(_) => *ty == Ty::Group,
                DeclarationKind::Channel(_) => *ty == Ty::Channel,
                DeclarationKind::Secret(_) => *ty == Ty::Secret,
                _ => false,
            };
            let known: Vec<&str> = names.values().filter(fits).map(|id| model.name(*id)).collect();
            if known.contains(&text) {
                return Ok(Val::constant(Value::Text(text.into())));
            }
            let what = ty.show(model);
            Err(crate::suggest::help(&what, text, known)
                .unwrap_or_else(|| format!("no {what} is declared here")))
        }
        ty => data(text, ty).map(Val::constant),
    }
}

/// Reads data.
fn data(text: &str, ty: &Ty) -> Result<Value, String> {
    match ty {
        Ty::String | Ty::Path | Ty::Error | Ty::Group | Ty::Channel | Ty::Secret => {
            Ok(Value::Text(text.into()))
        }
        Ty::Bool => match text {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err("write `true` or `false`".into()),
        },
        Ty::Int => text.parse().map(Value::Int).map_err(|_| "write a whole number: `3`".into()),
        Ty::Percent => text
            .strip_suffix('%')
            .and_then(|number| number.parse().ok())
            .map(Value::Percent)
            .ok_or_else(|| "write a share: `20%`".into()),
        Ty::Duration => parse_duration(text)
            .map(Value::Duration)
            .ok_or_else(|| "write a duration: `30s`, `10m`, `1h30m`".into()),
        Ty::List(element) => {
            let items = parts(within(text, ['[', ']']), ',').into_iter().filter(|item| !item.is_empty());
            items.map(|item| data(&unquoted(item), element)).collect::<Result<_, _>>().map(Value::List)
        }
        Ty::Map(element) => {
            let entries = parts(within(text, ['{', '}']), ',').into_iter().filter(|item| !item.is_empty());
            entries
                .map(|entry| {
                    let key = parts(entry, '=')[0];
                    let value = entry[key.len()..].trim_start().strip_prefix('=');
                    let value = value.ok_or("write entries as `key=value,key=value`")?.trim();
                    Ok((unquoted(key), data(&unquoted(value), element)?))
                })
                .collect::<Result<_, String>>()
                .map(Value::Map)
        }
        Ty::Optional(inner) => data(text, inner),
        Ty::Environment | Ty::Service(_) | Ty::Infra(_) => {
            Err("such a value cannot be given on the command line".into())
        }
    }
}

/// What stands between two brackets, where it stands there.
fn within(text: &str, [open, close]: [char; 2]) -> &str {
    text.trim().strip_prefix(open).and_then(|text| text.strip_suffix(close)).unwrap_or(text)
}

/// The parts of a text between separators, trimmed. One within brackets, or within quotes that begin where a value may, separates
/// nothing.
fn parts(text: &str, separator: char) -> Vec<&str> {
    let (mut found, mut from, mut depth) = (Vec::new(), 0, 0_usize);
    let (mut quoted, mut escaped, mut begins) = (false, false, true);
    for (at, letter) in text.char_indices() {
        if quoted {
            quoted = escaped || letter != '"';
            escaped = letter == '\\' && !escaped;
            continue;
        }
        match letter {
            '"' if begins => quoted = true,
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.saturating_sub(1),
            _ if letter == separator && depth == 0 => {
                found.push(text[from..at].trim());
                from = at + letter.len_utf8();
            }
            _ => {}
        }
        begins = matches!(letter, ',' | '=' | '[' | '{') || (begins && letter.is_whitespace());
    }
    found.push(text[from..].trim());
    found
}

/// What stands between quotes, with the escapes of the language; else the text itself.
fn unquoted(text: &str) -> String {
    let Some(inner) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else {
        return text.to_string();
    };
    let mut letters = inner.chars();
    let mut plain = String::with_capacity(inner.len());
    while let Some(letter) = letters.next() {
        plain.push(match (letter, letters.as_str().chars().next()) {
            ('\\', Some(next @ ('"' | '\\' | 'n' | 't'))) => {
                letters.next();
                match next {
                    'n' => '\n',
                    't' => '\t',
                    other => other,
                }
            }
            _ => letter,
        });
    }
    plain
}

/// Milliseconds of a duration as the language writes it, `1h30m`: units in descending order, each once.
pub fn parse_duration(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 5] =
        [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let mut rest = text;
    let mut total: u64 = 0;
    let mut from = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = UNITS.iter().skip(from).position(|(unit, _)| *unit == &rest[..letters])? + from;
        total = total.checked_add(number.checked_mul(UNITS[unit].1)?)?;
        from = unit + 1;
        rest = &rest[letters..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    #[test]
    fn durations_have_descending_units() {
        for (text, expected) in [
            ("500ms", Some(500)),
            ("1h30m", Some(5_400_000)),
            ("10m", Some(600_000)),
            ("30m1h", None),
            ("10", None),
            ("", None),
            ("m", None),
        ] {
            assert_eq!(parse_duration(text), expected, "{text}");
        }
    }

    #[test]
    fn texts_become_values_of_their_type() {
        let list = Ty::List(Rc::new(Ty::String));
        let text = |text: &str| Value::Text(text.into());
        assert_eq!(data("2.0.0", &Ty::String), Ok(text("2.0.0")));
        assert_eq!(data("20%", &Ty::Percent), Ok(Value::Percent(20)));
        assert_eq!(data("a, b", &list), Ok(Value::List(vec![text("a"), text("b")])));
        assert_eq!(data("[\"a\"]", &list), Ok(Value::List(vec![text("a")])));
        assert!(data("yes", &Ty::Bool).is_err());
    }

    #[test]
    fn quotes_and_brackets_keep_together_what_commas_would_part() {
        let text = |text: &str| Value::Text(text.into());
        let list = Ty::List(Rc::new(Ty::String));
        assert_eq!(
            data(r#"["a, b", "say \"c\"", d\e, 5" disk]"#, &list),
            Ok(Value::List(vec![text("a, b"), text("say \"c\""), text("d\\e"), text("5\" disk")]))
        );
        let nested = Ty::List(Rc::new(list));
        let rows = vec![Value::List(vec![text("a"), text("b")]), Value::List(vec![text("c")])];
        assert_eq!(data("[[a, b], [\"c\"]]", &nested), Ok(Value::List(rows)));
        let map = Ty::Map(Rc::new(Ty::String));
        let entries = [("a=b", "c=d"), ("e", "f,g")];
        let entries = entries.map(|(key, value)| (key.to_string(), text(value)));
        assert_eq!(data(r#"{"a=b" = c=d, e = "f,g"}"#, &map), Ok(Value::Map(entries.into())));
        assert!(data("a", &map).is_err() && data("", &map) == Ok(Value::Map(Default::default())));
    }
}
