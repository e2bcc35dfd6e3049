//! A check of JSON that takes a text in pieces, such as a body while it arrives: its grammar (RFC 8259), its depth, and
//! the place of its value. It keeps no more than its state.
//!
//! It replaces the check by `serde_json`, which needs the whole text and has no bound on the depth of a raw value. It
//! accepts the same texts, as the tests show, and leaves the reason for a refusal to `serde_json`.

use std::ops::Range;

use super::{BYTE_ORDER_MARK, MAX_DEPTH};

/// The state of a check.
#[derive(Clone, Debug)]
pub(super) struct Scanner {
    state: State,
    /// Number of bytes before the current piece.
    seen: usize,
    /// Offsets of the value in the text.
    value: Range<usize>,
    /// Whether each open array or object is an object.
    open: [bool; MAX_DEPTH],
    /// Number of open arrays and objects.
    depth: usize,
    /// The greatest depth so far.
    deepest: usize,
}

/// The part of the grammar that the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The start of the text: a byte order mark of which this many bytes have been read, or a value.
    Start(usize),
    /// A value.
    Value,
    /// The first element of an array, or its end.
    FirstElement,
    /// The first name in an object, or its end.
    FirstName,
    /// A name in an object.
    Name,
    /// The colon after a name.
    Colon,
    /// A comma, or the end of the innermost array or object.
    AfterValue,
    /// The end of the text.
    End,
    /// The characters of a string, which may be a name.
    Text { is_name: bool },
    /// The character after a backslash.
    Escape { is_name: bool },
    /// The hexadecimal digits after `\u`, of which this many are missing.
    Hex { missing: u8, is_name: bool },
    /// A part of a number.
    Number(Number),
    /// The rest of `true`, `false` or `null`.
    Literal(&'static [u8]),
    /// The text is no JSON, or too deep.
    Refused,
}

/// The part of a number that was read last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Minus,
    /// A leading zero, which no digit may follow.
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

impl Number {
    /// The part after a byte; `None` if the number ends before it.
    fn after(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Minus, b'0') => Self::Zero,
            (Self::Minus | Self::Integer, b'0'..=b'9') => Self::Integer,
            (Self::Zero | Self::Integer, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Self::Exponent,
            (Self::Exponent, b'+' | b'-') => Self::ExponentSign,
            (Self::Exponent | Self::ExponentSign | Self::ExponentDigits, b'0'..=b'9') => Self::ExponentDigits,
            _ => return None,
        })
    }

    /// Whether the number may end here.
    fn is_complete(self) -> bool {
        matches!(self, Self::Zero | Self::Integer | Self::Fraction | Self::ExponentDigits)
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Self { state: State::Start(0), seen: 0, value: 0..0, open: [false; MAX_DEPTH], depth: 0, deepest: 0 }
    }
}

