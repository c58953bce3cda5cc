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

/// The keys whose values no message may show.
const SECRET_KEYS: [&str; 4] = ["client_id", "client_secret", "refresh_token", "api_key"];

/// A line for a message. From the first secret key on it is starred out, and so is a line that may
/// carry on the value of a secret key above it.
pub(super) fn shown_line(text: &str, number: u64) -> Option<String> {
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
