//! The form of profiles: bodies, proofs, conditions and addresses of pages, on profiles that are made for it.

use http::{HeaderMap, Request, Response};
use proptest::prelude::*;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::body::inert;
use super::*;
use crate::delivery::{DeliveryId, Payload, Start};
use crate::reference::{RunRef, Topic};

fn raw(json: &str) -> Cow<'_, RawValue> {
    Cow::Borrowed(serde_json::from_str(json).unwrap())
}

/// A profile whose start has this request, with members besides.
fn profile(request: &Value, members: Value) -> String {
    let mut start = json!({"method": "POST", "path": "/{workflow}"});
    start.as_object_mut().unwrap().extend(request.as_object().unwrap().clone());
    let mut profile = json!({
        "name": "own", "title": "Own", "doubt": "resend", "answers": [],
        "settings": {"days": "number", "text": "text", "ui_url": "url"},
        "start": {"request": start, "proof": "any", "reference": "{mark}"},
    });
    profile.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    profile.to_string()
}

fn with<T>(text: &str, constants: &str, test: impl FnOnce(&Engine<'_>) -> T) -> T {
    let profile = Profile::parse(text).unwrap();
    profile.check().unwrap_or_else(|error| panic!("{error}"));
    let constants = Constants::parse(constants, &profile).unwrap();
    let url = EngineUrl::parse("http://engine").unwrap();
    test(&Engine { profile, url, token: None, start: true, constants })
}

fn delivery(work: Work<'_>) -> Delivery<'_> {
    let id = DeliveryId::parse("01M85MNVRRNF3YKJSMZYXYD1X7").unwrap();
    Delivery::new(id, work, HeaderMap::new(), Timestamp(0))
}

fn webhook(payload: &str) -> Start<'_> {
    Start::new(WorkflowRef::parse("w").unwrap(), Payload::Webhook(raw(payload)))
}

fn event<'a>(whole: &'a str, data: Option<&'a str>) -> Start<'a> {
    Start::new(WorkflowRef::parse("w").unwrap(), Payload::Event { whole: raw(whole), data: data.map(raw) })
}

/// The request that a start is sent as.
fn sent(request: &Value, start: Start<'_>) -> Request<Vec<u8>> {
    with(&profile(request, json!({})), r#"{"days":3}"#, |engine| engine.request(&delivery(Work::Start(start))).unwrap())
}

fn body(template: Value, start: Start<'_>) -> String {
    String::from_utf8(sent(&json!({"body": template}), start).into_body()).unwrap()
}

#[test]
fn holes_of_a_body_keep_the_spelling_or_change_it_as_they_say() {
    let payload = r#"{"n":12345678901234567890,"f":1.0,"a":1,"a":2,"s":"{{x}} $(y) é"}"#;
    for (template, expected) in [
        (json!({"$": "data"}), payload.to_owned()),
        (json!({"$": "input"}), format!(r#"{{"data":{payload}}}"#)),
        (json!({"d": {"$": "data", "as": "text"}}), json!({"d": payload}).to_string()),
        (json!([{"$": "workflow"}, {"$": "event"}, 7]), r#"["w",7]"#.to_owned()),
        (json!({"m": {"$": "mark", "as": "lower"}}), r#"{"m":"01m85mnvrrnf3ykjsmzyxyd1x7"}"#.to_owned()),
        (json!({"b": {"$": "workflow", "as": "base64"}}), r#"{"b":"dw=="}"#.to_owned()),
        (json!({"t": {"$text": "{workflow}/{mark}"}}), r#"{"t":"w/01M85MNVRRNF3YKJSMZYXYD1X7"}"#.to_owned()),
        (json!({"j": {"$json": {"a": [{"$": "workflow"}]}}}), r#"{"j":"{\"a\":[\"w\"]}"}"#.to_owned()),
        (json!({"j": {"$json": {"a": {"$": "event"}}}, "k": null}), r#"{"k":null}"#.to_owned()),
        (json!({"e": {"$": "event", "or": ""}, "f": {"$": "workflow", "or": 1}}), r#"{"e":"","f":"w"}"#.to_owned()),
        (json!({"days": {"$": "days"}, "text": {"$": "text"}}), r#"{"days":3}"#.to_owned()),
        (json!({"a": {}, "b": [], "c": {"d": {"$": "event"}}}), r#"{"a":{},"b":[]}"#.to_owned()),
        (json!({"p": {"$": "params_object"}, "q": 1}), r#"{"q":1}"#.to_owned()),
    ] {
        assert_eq!(body(template.clone(), webhook(payload)), expected, "{template}");
    }
    let whole = r#"{"id":"1","data":{"x":1},"source":"/s","data_base64":"eA=="}"#;
    let attributes = r#"{"id":"1","source":"/s"}"#;
    assert_eq!(body(json!({"$": "attributes"}), event(whole, Some("{}"))), attributes);
    assert_eq!(body(json!({"$": "event"}), event(whole, Some("{}"))), whole);
    assert_eq!(body(json!({"$": "input"}), event(whole, None)), format!(r#"{{"event":{attributes},"data":null}}"#));
    let mut routed = webhook("{}");
    routed.params = vec![("n".to_owned(), raw("1.0")), ("data".to_owned(), raw("7"))];
    assert_eq!(body(json!({"$": "input"}), routed.clone()), r#"{"data":{},"n":1.0}"#, "a payload is never replaced");
    assert_eq!(body(json!({"$": "params_object"}), routed), r#"{"n":1.0}"#);
}

#[test]
fn body_has_the_form_that_the_profile_says() {
    let content_type = |request: &Request<Vec<u8>>| request.headers()["content-type"].to_str().unwrap().to_owned();
    let raw = sent(&json!({"form": "raw", "body": {"$": "data"}}), webhook("[1.0]"));
    assert_eq!((content_type(&raw).as_str(), raw.body().as_slice()), ("application/json", &b"[1.0]"[..]));
    let form = json!({"form": "urlencoded", "body": {"a b": {"$": "workflow"}, "n": 1, "e": {"$": "event"}, "d": {"$": "data"}}});
    let form = sent(&form, webhook(r#"{"x":"&"}"#));
    assert_eq!(content_type(&form), "application/x-www-form-urlencoded");
    assert_eq!(form.body(), b"a+b=w&d=%7B%22x%22%3A%22%26%22%7D&n=1");
    let target =
        sent(&json!({"query": {"$top": "{workflow}&"}, "headers": {"x-days": "{workflow} {mark}"}}), webhook("{}"));
    assert_eq!(target.uri(), "http://engine/w?%24top=w%26");
    assert_eq!(target.headers()["x-days"], "w 01M85MNVRRNF3YKJSMZYXYD1X7");
}

#[test]
fn event_is_sent_in_the_binary_content_mode() {
    let cloud_event = |start| sent(&json!({"form": "cloudevent", "headers": {"idempotency-key": "{mark}"}}), start);
    let header = |request: &Request<Vec<u8>>, name: &str| {
        request.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    };
    let sent = cloud_event(webhook(r#"{"n":1.0}"#));
    assert_eq!(sent.body(), br#"{"n":1.0}"#);
    for (name, value) in [
        ("ce-specversion", "1.0"),
        ("ce-id", "01M85MNVRRNF3YKJSMZYXYD1X7"),
        ("ce-source", concat!("/sluice", "/")),
        ("ce-type", "dev.sluice.webhook"),
        ("content-type", "application/json"),
        ("idempotency-key", "01M85MNVRRNF3YKJSMZYXYD1X7"),
    ] {
        assert_eq!(header(&sent, name).as_deref(), Some(value), "{name}");
    }
    // HTTP Protocol Binding 1.0.2, section 3.1.3.2: the Euro sign and the quotation mark are its examples.
    let whole = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"\u20ac \"x\" 5%","n":5,"b":true,"gone":null,"datacontenttype":"text/plain","data":"a b"}"#;
    let sent = cloud_event(event(whole, Some("\"a b\"")));
    assert_eq!(header(&sent, "ce-subject").as_deref(), Some("%E2%82%AC%20%22x%22%205%25"));
    assert_eq!((header(&sent, "ce-n").as_deref(), header(&sent, "ce-b").as_deref()), (Some("5"), Some("true")));
    assert_eq!((header(&sent, "ce-gone"), header(&sent, "ce-data")), (None, None));
    assert_eq!((sent.body().as_slice(), header(&sent, "content-type").as_deref()), (&b"a b"[..], Some("text/plain")));
    let whole =
        r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","datacontenttype":"image/png","data_base64":"AAH/"}"#;
    assert_eq!(cloud_event(event(whole, Some("\"AAH/\""))).body(), &[0, 1, 255]);
    let whole = r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","data":"text"}"#;
    assert_eq!(cloud_event(event(whole, Some("\"text\""))).body(), b"\"text\"", "without a type it is JSON");
}

/// The verdict on a start whose response has this body.
fn verdict(proof: &Value, answers: &Value, status: u16, body: &str) -> Verdict {
    let start = json!({"request": {"method": "POST", "path": "/{workflow}"}, "proof": proof, "reference": "{mark}"});
    let text = profile(&json!({}), json!({"start": start, "answers": answers}));
    with(&text, "{}", |engine| {
        let names = engine.names(&delivery(Work::Start(webhook("{}")))).unwrap();
        let response = Response::builder().status(status).header("x-run", "7").body(body.as_bytes().to_vec()).unwrap();
        engine.read(Operation::Start, &names, response, Timestamp(1_000_000))
    })
}

#[test]
fn success_needs_the_proof_that_the_profile_says() {
    for (proof, body, is_proven) in [
        (json!("any"), "", true),
        (json!("object"), "{}", true),
        (json!("object"), "[]", false),
        (json!("json-or-empty"), "", true),
        (json!("json-or-empty"), "<html>", false),
        (json!("text"), " 7 \n", true),
        (json!("text"), "<html> <b>", false),
        (json!("text"), "", false),
        (json!({"at": "/id"}), r#"{"id":7}"#, true),
        (json!({"at": "/id"}), r#"{"id":""}"#, false),
        (json!({"at": "/id"}), r#"{"id":null}"#, false),
        (json!({"at": "/0/id"}), r#"[{"id":"x"}]"#, true),
        (json!({"at": "/id", "equals": "{workflow}"}), r#"{"id":"w"}"#, true),
        (json!({"at": "/id", "equals": "{workflow}"}), r#"{"id":"x"}"#, false),
        (json!({"header": "x-run"}), "", true),
        (json!({"header": "x-other"}), "", false),
    ] {
        let verdict = verdict(&proof, &json!([]), 200, body);
        assert_eq!(matches!(verdict, Verdict::Accepted { .. }), is_proven, "{proof} {body}: {verdict:?}");
        assert!(
            is_proven || matches!(verdict, Verdict::Unclear { concluded: false, .. }),
            "{proof} {body}: {verdict:?}"
        );
    }
}

#[test]
fn rule_counts_if_all_its_conditions_hold() {
    let body = r#"{"a":"text","n":5,"b":false,"list":["x",7],"time":"1970-01-01T00:10:00Z","null":null}"#;
    for (condition, holds) in [
        (json!({"at": "/a", "equals": "text"}), true),
        (json!({"at": "/a", "equals": "tex"}), false),
        (json!({"at": "/n", "equals": "5"}), true),
        (json!({"at": "/b", "equals": "false"}), true),
        (json!({"at": "/a", "prefix": "te"}), true),
        (json!({"at": "/a", "prefix": "ex"}), false),
        (json!({"at": "/a", "contains": "ex"}), true),
        (json!({"at": "/list", "contains": "x"}), true),
        (json!({"at": "/list", "contains": "7"}), true),
        (json!({"at": "/list", "contains": "y"}), false),
        (json!({"at": "/list/0", "equals": "x"}), true),
        (json!({"at": "/none", "absent": true}), true),
        (json!({"at": "/null", "absent": true}), true),
        (json!({"at": "/a", "absent": true}), false),
        (json!({"at": "/a", "present": true}), true),
        (json!({"at": "/none", "present": true}), false),
        (json!({"at": "/time", "older_ms": "400000"}), true),
        (json!({"at": "/time", "older_ms": "400001"}), false),
        (json!({"at": "/a", "older_ms": "0"}), false),
        (json!({"at": "/none", "older_ms": "0"}), false),
    ] {
        for status in [200, 409] {
            let rule = json!([{"status": "200,400-499", "when": [condition, {"at": "/a", "present": true}], "verdict": "retry"}]);
            let verdict = verdict(&json!("any"), &rule, status, body);
            assert_eq!(matches!(verdict, Verdict::Retry { .. }), holds, "{condition} {status}: {verdict:?}");
        }
    }
    // Nothing is at any place of a body that is no JSON.
    let absent = json!([{"status": "503", "when": [{"at": "/a", "absent": true}], "verdict": "retry"}]);
    assert!(matches!(verdict(&json!("any"), &absent, 503, "<html>"), Verdict::Retry { .. }));
}

#[test]
fn page_of_a_run_needs_its_constants() {
    let text = profile(&json!({}), json!({"page": "{ui_url}/runs/{run}"}));
    let page = |constants: &str, run: &str| with(&text, constants, |engine| engine.page(run));
    assert_eq!(page("{}", "r"), None);
    assert_eq!(page(r#"{"ui_url":"https://ui/x"}"#, "a b").as_deref(), Some("https://ui/x/runs/a%20b"));
    assert_eq!(page(r#"{"ui_url":"https://ui"}"#, ".."), None);
}

#[test]
fn callback_has_the_names_of_its_run() {
    let resume = json!({"request": {"method": "POST", "path": "/{workflow}/{run}/{topic}", "headers": {"key": "{once}"}, "form": "raw", "body": {"$": "resolution"}},
        "proof": "any", "confirm": "answer"});
    let text = profile(&json!({}), json!({"resume": resume, "run_names": ["workflow", "run"]}));
    let callback = |payload: Option<&'static str>, status| {
        let (run, topic) = (RunRef::parse("w!r").unwrap(), Topic::parse("t").unwrap());
        delivery(Work::Resolve(Callback { run, topic, status, payload: payload.map(raw) }))
    };
    with(&text, "{}", |engine| {
        let first = engine.request(&callback(Some("{}"), Status::Succeeded)).unwrap();
        let second = engine.request(&callback(None, Status::Failed)).unwrap();
        assert_eq!(first.uri(), "http://engine/w/r/t");
        assert_eq!(first.headers()["key"], second.headers()["key"], "whatever else they say");
        assert_eq!(first.body(), br#"{"status":"succeeded","data":{}}"#);
        assert_eq!(second.body(), br#"{"status":"failed"}"#);
        assert_eq!(engine.workflow_in("w!r").unwrap().name.as_deref(), Some("w"));
    });
}

proptest! {
    #[test]
    fn inert_text_is_the_same_json_without_templates(text in "[{}$\\\\\"a\u{7f}é\u{e0067}\n]{0,24}") {
        let json = json!({ text.clone(): [text, {"n": 1.5}] }).to_string();
        let escaped = inert(&json);
        prop_assert_eq!(serde_json::from_str::<Value>(&escaped).unwrap(), serde_json::from_str::<Value>(&json).unwrap());
        prop_assert!(escaped.bytes().all(|b| matches!(b, b' '..=b'~')) && !escaped.contains('$'));
        // The only braces are those of the two objects.
        prop_assert_eq!(escaped.matches(['{', '}']).count(), 4);
    }
}
