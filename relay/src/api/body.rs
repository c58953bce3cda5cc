//! The body of a post: read in pieces, unpacked and checked as it comes, within the memory that there
//! is for all bodies.
//!
//! Unpacking, hashing and checking are done on threads of their own, at most one for each processor,
//! so that they hold up no other connection.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use flate2::write::MultiGzDecoder;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::response::Outcome;
use crate::blocking;
use crate::lines::validate::TimeBound;
use crate::lines::{CheckedLines, Checker};
use crate::server::Timeouts;

/// How long a body may wait for memory that other bodies hold.
const ROOM_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for a body that holds more than its share. It gives way soon: were the large ones to
/// wait for each other, the small ones would wait for all of them.
const LARGE_ROOM_TIMEOUT: Duration = Duration::from_millis(250);
/// Memory that a post takes beside its body.
const MIN_ROOM: usize = 4 << 10;
/// So much of a body is unpacked and checked at a time.
const STEP_BYTES: usize = 128 << 10;
/// Memory that a piece of a body takes beside its bytes. A sender may send chunks of one byte.
const PIECE_MEMORY: usize = 64;
/// One call of the unpacker gives at most so much.
const PIECE_BYTES: usize = 32 << 10;
/// How long a sender that does not stop sending gets to read its answer.
const LINGER: Duration = Duration::from_secs(5);
/// The same for one that has stopped.
const LINGER_IDLE: Duration = Duration::from_millis(500);

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// With gzip.
    Gzip,
}

/// Why a body cannot be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// It is larger than the limit.
    TooLarge,
    /// It is not gzip, or ends too early.
    BadGzip,
}

impl From<io::Error> for DecodeError {
    /// The unpacker cannot hand on what it has unpacked only when that is too large.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::WriteZero {
            Self::TooLarge
        } else {
            Self::BadGzip
        }
    }
}

