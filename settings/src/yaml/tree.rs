//! The text as a tree of values, each with its place.
//!
//! serde_yaml decides what a plain value is: `1e5` becomes a number, and its text is lost. So the
//! text is read twice: first for the shape of lists, maps and single values, then for the texts, too.
//! A text that serde_yaml borrows from the file tells its place by its address. A list or a map has
//! the place of its first text, and anything else that of its key.

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

/// What an error says of a file that is not a map.
pub(super) const NO_MAP: &str = "the file holds no `key: value` pairs";

/// What an error says of a file whose aliases make far more of it than it holds. The YAML crate's own
/// limit says the same, but counts an alias of a long list or text as one.
pub(super) const BOMB: &str = "repetition limit exceeded";

/// A tree may have so many values and bytes of texts for each byte of the file, and some more. Only
/// aliases make more than one of each.
const MOST_FOR_A_BYTE: usize = 8;
const MOST_AT_LEAST: usize = 4096;

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
pub(super) fn read(file: &str) -> Result<Vec<Entry>, Error> {
    let left = Cell::new(MOST_AT_LEAST + MOST_FOR_A_BYTE * file.len());
    let read = |shape| {
        let reader = Reader {
            file,
            left: &left,
            shape,
            at: 0,
        };
        reader.deserialize(serde_yaml::Deserializer::from_str(file))
    };
    let shape = read(None)?;
    if matches!(shape.value, Value::Null) {
        return Ok(Vec::new());
    }
    match read(Some(shape))?.value {
        Value::Map(entries) => Ok(entries),
        _ => Err(Error::custom(NO_MAP)),
    }
}

/// Reads a value: without the texts of single values until its shape is known.
struct Reader<'t> {
    file: &'t str,
    /// How many values and bytes of texts the tree may still get.
    left: &'t Cell<usize>,
    shape: Option<Node>,
    /// The place of its key.
    at: usize,
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        self.take(1)?;
        let is_null = match self.shape.as_ref().map(|node| &node.value) {
            Some(Value::Null) => true,
            Some(Value::Scalar(_)) => false,
            _ => return deserializer.deserialize_any(self),
        };
        let text = Text::deserialize(deserializer)?;
        self.take(text.0.len())?;
        Ok(Node {
            at: text.at(self.file).unwrap_or(self.at),
            value: match is_null {
                true => Value::Null,
                false => Value::Scalar(text.0.into_owned()),
            },
        })
    }
}

macro_rules! scalars {
    ($($visit:ident($type:ty))*) => {
        $(fn $visit<E>(self, _: $type) -> Result<Node, E> {
            Ok(self.node(Value::Scalar(String::new())))
        })*
    };
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    scalars! {
        visit_bool(bool) visit_i64(i64) visit_i128(i128) visit_u64(u64) visit_u128(u128)
        visit_f64(f64)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Node, E> {
        self.take(text.len())?;
        Ok(self.node(Value::Scalar(String::new())))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(self.node(Value::Null))
    }

    // An empty file.
    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(self.node(Value::Null))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<Node, A::Error> {
        let mut shapes = match self.shape.take().map(|node| node.value) {
            Some(Value::List(nodes)) => nodes.into_iter(),
            _ => Vec::new().into_iter(),
        };
        let mut nodes: Vec<Node> = Vec::new();
        while let Some(node) = list.next_element_seed(self.below(shapes.next(), self.at))? {
            nodes.push(node);
        }
        Ok(Node {
            at: nodes.first().map_or(self.at, |node| node.at),
            value: Value::List(nodes),
        })
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Node, A::Error> {
        let mut shapes = match self.shape.take().map(|node| node.value) {
            Some(Value::Map(entries)) => entries.into_iter(),
            _ => Vec::new().into_iter(),
        };
        let mut entries: Vec<Entry> = Vec::new();
        while let Some(name) = map.next_key::<Text<'_>>()? {
            let at = name.at(self.file);
            let at = at.ok_or_else(|| A::Error::custom(ODD_KEY))?;
            let shape = shapes.next().map(|entry| entry.node);
            entries.push(Entry {
                key: shown::key(&name.0).to_owned(),
                at,
                node: map.next_value_seed(self.below(shape, at))?,
            });
        }
        Ok(Node {
            at: entries.first().map_or(self.at, |entry| entry.at),
            value: Value::Map(entries),
        })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Node, A::Error> {
        let (IgnoredAny, value) = tagged.variant()?;
        let IgnoredAny = value.newtype_variant()?;
        Ok(self.node(Value::Tagged))
    }
}

impl Reader<'_> {
    /// The reader of a value in this one; `at` is the place of its key.
    fn below(&self, shape: Option<Node>, at: usize) -> Self {
        let Self { file, left, .. } = *self;
        Self {
            file,
            left,
            shape,
            at,
        }
    }

    fn take<E: serde::de::Error>(&self, count: usize) -> Result<(), E> {
        let left = self.left.get().checked_sub(count);
        self.left.set(left.ok_or_else(|| E::custom(BOMB))?);
        Ok(())
    }

    fn node(&self, value: Value) -> Node {
        Node { value, at: self.at }
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
