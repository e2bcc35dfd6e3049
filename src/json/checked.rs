//! Reads values that are known to be JSON, which a [`RawValue`] is: nothing in them is checked again, and a part that
//! isn't needed is skipped at the speed of a search. `serde_json` parses a raw value anew each time.

use std::borrow::Cow;
use std::{fmt, iter};

use serde::de::value::{BorrowedStrDeserializer, CowStrDeserializer, MapDeserializer};
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error, Expected, MapAccess, SeqAccess, Unexpected, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::value::RawValue;

use super::token::text;
use super::{InvalidValue, JsonType, Pointer, Record, unescaped};

/// The parts of an array, or the names and values of an object in turn.
pub(super) struct Parts<'a>(Cursor<'a>);

impl<'a> Parts<'a> {
    /// The parts of an array or object.
    pub(super) fn of(raw: &'a RawValue) -> Self {
        let mut cursor = Cursor { rest: raw.get() };
        cursor.skip(1);
        Self(cursor)
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a RawValue;

    fn next(&mut self) -> Option<&'a RawValue> {
        match self.0.peek()? {
            b'}' | b']' => None,
            _ => raw_value(self.0.json()?),
        }
    }
}

/// A position in a text that is known to be JSON.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    /// Goes on to the next value, or to the end of the array or object. Returns its first byte.
    fn peek(&mut self) -> Option<u8> {
        let mut rest = self.rest.as_bytes();
        while let [b' ' | b'\n' | b'\t' | b'\r' | b',' | b':', after @ ..] = rest {
            rest = after;
        }
        self.skip(self.rest.len().saturating_sub(rest.len()));
        rest.first().copied()
    }

    /// Goes on behind the next byte if it is this one.
    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.skip(1))
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    /// Reads the value at the position. Returns its JSON.
    fn json(&mut self) -> Option<&'a str> {
        let (json, rest) = self.rest.split_at_checked(length(self.rest.as_bytes())?)?;
        self.rest = rest;
        Some(json)
    }
}

/// The length of the value at the start of a text.
fn length(json: &[u8]) -> Option<usize> {
    let mut rest = json;
    let mut depth = 0_usize;
    while let [byte, after @ ..] = rest {
        rest = match byte {
            b'"' => after.get(string(after)?..)?,
            b'{' | b'[' => {
                depth = depth.saturating_add(1);
                after
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                after
            }
            _ if depth == 0 => {
                let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\t' | b'\r');
                rest.iter().position(is_end).and_then(|end| rest.get(end..)).unwrap_or_default()
            }
            _ => {
                rest = after;
                continue;
            }
        };
        if depth == 0 {
            break;
        }
    }
    json.len().checked_sub(rest.len())
}

/// The length of a string whose text follows, with the quotation mark at its end.
fn string(json: &[u8]) -> Option<usize> {
    let mut rest = json;
    loop {
        let (length, end) = text(rest);
        rest = rest.get(length..)?;
        match end? {
            b'"' => return json.len().checked_sub(rest.len()),
            // Behind a backslash, a quotation mark is a character.
            _ => rest = rest.get(1..)?,
        }
    }
}

/// A [`RawValue`] of a text that is known to be JSON, without white space around it.
pub(super) fn raw_value(json: &str) -> Option<&RawValue> {
    <&RawValue>::deserialize(Raw(json)).ok()
}

/// The value of the member with this name. If the name is repeated, the last one wins, as in most parsers. `None` if
/// there is no such member, or if the value isn't an object.
pub fn member<'a>(raw: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    let mut cursor = Cursor { rest: raw.get() };
    cursor.take(b'{')?;
    let mut found = None;
    while cursor.take(b'}').is_none() {
        let is_named = unescaped(cursor.json()?).is_some_and(|own| own == name);
        cursor.peek();
        let value = cursor.json()?;
        if is_named {
            found = Some(value);
        }
    }
    raw_value(found?)
}

