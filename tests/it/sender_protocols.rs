//! Protocols of senders beyond a signed delivery: challenges, forms, custom descriptors, proxies and response policies.

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha1::Sha1;
use sluice::sender::{PRESETS, ResponsePolicy, Sender, SuccessCriterion};

use crate::fake::{FORM, JSON, NOW, RUN, Reply, WEBHOOK_URI, World, request, row};
use crate::senders::{Case, flipped, mac_sha256};

/// The headers by which Slack and Zoom sign.
fn v0(sender: &str, body: &str) -> [(&'static str, String); 2] {
    let seconds = NOW / 1_000;
    let signature = format!("v0={}", mac_sha256("s3cret", format!("v0:{seconds}:{body}").as_bytes()));
    let names = match sender {
        "slack" => ["x-slack-request-timestamp", "x-slack-signature"],
        _ => ["x-zm-request-timestamp", "x-zm-signature"],
    };
    [(names[0], seconds.to_string()), (names[1], signature)]
}

#[on_each_store]
fn challenges_are_answered_once_verified() {
    let slack = r#"{"token":"x","challenge":"3eZbrw1a","type":"url_verification"}"#;
    let zoom = r#"{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS"},"event_ts":1}"#;
    let twitch = r#"{"challenge":"pogchamp","subscription":{"type":"channel.follow"}}"#;
    let at = "2026-11-24T08:30:00Z";
    let twitch_signature = format!("sha256={}", mac_sha256("s3cret", format!("m-1{at}{twitch}").as_bytes()));
    let twitch_headers = [
        ("twitch-eventsub-message-id", "m-1".to_owned()),
        ("twitch-eventsub-message-timestamp", at.to_owned()),
        ("twitch-eventsub-message-type", "webhook_callback_verification".to_owned()),
        ("twitch-eventsub-message-signature", twitch_signature),
    ];
    let encrypted = mac_sha256("s3cret", b"qgg8vlvZRS");
    let zoom_answer = format!(r#"{{"plainToken":"qgg8vlvZRS","encryptedToken":"{encrypted}"}}"#);
    for (sender, body, headers, content_type, answer) in [
        ("slack", slack, v0("slack", slack).to_vec(), "application/json", r#"{"challenge":"3eZbrw1a"}"#),
        ("zoom", zoom, v0("zoom", zoom).to_vec(), "application/json", &zoom_answer),
        ("twitch", twitch, twitch_headers.to_vec(), "text/plain; charset=utf-8", "pogchamp"),
    ] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &**value)).chain([JSON]).collect();
        for uri in [WEBHOOK_URI, "/api/v2/webhook"] {
            let _row = row(format!("{sender} at {uri}"));
            // The response is signed with the secret that verified the request.
            let world = World::new().source_of(sender, ["another", "s3cret"]);
            let reply = world.post(uri, &headers, body);
            assert_eq!(reply.status(), 200);
            match content_type {
                "application/json" => assert_eq!(reply.json(), serde_json::from_str::<Value>(answer).unwrap()),
                _ => assert_eq!(reply.text(), answer),
            }
            assert_eq!(reply.header("content-type"), Some(content_type));
            assert_eq!(reply.log["outcome"], "challenge");
            world.assert_untouched();
            assert!(world.is_store_unused());

            let world = World::new().source_of(sender, ["another"]);
            let refusal = world.post(uri, &headers, body);
            refusal.problem(401, "invalid-signature");
            assert!(!refusal.text().contains(answer));
            world.post(uri, &headers, body.replace("e", "E")).problem(401, "invalid-signature");
            world.assert_untouched();
        }
        // Without a verified signature there is no challenge: neither without any configuration nor with only a token.
        let open = World::new();
        open.post("/api/v2/webhook", &headers, body).problem(400, "missing-parameter");
        let token = World::new().with("access_tokens", "t0ken");
        token.post("/api/v2/webhook?access_token=t0ken", &headers, body).problem(400, "missing-parameter");
        open.assert_untouched();
        token.assert_untouched();
    }
}

