//! The variable `routes`: the examples of docs/routes.md, and arbitrary values.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;
use sluice::delivery::{Payload, Start, Trigger};
use sluice::json::InvalidValue;
use sluice::routing::{Input, MAX_PARAM_BYTES, Route, Table, TableError};
use sluice::sender::{Preset, event_type};

use crate::fake::{JSON, World, row};

const WEBHOOK: &str = "/api/v2/webhook";
const EVENT: &str = "/api/v2/event";

fn page() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/routes.md")).unwrap()
}

/// The first block of JSON on the page.
fn example() -> String {
    page().split("```json").nth(1).unwrap().split("```").next().unwrap().to_owned()
}

fn raw(json: &str) -> &RawValue {
    serde_json::from_str(json).unwrap()
}

fn params<'a>(start: &'a Start<'_>) -> Vec<(&'a str, &'a str)> {
    start.params.iter().map(|(name, value)| (name.as_str(), value.get())).collect()
}

fn start<'a>(route: &'a Route, input: &Input<'a>, payload: &'a RawValue) -> Start<'a> {
    route.start(input, Payload::Webhook(Cow::Borrowed(payload))).unwrap()
}

/// Parses each code block as a table, and each inline object as a filter or a param.
#[test]
fn examples_in_the_documentation_parse() {
    let page = page();
    let mut parsed = Vec::new();
    for (at, part) in page.split("```").enumerate() {
        if at % 2 == 1 {
            let table = part.strip_prefix("json\n").expect("each block is a table");
            Table::parse(table).unwrap_or_else(|error| panic!("{table}: {error}"));
            parsed.push(table.to_owned());
            continue;
        }
        for code in
            part.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).filter(|code| code.starts_with('{'))
        {
            let table = if code.starts_with("{\"value\"") {
                format!(r#"[{{"workflow":"w","from":"webhook","params":{{"p":{code}}}}}]"#)
            } else {
                format!(r#"[{{"workflow":"w","from":"webhook","filter":{code}}}]"#)
            };
            Table::parse(&table).unwrap_or_else(|error| panic!("{code}: {error}"));
            parsed.push(table);
        }
    }
    for member in ["exact", "prefix", "suffix", "all", "any", "not", "sql", "params", "value"] {
        assert!(parsed.iter().any(|table| table.contains(&format!("\"{member}\""))), "no example of {member}");
    }
}

#[test]
fn github_push_starts_a_workflow_with_the_branch() {
    let table = Table::parse(&example()).unwrap();
    let payload = r#"{"ref":"refs/heads/main","head_commit":{"id":"0d1a"},"size":12345678901234567890,
        "commits":[{"modified":["a.rs","b.rs"]},{"modified":[]},{"modified":["c\u002ers"]}]}"#;
    let payload = raw(payload);
    let mut headers = http::HeaderMap::new();
    headers.insert("x-github-event", "push".parse().unwrap());
    let preset = Preset::by_headers(&headers).unwrap();
    let event = event_type(preset.descriptors(), &headers, payload);

    let input = Input::webhook(Some(preset.name), event.as_deref(), payload);
    let routes: Vec<_> = table.matching(&input).collect();
    assert_eq!(routes.len(), 1);
    let start = start(routes[0], &input, payload);
    assert_eq!((start.workflow.as_str(), start.trigger), ("build", Trigger::Github));
    assert_eq!(
        params(&start),
        [
            ("branch", r#""refs/heads/main""#),
            ("commit", r#""0d1a""#),
            ("files", r#"["a.rs","b.rs","c\u002ers"]"#),
            ("clean", "true")
        ]
    );
    for (name, sender, event, payload) in [
        ("other sender", Some("gitea"), Some("push"), payload),
        ("other event", Some("github"), Some("create"), payload),
        ("other ref", Some("github"), Some("push"), raw(r#"{"ref":"refs/tags/v1"}"#)),
        ("no sender", None, Some("push"), payload),
    ] {
        assert_eq!(table.matching(&Input::webhook(sender, event, payload)).count(), 0, "{name}");
    }
}

#[test]
fn event_is_routed_by_the_prefix_of_the_type() {
    let table = Table::parse(&example()).unwrap();
    let whole =
        raw(r#"{"specversion":"1.0","id":"1","source":"/s","type":"com.example.order.paid","data":{"id":7.10}}"#);
    let input = Input::event(whole, None);
    let routes: Vec<_> = table.matching(&input).collect();
    assert_eq!(routes.len(), 1);
    let start = start(routes[0], &input, whole);
    assert_eq!((start.workflow.as_str(), start.trigger), ("audit", Trigger::Event));
    assert_eq!(params(&start), [("order", "7.10"), ("kind", r#""com.example.order.paid""#)]);
}

/// Params are stored with the payload, so their total size is limited.
#[test]
fn params_share_one_size_limit() {
    let table =
        Table::parse(r#"[{"workflow":"w","from":"webhook","params":{"a":"$.t","b":"$.t","c":"$.u"}}]"#).unwrap();
    for (size, fits) in [(MAX_PARAM_BYTES / 2 - 2, true), (MAX_PARAM_BYTES / 2, false)] {
        let payload = format!(r#"{{"t":"{}"}}"#, "x".repeat(size));
        let payload = raw(&payload);
        let input = Input::webhook(None, None, payload);
        let start = table.matching(&input).next().unwrap().start(&input, Payload::Webhook(Cow::Borrowed(payload)));
        match start {
            Ok(start) => assert!(fits && start.params.len() == 2),
            Err(error) => assert!(!fits && error.param == "b", "{error}"),
        }
    }
}

#[on_each_store]
fn invalid_table_names_the_position() {
    for (routes, detail) in [
        (
            r#"[{"workflow":"w","from":"event","filter":{"exact":{"type":""}}}]"#,
            "variable `routes` is no table of routes: `/0/filter/exact/type` must not be empty",
        ),
        (
            r#"[{"workflow":"w","from":"event"},{"workflow":"w","from":"event","filter":{"any":[{"sql":"type = 't' AND\n  subject == 's'"}]}}]"#,
            "variable `routes` is no table of routes: `/1/filter/any/0/sql` has an error at line 2, column 12: expected a value",
        ),
        ("{}", "variable `routes` is no table of routes: it must be an array, but is an object"),
        (
            "[{}",
            "variable `routes` is no table of routes: it is not valid JSON: EOF while parsing a list at line 1 column 3",
        ),
    ] {
        let _row = row(routes);
        let problem = World::new().with("routes", routes).get("/readyz").problem(503, "configuration");
        assert_eq!((problem["field"].as_str(), problem["detail"].as_str()), (Some("routes"), Some(detail)));
    }
    for routes in ["", "  ", &example()] {
        assert_eq!(World::new().with("routes", routes).get("/readyz").status(), 200, "{routes}");
    }
}

/// The second block of JSON on the page.
#[on_each_store]
fn expressions_select_the_workflow() {
    let page = page();
    let table = page.split("```json").nth(2).unwrap().split("```").next().unwrap();
    let pull = r#"{"action":"opened","pull_request":{"additions":500,"deletions":1}}"#;
    let refund = r#"{"specversion":"1.0","id":"1","source":"/s","type":"com.example.refund.created","amount":100}"#;
    let github = |event| vec![JSON, ("x-github-event", event)];
    let event = || vec![("content-type", "application/cloudevents+json")];
    for (uri, headers, body, workflow) in [
        (WEBHOOK, github("pull_request"), pull.to_owned(), Some("review")),
        (WEBHOOK, github("pull_request"), pull.replace("500", "499"), None),
        (WEBHOOK, github("pull_request"), pull.replace("opened", "closed"), None),
        // A value that is missing, and one that is no integer.
        (WEBHOOK, github("pull_request"), pull.replace("deletions", "other"), None),
        (WEBHOOK, github("pull_request"), pull.replace("500", "500.5"), None),
        (WEBHOOK, github("push"), pull.to_owned(), None),
        (EVENT, event(), refund.to_owned(), Some("refund")),
        (EVENT, event(), refund.replace("100", "\"100\""), Some("refund")),
        (EVENT, event(), refund.replace("100", "99"), None),
        (EVENT, event(), refund.replace("100", "\"all\""), None),
        (EVENT, event(), refund.replace("created", "done"), None),
    ] {
        let _row = row(&body);
        let world = World::new().with("routes", table).healthy();
        let reply = world.post(uri, &headers, &body);
        match workflow {
            None => assert_eq!(reply.outcome(), (204, Some("unmatched"))),
            Some(workflow) => {
                assert_eq!(reply.outcome(), (200, Some("delivered")));
                let sent = world.engine.only_request();
                assert!(sent.url.contains(&format!("/{workflow}/")), "{}", sent.url);
            }
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let known = [
        "workflow",
        "from",
        "event",
        "webhook",
        "sender",
        "github",
        "filter",
        "params",
        "exact",
        "prefix",
        "suffix",
        "all",
        "any",
        "not",
        "sql",
        "type = DATA('/ref')",
        "type",
        "/a/0",
        "$.a",
        "$..a[?@.b]",
        "$[",
        "value",
        "",
    ];
    let word = prop_oneof![3 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => "\\PC{0,4}"];
    let leaf = prop_oneof![word.clone().prop_map(Value::from), any::<i32>().prop_map(Value::from), Just(Value::Null)];
    leaf.prop_recursive(5, 40, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(word.clone(), inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// The documented table with one part replaced.
fn mostly_valid() -> impl Strategy<Value = Value> {
    (any_json(), 0..6_usize).prop_map(|(part, at)| {
        let mut table: Value = serde_json::from_str(&example()).unwrap();
        let pointers =
            ["/0/filter", "/0/filter/all/0", "/0/filter/all/1/prefix", "/1/params", "/1/params/kind", "/1/from"];
        *table.pointer_mut(pointers[at]).unwrap() = part;
        table
    })
}

proptest! {
    #[test]
    fn arbitrary_json_parses_or_names_the_position(json in prop_oneof![any_json(), mostly_valid()]) {
        match Table::parse(&json.to_string()) {
            Ok(table) => {
                let payload = raw(r#"{"a":[{"b":1}],"ref":"refs/heads/x"}"#);
                let input = Input::webhook(Some("github"), Some("push"), payload);
                for route in table.matching(&input) {
                    prop_assert!(route.start(&input, Payload::Webhook(Cow::Borrowed(payload))).is_ok());
                }
            }
            Err(TableError::Value(InvalidValue { pointer, rule })) => {
                prop_assert!(!rule.is_empty());
                prop_assert!(json.pointer(&pointer).is_some(), "{pointer} is not in {json}");
            }
            Err(error) => prop_assert!(false, "{json}: {error}"),
        }
    }

    #[test]
    fn arbitrary_text_parses_or_is_refused(text in "[\\[{\"a:,$}\\]\\\\ 0]{0,30}|\\PC{0,30}") {
        if let Err(error) = Table::parse(&text) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
