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
        match first(!blank(block)) {
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

/// Number of bytes that must follow so that [`short_members`] reads members in the first 64 of them.
const WINDOW: usize = 128;

/// Reads members in the most frequent form, as many as there are, with few operations that depend on each other: a name and a
/// scalar without escapes, sign or exponent, and a comma or brace behind them. The comma is read, too; the brace is not,
/// unless the object is an element of an array, and another object follows. Returns what follows, and whether that is a
/// name.
///
/// If the text is `SPACED`, one space may follow a colon, and any white space a scalar, comma or brace. Otherwise there is
/// none, and the members are read faster.
#[inline(never)]
pub(super) fn short_members<const SPACED: bool>(mut rest: &[u8], is_element: bool) -> (&[u8], bool) {
    while let Some(window) = rest.first_chunk() {
        let (mut read, mut ends) = (0, bits(window, special));
        let others = !bits(window, digit);
        let visible = if SPACED { !bits(window, blank) } else { u64::MAX };
        while let Some((end, later)) = short_member::<SPACED>(window, read, ends, others) {
            ends = later;
            read = match window.get(end..end.saturating_add(4)) {
                Some([b',', b'"', ..]) => end.saturating_add(1),
                Some([b',', b' ', b'"', ..]) if SPACED => end.saturating_add(2),
                Some(b"},{\"") if is_element => end.saturating_add(3),
                _ if SPACED => {
                    let Some((at, after)) = next(visible & from(end)) else { break };
                    // The next name begins here, if it does within the window. The bits of `visible` only confirm it, since
                    // this position is known earlier.
                    ends = without_controls(window, ends);
                    let (name, _) = next(ends).unwrap_or((WINDOW, 0));
                    match window.get(at) {
                        Some(b',') if next(after).is_some_and(|(at, _)| at == name) => name,
                        Some(b',') => at.saturating_add(1),
                        Some(b'}') if is_element && is_next_element(window, after, name) => name,
                        // The next object may begin behind the window: the next window begins with this member.
                        Some(b'}') if is_element && read > 0 => break,
                        Some(b'}') => return (rest.get(at..).unwrap_or_default(), false),
                        _ => break,
                    }
                }
                Some([b'}', ..]) => return (rest.get(end..).unwrap_or_default(), false),
                _ => break,
            };
        }
        if read == 0 {
            break;
        }
        rest = rest.get(read..).unwrap_or_default();
        if SPACED {
            rest = without_blanks(rest);
        }
    }
    (rest, true)
}

/// The bits of `ends` behind white space. Spaces have none.
#[inline]
fn without_controls(window: &[u8; WINDOW], mut ends: u64) -> u64 {
    while let Some((at, later)) = next(ends)
        && let Some(b'\n' | b'\t' | b'\r') = window.get(at)
    {
        ends = later;
    }
    ends
}

/// Whether a comma, a brace, and a name at this position are the next visible bytes.
#[inline]
fn is_next_element(window: &[u8; WINDOW], mut visible: u64, name: usize) -> bool {
    let mut position = |byte| {
        let (at, later) = next(visible)?;
        visible = later;
        (window.get(at) == Some(&byte)).then_some(at)
    };
    position(b',').is_some() && position(b'{').is_some() && position(b'"') == Some(name)
}

/// Reads a member at a position. `ends` has a bit for each later byte that may end a string, and `others` for each byte that
/// is no digit. Returns the position behind the member, and the bits of `ends` for what follows.
#[inline]
fn short_member<const SPACED: bool>(window: &[u8; WINDOW], at: usize, ends: u64, others: u64) -> Option<(usize, u64)> {
    let (quote, ends) = next(ends)?;
    let (colon, ends) = next(ends)?;
    if quote != at || window.get(at) != Some(&b'"') || window.get(colon..colon.saturating_add(2))? != b"\":" {
        return None;
    }
    let mut value = colon.saturating_add(2);
    if SPACED && window.get(value) == Some(&b' ') {
        value = value.saturating_add(1);
    }
    match window.get(value)? {
        b'"' => {
            let (_, ends) = next(ends)?;
            let (end, ends) = next(ends)?;
            (window.get(end) == Some(&b'"')).then_some((end.saturating_add(1), ends))
        }
        first @ b'0'..=b'9' => Some((short_number(window, value, *first, others)?, ends)),
        _ => match u32::from_ne_bytes(*window.get(value..)?.first_chunk()?) {
            TRUE | NULL => Some((value.saturating_add(4), ends)),
            _ if window.get(value..value.saturating_add(5))? == b"false" => Some((value.saturating_add(5), ends)),
            _ => None,
        },
    }
}

/// The position behind a number that begins with this digit.
#[inline]
fn short_number(window: &[u8; WINDOW], at: usize, first: u8, others: u64) -> Option<usize> {
    let (end, _) = next(others & from(at))?;
    if first == b'0' && end > at.saturating_add(1) {
        return None;
    }
    if window.get(end) != Some(&b'.') {
        return Some(end);
    }
    let fraction = end.saturating_add(1);
    let (end, _) = next(others & from(fraction))?;
    (end > fraction).then_some(end)
}

/// The position of the lowest bit, and the bits above it.
#[inline]
fn next(bits: u64) -> Option<(usize, u64)> {
    if bits == 0 {
        return None;
    }
    // The mask tells the compiler that this is a position in the window.
    Some((usize::try_from(bits.trailing_zeros() & 63).ok()?, bits & bits.wrapping_sub(1)))
}

/// The bits of the bytes from a position on.
#[inline]
fn from(at: usize) -> u64 {
    u32::try_from(at).ok().and_then(|at| u64::MAX.checked_shl(at)).unwrap_or_default()
}

/// A bit for each of the first 64 bytes of a window.
#[inline]
fn bits(window: &[u8; WINDOW], find: impl Fn(&[u8; 16]) -> u8x16) -> u64 {
    let (blocks, _) = window.as_chunks();
    let [first, second, third, fourth, ..] = blocks else { return 0 };
    let bits = |block| u64::from(find(block).to_bitmask());
    bits(first) | bits(second) << 16 | bits(third) << 32 | bits(fourth) << 48
}

/// Reads a string, a number, `true`, `false` or `null`.
#[inline]
pub(super) fn scalar(text: &[u8]) -> Option<&[u8]> {
    match text {
        [b'"', after @ ..] => string(after),
        [b'-' | b'0'..=b'9', ..] => number(text),
        [b'f', ..] => text.strip_prefix(b"false"),
        _ => {
            let (word, after) = text.split_first_chunk()?;
            matches!(u32::from_ne_bytes(*word), TRUE | NULL).then_some(after)
        }
    }
}

const TRUE: u32 = u32::from_ne_bytes(*b"true");
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
    after.first().is_some_and(|byte| *byte != END).then_some(after)
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

/// White space.
#[inline]
fn blank(block: &[u8; 16]) -> u8x16 {
    let block = u8x16::new(*block);
    let is = |byte| block.simd_eq(u8x16::splat(byte));
    // This maps the tabulator, 0x09, to the carriage return, 0x0d.
    let tabs_and_returns = (block | u8x16::splat(0x04)).simd_eq(u8x16::splat(b'\r'));
    is(b' ') | is(b'\n') | tabs_and_returns
}

/// The digits.
#[inline]
fn digit(block: &[u8; 16]) -> u8x16 {
    // This maps the digits, 0x30 to 0x39, to their values, and other bytes to greater ones.
    (u8x16::new(*block) ^ u8x16::splat(0x30)).simd_le(u8x16::splat(9))
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
