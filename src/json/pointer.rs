//! JSON Pointers (RFC 6901), evaluated on JSON text as it was received.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::Tree;

/// A JSON Pointer to a part of a value. The empty pointer, which stands for the whole value, is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pointer(Vec<String>);

impl Pointer {
    /// Parses a pointer. It starts with `/`, and `~` occurs only as `~0` or `~1` (section 3).
    pub fn parse(text: &str) -> Option<Self> {
        steps(text)?.map(|step| step.map(Cow::into_owned)).collect::<Option<_>>().map(Self)
    }

    /// Escapes one step of a pointer (section 3).
    pub fn escape(step: &str) -> String {
        step.replace('~', "~0").replace('/', "~1")
    }

    /// Finds a value in nested objects and arrays. Returns its text as it was received. If an object has several
    /// members with the same name, the last one counts, as in most parsers.
    pub fn find<'a>(&self, value: &'a RawValue) -> Option<&'a RawValue> {
        self.0.iter().try_fold(value, |value, step| enter(value, step))
    }

    /// Like [`find`](Self::find), in a value into which other pointers lead as well.
    pub fn find_in<'t, 'a>(&self, tree: &'t Tree<'a>) -> Option<&'t Tree<'a>> {
        self.0.iter().try_fold(tree, |tree, step| tree.enter(step))
    }

    /// Like [`find`](Self::find), but never enters an array: a step such as `0` is always a member's name.
    pub fn find_in_objects<'a>(&self, value: &'a RawValue) -> Option<&'a RawValue> {
        self.0.iter().try_fold(value, |value, step| super::member(value, step))
    }
}

impl<'a> Tree<'a> {
    /// Like [`Pointer::find_in`], for a pointer that is used once; `None` if it isn't one.
    pub fn at(&self, pointer: &str) -> Option<&Self> {
        steps(pointer)?.try_fold(self, |tree, step| tree.enter(&step?))
    }

    fn enter(&self, step: &str) -> Option<&Self> {
        match self.elements() {
            Some(elements) => elements.get(index(step)?),
            None => self.member(step),
        }
    }
}

/// The member or element of a value that one step names.
fn enter<'a>(value: &'a RawValue, step: &str) -> Option<&'a RawValue> {
    match super::elements(value) {
        Some(elements) => elements.get(index(step)?).copied(),
        None => super::member(value, step),
    }
}

/// The steps of a pointer without their escapes, each `None` if it is malformed. `None` for a text that doesn't start with
/// a slash.
fn steps(pointer: &str) -> Option<impl Iterator<Item = Option<Cow<'_, str>>>> {
    Some(pointer.strip_prefix('/')?.split('/').map(unescape))
}

/// Removes the escapes of one step: `~1` first, because `~01` must not become a slash (section 4). `None` if a `~`
/// isn't followed by `0` or `1`.
fn unescape(step: &str) -> Option<Cow<'_, str>> {
    if !step.contains('~') {
        return Some(step.into());
    }
    let is_escaped = step.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    is_escaped.then(|| step.replace("~1", "/").replace("~0", "~").into())
}

/// The array index that a step stands for: digits without a leading zero (section 4).
fn index(step: &str) -> Option<usize> {
    let is_index = step.bytes().all(|byte| byte.is_ascii_digit()) && (step == "0" || !step.starts_with('0'));
    is_index.then(|| step.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(json: &str) -> &RawValue {
        serde_json::from_str(json).unwrap()
    }

    /// The examples of section 5, and arrays within objects.
    #[test]
    fn pointer_finds_the_values_of_rfc_6901() {
        let document =
            raw(r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8,
            "o":{"p":[{"q":9},[10]]},"01":11}"#);
        let tree = Tree::new(document);
        for (pointer, expected) in [
            ("/foo", Some(r#"["bar","baz"]"#)),
            ("/foo/0", Some(r#""bar""#)),
            ("/", Some("0")),
            ("/a~1b", Some("1")),
            ("/c%d", Some("2")),
            ("/e^f", Some("3")),
            ("/g|h", Some("4")),
            ("/i\\j", Some("5")),
            ("/k\"l", Some("6")),
            ("/ ", Some("7")),
            ("/m~0n", Some("8")),
            ("/o/p/0/q", Some("9")),
            ("/o/p/1/0", Some("10")),
            ("/01", Some("11")),
            ("/foo/2", None),
            ("/foo/00", None),
            ("/foo/-", None),
            ("/foo/+1", None),
            ("/foo/", None),
            ("/foo/99999999999999999999999", None),
            ("/foo/0/x", None),
            ("/m~01n", None),
        ] {
            let parsed = Pointer::parse(pointer).unwrap();
            assert_eq!(parsed.find(document).map(RawValue::get), expected, "{pointer}");
            assert_eq!(parsed.find_in(&tree).map(|found| found.value().get()), expected, "{pointer}");
            assert_eq!(tree.at(pointer).map(|found| found.value().get()), expected, "{pointer}");
        }
    }

    #[test]
    fn invalid_pointer_is_rejected() {
        for text in ["", "foo", "/a~", "/a~2", "/~/", "/~~01"] {
            assert_eq!(Pointer::parse(text), None, "{text}");
            assert!(Tree::new(raw(r#"{"":1,"a":2,"~":3,"foo":4}"#)).at(text).is_none(), "{text}");
        }
    }

    #[test]
    fn last_of_several_members_counts() {
        let document = raw(r#"{"d":{"x":1},"d":{"\u0078":2,"\ud800":3},"l":[[],{"x":4}]}"#);
        let tree = Tree::new(document);
        for (pointer, expected) in
            [("/d/x", Some("2")), ("/d/\u{fffd}", None), ("/l/1/x", Some("4")), ("/l/x", None), ("/d/x/0", None)]
        {
            let parsed = Pointer::parse(pointer).unwrap();
            assert_eq!(parsed.find(document).map(RawValue::get), expected, "{pointer}");
            assert_eq!(parsed.find_in(&tree).map(|found| found.value().get()), expected, "{pointer}");
        }
    }

    #[test]
    fn find_in_objects_does_not_enter_arrays() {
        let document = raw(r#"{"a":{"b":[1],"0":{"c":2}},"l":[{"x":3}],"d":1,"d":{"x":2}}"#);
        for (pointer, expected) in [
            ("/a/b", Some("[1]")),
            ("/a/0/c", Some("2")),
            ("/d/x", Some("2")),
            ("/a/b/0", None),
            ("/l/0", None),
            ("/l/0/x", None),
            ("/", None),
        ] {
            let found = Pointer::parse(pointer).unwrap().find_in_objects(document).map(RawValue::get);
            assert_eq!(found, expected, "{pointer}");
        }
    }

    #[test]
    fn escaped_step_is_parsed_back() {
        for step in ["", "a", "a/b", "~", "~1", "~01", "/~/"] {
            let pointer = Pointer::parse(&format!("/{}", Pointer::escape(step))).unwrap();
            assert_eq!(pointer, Pointer(vec![step.to_owned()]), "{step}");
        }
    }
}
