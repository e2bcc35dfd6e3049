//! An array of objects, read in one pass: a text that is parsed for each request.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{MAX_DEPTH, without_mark};

/// The values of an object's members, in the order of the known names.
pub type Record<'a, const N: usize> = [Option<&'a RawValue>; N];

/// Reads an array of objects whose members have these names.
///
/// Returns `None` if the text is anything else, or may be: another name, a name twice, a name with an escape, or so many
/// brackets that it may be nested deeper than [`MAX_DEPTH`]. [`value`](super::value) and
/// [`Reader::known_members`](super::Reader::known_members) read the same from each text for which it is not `None`, and
/// tell what is wrong with the others.
pub fn records<'a, const N: usize>(text: &'a str, names: &[&str; N]) -> Option<Vec<Record<'a, N>>> {
    let mut deserializer = serde_json::Deserializer::from_str(without_mark(text));
    let records = deserializer.deserialize_seq(Array(names)).ok()?;
    deserializer.end().ok()?;
    Some(records)
}

/// The array.
struct Array<'n, const N: usize>(&'n [&'n str; N]);

impl<'de, const N: usize> Visitor<'de> for Array<'_, N> {
    type Value = Vec<Record<'de, N>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut records = Vec::new();
        while let Some(record) = array.next_element_seed(Object(self.0))? {
            records.push(record);
        }
        Ok(records)
    }
}

/// An element.
struct Object<'n, const N: usize>(&'n [&'n str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for Object<'_, N> {
    type Value = Record<'de, N>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for Object<'_, N> {
    type Value = Record<'de, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut record = [None; N];
        // A name with an escape can't be borrowed.
        while let Some(name) = object.next_key::<&str>()? {
            let value: &RawValue = object.next_value()?;
            let known = self.0.iter().position(|known| *known == name);
            match known.and_then(|at| record.get_mut(at)) {
                Some(slot @ None) if is_shallow(value) => *slot = Some(value),
                _ => return Err(A::Error::custom("another name, or a deep value")),
            }
        }
        Ok(record)
    }
}

/// Whether a value in an object in an array is certainly within the limit: each level takes a bracket and its
/// counterpart.
fn is_shallow(value: &RawValue) -> bool {
    let is_opening = |byte: &u8| matches!(byte, b'{' | b'[');
    value.get().len() < MAX_DEPTH || value.get().bytes().filter(is_opening).count() <= MAX_DEPTH.saturating_sub(2)
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

    #[test]
    fn regular_text_is_read() {
        for (text, count) in [
            ("[]", 0),
            (" [ { } , {\"a\" : 1}]\n", 2),
            ("\u{feff}[{\"a\":1}]", 1),
            (r#"[{"bc":[{"x":"\ud800"}],"a":null},{"a":"\u00e9"}]"#, 2),
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
            &nested(MAX_DEPTH - 1),
        ] {
            assert!(records(text, &NAMES).is_none(), "{text}");
        }
        assert!(records(&nested(MAX_DEPTH - 2), &NAMES).is_some());
    }

    /// Fragments of JSON, which make many texts that are almost right.
    const FRAGMENTS: [&str; 16] = [
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
        "\"\\u0061\"",
        "1",
        "[[]]",
        " ",
        "\"",
        "\u{feff}",
    ];

    proptest! {
        /// Whatever is read in one pass is what the reader reads step by step.
        #[test]
        fn both_ways_agree(
            parts in proptest::collection::vec(proptest::sample::select(&FRAGMENTS[..]), 0..8),
            is_framed in any::<bool>(),
        ) {
            let parts = parts.concat();
            let text = if is_framed { format!("[{{{parts}}}]") } else { parts };
            if let Some(records) = records(&text, &NAMES) {
                prop_assert_eq!(Some(texts(&records)), step_by_step(&text).as_deref().map(texts), "{}", text);
            }
        }

        #[test]
        fn damaged_text_agrees(at in 0_usize..64, byte in 0_u8..128) {
            let mut text = br#"[{"a":[1,{"x":"y"}],"bc":"z"}, {"bc":-0.5e1},{"a":true}]"#.to_vec();
            if let Some(old) = text.get_mut(at) {
                *old = byte;
            }
            let text = String::from_utf8(text).unwrap();
            if let Some(records) = records(&text, &NAMES) {
                prop_assert_eq!(Some(texts(&records)), step_by_step(&text).as_deref().map(texts), "{}", text);
            }
        }
    }
}
