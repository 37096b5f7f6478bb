//! Sources of any size, for benchmarks and tests: realistic ones, large pipelines, and ones made to be slow.
#![allow(dead_code)]

use std::fmt::Write;

/// A correct source of about `size` bytes, made of services, environments, workflows and pipelines as people write them.
pub fn realistic(size: usize) -> String {
    let mut source = String::from("//! Everything that the shop runs.\n\n");
    for number in 0.. {
        if source.len() >= size {
            break;
        }
        source.push_str(&BLOCK.replace('#', &number.to_string()));
    }
    source
}

const BLOCK: &str = r#"
group sre_# { members = ["ada", "grace"] }
resource migrations_# { capacity = 1 }

/// Sells things.
service shop_#(version: string, tier: string in ["gold", "silver"] = "gold") = kubernetes {
  artifact  = docker_image { image = "registry.example.com/shop-#", tag = version }
  manifests = ["k8s/*.yaml", "k8s/${tier}/*.yaml"]
}

environment production_# {
  kind       = production
  may_answer = [sre_#]
  infrastructure region1 = kubernetes { context = "prod", namespace = "shop-#-1" }
  infrastructure region2 = kubernetes { context = "prod", namespace = "shop-#-2" }
}

/// A rolling update of one target, watched for a while.
workflow rolling_#(
  service: service<kubernetes>,
  infra: infrastructure<kubernetes>,
  soak: duration = 10m,
  skip_check: bool = false,
) {
  strategy = rolling

  phase prepare {
    use migrations_# { permits = 1 }
    step migrate = shell {
      script    = "./migrate up"
      env       = { REGION = infra.name, IMAGE = service.artifact.image }
      changes   = true
      undone_by = unmigrate
    }
    rollback {
      step unmigrate = shell { script = "./migrate down" }
    }
  }

  phase deploy {
    step rollout = kubernetes.rolling { timeout = 15m }
    section look {
      skip if skip_check
      step soak = wait { duration = soak }
      parallel {
        step ping = http.check { url = "https://${infra.namespace}.example.com/health", timeout = 1m }
        step load = verify.command { script = "load --at ${infra.namespace} --limit 90" }
      }
      // A person looks before it is taken back.
      on failure of verification { ask sre_# within 30m then rollback }
    }
    on failure of connectivity, timeout { retry 2 every 10s, 1m then rollback }
  }

  phase wrap_up {
    barrier all_regions { timeout = 3h }
    step tell = shell {
      script = "tell \"$TEXT\""
      env    = { TEXT = "${stage.name} runs revision ${rollout.revision}" }
    }
  }
}

pipeline release_#(version: string, careful: bool = true) {
  approval go { from = sre_#, within = 2d }
  parallel {
    for target in production_#.* {
      stage deploy[target] = rolling_# {
        service    = shop_# { version }
        infra      = target
        soak       = if careful then 30m else 1m
        skip_check = false
      }
    }
  }
}
"#;

/// A group of `stages` concurrent stages that each meet `barriers` barriers and run `steps` steps. With `inverted`
/// stages of every second kind meet the last two barriers the other way round.
pub fn group(stages: usize, barriers: usize, steps: usize, inverted: bool) -> String {
    let mut source = String::new();
    for (workflow, turned) in [("even", false), ("odd", inverted)] {
        let _ = writeln!(source, "workflow {workflow}(infra: infrastructure<local>) {{\n  phase deploy {{");
        for step in 0..steps {
            let _ = writeln!(
                source,
                "    step work{step} = shell {{ script = \"work {step}\", changes = true, irreversible = true }}"
            );
        }
        let _ = writeln!(source, "  }}\n  phase meet {{");
        let mut order: Vec<usize> = (0..barriers).collect();
        if turned {
            let last = barriers - 1;
            order.swap(last, last - 1);
        }
        for barrier in order {
            let _ = writeln!(source, "    barrier b{barrier} {{ timeout = 2d }}");
        }
        source.push_str("  }\n}\n");
    }
    source.push_str("environment test {\n");
    for stage in 0..stages {
        let _ = writeln!(source, "  infrastructure t{stage} = local {{ root = \"/srv/{stage}\" }}");
    }
    source.push_str("}\npipeline release {\n  parallel {\n");
    for stage in 0..stages {
        let workflow = if stage % 2 == 0 { "even" } else { "odd" };
        let _ = writeln!(source, "    stage s{stage} = {workflow} {{ infra = test.t{stage} }}");
    }
    source.push_str("  }\n}\n");
    source
}

