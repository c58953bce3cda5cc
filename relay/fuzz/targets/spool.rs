//! Any files in the folder of a spool: it opens, delivers only what is whole, and stores new posts.
#![no_main]

#[allow(dead_code, reason = "the spool's model test uses the rest of it")]
#[path = "../../src/spool/tests/sim.rs"]
mod sim;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

// Where the simulated disk, which is part of the library's own tests, looks for it.
use catchpoint_graphite_relay::answer::Counts;
use catchpoint_graphite_relay::spool;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use sim::SimDisk;
use spool::disk::Disk as _;
use spool::keys::Key;
use spool::name::BatchName;
use spool::store::Post;
use spool::{Limits, Spool};

/// A file that was left in the spool; version 0.1 has other names for what it had confirmed, and for
/// answers.
#[derive(Debug, Arbitrary)]
struct File<'a> {
    kind: Kind,
    name: &'a str,
    sequence: u64,
    lines: u64,
    content: &'a [u8],
    /// Where a bit is flipped, if there.
    damage: Option<u8>,
}

#[derive(Debug, Arbitrary)]
enum Kind {
    Foreign,
    Half,
    Lines,
    Sent,
    Answers,
}

impl File<'_> {
    fn path(&self) -> PathBuf {
        let suffix = match self.kind {
            Kind::Foreign => return Path::new("batches").join(plain(self.name)),
            Kind::Half => return Path::new("tmp").join(plain(self.name)),
            Kind::Lines => "lines",
            Kind::Sent => "sent",
            Kind::Answers => "answers",
        };
        let name = BatchName {
            sequence: self.sequence,
            lines: self.lines,
            bytes: self.content.len() as u64,
            checksum: crc32(self.content),
        };
        Path::new("batches").join(format!("{name}.{suffix}"))
    }

    fn content(&self) -> Vec<u8> {
        let mut content = self.content.to_vec();
        let damaged = self.damage.and_then(|at| content.get_mut(usize::from(at)));
        if let Some(byte) = damaged {
            *byte ^= 1;
        }
        content
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
        max_keys: 2,
    };
    let spool =
        Spool::open(dir.path(), limits, Arc::new(disk.clone()), Arc::default()).expect("opens");
    let post = Post {
        lines: vec!["a 1 1700000000\n".into()],
        counts: Counts {
            accepted: 1,
            ..Counts::default()
        },
        key: Some(Key::new(b"key", b"a 1 1700000000\n")),
    };
    assert!(spool.store(std::slice::from_ref(&post))[0].is_ok());
    assert_eq!(
        spool.store(&[post])[0]
            .clone()
            .expect("stored")
            .answer()
            .counts
            .accepted,
        1
    );
    let now = tokio::time::Instant::now();
    let mut last = None;
    let mut sent = Vec::new();
    while let Some(name) = spool.next(last) {
        assert!(last < Some(name), "in order");
        last = Some(name);
        let Ok(content) = spool.read(name) else {
            continue;
        };
        assert_eq!(
            (content.len() as u64, crc32(&content)),
            (name.bytes, name.checksum)
        );
        sent.push(name);
    }
    spool.confirm(&sent, now);
    assert!(spool.content().is_sent());
    assert_eq!(spool.content().confirmed.batches, 0);
    assert_eq!(disk.batch_files().len(), 0);
});
