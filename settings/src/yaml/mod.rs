//! One YAML file as a typed struct, with every problem at once.
//!
//! A [`File`] reads a struct that derives `Deserialize` with `deny_unknown_fields`. Where reading
//! fails, the problem is noted, the failing value is left out, and the struct is read again; so all
//! problems are found, and each has the place of its value or key.
//!
//! No message quotes a value but where the code that checks it says so, because it may be a secret;
//! and the line that a message shows has stars in place of secrets.
//!
//! # Layout
//! - this file: reading, and the problems in the order of the file
//! - [`value`] readers of single values with their ranges, for `#[serde(deserialize_with = …)]`
//! - `de` a value as a serde deserializer
//! - `shape`, `node` the text as a tree of values, and their places
//! - `hint` the line, the likely slip, the likely key

mod de;
mod hint;
mod node;
mod shape;
#[cfg(test)]
mod tests;
pub mod value;

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde::de::DeserializeOwned;

use crate::problem::{Place, Problem};
use de::Reader;
pub use hint::{nearest, quote};
pub use node::{Key, Node, Value};

/// Most problems that are shown of one file.
const MOST_PROBLEMS: usize = 50;

/// A file's text, and what was found wrong with it so far.
pub struct File<'t> {
    name: &'t str,
    text: &'t str,
    /// None if the text is not YAML.
    root: Option<Node>,
    found: RefCell<Vec<Found>>,
}

/// A problem before its place is looked up.
struct Found {
    at: At,
    key: Option<String>,
    what: String,
    hint: String,
    /// Whether the value must not be shown with the line.
    is_hidden: bool,
}

enum At {
    Node(usize),
    Place(Option<Place>),
}

impl<'t> File<'t> {
    /// Takes the text of a file that messages call `name`.
    #[must_use]
    pub fn new(name: &'t str, text: &'t str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut file = Self {
            name,
            text,
            root: None,
            found: RefCell::default(),
        };
        match node::read(text) {
            Ok((root, notes)) => {
                file.root = Some(root);
                for note in notes {
                    file.report(note.node, note.what, note.hint.to_owned(), true);
                }
                if let Some(error) = node::second_document(text) {
                    let (place, what, hint) = hint::syntax_problem(text, error);
                    file.report_at(place, what, hint);
                }
            }
            Err(error) => {
                let (place, what, hint) = hint::syntax_problem(text, error);
                file.report_at(place, what, hint);
            }
        }
        file
    }

    /// Reads the file as a struct. None if it is not a map, or has too many problems.
    pub fn read<T: DeserializeOwned>(&self) -> Option<T> {
        let root = self.root.as_ref()?;
        let mut wrong = BTreeSet::new();
        loop {
            let error = match T::deserialize(Reader::new(root, &wrong)) {
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            let node = error.node.unwrap_or(root.id);
            if node == root.id {
                self.note(
                    node,
                    "the file holds no `key: value` pairs",
                    "write one `key: value` a line, as in the file this project ships",
                );
                return None;
            }
            wrong.insert(node);
            self.report(node, error.what, error.hint, error.is_hidden);
            if let (Some(key), Some(found)) = (error.meant, self.found.borrow_mut().last_mut()) {
                found.key = Some(key);
            }
            if wrong.len() >= MOST_PROBLEMS {
                let what = format!("there are more than {MOST_PROBLEMS} problems");
                self.report_at(None, what, "solve these first".to_owned());
                return None;
            }
        }
    }

    /// The value under a path of keys, for what is not read by [`File::read`].
    #[must_use]
    pub fn value(&self, path: &[&str]) -> Option<&Node> {
        path.iter().try_fold(self.root.as_ref()?, |node, wanted| {
            let Value::Map(entries) = &node.value else {
                return None;
            };
            let (_, node) = entries.iter().find(|(key, _)| key.name == *wanted)?;
            Some(node)
        })
    }

    /// Notes that something is wrong with a value or a key. In the texts, `{path}` stands for the
    /// path of its keys and `{key}` for the last of them.
    pub fn note(&self, node: usize, what: impl Into<String>, hint: impl Into<String>) {
        self.report(node, what.into(), hint.into(), false);
    }

    /// Everything that was found wrong, in the order of the file.
    #[must_use]
    pub fn into_problems(self) -> Vec<Problem> {
        let locate = |id| node::locate(self.text, id);
        let mut hidden = Vec::new();
        let mut problems = Vec::new();
        for found in self.found.take() {
            let place = match found.at {
                At::Node(id) => locate(id),
                At::Place(place) => place,
            };
            if let (true, At::Node(id), Some(root)) = (found.is_hidden, &found.at, &self.root) {
                let key = path_of(root, *id).last().map(|(key, _)| *key);
                hidden.extend(key.and_then(locate));
            }
            problems.push(Problem {
                file: self.name.to_owned(),
                place,
                line: None,
                key: found.key,
                what: found.what,
                hint: found.hint,
            });
        }
        for problem in &mut problems {
            let line = problem.place.map(|place| place.line);
            problem.line = line.and_then(|line| hint::shown_line(self.text, line, &hidden));
        }
        problems.sort_by_key(|problem| (problem.place.is_none(), problem.place));
        problems
    }

    fn report(&self, node: usize, what: String, hint: String, is_hidden: bool) {
        let path = self.root.as_ref().map(|root| path_of(root, node));
        let names: Vec<&str> = path
            .iter()
            .flatten()
            .map(|(_, name)| hint::shown_key(name))
            .collect();
        let key = names.last().copied().unwrap_or_default();
        self.found.borrow_mut().push(Found {
            at: At::Node(node),
            key: Some(names.join(".")),
            what: what.replacen("{path}", &names.join("."), 1),
            hint: hint.replace("{key}", key),
            is_hidden,
        });
    }

    fn report_at(&self, place: Option<Place>, what: String, hint: String) {
        self.found.borrow_mut().push(Found {
            at: At::Place(place),
            key: None,
            what,
            hint,
            is_hidden: false,
        });
    }
}

/// The number and name of each key on the way to a value or a key; empty for the root.
fn path_of(node: &Node, id: usize) -> Vec<(usize, &str)> {
    fn walk<'n>(node: &'n Node, id: usize, path: &mut Vec<(usize, &'n str)>) -> bool {
        match &node.value {
            _ if node.id == id => true,
            Value::List(nodes) => nodes.iter().any(|node| walk(node, id, path)),
            Value::Map(entries) => entries.iter().any(|(key, node)| {
                path.push((key.id, &key.name));
                let is_here = key.id == id || walk(node, id, path);
                if !is_here {
                    path.pop();
                }
                is_here
            }),
            _ => false,
        }
    }
    let mut path = Vec::new();
    walk(node, id, &mut path);
    path
}
