//! Keeps the number of lines a second below a limit.

use std::time::Duration;

use tokio::time::Instant;

/// A usual line, tags and all.
const LINE_BYTES: u64 = 85;

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

    /// About what may be sent in two seconds, the most that one delivery should carry.
    #[must_use]
    pub fn bytes_at_once(&self) -> u64 {
        self.per_second
            .map_or(u64::MAX, |limit| limit.saturating_mul(2 * LINE_BYTES))
    }

    /// The part at the front of `lines` that may be sent at once, about a tenth of a second's
    /// worth in whole lines, and the rest.
    #[must_use]
    pub fn piece<'a>(&self, lines: &'a [u8]) -> (&'a [u8], &'a [u8]) {
        let Some(limit) = self.per_second else {
            return (lines, &[]);
        };
        let count = usize::try_from((limit / 10).max(1)).unwrap_or(usize::MAX);
        let end = memchr::memchr_iter(b'\n', lines)
            .nth(count - 1)
            .map_or(lines.len(), |newline| newline + 1);
        lines.split_at_checked(end).unwrap_or((lines, &[]))
    }

    /// Waits until the piece may be sent.
    pub async fn wait(&mut self, piece: &[u8]) {
        let Some(limit) = self.per_second else {
            return;
        };
        let now = Instant::now();
        if self.due > now {
            tokio::time::sleep(self.due - now).await;
        }
        let lines = memchr::memchr_iter(b'\n', piece).count();
        let seconds = lines as f64 / limit as f64;
        self.due = self.due.max(now) + Duration::from_secs_f64(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_a_tenth_of_a_second_in_whole_lines() {
        let lines = b"a 1 2\n".repeat(25);
        for (limit, expect) in [(0, 25), (1, 1), (10, 1), (100, 10), (1000, 25)] {
            let (piece, rest) = RateLimit::new(limit).piece(&lines);
            assert_eq!(piece.len(), expect * 6, "{limit} a second");
            assert_eq!([piece, rest].concat(), lines);
        }
        let (piece, rest) = RateLimit::new(1).piece(b"half a li");
        assert_eq!((piece, rest), (&b"half a li"[..], &b""[..]));
    }

    #[tokio::test(start_paused = true)]
    async fn lines_are_spread_over_time() {
        let start = Instant::now();
        let mut limit = RateLimit::new(1000);
        for _ in 0..5 {
            limit.wait(&b"a 1 2\n".repeat(50)).await;
        }
        // The first piece goes at once, the others 50 ms apart.
        assert!(start.elapsed() >= Duration::from_millis(200));
    }
}
