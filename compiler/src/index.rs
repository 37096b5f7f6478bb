//! Finding things by name in lists that are mostly short, and sometimes very long.

use foldhash::HashMap;

/// Up to this many names are compared one by one.
const FEW: usize = 16;

/// A list whose items have names; the first of a name counts.
pub struct Index<'a, T, F> {
    items: &'a [T],
    name: F,
    by_name: HashMap<&'a str, &'a T>,
}

impl<'a, T, F: Fn(&'a T) -> &'a str> Index<'a, T, F> {
    pub fn new(items: &'a [T], name: F) -> Self {
        let mut by_name = HashMap::default();
        if items.len() > FEW {
            for item in items {
                by_name.entry(name(item)).or_insert(item);
            }
        }
        Index { items, name, by_name }
    }

    /// The first item of that name.
    pub fn get(&self, name: &str) -> Option<&'a T> {
        if self.items.len() > FEW {
            return self.by_name.get(name).copied();
        }
        self.items.iter().find(|item| (self.name)(item) == name)
    }
}
