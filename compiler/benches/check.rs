//! How fast sources are loaded and checked: realistic ones from 10 KB to 10 MB, a large group of stages, hostile ones.
//!
//! `cargo bench -p lockstep-compiler` runs all of them, `cargo bench -p lockstep-compiler -- realistic` some.

use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher};
use lockstep_compiler::{Loader, Program, check};
use std::io;
use std::path::{Path, PathBuf};

#[path = "../tests/it/generate.rs"]
mod generate;

/// Shows the memory each case takes beside its time.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    divan::main();
}

/// One module for each text, named by its number.
struct Texts(Vec<String>);

impl Loader for Texts {
    fn read_module(&self, dir: &Path) -> io::Result<Vec<(PathBuf, String)>> {
        let number = dir.to_str().and_then(|name| name.parse::<usize>().ok());
        let text = number.and_then(|number| self.0.get(number)).ok_or(io::ErrorKind::NotFound)?;
        Ok(vec![(dir.join("main.lockstep"), text.clone())])
    }
}

/// Loads and checks modules, counting their bytes and lines.
fn measure(bencher: Bencher<'_, '_>, sources: Vec<String>) {
    let bytes: usize = sources.iter().map(String::len).sum();
    let lines: usize = sources.iter().map(|source| source.lines().count()).sum();
    let roots: Vec<PathBuf> = (0..sources.len()).map(|number| number.to_string().into()).collect();
    let loader = Texts(sources);
    bencher.counter(BytesCount::new(bytes)).counter(ItemsCount::new(lines)).bench_local(|| {
        let program = Program::load(&loader, &roots);
        program.map(|program| check(&program).len()).ok()
    });
}

/// Items are lines: throughput stays the same from 10 KB to 10 MB.
#[divan::bench(args = [10_000, 100_000, 1_000_000, 10_000_000], max_time = 5)]
fn realistic(bencher: Bencher<'_, '_>, size: usize) {
    measure(bencher, vec![generate::realistic(size)]);
}

/// Modules of 150 lines each.
#[divan::bench(args = [100, 1000], max_time = 5)]
fn modules(bencher: Bencher<'_, '_>, count: usize) {
    measure(bencher, vec![generate::realistic(3_500); count]);
}

/// 1,000 stages, 100 barriers, 10,000 steps; sound, and with an inversion.
#[divan::bench(args = [false, true], max_time = 5)]
fn deadlock(bencher: Bencher<'_, '_>, inverted: bool) {
    measure(bencher, vec![generate::group(1000, 100, 10, inverted)]);
}

/// How large hostile inputs are.
const HOSTILE: usize = 64 * 1024;

/// Inputs that ask for as much work as they can.
#[divan::bench(args = generate::hostile(HOSTILE).into_iter().map(|(name, _)| name), max_time = 2)]
fn hostile(bencher: Bencher<'_, '_>, name: &str) {
    let source = generate::hostile(HOSTILE).into_iter().find(|(it, _)| *it == name).map(|(_, source)| source);
    measure(bencher, source.into_iter().collect());
}