#[on_each_store]
fn event_grid_validation_is_answered_with_a_valid_token() {
    let event = "Microsoft.EventGrid.SubscriptionValidationEvent";
    let body = json!([{"id": "1", "data": {"validationCode": "512d38b6"}, "eventType": event}]).to_string();
    let headers = [JSON, ("aeg-event-type", "SubscriptionValidation")];
    let guarded = || World::new().with("access_tokens", "t0ken").source_of("github", ["s3cret"]);
    for (world, uri) in [(guarded(), "/api/v2/webhook?access_token=t0ken"), (World::new(), "/api/v2/webhook")] {
        let _row = row(uri);
        let reply = world.post(uri, &headers, &body);
        assert_eq!((reply.status(), reply.text()), (200, r#"{"validationResponse":"512d38b6"}"#));
        assert_eq!(reply.log["outcome"], "challenge");
        world.assert_untouched();
    }
    for uri in ["/api/v2/webhook", WEBHOOK_URI, "/api/v2/webhook?access_token=wrong"] {
        let _row = row(uri);
        let world = guarded();
        let reply = world.post(uri, &headers, &body);
        reply.problem(401, "unauthorized");
        assert!(!reply.text().contains("512d38b6"));
        world.assert_untouched();
    }
}

/// Asana and Notion make the secret, and hand it over in a request of its own.
#[on_each_store]
fn secret_that_a_sender_hands_over_is_kept_for_the_operator() {
    for (sender, signature) in [("asana", "x-hook-signature"), ("notion", "x-notion-signature")] {
        let _row = row(sender);
        let world = World::with_operator().respond(200, RUN).source(json!({"name": "hook", "sender": sender}));
        let uri = format!("{WEBHOOK_URI}&source=hook");
        let shake = |secret| {
            let body = json!({ "verification_token": secret }).to_string();
            match sender {
                "asana" => world.post(&uri, &[JSON, ("x-hook-secret", secret)], "{}"),
                _ => world.post(&uri, &[JSON], body),
            }
        };
        for secret in ["first", "second", "third", "fourth", "first"] {
            let reply = shake(secret);
            assert_eq!(reply.status(), 200, "{}", reply.text());
            assert_eq!(reply.header("x-hook-secret"), (sender == "asana").then_some(secret));
        }
        assert_eq!(shake("fifth").status(), 401);
        let listed = world.as_operator("GET", "/api/v2/sources").json();
        let handed = listed["sources"][0]["handed"].as_array().unwrap();
        let secrets: Vec<_> = handed.iter().map(|handed| handed["secret"].as_str().unwrap()).collect();
        assert_eq!(secrets, ["first", "second", "third", "fourth"]);
        assert!(!world.as_operator("GET", "/console/sources").text().contains("second"));

        // Until the secret is set, an event is not lost: its sender sends it again.
        let prefix = if sender == "notion" { "sha256=" } else { "" };
        let signed = format!("{prefix}{}", mac_sha256("first", br#"{"id":"1"}"#));
        let event = || world.post(&uri, &[JSON, (signature, &signed)], r#"{"id":"1"}"#);
        event().problem(503, "configuration");
        world.set("sources", &json!([{"name": "hook", "sender": sender, "secrets": ["first"]}]).to_string());
        assert_eq!(event().outcome().1, Some("delivered"));
        assert_eq!(shake("late").status(), 401, "the source has a secret");
    }
}

#[on_each_store]
fn forms_of_known_senders_become_params() {
    let slash = Case::published().into_iter().find(|case| case.preset == "slack").unwrap();
    let world = slash.world(&[&slash.secret]);
    assert_eq!(slash.post(&world).status(), 200);
    let sent = world.engine.only_request().param("data");
    assert_eq!((&sent["command"], &sent["text"]), (&json!("/webhook-collect"), &json!("")));
    assert_eq!(sent["response_url"].as_str().unwrap().split('/').next_back(), Some("96rGlfmibIGlgcZRskXaIFfN"));
    assert_eq!(sent.as_object().unwrap().len(), 11);

    let payload = r#"{"type":"block_actions","n":12345678901234567890,"text":"a+b c"}"#;
    let body = form_urlencoded::Serializer::new(String::new()).append_pair("payload", payload).finish();
    let [at, signature] = v0("slack", &body);
    let world = World::new().healthy().source_of("slack", ["s3cret"]);
    let headers = [FORM, (at.0, &*at.1), (signature.0, &*signature.1)];
    assert_eq!(world.post(WEBHOOK_URI, &headers, &body).status(), 200);
    assert!(world.engine.only_request().body.contains(payload), "the payload's bytes were changed");

    // With a valid token, `?sender=` is enough to identify the sender.
    let world = World::new().healthy().with("access_tokens", "t0ken");
    let token = [FORM, ("x-access-token", "t0ken")];
    assert_eq!(world.post(&format!("{WEBHOOK_URI}&sender=slack"), &token, "a=b").status(), 200);
    assert_eq!(world.engine.only_request().param("data"), json!({"a": "b"}));

    for (uri, headers) in [
        (WEBHOOK_URI, &token[..]),
        ("/api/v2/event?ref=w&sender=slack", &token),
        ("/api/v2/callback?ref=r&topic=t&sender=slack", &token),
    ] {
        let _row = row(uri);
        let world = World::new().with("access_tokens", "t0ken");
        world.post(uri, headers, "a=b").problem(415, "unsupported-media-type");
        world.assert_untouched();
    }
    let world = World::new();
    world.post(&format!("{WEBHOOK_URI}&sender=slack"), &[FORM], "").problem(400, "invalid-body");
    world.post(&format!("{WEBHOOK_URI}&sender=slack"), &[FORM], "payload=%5B%5D").problem(400, "invalid-body");
    world.post(&format!("{WEBHOOK_URI}&sender=slack"), &[FORM], "a=%ff").problem(400, "invalid-body");
    world.assert_untouched();
}

#[on_each_store]
fn source_with_a_descriptor_is_recognized_by_name_or_header() {
    let source = json!({
        "name": "mine",
        "sender": {"algorithm": "hmac-sha256", "headers": ["x-mine"], "prefix": "v7=", "id": {"pointer": "/n"}},
        "secrets": ["0ld", "s3cret"]
    });
    let custom = || World::new().healthy().source(source.clone());
    let good = format!("v7={}", mac_sha256("s3cret", br#"{"n":1}"#));
    let bad = flipped(&good, good.len() - 1);
    let named = format!("{WEBHOOK_URI}&source=mine");
    for uri in [WEBHOOK_URI, &named] {
        let _row = row(uri);
        let world = custom();
        world.post(uri, &[JSON, ("x-mine", &bad)], r#"{"n":1}"#).problem(401, "invalid-signature");
        world.assert_untouched();
        for outcome in ["delivered", "duplicate"] {
            assert_eq!(world.post(uri, &[JSON, ("x-mine", &good)], r#"{"n":1}"#).outcome(), (200, Some(outcome)));
        }
        assert_eq!(world.engine.targets(), ["w"]);
    }
    let world = custom();
    world.post_json(&named, r#"{"n":1}"#).problem(401, "invalid-signature");
    world.post_json(WEBHOOK_URI, r#"{"n":1}"#).problem(401, "unauthorized");
    world.assert_untouched();
}

/// Twilio signs the URL that it calls, and a proxy changes that URL.
#[on_each_store]
fn public_url_is_verified_behind_a_proxy() {
    let sign = |url: &str| {
        let mut mac = <Hmac<Sha1> as KeyInit>::new_from_slice(b"s3cret").unwrap();
        mac.update(format!("{url}AonBtwo").as_bytes());
        BASE64.encode(&mac.finalize().into_bytes())
    };
    let (public, internal) =
        (format!("https://gate.example{WEBHOOK_URI}"), format!("http://10.0.0.7:3000{WEBHOOK_URI}"));
    for (public_url, signed, status) in [
        ("https://gate.example", &public, 204),
        ("https://gate.example/", &public, 204),
        ("https://gate.example", &internal, 401),
        ("", &internal, 204),
        ("", &public, 401),
    ] {
        let _row = row(format!("public_url {public_url:?}, signed {signed}"));
        let world = World::new()
            .healthy()
            .source_of("twilio", ["s3cret"])
            .setting("public_url", if public_url.is_empty() { serde_json::Value::Null } else { public_url.into() });
        let headers = [FORM, ("spin-full-url", &*internal), ("x-twilio-signature", &sign(signed))];
        assert_eq!(world.post(WEBHOOK_URI, &headers, "B=two&A=on").status(), status);
    }
    assert_eq!(Case::of("twilio").post(&World::new().source_of("twilio", ["s3cret"])).status(), 401);
}

/// Each sender gets a status that it accepts as success, within its deadline, on each path on which a delivery is
/// accepted.
#[on_each_store]
fn response_status_follows_the_policy_of_the_sender() {
    // Some senders prescribe the whole answer.
    for preset in PRESETS.iter().filter(|preset| Sender::of(preset).answer.is_none()) {
        let _row = row(preset.name);
        let ResponsePolicy { deadline, success } = preset.response_policy;
        let wait = deadline.map_or(20_000, |seconds| 20_000.min(u64::from(seconds) * 1_000 - 1_000));
        let uri = format!("{WEBHOOK_URI}&sender={}", preset.name);
        let world = || World::new().setting("engine_wait_ms", 20_000).setting("engine_timeout_ms", 60_000);
        let delivered = world().respond(200, RUN).post_json(&uri, "{}");
        let slow = world().respond(200, RUN).after(30_000);
        let (pending, _) = slow.run(slow.handle(request("POST", &uri, &[JSON], "{}")));
        assert_eq!(slow.now() - NOW, wait);
        let down = world().respond(503, "").post_json(&uri, "{}");
        let body = |reply: &Reply| match reply.text() {
            "" => "empty",
            RUN => "run",
            _ if reply.json()["state"] == "pending" => "pending",
            other => panic!("{other}"),
        };
        let expected = match success {
            SuccessCriterion::Any2xx => [(200, "run"), (202, "pending")],
            SuccessCriterion::Only200 => [(200, "run"), (200, "pending")],
            SuccessCriterion::Empty200 => [(200, "empty"), (200, "empty")],
            SuccessCriterion::Only204 => [(204, "empty"), (204, "empty")],
        };
        for (reply, expected, outcome) in [
            (&delivered, expected[0], "delivered"),
            (&pending, expected[1], "pending"),
            (&down, expected[1], "pending"),
        ] {
            assert_eq!((reply.status(), body(reply)), expected, "{outcome}");
            assert_eq!(reply.header("sluice-outcome"), Some(outcome));
            assert_eq!(reply.header("content-type"), (body(reply) != "empty").then_some("application/json"));
        }
        // The policy affects neither rejections nor `return=minimal`.
        world().respond(422, "").post_json(&uri, "{}").problem(422, "rejected");
        let minimal = world().respond(200, RUN).post(&uri, &[JSON, ("prefer", "return=minimal")], "{}");
        assert_eq!(
            (minimal.status(), body(&minimal)),
            (if expected[0].0 == 200 && success != SuccessCriterion::Any2xx { 200 } else { 204 }, "empty")
        );
    }
}
