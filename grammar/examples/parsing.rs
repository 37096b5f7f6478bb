//! Measures by hand how fast sources are parsed: `cargo run --release -p lockstep-grammar --example parsing [BYTES [TIMES]]`.

use std::fmt::Write;
use std::hint::black_box;
use std::time::Instant;

/// A module of about that many bytes, with everything that real ones have.
fn generate(size: usize) -> String {
    let mut source = String::from("//! Generated.\n\nimport \"../common\"\n\n");
    let mut number = 0;
    while source.len() < size {
        number += 1;
        let n = number;
        write!(
            source,
            r#"service checkout_{n}(version: string) = kubernetes {{
  artifact  = docker_image {{ image = "registry.example.com/team-{n}/checkout", tag = version }}
  manifests = ["k8s/{n}/*.yaml", "k8s/common.yaml"]
}}

environment production_{n} {{
  kind = production
  infrastructure region1 = kubernetes {{ context = "prod", namespace = "region1" }}
  infrastructure region2 = kubernetes {{ context = "prod", namespace = "region2" }}
}}

/// A rolling update of one target. It waits for its peers before it counts as done.
workflow rolling_{n}(
  service: service<kubernetes>,
  infra: infrastructure<kubernetes>,
  skip_failure: bool = true,
  tier: string in ["gold", "silver"] = "gold",
) {{
  strategy = rolling
  on failure of connectivity, timeout {{ retry 3 every 10s, 30s, 1m then rollback }}

  // Brings the release to the target.
  phase deploy {{
    step rollout = kubernetes.rolling {{ timeout = 10m }}
    step break_it = shell {{
      skip if skip_failure && tier == "gold" || contains(["a", "b"], infra.name)
      script  = "echo revision ${{rollout.revision}}; sleep 10; exit 1"
      env     = {{ HOME = "/tmp", VERSION = version }}
      timeout = 1m
    }}
  }}

  phase wrap_up {{
    barrier all_regions {{ timeout = 15m }}
  }}
}}

pipeline release_{n}(version: string, break_region2: bool = false) {{
  parallel all_or_nothing {{
    stage region1 = rolling_{n} {{ service = checkout_{n} {{ version }}, infra = production_{n}.region1 }}
    stage region2 = rolling_{n} {{
      service      = checkout_{n} {{ version }}
      infra        = production_{n}.region2
      skip_failure = !break_region2
    }}
  }}
}}

"#
        )
        .expect("writing to a string cannot fail");
    }
    source
}

#[allow(clippy::print_stdout)]
fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let source = generate(arguments.next().unwrap_or(5_000_000));
    for _ in 0..arguments.next().unwrap_or(5) {
        let start = Instant::now();
        let parse = black_box(lockstep_grammar::parse(black_box(&source)));
        let seconds = start.elapsed().as_secs_f64();
        assert!(parse.errors.is_empty(), "{:?}", parse.errors.first());
        println!("{:.1} MB/s", source.len() as f64 / seconds / 1e6);
    }
}
