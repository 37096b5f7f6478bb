//! `dsl man`: the manual pages.

use crate::args::{Args, ManArgs};
use crate::failure::{Failure, print};
use clap::CommandFactory;
use clap_mangen::Man;

/// Writes `dsl.1` to standard output, or all pages into a directory.
pub fn run(args: &ManArgs) -> Result<u8, Failure> {
    match &args.directory {
        Some(directory) => {
            std::fs::create_dir_all(directory).map_err(|error| Failure::io("make", directory, &error))?;
            clap_mangen::generate_to(Args::command(), directory)
                .map_err(|error| Failure::io("write man pages into", directory, &error))?;
        }
        None => {
            let mut page = Vec::new();
            Man::new(Args::command())
                .render(&mut page)
                .map_err(|error| Failure::new(format!("cannot write the man page: {error}")))?;
            print(&String::from_utf8_lossy(&page))?;
        }
    }
    Ok(0)
}
