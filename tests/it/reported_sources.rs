//! Faults that users of other gateways have reported, of what a source is known by: two events with one body, presets
//! that shadow a source, secrets as vendors show them, URLs with and without a port.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{KeyInit as _, Mac as _};

use crate::fake::{FORM, JSON, Reply, WEBHOOK_URI, World, row};
use crate::senders::mac_sha256;

const GITHUB: &str = r#"[{"name":"gh","sender":"github","secrets":["gh-s3cret"]}]"#;

fn sources(json: &str) -> World {
    World::new().healthy().with("sources", json)
}

fn signed(secret: &str, body: &str) -> String {
    format!("sha256={}", mac_sha256(secret, body.as_bytes()))
}

fn github(world: &World, body: &str, delivery: &str) -> Reply {
    let signature = signed("gh-s3cret", body);
    let headers = [
        JSON,
        ("x-github-event", "repository_dispatch"),
        ("x-github-delivery", delivery),
        ("x-hub-signature-256", &signature),
    ];
    world.post(WEBHOOK_URI, &headers, body)
}

// F1: two events with one body.

#[on_each_store]
fn two_deliveries_with_one_body_are_two_runs() {
    for body in [
        r#"{"action":"deploy","branch":"main","client_payload":{}}"#,
        r#"{"inputs":{},"ref":"refs/heads/main","workflow":".github/workflows/deploy.yml"}"#,
        r#"{"action":"started"}"#,
        "{}",
        r#"{"zen":"Keep it logically awesome."}"#,
    ] {
        let _row = row(body);
        let world = sources(GITHUB);
        let first = github(&world, body, "00000001-0000-4000-8000-000000000000");
        let second = github(&world, body, "00000002-0000-4000-8000-000000000000");
        let again = github(&world, body, "00000001-0000-4000-8000-000000000000");
        assert_eq!(first.outcome(), (200, Some("delivered")));
        assert_eq!(second.outcome(), (200, Some("delivered")));
        assert_eq!(again.outcome(), (200, Some("duplicate")));
        assert_ne!(first.delivery(), second.delivery());
        assert_eq!(again.delivery(), first.delivery());
        assert_eq!(world.engine.take_calls(), ["submit w", "submit w"]);
    }
}