/// Reads an array of objects with known names: `read` is given each object's index and members. Returns `None` if the value
/// is anything else, or if an object has another name or the same name twice. The error is then that of
/// [`Reader::known_members`](super::Reader::known_members).
pub fn records<'a, T, const N: usize>(
    raw: &'a RawValue,
    names: &[&str; N],
    mut read: impl FnMut(usize, Record<'a, N>) -> T,
) -> Option<Vec<T>> {
    let mut cursor = Cursor { rest: raw.get() };
    cursor.take(b'[')?;
    let mut records = Vec::new();
    while cursor.take(b']').is_none() {
        cursor.take(b'{')?;
        let mut record = [None; N];
        while cursor.take(b'}').is_none() {
            let name = unescaped(cursor.json()?)?;
            let slot = names.iter().position(|known| *known == name).and_then(|at| record.get_mut(at))?;
            cursor.peek();
            if slot.replace(raw_value(cursor.json()?)?).is_some() {
                return None;
            }
        }
        records.push(read(records.len(), record));
    }
    Some(records)
}

/// Reads a value as a type. The error has the place in the value.
pub(super) fn form<'de, T: Deserialize<'de>>(json: &'de str) -> Result<T, InvalidValue> {
    T::deserialize(&mut Cursor { rest: json })
}

impl Error for InvalidValue {
    fn custom<T: fmt::Display>(rule: T) -> Self {
        Self { pointer: String::new(), rule: rule.to_string() }
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        match unexpected {
            Unexpected::Unit => Self::custom(format_args!("invalid type: null, expected {expected}")),
            unexpected => Self::custom(format_args!("invalid type: {unexpected}, expected {expected}")),
        }
    }
}

impl InvalidValue {
    /// The error of the whole that has the faulty part at this step.
    fn within(mut self, step: &str) -> Self {
        self.pointer.insert_str(0, &format!("/{}", Pointer::escape(step)));
        self
    }
}

/// The text of a raw value. The visitor of `serde_json` gets it in the form in which it asks for it: as the only entry of a
/// map, whose key is the name of the newtype.
struct Raw<'de>(&'de str);

impl<'de> Raw<'de> {
    fn visit<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, InvalidValue> {
        visitor.visit_map(MapDeserializer::new(iter::once((name, BorrowedStrDeserializer::new(self.0)))))
    }
}

