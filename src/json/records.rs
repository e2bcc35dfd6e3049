//! An array of objects, read in one pass: a text that is parsed for each request.

use serde_json::value::RawValue;

use super::checked::raw_value;
use super::{MAX_DEPTH, without_mark};

/// The values of an object's members, in the order of the known names.
pub type Record<'a, const N: usize> = [Option<&'a RawValue>; N];

/// Reads an array of objects whose members have these names. `read` makes something of each, given its index.
///
/// Returns `None` if the text is anything else: another name, a name twice or with an escape, a value deeper than
/// [`MAX_DEPTH`], or no JSON. [`value`](super::value) and [`Reader::known_members`](super::Reader::known_members) read the
/// same from each text for which it is not `None`, and tell what is wrong with the others.
pub fn records<'a, T, const N: usize>(
    text: &'a str,
    names: &[&str; N],
    mut read: impl FnMut(usize, Record<'a, N>) -> T,
) -> Option<Vec<T>> {
    let text = without_mark(text);
    let mut cursor = Cursor { text, rest: text.as_bytes() };
    let mut records = Vec::new();
    cursor.take(b'[')?;
    cursor.each(b']', |cursor| {
        let mut record = [None; N];
        cursor.take(b'{')?;
        cursor.each(b'}', |cursor| {
            let name = cursor.name()?;
            let slot = names.iter().position(|known| *known == name).and_then(|at| record.get_mut(at))?;
            slot.replace(cursor.value(MAX_DEPTH.saturating_sub(2))?).is_none().then_some(())
        })?;
        records.push(read(records.len(), record));
        Some(())
    })?;
    cursor.peek().is_none().then_some(records)
}

