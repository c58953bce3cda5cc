//! One YAML file, read key by key, with the place of every key and value.
//!
//! A [`Section`] hands out one typed value after the other. What is wrong with a value is noted
//! with its place and the default is handed out instead, so that reading goes on and the user sees
//! everything that is wrong at once. [`Section::finish`] notes the keys that nobody asked for.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput};

use super::problem::{Place, Problem};

/// A parsed file and what was found wrong with it so far.
pub struct Document<'a> {
    file: &'a str,
    text: &'a str,
    problems: RefCell<Vec<Problem>>,
}

/// One map of a document, from which keys are taken.
pub struct Section<'d> {
    document: &'d Document<'d>,
    /// How this section is called in messages: empty at the top, else `relay.`.
    path: String,
    entries: Vec<(Key, Node)>,
    known: Vec<&'static str>,
}

/// A key of a map with its place.
#[derive(Debug, Clone)]
pub struct Key {
    /// The key, without its quotes.
    pub name: String,
    /// Where it begins.
    pub place: Place,
}

/// A value with its place.
#[derive(Debug, Clone)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it begins.
    pub place: Place,
}

/// The shapes a value can have. A scalar is the text as the user wrote it, so that `0123` or `1e5`
/// is not mangled when a text is wanted.
#[derive(Debug, Clone)]
pub enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Any single value, without its quotes.
    Scalar(String),
    /// A list.
    List(Vec<Node>),
    /// A map.
    Map(Vec<(Key, Node)>),
}

impl<'a> Document<'a> {
    /// A document named `file` in messages.
    pub fn new(file: &'a str, text: &'a str) -> Self {
        Self {
            file,
            text,
            problems: RefCell::new(Vec::new()),
        }
    }

    /// Parses the text. An empty file is an empty map; what is no YAML map is noted as a problem
    /// and read as an empty map too.
    pub fn top(&'a self) -> Section<'a> {
        let entries = match Tree::new(self).read() {
            Ok(None) => Vec::new(),
            Ok(Some(node)) => match node.value {
                Value::Map(entries) => entries,
                Value::Null => Vec::new(),
                Value::Scalar(_) | Value::List(_) => {
                    self.note(
                        node.place,
                        "the file holds no `key: value` pairs".to_owned(),
                        "write one `key: value` a line, as in the file this project ships"
                            .to_owned(),
                    );
                    Vec::new()
                }
            },
            Err(error) => {
                let (place, what, mend) = syntax_problem(self.text, &error);
                self.note(place, what, mend);
                Vec::new()
            }
        };
        Section {
            document: self,
            path: String::new(),
            entries,
            known: Vec::new(),
        }
    }

    /// Notes that something is wrong at a place.
    pub fn note(&self, place: Place, what: String, mend: String) {
        self.problems.borrow_mut().push(Problem {
            file: self.file.to_owned(),
            place: Some(place),
            line: shown_line(self.text, place.line),
            what,
            mend,
        });
    }

    /// Everything that was found wrong, in the order of the file.
    pub fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.place);
        problems
    }
}

impl<'d> Section<'d> {
    /// The value of a key, untyped. Null counts as absent.
    pub fn take(&mut self, key: &'static str) -> Option<Node> {
        self.known.push(key);
        let at = self
            .entries
            .iter()
            .position(|(known, _)| known.name == key)?;
        let (_, node) = self.entries.remove(at);
        match node.value {
            Value::Null => None,
            _ => Some(node),
        }
    }

