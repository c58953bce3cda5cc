//! Any files in the folder of a spool: it opens, delivers only what is whole, and stores new posts.
#![no_main]

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use catchpoint_graphite_relay::spool::disk::{Disk, Entry};
use catchpoint_graphite_relay::spool::index::End;
use catchpoint_graphite_relay::spool::keys::Key;
use catchpoint_graphite_relay::spool::name::{BatchName, Kind};
use catchpoint_graphite_relay::spool::store::Post;
use catchpoint_graphite_relay::spool::{Limits, Spool};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;

/// A disk in memory.
#[derive(Default)]
struct MemoryDisk(Mutex<BTreeMap<PathBuf, Vec<u8>>>);

impl Disk for MemoryDisk {
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let files = self.0.lock().expect("lock");
        let within = files.iter().filter(|(path, _)| path.parent() == Some(dir));
        let entry = |(path, content): (&PathBuf, &Vec<u8>)| Entry {
            name: path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned(),
            is_file: !content.starts_with(b"folder"),
            bytes: content.len() as u64,
        };
        Ok(within.map(entry).collect())
    }

    fn write(&self, path: &Path, content: &[&[u8]]) -> io::Result<()> {
        self.0
            .lock()
            .expect("lock")
            .insert(path.to_owned(), content.concat());
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.0.lock().expect("lock");
        let content = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), content);
        Ok(())
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read + Send>> {
        let files = self.0.lock().expect("lock");
        let content = files.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Cursor::new(content.clone())))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let removed = self.0.lock().expect("lock").remove(path);
        removed.map(drop).ok_or(io::ErrorKind::NotFound.into())
    }
}

/// A file that was left in the spool.
#[derive(Debug, Arbitrary)]
enum File<'a> {
    Foreign {
        name: &'a str,
        content: &'a [u8],
    },
    Batch {
        sequence: u64,
        lines: u64,
        content: &'a [u8],
        confirmed: bool,
        damage: Option<u8>,
    },
    Answers {
        sequence: u64,
        content: &'a [u8],
    },
    Half {
        name: &'a str,
        content: &'a [u8],
    },
}

impl File<'_> {
    fn path(&self) -> PathBuf {
        let name = |sequence, lines, content: &[u8]| BatchName {
            sequence,
            lines,
            bytes: content.len() as u64,
            checksum: crc32(content),
        };
        match self {
            Self::Foreign { name, .. } => Path::new("batches").join(plain(name)),
            Self::Half { name, .. } => Path::new("tmp").join(plain(name)),
            Self::Batch {
                sequence,
                lines,
                content,
                confirmed,
                ..
            } => {
                let kind = if *confirmed {
                    Kind::Confirmed
                } else {
                    Kind::Waiting
                };
                Path::new("batches").join(name(*sequence, *lines, content).file(kind))
            }
            Self::Answers { sequence, content } => {
                Path::new("batches").join(name(*sequence, 1, content).file(Kind::Answers))
            }
        }
    }

    fn content(&self) -> Vec<u8> {
        match self {
            Self::Foreign { content, .. }
            | Self::Half { content, .. }
            | Self::Answers { content, .. } => content.to_vec(),
            Self::Batch {
                content, damage, ..
            } => {
                let mut content = content.to_vec();
                let at = usize::from(damage.unwrap_or(0));
                if damage.is_some()
                    && let Some(byte) = content.get_mut(at)
                {
                    *byte ^= 1;
                }
                content
            }
        }
    }
}

fn plain(name: &str) -> String {
    let name: String = name.chars().filter(|c| !matches!(c, '/' | '\0')).collect();
    if matches!(name.as_str(), "" | "." | "..") {
        "x".to_owned()
    } else {
        name
    }
}

/// CRC-32 bit by bit, apart from the relay's own.
fn crc32(content: &[u8]) -> u32 {
    !content.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    })
}

fuzz_target!(|files: Vec<File<'_>>| {
    let dir = tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a folder");
    let disk = Arc::new(MemoryDisk::default());
    for file in &files {
        disk.0
            .lock()
            .expect("lock")
            .insert(dir.path().join(file.path()), file.content());
    }
    let limits = Limits {
        max_bytes: 1 << 30,
        replay_window: Duration::ZERO,
        replay_max_bytes: 0,
        max_keys: 2,
    };
    let spool = Spool::open(dir.path(), limits, disk.clone(), Arc::default()).expect("opens");
    let post = Post {
        lines: "a 1 1700000000\n".into(),
        accepted: 1,
        key: Some(Key::new(b"key", b"a 1 1700000000\n")),
        ..Post::default()
    };
    assert!(spool.store(std::slice::from_ref(&post))[0].is_ok());
    assert_eq!(
        spool.store(&[post])[0]
            .clone()
            .expect("stored")
            .answer()
            .accepted,
        1
    );
    let now = Instant::now();
    for end in [End::Newest, End::Oldest] {
        for name in spool.next(end, u64::MAX, usize::MAX, now) {
            let Ok(mut file) = spool.read(name) else {
                continue;
            };
            let mut content = Vec::new();
            file.read_to_end(&mut content).expect("reads");
            assert_eq!(
                (content.len() as u64, crc32(&content)),
                (name.bytes, name.checksum)
            );
            spool.confirm(&[name], now);
        }
    }
    assert_eq!(spool.content().waiting.batches, 0);
    assert_eq!(spool.content().confirmed.batches, 0);
    let left: Vec<_> = disk.0.lock().expect("lock").keys().cloned().collect();
    let batches = dir.path().join("batches");
    let in_batches = left.iter().filter(|path| path.parent() == Some(&batches));
    // Answers of damaged batches wait for the next start.
    assert!(
        in_batches.clone().all(|path| path
            .extension()
            .is_some_and(|e| e == "answers" || e == "lines")),
        "{left:?}"
    );
});
