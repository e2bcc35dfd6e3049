//! Whatever comes, it gets an answer: a 2xx, or a whole problem; and what reaches the engine is valid JSON.

use proptest::prelude::*;

use crate::fake::{RUN, World, request};

fn mostly(valid: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let broken = (any::<prop::sample::Index>(), any::<u8>()).prop_map(move |(at, byte)| {
        let mut bytes = valid.as_bytes().to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        bytes
    });
    prop_oneof![Just(valid.as_bytes().to_vec()), broken, prop::collection::vec(any::<u8>(), 0..200)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_request_gets_an_answer(
        method in prop::sample::select(vec!["POST", "POST", "POST", "GET", "HEAD", "PUT", "OPTIONS"]),
        path in prop::sample::select(vec!["/api/v2/event", "/api/v2/webhook", "/api/v2/callback", "/api/v2/callbacks/r", "/x"]),
        query in prop_oneof![
            2 => Just("ref=r&topic=t".to_owned()),
            1 => Just("ref=r,topic=t,status=FAILED".to_owned()),
            1 => "(ref|topic|status|x|%)?[=,&]?[ -~]{0,12}([&,](ref|topic|status)=[ -~]{0,8}){0,3}",
        ],
        content_type in prop_oneof![
            Just("application/json".to_owned()),
            Just("application/cloudevents+json".to_owned()),
            "(application/(cloudevents\\+)?json(; ?charset=(utf-8|x))?|text/plain|[ -~]{0,12})",
        ],
        attribute in "[ -~]{0,12}",
        body in mostly(r#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"/w","data":{"a":[1,"é"]}}"#),
    ) {
        let query: String = query.chars().filter(|c| !" \"<>`{}|\\^#".contains(*c)).collect();
        let world = World::new().with("operator_token", "op3rator").answers(200, RUN);
        let headers = [
            ("content-type", content_type.as_str()),
            ("authorization", "Bearer op3rator"),
            ("ce-specversion", "1.0"),
            ("ce-id", attribute.as_str()),
            ("ce-source", "/s"),
            ("ce-type", "t"),
        ];
        let headers = if attribute.len() % 2 == 0 { &headers[..2] } else { &headers[..] };
        let reply = world.send(request(method, &format!("{path}?{query}"), headers, &body));
        let status = reply.status();
        prop_assert!(matches!(status, 200 | 400 | 404 | 405 | 415), "{status}");
        if status != 200 && method != "HEAD" {
            let slug = reply.log["problem"].as_str().unwrap().to_owned();
            reply.problem(status, &slug);
        }
        let sent = world.sent.borrow();
        prop_assert_eq!(sent.len(), usize::from(status == 200 && method != "HEAD"));
        if let Some(sent) = sent.first() {
            let text = std::str::from_utf8(sent.request.body()).unwrap();
            let parsed: Result<&serde_json::value::RawValue, _> = serde_json::from_str(text);
            prop_assert!(parsed.is_ok(), "{}", text);
            let path = sent.request.uri().path();
            prop_assert_eq!(path.split('/').count(), 6, "{}", path);
        }
    }
}
