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
        let read = |(path, text): (PathBuf, io::Result<String>)| match text {
            Ok(text) => Ok((path, text)),
            Err(error) => Err(io::Error::new(error.kind(), format!("`{}`: {error}", path.display()))),
        };
        self.read_each(dir)?.into_iter().map(read).collect()
    }

    fn read_each(&self, dir: &Path) -> io::Result<Vec<(PathBuf, io::Result<String>)>> {
        let place = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        let mut paths = Vec::new();
        for entry in fs::read_dir(place)? {
            let entry = entry?;
            let name = entry.file_name();
            // Where a link leads has to be asked for; what else it is came with the name.
            let is_file = || match entry.file_type() {
                Ok(kind) if !kind.is_symlink() => kind.is_file(),
                _ => entry.path().is_file(),
            };
            if is_source(Path::new(&name)) && is_file() {
                paths.push(dir.join(name));
            }
        }
        paths.sort();
        let read = |path: PathBuf| {
            let text = fs::read_to_string(&path);
            (path, text)
        };
        Ok(paths.into_iter().map(read).collect())
    }

    fn read_files(&self, dir: &Path, pattern: &str) -> Option<Vec<(PathBuf, io::Result<String>)>> {
        let read = |path: PathBuf| {
            let text = fs::read(&path).and_then(|bytes| {
                String::from_utf8(bytes)
                    .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not text in UTF-8"))
            });
            (crate::program::normalise(&path), text)
        };
        let plain = dir.join(pattern);
        if !pattern.contains(['*', '?', '[']) {
            let here = plain.is_dir().then(|| in_folder(&plain));
            return Some(match here {
                Some(Ok(paths)) => paths.into_iter().map(read).collect(),
                Some(Err(error)) => vec![(plain, Err(error))],
                None if plain.exists() => vec![read(plain)],
                None => Vec::new(),
            });
        }
        let escaped = PathBuf::from(glob::Pattern::escape(&dir.to_string_lossy()));
        let found = match glob::glob(&escaped.join(pattern).to_string_lossy()) {
            Ok(found) => found,
            Err(error) => {
                let error = io::Error::new(io::ErrorKind::InvalidInput, format!("no pattern: {}", error.msg));
                return Some(vec![(plain, Err(error))]);
            }
        };
        let files = found.filter_map(|entry| match entry {
            Ok(path) => path.is_file().then(|| read(path)),
            Err(error) => Some((error.path().to_path_buf(), Err(error.into()))),
        });
        Some(files.collect())
    }

    fn identity(&self, dir: &Path) -> PathBuf {
        let place = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        fs::canonicalize(place).unwrap_or_else(|_| crate::program::normalise(dir))
    }
}

/// The YAML and JSON files of a folder, sorted: what it stands for where files with placeholders are named.
fn in_folder(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let known = path.extension().is_some_and(|it| it == "yaml" || it == "yml" || it == "json");
        if known && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
