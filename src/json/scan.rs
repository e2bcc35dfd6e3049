//! A check of JSON that takes a text in pieces, such as a body while it arrives: its grammar (RFC 8259), its depth, and
//! the place of its value. It keeps no more than its state.
//!
//! Whole tokens are read at once, and members of the most frequent form many at a time; a token that
//! goes on in the next piece is read byte by byte.
//!
//! It replaces the check by `serde_json`, which needs the whole text and has no bound on the depth of a raw value. It
//! accepts the same texts, as the tests show, and leaves the reason for a refusal to `serde_json`.

use std::ops::Range;

use super::token::{END, LOOKAHEAD, is_blank, name, scalar, short_members, text, without_blanks};
use super::{BYTE_ORDER_MARK, MAX_DEPTH};

/// The most bytes at the end of a piece whose tokens are read in a copy.
const TAIL: usize = 64;

/// A bit for each level.
const _: () = assert!(MAX_DEPTH <= 128);

/// Reads members of an object and the comma behind each. Stops behind the last one, and before a name or value that is not
/// read at once, such as an array or object. If the object is an element of an array, the objects behind it are read, too.
/// Sets `spaced` if there is white space between members, which the next ones are then expected to have, too.
fn members<'p>(mut state: State, mut rest: &'p [u8], is_element: bool, spaced: &mut bool) -> (State, &'p [u8]) {
    loop {
        if let [..=b' ', ..] = rest {
            *spaced = true;
            rest = without_blanks(rest);
        }
        let (after, has_next) =
            if *spaced { short_members::<true>(rest, is_element) } else { short_members::<false>(rest, is_element) };
        if !has_next {
            return (State::AfterValue, after);
        }
        if after.len() < rest.len() {
            (state, rest) = (State::Name, without_blanks(after));
        }
        let Some(value) = name(rest).map(without_blanks) else { return (state, rest) };
        let Some(after) = scalar(value).map(without_blanks) else { return (State::Value, value) };
        let [b',', next @ ..] = after else { return (State::AfterValue, after) };
        (state, rest) = (State::Name, next);
    }
}

/// Reads elements of an array, as [`members`] does.
fn elements(mut state: State, mut rest: &[u8]) -> (State, &[u8]) {
    loop {
        let Some(after) = scalar(rest).map(without_blanks) else { return (state, rest) };
        let [b',', next @ ..] = after else { return (State::AfterValue, after) };
        (state, rest) = (State::Value, without_blanks(next));
    }
}

/// The state of a check.
#[derive(Clone, Debug)]
pub(super) struct Scanner {
    state: State,
    /// Number of bytes before the current piece.
    seen: usize,
    /// Offsets of the value in the text.
    value: Range<usize>,
    /// A bit for each open array or object, the innermost one's being the lowest: whether it is an object.
    open: u128,
    /// Number of open arrays and objects.
    depth: usize,
    /// The greatest depth so far.
    deepest: usize,
}

/// The part of the grammar that the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The start of the text: a byte order mark of which this many bytes have been read, or a value.
    Start(u8),
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
    /// The rest of `true`, `false` or `null`, of which this many bytes have been read.
    Literal(Literal, u8),
    /// The text is no JSON, or too deep.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Literal {
    True,
    False,
    Null,
}

impl Literal {
    fn of(first: u8) -> Option<Self> {
        match first {
            b't' => Some(Self::True),
            b'f' => Some(Self::False),
            b'n' => Some(Self::Null),
            _ => None,
        }
    }

    fn text(self) -> &'static [u8] {
        match self {
            Self::True => b"true",
            Self::False => b"false",
            Self::Null => b"null",
        }
    }
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

impl State {
    /// Whether a token begins here: white space may precede it.
    fn is_between_tokens(self) -> bool {
        matches!(
            self,
            Self::Value
                | Self::FirstElement
                | Self::FirstName
                | Self::Name
                | Self::Colon
                | Self::AfterValue
                | Self::End
        )
    }
}

impl Default for Scanner {
    fn default() -> Self {
        Self { state: State::Start(0), seen: 0, value: 0..0, open: 0, depth: 0, deepest: 0 }
    }
}

