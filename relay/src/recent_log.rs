//! The last warnings and errors of the log, for the status page. Equal messages are one entry, so
//! that a frequent one hides no other. There is one log in a process, so there is one of these.

use std::fmt::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::clock;

/// Most messages that are kept.
const MAX_MESSAGES: usize = 30;
/// Most characters of a message, and of its fields.
const MAX_CHARS: usize = 400;

static RECENT: Mutex<Vec<Recent>> = Mutex::new(Vec::new());

/// A warning or an error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recent {
    /// Whether data is lost, or will be.
    pub is_error: bool,
    /// What happened.
    pub message: String,
    /// `name=value`, of the last time.
    pub fields: String,
    /// How often it was logged.
    pub count: u64,
    /// When it was last logged, in seconds since 1970.
    pub last: u64,
}

/// Keeps the relay's warnings and errors, whatever the log itself shows.
pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>() -> impl Layer<S> {
    RecentLog.with_filter(Targets::new().with_target(env!("CARGO_CRATE_NAME"), Level::WARN))
}

/// What was kept, the newest first.
#[must_use]
pub fn recent() -> Vec<Recent> {
    entries().iter().rev().cloned().collect()
}

fn entries() -> MutexGuard<'static, Vec<Recent>> {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner)
}

struct RecentLog;

impl<S: Subscriber> Layer<S> for RecentLog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut new = Recent {
            is_error: *event.metadata().level() == Level::ERROR,
            count: 1,
            last: clock::now(),
            ..Recent::default()
        };
        event.record(&mut new);
        cut(&mut new.message);
        cut(&mut new.fields);
        note(&mut entries(), new);
    }
}

/// Puts an entry at the end, in place of an equal one or of the oldest.
fn note(recent: &mut Vec<Recent>, mut new: Recent) {
    let known = recent.iter().position(|one| one.message == new.message);
    if let Some(known) = known {
        new.count += recent.remove(known).count;
    } else if recent.len() >= MAX_MESSAGES {
        recent.remove(0);
    }
    recent.push(new);
}

fn cut(text: &mut String) {
    if let Some((end, _)) = text.char_indices().nth(MAX_CHARS) {
        text.truncate(end);
        text.push('…');
    }
}

impl Visit for Recent {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name if self.fields.is_empty() => write!(self.fields, "{name}={value:?}"),
            name => write!(self.fields, ", {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(message: &str, last: u64) -> Recent {
        Recent {
            message: message.to_owned(),
            count: 1,
            last,
            ..Recent::default()
        }
    }

    #[test]
    fn equal_messages_are_one_entry_and_the_oldest_goes() {
        let mut recent = Vec::new();
        note(&mut recent, entry("rare", 1));
        (0..1000).for_each(|time| note(&mut recent, entry("frequent", time)));
        assert_eq!(recent[0], entry("rare", 1));
        assert_eq!((recent[1].count, recent[1].last), (1000, 999));
        (0..MAX_MESSAGES).for_each(|n| note(&mut recent, entry(&n.to_string(), 2000)));
        assert_eq!(recent.len(), MAX_MESSAGES);
        assert_eq!(recent[0].message, "0");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let mut text = "ä".repeat(1000);
        cut(&mut text);
        assert_eq!(text, "ä".repeat(MAX_CHARS) + "…");
    }
}
