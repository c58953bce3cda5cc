//! One YAML file, read key by key, with every problem at once.
//!
//! A [`Section`] hands out one typed value after the other. What is wrong with a value is noted with
//! its place, and the default is handed out instead, so that reading goes on. When a section has been
//! read, every key that nobody asked for is a problem too.
//!
//! No message quotes a value that may hold a secret, and the line that a message shows has stars in
//! place of secrets.
//!
//! # Layout
//! - this file: sections and their values
//! - `tree` the text as a tree of values with their places
//! - `hint` what is wrong with a text that is not YAML, and the word that is likely meant
//! - `shown` lines, values and keys without secrets

mod hint;
mod shown;
#[cfg(test)]
mod tests;
mod tree;

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::problem::{Place, Problem};
use crate::secret::Secret;
pub use hint::nearest;
pub use shown::quote;
pub use tree::{Entry, Node, Value};

/// Most problems that are shown of one file.
const MOST_PROBLEMS: usize = 50;

/// What is wrong with a value, and what to write instead.
pub type Wrong = (String, String);

/// Reads the text of a file that messages call `name`, and gives what is wrong in it; a wrong value
/// has its default. None if the text is not a map.
pub fn read<T>(
    name: &str,
    text: &str,
    keys: impl FnOnce(&mut Section<'_>) -> T,
) -> (Option<T>, Vec<Problem>) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let file = File {
        name,
        text,
        problems: RefCell::default(),
        hidden: RefCell::default(),
    };
    let tree = file.tree(0);
    let settings = match &tree {
        None => None,
        Some(None) => Some(file.section(String::new(), &[], keys)),
        Some(Some(node)) => match &node.value {
            Value::Map(entries) => Some(file.section(String::new(), entries, keys)),
            _ => {
                file.note(
                    Some(hint::place(text, node.at)),
                    None,
                    "the file holds no `key: value` pairs".to_owned(),
                    "write one `key: value` a line, as in the file this project ships".to_owned(),
                );
                None
            }
        },
    };
    // Of a text that is no YAML, the first problem has been noted already.
    if let Some(Some(second)) = tree.and_then(|_| file.tree(1)) {
        file.note(
            Some(hint::place(text, second.at)),
            None,
            "a second YAML document begins here, and only the first is read".to_owned(),
            "write all keys into one document, without a line `---` between them".to_owned(),
        );
    }
    (settings, file.into_problems())
}

/// What is read of a file without keys.
pub fn defaults<T>(keys: impl FnOnce(&mut Section<'_>) -> T) -> T {
    let file = File::default();
    file.section(String::new(), &[], keys)
}

/// A file's text, and what was found wrong with it so far.
#[derive(Default)]
struct File<'t> {
    name: &'t str,
    text: &'t str,
    problems: RefCell<Vec<Problem>>,
    /// Keys whose values are not shown: nobody knows what they hold.
    hidden: RefCell<Vec<Place>>,
}

impl File<'_> {
    /// A document of the file, see [`tree::read`]. None if it is not YAML, which is noted.
    fn tree(&self, document: usize) -> Option<Option<Node>> {
        let tree = tree::read(self.text, document);
        tree.map_err(|error| {
            let (place, what, hint) = hint::explain(self.text, &error);
            self.note(place, None, what, hint);
        })
        .ok()
    }

    fn section<T>(
        &self,
        path: String,
        entries: &[Entry],
        keys: impl FnOnce(&mut Section<'_>) -> T,
    ) -> T {
        let mut section = Section {
            file: self,
            path,
            entries,
            known: Some(Vec::new()),
        };
        let read = keys(&mut section);
        section.finish();
        read
    }

    fn note(&self, place: Option<Place>, key: Option<String>, what: String, hint: String) {
        self.problems.borrow_mut().push(Problem {
            place,
            key,
            ..Problem::of(self.name, what, hint)
        });
    }

    /// Everything that was found wrong, in the order of the file.
    fn into_problems(self) -> Vec<Problem> {
        let hidden = self.hidden.into_inner();
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| (problem.place.is_none(), problem.place));
        if problems.len() > MOST_PROBLEMS {
            problems.truncate(MOST_PROBLEMS);
            let what = format!("there are more than {MOST_PROBLEMS} problems");
            problems.push(Problem::of(self.name, what, "solve these first"));
        }
        for problem in &mut problems {
            let line = problem.place.map(|place| place.line);
            problem.line = line.and_then(|line| shown::line(self.text, line, &hidden));
        }
        problems
    }
}

/// A map of a file, from which values are taken by their keys.
pub struct Section<'f> {
    file: &'f File<'f>,
    /// The keys above it, joined by dots.
    path: String,
    entries: &'f [Entry],
    /// The keys that were asked for; none if the keys are data.
    known: Option<Vec<&'static str>>,
}

impl<'f> Section<'f> {
    /// The value of a key; none if it is absent or null.
    fn get(&mut self, key: &'static str) -> Option<&'f Node> {
        self.known.get_or_insert_default().push(key);
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(&entry.node).filter(|node| !matches!(node.value, Value::Null))
    }

    /// A value that `parse` accepts; none if it is absent or wrong.
    pub fn parse<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&'f str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let node = self.get(key)?;
        let Value::Scalar(text) = &node.value else {
            self.note_kind(key, node, "one value", &format!("write `{key}: 'value'`"));
            return None;
        };
        parse(text)
            .map_err(|(what, hint)| self.note(key, node.at, &what, hint))
            .ok()
    }

