//! Files and folders of the state directory: only their owner may look into them, whatever the folder around them allows. What is
//! there already is left as it is.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Makes a folder, and those that it lies in.
pub(crate) fn directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// How to open a file for writing that is made if it is not there. SQLite gives what it keeps beside its own the same mode.
pub(crate) fn file() -> OpenOptions {
    let mut options = File::options();
    options.write(true).create(true).mode(0o600);
    options
}
