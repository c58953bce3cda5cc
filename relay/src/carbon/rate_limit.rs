//! Keeps the number of lines a second below a limit.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A limit on lines a second.
#[derive(Debug)]
pub struct RateLimit {
    per_second: Option<u64>,
    /// When the lines sent so far will be worked off.
    due: Instant,
}

impl RateLimit {
    /// At most so many lines a second; 0 is no limit.
    #[must_use]
    pub fn new(per_second: u64) -> Self {
        Self {
            per_second: (per_second > 0).then_some(per_second),
            due: Instant::now(),
        }
    }

    /// Waits until some of these lines may be sent, about a tenth of a second's worth in whole lines.
    /// Gives them, and the rest.
    pub async fn take<'a>(&mut self, lines: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let Some(limit) = self.per_second else {
            return (lines, &[]);
        };
        let most = usize::try_from((limit / 10).max(1)).unwrap_or(usize::MAX);
        let ends = memchr::memchr_iter(b'\n', lines).take(most);
        let (count, end) = ends.fold((0, 0), |(count, _), newline| (count + 1, newline + 1));
        sleep_until(self.due).await;
        let seconds = count as f64 / limit as f64;
        self.due = self.due.max(Instant::now()) + Duration::from_secs_f64(seconds);
        let end = if count < most { lines.len() } else { end };
        lines.split_at_checked(end).unwrap_or((lines, &[]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes 25 lines in pieces of so many, and how many milliseconds that takes.
    async fn check(limit: u64, pieces: usize, milliseconds: u64) {
        let (start, lines) = (Instant::now(), b"a 1 2\n".repeat(25));
        let mut limit = RateLimit::new(limit);
        let (mut rest, mut got) = (&lines[..], Vec::new());
        let mut count = 0;
        while !rest.is_empty() {
            let piece;
            (piece, rest) = limit.take(rest).await;
            got.extend(piece);
            count += 1;
        }
        assert_eq!((got, count), (lines, pieces));
        assert!(start.elapsed() >= Duration::from_millis(milliseconds));
    }

    #[tokio::test(start_paused = true)]
    async fn lines_are_spread_over_time() {
        check(0, 1, 0).await;
        check(1, 25, 24_000).await;
        check(10, 25, 2_400).await;
        check(100, 3, 200).await;
        check(1000, 1, 0).await;
        let half = RateLimit::new(1).take(b"half a li").await;
        assert_eq!(half, (&b"half a li"[..], &b""[..]));
    }
}
