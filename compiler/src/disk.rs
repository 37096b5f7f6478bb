//! Modules from the disk: the one place of this crate that reads files.

use crate::program::{FoundFile, Loader, is_source};
use foldhash::HashMap;
use std::fs::{self, FileType};
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

    fn find_files(&self, dir: &Path, patterns: &[String]) -> Option<Vec<Vec<FoundFile>>> {
        let mut lists = Lists::default();
        Some(patterns.iter().map(|pattern| find(dir, pattern, &mut lists)).collect())
    }

    fn read_file(&self, path: &Path) -> io::Result<String> {
        String::from_utf8(fs::read(path)?)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not text in UTF-8"))
    }

    fn identity(&self, dir: &Path) -> PathBuf {
        let place = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        fs::canonicalize(place).unwrap_or_else(|_| crate::program::normalise(dir))
    }
}

fn find(dir: &Path, pattern: &str, lists: &mut Lists) -> Vec<FoundFile> {
    let plain = dir.join(pattern);
    if !pattern.contains(['*', '?', '[']) {
        return match plain.is_dir().then(|| in_folder(&plain)) {
            Some(Ok(paths)) => paths.into_iter().map(Ok).collect(),
            Some(Err(error)) => vec![Err((plain, error))],
            None if plain.exists() => vec![Ok(plain)],
            None => Vec::new(),
        };
    }
    if let Some(found) = usual(dir, pattern, lists) {
        return found.into_iter().map(Ok).collect();
    }
    let escaped = PathBuf::from(glob::Pattern::escape(&dir.to_string_lossy()));
    match glob::glob(&escaped.join(pattern).to_string_lossy()) {
        Ok(found) => found
            .filter_map(|entry| match entry {
                Ok(path) => path.is_file().then_some(Ok(path)),
                Err(error) => Some(Err((error.path().to_path_buf(), error.into()))),
            })
            .collect(),
        Err(error) => {
            let error = io::Error::new(io::ErrorKind::InvalidInput, format!("no pattern: {}", error.msg));
            vec![Err((plain, error))]
        }
    }
}

/// What lies in folders, sorted by name: several patterns of a module often go through the same ones. None where one cannot
/// be listed.
type Lists = HashMap<PathBuf, Option<Vec<(String, FileType)>>>;

fn list(folder: &Path) -> Option<Vec<(String, FileType)>> {
    let place = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let entries = match fs::read_dir(place) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Some(Vec::new()),
        Err(_) => return None,
    };
    let named = |entry: io::Result<fs::DirEntry>| {
        let entry = entry.ok()?;
        Some((entry.file_name().into_string().ok()?, entry.file_type().ok()?))
    };
    let mut entries = entries.map(named).collect::<Option<Vec<_>>>()?;
    entries.sort_by(|(one, _), (two, _)| one.cmp(two));
    Some(entries)
}

/// The files that a pattern of plain names, `*`, `?` and `[…]` finds, as `glob` would, which asks twice for every part of
/// every path on the way. None where something is out of the ordinary: it knows what to do then.
fn usual(dir: &Path, pattern: &str, lists: &mut Lists) -> Option<Vec<PathBuf>> {
    let mut found = vec![dir.to_path_buf()];
    let mut parts = pattern.split('/').peekable();
    while let Some(part) = parts.next() {
        if part.is_empty() || matches!(part, "." | "..") || part.contains("**") {
            return None;
        }
        let last = parts.peek().is_none();
        if !part.contains(['*', '?', '[']) {
            found.iter_mut().for_each(|path| path.push(part));
            if last {
                found.retain(|path| path.is_file());
            }
            continue;
        }
        let part = glob::Pattern::new(part).ok()?;
        let mut inside = Vec::new();
        for folder in found {
            let entries = lists.entry(folder.clone()).or_insert_with(|| list(&folder)).as_ref()?;
            for (name, kind) in entries.iter().filter(|(name, _)| part.matches(name)) {
                let path = folder.join(name);
                // Where a link leads has to be asked for; what else it is came with the name.
                let (is_file, is_folder) = match kind.is_symlink() {
                    true => (path.is_file(), path.is_dir()),
                    false => (kind.is_file(), kind.is_dir()),
                };
                if if last { is_file } else { is_folder } {
                    inside.push(path);
                }
            }
        }
        found = inside;
    }
    Some(found)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_usual_is_found_as_by_glob() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for file in [
            "k8s/b.yaml",
            "k8s/a.yaml",
            "k8s/.c.yaml",
            "k8s/gold/d.yaml",
            "k8s/e.yaml/f.yaml",
            "x.yaml",
            "k8s/[g].yml",
        ] {
            let path = root.join(file);
            fs::create_dir_all(path.parent().expect("it lies in the root")).expect("a folder");
            fs::write(path, "").expect("a file");
        }
        std::os::unix::fs::symlink(root.join("k8s/gold"), root.join("k8s/silver")).expect("a link");
        std::os::unix::fs::symlink(root.join("none"), root.join("k8s/lost.yaml")).expect("a link");
        let by_glob = |pattern: &str| -> Vec<PathBuf> {
            let found = glob::glob(&root.join(pattern).to_string_lossy()).expect("a pattern");
            found.map(|it| it.expect("it can be read")).filter(|path| path.is_file()).collect()
        };
        for pattern in [
            "k8s/*.yaml",
            "k8s/*/*.yaml",
            "*/*",
            "*",
            "k8s/?.yaml",
            "k8s/[ab].yaml",
            "k8s/[!a].yaml",
            "*/gold/d.yaml",
            "k8s/*/d.yaml",
            "none/*.yaml",
            "k8s/[[]g].yml",
            "*/none/*",
        ] {
            assert_eq!(usual(root, pattern, &mut Lists::default()), Some(by_glob(pattern)), "{pattern}");
        }
        for pattern in ["**/*.yaml", "./*.yaml", "k8s/../*.yaml", "/k8s/*", "k8s//*", "k8s/[", "x.yaml/*"] {
            assert_eq!(usual(root, pattern, &mut Lists::default()), None, "{pattern}");
        }
    }
}
