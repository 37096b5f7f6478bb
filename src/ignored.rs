//! Whether git's configuration outside of repositories may say which files are to be left alone.
//!
//! The walk over directories could always ask: it reads `core.excludesFile` with a regular expression. To make that takes as
//! long as all else that the check of a small file does, so it asks only where there may be an answer.

use std::env::{home_dir, var_os};
use std::path::{Path, PathBuf};

/// Whether a file of git's global or system configuration speaks of such a list, or the usual one is there.
pub fn may_be_global() -> bool {
    let set = |name: &str| var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = home_dir();
    let config = set("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
    let files = [
        set("GIT_CONFIG_GLOBAL"),
        home.as_ref().map(|home| home.join(".gitconfig")),
        config.as_ref().map(|config| config.join("git/config")),
        Some(set("GIT_CONFIG_SYSTEM").unwrap_or_else(|| "/etc/gitconfig".into())),
    ];
    config.is_some_and(|config| config.join("git/ignore").exists())
        || files.iter().flatten().any(|file| mentions_list(file))
}

/// Whether a file has the word in it that such a list is set with. One that cannot be read says nothing.
fn mentions_list(file: &Path) -> bool {
    const WORD: &[u8] = b"excludesfile";
    std::fs::read(file).is_ok_and(|text| text.windows(WORD.len()).any(|part| part.eq_ignore_ascii_case(WORD)))
}

#[cfg(test)]
mod tests {
    use super::mentions_list;

    #[test]
    fn a_list_is_found_however_it_is_spelt() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("config");
        for (text, mentioned) in [
            ("[core]\n  excludesFile = ~/ignored\n", true),
            ("[core]\nEXCLUDESFILE=x", true),
            ("[user]\n", false),
        ] {
            std::fs::write(&file, text).expect("a file");
            assert_eq!(mentions_list(&file), mentioned, "{text}");
        }
        assert!(!mentions_list(&folder.path().join("none")));
    }
}