/// A position in a text that may be JSON. Each method returns `None` if something else follows.
struct Cursor<'a> {
    text: &'a str,
    /// The bytes of the text that follow.
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// The text from an offset to the position.
    fn since(&self, start: usize) -> Option<&'a str> {
        self.text.get(start..self.at())
    }

    /// The offset of the position.
    #[inline]
    fn at(&self) -> usize {
        self.text.len().saturating_sub(self.rest.len())
    }

    /// The next byte that isn't white space.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        while let [b' ' | b'\n' | b'\t' | b'\r', after @ ..] = self.rest {
            self.rest = after;
        }
        self.rest.first().copied()
    }

    /// Takes this byte, and the white space before it.
    #[inline]
    fn take(&mut self, byte: u8) -> Option<()> {
        self.peek()?;
        match self.rest {
            [first, after @ ..] if *first == byte => {
                self.rest = after;
                Some(())
            }
            _ => None,
        }
    }

    /// Takes the parts of an array or object whose first byte is taken, which a comma separates.
    #[inline]
    fn each(&mut self, close: u8, mut part: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        if self.take(close).is_some() {
            return Some(());
        }
        loop {
            part(self)?;
            match (self.peek()?, self.rest) {
                (b',', [_, after @ ..]) => self.rest = after,
                _ => return self.take(close),
            }
        }
    }

    /// Takes a value with at most this many levels.
    fn value(&mut self, levels: usize) -> Option<&'a RawValue> {
        self.peek()?;
        let start = self.at();
        self.skip_value(levels)?;
        raw_value(self.since(start)?)
    }

    fn skip_value(&mut self, levels: usize) -> Option<()> {
        match (self.peek()?, self.rest) {
            (b'"', [_, after @ ..]) => {
                self.rest = after;
                self.string()
            }
            (b'[', [_, after @ ..]) => {
                self.rest = after;
                let levels = levels.checked_sub(1)?;
                self.each(b']', |cursor| cursor.skip_value(levels))
            }
            (b'{', [_, after @ ..]) => {
                self.rest = after;
                let levels = levels.checked_sub(1)?;
                self.each(b'}', |cursor| cursor.name().and_then(|_| cursor.skip_value(levels)))
            }
            _ => {
                let is_end = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\t' | b'\r');
                let start = self.at();
                self.rest = self.rest.get(self.rest.iter().position(is_end)?..)?;
                serde_json::from_str::<&RawValue>(self.since(start)?).ok().map(drop)
            }
        }
    }

    /// Takes a name and the colon behind it. Returns the name as it is written, without its quotation marks.
    #[inline]
    fn name(&mut self) -> Option<&'a str> {
        self.take(b'"')?;
        let start = self.at();
        self.string()?;
        let name = self.text.get(start..self.at().checked_sub(1)?)?;
        self.take(b':').map(|()| name)
    }

    /// Takes a string whose first quotation mark is taken. Most are short.
    fn string(&mut self) -> Option<()> {
        while let [byte, after @ ..] = self.rest {
            self.rest = after;
            match byte {
                b'"' => return Some(()),
                b'\\' => self.escape()?,
                0..=0x1f => return None,
                _ => {}
            }
        }
        None
    }

    /// Takes an escape whose backslash is taken.
    fn escape(&mut self) -> Option<()> {
        self.rest = match self.rest {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', after @ ..] => after,
            [b'u', a, b, c, d, after @ ..] if [a, b, c, d].into_iter().all(u8::is_ascii_hexdigit) => after,
            _ => return None,
        };
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Reader, elements, value};
    use super::*;

    const NAMES: [&str; 2] = ["a", "bc"];

    fn read(text: &str) -> Option<Vec<Record<'_, 2>>> {
        records(text, &NAMES, |_, record| record)
    }

    fn texts(records: &[Record<'_, 2>]) -> Vec<[Option<String>; 2]> {
        records.iter().map(|record| record.map(|value| value.map(|raw| raw.get().to_owned()))).collect()
    }

    /// The same, step by step.
    fn step_by_step(text: &str) -> Option<Vec<Record<'_, 2>>> {
        let elements = elements(value(text.as_bytes()).ok()?)?;
        elements.into_iter().map(|raw| Reader::root().known_members(raw, NAMES).ok()).collect()
    }

    /// The same without a name that has an escape, which is left to the reader.
    fn unescaped(text: &str) -> Option<Vec<[Option<String>; 2]>> {
        let records = step_by_step(text)?;
        let elements = elements(value(text.as_bytes()).ok()?)?;
        let mut names = elements.into_iter().filter_map(super::super::members).flatten().map(|(name, _)| name.get());
        (!names.any(|name| name.contains('\\'))).then(|| texts(&records))
    }

    #[test]
    fn regular_text_is_read() {
        for (text, count) in [
            ("[]", 0),
            (" [ { } , {\"a\" : 1}]\n", 2),
            ("\u{feff}[{\"a\":1}]", 1),
            (r#"[{"bc":[{"x":"\ud800\n"}],"a":null},{"a":"\u00e9"}]"#, 2),
            (r#"[{"a":-1.50E+400 ,"bc":[true,false,0,[],{}]}]"#, 1),
        ] {
            let records = read(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(records.len(), count, "{text}");
            assert_eq!(Some(texts(&records)), step_by_step(text).as_deref().map(texts), "{text}");
        }
    }

    #[test]
    fn irregular_text_is_left_to_the_reader() {
        let nested = |levels| format!(r#"[{{"a":{}{}}}]"#, "[".repeat(levels), "]".repeat(levels));
        for text in [
            "",
            "[",
            "{}",
            "[1]",
            "[{}]x",
            "[{},]",
            r#"[{"a":1,"a":2}]"#,
            r#"[{"b":1}]"#,
            r#"[{"\u0061":1}]"#,
            r#"[{"a":01}]"#,
            r#"[{"a":tru}]"#,
            r#"[{"a":"\x"}]"#,
            r#"[{"a":"\u00g0"}]"#,
            "[{\"a\":\"\n\"}]",
            r#"[{"a":[1}]"#,
            r#"[{"a":{1:1}}]"#,
            r#"[{"a" 1}]"#,
            r#"[{"a":1,}]"#,
            r#"[{"a":1 1}]"#,
            r#"[{"a":}]"#,
            &nested(MAX_DEPTH - 1),
        ] {
            assert!(read(text).is_none(), "{text}");
        }
        assert!(read(&nested(MAX_DEPTH - 2)).is_some());
    }

    /// Fragments of JSON, which make many texts that are almost right.
    const FRAGMENTS: [&str; 24] = [
        "[",
        "]",
        "{",
        "}",
        "{}",
        ",",
        ":",
        "\"a\"",
        "\"bc\"",
        "\"a\":1",
        "\"bc\":[",
        "\"\\u0061\"",
        "\"\\",
        "n",
        "1",
        "-",
        ".5",
        "e9",
        "true",
        "null",
        " ",
        "\"",
        "é",
        "\u{feff}",
    ];

    proptest! {
        /// One pass reads what the reader reads step by step, and nothing else.
        #[test]
        fn both_ways_agree(
            parts in proptest::collection::vec(proptest::sample::select(&FRAGMENTS[..]), 0..8),
            is_framed in any::<bool>(),
        ) {
            let parts = parts.concat();
            let text = if is_framed { format!("[{{{parts}}}]") } else { parts };
            let records = read(&text);
            prop_assert_eq!(records.as_deref().map(texts), unescaped(&text), "{}", text);
        }

        #[test]
        fn damaged_text_agrees(at in 0_usize..64, byte in 0_u8..128) {
            let mut text = br#"[{"a":[1,{"x":"y\\u00e9"}],"bc":"z"}, {"bc":-0.5e1},{"a":true}]"#.to_vec();
            if let Some(old) = text.get_mut(at) {
                *old = byte;
            }
            let text = String::from_utf8(text).unwrap();
            let records = read(&text);
            prop_assert_eq!(records.as_deref().map(texts), unescaped(&text), "{}", text);
        }
    }
}
