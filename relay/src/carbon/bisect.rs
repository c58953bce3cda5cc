//! Finds the line over which carbon closes the connection.
//!
//! The relay checks every line before it stores it, so there should be none. If there is one all the
//! same, it must not hold up the others: a batch that carbon has closed on five times, though it is
//! well, is sent in parts until the line is found. It is the line's fault only if carbon then confirms
//! another line.

use std::ops::Range;

use memchr::{memchr, memrchr};

use crate::spool::name::BatchName;

/// So many failures make a batch or a line suspect.
const FAILURES: u32 = 5;

/// A batch that fails alone.
pub(super) struct Suspect {
    /// Its name.
    pub name: BatchName,
    /// Its content.
    pub lines: Vec<u8>,
    part: Range<usize>,
    failures: u32,
}

impl Suspect {
    /// A batch that has failed once.
    pub fn new(name: BatchName, lines: Vec<u8>) -> Self {
        Self {
            name,
            part: 0..lines.len(),
            lines,
            failures: 1,
        }
    }

    /// What to send next.
    pub fn part(&self) -> &[u8] {
        self.lines.get(self.part.clone()).unwrap_or_default()
    }

    /// Carbon has confirmed the part. True if it was the last one.
    pub fn confirmed(&mut self) -> bool {
        self.failures = 0;
        self.part = self.part.end..self.lines.len();
        self.part.is_empty()
    }

    /// Carbon has closed the connection over the part. Gives the line, if it is found.
    pub fn failed(&mut self) -> Option<Range<usize>> {
        self.failures += 1;
        let half = self.first_half();
        let is_whole = self.part == (0..self.lines.len());
        if self.failures < FAILURES && (is_whole || half.is_none()) {
            return None;
        }
        self.failures = 0;
        let Some(half) = half else {
            return Some(self.part.clone());
        };
        self.part.end = self.part.start + half;
        None
    }

    /// The length of the first half of the part in whole lines. None for a single line.
    fn first_half(&self) -> Option<usize> {
        let part = self.part();
        let (front, back) = part.split_at_checked(part.len() / 2)?;
        let newline = memrchr(b'\n', front).or_else(|| Some(front.len() + memchr(b'\n', back)?));
        newline.map(|at| at + 1).filter(|half| *half < part.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends all to a carbon that closes on these lines, and gives what is set aside, in order.
    fn check(lines: &[&str], bad: &[&str]) {
        let mut content = lines.concat().into_bytes();
        let mut got: Vec<u8> = Vec::new();
        let mut aside = Vec::new();
        let name = BatchName {
            sequence: 1,
            lines: 0,
            bytes: 0,
            checksum: 0,
        };
        let mut connections = 0;
        'batch: loop {
            let mut suspect = Suspect::new(name, content.clone());
            loop {
                connections += 1;
                let part = String::from_utf8(suspect.part().to_vec()).unwrap();
                if !part.lines().any(|line| bad.contains(&line)) {
                    got.extend(part.as_bytes());
                    if suspect.confirmed() {
                        break 'batch;
                    }
                } else if let Some(line) = suspect.failed() {
                    aside.push(String::from_utf8(content.drain(line).collect()).unwrap());
                    got.clear();
                    break;
                }
            }
        }
        let is_bad = |line: &&&str| bad.contains(&line.trim_end());
        let expect: String = lines.iter().filter(|line| !is_bad(line)).copied().collect();
        assert_eq!(String::from_utf8(got).unwrap(), expect);
        assert_eq!(aside.len(), bad.len(), "{aside:?}");
        assert!(connections < 100, "{connections}");
    }

    #[test]
    fn only_the_line_over_which_carbon_closes_is_set_aside() {
        let lines = ["a\n", "bb\n", "ccccccccccc\n", "d\n", "e\n", "f\n", "g\n"];
        check(&lines, &[]);
        for bad in ["a", "bb", "ccccccccccc", "d", "g"] {
            check(&lines, &[bad]);
            check(&[&format!("{bad}\n")], &[bad]);
        }
        check(&lines, &["a", "g"]);
    }
}
