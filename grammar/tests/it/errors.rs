//! What errors look like: each source with its messages below the lines they are about.

use crate::support::{apply, show};
use lockstep_grammar::{RULES, parse};

/// Makes a snapshot of each named source.
macro_rules! errors {
    ($($name:ident: $source:expr;)*) => {$(
        #[test]
        fn $name() {
            let source = $source;
            let known = |rule: &str| RULES.iter().any(|(name, _)| *name == rule);
            let errors = parse(source).errors;
            assert!(!errors.is_empty() && errors.iter().all(|error| known(error.rule)));
            insta::assert_snapshot!(show(source));
        }
    )*};
}

errors! {
    braces_below: r#"
workflow w {
  phase p {
    parallel
    {
      step s = shell { script = "true" }
    }
    rollback // of what was done
    {
      step u = shell { script = "true" }
    }
  }
  parallel

  {
    phase q { }
  }
}
pipeline r {
  parallel
  {
    stage s = w { }
  }
}
"#;
    heads: r#"
service: web = kubernetes {
  artifact = 1 1
}
service "web", = kubernetes { }
workflow i(a: string {
  phase p {
    step s = shell { script = "true" }
  }
}
workflow j(
  a: string,
{
  phase p { }
}
pipeline k(a: bool = false {
  parallel { }
}
group g { members = [] }
"#;
    declarations: r#"
import
import "../${x}"
import "a" as
import "a" import "b"
servce one = kubernetes { }
service two = { }
service three kubernetes { }
service four = kubernetes
service five
= kubernetes { }
secret = env { }
channel c = slack
{
}
group "g h" { }
environment if { }
phase a { }
stage b = c { }
let x = 1
include "x"
resource r { capacity = 1 } more
1 + 1
"#;
    parameters: r#"
service a(x) = p { }
service b(x: ) = p { }
service c(x int, y: string) = p { }
service d(x: list<>, y: list<int, z: bool) = p { }
service e(x: int in, y: int in 5..1, z: int in 1..) = p { }
service f(x = 1, y: int == 2, z: int := 3) = p { }
service g(x: int y: int) = p { }
service h(x: int,, y: int) = p { }
service i(, x: int) = p { }
service j(in: int, x: if) = p { }
"#;
    entries: r#"
group g {
  a: 1
  b == 2
  c := 3
  d => 4
  e 5
  f =
  g = 7 8
  h = [1 2, 3]
  i = { x = 1 y = 2 }
  j = 1, , k = 2
  "l"
  l- = 1
  m, n o
  = 2
  in = 3
  "x ${y}" = 4
  x.y = 5
}
"#;
    numbers: r#"
group g {
  a = 10 m
  b = 20 %
  c = 30 seconds
  d = 1.5h
  e = 1.5
  f = -5
  g = 1m2h
  h = 1h1h
  i = 5min
  j = 5x
  k = 99999999999999999999
  l = 999999999999d
  m = 1_000
  n = 33.3%
}
"#;
    texts: r#"
group g {
  a = "x
  b = 'x'
  c = `x "y" ${z}`
  d = "\q \u{1}"
  e = "${}"
  f = "${a b}"
  g = "${a // b}"
  h = "${a"
  i = [f("x), 1]
  j = don't
  k = “x”
}
"#;
    expressions: r#"
group g {
  a = b &&
  c = && d
  e = !
  f = a == b == c
  g = a and b or c
  h = 1 + 2
  i = a ? b : c
  j = if a then b
  k = if a b else c
  l = if then b else c
  m = a && if b then c else d
  n = (a, b)
  o = ()
  p = [a b]
  q = f(a b)
  r = a.b(c)
  s = a.
  t = not a
  u = x.in
  v = a b
  w = a | b
}
"#;
    workflows: r#"
workflow w {
  phse a { }
  phase { }
  phase b
  phase "c" { }
  phase d e { }
  phase f
  {
  }
  steps:
    - name: x
      run: y
    - name: z
  step s = shell { }
  depends_on: [a]
  needs a
  parallel { phase x { } step y = shell { } }
  on_failure { ignore }
  on success { }
  notify ops
  notify on failure
  notify ops, on failure
  use { }
  retry 3
  stage q = x { }
}
"#;
    phases: r#"
workflow w {
  phase a {
    step = shell { }
    step s shell { }
    step t = { }
    step u = shell
    stp v = shell { }
    section x { section y { } }
    section z { rollback { } }
    barrier
    barrier b c
    barrier d { timeout 10m }
    barrier e { step x = shell { } }
    skip if
    skip if a then
    only when a
    when x == y
    if x { }
    parallel { barrier f }
    parallel max 2 { }
    rollback { section g { } }
    lane h { }
    # comment
    /* comment */
    step i = shell { phase x { }, skp if y, x = 1; y = 2 }
  }
}
"#;
    failures: r#"
workflow w {
  on failure
  on failure { }
  on failure of { ignore }
  on failure under 20 of hosts { ignore }
  on failure under 20% { ignore }
  on failure of timeout connectivity { ignore }
  on failure { continue }
  on failure { igore }
  on failure { ignore then fail }
  on failure { retry 3 }
  on failure { retry every 1s then fail }
  on failure { retry 3 every then fail }
  on failure { retry 3 every 10s, then fail }
  on failure { retry 3 every 10 then fail }
  on failure { retry 3 every 1s }
  on failure { retry 3 every 1s then }
  on failure { retry 99999999999 every 1s then fail }
  on failure { ask within 1h then fail }
  on failure { ask sre then fail }
  on failure { ask sre within 1h }
  on failure { rollback stage }
  on failure { rollback workflow }
  on failure { ignore fail }
  on failure { ignore, fail }
}
"#;
    pipelines: r#"
pipeline p {
  concurrency = queue
  stages:
    - a
  phase a { }
  lane b { }
  stage c { }
  stage "d" = w { }
  stage e = w
  stage f[] = w { }
  stage g[x y] = w { }
  stage h = w { on failure { ignore } }
  stage i = w { needs: [h], when: x }
  approval
  approval j
  for { }
  for x { }
  for x in { }
  for x in y { for z in w { } lane l { } parallel { } }
  foreach x in y { }
  parallel max { }
  parallel max 1h { }
  parallel all_or_nothing max 2 { }
  parallel maximum 2 { }
  parallel { approval k { } stage = w { } for x in y { approval m { } } parallel { } depends_on = x }
  depends_on = [a]
}
"#;
    providers: r#"
provider p {
  service { a: int b }
  service { c: int }
  artifact { }
  artifact x
  step a(
    x: int,
  ) -> { changes target }
  step b -> x { }
  step c { changes }
  step d { undone by }
  step e { undone rollback }
  step f { irreversible x, place = [a] }
  step g() -> { y: int }
  { changes target }
  phase h { }
}
"#;
    brackets: r#"
workflow w {
  phase a {
    step s = shell { script = "x"
    step t = shell { script = "y" }
  }
}
group g { a = [1, 2 }
group h { a = (1] }
group i {
  a = f(1
}
group j { } }
workflow deep {
  phase a {
    step s = shell {
"#;
    invisible: "group g {\n  a =\u{A0}1\n  b\u{200B} = 2\n  c = 3\u{2003}\u{2003}\n}\n@\n";
}

/// Sources whose mistakes are mechanical: once every fix is applied, nothing is left to report.
#[test]
fn fixes_make_it_right() {
    for source in [
        "group g { a: 1, b == 2, c := 3, d => 4, e 5, }",
        "group g { a = [1 2], b = { x = 1 y = 2 }, c = 'x', d = `x \"y\"`, e = \"\\q\" }",
        "group g { a = 1; b = 2; }\n# x\n/* y */\ngroup h { }",
        "group g { a = 10 m, b = 20 %, c = 1.5h, d = 1m2h, e = 5min, f = 3 seconds, }",
        "workflow w {\n phse a { }\n phase \"c\" { }\n phase f\n {\n }\n on_failure { ignore }\n on failure { continue }\n on failure { rollback workflow } }",
        "service a(x: int y: int, z: int in 5..1,) kubernetes { }",
        "workflow w { phase a { step s shell.x { timeout 10m } skip if a and b or c } }",
        "pipeline p { stage \"d\" = w { a = b && if c then d else e } }",
        "group g { a = \"x",
        "group g { a = 1,, b = 2 } group h { a =\u{A0}1 } }",
        "group g {\n a = 1\n",
    ] {
        let mut text = source.to_owned();
        // A fix may uncover the next mistake of its line.
        for _ in 0..8 {
            let errors = parse(&text).errors;
            let Some(error) = errors.first() else { break };
            let (_, edits) = error.fix.as_ref().unwrap_or_else(|| panic!("{}", show(&text)));
            text = apply(&text, edits);
        }
        let mut rest = parse(&text).errors;
        while let Some((_, edits)) = rest.first().and_then(|error| error.fix.clone()) {
            text = apply(&text, &edits);
            let next = parse(&text).errors;
            assert!(next.len() < rest.len(), "{}", show(&text));
            rest = next;
        }
        assert_eq!(rest, [], "{}", show(&text));
    }
}

#[test]
fn the_help_is_for_what_is_being_written_and_not_for_its_block() {
    for (source, form) in [
        ("workflow w {\n phase a { step s = k.swap }\n}\n", "step NAME = PROVIDER.STEP { … }"),
        (
            "workflow w {\n phase a { step s = k.swap {} step t = k.swap }\n}\n",
            "step NAME = PROVIDER.STEP { … }",
        ),
        ("pipeline p { stage s = w }\n", "stage NAME = WORKFLOW { … }"),
    ] {
        let help = parse(source).errors[0].help.clone().unwrap_or_default();
        assert_eq!(help, format!("write `{form}`"), "{}", show(source));
    }
}
