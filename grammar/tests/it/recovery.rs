//! One mistake, one report; and nothing hidden outside of its declaration.

use crate::support::{apply, show};
use lockstep_grammar::ast::DeclarationKind;
use lockstep_grammar::parse;

const TWENTY: &str = include_str!("corpus/twenty.lockstep");

#[test]
fn twenty_mistakes_are_twenty_reports() {
    let parse = parse(TWENTY);
    let lines: Vec<usize> =
        TWENTY.lines().enumerate().filter(|(_, line)| line.contains("// !")).map(|(at, _)| at + 1).collect();
    let reported: Vec<usize> = parse
        .errors
        .iter()
        .map(|error| TWENTY[..error.span.start as usize].matches('\n').count() + 1)
        .collect();
    assert_eq!(lines.len(), 20);
    assert_eq!(reported, lines, "{}", show(TWENTY));
    let names: Vec<&str> =
        parse.file.declarations.iter().map(|declaration| declaration.name.text.as_str()).collect();
    assert_eq!(names, ["one", "checkout", "production", "token", "rolling", "release", "edge", "sre"]);
}

/// The marked bracket is reported as unclosed, and nothing else is; the group `last` is still there.
fn unclosed(source: &str) {
    let at = source.find('§').expect("the bracket is marked");
    let source = source.replace('§', "") + "\ngroup last { }\n";
    let parse = parse(&source);
    assert_eq!(parse.errors.len(), 1, "{}", show(&source));
    let error = &parse.errors[0];
    assert_eq!(error.rule, "syntax/unclosed", "{}", show(&source));
    assert_eq!(error.span.start as usize, at, "{}", show(&source));
    assert!(error.related.is_some());
    assert_eq!(parse.file.declarations.last().unwrap().name.text, "last");
    let fixed = apply(&source, &error.fix.as_ref().unwrap().1);
    assert_eq!(lockstep_grammar::parse(&fixed).errors, [], "{fixed}");
}

#[test]
fn unclosed_brackets() {
    unclosed("group g §{\n  a = 1\n");
    unclosed("group g §{ a = 1");
    unclosed("group g { a = §[1, 2\n}");
    unclosed("group g {\n  a = f§(1, 2\n  b = 2\n}");
    unclosed("workflow w §{\n  phase a {\n    barrier b\n  }\n");
    unclosed("workflow w {\n  phase a §{\n    barrier b\n}\n");
    unclosed("workflow w {\n  phase a §{\n    barrier b\n\n  phase c {\n    barrier d\n  }\n}\n");
    unclosed("workflow w {\n  phase a {\n    step s = shell §{\n      script = \"x\"\n  }\n}\n");
    unclosed(
        "workflow w {\n  phase a {\n    step s = shell §{ script = \"x\"\n    step t = shell { script = \"y\" }\n  }\n}\n",
    );
    unclosed(
        "pipeline p {\n  parallel {\n    stage a = x {\n      s = c §{ v\n    }\n    stage b = x { }\n  }\n}\n",
    );
    unclosed("workflow w {\n  phase a §{\n  phase b {\n    barrier c\n  }\n}\n");
    unclosed("group g {\n  a = §[\n    1,\n    2,\n  b = 3\n}\n");
    unclosed(
        "environment e {\n  infrastructure i = k { a = 1 }\n  infrastructure j = k §{ a = 1\n  infrastructure l = k { a = 1 }\n}\n",
    );
}

/// Where the fix can only guess, there is one report all the same.
#[test]
fn unclosed_parameters() {
    let source = "service s(a: int = p { }\ngroup last { }";
    let parse = parse(source);
    assert_eq!(parse.errors.len(), 1, "{}", show(source));
    assert_eq!((parse.errors[0].rule, parse.errors[0].span.start), ("syntax/unclosed", 9));
    assert_eq!(parse.file.declarations.len(), 1);
    assert!(parse.damaged.iter().any(|span| span.len() == source.len()), "a declaration is missing");
}

#[test]
fn too_many_closing_brackets() {
    for source in [
        "group g { a = 1 } §}\ngroup last { }",
        "workflow w {\n  phase a {\n    step s = shell { script = \"\" } §}\n    step t = shell { }\n  }\n}\ngroup last { }",
        "workflow w {\n  phase a {\n    step s = shell { }\n    §}\n    step t = shell { }\n  }\n}\ngroup last { }",
        "group g { a = [1, 2]§] }\ngroup last { }",
        "group g {\n  a = (1§}\n}\ngroup last { }",
    ] {
        let at = source.find('§').unwrap();
        let source = source.replace('§', "");
        let parse = parse(&source);
        assert_eq!(
            parse.errors.first().map(|error| error.span.start as usize),
            Some(at),
            "{}",
            show(&source)
        );
        assert_eq!(parse.file.declarations.len(), 2, "{}", show(&source));
    }
}

