//! Posts become a batch on disk.

use std::io::{self, Read as _};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::Spool;
use super::index::cost;
use super::keys::Key;
use super::name::{BatchName, Kind};
use crate::answer::{Answer, MAX_LISTED, Rejected};

/// Bytes written to see whether the disk takes any.
const PROBE_BYTES: usize = 64 << 10;

/// The checked lines of one post.
#[derive(Debug, Clone, Default)]
pub struct Post {
    /// The lines in order, each ended by a newline. Not empty.
    pub lines: Vec<Bytes>,
    /// How many there are.
    pub accepted: u64,
    /// The refused lines, as the answer lists them.
    pub rejected: Vec<Rejected>,
    /// All refused lines.
    pub rejected_total: u64,
    /// What tells it from others, if its sender gave it an idempotency key.
    pub key: Option<Key>,
}

/// Most bytes of an answer in an `.answers` file, apart from the refused lines that it lists.
const ANSWER_BYTES: usize = 256;
/// Most bytes of each of these.
const REJECTED_BYTES: usize = 96;

/// The most room that the answer to one post takes.
pub const MAX_ANSWER_ROOM: u64 = answer_room(MAX_LISTED);

const fn answer_room(rejected: usize) -> u64 {
    cost((ANSWER_BYTES + rejected * REJECTED_BYTES) as u64)
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
        let lines = cost(self.bytes() as u64);
        lines + self.key.map_or(0, |_| answer_room(self.rejected.len()))
    }
}

/// How a post came to be on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stored {
    /// It was stored now.
    Now(Answer),
    /// A post with the same key was stored before; this is its answer.
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

/// One line of an `.answers` file.
#[derive(Serialize, Deserialize)]
pub(super) struct KeyedAnswer {
    pub key: Key,
    pub answer: Answer,
}

impl Spool {
    /// Stores these posts as one batch and returns when it would survive a power cut. The results
    /// are in the order of the posts, no two of which may have the same key.
    pub fn store(&self, posts: &[Post]) -> Vec<Result<Stored, StoreError>> {
        let mut results: Vec<Option<Result<Stored, StoreError>>> = posts
            .iter()
            .map(|post| Some(Ok(Stored::Before(self.answer_given(post.key?)?))))
            .collect();
        let waiting = self.state().index.waiting().bytes;
        let mut room = self.limits.max_bytes.saturating_sub(waiting);
        let mut chosen = Vec::new();
        for (post, result) in posts.iter().zip(&mut results) {
            if result.is_some() {
                continue;
            }
            match room.checked_sub(post.most_room()) {
                Some(left) => {
                    room = left;
                    chosen.push(post);
                }
                None => *result = Some(Err(StoreError::Full)),
            }
        }
        let refused = results.contains(&Some(Err(StoreError::Full)));
        if refused || !chosen.is_empty() {
            self.note_room(refused);
        }
        // Unused if no post was chosen.
        let mut batch = Err(StoreError::Disk);
        if !chosen.is_empty() {
            let stored = self.store_batch(&chosen);
            self.note_disk(stored.as_ref().err());
            batch = stored.map_err(|_| StoreError::Disk);
        }
        let fresh = |post| match &batch {
            Ok(name) => Ok(Stored::Now(answer(*name, post))),
            Err(error) => Err(error.clone()),
        };
        posts
            .iter()
            .zip(results)
            .map(|(post, result)| result.unwrap_or_else(|| fresh(post)))
            .collect()
    }

    /// Checks that the disk takes a file of some size, and notes it. Not twice at the same time: the
    /// two would find each other's file.
    pub fn probe(&self) {
        let path = self.tmp().join("probe");
        // Left over if the relay was killed between the two steps below.
        let _ = self.disk.remove(&path);
        let outcome = self.disk.write(&path, &[&[0; PROBE_BYTES]]);
        let outcome = self.disk.remove(&path).and(outcome);
        self.note_disk(outcome.as_ref().err());
    }

