//! What helps a user to find the mistake: the place, the line, the likely slip, the likely key.

use super::node::SyntaxError;
use crate::problem::Place;

/// Where, what and what to do, for a text that is not YAML. The slip in the original's own README (a
/// list that is closed but was never opened) gets an answer of its own, because it will be pasted.
pub(super) fn syntax_problem(text: &str, error: SyntaxError) -> (Option<Place>, String, String) {
    for (number, line) in (1..).zip(text.lines()) {
        if let Some((column, key)) = unopened_list(line) {
            let place = Place {
                line: number,
                column,
            };
            return (
                Some(place),
                "`]` closes a list that was never opened".to_owned(),
                format!(
                    "put `[` before the first id: `{}: ['1', '2']`",
                    visible_key(text, number, key)
                ),
            );
        }
    }
    // The crate does not give the place of a character that it cannot read at all.
    if let Some((place, c)) = unreadable_character(text) {
        let what = format!(
            "the character U+{:04X} is not allowed in YAML",
            u32::from(c)
        );
        return (Some(place), what, "delete it".to_owned());
    }
    let line = |place: Place| {
        let index = usize::try_from(place.line.saturating_sub(1)).ok()?;
        text.lines().nth(index)
    };
    let indent_has_tab = error.place.and_then(line).is_some_and(|line| {
        let indent = line.len() - line.trim_start().len();
        line.bytes().take(indent).any(|byte| byte == b'\t')
    });
    let hint = if let Some(hint) = error.hint {
        hint.to_owned()
    } else if indent_has_tab {
        "indent with spaces: YAML does not allow tabs there".to_owned()
    } else if let (Some(key), Some(place)) =
        (error.place.and_then(line).and_then(bare_list), error.place)
    {
        format!(
            "put the ids of a type into brackets: `{}: ['1', '2']`",
            visible_key(text, place.line, key)
        )
    } else {
        "look for a missing quote, bracket, comma or colon here or just above".to_owned()
    };
    (error.place, error.what, hint)
}

/// A key for a hint, if the line that it is from is shown with it.
fn visible_key<'k>(text: &str, line: u64, key: &'k str) -> &'k str {
    let is_shown = shown_line(text, line, &[]).is_some_and(|line| line.contains(key));
    if is_shown { key } else { "web" }
}

/// The key of a line of the form `key: '1', '2'`.
fn bare_list(line: &str) -> Option<&str> {
    let (key, value) = line.split_once(':')?;
    let mut ids = value.trim().trim_end_matches(',').split(',');
    let is_id = |id: &str| {
        let id = id.trim().trim_matches(['\'', '"']);
        !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit())
    };
    let are_ids = value.contains(',') && ids.all(is_id);
    are_ids.then_some(key.trim())
}

/// The first control character that YAML does not allow, and its place.
fn unreadable_character(text: &str) -> Option<(Place, char)> {
    (1..).zip(text.lines()).find_map(|(line, content)| {
        let odd = |c: &char| c.is_control() && !matches!(c, '\t' | '\r' | '\u{85}');
        let (column, c) = (1..).zip(content.chars()).find(|(_, c)| odd(c))?;
        Some((Place { line, column }, c))
    })
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

/// Most characters of a line, a value or a key in a message.
const MOST_SHOWN: usize = 200;

/// A value for a message, in quotes: "this" in its place if it is long, or if a missing quote or colon may have
/// put a secret into it.
#[must_use]
pub fn quote(text: &str) -> String {
    if text.trim().is_empty() {
        return "an empty text".to_owned();
    }
    if text.len() > MOST_SHOWN || text.contains('@') || secret_end(text).is_some() {
        return "this".to_owned();
    }
    format!("`{text}`")
}

/// A key for a message, without what a missing colon may have put into it.
pub(super) fn shown_key(name: &str) -> &str {
    let end = match secret_end(name) {
        Some(end) => end,
        None if name.len() > MOST_SHOWN => 0,
        None => name.len(),
    };
    name.get(..end).unwrap_or_default()
}

/// A line for a message. It is starred out from the first key on that is secret, or among the
/// `hidden`, and so is a line that may carry on the value of a secret key above it.
pub(super) fn shown_line(text: &str, number: u64, hidden: &[Place]) -> Option<String> {
    let index = usize::try_from(number.checked_sub(1)?).ok()?;
    let indent = |line: &str| line.len() - line.trim_start().len();
    // The indent of the secret key whose value may still go on.
    let mut secret_above: Option<usize> = None;
    let mut line = "";
    for candidate in text.lines().take(index + 1) {
        let goes_on = secret_above.is_some_and(|key| indent(line) > key || !line.contains(':'));
        if !goes_on {
            secret_above = secret_end(line).map(|_| indent(line));
        }
        line = candidate;
    }
    let goes_on = secret_above.is_some_and(|key| indent(line) > key || !line.contains(':'));
    if goes_on {
        return Some("***".to_owned());
    }
    let hidden = hidden.iter().filter(|key| key.line == number);
    let ends = hidden.map(|key| key_end(line, key.column));
    // Before an `@` there may be a password.
    let password = line.contains('@').then(|| line.find(':')).flatten();
    match ends.chain(secret_end(line)).chain(password).min() {
        Some(end) => Some(format!("{}: ***", line.get(..end)?)),
        None if line.len() > MOST_SHOWN => None,
        None => Some(line.to_owned()),
    }
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
const NEAR: usize = 3;

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

/// The known word that is nearest to one that nobody knows.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    known
        .into_iter()
        .map(|known| (distance(known, word), known))
        .filter(|(steps, known)| *steps <= NEAR && *steps < known.len().min(word.len()))
        .min()
        .map(|(_, known)| known)
}
