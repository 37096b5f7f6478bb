//! Programs from texts, for tests.
#![allow(dead_code)]

use lockstep_compiler::{Diagnostic, FoundFile, Loader, Program, check, report};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Files by path.
pub struct Texts(BTreeMap<PathBuf, String>);

fn is_source(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "lockstep")
}

impl Loader for Texts {
    fn read_module(&self, dir: &Path) -> io::Result<Vec<(PathBuf, String)>> {
        let files: Vec<_> = self
            .0
            .iter()
            .filter(|(path, _)| path.parent() == Some(dir) && is_source(path))
            .map(|(path, text)| (path.clone(), text.clone()))
            .collect();
        if files.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no such directory"));
        }
        Ok(files)
    }

    fn find_files(&self, dir: &Path, patterns: &[String]) -> Option<Vec<Vec<FoundFile>>> {
        // A program of sources only has nothing to say about other files.
        self.0.keys().find(|path| !is_source(path))?;
        let whole = glob::MatchOptions { require_literal_separator: true, ..Default::default() };
        let find = |pattern: &String| {
            let pattern = glob::Pattern::new(dir.join(pattern).to_str()?).ok()?;
            let found = self.0.keys().filter(|path| pattern.matches_path_with(path, whole));
            Some(found.cloned().map(Ok).collect())
        };
        patterns.iter().map(find).collect()
    }

    fn read_file(&self, path: &Path) -> io::Result<String> {
        match path.extension().is_some_and(|extension| extension == "png") {
            true => Err(io::Error::new(io::ErrorKind::InvalidData, "it is not text in UTF-8")),
            false => self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into()),
        }
    }
}

/// The files that the example of a rule's page stands among.
pub fn example(rule: &str, source: &str) -> Program {
    let mut files = vec![
        ("work/main.lockstep", source),
        ("2024/main.lockstep", "channel ops = webhook { url = \"http://localhost\" }\n"),
    ];
    if rule.starts_with("manifest/") {
        files.push(("work/k8s/web.yaml", "image: ${service.artifact.image}\n"));
        files.push(("work/k8s/logo.png", ""));
    }
    program(&files)
}

/// Files with these texts.
pub fn texts(files: &[(&str, &str)]) -> Texts {
    Texts(files.iter().map(|(path, text)| (path.into(), (*text).to_string())).collect())
}

/// A program of several files; the module of the first one is the root.
pub fn program(files: &[(&str, &str)]) -> Program {
    let texts = texts(files);
    let root = Path::new(files[0].0).parent().unwrap().to_path_buf();
    Program::load(&texts, &[root]).unwrap()
}

/// A program of one file.
pub fn single(source: &str) -> Program {
    program(&[("main.lockstep", source)])
}

/// The names of the rules that report something.
pub fn rules_of(source: &str) -> Vec<&'static str> {
    check(&single(source)).iter().map(|it| it.rule).collect()
}

/// All reports as the terminal shows them, without colour.
pub fn rendered(program: &Program, diagnostics: &[Diagnostic]) -> String {
    let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor())
        .with_width(100)
        .with_links(false);
    let mut text = String::new();
    for diagnostic in diagnostics {
        handler.render_report(&mut text, &report(program, diagnostic)).unwrap();
        text.push('\n');
    }
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// The example of the language's description.
pub const EXAMPLE: &str = include_str!("example.lockstep");

/// Line and column of a place.
pub fn show_place(program: &Program, at: lockstep_compiler::Location) -> String {
    let position = program.file(at.file).lines.position(at.span.start);
    format!("{}:{}", position.line, position.column)
}
