//! Placeholders in manifests: resolved, typed, and reported inside of the file that holds them.

use crate::support::{program, rendered};
use lockstep_compiler::{check, check_output, lower};
use lockstep_plan::{Call, Facts, FailureFact, File, RunFact, StepId, Value};
use std::path::Path;

const SERVICE: &str = r#"secret token = env { name = "TOKEN" }

service web(replicas: int, tag: string, note: string?) = kubernetes {
  artifact  = docker_image { image = "registry.example.com/web", tag }
  manifests = ["k8s/*.yaml"]
}
"#;

/// Rule, file, line, column and message of each report.
fn found(files: &[(&str, &str)]) -> Vec<String> {
    let program = program(files);
    let output = check_output(&program, &check(&program));
    let line = |it: &lockstep_compiler::DiagnosticOutput| {
        format!("{} {}:{}:{} {}", it.rule, it.place.file, it.place.line, it.place.column, it.message)
    };
    output.diagnostics.iter().map(line).collect()
}

#[test]
fn what_a_placeholder_may_read() {
    let manifest = "name: ${service.name}-${stage.name}\nimage: ${service.artifact.image}:${tag}\nnamespace: \
                    ${infra.namespace} ${infra.environment.kind} ${upper(infra.name)}\nreplicas: ${if replicas > 2 then \
                    2 else replicas}\nnote: ${default(note, \"none\")} ${run.id} ${run.by}\nshell: echo \\${HOME}\n";
    assert_eq!(found(&[("main.lockstep", SERVICE), ("k8s/web.yaml", manifest)]), [""; 0]);
}

#[test]
fn faults_are_shown_in_the_manifest() {
    let manifest = "name: ü ${service.nam}\nimage: ${sevice.artifact.image}\nnamespace: ${infra.context} ${run.user}\nnote: \
                    ${note}\ntoken: ${token}\nhome: ${HOME}\nif: ${if}\nopen: ${tag\nreplicas: ${replicas}\n";
    let files = [("main.lockstep", SERVICE), ("k8s/web.yaml", manifest)];
    let program = program(&files);
    insta::assert_snapshot!(rendered(&program, &check(&program)));
}

#[test]
fn a_manifest_of_two_services_is_reported_once() {
    let two =
        format!("{SERVICE}\n{}", SERVICE.split_once("\n\n").unwrap().1.replace("service web", "service api"));
    let manifest = "a: ${replicas} ${tag} ${default(note, \"\")} ${nothing}\n";
    assert_eq!(
        found(&[("main.lockstep", &two), ("k8s/web.yaml", manifest)]),
        ["name/unknown k8s/web.yaml:1:46 `nothing` is not declared"]
    );
    // It is checked for each: what one service has, another may not have.
    let other = two.replace("service api(replicas: int, ", "service api(");
    assert_eq!(
        found(&[
            ("main.lockstep", &other),
            ("k8s/web.yaml", "a: ${replicas} ${tag} ${default(note, \"\")}\n")
        ]),
        ["name/unknown k8s/web.yaml:1:6 `replicas` is not declared"]
    );
}

#[test]
fn a_parameter_that_only_a_manifest_reads_is_read() {
    assert_eq!(
        found(&[("main.lockstep", SERVICE), ("k8s/web.yaml", "a: ${replicas}\n")]),
        ["name/unused main.lockstep:3:41 parameter `note` is never read"]
    );
    // One that cannot be looked at may read whatever it likes.
    assert_eq!(
        found(&[("main.lockstep", SERVICE), ("other/web.yaml", "")]),
        [
            "manifest/missing main.lockstep:5:16 no file matches `k8s/*.yaml`, so its placeholders could not be checked"
        ]
    );
}

#[test]
fn manifests_of_steps_read_what_the_step_could() {
    let source = r#"workflow w(service: service<kubernetes>, infra: infrastructure<kubernetes>, text: string) {
  phase p {
    step ask = shell { script = "date" }
    step apply = kubernetes.apply { manifests = ["one.yaml"] }
    step job = kubernetes.job { manifest = "job.yaml" }
    step later = shell { script = "date" }
  }
}
"#;
    let files = [
        ("main.lockstep", source),
        ("one.yaml", "a: ${text} ${ask.stdout} ${infra.namespace} ${stage.name}\n"),
        ("job.yaml", "a: ${later.stdout}\nb: ${nobody.name}\n"),
    ];
    assert_eq!(
        found(&files),
        [
            "type/output-unavailable job.yaml:1:6 `later.stdout` may not be there: it runs later",
            "name/unknown job.yaml:2:6 `nobody` is not declared",
        ]
    );
}

