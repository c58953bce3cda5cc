//! Any bytes as the body of a post, in pieces of any size: never more than the limit comes out,
//! and the pieces make no difference.
#![no_main]

use std::collections::VecDeque;
use std::io::{self, Write as _};

use bytes::Bytes;
use catchpoint_graphite_relay::api::body::Decoder;
use catchpoint_graphite_relay::lines::validate::TimeBound;
use catchpoint_graphite_relay::lines::{CheckedLines, Checker};
use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 128 << 10;

/// The good lines, and how many were refused.
type Decoded = (Vec<u8>, u64);

fn decode(is_gzip: bool, body: &[u8], piece: usize) -> io::Result<Decoded> {
    let checker = Checker::new(TimeBound::new(0, None, 0), LIMIT);
    let mut decoder = Decoder::new(is_gzip, checker);
    let mut input: VecDeque<_> = body.chunks(piece).map(Bytes::copy_from_slice).collect();
    while !input.is_empty() {
        let left = |input: &VecDeque<Bytes>| input.iter().map(Bytes::len).sum::<usize>();
        let before = left(&input);
        decoder.step(&mut input)?;
        assert!(left(&input) < before);
    }
    let CheckedLines { good, counts, .. } = decoder.finish()?;
    let good = good.concat();
    // One more for the newline that the last line may lack.
    assert!(good.len() <= LIMIT + 1);
    Ok((good, counts.rejected_total))
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).expect("writes to memory");
    encoder.finish().expect("writes to memory")
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, body) = input;
    for is_gzip in [false, true] {
        let pieces = decode(is_gzip, body, usize::from(piece) + 1);
        let whole = decode(is_gzip, body, usize::MAX);
        // Which of two errors comes first may depend on the pieces, a success may not.
        assert_eq!(pieces.as_ref().ok(), whole.as_ref().ok());
        if !is_gzip {
            assert_eq!(whole.is_ok(), body.len() <= LIMIT);
        }
    }
    // What was packed comes out again, in two members too.
    let half = body.len() / 2;
    let packed = [gzip(&body[..half]), gzip(&body[half..])].concat();
    assert_eq!(
        decode(true, &packed, usize::from(piece) + 1).ok(),
        decode(false, body, usize::MAX).ok()
    );
});
