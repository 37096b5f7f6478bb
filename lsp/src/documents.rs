//! The documents that the client has open, in place of the files on disk.

use gen_lsp_types::Uri;
use lockstep_compiler::{DiskLoader, FoundFile, Loader};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// A document as the client shows it.
#[derive(Debug)]
pub struct Document {
    /// As the client spells it.
    pub uri: Uri,
    /// Grows with each change.
    pub version: i32,
    text: String,
    /// Where it lies: the same for every spelling of the same file.
    place: PathBuf,
}

/// All open documents.
#[derive(Debug, Default)]
pub struct Documents {
    open: BTreeMap<Uri, Document>,
}

impl Documents {
    /// Shows a document, or shows it afresh.
    pub fn open(&mut self, uri: Uri, version: i32, text: String) {
        let place = place(&path_of(&uri));
        self.open.insert(uri.clone(), Document { uri, version, text, place });
    }

    /// The document of that name, if it is open.
    pub fn get_mut(&mut self, uri: &Uri) -> Option<&mut Document> {
        self.open.get_mut(uri)
    }

    /// From now on the file on disk counts, if there is one. Says whether the document was open.
    pub fn close(&mut self, uri: &Uri) -> bool {
        self.open.remove(uri).is_some()
    }

    /// The document that stands for that file.
    pub fn at(&self, path: &Path) -> Option<&Document> {
        let place = place(path);
        self.open.values().find(|document| document.place == place)
    }

    /// The directories of the modules that have an open document, sorted.
    pub fn modules(&self) -> Vec<PathBuf> {
        let modules: BTreeSet<&Path> = self.open.values().map(Document::module).collect();
        modules.into_iter().map(Path::to_path_buf).collect()
    }

    /// The open documents of that module.
    pub fn in_module<'a>(&'a self, dir: &'a Path) -> impl Iterator<Item = &'a Document> {
        self.open.values().filter(move |document| document.module() == dir)
    }
}

impl Document {
    /// Takes the text it has now.
    pub fn change(&mut self, version: i32, text: String) {
        self.version = version;
        self.text = text;
    }

    fn module(&self) -> &Path {
        self.place.parent().unwrap_or(Path::new(""))
    }
}

impl Loader for Documents {
    fn read_module(&self, dir: &Path) -> io::Result<Vec<(PathBuf, String)>> {
        let home = DiskLoader.identity(dir);
        let mut files: BTreeMap<PathBuf, String> = match DiskLoader.read_module(dir) {
            Ok(files) => files.into_iter().collect(),
            // A document that was never saved may be the first of its directory.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound && self.in_module(&home).next().is_some() =>
            {
                BTreeMap::new()
            }
            Err(error) => return Err(error),
        };
        for document in self.in_module(&home) {
            if let Some(name) = document.place.file_name() {
                files.insert(dir.join(name), document.text.clone());
            }
        }
        Ok(files.into_iter().collect())
    }

    fn find_files(&self, dir: &Path, patterns: &[String]) -> Option<Vec<Vec<FoundFile>>> {
        DiskLoader.find_files(dir, patterns)
    }

    fn read_file(&self, path: &Path) -> io::Result<String> {
        DiskLoader.read_file(path)
    }

    fn identity(&self, dir: &Path) -> PathBuf {
        DiskLoader.identity(dir)
    }
}

/// The file that a URI means. What is no source file on this machine stands alone in a directory of its own.
fn path_of(uri: &Uri) -> PathBuf {
    let file = uri.to_file_path().ok().filter(|path| path.extension().is_some_and(|it| it == "lockstep"));
    file.unwrap_or_else(|| Path::new("<document>").join(uri.as_str()).join("document.lockstep"))
}

/// One spelling for each file, whether it exists or not.
fn place(path: &Path) -> PathBuf {
    let dir = DiskLoader.identity(path.parent().unwrap_or(Path::new("")));
    dir.join(path.file_name().unwrap_or_default())
}
