//! What somebody is told to do about a failure.

use std::borrow::Cow;
use std::fmt;

/// What a message says after its cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// What is not lost in spite of the failure, up to the advice: `nothing is lost: the next run fills
    /// the gap; if it continues, `. It is about runs, and is left out for somebody who tries whether
    /// anything works at all. Empty where it says nothing.
    pub assurance: &'static str,
    /// What to do.
    pub advice: Cow<'static, str>,
}

impl Hint {
    /// What to do, with nothing before it.
    pub const fn new(advice: &'static str) -> Self {
        Self::assured("", advice)
    }

    /// What is not lost, and what to do.
    pub const fn assured(assurance: &'static str, advice: &'static str) -> Self {
        Self {
            assurance,
            advice: Cow::Borrowed(advice),
        }
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.assurance, self.advice)
    }
}
