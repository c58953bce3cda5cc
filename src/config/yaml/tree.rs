//! The parser's events put together to a tree of values with their places.

use std::borrow::Cow;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput};

use super::{Document, Key, Node, Value};
use crate::config::problem::Place;

/// Most values of a file, those that aliases repeat included: aliases of aliases can stand for more
/// than fits into memory.
const MAX_VALUES: usize = 100_000;

/// Deepest nesting of a file.
const MAX_DEPTH: usize = 32;

/// Puts the parser's events together to a tree.
pub(super) struct Tree<'d> {
    document: &'d Document<'d>,
    parser: Parser<'d, StrInput<'d>>,
    anchors: Vec<(usize, Node)>,
    values: usize,
}

impl<'d> Tree<'d> {
    pub(super) fn new(document: &'d Document<'d>) -> Self {
        Self {
            document,
            parser: Parser::new_from_str(document.text),
            anchors: Vec::new(),
            values: 0,
        }
    }

    /// The first document's value; none if the text holds nothing.
    pub(super) fn read(mut self) -> Result<Option<Node>, ScanError> {
        loop {
            let (event, at) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                Event::StreamEnd | Event::DocumentEnd => return Ok(None),
                event => {
                    let node = self.node(event, at, 0)?;
                    // What follows must be well-formed too, or a slip would cut the file off.
                    loop {
                        match self.next()? {
                            (Event::StreamEnd, _) => return Ok(Some(node)),
                            (Event::DocumentStart(_), at) => self.document.note(
                                place(at),
                                "a second document begins here, which nobody would read".to_owned(),
                                "write all keys into one, without a line `---` between them"
                                    .to_owned(),
                            ),
                            _ => {}
                        }
                    }
                }
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'d>, Marker), ScanError> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start)),
            Some(Err(error)) => Err(error),
            None => Ok((Event::StreamEnd, Marker::new(0, 1, 0))),
        }
    }

    /// The value that begins with an event.
    fn node(&mut self, event: Event<'d>, at: Marker, depth: usize) -> Result<Node, ScanError> {
        self.values += 1;
        if depth > MAX_DEPTH || self.values > MAX_VALUES {
            return Err(ScanError::new_str(
                at,
                "the file is nested too deeply or holds too many values",
            ));
        }
        let place = place(at);
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => (scalar(text, style), anchor),
            Event::SequenceStart(anchor, _) => (self.list(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.map(depth)?, anchor),
            Event::Alias(anchor) => {
                let known = self.anchors.iter().rfind(|(known, _)| *known == anchor);
                let Some((_, node)) = known.cloned() else {
                    return Err(ScanError::new_str(
                        at,
                        "this alias stands inside of what it repeats",
                    ));
                };
                self.values += node.value.size();
                return Ok(Node { place, ..node });
            }
            _ => return Err(ScanError::new_str(at, "a value is missing here")),
        };
        let node = Node { value, place };
        if anchor > 0 {
            self.anchors.push((anchor, node.clone()));
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Value, ScanError> {
        let mut nodes = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(nodes)),
                (event, at) => nodes.push(self.node(event, at, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, ScanError> {
        let mut entries: Vec<(Key, Node)> = Vec::new();
        loop {
            let (event, at) = self.next()?;
            if event == Event::MappingEnd {
                return Ok(Value::Map(entries));
            }
            let Value::Scalar(name) = self.node(event, at, depth + 1)?.value else {
                return Err(ScanError::new_str(at, "a key must be one word"));
            };
            let (event, value_at) = self.next()?;
            let node = self.node(event, value_at, depth + 1)?;
            let key = Key {
                name,
                place: place(at),
            };
            if entries.iter().any(|(known, _)| known.name == key.name) {
                let what = format!("the key `{}` is given twice", key.name);
                self.document
                    .note_key(key.place, what, "keep one of the two".to_owned());
            }
            entries.push((key, node));
        }
    }
}

impl Value {
    /// How many values it holds, itself included.
    fn size(&self) -> usize {
        match self {
            Self::Null | Self::Scalar(_) => 1,
            Self::List(nodes) => 1 + nodes.iter().map(|node| node.value.size()).sum::<usize>(),
            Self::Map(entries) => {
                1 + entries
                    .iter()
                    .map(|(_, node)| node.value.size())
                    .sum::<usize>()
            }
        }
    }
}

/// A plain nothing is null; everything else is the text as it was written.
fn scalar(text: Cow<'_, str>, style: ScalarStyle) -> Value {
    let null = matches!(text.as_ref(), "" | "~" | "null" | "Null" | "NULL");
    if style == ScalarStyle::Plain && null {
        Value::Null
    } else {
        Value::Scalar(text.into_owned())
    }
}

/// The parser counts lines from 1 and columns from 0.
pub(super) fn place(at: Marker) -> Place {
    Place {
        line: at.line().max(1) as u64,
        column: at.col() as u64 + 1,
    }
}
