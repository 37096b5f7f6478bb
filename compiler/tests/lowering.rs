//! Plans of whole examples.

mod support;

use lockstep_compiler::{check, lower};
use std::path::Path;
use support::{EXAMPLE, rendered, single};

#[test]
fn the_example_of_the_language() {
    let program = single(EXAMPLE);
    let found = check(&program);
    assert!(found.is_empty(), "{}", rendered(&program, &found));
    let arguments = [("version".to_string(), "1.4.0".to_string())].into();
    let lowered = lower(&program, Path::new(""), "release", &arguments);
    let lowered = lowered.unwrap_or_else(|found| panic!("{}", rendered(&program, &found)));
    insta::assert_snapshot!(serde_json::to_string_pretty(&lowered.plan).unwrap());
}

#[test]
fn the_prelude_is_in_order() {
    let program = single("");
    for (_, file) in program.files() {
        assert!(file.parse.errors.is_empty(), "{}: {:#?}", file.path.display(), file.parse.errors);
    }
}
