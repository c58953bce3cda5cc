//! Polling with a deadline, instead of sleeping and hoping.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// How long to rest between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// Calls `look` until it gives a value, at most for `within`. `what` completes the sentence
/// "… did not happen within 5s".
///
/// # Errors
/// When the time is over, and whatever `look` fails with.
pub fn until<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if start.elapsed() >= within {
            bail!("{what} did not happen within {within:?}");
        }
        thread::sleep(PAUSE);
    }
}
