//! The answers that were given to recent posts with an idempotency key.
//!
//! They are kept in memory only. A post that comes again after a restart of the relay is stored
//! twice, which Graphite does not mind, as long as a sender repeats a post before it sends newer
//! values of the same points.

use std::collections::{HashMap, VecDeque};

use sha2::{Digest as _, Sha256};

use crate::answer::Answer;

/// Most posts that a relay remembers. A listed refused line counts like a post.
pub const MAX_KEYS: usize = 100_000;

/// What tells a post that is sent again from all others: its idempotency key and its body, as the
/// first half of their SHA-256. The key alone does not, since senders may come to use the same one
/// for different data, which must not be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key(u128);

impl Key {
    /// Of the text of an `Idempotency-Key` header and the body that came with it.
    #[must_use]
    pub fn new(text: &[u8], body: &[u8]) -> Self {
        let hash = Sha256::new()
            // Says where the text ends and the body begins.
            .chain_update(text.len().to_be_bytes())
            .chain_update(text)
            .chain_update(body)
            .finalize();
        let half = hash.iter().take(16);
        Self(half.fold(0, |key, byte| (key << 8) | u128::from(*byte)))
    }
}

/// The answers by key.
#[derive(Debug, Default)]
pub(super) struct Keys {
    answers: HashMap<Key, Answer>,
    /// The oldest first.
    order: VecDeque<Key>,
    room: usize,
}

impl Keys {
    /// The answer that a post with this key got.
    pub fn answer(&self, key: Key) -> Option<&Answer> {
        self.answers.get(&key)
    }

    /// Remembers an answer, and forgets the oldest ones that take more room than `max_keys`.
    pub fn remember(&mut self, key: Key, answer: Answer, max_keys: usize) {
        self.room += room(&answer);
        if let Some(before) = self.answers.insert(key, answer) {
            self.room -= room(&before);
        } else {
            self.order.push_back(key);
        }
        while self.room > max_keys {
            let Some(oldest) = self.order.pop_front() else {
                return;
            };
            if let Some(answer) = self.answers.remove(&oldest) {
                self.room -= room(&answer);
            }
        }
    }

    /// Forgets the posts of a batch that is lost, so that a sender that repeats one is heard.
    pub fn forget(&mut self, batch: &str) {
        let mut freed = 0;
        self.answers.retain(|_, answer| {
            let keep = answer.batch != batch;
            freed += if keep { 0 } else { room(answer) };
            keep
        });
        self.room -= freed;
        self.order.retain(|key| self.answers.contains_key(key));
    }
}

fn room(answer: &Answer) -> usize {
    1 + answer.counts.rejected.len()
}
