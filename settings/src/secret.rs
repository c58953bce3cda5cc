//! The one type that secrets live in.

use std::fmt;

/// A credential. It has no `Display`, and `Debug` shows stars; the only way to its text is
/// [`Secret::reveal`], so that every use can be found by that name.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a credential; none if it is empty or the word `None`, which the original's
    /// configuration has where nothing is set.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty() && text != "None").then(|| Self(text.to_owned()))
    }

    /// The text itself, to be sent and never to be shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether a text given from outside is this secret, in a time that does not depend on where
    /// the two differ.
    pub fn matches(&self, given: &str) -> bool {
        let (own, given) = (self.0.as_bytes(), given.as_bytes());
        let differs = own
            .iter()
            .zip(given.iter().chain(std::iter::repeat(&0)))
            .fold(own.len() ^ given.len(), |seen, (a, b)| {
                seen | usize::from(a ^ b)
            });
        std::hint::black_box(differs) == 0
    }
}

/// What is wrong with a placeholder.
pub const NO_CREDENTIAL: &str = "it is a placeholder, not a credential";

/// Whether a text only stands in an example for a credential: `…`, `...`, `xxx`, `***`, `<secret>`.
pub fn is_placeholder(text: &str) -> bool {
    let text = text.trim();
    let is_mark = |c: char| matches!(c, '…' | '.' | '*' | 'x' | 'X');
    let is_marks = text.chars().all(is_mark) && (text.contains('…') || text.len() > 2);
    is_marks || text.starts_with('<') && text.ends_with('>')
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::is_placeholder;

    #[test]
    fn what_stands_in_an_example_is_no_credential() {
        for text in ["…", " … ", "...", "xxx", "XXXX", "***", "<secret>"] {
            assert!(is_placeholder(text), "{text}");
        }
        for text in ["", "None", "x", "xx", "x1xx", "<a", "a…", "xxx-1"] {
            assert!(!is_placeholder(text), "{text}");
        }
    }
}