/// Where a body goes once it is unpacked.
#[derive(Debug)]
struct Sink {
    checker: Checker,
    digest: Option<Sha256>,
}

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.checker.write(bytes)?;
        if let Some(digest) = &mut self.digest {
            digest.update(bytes.get(..written).unwrap_or_default());
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Unpacks and checks a body step by step.
#[derive(Debug)]
pub struct Decoder(Unpacker);

#[derive(Debug)]
enum Unpacker {
    Identity(Box<Sink>),
    /// In one member or several.
    Gzip(Box<MultiGzDecoder<Sink>>),
}

impl Decoder {
    /// For a body of at most `max_bytes` once it is unpacked, with timestamps up to this bound; with
    /// its SHA-256 if that is wanted.
    #[must_use]
    pub fn new(encoding: Encoding, bound: TimeBound, max_bytes: usize, digest: bool) -> Self {
        let sink = Sink {
            checker: Checker::new(bound, max_bytes),
            digest: digest.then(Sha256::new),
        };
        Self(match encoding {
            Encoding::Identity => Unpacker::Identity(Box::new(sink)),
            Encoding::Gzip => Unpacker::Gzip(Box::new(MultiGzDecoder::new(sink))),
        })
    }

    fn checker(&self) -> &Checker {
        match &self.0 {
            Unpacker::Identity(sink) => &sink.checker,
            Unpacker::Gzip(gzip) => &gzip.get_ref().checker,
        }
    }

    /// Takes from the front of `input` as much as makes about one step, at least one byte.
    ///
    /// # Errors
    /// When it is too large or no gzip.
    pub fn step(&mut self, input: &mut VecDeque<Bytes>) -> Result<(), DecodeError> {
        let end = self.checker().bytes() + STEP_BYTES;
        while let Some(first) = input.front_mut() {
            let piece = first.get(..PIECE_BYTES).unwrap_or(first);
            let (used, error) = match &mut self.0 {
                Unpacker::Identity(sink) => (sink.write(piece)?, DecodeError::TooLarge),
                // The stream has ended, and what follows is no other.
                Unpacker::Gzip(gzip) => (gzip.write(piece)?, DecodeError::BadGzip),
            };
            if used == 0 && !piece.is_empty() {
                return Err(error);
            }
            first.advance(used);
            if first.is_empty() {
                input.pop_front();
            }
            if self.checker().bytes() >= end {
                break;
            }
        }
        Ok(())
    }

    /// The lines of the whole body, and its digest.
    ///
    /// # Errors
    /// When it is too large or no whole gzip.
    pub fn finish(self) -> Result<(CheckedLines, Option<[u8; 32]>), DecodeError> {
        let sink = match self.0 {
            Unpacker::Identity(sink) => *sink,
            Unpacker::Gzip(gzip) => gzip.finish()?,
        };
        let digest = sink.digest.map(|digest| digest.finalize().into());
        Ok((sink.checker.finish(), digest))
    }
}

/// Reads bodies within the memory that there is for all of them.
pub struct Reader {
    room: Arc<Semaphore>,
    total_bytes: usize,
    /// One for each processor.
    processors: Semaphore,
    /// Has a clone for each body that is being read.
    bodies: Arc<()>,
    max_bytes: usize,
    timeouts: Timeouts,
}

/// A body that was read: its lines, its digest, and the room it takes, to be kept as long as it is.
pub type Read = (CheckedLines, Option<[u8; 32]>, OwnedSemaphorePermit);

impl Reader {
    /// For bodies of at most `max_bytes` each, with room for `total_bytes` of them at once.
    #[must_use]
    pub fn new(max_bytes: usize, total_bytes: usize, timeouts: Timeouts) -> Self {
        let total_bytes = total_bytes.min(Semaphore::MAX_PERMITS);
        Self {
            room: Arc::new(Semaphore::new(total_bytes)),
            total_bytes,
            processors: Semaphore::new(available_parallelism().map_or(1, usize::from)),
            bodies: Arc::default(),
            max_bytes,
            timeouts,
        }
    }

    /// The largest body, after unpacking.
    #[must_use]
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Reads, unpacks and checks a body.
    ///
    /// # Errors
    /// When it is too large, too slow, not gzip, or there is no room.
    pub async fn read<B>(&self, body: &mut B, mut decoder: Decoder) -> Result<Read, Outcome>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let refuse = |error| match error {
            DecodeError::TooLarge => Outcome::TooLarge(self.max_bytes),
            DecodeError::BadGzip => Outcome::BadRequest("the body is not whole and valid gzip"),
        };
        let _reading = Arc::clone(&self.bodies);
        let deadline = Instant::now() + self.timeouts.body;
        let mut room = self.room(MIN_ROOM, MIN_ROOM).await?;
        let mut input = VecDeque::new();
        let mut has_ended = false;
        loop {
            let mut input_bytes = memory(&input);
            while !has_ended && input_bytes < STEP_BYTES {
                let piece_deadline = deadline.min(Instant::now() + self.timeouts.body_piece);
                match timeout_at(piece_deadline, body.frame()).await {
                    Err(_) => return Err(Outcome::TimedOut),
                    Ok(Some(Err(_))) => {
                        return Err(Outcome::BadRequest("the body is not complete"));
                    }
                    Ok(None) => has_ended = true,
                    Ok(Some(Ok(frame))) => input.extend(frame.into_data()),
                }
                input_bytes = memory(&input);
                let bytes = decoder.checker().memory() + input_bytes;
                self.grow(&mut room, bytes).await?;
            }
            let step = move || {
                decoder.step(&mut input)?;
                if has_ended && input.is_empty() {
                    return Ok(Err(decoder.finish()?));
                }
                Ok(Ok((decoder, input)))
            };
            match self.on_processor(step).await.map_err(refuse)? {
                Ok(more) => (decoder, input) = more,
                Err((lines, digest)) => {
                    let bytes = lines.good.iter().map(Bytes::len).sum();
                    self.grow(&mut room, bytes).await?;
                    return Ok((lines, digest, room));
                }
            }
            let bytes = decoder.checker().memory() + memory(&input);
            self.grow(&mut room, bytes).await?;
        }
    }

    /// Runs this where it holds up nothing else.
    async fn on_processor<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        // The semaphore is never closed.
        let _processor = self.processors.acquire().await;
        blocking::run(work).await
    }

    /// Takes more room, until there is as much as this many bytes need.
    async fn grow(&self, room: &mut OwnedSemaphorePermit, bytes: usize) -> Result<(), Outcome> {
        let more = bytes.saturating_sub(room.num_permits());
        if more > 0 {
            room.merge(self.room(more, bytes).await?);
        }
        Ok(())
    }

    /// Room for `more` bytes of a body that has `bytes` with them.
    async fn room(&self, more: usize, bytes: usize) -> Result<OwnedSemaphorePermit, Outcome> {
        // One of them is our own.
        let share = self.total_bytes / (Arc::strong_count(&self.bodies) - 1).max(1);
        let longest = if bytes > share {
            LARGE_ROOM_TIMEOUT
        } else {
            ROOM_TIMEOUT
        };
        // A body beyond 4 GiB has been refused before.
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        match timeout(longest, Arc::clone(&self.room).acquire_many_owned(more)).await {
            Ok(Ok(permit)) => Ok(permit),
            // The semaphore is never closed.
            Err(_) | Ok(Err(_)) => Err(Outcome::Busy),
        }
    }
}

/// The memory of pieces of a body.
fn memory(pieces: &VecDeque<Bytes>) -> usize {
    pieces.iter().map(|piece| PIECE_MEMORY + piece.len()).sum()
}

/// Throws away for a while what a refused sender still sends: it may read its answer only after it has
/// sent all, and a connection that is closed with data unread takes the answer with it.
pub async fn linger<B: Body + Unpin>(mut body: B) {
    let read = async { while let Ok(Some(Ok(_))) = timeout(LINGER_IDLE, body.frame()).await {} };
    // Whether it came to its end does not matter.
    let _ = timeout(LINGER, read).await;
}

#[cfg(test)]
mod tests;
