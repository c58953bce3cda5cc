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
//! - `hint` what is wrong with a text that is not YAML
//! - `shown` lines, values and keys without secrets, and the word that is likely meant

mod hint;
mod shown;
#[cfg(test)]
mod tests;
mod tree;

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use crate::problem::Problem;
use crate::secret::{NO_CREDENTIAL, Secret, is_placeholder};
pub use shown::{nearest, quote};
pub use tree::{Entry, Node, Value};

/// Most problems that are shown of one file.
const MOST_PROBLEMS: usize = 50;

/// What is wrong with a value, and what to write instead.
pub type Wrong = (String, String);

/// Reads the text of a file that messages call `name`, and gives what is wrong in it; a wrong value
/// has its default, and so has everything if the text is not a map.
pub fn read<T>(
    name: &str,
    text: &str,
    keys: impl FnOnce(&mut Section<'_>) -> T,
) -> (T, Vec<Problem>) {
    let file = File {
        name,
        text: text.strip_prefix('\u{feff}').unwrap_or(text),
        ..File::default()
    };
    let entries = tree::read(file.text).unwrap_or_else(|error| {
        let (place, what, hint) = hint::explain(file.text, &error);
        file.problems.borrow_mut().push(Problem {
            place,
            ..Problem::of(name, what, hint)
        });
        Vec::new()
    });
    let read = file.section(String::new(), &entries, keys);
    (read, file.into_problems())
}

/// A file's text, and what was found wrong with it so far.
#[derive(Default)]
struct File<'t> {
    name: &'t str,
    text: &'t str,
    problems: RefCell<Vec<Problem>>,
    /// Keys with their lines, whose values are not shown: nobody knows what they hold.
    hidden: RefCell<Vec<(u64, String)>>,
}

impl File<'_> {
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
            known: Vec::new(),
        };
        let read = keys(&mut section);
        section.finish();
        read
    }

    /// Notes a problem with a key, at a byte of the file.
    fn note(&self, at: usize, key: String, what: String, hint: String) {
        self.problems.borrow_mut().push(Problem {
            place: Some(hint::place(self.text, at)),
            key: Some(key),
            ..Problem::of(self.name, what, hint)
        });
    }

    /// Everything that was found wrong, in the order of the file.
    fn into_problems(self) -> Vec<Problem> {
        let hidden = self.hidden.into_inner();
        let mut problems = self.problems.into_inner();
        problems.sort_by_cached_key(|problem| (problem.place.is_none(), problem.place));
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
    /// The keys that were asked for.
    known: Vec<&'f str>,
}

impl<'f> Section<'f> {
    /// The value of a key; none if it is absent or null.
    fn get(&mut self, key: &'f str) -> Option<&'f Node> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
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
        self.single(key, node, &format!("write `{key}: 'value'`"), parse)
    }

