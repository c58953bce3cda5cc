//! The body of a post: read in pieces, unpacked, and bounded before and after unpacking.

use std::io::{self, Write as _};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Buf;
use flate2::write::MultiGzDecoder;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::buffer::Buffer;
use super::outcome::Outcome;
use crate::config::Patience;

/// How long a body may wait for memory that other bodies hold.
const ROOM_TIMEOUT: Duration = Duration::from_secs(5);
/// The same for a body that holds more than its share. It gives way soon: were the large ones to
/// wait for each other, the small ones would wait for all of them.
const LARGE_ROOM_TIMEOUT: Duration = Duration::from_millis(250);
/// Bytes taken in between two looks at the memory used.
const PIECE_BYTES: usize = 32 << 10;
/// Of a body that is refused, so much is read and thrown away, so that the sender, who reads the
/// answer only after it has sent, gets to read it.
const DISCARD_BYTES: usize = 1 << 20;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// With gzip.
    Gzip,
}

/// Unpacks a body piece by piece.
pub enum Decoder {
    /// Not packed.
    Identity(Buffer),
    /// Packed with gzip, in one member or several.
    Gzip(Box<MultiGzDecoder<Buffer>>),
}

/// Why a body cannot be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// It gets larger than the buffer.
    TooLarge,
    /// It is not gzip, or ends too early.
    BadGzip,
}

impl DecodeError {
    /// The decoder cannot hand on what it has unpacked only when the buffer is full.
    fn new(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::WriteZero {
            Self::TooLarge
        } else {
            Self::BadGzip
        }
    }
}

impl Decoder {
    /// A decoder into this buffer.
    #[must_use]
    pub fn new(encoding: Encoding, buffer: Buffer) -> Self {
        match encoding {
            Encoding::Identity => Self::Identity(buffer),
            Encoding::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(buffer))),
        }
    }

    /// Unpacks from the front of `input` as much as takes little memory, and says how much that
    /// was: at least one byte.
    ///
    /// # Errors
    /// When it is too large or no gzip.
    pub fn feed(&mut self, input: &[u8]) -> Result<usize, DecodeError> {
        let piece = input.get(..PIECE_BYTES).unwrap_or(input);
        match self {
            Self::Identity(buffer) => {
                // All or nothing.
                buffer.write_all(piece).map_err(|_| DecodeError::TooLarge)?;
                Ok(piece.len())
            }
            Self::Gzip(decoder) => {
                // One `write` unpacks at most one buffer of the decoder's, 32 KiB.
                match decoder.write(piece) {
                    // The stream has ended, and what follows is no other.
                    Ok(0) => Err(DecodeError::BadGzip),
                    Ok(used) => Ok(used),
                    Err(error) => Err(DecodeError::new(&error)),
                }
            }
        }
    }

    /// How much was unpacked so far.
    #[must_use]
    pub fn unpacked(&self) -> usize {
        match self {
            Self::Identity(buffer) => buffer.len(),
            Self::Gzip(decoder) => decoder.get_ref().len(),
        }
    }

    /// The whole body.
    ///
    /// # Errors
    /// When it is too large or no whole gzip.
    pub fn finish(self) -> Result<Buffer, DecodeError> {
        match self {
            Self::Identity(buffer) => Ok(buffer),
            Self::Gzip(decoder) => decoder.finish().map_err(|error| DecodeError::new(&error)),
        }
    }
}

/// Reads bodies within the memory that there is for all of them.
pub struct Reader {
    room: Arc<Semaphore>,
    total_bytes: usize,
    /// Bodies being read.
    bodies: AtomicUsize,
    max_bytes: usize,
    patience: Patience,
}

/// Counts a body as being read as long as it lives.
struct Reading<'a>(&'a AtomicUsize);

