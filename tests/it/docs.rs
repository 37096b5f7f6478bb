//! What the documentation shows is true: its Lockstep is checked, the README's commands are run.

use crate::support::{Sandbox, dsl, repository, said};
use std::fs;
use std::path::PathBuf;

/// Fenced blocks of a language, with the line where each begins.
fn blocks(text: &str, language: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match &mut open {
            None if line.trim() == format!("```{language}") => open = Some((number + 1, String::new())),
            None => {}
            Some(_) if line.trim() == "```" => blocks.extend(open.take()),
            Some((_, block)) => {
                block.push_str(line);
                block.push('\n');
            }
        }
    }
    blocks
}

fn documents() -> Vec<PathBuf> {
    let mut documents = vec![repository().join("README.md"), repository().join("ARCHITECTURE.md")];
    if let Ok(entries) = fs::read_dir(repository().join("docs")) {
        documents.extend(entries.map(|entry| entry.expect("an entry").path()));
    }
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.sort();
    documents
}

#[test]
fn lockstep_in_the_documentation_is_without_errors() {
    for document in documents() {
        for (line, block) in blocks(&fs::read_to_string(&document).expect("a document"), "lockstep") {
            let sandbox = Sandbox::of_source(&block);
            let told = said(dsl().arg("check").arg(sandbox.module()));
            assert_eq!(told.code, Some(0), "{}:{line}\n{}", document.display(), told.out);
        }
    }
}

#[test]
fn the_readmes_commands_do_what_it_says() {
    let readme = fs::read_to_string(repository().join("README.md")).expect("the README");
    let commands: Vec<String> = blocks(&readme, "sh")
        .into_iter()
        .flat_map(|(_, block)| block.lines().map(str::to_owned).collect::<Vec<_>>())
        .filter_map(|line| line.strip_prefix("cargo run -- ").map(str::to_owned))
        .collect();
    let sandbox = Sandbox::of_example("quickstart");
    let codes = [0, 1];
    assert_eq!(commands.len(), codes.len(), "{commands:?}");
    for (command, code) in commands.iter().zip(codes) {
        let mut words = command.split_whitespace();
        let subcommand = words.next().expect("a subcommand");
        let mut program = sandbox.dsl(subcommand);
        for word in words {
            match word {
                "examples/quickstart" => program.arg(sandbox.module()),
                word => program.arg(word),
            };
        }
        said(&mut program).exits(code);
    }
    assert_eq!(sandbox.ask("region1"), "hello 1.0.0");
    assert_eq!(sandbox.ask("region2"), "hello 1.0.0");
}

/// `docs/rules` holds the rules' own pages. `UPDATE_DOCS=1 cargo test` writes them.
#[test]
fn the_pages_of_rules_are_the_rules_own() {
    let folder = repository().join("docs/rules");
    let told = said(dsl().args(["explain", "--format", "json"])).exits(0);
    let rules: serde_json::Value = serde_json::from_str(&told.out).expect("JSON");
    let mut pages = std::collections::BTreeMap::new();
    let mut index = String::from(
        "# Rules\n\nWhat `dsl explain` says, a page for each rule.\n\n| rule | | |\n| --- | --- | --- |\n",
    );
    for rule in rules["rules"].as_array().expect("rules") {
        let text = |key: &str| rule[key].as_str().expect("text").to_owned();
        let file = format!("{}.md", text("name").replace('/', "-"));
        index.push_str(&format!(
            "| [{}]({file}) | {} | {} |\n",
            text("name"),
            text("severity"),
            text("summary")
        ));
        pages.insert(file, format!("# {} ({})\n\n{}\n", text("name"), text("severity"), text("page").trim()));
    }
    pages.insert("README.md".into(), index);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("a folder");
        for (file, text) in &pages {
            fs::write(folder.join(file), text).expect("a page");
        }
    }
    let entries = fs::read_dir(&folder).expect("docs/rules").map(|entry| entry.expect("an entry").path());
    let there: std::collections::BTreeMap<String, String> = entries
        .map(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
            (name, fs::read_to_string(path).expect("a page"))
        })
        .collect();
    assert!(there == pages, "docs/rules is not what the rules say: run the tests with UPDATE_DOCS=1");
}

/// Each guarantee names the tests that hold it.
#[test]
fn every_test_that_a_guarantee_names_exists() {
    let text = fs::read_to_string(repository().join("docs/guarantees.md")).expect("the guarantees");
    let mut named = 0;
    for line in text.lines() {
        let Some(row) = line.strip_prefix("| `") else { continue };
        let (file, rest) = row.split_once("` `").expect("a file and a test");
        let test = rest.split('`').next().expect("a test");
        let source =
            fs::read_to_string(repository().join(file)).unwrap_or_else(|_| panic!("there is no {file}"));
        let found = source.contains(&format!("fn {test}(")) && source.contains("#[test]")
            || source.contains(&format!("async fn {test}("));
        assert!(found, "{file} has no test {test}");
        named += 1;
    }
    assert!(named > 20, "{named}");
}

/// What the README shows of the program's output is what it prints.
#[test]
fn the_readme_shows_what_the_program_prints() {
    let readme = fs::read_to_string(repository().join("README.md")).expect("the README");
    let shown = blocks(&readme, "console");
    assert!(!shown.is_empty());
    for (line, block) in shown {
        let (command, expected) = block.split_once('\n').expect("a command and what it prints");
        let words = command.strip_prefix("$ dsl ").expect("`$ dsl …`").split_whitespace();
        let told = said(dsl().current_dir(repository()).args(words));
        assert_eq!(told.out.trim_end(), expected.trim_end(), "README.md:{line}");
    }
}
