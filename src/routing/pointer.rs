//! JSON Pointer (RFC 6901) into a payload: through objects and arrays.

use serde_json::value::RawValue;

use crate::json;

/// A pointer to a part of the payload; the whole has none here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pointer(Vec<String>);

impl Pointer {
    /// Section 3: it starts with `/`, and a `~` comes only as `~0` or `~1`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let steps = text.strip_prefix('/')?.split('/');
        let unescaped = steps.map(|step| {
            let is_escaped = step.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
            is_escaped.then(|| json::pointer_step(step))
        });
        unescaped.collect::<Option<_>>().map(Self)
    }

    /// The value itself, as it was sent (section 4).
    pub(super) fn find<'a>(&self, value: &'a RawValue) -> Option<&'a RawValue> {
        self.0.iter().try_fold(value, |value, step| match json::elements(value) {
            Some(elements) => elements.get(index(step)?).copied(),
            None => json::member(value, step),
        })
    }
}

/// Section 4: digits without a leading zero.
fn index(step: &str) -> Option<usize> {
    let is_index = step.bytes().all(|byte| byte.is_ascii_digit()) && (step == "0" || !step.starts_with('0'));
    is_index.then(|| step.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Section 5, and arrays within objects.
    #[test]
    fn pointers_find_what_the_rfc_says() {
        let document = r#"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8,
            "o":{"p":[{"q":9},[10]]},"01":11}"#;
        let document: &RawValue = serde_json::from_str(document).unwrap();
        for (pointer, found) in [
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
            let found_here = Pointer::parse(pointer).unwrap().find(document).map(RawValue::get);
            assert_eq!(found_here, found, "{pointer}");
        }
        for wrong in ["", "foo", "/a~", "/a~2", "/~/", "/~~01"] {
            assert_eq!(Pointer::parse(wrong), None, "{wrong}");
        }
    }
}
