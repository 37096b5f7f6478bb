//! What the tests share: showing trees and errors, applying fixes.

use lockstep_grammar::ast::{File, Span};
use lockstep_grammar::{LineIndex, Parse, parse};
use std::fmt::Write;

/// Parses what should be right.
pub fn valid(source: &str) -> Parse {
    let parse = parse(source);
    assert!(parse.errors.is_empty(), "{}", show(source));
    assert!(parse.damaged.is_empty(), "{source}\n{:?}", parse.damaged);
    parse
}

/// A tree without its positions, a declaration a line.
pub fn shape(file: &File) -> String {
    let mut text = String::new();
    for import in &file.imports {
        writeln!(text, "{}", compact(&format!("{import:?}"))).unwrap();
    }
    for declaration in &file.declarations {
        writeln!(text, "{}", compact(&format!("{declaration:?}"))).unwrap();
    }
    text
}

/// The shape of the value of an entry `x = …`.
pub fn value(expression: &str) -> String {
    let source = format!("group g {{ x = {expression}\n}}");
    let shape = shape(&valid(&source).file);
    let start = shape.find("value: ").expect("the entry has a value") + "value: ".len();
    let end = shape.rfind(", short").expect("the entry has an end");
    shape[start..end].to_owned()
}

/// A debug representation without spans and empty lists, names and expressions as themselves.
pub fn compact(debug: &str) -> String {
    let mut text = String::new();
    let mut rest = debug;
    while let Some(at) = rest.find("Span { ") {
        text.push_str(&rest[..at]);
        text.push('@');
        let end = rest[at..].find('}').expect("a span ends");
        rest = &rest[at + end + 1..];
    }
    text.push_str(rest);
    for (from, to) in [
        ("span: @, ", ""),
        (", span: @", ""),
        ("operator_@, ", ""),
        ("operator_span: @, ", ""),
        ("path_span: @, ", ""),
        ("keyword: @, ", ""),
        ("body: @, ", ""),
        ("docs: Docs(\"\"), ", ""),
        ("CompactString", ""),
    ] {
        text = text.replace(from, to);
    }
    for field in
        ["conditions", "settings", "failures", "rollbacks", "uses", "notifies", "parallel_phases", "items"]
    {
        text = text.replace(&format!("{field}: [], "), "").replace(&format!(", {field}: []"), "");
    }
    // `Name { text: "x" }` is x, `Expr { kind: … }` is what it holds.
    while let Some(at) = text.find("Name { text: \"") {
        let name = at + "Name { text: \"".len();
        let end = name + text[name..].find("\" }").expect("a name ends");
        let inner = text[name..end].to_owned();
        text.replace_range(at..end + 3, &inner);
    }
    while let Some(at) = text.find("Expr { kind: ") {
        let start = at + "Expr { kind: ".len();
        let end = start + closing(&text[start..]);
        text.replace_range(end - 1..end + 1, "");
        text.replace_range(at..start, "");
    }
    text
}

/// Where the brace closes that was opened before a text.
fn closing(text: &str) -> usize {
    let mut depth = 0;
    let mut quoted = false;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => quoted = !quoted,
            '{' if !quoted => depth += 1,
            '}' if !quoted && depth == 0 => return at,
            '}' if !quoted => depth -= 1,
            _ => {}
        }
        escaped = quoted && c == '\\' && !escaped;
    }
    panic!("no end in {text}")
}

/// A source with its errors below the lines they are about.
pub fn show(source: &str) -> String {
    let parse = parse(source);
    let index = LineIndex::new(source);
    let mut text = String::new();
    for (number, line) in source.lines().enumerate() {
        let number = number as u32 + 1;
        writeln!(text, "{number:2} | {line}").unwrap();
        for error in &parse.errors {
            let start = index.position(error.span.start);
            if start.line != number {
                continue;
            }
            let end = index.position(error.span.end);
            let width = if end.line == start.line { end.column - start.column } else { 1 };
            let carets = "^".repeat(width.max(1) as usize);
            let indent = " ".repeat(start.column as usize - 1);
            writeln!(text, "   | {indent}{carets} {}: {}", error.rule, error.message).unwrap();
            writeln!(text, "   | {indent}  label: {}", error.label).unwrap();
            if let Some(help) = &error.help {
                writeln!(text, "   | {indent}  help: {help}").unwrap();
            }
            if let Some((span, label)) = &error.related {
                let place = index.position(span.start);
                writeln!(text, "   | {indent}  at {}:{}: {label}", place.line, place.column).unwrap();
            }
            if let Some((title, edits)) = &error.fix {
                let fixed =
                    apply(source, edits).lines().nth(number as usize - 1).unwrap_or_default().to_owned();
                writeln!(text, "   | {indent}  fix ({title}): {}", fixed.trim_start()).unwrap();
            }
        }
    }
    text
}

/// A source after some edits.
pub fn apply(source: &str, edits: &[(Span, String)]) -> String {
    let mut edits = edits.to_vec();
    edits.sort();
    let mut text = source.to_owned();
    for (span, replacement) in edits.iter().rev() {
        text.replace_range(span.start as usize..span.end as usize, replacement);
    }
    text
}