    /// A text; numbers and booleans are taken as they were written.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        self.text_at(key).map(|(text, _)| text)
    }

    /// A text and its place.
    pub fn text_at(&mut self, key: &'static str) -> Option<(String, Place)> {
        let node = self.take(key)?;
        match node.value {
            Value::Scalar(text) => Some((text, node.place)),
            _ => {
                self.wrong(&node, key, "one value", &format!("write `{key}: 'value'`"));
                None
            }
        }
    }

    /// One of several words; the first is the default.
    pub fn choice(&mut self, key: &'static str, words: &[&'static str]) -> Option<&'static str> {
        let (text, place) = self.text_at(key)?;
        let found = words
            .iter()
            .find(|word| word.eq_ignore_ascii_case(text.trim()));
        if found.is_none() {
            self.note(
                place,
                format!(
                    "{}{key}: `{text}` is not one of the words it can be",
                    self.path
                ),
                format!("write one of: {}", words.join(", ")),
            );
        }
        found.copied()
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &'static str, default: bool) -> bool {
        match self.choice(key, &["true", "false"]) {
            Some(word) => word == "true",
            None => default,
        }
    }

    /// A whole number inside a range, quoted or not.
    pub fn number(&mut self, key: &'static str, range: RangeInclusive<u64>, default: u64) -> u64 {
        let Some((text, place)) = self.text_at(key) else {
            return default;
        };
        match text.trim().replace('_', "").parse::<u64>() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (low, high) = (range.start(), range.end());
                self.note(
                    place,
                    format!(
                        "{}{key}: `{text}` is not a whole number from {low} to {high}",
                        self.path
                    ),
                    format!("write, for instance, `{key}: {default}`"),
                );
                default
            }
        }
    }

    /// A nested map; absent is an empty one.
    pub fn section(&mut self, key: &'static str) -> Section<'d> {
        let entries = match self.take(key) {
            None => Vec::new(),
            Some(Node {
                value: Value::Map(entries),
                ..
            }) => entries,
            Some(node) => {
                self.wrong(
                    &node,
                    key,
                    "a map",
                    &format!("write `{key}:` and its keys below it, indented"),
                );
                Vec::new()
            }
        };
        Section {
            document: self.document,
            path: format!("{}{key}.", self.path),
            entries,
            known: Vec::new(),
        }
    }

    /// All remaining entries, for a map whose keys are data.
    pub fn into_entries(mut self) -> Vec<(Key, Node)> {
        std::mem::take(&mut self.entries)
    }

    /// Notes every key that was not asked for, with the nearest known one.
    pub fn finish(mut self) {
        for (key, _) in std::mem::take(&mut self.entries) {
            let name = &key.name;
            let near = self
                .known
                .iter()
                .map(|known| (distance(known, name), known))
                .filter(|(steps, _)| *steps <= 3)
                .min();
            let mend = match near {
                Some((_, known)) => format!("did you mean `{known}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            self.note(
                key.place,
                format!("unknown key `{}{name}`", self.path),
                mend,
            );
        }
    }

    /// Notes that something is wrong at a place of this section's file.
    pub fn note(&self, place: Place, what: String, mend: String) {
        self.document.note(place, what, mend);
    }

    fn wrong(&self, node: &Node, key: &str, wanted: &str, mend: &str) {
        let what = format!(
            "{}{key}: expected {wanted}, found {}",
            self.path,
            node.value.kind()
        );
        self.note(node.place, what, mend.to_owned());
    }
}

impl Value {
    /// What it is, in words for a message.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Scalar(_) => "one value",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// Most values of a file, those that aliases repeat included: aliases of aliases can stand for more
/// than fits into memory.
const MAX_VALUES: usize = 100_000;

/// Deepest nesting of a file.
const MAX_DEPTH: usize = 32;

/// Puts the parser's events together to a tree.
struct Tree<'d> {
    document: &'d Document<'d>,
    parser: Parser<'d, StrInput<'d>>,
    anchors: BTreeMap<usize, Node>,
    values: usize,
}

impl<'d> Tree<'d> {
    fn new(document: &'d Document<'d>) -> Self {
        Self {
            document,
            parser: Parser::new_from_str(document.text),
            anchors: BTreeMap::new(),
            values: 0,
        }
    }

    /// The first document's value; none if the text holds nothing.
    fn read(mut self) -> Result<Option<Node>, ScanError> {
        loop {
            let (event, place) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                Event::StreamEnd | Event::DocumentEnd => return Ok(None),
                event => {
                    let node = self.node(event, place, 0)?;
                    // What follows must be well-formed too, or a slip would cut the file off.
                    while self.next()?.0 != Event::StreamEnd {}
                    return Ok(Some(node));
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
                let Some(node) = self.anchors.get(&anchor).cloned() else {
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
            self.anchors.insert(anchor, node.clone());
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
                    .note(key.place, what, "keep one of the two".to_owned());
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
fn place(at: Marker) -> Place {
    Place {
        line: at.line().max(1) as u64,
        column: at.col() as u64 + 1,
    }
}

/// Where and what, for a text that is no YAML. The slip in the original's own README (a list that
/// is closed but was never opened) gets an answer of its own, because it will be pasted.
fn syntax_problem(text: &str, error: &ScanError) -> (Place, String, String) {
    for (number, line) in (1..).zip(text.lines()) {
        if let Some((column, key)) = unopened_list(line) {
            return (
                Place {
                    line: number,
                    column,
                },
                "`]` closes a list that was never opened".to_owned(),
                format!("put `[` before the first id: `{key}: ['1', '2']`"),
            );
        }
    }
    (
        place(*error.marker()),
        format!("this is not valid YAML: {}", error.info()),
        "look for a missing quote, bracket, comma or colon here or just above".to_owned(),
    )
}

/// The column of a `]` on a line of the form `key: …]` that has no `[`, and the key.
fn unopened_list(line: &str) -> Option<(u64, &str)> {
    let mut quote = None;
    let mut opened = 0usize;
    for (column, c) in (1..).zip(line.chars()) {
        match (quote, c) {
            (Some(open), _) if open == c => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '#') => return None,
            (None, '[') => opened += 1,
            (None, ']') if opened == 0 => {
                let (key, _) = line.split_once(':')?;
                return Some((column, key.trim().trim_start_matches('{').trim()));
            }
            (None, ']') => opened -= 1,
            (None, _) => {}
        }
    }
    None
}

/// The keys whose values no message may show.
const SECRET_KEYS: [&str; 4] = ["client_id", "client_secret", "refresh_token", "api_key"];

/// A line for a message. From the first secret key on it is starred out, and so is a line that may
/// carry on the value of a secret key above it.
fn shown_line(text: &str, number: u64) -> Option<String> {
    let index = usize::try_from(number.checked_sub(1)?).ok()?;
    let mut carries_secret = false;
    let mut line = "";
    for candidate in text.lines().take(index + 1) {
        if line.contains(':') {
            carries_secret = SECRET_KEYS.iter().any(|key| line.contains(key));
        }
        line = candidate;
    }
    let secret = SECRET_KEYS
        .iter()
        .filter_map(|key| Some(line.find(key)? + key.len()))
        .min();
    Some(match secret {
        Some(end) => format!("{}: ***", line.get(..end)?),
        None if carries_secret && !line.contains(':') => "***".to_owned(),
        None => line.to_owned(),
    })
}

/// Levenshtein distance, for `did you mean`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for (cb, pair) in b.iter().zip(row.windows(2)) {
            let (diagonal, above) = match pair {
                [diagonal, above] => (*diagonal, *above),
                _ => continue,
            };
            left = (diagonal + usize::from(ca != *cb))
                .min(above + 1)
                .min(left + 1);
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
