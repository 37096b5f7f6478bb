//! Lines and columns of a text, found when they are first asked for: most files are read, and nothing is said about them.

use lockstep_grammar::LineIndex;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// The [`LineIndex`] of a text.
#[derive(Debug, Clone)]
pub struct Lines {
    text: Arc<str>,
    index: OnceLock<LineIndex>,
}

impl Lines {
    /// Those of this text.
    pub fn of(text: &Arc<str>) -> Lines {
        Lines { text: Arc::clone(text), index: OnceLock::new() }
    }
}

impl Deref for Lines {
    type Target = LineIndex;

    fn deref(&self) -> &LineIndex {
        self.index.get_or_init(|| LineIndex::new(&self.text))
    }
}
