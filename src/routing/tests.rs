//! Filters, on the examples of their specification; the order and the names of routes; triggers.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::delivery::Trigger;

fn raw(json: &str) -> &RawValue {
    serde_json::from_str(json).unwrap()
}

/// A table with one route that has this filter.
fn filtered(from: &str, filter: &str) -> Result<Table, TableError> {
    Table::parse(&format!(r#"[{{"workflow":"w","from":"{from}","filter":{filter}}}]"#))
}

fn is_routed(table: &Table, input: &Input<'_>) -> bool {
    table.matching(input).count() == 1
}

/// Returns whether the filter matches an event with these attributes and this data.
fn event_matches(filter: &str, attributes: &[(&str, &str)], data: Option<&str>) -> bool {
    let table = filtered("event", filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
    let whole = serde_json::to_string(&attributes.iter().copied().collect::<BTreeMap<_, _>>()).unwrap();
    is_routed(&table, &Input::event(raw(&whole), data.map(raw)))
}

/// The examples of the Subscriptions API, section 3.2.4.1.1, each with events that it matches and events that it does
/// not.
#[test]
fn dialects_match_as_the_subscriptions_api_says() {
    const SPEC: &str = "https://github.com/cloudevents/spec";
    let push = [("type", "com.github.push"), ("subject", SPEC)];
    let pull = [("type", "com.github.pull"), ("subject", SPEC)];
    let other = [("type", "com.github.push"), ("subject", "https://github.com/cloudevents/sdk-rust")];
    let created = [("type", "com.github.issue.created"), ("subject", SPEC)];
    let upper = [("type", "COM.GITHUB.PUSH"), ("subject", SPEC)];
    let untitled = [("type", "com.github.push")];
    for (filter, expected) in [
        (
            r#"{ "exact": { "type": "com.github.push", "subject": "https://github.com/cloudevents/spec" } }"#,
            [true, false, false, false, false, false],
        ),
        (
            r#"{ "prefix": { "type": "com.github.", "subject": "https://github.com/cloudevents" } }"#,
            [true, true, true, true, false, false],
        ),
        (
            r#"{ "suffix": { "type": ".created", "subject": "/cloudevents/spec" } }"#,
            [false, false, false, true, false, false],
        ),
        (
            r#"{ "all": [ { "exact": { "type": "com.github.push" } },
                          { "exact": { "subject": "https://github.com/cloudevents/spec" } } ] }"#,
            [true, false, false, false, false, false],
        ),
        (
            r#"{ "any": [ { "exact": { "type": "com.github.push" } },
                          { "exact": { "subject": "https://github.com/cloudevents/spec" } } ] }"#,
            [true, true, true, true, true, true],
        ),
        (r#"{ "not": { "exact": { "type": "com.github.push" } } }"#, [false, true, false, true, true, false]),
        // Section 3.2.1, "filters": all must match, and an empty array matches everything.
        (
            r#"[ { "prefix": { "type": "com.github." } }, { "suffix": { "subject": "spec" } } ]"#,
            [true, true, false, true, false, false],
        ),
        ("[]", [true; 6]),
    ] {
        let events: [&[(&str, &str)]; 6] = [&push, &pull, &other, &created, &upper, &untitled];
        assert_eq!(events.map(|event| event_matches(filter, event, None)), expected, "{filter}");
    }
}

