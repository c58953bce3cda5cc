//! Posts become a batch on disk.

use std::collections::HashSet;
use std::io;
use std::ops::Range;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tracing::{error, info, warn};

use super::Spool;
use super::index::cost;
use super::keys::Key;
use super::name::BatchName;
use crate::answer::{Answer, Counts};

/// Bytes written to see whether the disk takes any.
const PROBE_BYTES: usize = 64 << 10;

/// The checked lines of one post.
#[derive(Debug, Clone, Default)]
pub struct Post {
    /// The lines in order, each ended by a newline. Not empty.
    pub lines: Vec<Bytes>,
    /// How many there are, and what the answer says of the refused ones.
    pub counts: Counts,
    /// What tells it from others, if its sender gave it an idempotency key.
    pub key: Option<Key>,
}

impl Post {
    /// The length of all lines.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.lines.iter().map(Bytes::len).sum()
    }

    /// The room that the post takes at most. It is counted in blocks of its own, though it may
    /// share one with others in the end, so that the spool's bound holds for sure.
    fn most_room(&self) -> u64 {
        cost(self.bytes() as u64)
    }
}

/// How a post came to be on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// It was stored now.
    Now(Answer),
    /// A post with the same key was stored before. This is its answer.
    Before(Answer),
}

impl Stored {
    /// The answer to give.
    #[must_use]
    pub fn answer(self) -> Answer {
        match self {
            Self::Now(answer) | Self::Before(answer) => answer,
        }
    }
}

/// Why a post was not stored. Nothing of it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No room below the bound.
    #[error("the spool is full, post again later")]
    Full,
    /// The disk does not take it.
    #[error("the spool cannot be written to, post again later")]
    Disk,
}

/// What is to become of a post.
enum Plan {
    /// It has its result.
    Done(Result<Stored, StoreError>),
    /// It gets this one with the new batch, of which it or its like is a part.
    Store(fn(Answer) -> Stored),
}

