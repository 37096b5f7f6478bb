//! A program of one text, for the tests of what its lowering keeps to itself.

use crate::program::{Loader, Program};
use std::io;
use std::path::{Path, PathBuf};

struct Text(&'static str);

impl Loader for Text {
    fn read_module(&self, dir: &Path) -> io::Result<Vec<(PathBuf, String)>> {
        Ok(vec![(dir.join("main.lockstep"), self.0.to_owned())])
    }
}

pub fn program(source: &'static str) -> Program {
    let program = Program::load(&Text(source), &["m".into()]).expect("it is there");
    let errors: Vec<_> = program.files().flat_map(|(_, file)| file.parse.errors.clone()).collect();
    assert_eq!(errors, []);
    program
}
