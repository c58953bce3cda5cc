//! Work that may block, on threads of its own.

use tokio::task::{JoinError, spawn_blocking};

/// Runs this where it holds up nothing else.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    finished(spawn_blocking(work).await).await
}

/// What a task has given. A panic goes on.
pub async fn finished<T>(result: Result<T, JoinError>) -> T {
    match result {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is shutting down.
        Err(_) => std::future::pending().await,
    }
}