#[test]
fn texts_without_an_end() {
    for (source, errors) in [
        ("group g { a = §\"x }\ngroup last { }", 1),
        ("group g {\n  a = §\"x\n  b = 1\n}\ngroup last { }", 1),
        ("group g {\n  a = [f(§\"x), 2]\n  b = 1\n}\ngroup last { }", 1),
        ("group g {\n  a = \"x §${y z\"\n  b = 1\n}\ngroup last { }", 1),
        ("group g {\n  a = §\"\"\"\n  one\n  b = 1\n}\ngroup last { }", 1),
        ("group g {\n  a = §\"\"\"\n  one\n}\ngroup mid { a = \"\"\"x\"\"\" }\ngroup last { }", 1),
        ("group g {\n  a = \"\"\"x §${y\n  \"\"\"\n}\ngroup last { b = \"\"\"x\"\"\" }", 1),
        ("group g { a = \"x §${f(y\" }\ngroup last { }", 1),
        ("group g { a = \"x §${\"y\n}\ngroup last { }", 2),
        ("group g {\n  a = §\"x\n  y\n\"\n  b = 1\n}\ngroup last { }", 1),
        ("group g {\n  a = [§\"x ${y}\n  z ${v\n  w\\\"\"], // c\n  b = 1\n}\ngroup last { }", 1),
        ("group g {\n  a = §\"x\n}\ngroup mid { }\ngroup last { b = \"\n}", 2),
        ("workflow w {\n  phase p {\n    a = §\"x\n  }\n  b = c\"\n}\ngroup last { }", 2),
    ] {
        let at = source.find('§').unwrap();
        let source = source.replace('§', "");
        let parse = parse(&source);
        assert_eq!(
            parse.errors.first().map(|error| error.span.start as usize),
            Some(at),
            "{}",
            show(&source)
        );
        assert_eq!(parse.errors.len(), errors, "{}", show(&source));
        assert_eq!(parse.errors[0].rule, "syntax/text");
        assert_eq!(parse.file.declarations.last().unwrap().name.text, "last");
    }
}

#[test]
fn one_bad_entry_costs_one_entry() {
    let source = "workflow w {\n  phase a {\n    step s = shell { x = 1, y = , z = 3 }\n    nonsense here\n    step t = shell { }\n  }\n  phase b { }\n}\n";
    let parse = parse(source);
    assert_eq!(parse.errors.len(), 2, "{}", show(source));
    let DeclarationKind::Workflow(workflow) = &parse.file.declarations[0].kind else { panic!() };
    assert_eq!(workflow.phases.len(), 2);
    assert_eq!(workflow.phases[0].items.len(), 2);
    let lockstep_grammar::ast::Item::Step(step) = &workflow.phases[0].items[0] else { panic!() };
    assert_eq!(step.arguments.entries.len(), 2);
    assert!(parse.is_damaged(step.span) && parse.is_damaged(workflow.phases[0].span));
    assert!(!parse.is_damaged(workflow.phases[1].span));
}

/// Takes single characters out of a correct file: every declaration but the touched one stays as it was.
#[test]
fn a_missing_character_stays_in_its_declaration() {
    let whole = include_str!("corpus/whole.lockstep");
    let before = parse(whole);
    for (at, character) in whole.char_indices().step_by(5) {
        let touched = before.file.declarations.iter().position(|declaration| {
            (declaration.span.start as usize..declaration.span.end as usize).contains(&at)
        });
        // The keyword that begins a declaration is what ends the one before.
        let Some(touched) =
            touched.filter(|touched| before.file.declarations[*touched].name.span.end as usize <= at)
        else {
            continue;
        };
        let mut source = whole.to_owned();
        source.remove(at);
        let after = parse(&source);
        for (index, declaration) in before.file.declarations.iter().enumerate() {
            let kept = after.file.declarations.iter().any(|other| other.name.text == declaration.name.text);
            assert!(
                kept || index == touched,
                "without {character:?} at {at}, {} is lost\n{}",
                declaration.name.text,
                show(&source)
            );
        }
        assert!(after.errors.len() <= 3, "without {character:?} at {at}\n{}", show(&source));
    }
}

