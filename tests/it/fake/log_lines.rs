//! The lines of the log, held against docs/log.schema.json. `tests/interop/test_metrics.py` validates lines of the running
//! component with a validator of JSON Schema; here, each line of each test is looked at.

use std::sync::LazyLock;

use serde_json::Value;

static SCHEMA: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../docs/log.schema.json")).unwrap());

/// The members that tell the kinds of lines apart, in the order in which they are looked for.
const KINDS: [(&str, &str); 5] = [
    ("method", "request"),
    ("refused", "refused"),
    ("drained", "drain"),
    ("delivery", "attempt"),
    ("warning", "warning"),
];

/// Reads a line, which has to have all members that the schema requires of its kind, and no others than it names. Returns
/// it without its version.
#[track_caller]
pub fn logged(line: &str) -> Value {
    let mut read: Value = serde_json::from_str(line).unwrap();
    let members = read.as_object_mut().unwrap();
    let (_, kind) = KINDS.iter().find(|(member, _)| members.contains_key(*member)).expect(line);
    let schema = &SCHEMA["$defs"][kind];
    for required in SCHEMA["required"].as_array().unwrap().iter().chain(schema["required"].as_array().unwrap()) {
        assert!(members.contains_key(required.as_str().unwrap()), "{required} is missing in {line}");
    }
    for (name, value) in &*members {
        let expected = &schema["properties"][name];
        assert!(expected.is_object(), "docs/log.schema.json has no {name} in the line of a {kind}: {line}");
        let is_valid = match expected["type"].as_str() {
            Some("string") => value.is_string(),
            Some("integer") => value.is_u64(),
            Some("number") => value.is_number(),
            Some("object") => value.is_object(),
            _ => true,
        };
        assert!(is_valid, "{name} is not what docs/log.schema.json says: {line}");
    }
    assert_eq!(members.remove("v"), Some(SCHEMA["$defs"]["version"]["const"].clone()));
    read
}