    fn store_batch(&self, posts: &[&Post]) -> io::Result<BatchName> {
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
            name.lines += post.accepted;
            name.bytes += post.bytes() as u64;
        }
        name.checksum = checksum.finalize();
        let (keys, answers) = keyed_answers(name, posts)?;
        let file = name.file(Kind::Waiting);
        let tmp = self.tmp().join(&file);
        let answers_path = self.batches().join(name.file(Kind::Answers));
        let lines: Vec<&[u8]> = posts.iter().flat_map(|post| &post.lines).map(AsRef::as_ref).collect();
        let write = || {
            self.disk.write(&tmp, &lines)?;
            if !answers.is_empty() {
                self.disk.write(&answers_path, &[&answers])?;
            }
            self.disk.rename(&tmp, &self.batches().join(&file))
        };
        if let Err(error) = write() {
            // What cannot be removed now is removed at the next start.
            let _ = self.disk.remove(&tmp);
            let _ = self.disk.remove(&answers_path);
            return Err(error);
        }
        let synced = self.disk.sync_dir(&self.batches());
        let mut state = self.state();
        // Even a batch whose name may not survive a power cut is sent while it is there; but then
        // its senders are not told so, and post again.
        let answers_bytes = (!answers.is_empty()).then_some(answers.len() as u64);
        state.index.insert(name, Kind::Waiting, answers_bytes);
        if synced.is_ok() {
            state.keys.remember(name, keys, self.limits.max_keys);
        }
        drop(state);
        self.arrival.notify_one();
        synced.map(|()| name)
    }

    /// The answer that was given to the post with this key. One that cannot be read back is as
    /// good as none: the post is stored again, which does no harm.
    fn answer_given(&self, key: Key) -> Option<Answer> {
        let state = self.state();
        let name = state.keys.batch(key)?;
        drop(state);
        let path = self.batches().join(name.file(Kind::Answers));
        let mut content = Vec::new();
        let read = self
            .disk
            .open(&path)
            .and_then(|mut file| file.read_to_end(&mut content));
        if let Err(error) = read {
            warn!(path = %path.display(), %error, "an answer given before cannot be read: the post is stored again");
            return None;
        }
        parse_answers(&content)
            .find(|keyed| keyed.key == key)
            .map(|keyed| keyed.answer)
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
        let mut state = self.state();
        if !refused {
            if std::mem::take(&mut state.full) {
                info!(spool = %self.dir.display(), "the spool has room again");
            }
        } else if state.full_told.is_due() {
            state.full = true;
            warn!(
                spool = %self.dir.display(), waiting_lines = state.index.waiting().lines,
                spool_max_bytes = self.limits.max_bytes,
                "the spool is full: senders get 503 and come again; carbon takes lines too slowly \
                 or not at all, or spool_max_bytes is too small"
            );
        }
    }

    /// Remembers whether the disk takes data, and says so when that changes.
    fn note_disk(&self, error: Option<&io::Error>) {
        let mut state = self.state();
        let was = std::mem::replace(&mut state.writable, error.is_none());
        drop(state);
        match error {
            Some(error) => {
                self.metrics.disk_errors.add(1);
                if was {
                    warn!(%error, spool = %self.dir.display(), "the spool cannot be written to: senders get 503 until it can");
                }
            }
            None if !was => info!(spool = %self.dir.display(), "the spool can be written to again"),
            None => {}
        }
    }
}

fn answer(batch: BatchName, post: &Post) -> Answer {
    Answer {
        batch: batch.to_string(),
        accepted: post.accepted,
        rejected: post.rejected.clone(),
        rejected_total: post.rejected_total,
    }
}

/// The content of the `.answers` file, and the keys in it.
fn keyed_answers(name: BatchName, posts: &[&Post]) -> io::Result<(Vec<Key>, Vec<u8>)> {
    let mut keys = Vec::new();
    let mut content = Vec::new();
    for post in posts {
        let Some(key) = post.key else { continue };
        let answer = answer(name, post);
        serde_json::to_writer(&mut content, &KeyedAnswer { key, answer })?;
        content.push(b'\n');
        keys.push(key);
    }
    Ok((keys, content))
}

/// The answers in a file; a line that is none is passed over.
pub(super) fn parse_answers(content: &[u8]) -> impl Iterator<Item = KeyedAnswer> {
    content
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
}
