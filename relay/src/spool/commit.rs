//! Group commit: posts that arrive while the disk is busy are stored together, and share one
//! batch and its fsyncs. So many small posts cost hardly more than one.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::Spool;
use super::store::{Post, StoreError, Stored};

/// A batch gets no further post once it has so many bytes or posts.
const GROUP_BYTES: usize = 4 << 20;
const GROUP_POSTS: usize = 256;
/// Posts that may wait for the disk; their bytes are bounded elsewhere.
const QUEUE: usize = 1024;

/// Hands posts to the thread that stores them.
#[derive(Clone)]
pub struct Committer {
    queue: mpsc::Sender<Waiting>,
}

struct Waiting {
    post: Post,
    /// The room that the post takes in memory, given back when it is stored.
    _room: Option<OwnedSemaphorePermit>,
    answer: oneshot::Sender<Result<Stored, StoreError>>,
}

impl Committer {
    /// Starts the thread. It ends when the last clone of the committer is gone.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(spool: Arc<Spool>) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (queue, posts) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("commit".to_owned())
            .spawn(move || commit(&spool, posts))?;
        Ok((Self { queue }, thread))
    }

    /// Stores a post and returns when it would survive a power cut.
    ///
    /// # Errors
    /// When the spool is full or the disk fails.
    pub async fn store(
        &self,
        post: Post,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<Stored, StoreError> {
        let (answer, stored) = oneshot::channel();
        let waiting = Waiting {
            post,
            _room: room,
            answer,
        };
        // Either fails only when the thread is gone, and then nothing is stored any more.
        self.queue
            .send(waiting)
            .await
            .map_err(|_| StoreError::Disk)?;
        stored.await.map_err(|_| StoreError::Disk)?
    }
}

fn commit(spool: &Spool, mut queue: mpsc::Receiver<Waiting>) {
    while let Some(first) = queue.blocking_recv() {
        let mut bytes = first.post.bytes();
        let mut posts = vec![first.post];
        let mut answers = vec![(first.answer, first._room)];
        while bytes < GROUP_BYTES && posts.len() < GROUP_POSTS {
            let Ok(more) = queue.try_recv() else { break };
            bytes += more.post.bytes();
            posts.push(more.post);
            answers.push((more.answer, more._room));
        }
        let start = Instant::now();
        let results = spool.store(&posts);
        let metrics = &spool.metrics;
        metrics.store_seconds.observe(start.elapsed().as_secs_f64());
        for ((answer, room), result) in answers.into_iter().zip(results) {
            if let Ok(Stored::Now(stored)) = &result {
                metrics.lines_accepted.inc_by(stored.counts.accepted);
            }
            drop(room);
            // The sender may have gone away. Its lines are stored nevertheless.
            let _ = answer.send(result);
        }
    }
}