impl Scanner {
    /// Checks the next piece of the text.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let mut state = self.state;
        let mut rest = piece;
        loop {
            if self.depth > 0 && state.is_between_tokens() {
                (state, rest) = self.whole_tokens(state, rest);
            }
            let Some((byte, after)) = rest.split_first() else { break };
            if state == State::Refused {
                break;
            }
            (state, rest) = self.step(state, *byte, rest, after, piece);
        }
        self.seen = self.seen.saturating_add(piece.len());
        self.state = state;
    }

    /// Reads tokens within an array or object. Stops at its end, and at a token that goes on in the next piece or is no
    /// JSON.
    fn whole_tokens<'p>(&mut self, state: State, rest: &'p [u8]) -> (State, &'p [u8]) {
        let (state, rest) = self.tokens(state, without_blanks(rest));
        // The last tokens of a piece are read in a copy, with bytes behind them that belong to no token.
        let mut last = [END; TAIL + LOOKAHEAD];
        let Some(copy) = last.get_mut(..rest.len()).filter(|copy| copy.len() <= TAIL && self.depth > 0) else {
            return (state, rest);
        };
        copy.copy_from_slice(rest);
        let (state, unread) = self.tokens(state, &last);
        let read = last.len().saturating_sub(unread.len());
        (state, rest.get(read..).unwrap_or_default())
    }

    /// Reads tokens within an array or object. Stops at its end, and at a token that is no JSON or is not followed by
    /// [`LOOKAHEAD`] bytes.
    fn tokens<'p>(&mut self, mut state: State, mut rest: &'p [u8]) -> (State, &'p [u8]) {
        let mut spaced = false;
        while self.depth > 0 {
            if let State::Value | State::FirstElement = state {
                match rest {
                    [b'{', after @ ..] => (state, rest) = (self.open(true), after),
                    [b'[', after @ ..] => {
                        (state, rest) = (self.open(false), without_blanks(after));
                        continue;
                    }
                    _ if !self.is_in_object() => (state, rest) = elements(state, rest),
                    _ => {
                        let Some(after) = scalar(rest) else { break };
                        (state, rest) = (State::AfterValue, without_blanks(after));
                    }
                }
            }
            if let State::Name | State::FirstName = state {
                (state, rest) = members(state, rest, self.depth > 1 && self.open & 2 == 0, &mut spaced);
            }
            match (state, rest) {
                (State::AfterValue | State::FirstName, [b'}', after @ ..]) if self.is_in_object() => {
                    (state, rest) = (self.close(), after);
                }
                (State::AfterValue | State::FirstElement, [b']', after @ ..]) if !self.is_in_object() => {
                    (state, rest) = (self.close(), after);
                }
                (State::AfterValue, [b',', ..]) | (State::Value | State::FirstElement, [b'{' | b'[', ..]) => {}
                _ => break,
            }
            // White space behind the whole value is no part of it.
            if self.depth == 0 {
                break;
            }
            rest = without_blanks(rest);
            if let (State::AfterValue, [b',', after @ ..]) = (state, rest) {
                state = if self.is_in_object() { State::Name } else { State::Value };
                rest = without_blanks(after);
            }
        }
        (state, rest)
    }

    /// Reads a byte, or a part of a token: `rest` begins with `byte`, and `after` follows it. Returns the next state and
    /// the unread part of the piece.
    fn step<'p>(&mut self, state: State, byte: u8, rest: &'p [u8], after: &'p [u8], piece: &[u8]) -> (State, &'p [u8]) {
        let next = match state {
            State::Text { is_name } => {
                let (length, end) = text(rest);
                let next = match end {
                    None => State::Text { is_name },
                    Some(b'"') if is_name => State::Colon,
                    Some(b'"') => State::AfterValue,
                    Some(b'\\') => State::Escape { is_name },
                    Some(_) => State::Refused,
                };
                return (next, rest.get(length..).unwrap_or_default());
            }
            State::Number(part) => match part.after(byte) {
                Some(part) => State::Number(part),
                // The byte belongs to the next state.
                None if part.is_complete() => return (State::AfterValue, rest),
                None => State::Refused,
            },
            State::AfterValue if self.depth == 0 => {
                self.value.end = self.offset(piece, rest);
                return (State::End, rest);
            }
            State::Start(0) if is_blank(byte) => State::Value,
            _ if is_blank(byte) && state.is_between_tokens() => state,
            State::Start(read) => match BYTE_ORDER_MARK.get(usize::from(read)) {
                Some(expected) if *expected == byte => {
                    let read = read.saturating_add(1);
                    if usize::from(read) == BYTE_ORDER_MARK.len() { State::Value } else { State::Start(read) }
                }
                _ if read == 0 => return (State::Value, rest),
                _ => State::Refused,
            },
            State::Value | State::FirstElement => {
                if self.depth == 0 {
                    self.value.start = self.offset(piece, rest);
                }
                self.value(byte)
            }
            State::FirstName | State::Name if byte == b'"' => State::Text { is_name: true },
            State::Colon if byte == b':' => State::Value,
            State::Escape { is_name } => match byte {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => State::Text { is_name },
                b'u' => State::Hex { missing: 4, is_name },
                _ => State::Refused,
            },
            State::Hex { missing, is_name } if byte.is_ascii_hexdigit() => match missing.saturating_sub(1) {
                0 => State::Text { is_name },
                missing => State::Hex { missing, is_name },
            },
            State::Literal(literal, read) if literal.text().get(usize::from(read)) == Some(&byte) => {
                let read = read.saturating_add(1);
                if usize::from(read) == literal.text().len() {
                    State::AfterValue
                } else {
                    State::Literal(literal, read)
                }
            }
            _ => State::Refused,
        };
        (next, after)
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
            _ => Literal::of(byte).map_or(State::Refused, |literal| State::Literal(literal, 1)),
        }
    }

    fn open(&mut self, is_object: bool) -> State {
        if self.depth == MAX_DEPTH {
            return State::Refused;
        }
        self.open = self.open << 1 | u128::from(is_object);
        self.depth = self.depth.saturating_add(1);
        self.deepest = self.deepest.max(self.depth);
        if is_object { State::FirstName } else { State::FirstElement }
    }

    fn close(&mut self) -> State {
        self.open >>= 1;
        self.depth = self.depth.saturating_sub(1);
        State::AfterValue
    }

    /// Whether the innermost open array or object is an object.
    fn is_in_object(&self) -> bool {
        self.open & 1 == 1
    }
}

#[cfg(test)]
mod tests;
