//! Reads a configuration file from disk.

use std::io::{Error, ErrorKind};
use std::path::Path;

/// The text of a configuration file: UTF-8, with or without a byte order mark.
///
/// # Errors
/// The file cannot be read, or is not UTF-8. The error keeps its kind and names the path.
pub fn read(path: impl AsRef<Path>) -> Result<String, Error> {
    let path = path.as_ref();
    std::fs::read(path)
        .and_then(decode)
        .map_err(|error| Error::new(error.kind(), format!("{}: {error}", path.display())))
}

fn decode(bytes: Vec<u8>) -> Result<String, Error> {
    // UTF-16 without a byte order mark has a zero byte beside each ASCII character.
    let is_utf16 = bytes.starts_with(&[0xff, 0xfe])
        || bytes.starts_with(&[0xfe, 0xff])
        || bytes.iter().take(4).any(|byte| *byte == 0);
    if is_utf16 {
        return Err(Error::new(ErrorKind::InvalidData, "the file is UTF-16"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error
            .as_bytes()
            .iter()
            .take(at)
            .filter(|b| **b == b'\n')
            .count()
            + 1;
        Error::new(ErrorKind::InvalidData, format!("line {line} is not UTF-8"))
    })
}
