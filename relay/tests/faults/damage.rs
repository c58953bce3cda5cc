//! Files of the spool that are not what they were. Nothing of a damaged file may reach carbon, for a
//! flipped bit can make a line that harms its neighbours there. So its lines are reported as lost,
//! kept aside, and arrive when they are posted again, be it under the same idempotency key.

use std::fs;
use std::path::{Path, PathBuf};

use catchpoint_testbed::{Signal, port};

use crate::common::*;
use crate::sender::Sender;
use crate::table::Tally;

/// Three batches wait for carbon when the relay is killed; something is done to the file of the
/// second before it starts again. `reported` lines are lost until they are posted again.
pub fn damaged(damage: fn(&Path), reported: usize) -> Tally {
    let dir = tempfile::tempdir().unwrap();
    let addr = port::free().unwrap();
    let mut relay = Program::start(dir.path(), addr, &[]);
    let sender = Sender::default();
    let post = |relay: &Program, part: usize| {
        let key = format!("key {part}");
        let lines = lines(part, 100);
        let answer = post_with(relay.addr, &[("idempotency-key", &key)], body(&lines));
        assert_eq!(answer.status, 202, "{}", answer.body);
        sender.note(lines);
    };
    for part in 0..3 {
        post(&relay, part);
    }
    relay.process.signal(Signal::KILL).unwrap();
    relay.process.wait_end(SOON).unwrap();
    damage(&batches(&dir.path().join("spool/batches"))[1]);
    let carbon = carbon_at(addr);
    let mut relay = Program::start(dir.path(), addr, &[]);
    until("the whole batches", || {
        (carbon.lines().len() >= 300 - reported).then_some(())
    });
    assert_eq!(metric(relay.addr, "lines_lost_total"), reported as f64);
    let aside = fs::read_dir(dir.path().join("spool/damaged")).unwrap();
    assert_eq!(aside.count(), 1);
    if reported > 0 {
        let said = relay.process.wait_line("a batch is damaged", SOON).unwrap();
        assert!(said.contains("ERROR"), "{said}");
        let second = lines(1, 100).into_iter().collect();
        assert_eq!(missing(&carbon, &second), 100, "nothing of a damaged file");
        post(&relay, 1);
    }
    let note = match reported {
        0 => "the foreign file moved aside".to_owned(),
        _ => format!("{reported} reported as damaged, posted again"),
    };
    sender.tally(&carbon).noting(note)
}

/// The files of the batches, in the order of arrival.
fn batches(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "lines"))
        .collect();
    files.sort();
    files
}

pub fn truncate(file: &Path) {
    let content = fs::read(file).unwrap();
    fs::write(file, &content[..content.len() / 2]).unwrap();
}

pub fn flip(file: &Path) {
    let mut content = fs::read(file).unwrap();
    content[100] ^= 1;
    fs::write(file, content).unwrap();
}

/// Puts a file there that is none of the relay's.
pub fn add(file: &Path) {
    fs::write(file.with_file_name("core.1234"), "not ours").unwrap();
}
