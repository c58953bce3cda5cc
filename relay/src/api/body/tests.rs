use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use hyper::body::Frame;

use super::*;

/// A byte that counts as long as it is in memory.
struct Piece(Arc<AtomicUsize>);

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        b"\n"
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// So many pieces of one byte.
struct Pieces {
    left: usize,
    in_memory: Arc<AtomicUsize>,
    most: usize,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= 1;
        let in_memory = 1 + self.in_memory.fetch_add(1, Ordering::Relaxed);
        self.most = self.most.max(in_memory);
        let piece = Bytes::from_owner(Piece(Arc::clone(&self.in_memory)));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

#[tokio::test]
async fn the_pieces_of_a_body_count_as_memory() {
    let mut body = Pieces {
        left: 100_000,
        in_memory: Arc::default(),
        most: 0,
    };
    let reader = Reader::new(1 << 20, 1 << 20, Timeouts::default());
    let bound = TimeBound::new(0, None, 0);
    let (lines, ..) = reader.read(&mut body, false, bound, false).await.unwrap();
    assert_eq!(lines.counts.rejected_total, 100_000);
    assert!(body.most <= STEP_BYTES / PIECE_MEMORY, "{}", body.most);
}