/// Expectations of the working group for the same filters in CESQL: cesql_tck/subscriptions_api_recreations.yaml.
#[test]
fn nested_filters_and_missing_attributes_match_as_in_cesql() {
    let dnf = r#"{"any":[{"all":[{"exact":{"id":"myId"}},{"suffix":{"type":".success"}}]},
                         {"all":[{"exact":{"id":"notmyId"}},{"prefix":{"source":"http://"}},{"suffix":{"type":".warning"}}]}]}"#;
    let cnf = r#"{"all":[{"any":[{"exact":{"id":"myId"}},{"suffix":{"type":".success"}}]},
                         {"any":[{"exact":{"id":"notmyId"}},{"prefix":{"source":"https://"}},{"suffix":{"type":".warning"}}]}]}"#;
    let custom = r#"{"prefix":{"myext":"custom"}}"#;
    let typed = |id, event_type, source| vec![("id", id), ("type", event_type), ("source", source)];
    let http = "http://localhost.localdomain";
    for (filter, attributes, expected) in [
        (dnf, typed("myId", "example.event.success", http), true),
        (dnf, typed("notmyId", "example.event.warning", http), true),
        (dnf, typed("notmyId", "example.event.warning", "https://localhost.localdomain"), false),
        (cnf, typed("myId", "example.event.warning", http), true),
        (cnf, typed("notmyId", "example.event.success", http), true),
        (cnf, typed("notmyId", "example.event.warning", http), false),
        (cnf, typed("myId", "example.event.success", http), false),
        (custom, vec![("myext", "customext")], true),
        (custom, vec![], false),
        (r#"{"exact":{"myext":"customext"}}"#, vec![], false),
        (r#"{"suffix":{"myext":"ext"}}"#, vec![], false),
        // `not` matches also if the attribute is missing.
        (r#"{"not":{"prefix":{"myext":"custom"}}}"#, vec![], true),
        (r#"{"not":{"not":{"prefix":{"myext":"custom"}}}}"#, vec![], false),
        (r#"{"all":[{"exact":{"type":"t"}},{"exact":{"myext":"e"}}]}"#, vec![("type", "t")], false),
        (r#"{"any":[{"exact":{"type":"t"}},{"exact":{"myext":"e"}}]}"#, vec![("type", "t")], true),
        (r#"{"exact":{"type":"t","myext":"e"}}"#, vec![("type", "t")], false),
        // A text is its own prefix and suffix. Comparisons are case-sensitive.
        (r#"{"prefix":{"type":"t"}}"#, vec![("type", "t")], true),
        (r#"{"suffix":{"type":"t"}}"#, vec![("type", "T")], false),
    ] {
        assert_eq!(event_matches(filter, &attributes, None), expected, "{filter} {attributes:?}");
    }
}

#[test]
fn pointer_compares_strings_and_the_json_of_other_scalars() {
    let data = r#"{"ref":"refs/heads/main","n":3.0,"big":12345678901234567890,"t":true,"z":null,"l":[{"a":"b"}],"o":{},"e":""}"#;
    for (filter, expected) in [
        (r#"{"exact":{"/ref":"refs/heads/main"}}"#, true),
        (r#"{"prefix":{"/ref":"refs/heads/"}}"#, true),
        (r#"{"suffix":{"/ref":"/main"}}"#, true),
        (r#"{"exact":{"/n":"3.0"}}"#, true),
        (r#"{"exact":{"/n":"3"}}"#, false),
        (r#"{"exact":{"/big":"12345678901234567890"}}"#, true),
        (r#"{"exact":{"/t":"true","/z":"null","/l/0/a":"b"}}"#, true),
        (r#"{"prefix":{"/o":"{"}}"#, false),
        (r#"{"prefix":{"/l":"["}}"#, false),
        (r#"{"not":{"exact":{"/l/1/a":"b"}}}"#, true),
    ] {
        assert_eq!(event_matches(filter, &[], Some(data)), expected, "event: {filter}");
        assert!(!event_matches(&format!(r#"{{"all":[{filter}]}}"#), &[], None) || filter.contains("not"), "{filter}");
        let table = filtered("webhook", filter).unwrap();
        assert_eq!(is_routed(&table, &Input::webhook(None, None, raw(data))), expected, "webhook: {filter}");
    }
}

#[test]
fn webhook_has_attributes_sender_and_type() {
    let github = Input::webhook(Some("github"), Some("push"), raw("{}"));
    let unknown = Input::webhook(None, None, raw(r#"{"type":"push"}"#));
    for (filter, expected) in [
        (r#"{"exact":{"sender":"github","type":"push"}}"#, (true, false)),
        (r#"{"prefix":{"type":"pu"}}"#, (true, false)),
        (r#"{"not":{"exact":{"type":"push"}}}"#, (false, true)),
        (r#"{"exact":{"/type":"push"}}"#, (false, true)),
    ] {
        let table = filtered("webhook", filter).unwrap();
        assert_eq!((is_routed(&table, &github), is_routed(&table, &unknown)), expected, "{filter}");
    }
}

#[test]
fn all_matching_routes_apply_in_order() {
    let table = Table::parse(
        r#"[{"workflow":"a","from":"webhook"},
            {"workflow":"b","from":"event"},
            {"workflow":"c","from":"webhook","sender":"forgejo"},
            {"workflow":"a","from":"webhook","sender":"custom"},
            {"workflow":"a","from":"webhook","filter":{"exact":{"type":"push"}}}]"#,
    )
    .unwrap();
    let names =
        |input: &Input<'_>| -> Vec<_> { table.matching(input).map(|route| route.name().into_owned()).collect() };
    assert_eq!(names(&Input::webhook(None, None, raw("{}"))), ["a"]);
    assert_eq!(names(&Input::webhook(Some("gitea"), Some("push"), raw("{}"))), ["a", "c", "a#2"]);
    assert_eq!(names(&Input::webhook(Some("custom"), None, raw("{}"))), ["a", "a#1"]);
    assert_eq!(names(&Input::event(raw("{}"), None)), ["b"]);
}

#[test]
fn trigger_follows_the_sender() {
    let table = Table::parse(r#"[{"workflow":"w","from":"webhook"},{"workflow":"w","from":"event"}]"#).unwrap();
    let payload = raw("{}");
    for (input, trigger) in [
        (Input::webhook(Some("github"), None, payload), Trigger::Github),
        (Input::webhook(Some("gitea"), None, payload), Trigger::Webhook),
        (Input::webhook(None, None, payload), Trigger::Webhook),
        (Input::event(payload, None), Trigger::Event),
    ] {
        let route = table.matching(&input).next().unwrap();
        assert_eq!(
            route.start(&input, Payload::Webhook(Cow::Borrowed(payload))).unwrap().trigger,
            trigger,
            "{input:?}"
        );
    }
}

fn any_filter() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["type", "sender", "/a", "/b/0", "/c"]);
    let text = prop::sample::select(vec!["a", "ab", "b", "1", "true"]);
    let dialect = prop::sample::select(vec!["exact", "prefix", "suffix"]);
    let leaf =
        (dialect, name, text).prop_map(|(dialect, name, text)| format!(r#"{{"{dialect}":{{"{name}":"{text}"}}}}"#));
    leaf.prop_recursive(4, 16, 3, |inner| {
        let several = prop::collection::vec(inner.clone(), 1..4);
        prop_oneof![
            inner.prop_map(|filter| format!(r#"{{"not":{filter}}}"#)),
            several.clone().prop_map(|filters| format!(r#"{{"all":[{}]}}"#, filters.join(","))),
            several.prop_map(|filters| format!(r#"{{"any":[{}]}}"#, filters.join(","))),
        ]
    })
}

fn any_payload() -> impl Strategy<Value = String> {
    let scalar =
        prop::sample::select(vec!["\"a\"", "\"ab\"", "\"b\"", "1", "true", "null", "{}", "[\"a\"]", "[\"b\",1]"]);
    (scalar.clone(), scalar.clone(), scalar).prop_map(|(a, b, c)| format!(r#"{{"a":{a},"b":{b},"c":{c}}}"#))
}

proptest! {
    #[test]
    fn de_morgans_laws_hold(filters in prop::collection::vec(any_filter(), 1..4), payload in any_payload(), event_type in "[ab]{0,2}") {
        let input = Input::webhook(Some("github"), Some(&event_type), raw(&payload));
        let holds = |filter: String| is_routed(&filtered("webhook", &filter).unwrap(), &input);
        let not = |filter: &String| format!(r#"{{"not":{filter}}}"#);
        let all = |filters: &[String]| format!(r#"{{"all":[{}]}}"#, filters.join(","));
        let any = |filters: &[String]| format!(r#"{{"any":[{}]}}"#, filters.join(","));
        let inverse: Vec<_> = filters.iter().map(not).collect();
        prop_assert_eq!(holds(not(&all(&filters))), holds(any(&inverse)));
        prop_assert_eq!(holds(not(&any(&filters))), holds(all(&inverse)));
        prop_assert_eq!(holds(all(&filters)), holds(format!("[{}]", filters.join(","))));
        prop_assert_eq!(holds(not(&not(&any(&filters)))), holds(any(&filters)));
    }
}
