//! The text as a tree of values.
//!
//! The YAML crate decides what a plain value is: `1e5` becomes a number, and its text is lost. So
//! the text is read twice. The first time asks for the shape alone; the second time asks for text
//! wherever the shape has a single value, and the crate then gives it as it was written.
//!
//! The crate puts a place on errors only. [`locate`] therefore reads once more and fails at the
//! wanted value. Values are numbered in the order of the file, so that both readings agree.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::shape::{Count, ODD_KEY, Shape, ShapeSeed, TOO_MANY};
use crate::problem::Place;

/// A value and its number.
#[derive(Debug)]
pub struct Node {
    /// Its number, by which problems name it.
    pub id: usize,
    /// What it is.
    pub value: Value,
}

/// A key of a map and its number.
#[derive(Debug)]
pub struct Key {
    /// Its number.
    pub id: usize,
    /// The key, without its quotes.
    pub name: String,
}

/// The shapes that a value can have.
#[derive(Debug)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// A single value as it was written, without its quotes.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file.
    Map(Vec<(Key, Node)>),
    /// A value that has a problem already, and counts as absent.
    Unusable,
}

impl Value {
    /// What it is, in words for a message.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null | Self::Unusable => "nothing",
            Self::Scalar(_) => "one value",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// A problem of the tree itself, which does not keep the rest from being read.
pub(super) struct Note {
    pub node: usize,
    pub what: String,
    pub hint: &'static str,
}

/// Why there is no tree.
pub(super) struct SyntaxError {
    pub place: Option<Place>,
    pub what: String,
    /// What to do; none: look for the slip.
    pub hint: Option<&'static str>,
}

/// The tree of a text, and the problems of the tree itself.
pub(super) fn read(text: &str) -> Result<(Node, Vec<Note>), SyntaxError> {
    let walk = Walk::default();
    let parsed = walk.tree(text);
    parsed
        .map(|root| (root, walk.notes.take()))
        .map_err(|error| walk.syntax_error(text, &error))
}

/// Where a second document begins that holds something: nobody would read it.
pub(super) fn second_document(text: &str) -> Option<SyntaxError> {
    let walk = Walk {
        stop_at: Some(0),
        ..Walk::default()
    };
    let second = || serde_yaml::Deserializer::from_str(text).nth(1);
    let error = match ShapeSeed::new(&walk.count).deserialize(second()?) {
        Ok(Shape::Null) => return None,
        Ok(shape) => {
            walk.count.reset();
            walk.count.reason.set(Some(SECOND_DOCUMENT));
            NodeSeed(&walk, &shape).deserialize(second()?).err()?
        }
        Err(error) => error,
    };
    Some(walk.syntax_error(text, &error))
}

/// What is wrong with a second document.
const SECOND_DOCUMENT: &str = "a second YAML document begins here, and only the first is read";

/// Where the value or key with a number begins.
pub(super) fn locate(text: &str, id: usize) -> Option<Place> {
    let walk = Walk {
        stop_at: Some(id),
        ..Walk::default()
    };
    place(text, &walk.tree(text).err()?)
}

#[derive(Default)]
struct Walk {
    count: Count,
    /// The value at which to fail.
    stop_at: Option<usize>,
    notes: RefCell<Vec<Note>>,
}

impl Walk {
    fn tree(&self, text: &str) -> Result<Node, serde_yaml::Error> {
        let shape = match serde_yaml::Deserializer::from_str(text).next() {
            Some(document) => ShapeSeed::new(&self.count).deserialize(document)?,
            None => Shape::Null,
        };
        self.count.reset();
        if matches!(shape, Shape::Null) {
            return Ok(Node {
                id: 0,
                value: Value::Null,
            });
        }
        match serde_yaml::Deserializer::from_str(text).next() {
            Some(document) => NodeSeed(self, &shape).deserialize(document),
            None => Err(serde_yaml::Error::custom("the text has no document")),
        }
    }

    fn syntax_error(&self, text: &str, error: &serde_yaml::Error) -> SyntaxError {
        let words = error.to_string();
        let mut place = place(text, error);
        let (what, hint) = match self.count.reason.get() {
            Some(reason) => (reason.to_owned(), hint_of(reason)),
            // The message quotes the value, which may be a secret.
            None if words.contains("invalid value: ") || words.contains("invalid type: ") => (
                "a value does not fit its YAML tag".to_owned(),
                Some("delete the tag, or put the value into quotes"),
            ),
            None if words.contains("unknown anchor") => (
                "`*` begins the name of a value elsewhere, and there is none".to_owned(),
                Some("put a value that begins with `*` into quotes"),
            ),
            None if words.contains("limit exceeded") => (
                "the file is nested too deeply".to_owned(),
                Some("look for brackets that are not closed, and for `*` inside of its own `&`"),
            ),
            None => {
                // "PROBLEM at line L column C, CONTEXT at line L column C"
                let (problem, context) = words.split_once(", ").unwrap_or((&words, ""));
                let plain = |words: &str| words.split(" at ").next().unwrap_or_default().to_owned();
                let mut what = format!("this is not valid YAML: {}", plain(problem));
                // At the end of the file, the place where it begins tells more.
                let index = error.location().map_or(0, |location| location.index());
                let is_end = text.get(index..).unwrap_or_default().trim().is_empty();
                if let Some(begin) = line_and_column(context).filter(|_| is_end) {
                    what += &format!(", {} that begins here", plain(context));
                    place = Some(begin);
                }
                (what, None)
            }
        };
        SyntaxError { place, what, hint }
    }
}

/// What to do about a reason for which a reading was given up.
fn hint_of(reason: &str) -> Option<&'static str> {
    match reason {
        SECOND_DOCUMENT => {
            Some("write all keys into one document, without a line `---` between them")
        }
        ODD_KEY => Some("write `key: value`, with one word as the key"),
        TOO_MANY => Some("delete what repeats others (`*name`), or shorten the lists"),
        _ => None,
    }
}

