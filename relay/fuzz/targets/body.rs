//! Any bytes as the body of a post, in pieces of any size: never more than the limit comes out,
//! and the pieces make no difference.
#![no_main]

use std::io::Write as _;

use catchpoint_graphite_relay::http::body::{DecodeError, Decoder, Encoding};
use catchpoint_graphite_relay::http::buffer::Buffer;
use flate2::Compression;
use flate2::write::GzEncoder;
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 128 << 10;

fn decode(encoding: Encoding, body: &[u8], piece: usize) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::new(encoding, Buffer::new(LIMIT).expect("address space"));
    for mut rest in body.chunks(piece) {
        while !rest.is_empty() {
            let used = decoder.feed(rest)?;
            assert!(used > 0 && used <= rest.len());
            assert!(decoder.unpacked() <= LIMIT);
            rest = &rest[used..];
        }
    }
    let body = decoder.finish()?;
    assert!(body.len() <= LIMIT);
    Ok(body.as_ref().to_vec())
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(body).expect("writes to memory");
    encoder.finish().expect("writes to memory")
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, body) = input;
    for encoding in [Encoding::Identity, Encoding::Gzip] {
        let pieces = decode(encoding, body, usize::from(piece) + 1);
        let whole = decode(encoding, body, usize::MAX);
        // Which of two errors comes first may depend on the pieces, a success may not.
        assert_eq!(pieces.as_ref().ok(), whole.as_ref().ok());
        if encoding == Encoding::Identity && body.len() <= LIMIT {
            assert_eq!(whole.as_deref(), Ok(body));
        }
    }
    // What was packed comes out again, in two members too.
    let half = body.len() / 2;
    let packed = [gzip(&body[..half]), gzip(&body[half..])].concat();
    assert_eq!(
        decode(Encoding::Gzip, &packed, usize::from(piece) + 1).as_deref(),
        Ok(body)
    );
});
