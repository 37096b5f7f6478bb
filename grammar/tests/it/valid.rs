//! Everything the language knows, and what it comes to.

use crate::support::{shape, valid, value};
use lockstep_grammar::ast::DeclarationKind;
use lockstep_grammar::parse;

const WHOLE: &str = include_str!("corpus/whole.lockstep");

#[test]
fn whole_language() {
    let parse = valid(WHOLE);
    insta::assert_snapshot!(format!("docs: {:?}\n{}", parse.file.docs, shape(&parse.file)));
}

#[test]
fn line_ends_mean_nothing() {
    let unix = valid(WHOLE);
    let dos = valid(&WHOLE.replace('\n', "\r\n"));
    assert_eq!(shape(&unix.file), shape(&dos.file));
    assert_eq!(unix.file.docs, dos.file.docs);
    assert_eq!(unix.comments.len(), dos.comments.len());
    let mark = format!("\u{FEFF}{WHOLE}");
    assert_eq!(shape(&unix.file), shape(&valid(&mark).file));
    let tabs = WHOLE.replace("  ", "\t");
    assert_eq!(valid(&tabs).file.declarations.len(), unix.file.declarations.len());
}

#[test]
fn comments_and_documentation() {
    let source = "//! file\n//! docs\n// a\n\n/// one\n/// two\n// between\ngroup g { // b\n  /// nothing\n  x = 1 // c\n} // d\n//// e\n/// last";
    let parse = valid(source);
    assert_eq!(parse.file.docs.0, "file\ndocs");
    assert_eq!(parse.file.declarations[0].docs.0, "one\ntwo");
    let text = |span: lockstep_grammar::ast::Span| &source[span.start as usize..span.end as usize];
    let comments: Vec<&str> = parse.comments.iter().map(|comment| text(comment.span)).collect();
    assert_eq!(comments, ["// a", "// between", "// b", "/// nothing", "// c", "// d", "//// e", "/// last"]);
    let span = parse.file.declarations[0].span;
    assert!(text(span).starts_with("group g") && text(span).ends_with('}'), "{}", text(span));
    assert_eq!(text(parse.file.declarations[0].keyword), "group");
}

#[test]
fn comments_stand_where_newlines_may() {
    let source = "group g {\n // 1\n a = // 2\n  [ // 3\n 1, // 4\n 2 // 5\n ] // 6\n b = x // 7\n && // 8\n y\n c = if x // 9\n then // 10\n 1 // 11\n else // 12\n 2\n}";
    let parse = valid(source);
    assert_eq!(parse.comments.len(), 12);
    let DeclarationKind::Group(record) = &parse.file.declarations[0].kind else { panic!() };
    assert_eq!(record.entries.len(), 3);
}

/// Each of these is the same as the first.
fn same(sources: &[&str]) {
    let first = shape(&valid(sources[0]).file);
    for source in &sources[1..] {
        assert_eq!(shape(&valid(source).file), first, "{source}");
    }
}

#[test]
fn separators() {
    same(&[
        "group g { a = 1, b = 2 }",
        "group g { a = 1, b = 2, }",
        "group g {\n a = 1\n b = 2\n}",
        "group g {\n\n a = 1,\n\n b = 2,\n\n}",
        "group g { a = 1\n b = 2 }",
        "group g {a=1,b=2}",
        "group g { a =\n 1, b =\n\n 2 }",
        "group g{a=1 // c\n b=2}",
    ]);
    same(&[
        "group g { a = [1, 2] }",
        "group g { a = [1\n2] }",
        "group g { a = [\n1,\n2,\n] }",
        "group g { a = [\n1\n\n2\n] }",
    ]);
    same(&[
        "service s(a: int, b: int = 1) = p { }",
        "service s(\n a: int\n b: int = 1\n) = p {}",
        "service s(a: int, b: int = 1,) =\n p { }",
    ]);
    same(&[
        "workflow w { phase a { } phase b { } }",
        "workflow w { phase a { }, phase b { }, }",
        "workflow w {\n phase a { }\n phase b {\n }\n}",
    ]);
    same(&[
        "workflow w { phase a { on failure { ignore } on failure { fail } barrier b\n barrier c } }",
        "workflow w { phase a { on failure { ignore }, on failure { fail }, barrier b, barrier c } }",
    ]);
    same(&[
        "group g { a = x && y || (if c then 1 else 2) }",
        "group g { a = x &&\n y ||\n (\n if c\n then\n 1\n else\n 2\n)\n}",
        "group g { a = x\n && y\n || (if c then 1 else 2) }",
    ]);
    same(&["group g { a = f(x) }", "group g { a = f (x) }", "group g { a = f(\nx,\n) }"]);
    same(&["group a { } group b { }", "group a { }\n\ngroup b { }"]);
}

