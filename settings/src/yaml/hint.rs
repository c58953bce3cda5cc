//! What is wrong with a text that is not YAML.

use super::tree::{BOMB, NO_MAP, ODD_KEY};
use crate::problem::Place;

const WRITE_KEY: &str = "write `key: value`, with one word as the key";

const SECOND_DOCUMENT: &str = "more than one document";

/// Errors of the YAML crate whose own words tell too little, or quote a value, which may be a
/// secret: a part of them, what is wrong, what to do.
const KNOWN: [[&str; 3]; 7] = [
    [
        SECOND_DOCUMENT,
        "a second YAML document begins here",
        "write all keys into one document, without a line `---` between them",
    ],
    [
        "invalid value",
        "a value does not fit its YAML tag",
        "delete the tag, or put the value into quotes",
    ],
    [ODD_KEY, ODD_KEY, WRITE_KEY],
    ["invalid type", "a key must be one word", WRITE_KEY],
    [
        "unknown anchor",
        "`*` begins the name of a value elsewhere, and there is none",
        "put a value that begins with `*` into quotes",
    ],
    [
        "limit exceeded",
        "the file is nested too deeply, or repeats too much by `*`",
        "look for brackets that are not closed, and for `*` inside of its own `&`",
    ],
    [
        NO_MAP,
        NO_MAP,
        "write one `key: value` a line, as in the file this project ships",
    ],
];

/// Where, what and what to do, for a text that is not YAML. The slips in the original's own README (a
/// list that is closed but was never opened, or neither) get answers of their own, because they will
/// be pasted.
pub(super) fn explain(text: &str, error: &serde_yaml::Error) -> (Option<Place>, String, String) {
    let words = error.to_string();
    let mut at = error.location().map(|location| location.index());
    if words.contains(SECOND_DOCUMENT) {
        at = text.rfind("\n---").map(|before| before + 1);
    } else if words.contains(ODD_KEY) || words.contains(BOMB) {
        at = None;
    }
    let mut place = at.map(|at| place(text, at));
    if let Some([_, what, hint]) = KNOWN.iter().find(|[part, ..]| words.contains(part)) {
        return (place, (*what).to_owned(), (*hint).to_owned());
    }
    // The crate does not give the place of a character that it cannot read at all.
    let is_odd = |c: char| c.is_control() && !matches!(c, '\t' | '\r' | '\n' | '\u{85}');
    if let Some((at, c)) = text.char_indices().find(|(_, c)| is_odd(*c)) {
        let what = format!(
            "the character U+{:04X} is not allowed in YAML",
            u32::from(c)
        );
        return (Some(self::place(text, at)), what, "delete it".to_owned());
    }
    let rest = at.and_then(|at| text.get(at..)).unwrap_or_default();
    if rest.starts_with(']') {
        let what = "`]` closes a list that was never opened".to_owned();
        let hint = "put `[` before the first id, as in `web: ['1', '2']`";
        return (place, what, hint.to_owned());
    }
    // "PROBLEM at line L column C, CONTEXT at line L column C"
    let (problem, context) = words.split_once(", ").unwrap_or((&words, ""));
    let (problem, _) = problem.split_once(" at ").unwrap_or((problem, ""));
    let mut what = format!("this is not valid YAML: {problem}");
    // At the end of the file, the place where the context begins tells more.
    if let (true, Some((context, begin))) = (rest.trim().is_empty(), place_in(context)) {
        what += &format!(", {context} that begins here");
        place = Some(begin);
    }
    let index = place.and_then(|place| usize::try_from(place.line - 1).ok());
    let line = index
        .and_then(|index| text.lines().nth(index))
        .unwrap_or_default();
    let hint = if line.trim_start_matches(' ').starts_with('\t') {
        "indent with spaces: YAML does not allow tabs there"
    } else if is_bare_list(line) {
        "put the ids of a type into brackets, as in `web: ['1', '2']`"
    } else {
        "look for a missing quote, bracket, comma or colon here or just above"
    };
    (place, what, hint.to_owned())
}

/// The place of a byte. The YAML crate counts line breaks that editors do not, and bytes.
pub(super) fn place(text: &str, at: usize) -> Place {
    let before = text.get(..at).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    Place {
        line: before.matches('\n').count() as u64 + 1,
        column: line.chars().count() as u64 + 1,
    }
}

/// The words and the place of a part of the crate's message.
fn place_in(part: &str) -> Option<(&str, Place)> {
    let (words, place) = part.split_once(" at line ")?;
    let (line, column) = place.split_once(" column ")?;
    let (line, column) = (line.parse().ok()?, column.parse().ok()?);
    Some((words, Place { line, column }))
}

/// Whether a line is of the form `key: '1', '2'`.
fn is_bare_list(line: &str) -> bool {
    let (_, ids) = line.split_once(':').unwrap_or_default();
    let is_id = |id: &str| {
        let id = id.trim().trim_matches(['\'', '"']);
        !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())
    };
    ids.contains(',') && ids.trim().trim_end_matches(',').split(',').all(is_id)
}
