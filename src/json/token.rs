//! Whole tokens of JSON (RFC 8259) at the start of a text. Each function returns what follows the token; `None` if the
//! token doesn't end in the text, or is not of the form that it reads.

pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\t' | b'\r')
}

/// The text behind the white space at its start.
pub(super) fn without_blanks(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\n' | b'\t' | b'\r', after @ ..] = text {
        text = after;
    }
    text
}

/// Reads a name and the colon behind it.
pub(super) fn name(text: &[u8]) -> Option<&[u8]> {
    let [b'"', after @ ..] = text else { return None };
    match without_blanks(string(after)?) {
        [b':', after @ ..] => Some(after),
        _ => None,
    }
}

/// Reads a string, a number, `true`, `false` or `null`.
pub(super) fn scalar(text: &[u8]) -> Option<&[u8]> {
    match text {
        [b'"', after @ ..] => string(after),
        [b'-' | b'0'..=b'9', ..] => number(text),
        [b't', b'r', b'u', b'e', after @ ..]
        | [b'f', b'a', b'l', b's', b'e', after @ ..]
        | [b'n', b'u', b'l', b'l', after @ ..] => Some(after),
        _ => None,
    }
}

/// Reads a string behind its first quotation mark.
fn string(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        rest = match without_plain(rest) {
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

/// Reads a number without an exponent.
fn number(text: &[u8]) -> Option<&[u8]> {
    let integer = text.strip_prefix(b"-").unwrap_or(text);
    let after = match integer {
        [b'0', after @ ..] => after,
        [b'1'..=b'9', after @ ..] => digits(after),
        _ => return None,
    };
    let after = match after {
        [b'.', b'0'..=b'9', after @ ..] => digits(after),
        after => after,
    };
    // More digits may be in the next piece.
    matches!(after, [b',' | b'}' | b']' | b' ' | b'\n' | b'\t' | b'\r', ..]).then_some(after)
}

fn digits(mut text: &[u8]) -> &[u8] {
    while let [b'0'..=b'9', after @ ..] = text {
        text = after;
    }
    text
}

/// The text behind the plain characters of a string: at a quotation mark, a backslash, or a control character, which is not
/// allowed. Empty if they go on in the next piece.
fn without_plain(mut text: &[u8]) -> &[u8] {
    // Eight bytes at a time.
    while let Some((bytes, after)) = text.split_first_chunk::<8>() {
        let special = special(u64::from_le_bytes(*bytes));
        if special != 0 {
            // Exact for the first of them.
            let at = usize::try_from(special.trailing_zeros() / 8).unwrap_or_default();
            return text.get(at..).unwrap_or_default();
        }
        text = after;
    }
    while let [byte, after @ ..] = text {
        if matches!(byte, b'"' | b'\\' | 0..=0x1f) {
            break;
        }
        text = after;
    }
    text
}

/// Sets the highest bit of each byte that is a quotation mark, a backslash or a control character; perhaps also that of
/// bytes after it.
fn special(word: u64) -> u64 {
    /// Each byte of a word has this value.
    const fn all(byte: u8) -> u64 {
        u64::from_le_bytes([byte; 8])
    }
    let zeros = |word: u64| word.wrapping_sub(all(1)) & !word & all(0x80);
    let controls = word.wrapping_sub(all(b' ')) & !word & all(0x80);
    controls | zeros(word ^ all(b'"')) | zeros(word ^ all(b'\\'))
}

/// The length of a string's plain characters, including the byte that ends them, and this byte. `None` if they go on in the
/// next piece.
pub(super) fn text(piece: &[u8]) -> (usize, Option<u8>) {
    match without_plain(piece) {
        [] => (piece.len(), None),
        rest @ [end, ..] => (piece.len().saturating_sub(rest.len()).saturating_add(1), Some(*end)),
    }
}
