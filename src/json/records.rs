//! An array of objects, read in one pass: a text that is parsed for each request.

use serde_json::value::RawValue;

use super::checked::raw_value;
use super::{MAX_DEPTH, scan, without_mark};

/// The values of an object's members, in the order of the known names.
pub type Record<'a, const N: usize> = [Option<&'a RawValue>; N];

/// Reads an array of objects whose members have these names.
///
/// Returns `None` if the text is anything else: another name, a name twice or with an escape, a value deeper than
/// [`MAX_DEPTH`], or no JSON. [`value`](super::value) and [`Reader::known_members`](super::Reader::known_members) read the
/// same from each text for which it is not `None`, and tell what is wrong with the others.
pub fn records<'a, const N: usize>(text: &'a str, names: &[&str; N]) -> Option<Vec<Record<'a, N>>> {
    let mut cursor = Cursor { text: without_mark(text), at: 0 };
    let mut records = Vec::new();
    cursor.each(b'[', b']', |cursor| {
        let mut record = [None; N];
        cursor.each(b'{', b'}', |cursor| {
            let name = cursor.name()?;
            let slot = names.iter().position(|known| *known == name).and_then(|at| record.get_mut(at))?;
            let value = cursor.raw_value(MAX_DEPTH.saturating_sub(2))?;
            slot.replace(value).is_none().then_some(())
        })?;
        records.push(record);
        Some(())
    })?;
    cursor.peek().is_none().then_some(records)
}

/// A position in a text that may be JSON. Each method returns `None` if something else follows.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a [u8] {
        self.text.as_bytes().get(self.at..).unwrap_or_default()
    }

    /// The next byte that isn't white space.
    fn peek(&mut self) -> Option<u8> {
        let mut rest = self.rest();
        while let [b' ' | b'\n' | b'\t' | b'\r', after @ ..] = rest {
            rest = after;
        }
        self.at = self.text.len().saturating_sub(rest.len());
        rest.first().copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.skip(1))
    }

    fn skip(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes);
    }

    /// Reads the parts of an array or object, which a comma separates.
    fn each(&mut self, open: u8, close: u8, mut part: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(open)?;
        if self.take(close).is_some() {
            return Some(());
        }
        loop {
            part(self)?;
            if self.take(b',').is_none() {
                return self.take(close);
            }
        }
    }

    /// Reads a value with at most this many levels.
    fn raw_value(&mut self, levels: usize) -> Option<&'a RawValue> {
        self.peek()?;
        let start = self.at;
        self.value(levels)?;
        raw_value(self.text.get(start..self.at)?)
    }

    fn value(&mut self, levels: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.string(),
            b'[' => {
                let levels = levels.checked_sub(1)?;
                self.each(b'[', b']', |cursor| cursor.value(levels))
            }
            b'{' => {
                let levels = levels.checked_sub(1)?;
                self.each(b'{', b'}', |cursor| cursor.name().and_then(|_| cursor.value(levels)))
            }
            _ => {
                let is_end = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b' ' | b'\n' | b'\t' | b'\r');
                let rest = self.text.get(self.at..)?;
                let scalar = rest.get(..rest.bytes().position(|byte| is_end(&byte))?)?;
                self.skip(scalar.len());
                serde_json::from_str::<&RawValue>(scalar).ok().map(drop)
            }
        }
    }

    /// Reads a name as it is written, without its quotation marks, and the colon behind it.
    fn name(&mut self) -> Option<&'a str> {
        self.peek()?;
        let start = self.at;
        self.string()?;
        let name = self.text.get(start..self.at)?.strip_prefix('"')?.strip_suffix('"')?;
        self.take(b':').map(|()| name)
    }

    fn string(&mut self) -> Option<()> {
        self.take(b'"')?;
        loop {
            let (length, end) = scan::text(self.rest());
            self.skip(length);
            match end? {
                b'"' => return Some(()),
                b'\\' => self.escape()?,
                _ => return None,
            }
        }
    }

    /// Reads an escape behind its backslash.
    fn escape(&mut self) -> Option<()> {
        let length = match self.rest() {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => 1,
            [b'u', digits @ ..] if digits.get(..4)?.iter().all(u8::is_ascii_hexdigit) => 5,
            _ => return None,
        };
        self.skip(length);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Reader, elements, value};
    use super::*;

    const NAMES: [&str; 2] = ["a", "bc"];

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
            let records = records(text, &NAMES).unwrap_or_else(|| panic!("{text}"));
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
            assert!(records(text, &NAMES).is_none(), "{text}");
        }
        assert!(records(&nested(MAX_DEPTH - 2), &NAMES).is_some());
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
            let records = records(&text, &NAMES);
            prop_assert_eq!(records.as_deref().map(texts), unescaped(&text), "{}", text);
        }

        #[test]
        fn damaged_text_agrees(at in 0_usize..64, byte in 0_u8..128) {
            let mut text = br#"[{"a":[1,{"x":"y\\u00e9"}],"bc":"z"}, {"bc":-0.5e1},{"a":true}]"#.to_vec();
            if let Some(old) = text.get_mut(at) {
                *old = byte;
            }
            let text = String::from_utf8(text).unwrap();
            let records = records(&text, &NAMES);
            prop_assert_eq!(records.as_deref().map(texts), unescaped(&text), "{}", text);
        }
    }
}
