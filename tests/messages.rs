//! All sentences that the programs print, in one file for a reviewer:
//! `tests/snapshots/messages__every_message.snap`. They are taken from the sources, so none is missing.
//!
//! After a change of a message, read it in that file's difference; this writes the file anew:
//! `INSTA_UPDATE=always cargo test --test messages`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// What a user installs.
const FOLDERS: [&str; 4] = ["src", "settings/src", "host/src", "relay/src"];

/// Attributes with texts that are printed.
const PRINTED: [&str; 4] = ["error", "arg", "command", "value"];

/// What makes a command line of a type: its doc comments are the help.
const CLAP: [&str; 4] = ["Parser", "Args", "Subcommand", "ValueEnum"];

#[test]
fn every_message() {
    let mut files = BTreeMap::new();
    for folder in FOLDERS {
        read_folder(folder, &mut files);
    }
    let mut text = String::new();
    for (path, messages) in &files {
        if !messages.is_empty() {
            writeln!(text, "## {path}").unwrap();
            for message in messages {
                writeln!(text, "- {message}").unwrap();
            }
            text.push('\n');
        }
    }
    let count: usize = files.values().map(Vec::len).sum();
    assert!(count > 300, "only {count} messages are found");
    insta::with_settings!({
        prepend_module_to_snapshot => true,
        description => "To write this file anew: INSTA_UPDATE=always cargo test --test messages",
        omit_expression => true,
    }, {
        insta::assert_snapshot!(text);
    });
}

/// Reads the messages of all files of a folder but tests.
fn read_folder(folder: &str, files: &mut BTreeMap<String, Vec<String>>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for entry in fs::read_dir(root.join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = format!("{folder}/{name}");
        if entry.file_type().unwrap().is_dir() {
            if name != "tests" {
                read_folder(&path, files);
            }
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let tokens: TokenStream = fs::read_to_string(entry.path()).unwrap().parse().unwrap();
            let mut messages = Vec::new();
            read(tokens, false, &mut messages);
            files.insert(path, messages);
        } else if name.ends_with(".txt") {
            let text = fs::read_to_string(entry.path()).unwrap();
            let lines = text.lines().filter(|line| is_sentence(line));
            files.insert(path, lines.map(str::to_owned).collect());
        }
    }
}

/// Reads the messages of a part of a file. `is_help`: its doc comments are printed.
fn read(tokens: TokenStream, is_help: bool, messages: &mut Vec<String>) {
    let mut tokens = tokens.into_iter().peekable();
    let mut docs = Vec::new();
    let (mut is_test, mut is_clap) = (false, false);
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(mark) if mark.as_char() == '#' => {
                tokens.next_if(
                    |next| matches!(next, TokenTree::Punct(mark) if mark.as_char() == '!'),
                );
                let Some(TokenTree::Group(attribute)) = tokens.next() else {
                    continue;
                };
                let content = attribute.stream();
                let words: Vec<String> =
                    content.clone().into_iter().map(|t| t.to_string()).collect();
                match words.first().map_or("", String::as_str) {
                    "doc" => docs.extend(words.last().cloned()),
                    "cfg" => is_test |= words.last().is_some_and(|what| what == "(test)"),
                    "derive" => {
                        let derived = words.concat();
                        let mut derived = derived.split(|c: char| !c.is_alphanumeric());
                        is_clap |= derived.any(|word| CLAP.contains(&word));
                    }
                    name if PRINTED.contains(&name) && !is_test => read(content, false, messages),
                    _ => {}
                }
            }
            TokenTree::Group(group) => {
                let is_end = group.delimiter() == Delimiter::Brace;
                if is_clap && is_end || is_help {
                    note(&paragraph(&docs), messages);
                }
                if !is_test {
                    read(group.stream(), is_clap && is_end, messages);
                }
                if is_end {
                    (is_test, is_clap) = (false, false);
                    docs.clear();
                }
            }
            TokenTree::Punct(mark) if matches!(mark.as_char(), ';' | ',') => {
                if is_help {
                    note(&paragraph(&docs), messages);
                }
                is_test &= mark.as_char() == ',';
                docs.clear();
            }
            TokenTree::Literal(literal) if !is_test => note(&literal.to_string(), messages),
            _ => {}
        }
    }
}

/// The lines of a doc comment as one text.
fn paragraph(docs: &[String]) -> String {
    let lines = docs.iter().map(|line| line.trim_matches('"'));
    format!("\"{}\"", lines.collect::<String>())
}

/// Adds a text of the sources, if it is a sentence.
fn note(literal: &str, messages: &mut Vec<String>) {
    let Some(text) = literal
        .trim_start_matches(['b', 'r', '#'])
        .strip_prefix('"')
    else {
        return;
    };
    let text = text.trim_end_matches('#');
    let text = text.strip_suffix('"').unwrap_or(text);
    // A line that goes on in the next one.
    let mut parts = text.split("\\\n");
    let first = parts.next().unwrap_or_default().to_owned();
    let text = parts.fold(first, |text, part| text + part.trim_start());
    let text = text.trim();
    if is_sentence(text) && !messages.iter().any(|message| message == text) {
        messages.push(text.to_owned());
    }
}

/// Whether there are two words, or one and a value.
fn is_sentence(text: &str) -> bool {
    let is_word = |word: &&str| {
        let word = word.trim_matches(|c: char| c.is_ascii_punctuation());
        word.chars().count() > 1 && word.chars().all(char::is_alphabetic)
    };
    let words = text.split_whitespace().filter(is_word).count();
    words > 1 || words == 1 && text.contains('{')
}
