//! What holds of any answer, whole or broken, however it comes in.

use std::io::Read;

use catchpoint_graphite::config::catchpoint::ApiVersion;
use catchpoint_sandbox::TestType;
use proptest::prelude::*;

use super::{REAL, sandbox_answer, v1_lines, v2_lines};

/// Hands out a body in pieces of given sizes.
struct Pieces<'a>(&'a [u8], std::iter::Cycle<std::slice::Iter<'a, usize>>);

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let size = self
            .1
            .next()
            .copied()
            .unwrap_or(1)
            .min(into.len())
            .min(self.0.len());
        let (now, later) = self.0.split_at(size);
        into[..size].copy_from_slice(now);
        self.0 = later;
        Ok(size)
    }
}

/// What comes out of an answer: its lines, and what it said or why it broke off.
fn read_as(version: ApiVersion, body: impl Read) -> (String, String) {
    match version {
        ApiVersion::V1 => {
            let (lines, said) = v1_lines(body);
            (lines, format!("{said:?}"))
        }
        ApiVersion::Explorer(_) => {
            let (lines, said) = v2_lines(body);
            (lines, format!("{said:?}"))
        }
    }
}

/// A real answer of v1, or one of the sandbox's of v2, with steps or hops.
fn answer(version: ApiVersion) -> Vec<u8> {
    match version {
        ApiVersion::V1 => REAL.as_bytes().to_vec(),
        ApiVersion::Explorer(_) => {
            sandbox_answer(TestType::Traceroute, "/api/v2/tests/explorer/raw?testIds=")
        }
    }
}

fn versions() -> impl Strategy<Value = ApiVersion> {
    prop_oneof![Just(ApiVersion::V1), Just(ApiVersion::Explorer("v2"))]
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_samples(
        version in versions(),
        sizes in proptest::collection::vec(1usize..200, 1..20),
    ) {
        let bytes = answer(version);
        let whole = read_as(version, &bytes[..]);
        prop_assert!(!whole.0.is_empty());
        prop_assert_eq!(read_as(version, Pieces(&bytes, sizes.iter().cycle())), whole);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = v1_lines(&bytes[..]);
        let _ = v2_lines(&bytes[..]);
    }

    /// Answers cut, with bytes changed, with parts doubled, in any pieces.
    #[test]
    fn mutated_answers_never_panic_and_give_only_sound_lines(
        cut in 0usize..4000,
        changes in proptest::collection::vec((0usize..4000, any::<u8>()), 0..8),
        doubled in (0usize..3000, 0usize..200),
        version in versions(),
        sizes in proptest::collection::vec(1usize..2000, 1..20),
    ) {
        let mut bytes = answer(version);
        let (from, len) = (doubled.0.min(bytes.len()), doubled.1);
        let part = bytes[from..(from + len).min(bytes.len())].to_vec();
        bytes.splice(from..from, part);
        for (at, byte) in changes {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        bytes.truncate(cut);
        let whole = read_as(version, &bytes[..]);
        prop_assert_eq!(&read_as(version, Pieces(&bytes, sizes.iter().cycle())), &whole);
        for line in whole.0.lines().filter(|line| !line.starts_with('[')) {
            prop_assert_eq!(line.split_whitespace().count(), 3, "{}", line);
        }
    }
}