/// The place at the end of a part of the crate's message.
fn line_and_column(words: &str) -> Option<Place> {
    let (_, place) = words.split_once(" at line ")?;
    let (line, column) = place.split_once(" column ")?;
    Some(Place {
        line: line.parse().ok()?,
        column: column.parse().ok()?,
    })
}

/// The crate counts line breaks that editors do not, so the place is counted anew from its index,
/// which is in bytes.
fn place(text: &str, error: &serde_yaml::Error) -> Option<Place> {
    let index = error.location()?.index();
    let before = text.char_indices().take_while(|(at, _)| *at < index);
    let start = Place { line: 1, column: 1 };
    Some(before.fold(start, |at, (_, c)| match c {
        '\n' => Place {
            line: at.line + 1,
            column: 1,
        },
        _ => Place {
            column: at.column + 1,
            ..at
        },
    }))
}

/// Reads a value whose shape is known.
struct NodeSeed<'w>(&'w Walk, &'w Shape);

/// Reads a value that has got its number.
struct NodeVisitor<'w> {
    walk: &'w Walk,
    shape: &'w Shape,
    id: usize,
}

impl<'de> DeserializeSeed<'de> for NodeSeed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        let Self(walk, shape) = self;
        let id = walk.count.next()?;
        let (shape, is_tagged) = match shape {
            Shape::Tagged(shape) => (&**shape, true),
            shape => (shape, false),
        };
        let visitor = NodeVisitor { walk, shape, id };
        let value = match shape {
            Shape::List(_) => deserializer.deserialize_seq(visitor)?,
            Shape::Map(_) => deserializer.deserialize_map(visitor)?,
            Shape::Null | Shape::Scalar | Shape::Tagged(_) => {
                deserializer.deserialize_str(visitor)?
            }
        };
        if is_tagged {
            walk.notes.borrow_mut().push(Note {
                node: id,
                what: "{path}: a value that begins with `!` is a YAML tag, and tags have no meaning here".to_owned(),
                hint: "put the value into quotes, for instance `{key}: '!abc'`",
            });
        }
        let value = if is_tagged { Value::Unusable } else { value };
        Ok(Node { id, value })
    }
}

impl<'w> NodeVisitor<'w> {
    fn stop_here<E: serde::de::Error>(&self) -> Result<(), E> {
        match self.walk.stop_at {
            Some(id) if id == self.id => Err(E::custom("here")),
            _ => Ok(()),
        }
    }

    /// The shapes of what a list or a map holds.
    fn inner(&self) -> std::slice::Iter<'w, Shape> {
        match self.shape {
            Shape::List(shapes) | Shape::Map(shapes) => shapes.iter(),
            Shape::Null | Shape::Scalar | Shape::Tagged(_) => [].iter(),
        }
    }
}

impl<'de> Visitor<'de> for NodeVisitor<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the same value as before")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        self.stop_here()?;
        Ok(match self.shape {
            Shape::Null => Value::Null,
            _ => Value::Scalar(text.to_owned()),
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        self.stop_here()?;
        let mut nodes = Vec::new();
        for shape in self.inner() {
            nodes.extend(list.next_element_seed(NodeSeed(self.walk, shape))?);
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        self.stop_here()?;
        let mut entries: Vec<(Key, Node)> = Vec::new();
        for shape in self.inner() {
            let Some(key) = map.next_key_seed(KeySeed(self.walk))? else {
                break;
            };
            let mut node = map.next_value_seed(NodeSeed(self.walk, shape))?;
            if entries.iter().any(|(known, _)| known.name == key.name) {
                node.value = Value::Unusable;
                self.walk.notes.borrow_mut().push(Note {
                    node: key.id,
                    what: "the key `{path}` is given twice".to_owned(),
                    hint: "keep one of the two",
                });
            }
            entries.push((key, node));
        }
        merge(&mut entries);
        Ok(Value::Map(entries))
    }
}

/// Puts the entries of the maps under a merge key (`<<`) beside the map's own, which win. A merge
/// key that holds anything but maps stays, as a key that nobody knows.
fn merge(entries: &mut Vec<(Key, Node)>) {
    let is_map = |node: &Node| matches!(node.value, Value::Map(_));
    let Some(at) = entries.iter().position(|(key, node)| {
        let maps = match &node.value {
            Value::List(nodes) => nodes.iter().all(is_map),
            _ => is_map(node),
        };
        key.name == "<<" && maps
    }) else {
        return;
    };
    let (_, merged) = entries.remove(at);
    let maps = match merged.value {
        Value::List(nodes) => nodes,
        _ => vec![merged],
    };
    for map in maps {
        if let Value::Map(more) = map.value {
            for (key, node) in more {
                if !entries.iter().any(|(known, _)| known.name == key.name) {
                    entries.push((key, node));
                }
            }
        }
    }
}

/// Reads a key.
struct KeySeed<'w>(&'w Walk);

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        let id = self.0.count.next()?;
        let visitor = NodeVisitor {
            walk: self.0,
            shape: &Shape::Scalar,
            id,
        };
        let name = match deserializer.deserialize_str(visitor)? {
            Value::Scalar(name) => name,
            _ => String::new(),
        };
        Ok(Key { id, name })
    }
}
