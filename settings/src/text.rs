//! Reads a configuration file from disk.

use std::io::{Error, ErrorKind};
use std::path::Path;

/// The text of a configuration file: UTF-8, with or without a byte order mark.
///
/// # Errors
/// The file cannot be read, or is not UTF-8. The error keeps its kind and names the path.
pub fn read(path: impl AsRef<Path>) -> Result<String, Error> {
    let path = path.as_ref();
    std::fs::read(path).and_then(decode).map_err(|error| {
        // The number behind the words is another one in wasm.
        let text = error.to_string();
        let words = text.split(" (os error").next().unwrap_or_default();
        Error::new(error.kind(), format!("{}: {words}", path.display()))
    })
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

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::problem::Problem;

    #[test]
    fn c16_the_real_cause_and_the_path_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.yaml");
        let cause = |content: Option<&[u8]>| {
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let error = read(&path).unwrap_err();
            let problem = Problem::unreadable("f", &error, "put f there").to_string();
            problem.replace(&path.display().to_string(), "PATH")
        };
        let utf16: Vec<u8> = "a: b".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let marked: Vec<u8> = [&[0xff, 0xfe], utf16.as_slice()].concat();
        let mut causes = vec![
            cause(None),
            cause(Some(&utf16)),
            cause(Some(&marked)),
            cause(Some(b"a: b\nc: \xff\n")),
        ];
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        causes.push(cause(None));
        let denied = Error::new(ErrorKind::PermissionDenied, "PATH: Permission denied");
        causes.push(Problem::unreadable("f", &denied, "").to_string());
        assert_snapshot!(causes.join("\n"));
    }

    #[test]
    fn utf8_is_read_with_and_without_a_byte_order_mark() {
        assert_eq!(decode("größe: 1".into()).unwrap(), "größe: 1");
        assert_eq!(decode("\u{feff}a".into()).unwrap(), "\u{feff}a");
        assert_eq!(decode(Vec::new()).unwrap(), "");
    }
}
