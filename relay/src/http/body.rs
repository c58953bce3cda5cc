//! The body of a post: read in pieces, unpacked, and bounded before and after unpacking.

use std::io::Write as _;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Buf;
use flate2::write::MultiGzDecoder;
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::outcome::Outcome;
use crate::config::Patience;

/// How long a body may wait for memory that other bodies hold.
const ROOM_TIMEOUT: Duration = Duration::from_secs(5);
/// Compressed bytes unpacked between two looks at the size, so that a bomb does not go off.
const PIECE_BYTES: usize = 4096;
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
pub struct Decoder {
    packing: Packing,
    max_bytes: usize,
}

enum Packing {
    Identity(Vec<u8>),
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
}

/// Why a body can not be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// It gets larger than allowed.
    TooLarge,
    /// It is not gzip, or ends too early.
    BadGzip,
}

impl Decoder {
    /// A decoder that gives at most `max_bytes`.
    #[must_use]
    pub fn new(encoding: Encoding, max_bytes: usize) -> Self {
        let packing = match encoding {
            Encoding::Identity => Packing::Identity(Vec::new()),
            Encoding::Gzip => Packing::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
        };
        Self { packing, max_bytes }
    }

    /// Unpacks from the front of `input` as much as takes little memory, and says how much that
    /// was: at least one byte, and all of it if it is not packed.
    ///
    /// # Errors
    /// When it is too large or no gzip.
    pub fn feed(&mut self, input: &[u8]) -> Result<usize, DecodeError> {
        let used = match &mut self.packing {
            Packing::Identity(body) => {
                if body.len() + input.len() > self.max_bytes {
                    return Err(DecodeError::TooLarge);
                }
                body.extend_from_slice(input);
                input.len()
            }
            Packing::Gzip(decoder) => {
                let piece = input.get(..PIECE_BYTES).unwrap_or(input);
                // One `write` unpacks at most one buffer of the decoder's, 32 KiB.
                decoder.write(piece).map_err(|_| DecodeError::BadGzip)?
            }
        };
        if self.len() > self.max_bytes {
            return Err(DecodeError::TooLarge);
        }
        if used == 0 && !input.is_empty() {
            // The decoder takes nothing more: something follows the end of the gzip stream.
            return Err(DecodeError::BadGzip);
        }
        Ok(used)
    }

    /// How much was unpacked so far.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.packing {
            Packing::Identity(body) => body.len(),
            Packing::Gzip(decoder) => decoder.get_ref().len(),
        }
    }

    /// Whether nothing was unpacked so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The whole body.
    ///
    /// # Errors
    /// When it is too large or no whole gzip.
    pub fn finish(self) -> Result<Vec<u8>, DecodeError> {
        let body = match self.packing {
            Packing::Identity(body) => body,
            Packing::Gzip(decoder) => decoder.finish().map_err(|_| DecodeError::BadGzip)?,
        };
        if body.len() > self.max_bytes {
            return Err(DecodeError::TooLarge);
        }
        Ok(body)
    }
}

/// Reads bodies within the memory that there is for all of them.
pub struct Reader {
    room: Arc<Semaphore>,
    max_bytes: usize,
    patience: Patience,
}

impl Reader {
    /// For bodies of at most `max_bytes` each, and at most `total_bytes` at once.
    #[must_use]
    pub fn new(max_bytes: usize, total_bytes: usize, patience: Patience) -> Self {
        let total = total_bytes.max(max_bytes).min(Semaphore::MAX_PERMITS);
        Self {
            room: Arc::new(Semaphore::new(total)),
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
    ) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), Outcome>
    where
        B: Body<Data: Buf>,
    {
        let limit = self.max_bytes;
        let refuse = |error| match error {
            DecodeError::TooLarge => Outcome::TooLarge(limit),
            DecodeError::BadGzip => Outcome::BadRequest("the body is not whole and valid gzip"),
        };
        let deadline = Instant::now() + self.patience.body;
        let mut decoder = Decoder::new(encoding, self.max_bytes);
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
                self.make_room(&mut room, decoder.len()).await?;
            }
        }
        let body = decoder.finish().map_err(refuse)?;
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
        let acquire = Arc::clone(&self.room).acquire_many_owned(more);
        let permit = match timeout(ROOM_TIMEOUT, acquire).await {
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
