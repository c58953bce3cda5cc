//! The text as a tree of values, each with its place.
//!
//! serde_yaml decides what a plain value is: `1e5` becomes a number, and its text is lost. So the
//! text is read twice: first for its outline of lists, maps and single values, then each single
//! value as text. A text that serde_yaml borrows from the file tells its place by its address. A
//! list or a map has the place of its first text, and anything else that of its key.

use std::cell::Cell;
use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, IgnoredAny, MapAccess, SeqAccess,
    VariantAccess as _, Visitor,
};

use super::shown;

/// Most values of a file, with those that aliases repeat: aliases of aliases can stand for more than
/// fits into memory.
const MAX_VALUES: usize = 20_000;

/// What an error says beyond [`MAX_VALUES`].
pub(super) const TOO_MANY: &str = "the file holds too many values";

/// A value and its place.
#[derive(Debug)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// The byte of the file that it begins at.
    pub at: usize,
}

/// A key of a map, its place and its value.
#[derive(Debug)]
pub struct Entry {
    /// The key, without its quotes and without what a missing colon may have put into it.
    pub key: String,
    /// The byte of the file that the key begins at.
    pub at: usize,
    /// The value.
    pub node: Node,
}

/// The shapes that a value can have.
#[derive(Debug)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A single value as it is written, without its quotes.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file.
    Map(Vec<Entry>),
    /// A value with a tag of its own, such as `!secret`.
    Tagged,
}

impl Value {
    /// What it is, in words for a message.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Scalar(_) => "one value",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Tagged => "a YAML tag",
        }
    }
}

/// The tree of a document of the text, counted from 0. None if there is no such document, or it
/// holds nothing.
pub(super) fn read(text: &str, document: usize) -> Result<Option<Node>, serde_yaml::Error> {
    let open = || serde_yaml::Deserializer::from_str(text).nth(document);
    let (Some(first), Some(second)) = (open(), open()) else {
        return Ok(None);
    };
    let mut node = Outline(&Cell::new(0)).deserialize(first)?;
    if matches!(node.value, Value::Null) {
        return Ok(None);
    }
    let fill = Fill {
        node: &mut node,
        file: text,
        near: 0,
    };
    fill.deserialize(second)?;
    Ok(Some(node))
}

/// Reads the outline of a value, and counts the values.
#[derive(Clone, Copy)]
struct Outline<'c>(&'c Cell<usize>);

impl<'de> DeserializeSeed<'de> for Outline<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        self.0.set(self.0.get() + 1);
        if self.0.get() > MAX_VALUES {
            return Err(D::Error::custom(TOO_MANY));
        }
        let value = deserializer.deserialize_any(self)?;
        Ok(Node { value, at: 0 })
    }
}

macro_rules! scalars {
    ($($visit:ident($type:ty))*) => {
        $(fn $visit<E>(self, _: $type) -> Result<Value, E> {
            Ok(Value::Scalar(String::new()))
        })*
    };
}

impl<'de> Visitor<'de> for Outline<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    scalars! {
        visit_bool(bool) visit_i64(i64) visit_i128(i128) visit_u64(u64) visit_u128(u128)
        visit_f64(f64) visit_str(&str)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element_seed(self)? {
            nodes.push(node);
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while map.next_key::<IgnoredAny>()?.is_some() {
            entries.push(Entry {
                key: String::new(),
                at: 0,
                node: map.next_value_seed(self)?,
            });
        }
        Ok(Value::Map(entries))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Value, A::Error> {
        let (IgnoredAny, value) = tagged.variant()?;
        let IgnoredAny = value.newtype_variant()?;
        Ok(Value::Tagged)
    }
}

/// Reads the texts and places of a value whose outline is known.
struct Fill<'n, 'f> {
    node: &'n mut Node,
    file: &'f str,
    /// The place of its key.
    near: usize,
}

impl<'de> DeserializeSeed<'de> for Fill<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.node.at = self.near;
        match self.node.value {
            Value::Null | Value::Scalar(_) => deserializer.deserialize_str(self),
            Value::List(_) => deserializer.deserialize_seq(self),
            Value::Map(_) => deserializer.deserialize_map(self),
            Value::Tagged => deserializer.deserialize_ignored_any(IgnoredAny).map(drop),
        }
    }
}

impl<'de> Visitor<'de> for Fill<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<(), E> {
        let start = self.file.as_ptr().addr();
        if let Some(at) = text.as_ptr().addr().checked_sub(start) {
            let before = self.file.get(..at).unwrap_or_default();
            self.node.at = at - usize::from(before.ends_with(['\'', '"']));
        }
        self.visit_str(text)
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        if let Value::Scalar(own) = &mut self.node.value {
            text.clone_into(own);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if let Value::List(nodes) = &mut self.node.value {
            for node in nodes.iter_mut() {
                list.next_element_seed(Fill { node, ..self })?;
            }
            self.node.at = nodes.first().map_or(self.near, |node| node.at);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if let Value::Map(entries) = &mut self.node.value {
            for entry in entries.iter_mut() {
                let mut key = Node {
                    value: Value::Scalar(String::new()),
                    at: self.near,
                };
                map.next_key_seed(Fill {
                    node: &mut key,
                    ..self
                })?;
                if let Value::Scalar(text) = key.value {
                    entry.key = shown::key(&text);
                }
                entry.at = key.at;
                map.next_value_seed(Fill {
                    node: &mut entry.node,
                    near: key.at,
                    ..self
                })?;
            }
            self.node.at = entries.first().map_or(self.near, |entry| entry.at);
            merge(entries);
        }
        Ok(())
    }
}

/// Puts the entries of the maps under a merge key (`<<`) beside the map's own, which win. A merge
/// key that holds anything else stays, as a key that nobody knows.
fn merge(entries: &mut Vec<Entry>) {
    let is_map = |node: &Node| matches!(node.value, Value::Map(_));
    let is_merge = |entry: &Entry| {
        entry.key == "<<"
            && match &entry.node.value {
                Value::List(nodes) => nodes.iter().all(is_map),
                _ => is_map(&entry.node),
            }
    };
    let Some(at) = entries.iter().position(is_merge) else {
        return;
    };
    let maps = match entries.remove(at).node {
        Node {
            value: Value::List(nodes),
            ..
        } => nodes,
        node => vec![node],
    };
    for map in maps {
        if let Value::Map(more) = map.value {
            for entry in more {
                if !entries.iter().any(|own| own.key == entry.key) {
                    entries.push(entry);
                }
            }
        }
    }
}
