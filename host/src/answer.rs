//! The body of an answer, which its instance may still be writing.

use crate::instance::RunError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use wasmtime_wasi_http::{Error, WasiBody};

/// Ends with an error when the instance dies before it has finished the body; wasmtime's own body
/// would end as if it were whole.
pub(crate) struct AnswerBody {
    body: WasiBody,
    end: oneshot::Receiver<Result<(), RunError>>,
}

impl AnswerBody {
    /// `end` tells how the instance ended; its sender logs a failure when nobody listens any more.
    pub fn new(body: WasiBody, end: oneshot::Receiver<Result<(), RunError>>) -> Self {
        Self { body, end }
    }

    /// Logs how the instance failed, if it has.
    fn failure(&mut self) -> Option<Error> {
        match self.end.try_recv() {
            Ok(Err(error)) => {
                tracing::error!("{error}");
                Some(Error::InternalError(Some(error.to_string())))
            }
            _ => None,
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match Pin::new(&mut self.body).poll_frame(context) {
            // A dying instance tells its end first and lets go of the body then.
            Poll::Ready(None) => Poll::Ready(self.failure().map(Err)),
            other => other,
        }
    }

    fn is_end_stream(&self) -> bool {
        // Not before `failure` has been asked.
        false
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        // From here on the sender logs; what it has sent before is logged here.
        self.end.close();
        self.failure();
    }
}
