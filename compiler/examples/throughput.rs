//! Measures by hand how fast sources are parsed, loaded and checked:
//! `cargo run --release -p lockstep-compiler --example throughput [WHAT [BYTES [TIMES]]]`.
//!
//! WHAT is `realistic` (the default), `modules` (of 150 lines each), `deadlock`, or the name of a hostile input;
//! `hostile` goes through all of these. `folder` checks a folder's folders as `dsl check` does, BYTES being its path.

use lockstep_compiler::{DiskLoader, Loader, Program, check, check_modules};
use std::hint::black_box;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[path = "../tests/it/generate.rs"]
mod generate;

/// As the program does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One module for each text, named by its number.
struct Texts(Vec<String>);

impl Loader for Texts {
    fn read_module(&self, dir: &Path) -> io::Result<Vec<(PathBuf, String)>> {
        let number = dir.to_str().and_then(|name| name.parse::<usize>().ok());
        let text = number.and_then(|number| self.0.get(number)).ok_or(io::ErrorKind::NotFound)?;
        Ok(vec![(dir.join("main.lockstep"), text.clone())])
    }
}

#[allow(clippy::print_stdout)]
fn measure(name: &str, texts: Vec<String>, times: usize) {
    let bytes: usize = texts.iter().map(String::len).sum();
    let lines: usize = texts.iter().map(|text| text.lines().count()).sum();
    let roots: Vec<PathBuf> = (0..texts.len()).map(|number| number.to_string().into()).collect();
    let loader = Texts(texts);
    for _ in 0..times {
        let start = Instant::now();
        for text in &loader.0 {
            black_box(lockstep_grammar::parse(black_box(text)));
        }
        let parsed = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let program = Program::load(&loader, &roots).expect("texts are there");
        let loaded = start.elapsed().as_secs_f64();
        let found = check(&program).len();
        let checked = start.elapsed().as_secs_f64();
        let speed = |seconds: f64| bytes as f64 / seconds / 1e6;
        println!(
            "{name}: {bytes} bytes, {lines} lines, {found} found; parse {:.1} ms {:.2} MB/s, load {:.1} ms, \
             check {:.1} ms, load and check {:.1} ms {:.2} MB/s {:.0} lines/s",
            parsed * 1e3,
            speed(parsed),
            loaded * 1e3,
            (checked - loaded) * 1e3,
            checked * 1e3,
            speed(checked),
            lines as f64 / checked,
        );
    }
}

#[allow(clippy::print_stdout)]
fn folder(path: &str, times: usize) {
    let inside = std::fs::read_dir(path).expect("the folder is there");
    let mut roots: Vec<PathBuf> = inside.filter_map(|it| it.ok()).map(|it| it.path()).collect();
    roots.sort();
    for _ in 0..times {
        let start = Instant::now();
        let (_, found) = check_modules(&DiskLoader, roots.clone()).expect("the modules are there");
        println!("{path}: {} found, {:.1} ms", found.len(), start.elapsed().as_secs_f64() * 1e3);
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize| arguments.get(index).and_then(|argument| argument.parse::<usize>().ok());
    let what = arguments.first().map_or("realistic", String::as_str);
    let times = number(2).unwrap_or(3);
    match what {
        "realistic" => measure(what, vec![generate::realistic(number(1).unwrap_or(2_000_000))], times),
        "modules" => measure(what, vec![generate::realistic(3_500); number(1).unwrap_or(1000)], times),
        "folder" => folder(arguments.get(1).map_or(".", String::as_str), times),
        "deadlock" => measure(what, vec![generate::group(1000, 100, 10, false)], times),
        _ => {
            let all = generate::hostile(number(1).unwrap_or(64 * 1024));
            for (name, text) in all.into_iter().filter(|(name, _)| what == "hostile" || what == *name) {
                measure(name, vec![text], times);
            }
        }
    }
}