impl Scanner {
    /// Checks the next piece of the text.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let mut state = self.state;
        let mut rest = piece;
        while let [byte, after @ ..] = rest {
            state = match state {
                State::Text { is_name } => {
                    let (length, end) = text(rest);
                    rest = rest.get(length..).unwrap_or_default();
                    state = match end {
                        None => State::Text { is_name },
                        Some(b'"') if is_name => State::Colon,
                        Some(b'"') => State::AfterValue,
                        Some(b'\\') => State::Escape { is_name },
                        Some(_) => State::Refused,
                    };
                    continue;
                }
                State::Number(part) => match part.after(*byte) {
                    Some(part @ (Number::Integer | Number::Fraction)) => {
                        rest = after;
                        while let [b'0'..=b'9', after @ ..] = rest {
                            rest = after;
                        }
                        state = State::Number(part);
                        continue;
                    }
                    Some(part) => State::Number(part),
                    None if part.is_complete() => {
                        // The byte belongs to the next state.
                        state = State::AfterValue;
                        continue;
                    }
                    None => State::Refused,
                },
                State::AfterValue if self.depth == 0 => {
                    self.value.end = self.offset(piece, rest);
                    state = State::End;
                    continue;
                }
                State::Start(_)
                | State::Value
                | State::FirstElement
                | State::FirstName
                | State::Name
                | State::Colon
                | State::AfterValue
                | State::End
                    if is_blank(*byte) && !matches!(state, State::Start(1..)) =>
                {
                    if state == State::Start(0) {
                        State::Value
                    } else {
                        state
                    }
                }
                State::Start(read) => {
                    if BYTE_ORDER_MARK.get(read) == Some(byte) {
                        let read = read.saturating_add(1);
                        if read == BYTE_ORDER_MARK.len() { State::Value } else { State::Start(read) }
                    } else if read == 0 {
                        state = State::Value;
                        continue;
                    } else {
                        State::Refused
                    }
                }
                State::FirstElement if *byte == b']' => self.close(),
                State::Value | State::FirstElement => {
                    if self.depth == 0 {
                        self.value.start = self.offset(piece, rest);
                    }
                    self.value(*byte)
                }
                State::FirstName if *byte == b'}' => self.close(),
                State::FirstName | State::Name if *byte == b'"' => State::Text { is_name: true },
                State::Colon if *byte == b':' => State::Value,
                State::AfterValue => match (byte, self.is_in_object()) {
                    (b',', true) => State::Name,
                    (b',', false) => State::Value,
                    (b'}', true) | (b']', false) => self.close(),
                    _ => State::Refused,
                },
                State::Escape { is_name } => match byte {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => State::Text { is_name },
                    b'u' => State::Hex { missing: 4, is_name },
                    _ => State::Refused,
                },
                State::Hex { missing, is_name } if byte.is_ascii_hexdigit() => match missing.saturating_sub(1) {
                    0 => State::Text { is_name },
                    missing => State::Hex { missing, is_name },
                },
                State::Literal(literal) if rest.starts_with(literal) => {
                    rest = rest.get(literal.len()..).unwrap_or_default();
                    state = State::AfterValue;
                    continue;
                }
                // It goes on in the next piece.
                State::Literal([expected, more @ ..]) if expected == byte => match more {
                    [] => State::AfterValue,
                    more => State::Literal(more),
                },
                State::Refused => break,
                _ => State::Refused,
            };
            rest = after;
        }
        self.seen = self.seen.saturating_add(piece.len());
        self.state = state;
    }

    /// The offsets of the value in the text, and its depth; `None` if the text is no JSON or too deep.
    pub(super) fn finish(&self) -> Option<(Range<usize>, usize)> {
        let end = match self.state {
            State::End => self.value.end,
            State::AfterValue if self.depth == 0 => self.seen,
            State::Number(part) if self.depth == 0 && part.is_complete() => self.seen,
            _ => return None,
        };
        Some((self.value.start..end, self.deepest))
    }

    /// The offset in the text of the rest of a piece.
    fn offset(&self, piece: &[u8], rest: &[u8]) -> usize {
        self.seen.saturating_add(piece.len()).saturating_sub(rest.len())
    }

    /// The state after the first byte of a value.
    fn value(&mut self, byte: u8) -> State {
        match byte {
            b'"' => State::Text { is_name: false },
            b'{' => self.open(true),
            b'[' => self.open(false),
            b'-' => State::Number(Number::Minus),
            b'0' => State::Number(Number::Zero),
            b'1'..=b'9' => State::Number(Number::Integer),
            b't' => State::Literal(after(b"true")),
            b'f' => State::Literal(after(b"false")),
            b'n' => State::Literal(after(b"null")),
            _ => State::Refused,
        }
    }

    fn open(&mut self, is_object: bool) -> State {
        let Some(level) = self.open.get_mut(self.depth) else { return State::Refused };
        *level = is_object;
        self.depth = self.depth.saturating_add(1);
        self.deepest = self.deepest.max(self.depth);
        if is_object { State::FirstName } else { State::FirstElement }
    }

    fn close(&mut self) -> State {
        self.depth = self.depth.saturating_sub(1);
        State::AfterValue
    }

    /// Whether the innermost open array or object is an object.
    fn is_in_object(&self) -> bool {
        self.depth.checked_sub(1).and_then(|level| self.open.get(level)).is_some_and(|is_object| *is_object)
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\t' | b'\r')
}

