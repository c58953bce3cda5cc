//! Lines, values and keys as a message shows them: without secrets.

/// How far two words may be apart for one to be meant for the other.
const NEAR: usize = 3;

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

/// Most bytes of a line, a value or a key in a message.
const MOST_SHOWN: usize = 200;

/// A value for a message, in quotes; "this" in its place if it may hold a secret.
#[must_use]
pub fn quote(text: &str) -> String {
    match text.trim() {
        "" => "an empty text".to_owned(),
        _ if is_safe(text) => format!("`{text}`"),
        _ => "this".to_owned(),
    }
}

/// The same for a value of a key that is data.
pub(super) fn value(key: &str, text: &str) -> String {
    match secret_end(key) {
        Some(_) => "this".to_owned(),
        None => quote(text),
    }
}

/// A key; stars in its place if a missing colon may have put a secret into it.
pub(super) fn key(name: &str) -> &str {
    if is_safe(name) { name } else { "***" }
}

/// Whether a text is short, and has neither a word behind a secret key nor an `@`, before which there
/// may be a password.
fn is_safe(text: &str) -> bool {
    let end = secret_end(text).unwrap_or(text.len());
    text.len() <= MOST_SHOWN && !text.contains('@') && end == text.len()
}

/// A line for a message. It has stars from the first key on that is secret, or among the `hidden` keys
/// with their lines, and so does a line that may carry on the value of such a key above it.
pub(super) fn line(text: &str, number: u64, hidden: &[(u64, String)]) -> Option<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    // The indent of the key whose value may still go on.
    let mut above: Option<usize> = None;
    for (at, line) in (1..).zip(text.lines()) {
        let goes_on = above.is_some_and(|key| indent(line) > key || !line.contains(':'));
        let hidden = hidden.iter().filter(|(line, _)| *line == at);
        let ends = hidden.map(|(_, key)| line.find(key).map_or(0, |at| at + key.len()));
        let end = ends.chain(secret_end(line)).min();
        if at == number && goes_on {
            return Some("***".to_owned());
        }
        if at == number {
            // Before an `@` there may be a password.
            let password = line.contains('@').then(|| line.find(':')).flatten();
            return match end.into_iter().chain(password).min() {
                Some(end) => Some(format!("{}: ***", line.get(..end)?)),
                None => Some(line.to_owned()).filter(|line| line.len() <= MOST_SHOWN),
            };
        }
        if !goes_on {
            above = end.map(|_| indent(line));
        }
    }
    None
}

/// The byte behind the first word that is a secret key, or may be meant for one.
fn secret_end(line: &str) -> Option<usize> {
    let is_other = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    let mut at = 0;
    line.split_inclusive(is_other).find_map(|piece| {
        let word = piece.trim_end_matches(is_other);
        let end = at + word.len();
        at += piece.len();
        let word = word.to_ascii_lowercase();
        let is_near = |key: &&str| strsim::levenshtein(key, &word) <= NEAR;
        (word.contains("secret") || SECRET_KEYS.iter().any(is_near)).then_some(end)
    })
}

/// The known word that is nearest to one that nobody knows.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    known
        .into_iter()
        .map(|known| (strsim::levenshtein(known, word), known))
        .filter(|(steps, known)| *steps <= NEAR && *steps < known.len().min(word.len()))
        .min()
        .map(|(_, known)| known)
}