#[test]
fn paths_that_are_not_known_yet_stand_for_every_file_they_may_mean() {
    let source = r#"service web(tier: string in ["gold", "silver"]) = kubernetes {
  artifact  = docker_image { image = "registry.example.com/web" }
  manifests = ["${tier}/web.yaml", if tier == "gold" then "one.yaml" else "two.yaml"]
}
"#;
    let files = [
        ("main.lockstep", source),
        ("gold/web.yaml", "a: ${x}\n"),
        ("silver/web.yaml", "a: ${y}\n"),
        ("one.yaml", "a: 1\n"),
    ];
    assert_eq!(
        found(&files),
        [
            "name/unknown gold/web.yaml:1:6 `x` is not declared",
            "manifest/missing main.lockstep:3:75 there is no file `two.yaml`, so its placeholders could not be checked",
            "name/unknown silver/web.yaml:1:6 `y` is not declared",
        ]
    );
}

#[test]
fn folders_that_are_not_known_yet_stand_for_the_manifests_in_them() {
    for (pattern, folder) in [
        ("k8s/${colour}", "k8s/blue"),
        ("k8s/${colour}/", "k8s/blue"),
        ("${colour}/base", "blue/base"),
        ("${colour}${colour}", "blueblue"),
        ("${colour}", "blue"),
    ] {
        let source = format!(
            r#"service web(tag: string, colour: string = "blue") = kubernetes {{
  artifact  = docker_image {{ image = "web", tag }}
  manifests = ["{pattern}"]
}}

environment test {{
  kind = non_production
  infrastructure one = kubernetes {{ namespace = "n" }}
}}

workflow ship(service: service<kubernetes>, infra: infrastructure<kubernetes>) {{
  phase p {{ step roll = kubernetes.rolling {{}} }}
}}

pipeline release(tag: string) {{ stage one = ship {{ service = web {{ tag }}, infra = test.one }} }}
"#
        );
        let (path, deep) = (format!("{folder}/web.yaml"), format!("{folder}/deep/web.yaml"));
        let files = [
            ("main.lockstep", source.as_str()),
            (&path, "a: ${tag}\n"),
            (&deep, "nobody: ${looks}\n"),
            ("README.md", "nobody: ${looks}\n"),
        ];
        assert!(found(&files).is_empty(), "{pattern}: {:?}", found(&files));
        let arguments = [("tag".to_string(), "1.4".to_string())].into();
        let plan = lower(&program(&files), Path::new(""), "release", &arguments).unwrap().plan;
        let paths: Vec<&str> = plan.templates.iter().map(|template| template.path.as_str()).collect();
        assert_eq!(paths, [path.as_str()], "{pattern}");
        let broken = [files[0], (&path, "a: ${tga}\n")];
        assert_eq!(found(&broken).len(), 1, "{pattern}: {:?}", found(&broken));
    }
}

#[test]
fn a_plan_holds_manifests_with_what_their_placeholders_stand_for() {
    let source = r#"service web(replicas: int, tag: string, note: string?) = kubernetes {
  artifact  = docker_image { image = "registry.example.com/web", tag }
  manifests = ["k8s/*.yaml"]
}

environment test {
  kind = non_production
  infrastructure one = kubernetes { namespace = "n1" }
  infrastructure two = kubernetes { namespace = "n2" }
}

workflow ship(service: service<kubernetes>, infra: infrastructure<kubernetes>, text: string) {
  phase p {
    step out  = shell { script = "date" }
    step more = kubernetes.apply { manifests = ["more.yaml"] }
    step roll = kubernetes.rolling {}
  }
}

