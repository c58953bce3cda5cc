//! What helps a user to find the mistake: the place, the line, the likely slip, the likely key.

use saphyr_parser::ScanError;

use super::tree::place;
use crate::config::problem::Place;

/// Where and what, for a text that is no YAML. The slip in the original's own README (a list that
/// is closed but was never opened) gets an answer of its own, because it will be pasted.
pub(super) fn syntax_problem(text: &str, error: &ScanError) -> (Place, String, String) {
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

/// The keys whose values no message may show; the last two are variables, which somebody may look
/// for here.
const SECRET_KEYS: [&str; 6] = [
    "client_id",
    "client_secret",
    "refresh_token",
    "api_key",
    "relay_token",
    "collect_token",
];

/// A line for a message. It is starred out from the first key on that is secret, or among the
/// `hidden`, and so is a line that may carry on the value of a secret key above it.
pub(super) fn shown_line(text: &str, number: u64, hidden: &[Place]) -> Option<String> {
    let index = usize::try_from(number.checked_sub(1)?).ok()?;
    let mut carries_secret = false;
    let mut line = "";
    for candidate in text.lines().take(index + 1) {
        if line.contains(':') {
            carries_secret = secret_end(line).is_some();
        }
        line = candidate;
    }
    let hidden = hidden.iter().filter(|key| key.line == number);
    let ends = hidden.map(|key| key_end(line, key.column));
    Some(match ends.chain(secret_end(line)).min() {
        Some(end) => format!("{}: ***", line.get(..end)?),
        None if carries_secret && !line.contains(':') => "***".to_owned(),
        None => line.to_owned(),
    })
}

/// The byte behind the first word that is a secret key, or may be meant for one.
fn secret_end(line: &str) -> Option<usize> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let mut at = 0;
    while let Some(rest) = line.get(at..).filter(|rest| !rest.is_empty()) {
        let len = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let word = rest.get(..len)?.to_ascii_lowercase();
        let is_meant = SECRET_KEYS.iter().any(|key| distance(key, &word) <= NEAR);
        if is_meant || word.contains("secret") {
            return Some(at + len);
        }
        at += len + rest.get(len..)?.chars().next().map_or(0, char::len_utf8);
    }
    None
}

/// The byte behind the key that begins at a column.
fn key_end(line: &str, column: u64) -> usize {
    let before = usize::try_from(column.saturating_sub(1)).unwrap_or(usize::MAX);
    let start = line.char_indices().nth(before).map_or(0, |(at, _)| at);
    let rest = line.get(start..).unwrap_or_default();
    start + rest.find(':').unwrap_or(0)
}

/// How far two words may be apart for one to be meant for the other.
pub(super) const NEAR: usize = 3;

/// Levenshtein distance, for `did you mean`.
pub(super) fn distance(a: &str, b: &str) -> usize {
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
