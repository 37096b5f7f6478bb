fn main() {
    const SIZE: usize = 64 << 10;
    let pieces = [
        "(", "[", "{", "((((", "}", "]})", "([{", "a(", "a{", "a = {", "a = [", "a = {\n", " a = {\n", "!", "if ", "if a then ", "if a then b else ",
        "\"", "\"\"\"", "\"${", "\"\"\"${", "${", "\"${\"", "\"\"\"${\"", "\"a${(", "\\", "a.", "a&&", "a<", "list<", "a: list<", "map<a,", "/*", "/* */", "#", "#\n", "'", "''", ";", ",", "=>",
        "=", "a:\n", "- ", "-\n", "1h", "@", "$", "\n", " ", "\t", "\u{A0}", "workflow w {\n", "phase a {\n", "step s = a {\n", "retry 1 every 1s then ", "a b ", "a = \"\n", "a = \"}\n", "}\n", ")\n", "(\n", "\"\n",
        "a = '\n", "workflow w\n", "a = (]\n", "a = \"\"\"\ngroup g {\n", "a = \"${\n", "a = \"\"\"${\n", "[\"${\"]", "group g { a = \"\"\"\n","/// a\n", "// a\n}", "//\n", "a = [\n", "x,", "a = \"((((((((((((((((]]]\n", "not not ", "step ", "service a\n",
        "(1]", "{ (1] }", "}\n//\n", "phase a\n", "phase a\n}\n", "a = f(\n}\n", "if a\n", "a\n//\n", "\u{201C}", "a = \u{201C}x\n", "[if a then b else ", "{ a: [", "=> ", "a = 1 ", "a a",
    ];
    let prefixes = ["", "group g { a = ", "workflow w {\n phase p {\n ", "service s(a: ", "group g { a = \"", "group g { a = \"\"\"", "workflow w { on failure { ", "group g {\n", "group g { x = \"${"];
    let mut worst = vec![];
    for prefix in prefixes { for piece in pieces { for half in [false, true] {
        let mut s = format!("{prefix}{}", piece.repeat(SIZE / piece.len() / if half {2} else {1}));
        if half { s.push_str(&"}".repeat(SIZE/4)); s.push_str(&"/".repeat(SIZE/4)); }
        let t = std::time::Instant::now();
        let p = lockstep_grammar::parse(&s);
        worst.push((t.elapsed().as_millis(), prefix, piece, half, p.errors.len()));
    }}}
    worst.sort_by(|a, b| b.0.cmp(&a.0));
    for w in &worst[..25] { println!("{w:?}"); }
}
