//! The few operations of the spool on a disk, behind a trait so that tests can cut the power.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// One entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name; what is not UTF-8 is replaced, and so matches no name of ours.
    pub name: String,
    /// Whether it is a regular file.
    pub is_file: bool,
    /// Its length in bytes.
    pub bytes: u64,
}

/// What the spool asks of a disk.
pub trait Disk: Send + Sync + 'static {
    /// Makes a folder and the folders above it, where missing. A new one survives a power cut.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// The entries of a folder, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    /// Writes a new file and makes its content, not yet its name, survive a power cut.
    fn write(&self, path: &Path, content: &[&[u8]]) -> io::Result<()>;
    /// Renames within a folder or between two, replacing what is there.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Makes the names in a folder survive a power cut.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Reads a file, at most `max_bytes` of it. What is no regular file is
    /// [`InvalidData`](io::ErrorKind::InvalidData).
    fn read(&self, path: &Path, max_bytes: u64) -> io::Result<Vec<u8>>;
    /// Deletes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The disk of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        if dir.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(dir)?;
        dir.parent().map_or(Ok(()), |above| self.sync_dir(above))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            // Of a link itself, not of what it leads to: we have made no links.
            let about = entry.metadata()?;
            entries.push(Entry {
                name: entry.file_name().to_string_lossy().into_owned(),
                is_file: about.is_file(),
                bytes: about.len(),
            });
        }
        Ok(entries)
    }

    fn write(&self, path: &Path, content: &[&[u8]]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        for part in content {
            file.write_all(part)?;
        }
        file.sync_data()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn read(&self, path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
        // Opening a FIFO would wait for a writer.
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let bytes = about.len().min(max_bytes);
        let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
        file.take(max_bytes).read_to_end(&mut content)?;
        Ok(content)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}
