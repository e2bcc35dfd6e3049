//! Whole tokens of JSON (RFC 8259) at the start of a text. Each function returns what follows the token; `None` if the
//! token is not of the form that it reads, or if fewer than [`LOOKAHEAD`] bytes follow it in the text.
//!
//! A text is looked at 16 bytes at a time: a comparison makes a bit of each byte, the first byte's bit being the lowest.

use wide::u8x16;

/// A byte that may follow the last bytes of a piece, and that no token has. A number isn't read if this follows it, since
/// more digits may be in the next piece.
pub(super) const END: u8 = 0;

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
    let after = string(after)?;
    match after {
        [b':', after @ ..] => Some(after),
        _ => without_blanks(after).strip_prefix(b":"),
    }
}

/// Number of bytes that have to begin with a member so that [`short_member`] reads it.
const WINDOW: usize = 128;

/// Reads a member in the most frequent form, with few comparisons: a name and a scalar of at most 15 bytes each, without
/// escapes, sign or exponent, and with at most one space, behind the colon. A comma behind it is read, too; the result says so. Otherwise, a closing brace or a line break follows.
#[inline]
pub(super) fn short_member(text: &[u8]) -> Option<(&[u8], bool)> {
    let window: &[u8; WINDOW] = text.first_chunk()?;
    let [b'"', ..] = window else { return None };
    let colon = plain_end(window, 1)?;
    if window.get(colon..colon.saturating_add(2))? != b"\":" {
        return None;
    }
    let blanks = usize::from(window.get(colon.saturating_add(2)) == Some(&b' '));
    let value = colon.saturating_add(2).saturating_add(blanks);
    let end = match window.get(value)? {
        b'"' => {
            let end = plain_end(window, value.saturating_add(1))?;
            window.get(end).filter(|byte| **byte == b'"')?;
            end.saturating_add(1)
        }
        digit @ b'0'..=b'9' => short_number(window, value, *digit)?,
        _ => match u32::from_ne_bytes(*window.get(value..)?.first_chunk()?) {
            TRUE | NULL => value.saturating_add(4),
            FALS if window.get(value.saturating_add(4)) == Some(&b'e') => value.saturating_add(5),
            _ => return None,
        },
    };
    let byte = *window.get(end)?;
    if byte == b',' {
        return Some((text.get(end.saturating_add(1)..)?, true));
    }
    matches!(byte, b'}' | b'\n').then_some((text.get(end..)?, false))
}

/// The position of the first of 16 bytes from a position on that ends the plain characters of a string; if there is none,
/// the position behind them.
#[inline]
fn plain_end(window: &[u8; WINDOW], at: usize) -> Option<usize> {
    let ends = special(block(window, at)?).to_bitmask();
    Some(at.saturating_add(run(!ends)))
}

/// The position behind a number of at most 15 digits, without a sign or an exponent.
#[inline]
fn short_number(window: &[u8; WINDOW], at: usize, first: u8) -> Option<usize> {
    let digits = digit(block(window, at)?).to_bitmask();
    let integer = run(digits);
    if first == b'0' && integer > 1 {
        return None;
    }
    let end = at.saturating_add(integer);
    if window.get(end) != Some(&b'.') {
        return Some(end);
    }
    let fraction = run(digits >> integer >> 1);
    if fraction == 0 { None } else { Some(end.saturating_add(1).saturating_add(fraction)) }
}

/// The 16 bytes from a position on.
#[inline]
fn block(window: &[u8; WINDOW], at: usize) -> Option<&[u8; 16]> {
    window.get(at..at.saturating_add(16))?.try_into().ok()
}

/// The number of ones at the low end of 16 bits.
#[inline]
fn run(bits: u32) -> usize {
    usize::try_from((!bits | 1 << 16).trailing_zeros()).unwrap_or_default()
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
            matches!(u32::from_ne_bytes(*word), TRUE | NULL).then_some(after)
        }
    }
}

const TRUE: u32 = u32::from_ne_bytes(*b"true");
const FALS: u32 = u32::from_ne_bytes(*b"fals");
const NULL: u32 = u32::from_ne_bytes(*b"null");

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
    (after.first() != Some(&END)).then_some(after)
}

/// Reads at least one digit.
#[inline]
fn digits(text: &[u8]) -> Option<&[u8]> {
    let mut rest = text;
    loop {
        let (block, after) = rest.split_first_chunk()?;
        match first(!digit(block)) {
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
    // This maps the quotation mark, 0x22, to 0x20, and the control characters to each other.
    let quotes_and_controls = (block ^ u8x16::splat(0x02)).simd_le(u8x16::splat(0x20));
    quotes_and_controls | block.simd_eq(u8x16::splat(b'\\'))
}

/// The digits.
#[inline]
fn digit(block: &[u8; 16]) -> u8x16 {
    (u8x16::new(*block) - u8x16::splat(b'0')).simd_le(u8x16::splat(9))
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
