//! The lease that an instance holds: the component's right to be the one run that is under way.

use crate::store::Store;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// The key under which the component keeps it.
pub(crate) const LEASE: &str = "lease";

/// The lease of one instance; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Lease(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    /// As the instance has last written it.
    value: Option<Vec<u8>>,
    /// The instance was stopped.
    released: bool,
}

impl Lease {
    /// Writes it for the instance; not after the instance was stopped.
    pub fn write(&self, store: &Store, value: Vec<u8>) -> io::Result<()> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !held.released {
            store.set(LEASE, &value)?;
            held.value = Some(value);
        }
        Ok(())
    }

    /// Deletes the lease of an instance that was stopped, if nobody has taken it over, so that the
    /// next run does not wait for its end.
    pub fn release(&self, store: &Store) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.released = true;
        let value = held.value.take();
        let is_ours = value.is_some() && store.get(LEASE).is_ok_and(|lease| lease == value);
        if is_ours && store.delete(LEASE).is_ok() {
            tracing::debug!("lease released");
        }
    }
}
