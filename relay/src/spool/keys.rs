//! Which idempotency keys belong to which batch.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use super::name::BatchName;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Most keys that a relay remembers; beyond that the oldest are forgotten.
pub const MAX_KEYS: usize = 100_000;

/// What tells a post that is sent again from all others: its idempotency key and its body, as the
/// first half of their SHA-256. The key alone does not, since senders may come to use the same one
/// for different data, which must not be lost.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
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
        Self(
            hash.iter()
                .take(16)
                .fold(0, |key, byte| (key << 8) | u128::from(*byte)),
        )
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        format!("{key:?}")
    }
}

impl TryFrom<String> for Key {
    type Error = std::num::ParseIntError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u128::from_str_radix(&text, 16).map(Self)
    }
}

/// The keys of the batches in the spool.
#[derive(Debug, Default)]
pub(super) struct Keys {
    batches: HashMap<Key, BatchName>,
    by_batch: BTreeMap<BatchName, Vec<Key>>,
}

impl Keys {
    /// The batch that holds the post with this key.
    pub fn batch(&self, key: Key) -> Option<BatchName> {
        self.batches.get(&key).copied()
    }

    /// Takes in the keys of a batch, and forgets the oldest batches' while there are more than
    /// `max_keys`.
    pub fn remember(&mut self, batch: BatchName, keys: Vec<Key>, max_keys: usize) {
        for key in &keys {
            self.batches.insert(*key, batch);
        }
        if !keys.is_empty() {
            self.by_batch.insert(batch, keys);
        }
        while self.batches.len() > max_keys {
            let Some((oldest, _)) = self.by_batch.first_key_value() else {
                return;
            };
            self.forget(*oldest);
        }
    }

    pub fn forget(&mut self, batch: BatchName) {
        for key in self.by_batch.remove(&batch).unwrap_or_default() {
            if self.batches.get(&key) == Some(&batch) {
                self.batches.remove(&key);
            }
        }
    }
}