/// Repeats something numbered until `size` bytes are full.
fn many(size: usize, one: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for number in 0.. {
        let next = one(number);
        if text.len() + next.len() > size {
            break;
        }
        text.push_str(&next);
    }
    text
}

/// So many, one after another.
fn each(count: usize, one: impl Fn(usize) -> String) -> String {
    (0..count).map(one).collect()
}

/// Two stages that promise all or nothing, of a workflow with as many arguments as fit, and with what stands in it for so many.
fn promise_with_arguments(size: usize, inside: impl Fn(usize) -> String) -> String {
    let params = many(size, |n| format!("a{n}: bool\n"));
    let count = params.lines().count();
    let given = each(count, |n| format!("a{n}\n"));
    format!(
        "workflow w(\n{params}) {{ {} }}\npipeline p(\n{params}) {{ parallel all_or_nothing {{\nstage a = w {{\n{given}}}\nstage b = w {{\n{given}}} }} }}\n",
        inside(count)
    )
}

/// Inputs of about `size` bytes that ask for as much work as so many bytes can, by name.
pub fn hostile(size: usize) -> Vec<(&'static str, String)> {
    let half = size / 2 - 200;
    let most = size - 400;
    let steps = |text: String| format!("workflow w {{ phase p {{\n{text}}} }}\n");
    vec![
        (
            "lone_barriers",
            steps(many(most, |n| format!("barrier b{n}\n"))) + "pipeline p { stage s = w {} }\n",
        ),
        ("near_barriers", {
            let one = |name: &str, from: usize| {
                let text = many(half, |n| format!("barrier bar{}\n", 10_000 + 2 * n + from));
                format!("workflow {name} {{ phase p {{\n{text}}} }}\n")
            };
            one("w", 0) + &one("v", 1) + "pipeline p { parallel { stage a = w {}\nstage b = v {} } }\n"
        }),
        (
            "one_barrier_again_and_again",
            steps(many(most, |_| "barrier b\n".into()))
                + "pipeline p { parallel { stage a = w {}\nstage b = w {} } }\n",
        ),
        (
            "sequential",
            steps("barrier b\n".into())
                + &format!(
                    "pipeline p {{ parallel {{ lane l {{\n{}}} stage z = w {{}} }} }}\n",
                    many(most, |n| format!("stage s{n} = w {{}}\n"))
                ),
        ),
        ("blocks_without_heads", "workflow w {\n".to_string() + &many(most, |_| "    a\n  }\n".into())),
        ("one_large_block_without_head", many(most - 10, |n| format!("  a{n}\n")) + "}\n"),
        ("dedented_members", {
            let open = many(half, |_| " phase p {\n".into());
            "workflow w {\n".to_string() + &open + &many(half, |n| format!(" barrier b{n}\n")) + "}\n}\n"
        }),
        ("lists_without_end", many(most, |_| "  a = [\"b\" = [\n".into())),
        ("values_below", steps(many(most, |_| "  a =\n".into()))),
        ("unknown_names", steps(many(most, |n| format!("step s{n} = shell {{ script = x{n} }}\n")))),
        ("unknown_steps", steps(many(most, |n| format!("step s{n} = local.deplo{n} {{}}\n")))),
        (
            "unknown_workflows",
            many(half, |n| format!("workflow abcde{n} {{}}\n"))
                + &format!("pipeline p {{\n{}}}\n", many(half, |n| format!("stage s{n} = edcba{n} {{}}\n"))),
        ),
        (
            "unknown_arguments",
            format!("workflow w(\n{}) {{}}\n", many(half, |n| format!("a{n}: int\n")))
                + &format!("pipeline p {{ stage s = w {{\n{}}} }}\n", many(half, |n| format!("b{n} = 1\n"))),
        ),
        (
            "unknown_targets",
            format!(
                "environment e {{\n{}}}\nworkflow w(i: infrastructure) {{}}\n",
                many(half, |n| format!("infrastructure t{n} = local {{}}\n"))
            ) + &format!(
                "pipeline p {{\n{}}}\n",
                many(half, |n| format!("stage s{n} = w {{ i = e.u{n} }}\n"))
            ),
        ),
        (
            "wrong_targets",
            format!(
                "environment e {{\n{}}}\nworkflow w(i: infrastructure<ssh>) {{}}\n",
                many(half, |n| format!("infrastructure t{n} = local {{ root = \"\" }}\n"))
            ) + &format!(
                "pipeline p {{\n{}}}\n",
                many(half, |n| format!("stage s{n} = w {{ i = e.t{n} }}\n"))
            ),
        ),
        (
            "wrong_services",
            many(half, |n| format!("service s{n} = local {{ artifact = jar {{ path = \"\" }} }}\n"))
                + "workflow w(s: service<ssh>) {}\n"
                + &format!(
                    "pipeline p {{\n{}}}\n",
                    many(half, |n| format!("stage s{n} = w {{ s = s{n} }}\n"))
                ),
        ),
        (
            "names_beside_damage",
            format!(
                "workflow v {{ phase p {{ step = }} }}\n{}",
                steps(many(most, |n| format!("step s{n} = shell {{ script = x{n} }}\n")))
            ),
        ),
        (
            "lost_details_of_what_many_run",
            steps(many(half, |n| {
                format!("step s{n} = shell {{ script = \"x\", timeout = @ }}\nbarrier b{n}\n")
            })) + &many(half, |n| {
                format!("pipeline p{n} {{ parallel {{ stage a = w {{}}\nstage b = w {{}} }} }}\n")
            }),
        ),
        (
            "unread_beside_damage",
            format!(
                "workflow w(\n{}) {{ phase p {{ step s = shell {{ script = @ }} }} }}\n",
                many(most, |n| format!("a{n}: int\n"))
            ),
        ),
        (
            "texts_over_lines",
            steps(many(most, |n| format!("step s{n} = shell {{ script = \"x\n${{y}}\n\" }}\n"))),
        ),
        ("parentheses_for_braces", steps(many(most, |n| format!("step s{n} = shell (a = 1 }} ")) + "\n")),
        (
            "heads_without_braces",
            steps(many(most, |n| format!("  parallel\n    step s{n} = shell\n      x = 1\n    }}\n"))),
        ),
        // Each bracket of a line could have been opened anywhere before it.
        (
            "brackets_that_close_nothing",
            steps(many(most, |n| format!("    step s{n} = a.b c d, e {}\n", "} ".repeat(40)))),
        ),
        (
            "words_before_brackets",
            steps(many(most, |_| format!("    {}}} }} ]\n", "a = b c = d ".repeat(36)))),
        ),
        (
            "quotes_for_long_texts",
            steps(many(most, |n| format!("    step s{n} = shell {{\n      x = \"\"\n        \"\n    }}\n"))),
        ),
        ("lists_of_steps", steps(many(most, |n| format!("    steps:\n    step s{n} = shell {{ }}\n")))),
        (
            "damaged_parameters",
            format!(
                "service s({}) = local {{ }}\n{}",
                many(1900, |n| format!("a{n}: int: 1, ")),
                many(half, |n| format!("service t{n} = local {{ x = s {{ b{n} = 1 }} }}\n"))
            ),
        ),
        ("texts_without_end", steps(many(most, |n| format!("step s{n} = shell {{ script = \"x }}\n")))),
        ("damage_everywhere", many(most, |n| format!("group g{n} {{ x = }}\n"))),
        (
            "names_in_damage",
            steps(format!("step = \n{}", many(most, |n| format!("step s{n} = shell {{ script = x{n} }}\n")))),
        ),
        ("outputs", {
            let declared = many(half, |n| format!("step s{n} = shell {{ script = \"\" }}\n"));
            let count = declared.lines().count();
            let read = many(half, |n| format!("${{s{}.stdout}}", n % count));
            steps(format!("{declared}step z = shell {{ script = \"{read}\" }}\n"))
        }),
        ("outputs_under_conditions", {
            let conditions = many(half, |n| format!("skip if a{n}\n"));
            let params = many(half / 2, |n| format!("a{n}: bool\n"));
            let read = many(half / 2, |_| "${s.stdout}".to_string());
            format!(
                "workflow w(\n{params}) {{ phase p {{\n{conditions}step s = shell {{ script = \"\" }}\nstep z = shell {{ script = \"{read}\" }}\n}} }}\n"
            )
        }),
        ("many_conditions", {
            let params = many(half / 2, |n| format!("a{n}: bool\n"));
            let count = params.lines().count();
            let phase = |name: &str, order: [&str; 2]| {
                let conditions = many(half / 2, |n| format!("skip if a{}\n", n % count));
                format!(
                    "workflow {name}(\n{params}) {{ phase p {{\n{conditions}barrier {}\nbarrier {}\n}} }}\n",
                    order[0], order[1]
                )
            };
            let arguments = many(half / 2, |n| format!("a{n} = a{n}\n"));
            phase("w", ["x", "y"])
                + &phase("v", ["y", "x"])
                + &format!(
                    "pipeline p(\n{params}) {{ parallel {{ stage a = w {{\n{arguments}}}\nstage b = v {{\n{arguments}}} }} }}\n"
                )
        }),
        ("conditions_and_circles", {
            let params: String = (0..12).map(|n| format!("a{n}: bool\n")).collect();
            let given: String = (0..12).map(|n| format!("a{n}\n")).collect();
            let one = |name: &str, turned: bool| {
                let mut lines: Vec<String> =
                    many(half - 500, |n| format!("barrier b{n} {{ skip if a{} }}\n", n % 12))
                        .lines()
                        .map(str::to_string)
                        .collect();
                if turned {
                    lines.reverse();
                }
                format!("workflow {name}(\n{params}) {{ phase p {{\n{}\n}} }}\n", lines.join("\n"))
            };
            one("w", false)
                + &one("v", true)
                + &format!(
                    "pipeline p(\n{params}) {{ parallel {{ stage a = w {{\n{given}}}\nstage b = v {{\n{given}}} }} }}\n"
                )
        }),
        (
            "promise_under_conditions",
            promise_with_arguments(half / 12, |count| {
                let steps = each(count, |n| {
                    format!(
                        "step l{n} = shell {{ script = \"x\" }}\nstep c{n} = shell {{ skip if a{n} && l{n}.stdout == \"v\", script = \"x\", changes = true, undone_by = u{n} }}\n"
                    )
                });
                let undo = each(count, |n| {
                    format!(
                        "step u{n} = shell {{ skip if a{n} && default(l{n}.stdout, \"\") == \"v\", script = \"x\" }}\n"
                    )
                });
                format!(
                    "phase p {{\n{steps}barrier b {{ timeout = 9h }}\nstep z = shell {{ script = \"x\" }}\nrollback {{\n{undo}}} }}"
                )
            }),
        ),
        (
            "promise_and_who_stays_away",
            promise_with_arguments(half / 6, |count| {
                let steps = each(count, |n| {
                    format!(
                        "step l{n} = shell {{ script = \"x\" }}\nbarrier b{n} {{ skip if a{n} || l{n}.stdout == \"v\", timeout = 9h }}\n"
                    )
                });
                format!(
                    "phase p {{\n{steps}step z = shell {{ script = \"x\", changes = true, irreversible = true }} }}\non failure of barrier {{ rollback phase }}"
                )
            }),
        ),
        // Found by fuzzing: twelve branches, each of which waits for the others at one of two barriers.
        ("who_can_go_on", include_str!("support/slow.lockstep.txt").to_owned()),
        ("limits_and_conditions", {
            let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
            let params = names.map(|name| format!("{name}: bool")).join(", ");
            let given = names.join(", ");
            let all = names.join(" && ");
            let workflow = format!(
                "workflow w({params}) {{ phase p {{ step s = shell {{ script = \"x\" }}\nbarrier x {{ only if {all} }} }} }}\n"
            );
            workflow
                + &many(size - 200, |n| {
                    format!(
                        "pipeline p{n}({params}) {{ parallel max 1 {{ stage a = w {{ {given} }}\nstage b = w {{ {given} }} }} }}\n"
                    )
                })
        }),
        ("comparisons_and_circles", {
            let one = |name: &str, turned: bool| {
                let mut lines: Vec<String> =
                    many(half - 500, |n| format!("barrier b{n} {{ skip if a == {} }}\n", n % 12))
                        .lines()
                        .map(str::to_string)
                        .collect();
                if turned {
                    lines.reverse();
                }
                format!("workflow {name}(a: int) {{ phase p {{\n{}\n}} }}\n", lines.join("\n"))
            };
            one("w", false)
                + &one("v", true)
                + "pipeline p(a: int) { parallel { stage a = w { a }\nstage b = v { a } } }\n"
        }),
        ("circles", {
            let one = |name: &str, turned: bool| {
                let mut lines: Vec<String> =
                    many(half, |n| format!("barrier b{n}\n")).lines().map(str::to_string).collect();
                if turned {
                    lines.reverse();
                }
                format!("workflow {name} {{ phase p {{\n{}\n}} }}\n", lines.join("\n"))
            };
            one("w", false) + &one("v", true) + "pipeline p { parallel { stage a = w {}\nstage b = v {} } }\n"
        }),
        ("wide_circle", {
            let mut source = many(most / 2, |n| {
                format!("workflow w{n} {{ phase p {{ barrier b{n}\nbarrier b{} }} }}\n", n + 1)
            });
            let count = source.lines().count() / 2;
            let _ = writeln!(source, "workflow w {{ phase p {{ barrier b{count}\nbarrier b0 }} }}");
            let stages: String = (0..count).map(|n| format!("stage s{n} = w{n} {{}}\n")).collect();
            source + &format!("pipeline p {{ parallel {{\n{stages}stage s = w {{}} }} }}\n")
        }),
        (
            "stages_by_barriers",
            steps(many(half, |n| format!("barrier b{n}\n")))
                + &format!(
                    "pipeline p {{ parallel {{\n{}}} }}\n",
                    many(half, |n| format!("stage s{n} = w {{}}\n"))
                ),
        ),
        (
            "loop_by_barriers",
            steps(many(half, |n| format!("barrier b{n}\n")))
                + &format!(
                    "pipeline p {{ parallel {{ for x in [{}] {{ stage s[x] = w {{}} }} }} }}\n",
                    many(half, |n| format!("{n},"))
                ),
        ),
        (
            "loop_by_steps",
            steps(many(half, |n| format!("step s{n} = local.deploy {{}}\n")))
                + &format!(
                    "pipeline p {{ parallel {{ for x in [{}] {{ stage s[x] = w {{}} }} }} }}\n",
                    many(half, |n| format!("{n},"))
                ),
        ),
        (
            "loop_by_stages",
            "workflow w {}\n".to_string()
                + &format!(
                    "pipeline p {{ for x in [{}] {{\n{}}} }}\n",
                    many(half, |n| format!("{n},")),
                    many(half, |n| format!("stage s{n}[x] = w {{}}\n"))
                ),
        ),
        (
            "loop_by_arguments",
            format!("workflow w(\n{}) {{}}\n", many(half, |n| format!("a{n}: int = 1\n")))
                + &format!(
                    "pipeline p {{ for x in [{}] {{ stage s[x] = w {{}} }} }}\n",
                    many(half, |n| format!("{n},"))
                ),
        ),
        (
            "loop_by_approvals",
            "group g { members = [\"a\"] }\n".to_string()
                + &format!(
                    "pipeline p {{ for x in [{}] {{\n{}}} }}\n",
                    many(half, |n| format!("{n},")),
                    many(half, |n| format!("approval a{n} {{ from = g, within = 1h }}\n"))
                ),
        ),
        ("many_pipelines", {
            let steps: String = many(half, |n| format!("barrier b{n}\n"));
            format!("workflow w {{ phase p {{\n{steps}}} }}\n")
                + &many(half, |n| {
                    format!("pipeline p{n} {{ parallel {{ stage a = w {{}}\nstage b = w {{}} }} }}\n")
                })
        }),
        ("long_conjunction", {
            let condition = many(most, |_| "a && ".to_string()) + "a";
            format!(
                "workflow w(a: bool) {{ phase p {{ skip if {condition}\nbarrier b }} }}\npipeline p(a: bool) {{ stage s = w {{ a }} }}\n"
            )
        }),
        ("deep_parentheses", {
            let count = most / 2;
            format!(
                "workflow w {{ phase p {{ skip if {}true{}\nbarrier b }} }}\n",
                "(".repeat(count),
                ")".repeat(count)
            )
        }),
        ("many_nots", {
            format!(
                "workflow w(a: bool) {{ phase p {{ skip if {}a\nbarrier b }} }}\npipeline p(a: bool) {{ stage s = w {{ a }} }}\n",
                "!".repeat(most)
            )
        }),
        ("deep_ifs", {
            let text = many(most, |_| "if a then 1 else ".into());
            format!(
                "workflow w(a: bool, b: int) {{}}\npipeline p(a: bool) {{ stage s = w {{ a, b = {text}1 }} }}\n"
            )
        }),
        ("doubling_services", {
            let mut source = "service s0(a: string) = local { artifact = jar { path = a } }\n".to_string();
            let text = many(half, |n| format!("stage t{n} = w {{ s = s0 {{ a = \"{n}\" }} }}\n"));
            source.push_str("workflow w(s: service<local>) { phase p { step d = local.deploy {} } }\n");
            source + &format!("pipeline p {{ parallel {{\n{text}}} }}\n")
        }),
        ("doubling_text", {
            let params = many(most, |n| {
                if n == 0 {
                    "a0: string = \"xxxxxxxx\"\n".into()
                } else {
                    format!("a{n}: string = \"${{a{0}}}${{a{0}}}\"\n", n - 1)
                }
            });
            format!(
                "workflow w(\n{params}) {{ phase p {{ step s = shell {{ script = a9 }} }} }}\npipeline p {{ stage s = w {{}} }}\n"
            )
        }),
        (
            "failure_rules",
            format!(
                "workflow w {{ phase p {{\nbarrier b\n{}}} }}\n",
                many(most, |n| format!("on failure under {}% of hosts {{ ignore }}\n", n % 100))
            ),
        ),
        (
            "failure_rules_by_steps",
            format!(
                "workflow w {{ phase p {{\n{}{}}} }}\npipeline p {{ parallel {{ stage a = w {{}} \n stage b = w {{}} }} }}\n",
                many(half, |n| format!("step s{n} = shell {{ script = \"\" }}\nbarrier b{n}\n")),
                many(half, |_| "on failure of timeout { retry 3 every 1s then fail }\n".into())
            ),
        ),
        (
            "rollback_blocks",
            format!(
                "workflow w {{ phase p {{\n{}rollback {{\n{}}} }} }}\npipeline p {{ stage a = w {{}} }}\n",
                many(half, |n| format!("step s{n} = local.deploy {{ undone_by = r{n} }}\n")),
                many(half, |n| format!("step r{n} = local.rollback {{}}\n"))
            ),
        ),
        (
            "uses",
            many(half, |n| format!("resource r{n} {{ capacity = 1 }}\n"))
                + &format!(
                    "workflow w {{\n{}phase p {{\n{}}} }}\n",
                    many(half / 2, |n| format!("use r{n}\n")),
                    many(half / 2, |n| format!("use r{n}\n"))
                )
                + "pipeline p { stage s = w {} }\n",
        ),
        ("limited", {
            let workflows =
                many(most / 2, |n| format!("workflow w{n} {{ phase p {{ barrier b{} }} }}\n", n / 2));
            let count = workflows.lines().count();
            let stages: String = (0..count)
                .step_by(2)
                .chain((1..count).step_by(2))
                .map(|n| format!("stage s{n} = w{n} {{}}\n"))
                .collect();
            workflows + &format!("pipeline p {{ parallel max {} {{\n{stages}}} }}\n", count / 4)
        }),
        ("allows", many(most, |n| format!("// allow(barrier/alone): x\ngroup g{n} {{ member = [] }}\n"))),
        ("duplicates", many(most, |_| "group g { members = [] }\n".into())),
        ("strategy", {
            format!(
                "workflow w(infra: infrastructure<kubernetes>, service: service<kubernetes>) {{ strategy = canary\n{}}}\n",
                many(most, |n| format!(
                    "phase p{n} {{ step s = kubernetes.canary {{ share = {}% }} }}\n",
                    n % 100
                ))
            )
        }),
    ]
}