    fn single<T>(
        &self,
        key: &str,
        node: &'f Node,
        hint: &str,
        parse: impl FnOnce(&'f str) -> Result<T, Wrong>,
    ) -> Option<T> {
        let read = match &node.value {
            Value::Scalar(text) => parse(text),
            other => Err((
                format!("expected one value, found {}", other.kind()),
                hint.to_owned(),
            )),
        };
        read.map_err(|(what, hint)| self.note(key, node.at, what, hint))
            .ok()
    }

    /// A text that `check` accepts and may tidy up; else it says what the value does not do.
    pub fn checked(
        &mut self,
        key: &'static str,
        default: &str,
        check: impl FnOnce(&'f str) -> Result<&'f str, &'static str>,
    ) -> String {
        let read = self.parse(key, |text| {
            check(text).map_err(|what| {
                let hint = format!("write, for instance, `{key}: '{default}'`");
                (format!("{} {what}", quote(text)), hint)
            })
        });
        read.unwrap_or(default).to_owned()
    }

    /// A text as it is written.
    pub fn text(&mut self, key: &'static str) -> Option<String> {
        self.parse(key, |text| Ok(text.to_owned()))
    }

    /// A credential; none if it is empty or the word `None`. A placeholder is a mistake.
    pub fn secret(&mut self, key: &'static str) -> Option<Secret> {
        self.parse(key, |text| match is_placeholder(text) {
            false => Ok(Secret::new(text)),
            true => Err((
                NO_CREDENTIAL.to_owned(),
                format!("write the credential itself, or `{key}: ''` if it comes from a variable"),
            )),
        })
        .flatten()
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
                let what = format!("{text} is not a whole number from {low} to {high}");
                (what, format!("write, for instance, `{key}: {default}`"))
            })
        });
        read.unwrap_or(default)
    }

    /// The items of a list, each with the byte that it begins at; a lone value is a list of one. None
    /// if it is absent. In a message, `what` says what an item is.
    pub fn list<T: FromStr>(
        &mut self,
        key: &'f str,
        what: &str,
        hint: &str,
    ) -> Option<Vec<(T, usize)>> {
        let node = self.get(key)?;
        let nodes = match &node.value {
            Value::List(nodes) => nodes.as_slice(),
            Value::Scalar(text) if text.trim().is_empty() => &[],
            _ => std::slice::from_ref(node),
        };
        let read = nodes.iter().filter_map(|node| {
            let item = self.single(key, node, hint, |text| {
                let found = shown::value(key, text);
                let wrong = |_| (format!("{found} is not {what}"), hint.to_owned());
                text.trim().parse().map_err(wrong)
            });
            Some((item?, node.at))
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
        let entries = match self.get(key).map(|node| (&node.value, node.at)) {
            None => [].as_slice(),
            Some((Value::Map(entries), _)) => entries,
            Some((other, at)) => {
                let what = format!("expected keys with values, found {}", other.kind());
                self.note(key, at, what, format!("write `{key}: {example}`"));
                &[]
            }
        };
        self.file.section(self.path_of(key), entries, keys)
    }

    /// A map inside of this one, with the byte that it begins at; none if it is absent. A key without a
    /// value may mean both.
    pub fn optional<T>(
        &mut self,
        key: &'static str,
        example: &str,
        keys: impl FnOnce(&mut Section<'_>, usize) -> T,
    ) -> Option<T> {
        let empty = self.entries.iter().find(|entry| entry.key == key);
        let empty = empty.filter(|entry| matches!(entry.node.value, Value::Null));
        if let Some(entry) = empty {
            let hint = format!("write `{key}: {{}}` for all, or for instance `{key}: {example}`");
            self.note(key, entry.at, "it has no value", hint);
        }
        let at = self.get(key)?.at;
        Some(self.section(key, example, |section| keys(section, at)))
    }

    /// All keys and values, of a map whose keys are data.
    pub fn entries(&mut self) -> &'f [Entry] {
        let keys = self.entries.iter().map(|entry| entry.key.as_str());
        self.known.extend(keys);
        self.entries
    }

    /// Notes that something is wrong at a byte of the file; an empty key is the section itself.
    pub fn note(&self, key: &str, at: usize, what: impl Display, hint: impl Into<String>) {
        let path = self.path_of(key);
        let what = format!("{path}: {what}");
        self.file.note(at, path, what, hint.into());
    }

    fn path_of(&self, key: &str) -> String {
        let parts = [self.path.as_str(), key];
        parts.join(".").trim_matches('.').to_owned()
    }

    /// Notes every key that was not asked for, or is there twice.
    fn finish(self) {
        for (index, Entry { key, at, .. }) in self.entries.iter().enumerate() {
            let mut before = self.entries.iter().take(index);
            let is_twice = before.any(|before| before.key == *key);
            if !is_twice && self.known.contains(&key.as_str()) {
                continue;
            }
            let path = self.path_of(key);
            let near = nearest(key, self.known.iter().copied());
            let what = match is_twice {
                true => format!("the key `{path}` is given twice"),
                false => format!("unknown key `{path}`"),
            };
            let hint = match near {
                _ if is_twice => "keep one of the two".to_owned(),
                _ if key == "<<" => "merge keys are not supported: write the keys out".to_owned(),
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            let hidden = (hint::place(self.file.text, *at).line, key.clone());
            self.file.hidden.borrow_mut().push(hidden);
            let key = near.map_or(path, str::to_owned);
            self.file.note(*at, key, what, hint);
        }
    }
}