impl<'de> Deserializer<'de> for Raw<'de> {
    type Error = InvalidValue;

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, InvalidValue> {
        self.visit(name, visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, InvalidValue> {
        Err(InvalidValue::custom("only a raw value can be made of it"))
    }

    forward_to_deserialize_any! {
        bool u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 f32 f64 char str string seq bytes byte_buf map struct option unit
        ignored_any unit_struct tuple_struct tuple enum identifier
    }
}

impl<'de> Deserializer<'de> for &mut Cursor<'de> {
    type Error = InvalidValue;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, InvalidValue> {
        match self.peek() {
            Some(b'{') => {
                self.skip(1);
                visitor.visit_map(Members { cursor: self, name: None })
            }
            Some(b'[') => {
                self.skip(1);
                visitor.visit_seq(Elements { cursor: self, index: 0 })
            }
            _ => scalar(self.json().unwrap_or(NULL), visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, InvalidValue> {
        match self.peek() {
            Some(b'n') => {
                self.json();
                visitor.visit_none()
            }
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, InvalidValue> {
        // The name of a raw value is private to `serde_json`, and no name in Rust.
        if !name.starts_with('$') {
            return visitor.visit_newtype_struct(self);
        }
        self.peek();
        Raw(self.json().unwrap_or(NULL)).visit(name, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, InvalidValue> {
        match self.peek() {
            Some(b'"') => visitor.visit_enum(CowStrDeserializer::new(unicode(self.json().unwrap_or(NULL))?)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, InvalidValue> {
        self.peek();
        self.json();
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 f32 f64 char str string seq bytes byte_buf map struct unit
        unit_struct tuple_struct tuple identifier
    }
}

const NULL: &str = "null";

fn scalar<'de, V: Visitor<'de>>(json: &'de str, visitor: V) -> Result<V::Value, InvalidValue> {
    match JsonType::of(json) {
        JsonType::String => match unicode(json)? {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        },
        JsonType::Boolean => visitor.visit_bool(json == "true"),
        JsonType::Number => match (json.parse(), json.parse(), json.parse()) {
            (Ok(number), ..) => visitor.visit_u64(number),
            (_, Ok(number), _) => visitor.visit_i64(number),
            (.., Ok(number)) => visitor.visit_f64(number),
            _ => Err(InvalidValue::custom("a number that is out of range")),
        },
        JsonType::Null | JsonType::Object | JsonType::Array => visitor.visit_unit(),
    }
}

/// The text of a string.
fn unicode(json: &str) -> Result<Cow<'_, str>, InvalidValue> {
    unescaped(json).ok_or_else(|| InvalidValue::custom("a string with an unpaired surrogate"))
}

/// The members of an object.
struct Members<'c, 'de> {
    cursor: &'c mut Cursor<'de>,
    /// The name that was read last.
    name: Option<&'de str>,
}

impl Members<'_, '_> {
    fn within(&self, error: InvalidValue) -> InvalidValue {
        match self.name.and_then(unescaped) {
            Some(name) => error.within(&name),
            None => error,
        }
    }
}

impl<'de> MapAccess<'de> for Members<'_, 'de> {
    type Error = InvalidValue;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, InvalidValue> {
        self.name = match self.cursor.peek() {
            Some(b'"') => self.cursor.json(),
            _ => None,
        };
        let Some(name) = self.name else {
            self.cursor.skip(1);
            return Ok(None);
        };
        seed.deserialize(&mut Cursor { rest: name }).map(Some).map_err(|error| self.within(error))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, InvalidValue> {
        seed.deserialize(&mut *self.cursor).map_err(|error| self.within(error))
    }
}

/// The elements of an array.
struct Elements<'c, 'de> {
    cursor: &'c mut Cursor<'de>,
    /// The index of the next one.
    index: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = InvalidValue;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, InvalidValue> {
        if let None | Some(b']') = self.cursor.peek() {
            self.cursor.skip(1);
            return Ok(None);
        }
        let index = self.index;
        self.index = index.saturating_add(1);
        seed.deserialize(&mut *self.cursor).map(Some).map_err(|error| error.within(&index.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::super::{self as json, elements, members, value};
    use super::*;

    #[derive(Debug, Default, PartialEq, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Form<'a> {
        #[serde(borrow, default)]
        text: Option<Cow<'a, str>>,
        #[serde(default)]
        kind: Option<Kind>,
        #[serde(default)]
        count: usize,
        #[serde(default)]
        lists: BTreeMap<String, Vec<bool>>,
    }

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        One,
    }

    fn read(json: &str) -> Result<Form<'_>, String> {
        form(json).map_err(|error| error.to_string())
    }

    #[test]
    fn raw_value_is_made_of_its_text() {
        for json in ["{}", "[1E400]", "\"\\ud83d é\"", "null"] {
            assert_eq!(raw_value(json).map(RawValue::get), Some(json));
            let raw: &RawValue = form(json).unwrap();
            assert_eq!(raw.get(), json);
        }
    }

    #[test]
    fn form_is_read() {
        let json = r#"{"text":"a\n","kind":"one","count":7,"lists":{"x":[true,false],"y":[]}}"#;
        let lists = BTreeMap::from([("x".to_owned(), vec![true, false]), ("y".to_owned(), Vec::new())]);
        assert_eq!(read(json), Ok(Form { text: Some("a\n".into()), kind: Some(Kind::One), count: 7, lists }));
        assert_eq!(read(r#"{"text":null}"#), Ok(Form::default()));
    }

    #[test]
    fn error_has_the_place_and_the_rule_of_serde() {
        for (json, expected) in [
            (r#"{"lists":{"a/b":[true,1]}}"#, "`/lists/a~1b/1` invalid type: integer `1`, expected a boolean"),
            (r#"{"kind":"two"}"#, "`/kind` unknown variant `two`, expected `one`"),
            (r#"{"kind":2}"#, "`/kind` invalid type: integer `2`, expected enum Kind"),
            (r#"{"count":-1}"#, "`/count` invalid value: integer `-1`, expected usize"),
            (r#"{"count":1.5}"#, "`/count` invalid type: floating point `1.5`, expected usize"),
            (r#"{"count":null}"#, "`/count` invalid type: null, expected usize"),
            (r#"{"kinds":1}"#, "`/kinds` unknown field `kinds`, expected one of `text`, `kind`, `count`, `lists`"),
        ] {
            assert_eq!(read(json).unwrap_err(), expected, "{json}");
        }
    }

    /// Any JSON, with white space and escapes.
    fn any_json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|bool| bool.to_string()),
            any::<i64>().prop_map(|number| number.to_string()),
            any::<String>().prop_map(|text| Value::from(text).to_string()),
        ];
        let blank = proptest::sample::select(&["", " ", "\n\t"][..]);
        leaf.prop_recursive(4, 64, 5, move |inner| {
            let array = (blank.clone(), proptest::collection::vec(inner.clone(), 0..5))
                .prop_map(|(blank, values)| format!("[{blank}{}{blank}]", values.join(&format!("{blank},{blank}"))));
            let object = (blank.clone(), proptest::collection::vec((any::<String>(), inner), 0..5)).prop_map(
                |(blank, members)| {
                    let members: Vec<_> = members
                        .iter()
                        .map(|(name, value)| format!("{}{blank}:{blank}{value}", Value::from(name.as_str())))
                        .collect();
                    format!("{{{blank}{}{blank}}}", members.join(&format!("{blank},{blank}")))
                },
            );
            prop_oneof![array, object]
        })
    }

    #[test]
    fn records_have_their_members_in_the_order_of_the_names() {
        let read = |json| {
            let records = records(serde_json::from_str(json).unwrap(), &["a", "bc"], |_, record| record)?;
            Some(records.iter().map(|record| record.map(|value| value.map(RawValue::get))).collect::<Vec<_>>())
        };
        assert_eq!(read("[ ]"), Some(Vec::new()));
        let json = r#"[ { } , {"bc" : [{"a":2}],"\u0061": 1} ]"#;
        assert_eq!(read(json), Some(vec![[None, None], [Some("1"), Some("[{\"a\":2}]")]]));
        for irregular in ["{}", "[1]", "[{},null]", r#"[{"a":1,"a":2}]"#, r#"[{"b":1}]"#, r#"[{"\ud800":1}]"#] {
            assert_eq!(read(irregular), None, "{irregular}");
        }
    }

    proptest! {
        #[test]
        fn parts_are_those_of_serde_json(json_text in any_json()) {
            let raw = value(json_text.as_bytes()).unwrap();
            let expected: Option<Vec<&RawValue>> = serde_json::from_str(raw.get()).ok();
            let texts = |parts: Vec<&RawValue>| parts.into_iter().map(|part| part.get().to_owned()).collect::<Vec<_>>();
            prop_assert_eq!(elements(raw).map(texts), expected.map(texts));
            let parsed: Value = serde_json::from_str(raw.get()).unwrap();
            let read: Value = form(raw.get()).unwrap();
            prop_assert_eq!(&read, &parsed);
            if let Value::Object(object) = parsed {
                let found: serde_json::Map<String, Value> = members(raw)
                    .unwrap()
                    .into_iter()
                    .map(|(name, value)| (json::text(name).unwrap(), serde_json::from_str(value.get()).unwrap()))
                    .collect();
                prop_assert_eq!(found, object);
            } else {
                prop_assert!(members(raw).is_none());
            }
        }
    }
}
