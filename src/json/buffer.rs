//! Bytes that may be JSON: those of a body that is checked while it arrives, or a slice.

use std::ops::Deref;

use serde_json::value::RawValue;

use super::checked::raw_value;
use super::scan::Scanner;
use super::{JsonError, checked_by_parser};

/// A text that is checked while it arrives in pieces. It may be anything: only [`value`](super::value) and the like say
/// whether it is JSON.
#[derive(Clone, Debug, Default)]
pub struct Buffer {
    bytes: Vec<u8>,
    /// Number of bytes that are expected.
    expected: usize,
    scanner: Scanner,
}

impl Buffer {
    /// An empty text of which this many bytes are expected.
    pub fn with_capacity(bytes: usize) -> Self {
        Self { expected: bytes, ..Self::default() }
    }

    /// Adds a piece. The first one is not copied if it has the whole length.
    pub fn push(&mut self, piece: Vec<u8>) {
        self.scanner.push(&piece);
        if self.bytes.is_empty() && piece.len() >= self.expected {
            self.bytes = piece;
        } else {
            self.bytes.reserve_exact(self.expected.saturating_sub(self.bytes.len()));
            self.bytes.extend_from_slice(&piece);
        }
    }

    /// The bytes.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Bytes that may be JSON, and the state of their check if it is done already.
#[derive(Clone, Copy, Debug)]
pub struct Unchecked<'b> {
    bytes: &'b [u8],
    scanner: Option<&'b Scanner>,
}

impl<'b> From<&'b Buffer> for Unchecked<'b> {
    fn from(buffer: &'b Buffer) -> Self {
        Self { bytes: &buffer.bytes, scanner: Some(&buffer.scanner) }
    }
}

impl<'b> From<&'b [u8]> for Unchecked<'b> {
    fn from(bytes: &'b [u8]) -> Self {
        Self { bytes, scanner: None }
    }
}

impl<'b> From<&'b Vec<u8>> for Unchecked<'b> {
    fn from(bytes: &'b Vec<u8>) -> Self {
        bytes.as_slice().into()
    }
}

impl<'b, const N: usize> From<&'b [u8; N]> for Unchecked<'b> {
    fn from(bytes: &'b [u8; N]) -> Self {
        bytes.as_slice().into()
    }
}

impl<'b> Unchecked<'b> {
    /// The bytes.
    pub fn bytes(self) -> &'b [u8] {
        self.bytes
    }

    /// Checks a JSON value of at most `max` levels.
    pub(super) fn value(self, max: usize) -> Result<&'b RawValue, JsonError> {
        let found = match self.scanner {
            Some(scanner) => scanner.finish(),
            None => {
                let mut scanner = Scanner::default();
                scanner.push(self.bytes);
                scanner.finish()
            }
        };
        let text = found.filter(|(_, depth)| *depth <= max).and_then(|(value, _)| self.bytes.get(value));
        // The grammar allows only ASCII outside of strings, so this checks the whole text.
        match text.and_then(|text| raw_value(simdutf8::basic::from_utf8(text).ok()?)) {
            Some(raw) => Ok(raw),
            None => checked_by_parser(self.bytes, max),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_joined_and_checked() {
        let mut buffer = Buffer::with_capacity(4);
        for piece in [&b" {\"a\":\"\xc3"[..], b"", b"\xa9\"", b"}\n"] {
            buffer.push(piece.to_vec());
        }
        assert_eq!(super::super::value(&buffer).unwrap().get(), "{\"a\":\"é\"}");
        assert_eq!(&*buffer, " {\"a\":\"é\"}\n".as_bytes());
        buffer.push(b"}".to_vec());
        assert!(matches!(super::super::value(&buffer), Err(JsonError::Syntax { .. })));
        let mut buffer = Buffer::with_capacity(0);
        buffer.push(b"[\"\xff\"]".to_vec());
        assert_eq!(super::super::value(&buffer).unwrap_err(), JsonError::NotUtf8 { at: 2 });
    }
    #[test]
    fn bytes_that_are_not_utf8_are_refused_everywhere() {
        let text = "{\"name\":\"Größe\",\"n\":1,\"long\":\"abcdefghijklmnopqrstuvwxyzé😀abcdefghijklmnopqrstuvwxyz\"}";
        let blanks = " ".repeat(140);
        for text in [text.to_owned(), format!("[{text},{text}]{blanks}")] {
            for at in 0..text.len().min(180) {
                for byte in [0x7f, 0x80, 0xa9, 0xc0, 0xc3, 0xe2, 0xed, 0xf0, 0xf5, 0xff] {
                    let mut damaged = text.clone().into_bytes();
                    damaged[at] = byte;
                    let mut buffer = Buffer::with_capacity(damaged.len());
                    buffer.push(damaged[..at].to_vec());
                    buffer.push(damaged[at..].to_vec());
                    let expected = std::str::from_utf8(&damaged)
                        .is_ok_and(|damaged| serde_json::from_str::<&RawValue>(damaged).is_ok());
                    assert_eq!(super::super::value(&buffer).is_ok(), expected, "{damaged:?}");
                }
            }
        }
    }
}
