//! A value of the tree as a serde deserializer: it leaves out what has a problem already, and its
//! errors know the value that they are about.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeSeed, Deserializer, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    Visitor,
};
use serde::forward_to_deserialize_any;

use super::hint::{nearest, quote};
use super::node::{Key, Node, Value};

/// A value that is being read.
#[derive(Clone, Copy)]
pub(super) struct Reader<'n> {
    node: &'n Node,
    /// The keys and values that have a problem already, and count as absent.
    wrong: &'n BTreeSet<usize>,
}

impl<'n> Reader<'n> {
    pub(super) fn new(node: &'n Node, wrong: &'n BTreeSet<usize>) -> Self {
        Self { node, wrong }
    }

    fn of(&self, node: &'n Node) -> Self {
        Self { node, ..*self }
    }

    fn is_absent(&self, node: &Node) -> bool {
        matches!(node.value, Value::Null | Value::Unusable) || self.wrong.contains(&node.id)
    }

    /// A single value.
    fn scalar(&self) -> Result<&'n str, Error> {
        match &self.node.value {
            Value::Scalar(text) => Ok(text),
            _ => Err(self.expected("one value", "write `{key}: 'value'`")),
        }
    }

    fn expected(&self, wanted: &str, hint: &str) -> Error {
        let found = self.node.value.kind();
        Error {
            node: Some(self.node.id),
            ..Error::new(format!("{{path}}: expected {wanted}, found {found}"), hint)
        }
    }
}

impl<'de> Deserializer<'de> for Reader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::Null | Value::Unusable => visitor.visit_unit(),
            Value::Scalar(text) => visitor.visit_str(text),
            Value::List(nodes) => visitor.visit_seq(Items {
                list: self,
                nodes: nodes.iter(),
            }),
            Value::Map(entries) => visitor.visit_map(Entries {
                map: self,
                entries: entries.iter(),
                value: None,
            }),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.scalar()?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.scalar()?)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match &self.node.value {
            Value::List(_) => self.deserialize_any(visitor),
            _ => Err(self.expected("a list", "write `{key}: [one, two]`")),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let entries = match &self.node.value {
            Value::Null => &[],
            Value::Map(entries) => entries.as_slice(),
            _ => {
                let hint = "write `{key}:` and its keys below it, indented";
                return Err(self.expected("keys with values", hint));
            }
        };
        let unknown = entries.iter().find(|(key, node)| {
            let is_noted = self.wrong.contains(&key.id) || matches!(node.value, Value::Unusable);
            !is_noted && !fields.contains(&key.name.as_str())
        });
        if let Some((key, _)) = unknown {
            return Err(unknown_key(key, fields));
        }
        visitor.visit_map(Entries {
            map: self,
            entries: entries.iter(),
            value: None,
        })
    }

    /// One of several words.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let text = self.scalar()?;
        let known = words
            .iter()
            .find(|word| word.eq_ignore_ascii_case(text.trim()));
        let Some(word) = known else {
            let what = format!(
                "{{path}}: {} must be one of {}",
                quote(text),
                words.join(", ")
            );
            let word = words.first().copied();
            let hint = format!(
                "write, for instance, `{{key}}: {}`",
                word.unwrap_or_default()
            );
            return Err(Error {
                node: Some(self.node.id),
                ..Error::new(what, &hint)
            });
        };
        visitor.visit_enum((*word).into_deserializer())
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        tuple tuple_struct map identifier ignored_any
    }
}

fn unknown_key(key: &Key, fields: &[&'static str]) -> Error {
    let near = nearest(&key.name, fields.iter().copied());
    let hint = match near {
        Some(known) => format!("did you mean `{known}`?"),
        None if key.name == "<<" => {
            "a merge key takes a map, or a list of maps: `<<: *name`".to_owned()
        }
        None => format!("known here: {}", fields.join(", ")),
    };
    Error {
        node: Some(key.id),
        meant: near.map(str::to_owned),
        is_hidden: true,
        ..Error::new("unknown key `{path}`".to_owned(), &hint)
    }
}

/// The items of a list.
struct Items<'n> {
    list: Reader<'n>,
    nodes: std::slice::Iter<'n, Node>,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        let list = self.list;
        let Some(node) = self.nodes.find(|node| !list.is_absent(node)) else {
            return Ok(None);
        };
        let item = seed.deserialize(list.of(node));
        item.map(Some).map_err(|error| error.at(node.id))
    }
}

/// The entries of a map.
struct Entries<'n> {
    map: Reader<'n>,
    entries: std::slice::Iter<'n, (Key, Node)>,
    value: Option<&'n Node>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let map = self.map;
        let usable =
            |(key, node): &&(Key, Node)| !map.is_absent(node) && !map.wrong.contains(&key.id);
        let Some((key, node)) = self.entries.find(usable) else {
            return Ok(None);
        };
        self.value = Some(node);
        let name: StrDeserializer<'_, Error> = key.name.as_str().into_deserializer();
        seed.deserialize(name)
            .map(Some)
            .map_err(|error| error.at(key.id))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        // serde asks for a key first.
        let Some(node) = self.value.take() else {
            return Err(serde::de::Error::custom("a value without a key"));
        };
        let value = seed.deserialize(self.map.of(node));
        value.map_err(|error| error.at(node.id))
    }
}

/// Why a value cannot be read.
#[derive(Debug)]
pub(super) struct Error {
    /// The value or key that it is about.
    pub node: Option<usize>,
    /// The key that was meant, if it is about a misspelt one.
    pub meant: Option<String>,
    /// Whether the value must not be shown.
    pub is_hidden: bool,
    pub what: String,
    pub hint: String,
}

impl Error {
    fn new(what: String, hint: &str) -> Self {
        Self {
            node: None,
            meant: None,
            is_hidden: false,
            what,
            hint: hint.to_owned(),
        }
    }

    /// Sets the value that it is about, unless a value inside of it is known already.
    fn at(mut self, node: usize) -> Self {
        self.node.get_or_insert(node);
        self
    }
}

/// The two texts of a problem as the one text that serde passes on, see [`super::value::problem`].
pub(super) const SEPARATOR: char = '\u{1f}';

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(text: T) -> Self {
        let text = text.to_string();
        let mut parts = text.split(SEPARATOR);
        let what = format!("{{path}}: {}", parts.next().unwrap_or_default());
        let hint = parts.next().unwrap_or("write a value of another kind");
        Self {
            is_hidden: parts.next().is_some(),
            ..Self::new(what, hint)
        }
    }

    /// The value itself is not quoted, since it may be a secret.
    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format!("expected {expected}"))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format!("expected {expected}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Error {}
