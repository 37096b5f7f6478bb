fn main() {
    let source = std::fs::read_to_string(std::env::args().nth(1).unwrap()).unwrap();
    let p = lockstep_grammar::parse(&source);
    if std::env::args().nth(2).is_some() { println!("{:#?}", p.file); }
    for e in &p.errors {
        let (a, b) = (e.span.start as usize, e.span.end as usize);
        let line = source[..a].matches('\n').count() + 1;
        println!("{line}: {} {} [{:?}] help={:?} rel={:?}", e.rule, e.message, &source[a..b], e.help, e.related.as_ref().map(|(s, m)| (source[..s.start as usize].matches('\n').count() + 1, m)));
    }
}
