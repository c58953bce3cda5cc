//! Any files in the folder of a spool: it opens, delivers only what is whole, and stores new posts.
#![no_main]

#[allow(dead_code, reason = "the spool's model test uses the rest of it")]
#[path = "../../src/spool/tests/sim.rs"]
mod sim;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

// Where the simulated disk, which is part of the library's own tests, looks for it.
use catchpoint_graphite_relay::spool;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use sim::SimDisk;
use spool::disk::Disk as _;
use spool::index::End;
use spool::keys::Key;
use spool::name::{BatchName, Kind};
use spool::store::Post;
use spool::{Limits, Spool};

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
    let disk = SimDisk::default();
    for file in &files {
        let path = dir.path().join(file.path());
        disk.write(&path, &[&file.content()]).expect("writes");
    }
    let limits = Limits {
        max_bytes: 1 << 30,
        replay_window: Duration::ZERO,
        replay_max_bytes: 0,
        max_keys: 2,
    };
    let spool =
        Spool::open(dir.path(), limits, Arc::new(disk.clone()), Arc::default()).expect("opens");
    let post = Post {
        lines: vec!["a 1 1700000000\n".into()],
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
    // Of a batch with a file of each kind the waiting one stays until the next start.
    let left = disk.batch_files();
    assert!(left.keys().all(|file| file.ends_with(".lines")), "{left:?}");
});
