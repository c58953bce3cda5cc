//! The body of a post: read in pieces, unpacked and checked as it comes, within the memory that there
//! is for all bodies.
//!
//! A body gives way to other connections after each step of unpacking and checking, which takes
//! less than a millisecond.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use flate2::write::MultiGzDecoder;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout, timeout_at};

use super::response::Refusal;
use crate::lines::validate::TimeBound;
use crate::lines::{CheckedLines, Checker};

/// How long a body may wait for memory that other bodies hold.
const ROOM_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for a body that holds more than its share. It gives way soon: were the large ones to
/// wait for each other, the small ones would wait for all of them.
const LARGE_ROOM_TIMEOUT: Duration = Duration::from_millis(250);
/// Memory that a post takes beside its body.
const MIN_ROOM: usize = 4 << 10;
/// So much of a body is unpacked and checked at a time.
const STEP_BYTES: usize = 64 << 10;
/// Memory that a piece of a body takes beside its bytes. A sender may send chunks of one byte.
const PIECE_MEMORY: usize = 64;
/// One call of the unpacker gives at most so much.
const PIECE_BYTES: usize = 32 << 10;
/// How long a sender that does not stop sending gets to read its answer.
const LINGER: Duration = Duration::from_secs(5);
/// The same for one that has stopped.
const LINGER_IDLE: Duration = Duration::from_millis(500);

/// How long senders are waited for.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For a whole head, from the first moment, and for a TLS handshake.
    pub head: Duration,
    /// For the next piece of a body.
    pub body_piece: Duration,
    /// For a whole body.
    pub body: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(15),
            body_piece: Duration::from_secs(10),
            body: Duration::from_secs(300),
        }
    }
}

/// Unpacks and checks a body step by step.
#[derive(Debug)]
pub enum Decoder {
    /// What is not packed.
    Identity(Box<Checker>),
    /// In one member or several.
    Gzip(Box<MultiGzDecoder<Checker>>),
}

impl Decoder {
    /// For a body that goes to this checker once it is unpacked.
    #[must_use]
    pub fn new(is_gzip: bool, checker: Checker) -> Self {
        if is_gzip {
            Self::Gzip(Box::new(MultiGzDecoder::new(checker)))
        } else {
            Self::Identity(Box::new(checker))
        }
    }

    fn checker(&self) -> &Checker {
        match self {
            Self::Identity(checker) => checker,
            Self::Gzip(gzip) => gzip.get_ref(),
        }
    }

