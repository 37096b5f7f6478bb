//! Where in a YAML text something stands: looked up only for a message, so that reading manifests costs nothing for it.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::fmt;

/// `line 3 column 5` of what a path of keys leads to in an object of the text, as far as that is there; none where that cannot be
/// told. Objects are counted from 0, those of lists one by one.
pub(super) fn place(text: &str, object: usize, path: &[String]) -> Option<String> {
    let documents: Vec<Tree> = serde_saphyr::from_multiple(text).ok()?;
    let mut objects = Vec::new();
    documents.iter().for_each(|document| take_apart(document, &mut objects));
    let mut at = None;
    let mut node = *objects.get(object)?;
    // An object begins where its first entry does.
    if let Tree::Map(entries) = node
        && let Some((_, first)) = entries.first()
    {
        at = Some((first.referenced.line(), 1));
    }
    for key in path {
        let Tree::Map(entries) = node else { break };
        let Some((_, found)) = entries.iter().find(|(name, _)| name == key) else { break };
        at = Some((found.referenced.line(), found.referenced.column()));
        node = &found.value;
    }
    at.map(|(line, column)| format!("line {line} column {column}"))
}

/// A value, with the places of what it consists of.
enum Tree {
    Null,
    Scalar(String),
    List(Vec<Spanned<Tree>>),
    Map(Vec<(String, Spanned<Tree>)>),
}

fn take_apart<'a>(tree: &'a Tree, objects: &mut Vec<&'a Tree>) {
    let entry = |key: &str| match tree {
        Tree::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| &value.value),
        _ => None,
    };
    match (tree, entry("kind"), entry("items")) {
        (Tree::Null, ..) => {}
        (_, Some(Tree::Scalar(kind)), Some(Tree::List(items))) if kind.ends_with("List") => {
            items.iter().for_each(|item| take_apart(&item.value, objects));
        }
        _ => objects.push(tree),
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(Trees)
    }
}

struct Trees;

impl<'de> Visitor<'de> for Trees {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Tree::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# first\n---\nkind: A\nmetadata:\n  name: a\n---\n# nothing\n---\nkind: List\nitems:\n- kind: B\n  data: {x: 1, y: \
                        2}\n- kind: C\n---\n[1]\n";

    #[test]
    fn objects_and_what_they_hold_are_found() {
        let of = |object: usize, path: &[&str]| {
            let path: Vec<String> = path.iter().map(ToString::to_string).collect();
            place(TEXT, object, &path).unwrap_or_default()
        };
        assert_eq!(of(0, &[]), "line 3 column 1");
        assert_eq!(of(0, &["metadata", "name"]), "line 5 column 9");
        assert_eq!(of(0, &["metadata", "labels", "a"]), "line 5 column 3", "as far as it is there");
        assert_eq!(of(1, &["data", "y"]), "line 12 column 19");
        assert_eq!(of(2, &["kind"]), "line 13 column 9");
        assert_eq!((of(3, &[]), of(9, &[])), (String::new(), String::new()));
    }
}
