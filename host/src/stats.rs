//! What the instances of this process have done so far: for `/metrics`, and for a person who waits.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// The figures of a moment.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Runs of the cron trigger that began.
    pub runs: u64,
    /// Those that crashed or exceeded a limit.
    pub broken: u64,
    /// Requests to Catchpoint.
    pub calls: u64,
    /// Requests to the relay.
    pub posts: u64,
    /// Those that it took.
    pub taken: u64,
    /// So many of the last ones failed, and why the last one did.
    pub(crate) refused: Option<(u64, String)>,
    /// The most linear memory that an instance has had, in bytes.
    pub peak_memory: u64,
    /// Whose answer the last request waits for, and since when.
    pub(crate) waiting: Option<(String, Instant)>,
}

/// The figures so far.
#[derive(Debug, Default)]
pub struct Stats(Mutex<Figures>);

impl Stats {
    /// The figures of this moment.
    pub fn now(&self) -> Figures {
        self.change(|figures| figures.clone())
    }

    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Figures) -> T) -> T {
        // Figures that a panicking thread left behind are still figures.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Figures {
    /// `3 calls to Catchpoint, 2 posts to the relay, waiting 4 s for https://io.catchpoint.com`.
    pub fn words(&self) -> String {
        let plural = |count| if count == 1 { "" } else { "s" };
        let (calls, posts) = (self.calls, self.taken);
        let waiting = self.waiting.as_ref().map(|(origin, since)| {
            let seconds = since.elapsed().as_secs();
            format!(", waiting {seconds} s for {origin}")
        });
        let refused = self
            .refused
            .as_ref()
            .map(|(times, why)| format!(", the relay {why}: tried {times} time{}", plural(*times)));
        format!(
            "{calls} call{} to Catchpoint, {posts} post{} to the relay{}{}",
            plural(calls),
            plural(posts),
            refused.unwrap_or_default(),
            waiting.unwrap_or_default()
        )
    }

    /// Counts a request to the relay that came to this end: a status, or no answer.
    pub(crate) fn relay_answered(&mut self, status: Option<u16>) {
        let why = match status {
            Some(200..300) => {
                self.taken += 1;
                self.refused = None;
                return;
            }
            Some(status) => format!("answers HTTP {status}"),
            None => "does not answer".to_owned(),
        };
        let times = self.refused.take().map_or(0, |(times, _)| times);
        self.refused = Some((times + 1, why));
    }
}

#[cfg(test)]
mod tests {
    use super::Figures;

    #[test]
    fn a_post_that_failed_is_not_shown_as_one() {
        let mut figures = Figures {
            calls: 1,
            ..Figures::default()
        };
        let mut words = |status| {
            figures.relay_answered(status);
            figures.words()
        };
        let said = [None, None, Some(503), Some(202)].map(&mut words);
        insta::assert_snapshot!(said.join("\n"), @"
        1 call to Catchpoint, 0 posts to the relay, the relay does not answer: tried 1 time
        1 call to Catchpoint, 0 posts to the relay, the relay does not answer: tried 2 times
        1 call to Catchpoint, 0 posts to the relay, the relay answers HTTP 503: tried 3 times
        1 call to Catchpoint, 1 post to the relay
        ");
    }
}
