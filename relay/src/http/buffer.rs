//! Memory for one body.

use std::io::{self, Write};

use memmap2::{MmapMut, MmapOptions};

/// Memory of its own for one body, up to a length that is known before. The system gives pages
/// only as they are written to, and has them back at once when the buffer is dropped: a heap
/// would copy a growing body again and again, and keep the room of the largest ones.
pub struct Buffer {
    memory: MmapMut,
    used: usize,
}

impl Buffer {
    /// An empty buffer for at most `max_bytes`.
    ///
    /// # Errors
    /// When the system gives no more address space.
    pub fn new(max_bytes: usize) -> io::Result<Self> {
        // The system knows no mapping of no length.
        let memory = MmapOptions::new()
            .len(max_bytes.max(1))
            .no_reserve_swap()
            .map_anon()?;
        Ok(Self { memory, used: 0 })
    }

    /// How much is in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.used
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.used == 0
    }

    /// What is in it.
    #[must_use]
    pub fn content_mut(&mut self) -> &mut [u8] {
        self.memory.get_mut(..self.used).unwrap_or_default()
    }

    /// Keeps only so many bytes at the front.
    pub fn truncate(&mut self, bytes: usize) {
        self.used = self.used.min(bytes);
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.memory.get(..self.used).unwrap_or_default()
    }
}

/// Writing more than there is room for writes nothing: it gives 0, which `write_all` takes for an
/// error.
impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let end = self.used.saturating_add(bytes.len());
        let Some(room) = self.memory.get_mut(self.used..end) else {
            return Ok(0);
        };
        room.copy_from_slice(bytes);
        self.used = end;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