impl Spool {
    /// Stores these posts as one batch and returns when it would survive a power cut. The results
    /// are in the order of the posts.
    pub fn store<'p>(&self, posts: &'p [Post]) -> Vec<Result<Stored, StoreError>> {
        let state = self.state();
        let wanted = posts.iter().map(Post::most_room).sum();
        let mut room = state.index.room(self.limits.max_bytes, wanted);
        let (mut chosen, mut keys) = (Vec::new(), HashSet::new());
        let plan = |post: &'p Post| {
            let Post { key, .. } = post;
            if let Some(answer) = key.and_then(|key| state.keys.answer(key)) {
                return Plan::Done(Ok(Stored::Before(answer.clone())));
            }
            if key.is_some_and(|key| keys.contains(&key)) {
                return Plan::Store(Stored::Before);
            }
            let Some(left) = room.checked_sub(post.most_room()) else {
                return Plan::Done(Err(StoreError::Full));
            };
            room = left;
            keys.extend(*key);
            chosen.push(post);
            Plan::Store(Stored::Now)
        };
        let plans: Vec<_> = posts.iter().map(plan).collect();
        drop(state);
        let is_refused = plans.iter().any(|plan| matches!(plan, Plan::Done(Err(_))));
        if is_refused || !chosen.is_empty() {
            self.note_room(is_refused);
        }
        // Unused if no post was chosen.
        let mut batch = Err(StoreError::Disk);
        if !chosen.is_empty() {
            let stored = self.watched(|| self.store_batch(&chosen));
            self.note_disk(stored.as_ref().err());
            batch = stored.map_err(|_| StoreError::Disk);
        }
        let result = |(post, plan): (&Post, Plan)| match plan {
            Plan::Done(result) => result,
            Plan::Store(stored) => batch.clone().map(|name| stored(answer(name, post))),
        };
        posts.iter().zip(plans).map(result).collect()
    }

    /// Checks that the disk takes a file of some size, and notes it. Not twice at the same time: the
    /// two would find each other's file.
    pub fn probe(&self) {
        let path = self.tmp().join("probe");
        let outcome = self.watched(|| {
            self.check_present()?;
            // Left over if the relay was killed between the two steps below.
            let _ = self.disk.remove(&path);
            let outcome = self.disk.write(&path, &[&[0; PROBE_BYTES]]);
            self.disk.remove(&path).and(outcome)
        });
        self.note_disk(outcome.as_ref().err());
    }

    fn store_batch(&self, posts: &[&Post]) -> io::Result<BatchName> {
        self.check_present()?;
        let mut checksum = crc32fast::Hasher::new();
        let mut name = BatchName {
            sequence: self.next_sequence(),
            lines: 0,
            bytes: 0,
            checksum: 0,
        };
        for post in posts {
            for lines in &post.lines {
                checksum.update(lines);
            }
            name.lines += post.counts.accepted;
            name.bytes += post.bytes() as u64;
        }
        name.checksum = checksum.finalize();
        self.make_room(cost(name.bytes))?;
        let blocks = posts.iter().flat_map(|post| &post.lines);
        let lines: Vec<&[u8]> = blocks.map(AsRef::as_ref).collect();
        self.write_batch(name, &lines)?;
        let synced = self.disk.sync_dir(&self.batches());
        let mut state = self.state();
        // Even a batch whose name may not survive a power cut is sent while it is there. But then
        // its senders are not told so, and post again.
        state.index.insert(name);
        if synced.is_ok() {
            for post in posts {
                if let Some(key) = post.key {
                    let max_keys = self.limits.max_keys;
                    state.keys.remember(key, answer(name, post), max_keys);
                }
            }
        }
        drop(state);
        self.arrival.notify_one();
        synced.map(|()| name)
    }

    /// Writes the file of a batch. Its name does not survive a power cut yet.
    fn write_batch(&self, name: BatchName, lines: &[&[u8]]) -> io::Result<()> {
        let file = name.file();
        let tmp = self.tmp().join(&file);
        let written = self.disk.write(&tmp, lines);
        let renamed = written.and_then(|()| self.disk.rename(&tmp, &self.batches().join(&file)));
        if renamed.is_err() {
            // What cannot be removed now is removed at the next start.
            let _ = self.disk.remove(&tmp);
        }
        renamed
    }

    /// Takes one line out of a batch, because carbon closes the connection over it, and keeps it in
    /// `damaged/`. `lines` is the content of the batch. The rest is a batch in the same place.
    ///
    /// # Errors
    /// When the disk does not take it. Then nothing has changed.
    pub fn set_line_aside(
        &self,
        name: BatchName,
        lines: &[u8],
        line: Range<usize>,
    ) -> io::Result<()> {
        let before = lines.get(..line.start).unwrap_or_default();
        let after = lines.get(line.end..).unwrap_or_default();
        let kept_in = self.damaged().join(format!("{name}.{}.line", line.start));
        self.disk.create_dir(&self.damaged())?;
        match self
            .disk
            .write(&kept_in, &[lines.get(line).unwrap_or_default()])
        {
            // Written before, when the step below failed.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            done => done?,
        }
        self.disk.sync_dir(&self.damaged())?;
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(before);
        checksum.update(after);
        let rest = BatchName {
            lines: name.lines.saturating_sub(1),
            bytes: (before.len() + after.len()) as u64,
            checksum: checksum.finalize(),
            ..name
        };
        if rest.bytes > 0 {
            self.write_batch(rest, &[before, after])?;
            self.disk.sync_dir(&self.batches())?;
            self.state().index.insert(rest);
        }
        error!(
            batch = %name, kept_in = %kept_in.display(),
            "carbon closes the connection on one line: the line is set aside"
        );
        self.metrics.lines_lost.inc();
        self.delete(name)
    }

    fn next_sequence(&self) -> u64 {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
            });
        let mut state = self.state();
        state.last_sequence = now.max(state.last_sequence.saturating_add(1));
        state.last_sequence
    }

    /// Says that posts are refused for want of room, and when there is room again.
    fn note_room(&self, refused: bool) {
        let state = self.state();
        if !refused {
            if state.full_log.is_over() {
                info!(spool = %self.dir.display(), "the spool has room again");
            }
        } else if state.full_log.is_due() {
            warn!(
                spool = %self.dir.display(), waiting_lines = state.index.waiting.lines,
                spool_max_bytes = self.limits.max_bytes,
                "the spool is full: senders get 503 and post again later; carbon accepts lines too slowly \
                 or not at all, or spool_max_bytes is too small"
            );
        }
    }

    /// Remembers whether the disk takes data, and says so.
    fn note_disk(&self, error: Option<&io::Error>) {
        let mut state = self.state();
        state.is_writable = error.is_none();
        match error {
            Some(error) => {
                self.metrics.disk_errors.inc();
                if state.unwritable_log.is_due() {
                    warn!(%error, spool = %self.dir.display(), "the spool cannot be written to: senders get 503 until it can");
                }
            }
            None if state.unwritable_log.is_over() => {
                info!(spool = %self.dir.display(), "the spool can be written to again");
            }
            None => {}
        }
    }
}

fn answer(batch: BatchName, post: &Post) -> Answer {
    Answer {
        batch: batch.to_string(),
        counts: post.counts.clone(),
    }
}