/// GitLab's hooks from a job's curl: nothing says that they are one.
#[on_each_store]
fn body_without_any_id_is_another_event_each_time() {
    for (source, headers) in [
        (r#"[{"name":"gl","sender":"gitlab","secrets":["gl-s3cret"]}]"#, &[("x-gitlab-token", "gl-s3cret")][..]),
        (r#"[{"name":"ci","tokens":["t0ken"]}]"#, &[("x-access-token", "t0ken")]),
        (r#"[{"name":"ci","tokens":["t0ken"]}]"#, &[("authorization", "Bearer t0ken")]),
    ] {
        let _row = row(source);
        let world = sources(source);
        let post = |key: Option<&str>| {
            let key = key.map(|key| ("idempotency-key", key));
            let headers: Vec<_> = headers.iter().copied().chain([JSON]).chain(key).collect();
            world.post(WEBHOOK_URI, &headers, r#"{"object_kind":"push"}"#)
        };
        assert_eq!(
            [post(None), post(None)].map(|reply| reply.outcome().1.map(str::to_owned)),
            [Some("delivered".to_owned()), Some("delivered".to_owned())]
        );
        // A key that differs always tells two apart, and an equal one does not.
        let outcomes = ["k-1", "k-2", "k-1"].map(|key| post(Some(key)).outcome().1.map(str::to_owned));
        assert_eq!(outcomes.map(Option::unwrap), ["delivered", "delivered", "duplicate"]);
    }
}

/// `"repeat":"body"` asks for the digest.
#[on_each_store]
fn repeat_by_body_is_asked_for() {
    let world = sources(r#"[{"name":"gl","sender":"gitlab","secrets":["gl-s3cret"],"repeat":"body"}]"#);
    let post = |body: &str| world.post(WEBHOOK_URI, &[JSON, ("x-gitlab-token", "gl-s3cret")], body);
    assert_eq!(post("{}").outcome().1, Some("delivered"));
    assert_eq!(post("{}").outcome().1, Some("duplicate"));
    assert_eq!(post(r#"{"a":1}"#).outcome().1, Some("delivered"));
}

// F3: a preset never shadows what is set up.

#[on_each_store]
fn source_with_a_descriptor_is_not_shadowed_by_a_preset() {
    let meta = r#"{"name":"meta","sender":{"algorithm":"hmac-sha256","headers":["x-hub-signature-256"],"prefix":"sha256="},"secrets":["cu-s3cret"]}"#;
    for all in [
        format!("[{meta}]"),
        format!(r#"[{meta},{{"name":"gh","sender":"github","secrets":["gh-s3cret"]}}]"#),
        format!(r#"[{{"name":"gh","sender":"github","secrets":["gh-s3cret"]}},{meta}]"#),
        format!(r#"[{{"name":"gt","sender":"gitea","secrets":["gt-s3cret"]}},{meta}]"#),
        format!(r#"[{{"name":"bb","sender":"bitbucket","secrets":["bb-s3cret"]}},{meta}]"#),
    ] {
        for query in ["", "&source=meta", "&sender=meta"] {
            let _row = row(format!("{all} {query}"));
            let world = sources(&all);
            let body = r#"{"object":"whatsapp_business_account","entry":[]}"#;
            let signature = signed("cu-s3cret", body);
            let uri = format!("{WEBHOOK_URI}{query}");
            let reply = world.post(&uri, &[JSON, ("x-hub-signature-256", &signature)], body);
            assert_eq!(reply.outcome(), (200, Some("delivered")), "{}", reply.text());
            let forged = signed("other", body);
            let reply = world.post(&uri, &[JSON, ("x-hub-signature-256", &forged)], body);
            reply.problem(401, "invalid-signature");
        }
    }
}

#[on_each_store]
fn preset_that_is_not_set_up_is_named() {
    let body = r#"{"ref":"refs/heads/main"}"#;
    let mac = mac_sha256("gh-s3cret", body.as_bytes());
    let hub = format!("sha256={mac}");
    for (name, headers) in [
        ("gitea", vec![("x-gitea-event", "push"), ("x-github-event", "push"), ("x-gitea-signature", &*mac)]),
        ("slack", vec![("x-slack-signature", "v0=00"), ("x-slack-request-timestamp", "1")]),
        ("stripe", vec![("stripe-signature", "t=1,v1=00")]),
        ("linear", vec![("linear-signature", &*mac)]),
        ("shopify", vec![("x-shopify-hmac-sha256", "AAAA"), ("x-shopify-topic", "orders/create")]),
        ("gitea", vec![("x-gitea-event", "push"), ("x-gitea-signature", &*mac), ("x-hub-signature-256", &*hub)]),
    ] {
        let _row = row(name);
        let world = sources(r#"[{"name":"partner","tokens":["t0ken"]}]"#);
        let headers: Vec<_> = headers.into_iter().chain([JSON]).collect();
        let reply = world.post(WEBHOOK_URI, &headers, body);
        assert_eq!(reply.status(), 401);
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(name), "{detail}");
        world.assert_untouched();
    }
}

// F6: a secret as its vendor shows it, and one wrong source that stops only itself.

#[on_each_store]
fn secret_is_taken_as_its_vendor_shows_it() {
    let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    for secret in [format!("whsec_{key}"), format!("v1,whsec_{key}")] {
        let _row = row(&secret);
        let world = sources(&format!(r#"[{{"name":"supabase","sender":"standard-webhooks","secrets":["{secret}"]}}]"#));
        let now = (world.now() / 1_000).to_string();
        let body = r#"{"type":"INSERT"}"#;
        let bytes = format!("msg_1.{now}.{body}");
        let mut mac = hmac::Hmac::<sha2::Sha256>::new_from_slice(&BASE64_STANDARD.decode(key).unwrap()).unwrap();
        mac.update(bytes.as_bytes());
        let signature = format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes()));
        let headers = [JSON, ("webhook-id", "msg_1"), ("webhook-timestamp", &now), ("webhook-signature", &signature)];
        let reply = world.post(WEBHOOK_URI, &headers, body);
        assert_eq!(reply.outcome(), (200, Some("delivered")), "{}", reply.text());
        assert_eq!(world.get("/readyz").status(), 200);
    }
}

#[on_each_store]
fn wrong_secret_stops_its_source_and_not_the_gateway() {
    for wrong in ["whsec_***", "not base64!", "pk_live_1", "v1", "whsec_"] {
        let _row = row(wrong);
        let world = sources(&format!(
            r#"[{{"name":"supabase","sender":"standard-webhooks","secrets":["{wrong}"]}},{{"name":"ci","tokens":["t0ken"]}}]"#
        ));
        let reply = world.post(WEBHOOK_URI, &[JSON, ("x-access-token", "t0ken")], "{}");
        assert_eq!(reply.outcome(), (200, Some("delivered")), "{}", reply.text());
        let ready = world.get("/readyz");
        assert_eq!(ready.status(), 200, "{}", ready.text());
        assert!(ready.text().contains("degraded") && ready.text().contains("supabase"), "{}", ready.text());
        assert!(!ready.text().contains(wrong) || wrong.len() < 3, "{}", ready.text());
    }
}

// F4: Twilio behind a port of its own.

#[on_each_store]
fn twilio_is_verified_with_and_without_the_port() {
    for (public_url, signed_origin, fits) in [
        ("https://hooks.example.com:8443", "https://hooks.example.com:8443", true),
        ("https://hooks.example.com:8443", "https://hooks.example.com", true),
        ("https://hooks.example.com", "https://hooks.example.com:443", true),
        ("https://hooks.example.com:443", "https://hooks.example.com", true),
        ("http://hooks.example.com:80", "http://hooks.example.com", true),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]", true),
        ("https://hooks.example.com", "https://hooks.example.com:8443", false),
        ("https://hooks.example.com", "https://other.example.com", false),
    ] {
        let _row = row(format!("{public_url} {signed_origin}"));
        let world =
            sources(r#"[{"name":"sms","sender":"twilio","secrets":["tw-s3cret"]}]"#).setting("public_url", public_url);
        let mut mac = hmac::Hmac::<sha1::Sha1>::new_from_slice(b"tw-s3cret").unwrap();
        mac.update(format!("{signed_origin}{WEBHOOK_URI}BodyhiMessageSidSM1").as_bytes());
        let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        let reply = world.post(WEBHOOK_URI, &[FORM, ("x-twilio-signature", &signature)], "Body=hi&MessageSid=SM1");
        assert_eq!(reply.status(), if fits { 204 } else { 401 }, "{}", reply.text());
    }
}

#[on_each_store]
fn json_with_the_type_of_a_form_is_named() {
    for body in [r#"{"a":1}"#, r#"{"a":"b=c"}"#, "[1]", "\u{feff}{}", "%7B%22a%22%3A1%7D"] {
        let _row = row(body);
        let world = sources(GITHUB);
        let signature = signed("gh-s3cret", body);
        let headers =
            [FORM, ("x-github-event", "push"), ("x-github-delivery", "d-1"), ("x-hub-signature-256", &signature)];
        let problem = world.post(WEBHOOK_URI, &headers, body).problem(400, "invalid-body");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("the body is JSON, not a form"), "{detail}");
    }
}
