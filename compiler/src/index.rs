//! Finding things by name in lists that are mostly short, and sometimes very long.

use foldhash::HashMap;

/// Up to this many names are compared one by one.
const FEW: usize = 16;

/// A list whose items have names; the first of a name counts.
pub struct Index<'a, T, F> {
    items: &'a [T],
    name: F,
    /// Where there are more than a few.
    by_name: Option<HashMap<&'a str, &'a T>>,
}

impl<'a, T, F: Fn(&'a T) -> &'a str> Index<'a, T, F> {
    pub fn new(items: &'a [T], name: F) -> Self {
        let by_name = (items.len() > FEW).then(|| {
            let mut by_name = HashMap::default();
            for item in items {
                by_name.entry(name(item)).or_insert(item);
            }
            by_name
        });
        Index { items, name, by_name }
    }

    /// The first item of that name.
    pub fn get(&self, name: &str) -> Option<&'a T> {
        match &self.by_name {
            Some(by_name) => by_name.get(name).copied(),
            None => self.items.iter().find(|item| (self.name)(item) == name),
        }
    }
}
