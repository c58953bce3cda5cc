//! One YAML file, read key by key, with the place of every key and value.
//!
//! A [`Section`] hands out one typed value after the other. What is wrong with a value is noted
//! with its place and the default is handed out instead, so that reading goes on and the user sees
//! everything that is wrong at once. [`Section::finish`] notes the keys that nobody asked for.
//!
//! # Layout
//! - this file: documents, sections and values, as the two configuration files read them
//! - `tree` the parser's events put together
//! - `hint` what helps a user to find the mistake

mod hint;
mod tree;

use std::cell::{Cell, RefCell};
use std::ops::RangeInclusive;

use super::problem::{Place, Problem};
use hint::{NEAR, distance, shown_line, syntax_problem};
use tree::Tree;

/// A parsed file and what was found wrong with it so far.
pub struct Document<'a> {
    file: &'a str,
    text: &'a str,
    problems: RefCell<Vec<Problem>>,
    /// Keys whose values are not shown: nobody knows what they hold.
    hidden: RefCell<Vec<Place>>,
    /// It holds no map, so that all keys are missing.
    unreadable: Cell<bool>,
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
            problems: RefCell::default(),
            hidden: RefCell::default(),
            unreadable: Cell::new(false),
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
                    self.unreadable.set(true);
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
                self.unreadable.set(true);
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
        let place = Some(place);
        let mut problems = self.problems.borrow_mut();
        let later = problems.iter().position(|problem| problem.place > place);
        let problem = Problem {
            file: self.file.to_owned(),
            place,
            line: None,
            what,
            mend,
        };
        let at = later.unwrap_or(problems.len());
        problems.insert(at, problem);
    }

    /// The same of a key, whose value is not shown by this or any other message.
    fn note_key(&self, place: Place, what: String, mend: String) {
        self.hidden.borrow_mut().push(place);
        self.note(place, what, mend);
    }

    /// Whether it is a map, be it an empty one.
    pub fn is_readable(&self) -> bool {
        !self.unreadable.get()
    }

    /// Everything that was found wrong, in the order of the file.
    pub fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        let hidden = self.hidden.into_inner();
        for problem in &mut problems {
            let line = problem.place.map(|place| place.line);
            problem.line = line.and_then(|line| shown_line(self.text, line, &hidden));
        }
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
                .filter(|(steps, _)| *steps <= NEAR)
                .min();
            let mend = match near {
                Some((_, known)) => format!("did you mean `{known}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            self.document.note_key(
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