#[test]
fn a_record_belongs_to_a_name_on_its_line() {
    assert_eq!(value("[a { }]"), value("[a {}]"));
    assert_ne!(value("[a\n{ }]"), value("[a { }]"));
    assert_ne!(value("[a\n(b)]"), value("[a(b)]"));
}

#[test]
fn keywords_are_names_elsewhere() {
    valid(
        "workflow step(phase: int, barrier: bool) { phase phase { step step = step.step { step = 1, barrier = 2\n on = 3\n skip = 4 } } }",
    );
    valid(
        "group on { phase = 1, use = 2, notify = 3, for = 4, parallel = 5, rollback = 6, stage, lane, skip }",
    );
    valid("pipeline parallel(stage: int) { stage for = max { max = 1, parallel, only } }");
    valid("workflow w { on = 1\n use = 2\n parallel = 3\n rollback = 4\n notify = 5\n phase = 6 }");
    valid(
        "provider p { service = 1\n service { step: int }\n infrastructure { }\n step step(step: int) { changes = 1\n irreversible = 2 } }",
    );
    valid("environment environment { infrastructure infrastructure = infrastructure { }\n kind = kind }");
}

#[test]
fn numbers() {
    assert_eq!(value("42"), "Int(42)");
    assert_eq!(value("9223372036854775807"), "Int(9223372036854775807)");
    assert_eq!(value("007"), "Int(7)");
    assert_eq!(value("20%"), "Percent(20)");
    assert_eq!(value("500ms"), "Duration(500)");
    assert_eq!(value("1h30m"), "Duration(5400000)");
    assert_eq!(value("2d"), "Duration(172800000)");
    assert_eq!(value("1d2h3m4s5ms"), "Duration(93784005)");
    assert_eq!(value("0s"), "Duration(0)");
}

#[test]
fn names_and_paths() {
    assert_eq!(value("us-east-1"), "Path(Path { names: [us-east-1] })");
    assert_eq!(value("_a.b-c.d1"), "Path(Path { names: [_a, b-c, d1] })");
    assert_eq!(value("größe"), "Path(Path { names: [größe] })");
    assert_eq!(value("production.*"), "Star(Path { names: [production] })");
    assert_eq!(value("iffy.*"), "Star(Path { names: [iffy] })");
    assert_eq!(
        value("[true, truth, false]"),
        "List([Bool(true), Path(Path { names: [truth] }), Bool(false)])"
    );
}

#[test]
fn precedence() {
    let pairs = [
        ("a || b && c", "a || (b && c)"),
        ("a && b || c", "(a && b) || c"),
        ("a || b || c", "(a || b) || c"),
        ("a == b && c", "(a == b) && c"),
        ("!a && !!b", "(!a) && (!(!b))"),
        ("!a == b", "(!a) == b"),
        ("a in [b] || c", "(a in [b]) || c"),
        ("if a then b else c || d", "if a then b else (c || d)"),
        ("if a then b else if c then d else e", "if a then b else (if c then d else e)"),
        ("a < b && c >= d || e != f", "((a < b) && (c >= d)) || (e != f)"),
    ];
    for (bare, grouped) in pairs {
        assert_eq!(value(bare), ungrouped(&value(grouped)), "{bare}");
    }
}

/// A shape without its parentheses.
fn ungrouped(shape: &str) -> String {
    let mut text = shape.to_owned();
    while let Some(at) = text.find("Paren(") {
        let start = at + "Paren(".len();
        let mut depth = 1;
        let end = text[start..].find(|c| {
            depth += i32::from(c == '(') - i32::from(c == ')');
            depth == 0
        });
        let end = start + end.expect("parentheses balance");
        text.remove(end);
        text.replace_range(at..start, "");
    }
    text
}

