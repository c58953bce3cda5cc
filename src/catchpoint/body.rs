//! Reading the body of an answer into memory.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

use super::error::{CallError, Kind};
use crate::host::body::read_text;

/// The most bytes of one page, inflated. The component holds one page at a time.
pub const MAX_PAGE: u64 = 64 * 1024 * 1024;

/// Bytes of a page that gets no more room than it needs.
const SMALL: u64 = 4 * 1024 * 1024;

/// Size of the buffer between the connection and the inflater.
const BUFFER: usize = 64 * 1024;

/// What every gzip stream begins with, and no JSON.
const GZIP: &[u8] = &[0x1f, 0x8b];

/// The byte order mark of UTF-8.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// Reads a body as text: inflates it if it is gzip, whatever its headers say, leaves out a byte
/// order mark, and replaces what is not UTF-8.
///
/// # Errors
/// It broke off, took too long, or is larger than [`MAX_PAGE`].
pub fn read(body: impl Read) -> Result<String, CallError> {
    let mut body = BufReader::with_capacity(BUFFER, body);
    let begins_with_gzip = body.fill_buf().map_err(broken)?.starts_with(GZIP);
    let read = if begins_with_gzip {
        read_all(MultiGzDecoder::new(body))
    } else {
        read_all(body)
    };
    let mut bytes = read.map_err(broken)?;
    if bytes.len() as u64 > MAX_PAGE {
        let what = format!("the answer is larger than {} MB", MAX_PAGE >> 20);
        return Err(CallError::new(Kind::TooLarge, what));
    }
    if bytes.starts_with(BOM) {
        bytes.drain(..BOM.len());
    }
    Ok(String::from_utf8(bytes).unwrap_or_else(|error| replaced(error.into_bytes())))
}

/// A text with `?` in place of what is not UTF-8. It is made in place: U+FFFD has three bytes, and a
/// page of 64 MB would become one of 192 MB.
fn replaced(mut bytes: Vec<u8>) -> String {
    let mut at = 0;
    while let Some(Err(error)) = bytes.get(at..).map(str::from_utf8) {
        let from = at + error.valid_up_to();
        at = error.error_len().map_or(bytes.len(), |len| from + len);
        if let Some(odd) = bytes.get_mut(from..at) {
            odd.fill(b'?');
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// Reads a body to its end, or one byte more than a page may have. A buffer that grows step by step is
/// copied each time, and a page of 64 MB would take up to 163 MiB of the component's memory. So what is
/// not small gets the room of the largest page at once.
fn read_all(mut body: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    body.by_ref().take(SMALL).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == SMALL {
        let rest = MAX_PAGE + 1 - SMALL;
        bytes.reserve_exact(usize::try_from(rest).unwrap_or(usize::MAX));
        body.take(rest).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Reads up to 64 KiB of the body of a failure, as text for a message; inflates it if it is gzip.
pub fn read_short(body: impl Read) -> String {
    let mut body = BufReader::with_capacity(BUFFER, body);
    match body.fill_buf() {
        Ok(begin) if begin.starts_with(GZIP) => read_text(MultiGzDecoder::new(body)),
        _ => read_text(body),
    }
}

fn broken(error: io::Error) -> CallError {
    match error.kind() {
        io::ErrorKind::TimedOut => CallError::new(Kind::TimedOut, "the answer took too long"),
        _ => CallError::new(Kind::Truncated, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c05_what_is_not_utf_8_is_replaced_in_place() {
        for (bytes, expect) in [
            (&b"a\xffb\xfe\xfdc"[..], "a?b??c"),
            (b"\xc3\xa4\xe2\x82", "\u{e4}??"),
            (b"\xff", "?"),
        ] {
            assert_eq!(read(bytes).unwrap(), expect);
        }
    }

    #[test]
    fn a_large_page_is_held_once() {
        for len in [0, 1, SMALL - 1, SMALL, SMALL + 1, MAX_PAGE] {
            let text = read(io::repeat(b' ').take(len)).unwrap();
            let most = if len < SMALL { 2 * SMALL } else { MAX_PAGE + 1 };
            assert_eq!(text.len() as u64, len);
            assert!(text.capacity() as u64 <= most, "{len}");
        }
        let larger = read(io::repeat(b' ').take(MAX_PAGE + 1));
        assert_eq!(larger.unwrap_err().kind, Kind::TooLarge);
    }
}
