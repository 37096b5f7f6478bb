//! Modules from the disk: the one place of this crate that reads files.

use crate::program::{Loader, is_source};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Reads modules as directories of `.lockstep` files.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiskLoader;

impl Loader for DiskLoader {
    fn read_module(&self, dir: &Path) -> io::Result<Vec<(PathBuf, String)>> {
        let place = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let mut paths = Vec::new();
        for entry in fs::read_dir(place)? {
            let entry = entry?;
            if is_source(Path::new(&entry.file_name())) && entry.path().is_file() {
                paths.push(dir.join(entry.file_name()));
            }
        }
        paths.sort();
        let read = |path: PathBuf| match fs::read_to_string(&path) {
            Ok(text) => Ok((path, text)),
            Err(error) => Err(io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))),
        };
        paths.into_iter().map(read).collect()
    }

    fn identity(&self, dir: &Path) -> PathBuf {
        let place = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        fs::canonicalize(place).unwrap_or_else(|_| crate::program::normalise(dir))
    }
}
