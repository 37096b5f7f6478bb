//! Input that wants to break the parser: it ends, with an error and on a small stack.

use lockstep_grammar::parse;

/// Parses on a thread with two megabytes of stack, as test and worker threads have.
fn ends_with_errors(source: String) {
    let start: String = source.chars().take(60).collect();
    let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(move || {
        let parse = parse(&source);
        // Dropping and comparing walk over the tree, too.
        let copy = parse.clone();
        assert_eq!(parse, copy);
        parse.errors.len()
    });
    let errors = thread.unwrap().join().unwrap_or_else(|_| panic!("{start}"));
    assert!(errors > 0, "{start}");
}

#[test]
fn deep_and_unclosed() {
    const SIZE: usize = 64 << 10;
    let pieces = [
        "(",
        "[",
        "{",
        "((((",
        "[[[[",
        "{{{{",
        "}",
        "]})",
        "([{",
        "a(",
        "a{",
        "a = {",
        "a = [",
        "!",
        "! ",
        "if ",
        "if a then ",
        "if a then b else ",
        "if a then b else if ",
        "then ",
        "else ",
        "\"",
        "\"\"\"",
        "\"${",
        "\"\"\"${",
        "${",
        "\"${\"",
        "\"\"\"${\"",
        "\"a${(",
        "\\",
        "\"\\",
        "a.",
        "a&&",
        "a||",
        "a==",
        "a<",
        "list<",
        "a: list<",
        "map<a,",
        "//",
        "/*",
        "/* */",
        "#",
        "#\n",
        "'",
        "''",
        "`",
        ";",
        ",",
        ",,",
        "=>",
        "=",
        "a=",
        "a:",
        "a:\n",
        "- ",
        "-\n",
        "-",
        "1",
        "1h",
        "1.",
        "%",
        "@",
        "$",
        "\n",
        " ",
        "\t",
        "\r",
        "\u{A0}",
        "\u{201C}",
        "é",
        "workflow w {\n",
        "phase a {\n",
        "step s = a {\n",
        "on failure { retry 1 every 1s then ",
        "retry 1 every 1s then ",
        "in ",
        "for x in ",
        "a b ",
        "service s(",
        "service s(a: ",
        "group g { a = \"\"\"\n",
        "group g { a = \"\n",
    ];
    let prefixes = [
        "",
        "group g { a = ",
        "workflow w {\n phase p {\n ",
        "service s(a: ",
        "group g { a = \"",
        "group g { a = \"\"\"",
        "workflow w { on failure { ",
    ];
    for prefix in prefixes {
        for piece in pieces {
            let source = format!("{prefix}{}", piece.repeat(SIZE / 16 / piece.len()));
            if source.trim().is_empty() || prefix.is_empty() && piece.starts_with("//") {
                continue;
            }
            ends_with_errors(source);
        }
    }
    for piece in ["(", "a = {", "\"${", "if ", "[", "list<", "\"a${(", "}"] {
        ends_with_errors(format!("group g {{ a = {}", piece.repeat(SIZE / piece.len())));
    }
}

#[test]
fn closed_and_deep() {
    for (open, close) in
        [("(", ")"), ("[", "]"), ("{ a = ", "}"), ("f(", ")"), ("\"${", "}\""), ("!(", ")"), ("a && (", ")")]
    {
        let nested = |depth: usize| {
            format!("group g {{ a = {}1{}\n}}\ngroup h {{ }}", open.repeat(depth), close.repeat(depth))
        };
        let levels = if open.contains('$') || open == "!(" || open == "a && (" { 40 } else { 100 };
        assert_eq!(parse(&nested(levels)).errors, [], "{open}");
        let deep = parse(&nested(200));
        assert_eq!(deep.errors.len(), 1, "{open} {:?}", deep.errors);
        assert!(deep.errors[0].message.contains("levels deep"), "{:?}", deep.errors);
        assert_eq!(deep.file.declarations.len(), 2, "{open}");
        assert!(deep.is_damaged(deep.file.declarations[0].span));
    }
}

#[test]
fn long_chains() {
    for (first, more) in [("a", " && a"), ("a", " || a"), ("a == a", " && a == a")] {
        let chain = |length: usize| format!("group g {{ a = {first}{}\n b = 1 }}", more.repeat(length));
        assert_eq!(parse(&chain(50)).errors, []);
        let long = parse(&chain(10_000));
        assert_eq!(long.errors.len(), 1);
        assert!(long.errors[0].message.contains("levels deep"));
    }
    let chain = format!("group g {{ a = {}1\n}}", "if a then b else ".repeat(100));
    assert_eq!(parse(&chain).errors, []);
}

#[test]
fn what_the_stack_cannot_hold_costs_one_declaration() {
    for piece in ["if ", "if a then ", "!(", "list<"] {
        let source =
            format!("group first {{ }}\ngroup g {{ a = {}\n}}\ngroup last {{ }}\n", piece.repeat(20_000));
        let thread = std::thread::Builder::new().stack_size(2 << 20).spawn(move || parse(&source));
        let parse = thread.unwrap().join().unwrap();
        let names: Vec<&str> =
            parse.file.declarations.iter().map(|declaration| declaration.name.text.as_str()).collect();
        assert!(names.starts_with(&["first"]) && names.ends_with(&["last"]), "{piece} {names:?}");
        assert!(!parse.errors.is_empty());
    }
}

/// Behind a comment of several lines it is the last one of them that is read on.
#[test]
fn brackets_behind_comments_of_several_lines() {
    for source in [" */*\né*/]", "workflow w {\n    /* a\n é */ } ]\n}", "    x = <<A\n é\nA\n é]"] {
        lockstep_grammar::parse(source);
    }
}