impl<'a> Reading<'a> {
    fn new(bodies: &'a AtomicUsize) -> Self {
        bodies.fetch_add(1, Ordering::Relaxed);
        Self(bodies)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Reader {
    /// For bodies of at most `max_bytes` each, with room for one of them and `more_bytes` at once.
    #[must_use]
    pub fn new(max_bytes: usize, more_bytes: usize, patience: Patience) -> Self {
        let total_bytes = max_bytes
            .saturating_add(more_bytes)
            .min(Semaphore::MAX_PERMITS);
        Self {
            room: Arc::new(Semaphore::new(total_bytes)),
            total_bytes,
            bodies: AtomicUsize::new(0),
            max_bytes,
            patience,
        }
    }

    /// The largest body, after unpacking.
    #[must_use]
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Reads and unpacks a body. Gives it with the room it takes, to be kept as long as it is.
    ///
    /// # Errors
    /// When it is too large, too slow, not gzip, or there is no room.
    pub async fn read<B>(
        &self,
        body: B,
        encoding: Encoding,
    ) -> Result<(Buffer, Option<OwnedSemaphorePermit>), Outcome>
    where
        B: Body<Data: Buf>,
    {
        let limit = self.max_bytes;
        let refuse = |error| match error {
            DecodeError::TooLarge => Outcome::TooLarge(limit),
            DecodeError::BadGzip => Outcome::BadRequest("the body is not whole and valid gzip"),
        };
        let _reading = Reading::new(&self.bodies);
        let deadline = Instant::now() + self.patience.body;
        // One more for the newline that the last line may lack.
        let buffer = Buffer::new(self.max_bytes + 1).map_err(|_| Outcome::Busy)?;
        let mut decoder = Decoder::new(encoding, buffer);
        let mut room: Option<OwnedSemaphorePermit> = None;
        let mut body = pin!(body);
        loop {
            let piece_deadline = deadline.min(Instant::now() + self.patience.body_piece);
            let frame = match timeout_at(piece_deadline, body.as_mut().frame()).await {
                Err(_) => return Err(Outcome::TimedOut),
                Ok(None) => break,
                Ok(Some(Err(_))) => {
                    return Err(Outcome::BadRequest("the body ends before its end"));
                }
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(mut data) = frame.into_data() else {
                continue;
            };
            while data.has_remaining() {
                let used = decoder.feed(data.chunk()).map_err(refuse)?;
                data.advance(used);
                if decoder.unpacked() > limit {
                    return Err(Outcome::TooLarge(limit));
                }
                self.make_room(&mut room, decoder.unpacked()).await?;
            }
        }
        let body = decoder.finish().map_err(refuse)?;
        if body.len() > limit {
            return Err(Outcome::TooLarge(limit));
        }
        self.make_room(&mut room, body.len()).await?;
        Ok((body, room))
    }

    /// Takes as much room as a body of this length needs.
    async fn make_room(
        &self,
        room: &mut Option<OwnedSemaphorePermit>,
        bytes: usize,
    ) -> Result<(), Outcome> {
        let held = room.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        // A body beyond 4 GiB has been refused before.
        let more = u32::try_from(bytes.saturating_sub(held)).unwrap_or(u32::MAX);
        if more == 0 {
            return Ok(());
        }
        let share = self.total_bytes / self.bodies.load(Ordering::Relaxed).max(1);
        let patience = if bytes > share {
            LARGE_ROOM_TIMEOUT
        } else {
            ROOM_TIMEOUT
        };
        let acquire = Arc::clone(&self.room).acquire_many_owned(more);
        let permit = match timeout(patience, acquire).await {
            Ok(Ok(permit)) => permit,
            // The semaphore is never closed.
            Err(_) | Ok(Err(_)) => return Err(Outcome::Busy),
        };
        match room {
            Some(room) => room.merge(permit),
            None => *room = Some(permit),
        }
        Ok(())
    }
}

/// Throws away what a refused sender still sends, within limits.
pub async fn discard<B: Body<Data: Buf>>(body: B) {
    let mut body = pin!(body);
    let read = async {
        let mut bytes = 0;
        while let Some(Ok(frame)) = body.as_mut().frame().await {
            bytes += frame.data_ref().map_or(0, Buf::remaining);
            if bytes > DISCARD_BYTES {
                return;
            }
        }
    };
    // Whether it came to its end does not matter.
    let _ = timeout(DISCARD_TIMEOUT, read).await;
}