pipeline release(tag: string) {
  parallel {
    stage one = ship { service = web { replicas = 2, tag }, infra = test.one, text = "first" }
    stage two = ship { service = web { replicas = 5, tag, note = "hi" }, infra = test.two, text = "second" }
  }
}
"#;
    let manifest = "a: ${service.name}-${stage.name} \\${b}\nn: ${if replicas > 2 then \"many\" else \"few\"} ${tag} ${run.id} \
                    ${default(note, \"none\")} ${infra.namespace}\n";
    let more = "t: ${upper(text)} ${out.stdout}\n";
    let program = program(&[("main.lockstep", source), ("k8s/web.yaml", manifest), ("more.yaml", more)]);
    let arguments = [("tag".to_string(), "1.4".to_string())].into();
    let plan = lower(&program, Path::new(""), "release", &arguments).unwrap().plan;
    struct Known;
    impl Facts for Known {
        fn output(&self, _: StepId, name: &str) -> Option<Value> {
            Some(Value::Text(format!("<{name}>")))
        }
        fn run(&self, _: RunFact) -> Option<Value> {
            Some(Value::Text("r1".into()))
        }
        fn failure(&self, _: FailureFact) -> Option<Value> {
            None
        }
    }
    let call = |step: &str| {
        let step = plan.step_named(step).unwrap();
        Call::of(&plan, &plan.steps[step.index()].action, &Known).unwrap()
    };
    // `«…»`: filled in.
    let file = |path: &str, text: &str| {
        let mut file = File { path: path.into(), text: String::new(), filled: Vec::new() };
        for part in text.split('»') {
            let (plain, filled) = part.split_once('«').map_or((part, None), |(plain, it)| (plain, Some(it)));
            file.text.push_str(plain);
            filled.iter().for_each(|filled| file.fill(&Value::Text((*filled).into())));
        }
        file
    };
    let roll = call("one.p.roll");
    assert_eq!(
        roll.service.unwrap().files,
        [file("k8s/web.yaml", "a: «web»-«one» ${b}\nn: «few» «1.4» «r1» «none» «n1»\n")]
    );
    assert_eq!(roll.files, []);
    let more = call("two.p.more");
    assert_eq!(more.files, [file("more.yaml", "t: «SECOND» «<stdout>»\n")]);
    assert_eq!(
        more.service.unwrap().files,
        [file("k8s/web.yaml", "a: «web»-«two» ${b}\nn: «many» «1.4» «r1» «hi» «n2»\n")]
    );
    assert_eq!(plan.templates.len(), 2, "each text is there once");
}

#[test]
fn a_provider_of_ones_own_says_which_of_its_settings_are_templates() {
    let source = r#"provider edge {
  program        = "edge-driver"
  artifacts      = [other]
  templates      = [config, rules, size]
  service        { config: path, size: int = 1 }
  infrastructure { region: string }
  step push(rules: list<path> = []) { changes target, undone by push }
}

service site = edge { artifact = other { path = "site" }, config = "site.conf" }
"#;
    assert_eq!(
        found(&[("main.lockstep", source), ("site.conf", "at ${infra.region} ${infra.zone}\n")]),
        [
            "type/not-allowed-value main.lockstep:4:36 `templates` cannot be `size`",
            "name/unknown site.conf:1:28 `infra` has no `zone`",
        ]
    );
}

#[test]
fn the_disk_finds_files_by_pattern() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    write(
        "main.lockstep",
        SERVICE.replace("\"k8s/*.yaml\"", "\"k8s/**/*.yaml\", \"./k8s/a.yaml\", \"k8s\", \"b[\"").as_bytes(),
    );
    write("k8s/a.yaml", b"a: ${x}\n");
    write("k8s/deep/b.yaml", b"a: ${y}\n");
    write("k8s/c.yaml", b"\xff\xfe");
    let program =
        lockstep_compiler::Program::load(&lockstep_compiler::DiskLoader, &[dir.path().to_path_buf()])
            .unwrap();
    let output = check_output(&program, &check(&program));
    let root = dir.path().display().to_string();
    let found: Vec<String> = output
        .diagnostics
        .iter()
        .map(|it| format!("{} {} {}", it.rule, it.place.file, it.message).replace(&root, "."))
        .collect();
    insta::assert_snapshot!(found.join("\n"));
}
