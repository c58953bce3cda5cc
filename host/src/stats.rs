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
        let (calls, posts) = (self.calls, self.posts);
        let waiting = self.waiting.as_ref().map(|(origin, since)| {
            let seconds = since.elapsed().as_secs();
            format!(", waiting {seconds} s for {origin}")
        });
        format!(
            "{calls} call{} to Catchpoint, {posts} post{} to the relay{}",
            plural(calls),
            plural(posts),
            waiting.unwrap_or_default()
        )
    }
}