/// A head without its bracket costs one report, with the bracket as its fix; what stands below is read.
#[test]
fn heads_without_a_bracket() {
    for head in [
        "workflow w§\n  a: int,\n) {\n  phase p {\n    step s = x { }\n  }\n}",
        "pipeline p§ // why\n  a: int\n) {\n  stage s = x { }\n}",
        "workflow w(\n  a: int,\n)§\n  phase p {\n    step s = x { }\n  }\n}",
        "workflow w(a: int)§\n  phase p {\n    step s = x { }\n  }\n}",
        "workflow w {\n  phase p§ // why\n    step s = x { }\n  }\n}",
        "workflow w {\n  phase p {\n    step s = x§\n      y = 1\n    }\n  }\n}",
        "workflow w {\n  phase p {\n    rollback§\n      step s = x { }\n    }\n  }\n}",
        "pipeline p {\n  parallel max 2 all_or_nothing§\n    stage s = x { }\n  }\n}",
        "pipeline p {\n  parallel {\n    for x in e.*§\n      stage s = x { }\n    }\n  }\n}",
    ] {
        let at = head.find('§').unwrap();
        let source = format!("{}\ngroup last {{ }}\n", head.replace('§', ""));
        let parse = parse(&source);
        let [error] = parse.errors.as_slice() else { panic!("{}", show(&source)) };
        let (_, edits) = error.fix.clone().unwrap();
        let [(span, bracket)] = edits.as_slice() else { panic!("{edits:?}") };
        assert_eq!(span.start as usize, at);
        assert!(error.message.starts_with(&format!("expected `{}`", bracket.trim())), "{}", show(&source));
        let mut mended = source.clone();
        mended.insert_str(at, bracket);
        assert_eq!(lockstep_grammar::parse(&mended).errors, []);
        let whole = lockstep_grammar::parse(&mended).file;
        assert_eq!(parse.file.declarations.len(), whole.declarations.len(), "{}", show(&source));
        let debug = |file| format!("{file:?}").matches("text: \"s\"").count();
        assert_eq!(debug(&parse.file), debug(&whole), "{}", show(&source));
    }
}

/// Other quotes in place of the `"""` of a text cost one report, with the right ones as its fix, wherever they stand.
#[test]
fn long_texts_with_other_quotes() {
    const WRONG: [&str; 7] = ["\"", "\"\"", "\"\"'", "'''", "''", "```", "'\"'"];
    let step = |name: &str| {
        format!(
            "    step {name} = x {{\n      y = \"\"\"\n        a {{ ${{b}}\n          - \"c\n      \"\"\"\n      z = 1\n    }}\n"
        )
    };
    let right =
        format!("workflow w {{\n  phase p {{\n{}{}{}  }}\n}}\n", step("one"), step("two"), step("three"));
    assert_eq!(parse(&right).errors, []);
    let marks: Vec<usize> = right.match_indices("\"\"\"").map(|(at, _)| at).collect();
    let mended = |source: &str, reports: usize| {
        let found = parse(source);
        assert_eq!(found.errors.len(), reports, "{}", show(source));
        assert_eq!(format!("{:?}", found.file).matches("Step {").count(), 3, "{}", show(source));
        let edits = found.errors.iter().flat_map(|error| error.fix.clone().unwrap().1);
        assert_eq!(apply(source, &edits.collect::<Vec<_>>()), right, "{}", show(source));
    };
    for (index, at) in marks.iter().enumerate() {
        for wrong in WRONG {
            let source = [&right[..*at], wrong, &right[at + 3..]].concat();
            mended(&source, 1);
            // Behind a text that is not closed, another one that does not begin is a part of it.
            let Some(next) = marks.get(index + 1).filter(|_| index % 2 == 0) else { continue };
            for other in WRONG {
                let source =
                    [&right[..*at], wrong, &right[at + 3..*next], other, &right[next + 3..]].concat();
                // Both quotes of one text are one mistake, where they are those of another language.
                mended(&source, if wrong == other { 1 } else { 2 });
            }
        }
    }
}

/// An opening bracket that is missing on its line costs one report, with the bracket as its fix.
#[test]
fn lines_without_their_opening_bracket() {
    let source = r#"
environment e {
  may_run = [ops]
  infrastructure a = local { root = "a" }
  infrastructure b = local { root = "b" }
}
group ops { members = ["ada", "ken"] }
resource gate { capacity = 2 }
secret token = env { name = "TOKEN" }
workflow w(a: string in ["x", "y"]) {
  phase p {
    use gate { permits = 1 }
    step s = shell { script = "x", env = { A = a } }
    step t = http.check { url, timeout = 5m }
    barrier b { timeout = 4h }
    on failure of timeout { ask ops within 5m then rollback }
  }
}
pipeline p {
  stage one = w { service = web { version }, infra = e.a }
  stage two = w { service = web { version, flavour = "fat" }, infra = e.b }
}
"#;
    assert_eq!(parse(source).errors, []);
    let brackets = source.match_indices(['{', '[']).filter(|(at, _)| {
        // What ends its line is the head of a block, and `in` begins a restriction.
        let line = source[*at + 1..].lines().next().unwrap_or_default();
        !line.is_empty()
    });
    for (at, bracket) in brackets {
        let broken = [&source[..at], &source[at + 1..]].concat();
        let found = parse(&broken);
        let [error] = found.errors.as_slice() else { panic!("{}", show(&broken)) };
        let (_, edits) = error.fix.clone().unwrap_or_else(|| panic!("{}", show(&broken)));
        let mended = apply(&broken, &edits);
        let plain = |text: &str| text.split_whitespace().collect::<String>();
        assert_eq!(plain(&mended), plain(source), "without `{bracket}` at {at}");
    }
}