    /// Takes from the front of `input` as much as makes about one step, at least one byte.
    ///
    /// # Errors
    /// `WriteZero` when it is too large, else it is no gzip.
    pub fn step(&mut self, input: &mut VecDeque<Bytes>) -> io::Result<()> {
        let end = self.checker().bytes() + STEP_BYTES;
        while let Some(first) = input.front_mut() {
            let piece = first.get(..PIECE_BYTES).unwrap_or(first);
            let used = match self {
                Self::Identity(checker) => checker.write_all(piece).map(|()| piece.len())?,
                Self::Gzip(gzip) => gzip.write(piece)?,
            };
            if used == 0 && !piece.is_empty() {
                // The stream has ended, and what follows is no other.
                return Err(io::ErrorKind::InvalidData.into());
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

    /// The lines of the whole body.
    ///
    /// # Errors
    /// As [`step`](Self::step).
    pub fn finish(self) -> io::Result<CheckedLines> {
        Ok(match self {
            Self::Identity(checker) => checker.finish(),
            Self::Gzip(gzip) => gzip.finish()?.finish(),
        })
    }
}

/// Reads bodies within the memory that there is for all of them.
pub struct Reader {
    room: Arc<Semaphore>,
    total_bytes: usize,
    /// Has a clone for each body that is being read.
    bodies: Arc<()>,
    max_bytes: usize,
    timeouts: Timeouts,
}

/// A body that was read: its lines, and the room they take, to be kept as long as they are.
pub type Read = (CheckedLines, OwnedSemaphorePermit);

impl Reader {
    /// For bodies of at most `max_bytes` each, with room for `total_bytes` of them at once.
    #[must_use]
    pub fn new(max_bytes: usize, total_bytes: usize, timeouts: Timeouts) -> Self {
        let total_bytes = total_bytes.min(Semaphore::MAX_PERMITS);
        Self {
            room: Arc::new(Semaphore::new(total_bytes)),
            total_bytes,
            bodies: Arc::default(),
            max_bytes,
            timeouts,
        }
    }

    /// Whether a body can be refused because of its length alone, packed or not.
    ///
    /// # Errors
    /// When it is too large.
    pub fn admit(&self, body: &Incoming) -> Result<(), Refusal> {
        if body.size_hint().lower() > self.max_bytes as u64 {
            return Err(Refusal::TooLarge(self.max_bytes));
        }
        Ok(())
    }

    /// Reads, unpacks and checks a body whose timestamps go up to this bound; with the digest of its
    /// good lines if that is wanted.
    ///
    /// # Errors
    /// When it is too large, too slow, not gzip, or there is no room.
    pub async fn read(
        &self,
        body: &mut Incoming,
        is_gzip: bool,
        bound: TimeBound,
        wants_digest: bool,
    ) -> Result<Read, Refusal> {
        let mut checker = Checker::new(bound, self.max_bytes);
        checker.digest = wants_digest.then(Sha256::new);
        let mut decoder = Decoder::new(is_gzip, checker);
        let refuse = |error: io::Error| match error.kind() {
            // The checker takes no more.
            io::ErrorKind::WriteZero => Refusal::TooLarge(self.max_bytes),
            _ => Refusal::BadRequest("the body is not whole and valid gzip"),
        };
        let _reading = Arc::clone(&self.bodies);
        let deadline = Instant::now() + self.timeouts.body;
        let mut room = self.room(MIN_ROOM, MIN_ROOM).await?;
        let mut input = VecDeque::new();
        let mut has_ended = false;
        while !has_ended || !input.is_empty() {
            // Counted as they come: there may be very many pieces.
            let kept_bytes = decoder.checker().memory();
            let mut input_bytes = memory(&input);
            while !has_ended && input_bytes < STEP_BYTES {
                let piece_deadline = deadline.min(Instant::now() + self.timeouts.body_piece);
                match timeout_at(piece_deadline, body.frame()).await {
                    Err(_) => return Err(Refusal::TimedOut),
                    Ok(Some(Err(_))) => {
                        return Err(Refusal::BadRequest("the body is not complete"));
                    }
                    Ok(None) => has_ended = true,
                    Ok(Some(Ok(frame))) => {
                        let piece = frame.into_data().unwrap_or_default();
                        input_bytes += PIECE_MEMORY + piece.len();
                        input.push_back(piece);
                    }
                }
                self.grow(&mut room, kept_bytes + input_bytes).await?;
            }
            decoder.step(&mut input).map_err(refuse)?;
            let bytes = decoder.checker().memory() + memory(&input);
            self.grow(&mut room, bytes).await?;
            yield_now().await;
        }
        let lines = decoder.finish().map_err(refuse)?;
        let bytes = lines.good.iter().map(Bytes::len).sum();
        self.grow(&mut room, bytes).await?;
        Ok((lines, room))
    }

    /// Takes more room, until there is as much as this many bytes need.
    async fn grow(&self, room: &mut OwnedSemaphorePermit, bytes: usize) -> Result<(), Refusal> {
        let more = bytes.saturating_sub(room.num_permits());
        if more > 0 {
            room.merge(self.room(more, bytes).await?);
        }
        Ok(())
    }

    /// Room for `more` bytes of a body that has `bytes` with them.
    async fn room(&self, more: usize, bytes: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        // One of them is our own.
        let share = self.total_bytes / (Arc::strong_count(&self.bodies) - 1).max(1);
        let longest = if bytes > share {
            LARGE_ROOM_TIMEOUT
        } else {
            ROOM_TIMEOUT
        };
        // A body beyond 4 GiB has been refused before.
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        let permit = timeout(longest, Arc::clone(&self.room).acquire_many_owned(more)).await;
        // The semaphore is never closed.
        permit.ok().and_then(Result::ok).ok_or(Refusal::Busy)
    }
}

/// The memory of pieces of a body.
fn memory(pieces: &VecDeque<Bytes>) -> usize {
    pieces.iter().map(|piece| PIECE_MEMORY + piece.len()).sum()
}

/// Throws away for a while what a refused sender still sends: it may read its answer only after it has
/// sent all, and a connection that is closed with data unread takes the answer with it.
pub async fn linger(mut body: Incoming) {
    let read = async { while let Ok(Some(Ok(_))) = timeout(LINGER_IDLE, body.frame()).await {} };
    // Whether it came to its end does not matter.
    let _ = timeout(LINGER, read).await;
}
