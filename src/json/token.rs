//! Whole tokens of JSON (RFC 8259) at the start of a text. Each function returns what follows the token; `None` if the
//! token is not of the form that it reads, or if fewer than [`LOOKAHEAD`] bytes follow it in the text.
//!
//! A text is looked at 16 bytes at a time: a comparison makes a bit of each byte, the first byte's bit being the lowest.

use wide::u8x16;

/// Number of bytes that may have to follow a token so that it is read here. They may be anything.
pub(super) const LOOKAHEAD: usize = 16;

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\t' | b'\r')
}

/// The text behind the white space at its start.
#[inline]
pub(super) fn without_blanks(text: &[u8]) -> &[u8] {
    match text {
        [..=b' ', after @ ..] => behind_blanks(text, after),
        _ => text,
    }
}

/// [`without_blanks`] of a text that may begin with some; `after` is the text without its first byte.
#[inline(never)]
fn behind_blanks<'t>(mut text: &'t [u8], after: &'t [u8]) -> &'t [u8] {
    // The blank behind a colon or a comma is the most frequent one.
    if let ([b' ', ..], [b'!'..=0xff, ..]) = (text, after) {
        return after;
    }
    while let Some((block, after)) = text.split_first_chunk() {
        let block = u8x16::new(*block);
        let is = |byte| block.simd_eq(u8x16::splat(byte));
        let others = !(is(b' ') | is(b'\n') | is(b'\t') | is(b'\r'));
        match first(others) {
            Some(at) => return text.get(at..).unwrap_or_default(),
            None => text = after,
        }
    }
    while let [b' ' | b'\n' | b'\t' | b'\r', after @ ..] = text {
        text = after;
    }
    text
}

/// Reads a name and the colon behind it.
#[inline]
pub(super) fn name(text: &[u8]) -> Option<&[u8]> {
    let [b'"', after @ ..] = text else { return None };
    match without_blanks(string(after)?) {
        [b':', after @ ..] => Some(after),
        _ => None,
    }
}

/// Reads a string, a number, `true`, `false` or `null`.
#[inline]
pub(super) fn scalar(text: &[u8]) -> Option<&[u8]> {
    match text {
        [b'"', after @ ..] => string(after),
        [b'-' | b'0'..=b'9', ..] => number(text),
        [b'f', after @ ..] => after.strip_prefix(b"alse"),
        _ => {
            let (word, after) = text.split_first_chunk()?;
            matches!(word, b"true" | b"null").then_some(after)
        }
    }
}

/// Reads a string behind its first quotation mark.
#[inline]
fn string(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        let (block, after) = rest.split_first_chunk()?;
        let Some(at) = first(special(block)) else {
            rest = after;
            continue;
        };
        rest = match rest.get(at..)? {
            [b'"', after @ ..] => return Some(after),
            [b'\\', b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', after @ ..] => after,
            [b'\\', b'u', digits @ ..] => {
                let (digits, after) = digits.split_first_chunk::<4>()?;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(after)?
            }
            _ => return None,
        };
    }
}

/// Reads a number.
#[inline]
fn number(text: &[u8]) -> Option<&[u8]> {
    let integer = text.strip_prefix(b"-").unwrap_or(text);
    let mut after = match integer {
        [b'0', after @ ..] => after,
        _ => digits(integer)?,
    };
    if let [b'.', fraction @ ..] = after {
        after = digits(fraction)?;
    }
    if let [b'e' | b'E', exponent @ ..] = after {
        after = match exponent {
            [b'+' | b'-', exponent @ ..] => digits(exponent)?,
            exponent => digits(exponent)?,
        };
    }
    // More digits may be in the next piece.
    matches!(after, [b',' | b'}' | b']' | b' ' | b'\n' | b'\t' | b'\r', ..]).then_some(after)
}

/// Reads at least one digit.
#[inline]
fn digits(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    loop {
        let (block, after) = rest.split_first_chunk()?;
        let value = u8x16::new(*block) - u8x16::splat(b'0');
        match first(!value.simd_le(u8x16::splat(9))) {
            Some(0) if rest.len() == text.len() => return None,
            Some(at) => return rest.get(at..),
            None => rest = after,
        }
    }
}

/// The bytes that end the plain characters of a string: quotation marks, backslashes, and control characters, which are
/// not allowed.
#[inline]
fn special(block: &[u8; 16]) -> u8x16 {
    let block = u8x16::new(*block);
    let is = |byte| block.simd_eq(u8x16::splat(byte));
    is(b'"') | is(b'\\') | block.simd_le(u8x16::splat(0x1f))
}

/// The position of the first byte that a comparison has found.
#[inline]
fn first(found: u8x16) -> Option<usize> {
    let bits = found.to_bitmask();
    if bits == 0 { None } else { usize::try_from(bits.trailing_zeros()).ok() }
}

/// The length of a string's plain characters, including the byte that ends them, and this byte. `None` if they go on in the
/// next piece.
pub(super) fn text(piece: &[u8]) -> (usize, Option<u8>) {
    let mut rest = piece;
    while let Some((block, after)) = rest.split_first_chunk() {
        if let Some(at) = first(special(block)) {
            rest = rest.get(at..).unwrap_or_default();
            break;
        }
        rest = after;
    }
    while let [byte, after @ ..] = rest {
        if matches!(byte, b'"' | b'\\' | 0..=0x1f) {
            return (piece.len().saturating_sub(after.len()), Some(*byte));
        }
        rest = after;
    }
    (piece.len(), None)
}
