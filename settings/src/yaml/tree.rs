//! The text as a tree of values, each with its place.
//!
//! serde_yaml decides what a plain value is: `1e5` becomes a number, and its text is lost. So the
//! text is read twice: first for its outline of lists, maps and keys, then each single value as
//! text. A text that serde_yaml borrows from the file tells its place by its address. A
//! list or a map has the place of its first text, and anything else that of its key.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IgnoredAny, MapAccess, SeqAccess,
    VariantAccess as _, Visitor,
};
use serde_yaml::Error;

use super::shown;

/// What an error says of a key whose place cannot be told, so that its value could not be hidden.
pub(super) const ODD_KEY: &str = "a key must stand on one line, without escapes";

/// What an error says of a file whose aliases make far more of it than it holds; the YAML crate's
/// own says the same.
pub(super) const BOMB: &str = "repetition limit exceeded";

/// A tree may have so many values and bytes of texts for each byte of the file, and some more. Only
/// aliases make more than one of each.
const MOST_FOR_A_BYTE: usize = 8;
const MOST_AT_LEAST: usize = 4096;

/// What an error says of a file that is not a map.
pub(super) const NO_MAP: &str = "the file holds no `key: value` pairs";

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
    /// The key, without its quotes; stars if a missing colon may have put a secret into it.
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
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Scalar(_) => "one value",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
            Self::Tagged => "a YAML tag (a value that begins with `!` needs quotes)",
        }
    }
}

/// The keys and values of a text.
pub(super) fn read(text: &str) -> Result<Vec<Entry>, Error> {
    let open = || serde_yaml::Deserializer::from_str(text);
    let most = MOST_AT_LEAST + MOST_FOR_A_BYTE * text.len();
    let file = File {
        text,
        left: &Cell::new(most),
    };
    let mut tree = Outline(file).deserialize(open())?;
    let node = &mut tree;
    if !matches!(node.value, Value::Null) {
        Fill { file, node }.deserialize(open())?;
    }
    match tree.value {
        Value::Map(entries) => Ok(entries),
        Value::Null => Ok(Vec::new()),
        _ => Err(Error::custom(NO_MAP)),
    }
}

/// The text that is read, and how many values and bytes of texts its tree may still get.
#[derive(Clone, Copy)]
struct File<'t> {
    text: &'t str,
    left: &'t Cell<usize>,
}

impl File<'_> {
    fn take<E: serde::de::Error>(self, count: usize) -> Result<(), E> {
        let left = self.left.get().checked_sub(count);
        self.left.set(left.ok_or_else(|| E::custom(BOMB))?);
        Ok(())
    }
}

/// Reads keys, and values without their texts.
#[derive(Clone, Copy)]
struct Outline<'t>(File<'t>);

impl<'de> DeserializeSeed<'de> for Outline<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        self.0.take(1)?;
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

    // An empty file.
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
        while let Some(name) = map.next_key::<Text<'_>>()? {
            self.0.take(name.0.len())?;
            let at = name.at(self.0.text);
            let at = at.ok_or_else(|| A::Error::custom(ODD_KEY))?;
            let value = map.next_value_seed(self)?.value;
            entries.push(Entry {
                key: shown::key(&name.0).to_owned(),
                at,
                node: Node { value, at },
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

/// Reads the texts of a value whose outline is known, and their places.
struct Fill<'n, 't> {
    node: &'n mut Node,
    file: File<'t>,
}

impl<'de> DeserializeSeed<'de> for Fill<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.node.value {
            Value::List(_) => return deserializer.deserialize_seq(self),
            Value::Map(_) => return deserializer.deserialize_map(self),
            Value::Tagged => return deserializer.deserialize_ignored_any(IgnoredAny).map(drop),
            Value::Null | Value::Scalar(_) => {}
        }
        let text = Text::deserialize(deserializer)?;
        self.file.take(text.0.len())?;
        self.node.at = text.at(self.file.text).unwrap_or(self.node.at);
        if let Value::Scalar(own) = &mut self.node.value {
            *own = text.0.into_owned();
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Fill<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or a map")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Node { value, at } = self.node;
        if let Value::List(nodes) = value {
            for node in nodes.iter_mut() {
                node.at = *at;
                list.next_element_seed(Fill { node, ..self })?;
            }
            *at = nodes.first().map_or(*at, |node| node.at);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        if let Value::Map(entries) = &mut self.node.value {
            for Entry { node, .. } in entries.iter_mut() {
                map.next_key::<IgnoredAny>()?;
                map.next_value_seed(Fill { node, ..self })?;
            }
            self.node.at = entries.first().map_or(self.node.at, |entry| entry.at);
        }
        Ok(())
    }
}

/// A single value as it is written.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'t>(#[serde(borrow)] Cow<'t, str>);

impl Text<'_> {
    /// The byte of the file that it begins at, if serde_yaml has borrowed it.
    fn at(&self, file: &str) -> Option<usize> {
        let Cow::Borrowed(own) = self.0 else {
            return None;
        };
        let at = own.as_ptr().addr().checked_sub(file.as_ptr().addr())?;
        let is_quoted = file.get(..at)?.ends_with(['\'', '"']);
        Some(at - usize::from(is_quoted))
    }
}
