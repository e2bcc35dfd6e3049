//! The members of `settings`: errors, defaults, and what takes the place of the variables that are gone.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::CallbackGet;
use crate::config::members::*;
use crate::sender::PRESETS;

fn raw(json: &str) -> &RawValue {
    serde_json::from_str(json).unwrap()
}

fn errors(text: &str) -> Vec<String> {
    Document::parse(text).unwrap().errors().iter().map(ToString::to_string).collect()
}

/// No error repeats a value, here `hunter2`.
#[test]
fn error_names_its_place_and_what_may_be_there() {
    for (text, expected) in [
        (r#"{"engine_wait_ms":"2500"}"#, "`/engine_wait_ms` must be a whole number from 1 to 600000, but is a string"),
        (r#"{"engine_wait_ms":0}"#, "`/engine_wait_ms` must be a whole number from 1 to 600000"),
        (r#"{"engine_wait_ms":600001}"#, "`/engine_wait_ms` must be a whole number from 1 to 600000"),
        (r#"{"engine_wait_ms":2.5e3}"#, "`/engine_wait_ms` must be a whole number from 1 to 600000"),
        (r#"{"engine_wait_ms":-1}"#, "`/engine_wait_ms` must be a whole number from 1 to 600000"),
        (r#"{"max_keys":1e999}"#, "`/max_keys` must be a whole number from 500 to 10000000"),
        (r#"{"open":"true"}"#, "`/open` must be a boolean, but is a string"),
        (r#"{"engine":"hunter2"}"#, "`/engine` must be an object, but is a string"),
        (r#"{"callback_get":"hunter2"}"#, "`/callback_get` must be `complete` or `confirm`"),
        (r#"{"link_token":"hunter 2"}"#, "`/link_token` must be visible ASCII without blanks"),
        (r#"{"drain_token":""}"#, "`/drain_token` must not be empty"),
        (r#"{"link_secrets":"hunter2"}"#, "`/link_secrets` must be an array, but is a string"),
        (r#"{"link_secrets":[]}"#, "`/link_secrets` must not be empty: leave it out if there is none"),
        (r#"{"link_secrets":["a","hunter2é"]}"#, "`/link_secrets/1` must be visible ASCII without blanks"),
        (r#"{"public_url":"hunter2"}"#, "`/public_url` must be an absolute URL, such as https://gate.example.com"),
        (r#"{"public_url":"https://hunter2@a"}"#, "`/public_url` must not carry a user or password"),
        (r#"{"public_url":"https://a/hunter2"}"#, "`/public_url` must end after host and port"),
        (
            r#"{"allowed_origins":["https://hunter2"]}"#,
            "`/allowed_origins/0` must be a host name without a scheme, or `*`",
        ),
        (
            r#"{"cors_origins":["hunter2"]}"#,
            "`/cors_origins/0` must be an origin such as https://app.example.com, or `*`",
        ),
        (
            r#"{"move_from":"é hunter2"}"#,
            "`/move_from` must be `key-value`, or the URL of the database that was in use, percent-encoded",
        ),
        (r#"{"callback_gte":"confirm"}"#, "it has an unknown name `callback_gte`: did you mean `callback_get`?"),
        (r#"{"store_doors":16}"#, "it has an unknown name `store_doors`: use `doors` in `settings`"),
        (r#"{"link_secret":"hunter2"}"#, "it has an unknown name `link_secret`: use `link_secrets` in `settings`"),
        (
            r#"{"secret_github":"hunter2"}"#,
            "it has an unknown name `secret_github`: use `secrets` of a source with the sender `github`, in `sources`",
        ),
        (r#"{"sender_custom":{}}"#, "it has an unknown name `sender_custom`: use `sender` of a source, in `sources`"),
    ] {
        let errors = errors(text);
        assert_eq!(errors, [expected], "{text}");
        assert!(!errors[0].contains("hunter2"), "{text}");
    }
    let unknown = errors(r#"{"open":true,"hunter2":1}"#);
    assert!(unknown[0].starts_with("it has an unknown name (member 2): known are `engine`, `engine_start`,"));
    assert_eq!(errors(r#"{"open":1,"callback_get":1}"#).len(), 2);
}

#[test]
fn text_that_is_no_object_is_an_error() {
    let error = |text: &str| Document::parse(text).unwrap_err().to_string();
    assert_eq!(error("[]"), "is no JSON object: it must be an object, but is an array");
    assert_eq!(error("{"), "is no JSON object: it is not valid JSON: EOF while parsing an object at line 1 column 1");
    assert_eq!(error(r#"{"open":true,"open":true}"#), "is no JSON object: it has a duplicate name (member 2)");
    assert_eq!(error(&" ".repeat(70_000).replacen(' ', "{", 1)), "is longer than 65536 bytes");
    assert_eq!(errors(" \n"), [""; 0]);
}

#[test]
fn member_has_its_value_or_its_default() {
    let text = r#"{"engine":{"team":"acme"},"engine_wait_ms":7,"retry_max_hours":2,"open":true,"callback_get":"confirm",
        "link_secrets":["new","old"],"link_token":"l","public_url":"https://a.example:8443/","max_keys":500,
        "allowed_origins":["a.example","*"],"move_from":"key-value"}"#;
    let set = Document::parse(text).unwrap();
    let unset = Document::parse("{}").unwrap();
    let texts = |secrets: Vec<crate::secret::Secret>| -> Vec<_> {
        secrets.iter().map(|secret| secret.expose().to_owned()).collect()
    };
    let text = |secret: Option<crate::secret::Secret>| secret.map(|secret| secret.expose().to_owned());
    assert_eq!(set.errors(), []);
    assert_eq!(set.get(&ENGINE).unwrap().map(RawValue::get), Some(r#"{"team":"acme"}"#));
    assert!(unset.get(&ENGINE).unwrap().is_none());
    assert_eq!([set.get(&ENGINE_WAIT).unwrap().as_millis(), unset.get(&ENGINE_WAIT).unwrap().as_millis()], [7, 2_500]);
    assert_eq!([set.get(&RETRY_MAX).unwrap().as_secs(), unset.get(&RETRY_MAX).unwrap().as_secs()], [7_200, 86_400]);
    assert_eq!([set.get(&OPEN).unwrap(), unset.get(&OPEN).unwrap()], [true, false]);
    assert_eq!(set.get(&CALLBACK_GET).unwrap(), CallbackGet::Confirm);
    assert_eq!(unset.get(&CALLBACK_GET).unwrap(), CallbackGet::Complete);
    assert_eq!(texts(set.get(&LINK_SECRETS).unwrap()), ["new", "old"]);
    assert!(unset.get(&LINK_SECRETS).unwrap().is_empty());
    assert_eq!(text(set.get(&LINK_TOKEN).unwrap()).as_deref(), Some("l"));
    assert_eq!(text(unset.get(&DRAIN_TOKEN).unwrap()), None);
    assert_eq!(set.get(&PUBLIC_URL).unwrap().as_deref(), Some("https://a.example:8443"));
    assert_eq!([set.get(&MAX_KEYS).unwrap(), unset.get(&MAX_KEYS).unwrap()], [500, 250_000]);
    assert!(set.get(&ALLOWED_ORIGINS).unwrap().allow("b.example") && unset.get(&ALLOWED_ORIGINS).unwrap().is_empty());
    assert_eq!(text(set.get(&MOVE_FROM).unwrap()).as_deref(), Some("key-value"));
}

/// A mistake must not make a member have its default, but members that it doesn't concern keep working.
#[test]
fn misspelled_member_is_an_error_of_the_member_that_was_meant() {
    for (text, is_get, is_doors, is_open) in [
        (r#"{"callback_gte":"confirm"}"#, false, true, true),
        (r#"{"callback-get":"confirm"}"#, false, true, true),
        (r#"{"store_doors":16}"#, true, false, true),
        (r#"{"Open":true}"#, true, true, false),
        (r#"{"callback_gte":"confirm","callback_get":"confirm"}"#, true, true, true),
        (r#"{"hunter2":1}"#, true, true, true),
        (r#"{"secret_github":1}"#, true, true, true),
        (r#"{"doors":1}"#, true, false, true),
    ] {
        let document = Document::parse(text).unwrap();
        let is_ok = (document.get(&CALLBACK_GET).is_ok(), document.get(&DOORS).is_ok(), document.get(&OPEN).is_ok());
        assert_eq!(is_ok, (is_get, is_doors, is_open), "{text}");
        assert!(!document.errors().is_empty(), "{text}");
    }
}

#[test]
fn members_are_named_once_and_their_defaults_are_valid() {
    let unique: BTreeSet<_> = names().collect();
    assert_eq!(unique.len(), MEMBERS.len());
    for member in MEMBERS {
        let reader = Reader::root();
        assert!(member.rule().starts_with("must be "), "{}", member.name());
        if let Some(default) = member.default_json() {
            assert_eq!(member.check(raw(&default), &reader), Ok(()), "{}", member.name());
        }
        assert!(member.check(raw("null"), &reader).is_err(), "{}", member.name());
        assert_eq!(meant(member.name()), Some(member.name()));
    }
}

#[test]
fn variable_that_is_gone_has_a_place() {
    let variables: BTreeSet<_> = MOVED.iter().map(|moved| moved.variable).collect();
    assert_eq!(variables.len(), MOVED.len());
    for moved in MOVED {
        match moved.to {
            Place::Settings(name) => assert!(names().any(|member| member == name), "{moved:?}"),
            Place::SecretsOf(sender) => assert!(PRESETS.iter().any(|preset| preset.name == sender), "{moved:?}"),
            Place::SecretsOfDescriptor | Place::Sender => assert!(moved.variable.ends_with("_custom")),
        }
    }
    let kept: BTreeSet<_> = MOVED
        .iter()
        .filter_map(|moved| match moved.to {
            Place::Settings(name) => Some(name),
            _ => None,
        })
        .collect();
    let new: Vec<_> = names().filter(|name| !kept.contains(name)).collect();
    assert_eq!(
        new,
        [
            "link_token",
            "drain_token",
            "metrics_token",
            "cors_origins",
            "keep_hours",
            "alert_workflow",
            "alert_after_minutes",
            "open"
        ]
    );
}

#[test]
fn byte_order_mark_is_no_part_of_the_text() {
    for (text, doors) in [
        ("\u{feff}{\"doors\":16}", 16),
        ("\u{feff} {\"doors\":17}\r\n", 17),
        ("\u{feff}{}", 4_096),
        ("\u{feff}", 4_096),
        ("\u{feff}\n", 4_096),
    ] {
        assert_eq!(Document::parse(text).unwrap().get(&DOORS).unwrap(), doors, "{text:?}");
    }
}

#[test]
fn debug_is_redacted() {
    let document = Document::parse(r#"{"link_token":"hunter2"}"#).unwrap();
    assert!(!format!("{document:?}").contains("hunter2"));
}

fn any_settings() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Into::into),
        (0_u32..1_000).prop_map(Into::into),
        "[a-z]{0,6}".prop_map(Into::into),
        prop::collection::vec("[a-z]{0,4}", 0..3).prop_map(Into::into),
        Just(json!({})),
    ];
    let known: Vec<_> = names().map(str::to_owned).collect();
    let name = prop_oneof![4 => prop::sample::select(known), 1 => "[a-z_]{1,14}"];
    prop::collection::btree_map(name, leaf, 0..8).prop_map(|members| Value::Object(members.into_iter().collect()))
}

proptest! {
    #[test]
    fn errors_are_those_of_the_members_and_of_unknown_names(settings in any_settings()) {
        let text = settings.to_string();
        let document = Document::parse(&text).unwrap();
        let errors = document.errors();
        let wrong: Vec<_> = MEMBERS.iter().filter(|member| {
            let value = settings.get(member.name()).map(Value::to_string);
            value.is_some_and(|value| member.check(raw(&value), &Reader::root()).is_err())
        }).collect();
        let unknown = settings.as_object().unwrap().keys().filter(|key| names().all(|name| name != *key)).count();
        prop_assert_eq!(errors.len(), [wrong.len(), unknown].iter().sum::<usize>());
        for InvalidValue { pointer, rule } in &errors {
            prop_assert!(!rule.is_empty() && settings.pointer(pointer).is_some(), "{} {}", pointer, rule);
        }
        prop_assert!(unknown > 0 || document.get(&OPEN).is_ok() != wrong.iter().any(|member| member.name() == "open"));
    }

    #[test]
    fn arbitrary_text_is_parsed_or_refused(text in "[{\"a:,}\\\\ 0]{0,20}|\\PC{0,20}") {
        match Document::parse(&text) {
            Ok(document) => drop(document.errors()),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
