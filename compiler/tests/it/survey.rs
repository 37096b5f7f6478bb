//! Checking many modules says what checking them together says, and forgets those with which nothing is wrong.

use crate::support::{rendered, texts};
use lockstep_compiler::{Program, check, check_modules};
use std::path::PathBuf;

const FILES: [(&str, &str); 8] = [
    ("alone/k8s/web.yaml", "image: ${servce.artifact.image}\n"),
    (
        "alone/main.lockstep",
        "service web = kubernetes {\n  artifact = docker_image { image = \"web\" }\n  manifests = [\"k8s/*.yaml\"]\n}\n\
         group g { members = [] }\n",
    ),
    ("alone/more.lockstep", "group g { members = [] }\n"),
    (
        "app/main.lockstep",
        "import \"../common\"\n\npipeline p(version: string) {\n  stage s = common.w {}\n}\n",
    ),
    ("clean/main.lockstep", "workflow w { phase p { step s = shell { script = \"true\" } } }\n"),
    ("common/main.lockstep", "workflow w(x: int = 1) { phase p { step s = shell { script = \"true\" } } }\n"),
    ("empty/main.lockstep", ""),
    ("torn/main.lockstep", "group a { members = [\"ada\" }\n\ngroup b { member = [] }\n"),
];

#[test]
fn many_modules_are_judged_as_if_they_were_one_program() {
    let texts = texts(&FILES);
    let roots: Vec<PathBuf> =
        ["alone", "app", "clean", "common", "empty", "torn"].into_iter().map(PathBuf::from).collect();
    let together = Program::load(&texts, &roots).unwrap();
    let expected = rendered(&together, &check(&together));
    let (program, found) = check_modules(&texts, roots.clone()).unwrap();
    assert_eq!(rendered(&program, &found), expected);
    for part in ["web.yaml", "more.lockstep", "app/main", "common/main", "torn/main"] {
        assert!(expected.contains(part), "nothing about {part}:\n{expected}");
    }
    let held = |name: &str| program.files().any(|(_, file)| file.path.starts_with(name));
    assert_eq!(
        ["alone", "app", "clean", "common", "empty", "torn"].map(held),
        [true, true, false, true, false, true]
    );
    // Whoever walks over the program finds its modules and the files that they name.
    let (id, file) = program.files().find(|(_, file)| file.path.ends_with("web.yaml")).unwrap();
    assert!(program.is_template(id));
    assert_eq!(program.module_dir(file.module), PathBuf::from("alone"));
}

#[test]
fn a_module_with_two_names_is_judged_once() {
    let texts = texts(&FILES);
    let (_, once) = check_modules(&texts, ["alone".into(), "torn".into()]).unwrap();
    let (_, twice) = check_modules(&texts, ["alone".into(), "alone/.".into(), "torn".into()]).unwrap();
    assert_eq!(twice.len(), once.len());
}

#[test]
fn a_module_that_is_not_there_is_said() {
    let error = check_modules(&texts(&FILES), ["clean".into(), "nowhere".into()]).unwrap_err();
    assert_eq!(error.dir, PathBuf::from("nowhere"));
}