#[test]
fn texts() {
    let text = |source: &str| {
        value(source).replacen("Text(Text { multiline: ", "", 1).strip_suffix(" })").unwrap().to_owned()
    };
    assert_eq!(text(r#""""#), "false, parts: []");
    assert_eq!(
        text(r#""a \"b\" \\ \n\t \${c} $d""#),
        r#"false, parts: [Literal("a \"b\" \\ \n\t ${c} $d")]"#
    );
    let x = "Expr(Path(Path { names: [x] }))";
    assert_eq!(text(r#""a ${x} b""#), format!("false, parts: [Literal(\"a \"), {x}, Literal(\" b\")]"));
    assert_eq!(text(r#""${ join(xs, ", ${"deep"}") }""#).matches("Literal").count(), 2);
    assert_eq!(
        text("\"a // b /* c # d ' e ; f => g\""),
        r#"false, parts: [Literal("a // b /* c # d ' e ; f => g")]"#
    );
}

/// What a `"""` text holds.
fn long(source: &str) -> String {
    let shape = value(&format!("\"\"\"{source}\"\"\""));
    let start = shape.find("Literal(").map_or(0, |at| at + "Literal(".len());
    shape[start..shape.rfind(")]").unwrap_or(start)].to_owned()
}

#[test]
fn long_texts() {
    assert_eq!(long("\n  one\n    two\n  "), r#""one\n  two\n""#);
    assert_eq!(long("\r\n  one\r\n    two\r\n  "), r#""one\n  two\n""#);
    assert_eq!(long("\n  one\n  two"), r#""one\ntwo""#, "the closing line may hold text");
    assert_eq!(long("one"), r#""one""#);
    assert_eq!(long("one\n  two\n"), r#""one\n  two\n""#);
    assert_eq!(long("\n\n    a\n  b\n    "), r#""\na\nb\n""#, "a line with less loses what it has");
    assert_eq!(long("\n  a \\n  b\n  "), r#""a \n  b\n""#, "an escaped newline begins no line");
    assert_eq!(long("\n  say \"hi\" and \"\" \\\"\"\"\n  "), r#""say \"hi\" and \"\" \"\"\"\n""#);
    assert_eq!(long(""), "");
    assert_eq!(long("\n  # no comment // here ; '\n  "), r##""# no comment // here ; '\n""##);
    let shape = value("\"\"\"\n  a ${x\n  }b\n    c\n  \"\"\"");
    assert!(shape.contains(r#"Literal("b\n  c\n")"#), "{shape}");
}

#[test]
fn spans_are_exact() {
    let source = "workflow w {\n  phase a   {\n    skip if  x && y  // why\n    step s = a.b { t = 1 ,  u }  \n    barrier b  \n  }\n}\n";
    let parse = valid(source);
    let text = |span: lockstep_grammar::ast::Span| &source[span.start as usize..span.end as usize];
    let DeclarationKind::Workflow(workflow) = &parse.file.declarations[0].kind else { panic!() };
    let phase = &workflow.phases[0];
    assert_eq!(text(phase.conditions[0].span), "skip if  x && y");
    assert_eq!(text(phase.conditions[0].value.span), "x && y");
    let lockstep_grammar::ast::Item::Step(step) = &phase.items[0] else { panic!() };
    assert_eq!(text(step.span), "step s = a.b { t = 1 ,  u }");
    assert_eq!(text(step.path.span), "a.b");
    assert_eq!(text(step.path.names[1].span), "b");
    assert_eq!(text(step.arguments.span), "{ t = 1 ,  u }");
    assert_eq!(text(step.arguments.entries[0].span), "t = 1");
    let lockstep_grammar::ast::Item::Barrier(barrier) = &phase.items[1] else { panic!() };
    assert_eq!(text(barrier.span), "barrier b");
    assert_eq!(text(workflow.params.span), "");
}

#[test]
fn nothing_is_a_file() {
    for source in ["", "\n", "\u{FEFF}", "// a", "//! a", "\r\n\t "] {
        assert_eq!(valid(source).file.declarations.len(), 0);
    }
    assert_eq!(parse("//! a").file.docs.0, "a");
}