/// A literal without its first byte.
fn after(literal: &'static [u8]) -> &'static [u8] {
    literal.get(1..).unwrap_or_default()
}

/// The length of a string's plain characters, including the byte that ends them, and this byte: a quotation mark, a
/// backslash, or a control character, which is not allowed. `None` if they go on in the next piece.
pub(super) fn text(piece: &[u8]) -> (usize, Option<u8>) {
    /// Each byte of a word has this value.
    const fn all(byte: u8) -> u64 {
        u64::from_le_bytes([byte; 8])
    }
    /// Sets the highest bit of each byte that is zero; perhaps also that of bytes after it.
    fn zeros(word: u64) -> u64 {
        word.wrapping_sub(all(1)) & !word & all(0x80)
    }
    let mut length = 0_usize;
    let mut rest = piece;
    // Eight bytes at a time.
    while let Some((bytes, after)) = rest.split_first_chunk::<8>() {
        let word = u64::from_le_bytes(*bytes);
        let controls = word.wrapping_sub(all(b' ')) & !word & all(0x80);
        let special = controls | zeros(word ^ all(b'"')) | zeros(word ^ all(b'\\'));
        if special != 0 {
            // Exact for the first of them.
            let at = usize::try_from(special.trailing_zeros() / 8).unwrap_or_default();
            return (length.saturating_add(at).saturating_add(1), bytes.get(at).copied());
        }
        length = length.saturating_add(8);
        rest = after;
    }
    for byte in rest {
        length = length.saturating_add(1);
        if matches!(byte, b'"' | b'\\' | 0..=0x1f) {
            return (length, Some(*byte));
        }
    }
    (length, None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::super::tests::nested;
    use super::*;

    /// The value and its depth by the scanner, with the text in two pieces.
    fn scan(text: &[u8], at: usize) -> Option<(&[u8], usize)> {
        let (before, after) = text.split_at(at.min(text.len()));
        let mut scanner = Scanner::default();
        scanner.push(before);
        scanner.push(after);
        scanner.finish().map(|(value, depth)| (&text[value], depth))
    }

    /// The same by `serde_json`.
    fn reference(text: &[u8]) -> Option<(&[u8], usize)> {
        let text = super::super::bytes_without_mark(text);
        // Only the grammar is compared: in a string, any byte from 0x80 counts as a character.
        let ascii: String = text.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { '_' }).collect();
        let raw: &RawValue = serde_json::from_str(&ascii).ok()?;
        let start = raw.get().as_ptr().addr().checked_sub(ascii.as_ptr().addr())?;
        let depth = super::super::depth(raw.get());
        (depth <= MAX_DEPTH).then_some((text.get(start..)?.get(..raw.get().len())?, depth))
    }

    fn assert_same(text: &[u8]) {
        for at in 0..=text.len() {
            assert_eq!(scan(text, at), reference(text), "{:?} in pieces at {at}", String::from_utf8_lossy(text));
        }
    }

    /// Fragments of JSON, which make many texts that are almost right.
    const FRAGMENTS: [&str; 44] = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\"a\"",
        "\"\"",
        "\\",
        "\\\"",
        "\\u",
        "\\u00e9",
        "\\ud83d",
        "\\n",
        "\\x",
        "0",
        "1",
        "12",
        "-",
        "+",
        ".",
        ".5",
        "e",
        "E",
        "e+1",
        "1E400",
        "true",
        "false",
        "null",
        "tru",
        "nul",
        " ",
        "\n",
        "\t",
        "\r",
        "\u{b}",
        "\0",
        "\u{feff}",
        "é",
        "😀",
        "{\"a\":1}",
        "[1,2]",
        "abcdefghijklmnop",
    ];

    #[test]
    fn texts_of_up_to_three_fragments_are_judged_as_by_serde_json() {
        assert_same(b"");
        for first in FRAGMENTS {
            assert_same(first.as_bytes());
            for second in FRAGMENTS {
                assert_same([first, second].concat().as_bytes());
                for third in FRAGMENTS {
                    let text = [first, second, third].concat();
                    assert_eq!(scan(text.as_bytes(), 1), reference(text.as_bytes()), "{text:?}");
                }
            }
        }
    }

    #[test]
    fn damage_to_each_byte_is_judged_as_by_serde_json() {
        let text = br#" {"a\u00e9\\":[1,-0.5e+3,0,{"":null}],"long text of more than eight bytes":true,"b":[[],{}]} "#;
        assert!(scan(text, 0).is_some());
        for at in 0..text.len() {
            for byte in 0..=0xff {
                let mut damaged = text.to_vec();
                damaged[at] = byte;
                assert_eq!(scan(&damaged, at), reference(&damaged), "{:?}", String::from_utf8_lossy(&damaged));
            }
            assert_same(&text[..at]);
        }
    }

    #[test]
    fn byte_order_mark_may_arrive_in_pieces() {
        assert_same("\u{feff}{}".as_bytes());
        assert_same(b"\xef\xbb{}");
        assert_same(b"\xef{}");
        assert_same(" \u{feff}{}".as_bytes());
    }

    #[test]
    fn depth_is_counted_up_to_its_limit() {
        for levels in [1, 2, MAX_DEPTH - 1, MAX_DEPTH] {
            assert_eq!(scan(nested(levels).as_bytes(), 1).unwrap().1, levels);
        }
        assert_eq!(scan(nested(MAX_DEPTH + 1).as_bytes(), 1), None);
        assert_eq!(scan(br#"{"a":[{"b":[]}],"c":{}}"#, 0).unwrap().1, 4);
    }

    proptest! {
        #[test]
        fn any_text_is_judged_as_by_serde_json(
            parts in proptest::collection::vec(proptest::sample::select(&FRAGMENTS[..]), 0..12),
            at in 0_usize..60,
        ) {
            let text = parts.concat();
            prop_assert_eq!(scan(text.as_bytes(), at), reference(text.as_bytes()), "{:?}", text);
        }

        #[test]
        fn any_bytes_in_a_string_are_judged_as_by_serde_json(
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
            at in 0_usize..60,
        ) {
            let text = [b"\"", bytes.as_slice(), b"\""].concat();
            prop_assert_eq!(scan(&text, at), reference(&text), "{:?}", text);
        }
    }
}
