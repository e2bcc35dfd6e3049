use proptest::prelude::*;

use super::*;

const ODD: &str = r#"{"n":12345678901234567890, "f":1.417566161e9,"z":[1E400,-1E400,0.10,-0],"d":1,"d":{"x" : 2},
    "s":"\u00e9\/\ud800","l":[{"id":1,"t":"a"},{"id":2.50,"t":"b"},{"id":3,"t":"a"}],"e":[],"$":"dollar","nul":null}"#;

fn raw(json: &str) -> &RawValue {
    serde_json::from_str(json).unwrap()
}

fn value(param: &str, payload: &str) -> Option<String> {
    let spec = ParamSpec::parse(raw(param), &Reader::root()).unwrap_or_else(|error| panic!("{param}: {error}"));
    let input = Input::webhook(None, None, raw(payload));
    spec.value(&input, MAX_PARAM_BYTES).unwrap().map(|value| value.get().to_owned())
}

#[test]
fn singular_path_gives_the_value_byte_for_byte() {
    for (path, expected) in [
        ("$.n", Some("12345678901234567890")),
        ("$['f']", Some("1.417566161e9")),
        ("$.z[0]", Some("1E400")),
        ("$.z[2]", Some("0.10")),
        ("$.z[-1]", Some("-0")),
        ("$.z[-4]", Some("1E400")),
        ("$.z[-5]", None),
        ("$.z[4]", None),
        ("$.d", Some(r#"{"x" : 2}"#)),
        ("$.d.x", Some("2")),
        ("$.s", Some(r#""\u00e9\/\ud800""#)),
        ("$.l[1].id", Some("2.50")),
        ("$['$']", Some(r#""dollar""#)),
        ("$.nul", Some("null")),
        ("$.missing", None),
        ("$.n.x", None),
        ("$.n[0]", None),
        ("$", Some(ODD)),
    ] {
        assert_eq!(value(&format!("\"{path}\""), ODD).as_deref(), expected, "{path}");
    }
}

#[test]
fn other_path_gives_an_array() {
    for (path, expected) in [
        ("$.l[*].id", "[1,2.50,3]"),
        ("$.l[?@.t=='a'].id", "[1,3]"),
        ("$.l[?@.id>2].id", "[2.50,3]"),
        ("$.l[::-1].id", "[3,2.50,1]"),
        ("$..x", "[2]"),
        ("$.z[*]", "[1E400,-1E400,0.10,-0]"),
        // Numbers out of range compare as the largest or the smallest `f64`.
        ("$.z[?@>1]", "[1E400]"),
        ("$['n','f']", "[12345678901234567890,1.417566161e9]"),
        ("$.l[?length(@.t)==1 && count(@.*)==2].t", r#"["a","b","a"]"#),
        ("$.e[*]", "[]"),
        ("$.missing[*]", "[]"),
        ("$..missing", "[]"),
    ] {
        assert_eq!(value(&format!("\"{path}\""), ODD).as_deref(), Some(expected), "{path}");
    }
}

#[test]
fn other_value_is_a_literal() {
    for (param, literal) in [
        (r#""main""#, r#""main""#),
        (r#""a$""#, r#""a$""#),
        (r#""""#, r#""""#),
        ("1.10", "1.10"),
        ("null", "null"),
        (r#"["$.a"]"#, r#"["$.a"]"#),
        (r#"{"a":"$.a"}"#, r#"{"a":"$.a"}"#),
        (r#"{"value":"$.a"}"#, r#""$.a""#),
        (r#"{"\u0076alue":12345678901234567890}"#, "12345678901234567890"),
        (r#"{"value":{"value":1}}"#, r#"{"value":1}"#),
        (r#"{"value":1,"a":2}"#, r#"{"value":1,"a":2}"#),
    ] {
        assert_eq!(value(param, ODD).as_deref(), Some(literal), "{param}");
    }
}

/// A path may select far more than the payload has bytes: the array is never built.
#[test]
fn value_over_the_limit_is_rejected() {
    let nested = format!("{}1{}", r#"{"a":"#.repeat(120), "}".repeat(120));
    let input = Input::webhook(None, None, raw(&nested));
    let path = ParamSpec::parse(raw(r#""$..a""#), &Reader::root()).unwrap();
    assert!(path.value(&input, 2_000).is_err());
    assert!(path.value(&input, MAX_PARAM_BYTES).unwrap().is_some_and(|value| value.get().len() > 40_000));
    let literal = ParamSpec::parse(raw(r#""1234""#), &Reader::root()).unwrap();
    assert!(literal.value(&input, 6).is_ok() && literal.value(&input, 5).is_err());
}

fn any_json() -> impl Strategy<Value = String> {
    let number = prop_oneof!["-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,4})?"];
    let string = prop_oneof![
        "\\PC{0,6}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just(r#""\ud800\/""#.to_owned()),
    ];
    let leaf = prop_oneof![number, string.clone(), Just("true".to_owned()), Just("null".to_owned())];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        let members = prop::collection::vec((string.clone(), inner.clone()), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(|values| format!("[ {}]", values.join(" ,"))),
            members.prop_map(|members| {
                let members: Vec<_> = members.into_iter().map(|(name, value)| format!("{name} : {value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

proptest! {
    /// A value is part of the payload, byte for byte, whether a path selects it alone or among others.
    #[test]
    fn values_are_parts_of_the_payload(values in prop::collection::vec(any_json(), 1..5)) {
        let payload = format!(r#"{{"l":[{}],"o":{{"k" : {}}}}}"#, values.join(","), values[0]);
        prop_assert_eq!(value(r#""$.l[*]""#, &payload).unwrap(), format!("[{}]", values.join(",")));
        prop_assert_eq!(value(r#""$.o[*]""#, &payload).unwrap(), format!("[{}]", values[0]));
        for ((at, sent), from_end) in values.iter().enumerate().zip((1..=values.len()).rev()) {
            prop_assert_eq!(value(&format!(r#""$.l[{at}]""#), &payload), Some(sent.clone()));
            prop_assert_eq!(value(&format!(r#""$.l[-{from_end}]""#), &payload), Some(sent.clone()));
        }
        for found in json::elements(raw(&value(r#""$..*""#, &payload).unwrap())).unwrap() {
            prop_assert!(payload.contains(found.get()), "{} is not in {payload}", found.get());
        }
    }

    #[test]
    fn any_path_gives_json_or_is_rejected(path in "\\$[\\[\\].*?@'a0-9:,<>=()&|! \\-]{0,24}", payload in any_json()) {
        let text = serde_json::to_string(&path).unwrap();
        if let Ok(spec) = ParamSpec::parse(raw(&text), &Reader::root()) {
            let input = Input::webhook(None, None, raw(&payload));
            if let Ok(Some(value)) = spec.value(&input, MAX_PARAM_BYTES) {
                prop_assert!(json::value(value.get().as_bytes()).is_ok());
            }
        }
    }
}