    /// A text as it is written.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        self.parse(key, |text| Ok(text.to_owned()))
    }

    /// A credential; none if it is empty or the word `None`.
    pub fn secret(&mut self, key: &'static str) -> Option<Secret> {
        self.parse(key, |text| Ok(Secret::new(text))).flatten()
    }

    /// One of several words.
    pub fn choice<T: Copy>(&mut self, key: &'static str, default: T, words: &[(&str, T)]) -> T {
        let read = self.parse(key, |text| {
            let is_meant = |word: &&(&str, T)| word.0.eq_ignore_ascii_case(text.trim());
            if let Some((_, meant)) = words.iter().find(is_meant) {
                return Ok(*meant);
            }
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let first = words.first().copied().unwrap_or_default();
            Err((
                format!("{} must be one of {}", quote(text), words.join(", ")),
                format!("write, for instance, `{key}: {first}`"),
            ))
        });
        read.unwrap_or(default)
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.choice(key, default, &[("true", true), ("false", false)])
    }

    /// A whole number inside a range, quoted or not, with `_` between its digits or not.
    pub fn number<T: FromStr + PartialOrd + Display>(
        &mut self,
        key: &'static str,
        range: RangeInclusive<T>,
        default: T,
    ) -> T {
        let read = self.parse(key, |text| {
            let number = text.trim().replace('_', "").parse().ok();
            number.filter(|n| range.contains(n)).ok_or_else(|| {
                let (text, low, high) = (quote(text), range.start(), range.end());
                (
                    format!("{text} is not a whole number from {low} to {high}"),
                    format!("write, for instance, `{key}: {default}`"),
                )
            })
        });
        read.unwrap_or(default)
    }

    /// A list; `example` is one, and `item` says what each of it is.
    pub fn list<T: FromStr>(
        &mut self,
        key: &'static str,
        item: &str,
        example: &str,
    ) -> Option<Vec<T>> {
        let node = self.get(key)?;
        let hint = format!("write `{key}: {example}`");
        let Value::List(nodes) = &node.value else {
            self.note_kind(key, node, "a list", &hint);
            return None;
        };
        let read = nodes.iter().filter_map(|node| {
            let found = match &node.value {
                Value::Scalar(text) => match text.trim().parse() {
                    Ok(value) => return Some(value),
                    Err(_) => quote(text),
                },
                other => other.kind().to_owned(),
            };
            let what = format!("{found} is not {item}");
            self.note(key, node.at, &what, hint.clone());
            None
        });
        Some(read.collect())
    }

    /// A map inside of this one; absent is an empty one.
    pub fn section<T>(
        &mut self,
        key: &'static str,
        example: &str,
        keys: impl FnOnce(&mut Section<'_>) -> T,
    ) -> T {
        let entries = match self.get(key) {
            None => [].as_slice(),
            Some(Node {
                value: Value::Map(entries),
                ..
            }) => entries,
            Some(node) => {
                let hint = format!("write `{key}: {example}`");
                self.note_kind(key, node, "keys with values", &hint);
                &[]
            }
        };
        self.file.section(self.path_of(key), entries, keys)
    }

    /// All keys and values, of a map whose keys are data.
    pub fn entries(&mut self) -> &'f [Entry] {
        self.known = None;
        self.entries
    }

    /// Notes that a value is wrong in a way that [`Section::parse`] cannot see.
    pub fn note_key(&mut self, key: &'static str, what: &str, hint: String) {
        let at = self.get(key).map(|node| node.at);
        let place = at.map(|at| hint::place(self.file.text, at));
        let path = self.path_of(key);
        let what = format!("{path}: {what}");
        self.file.note(place, Some(path), what, hint);
    }

    /// Notes that something is wrong with a key, at a byte of the file.
    pub fn note(&self, key: &str, at: usize, what: &str, hint: String) {
        let path = self.path_of(key);
        let what = format!("{path}: {what}");
        let place = hint::place(self.file.text, at);
        self.file.note(Some(place), Some(path), what, hint);
    }

    fn note_kind(&self, key: &str, node: &Node, wanted: &str, hint: &str) {
        let what = format!("expected {wanted}, found {}", node.value.kind());
        let hint = match node.value {
            Value::Tagged => {
                format!("put a value that begins with `!` into quotes: `{key}: '!abc'`")
            }
            _ => hint.to_owned(),
        };
        self.note(key, node.at, &what, hint);
    }

    /// The keys down to one of this section; an empty key is the section itself.
    fn path_of(&self, key: &str) -> String {
        match (self.path.as_str(), key) {
            ("", key) => key.to_owned(),
            (path, "") => path.to_owned(),
            (path, key) => format!("{path}.{key}"),
        }
    }

    /// Notes every key that was not asked for, or is there twice.
    fn finish(self) {
        for (index, entry) in self.entries.iter().enumerate() {
            let path = self.path_of(&entry.key);
            let mut before = self.entries.iter().take(index);
            let (key, what, hint) = if before.any(|before| before.key == entry.key) {
                let what = format!("the key `{path}` is given twice");
                (path, what, "keep one of the two".to_owned())
            } else {
                let Some(known) = &self.known else { continue };
                if known.contains(&entry.key.as_str()) {
                    continue;
                }
                let near = nearest(&entry.key, known.iter().copied());
                let hint = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if entry.key == "<<" => {
                        "a merge key takes a map, or a list of maps: `<<: *name`".to_owned()
                    }
                    None => format!("known here: {}", known.join(", ")),
                };
                let what = format!("unknown key `{path}`");
                (near.map_or(path, str::to_owned), what, hint)
            };
            let place = hint::place(self.file.text, entry.at);
            self.file.hidden.borrow_mut().push(place);
            self.file.note(Some(place), Some(key), what, hint);
        }
    }
}
