//! The sources through the API: errors stop the source that they are in, and what is out of scope touches nothing.

use serde_json::{Value, json};

use crate::fake::{CALLBACK_URI, EVENT, JSON, Reply, WEBHOOK_URI, World, request, row};
use crate::senders::mac_sha256;

/// The id of a workflow of the engine.
const WORKFLOW_ID: &str = "5f1c9c8e2f8b9a0001a1b2c3";
const TOKEN: (&str, &str) = ("authorization", "Bearer t0ken");
const BATCH: &str = "application/cloudevents-batch+json";

/// The signature of GitHub.
fn github(body: &str) -> String {
    format!("sha256={}", mac_sha256("s3cret", body.as_bytes()))
}

fn event(id: &str, more: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t"{more}}}"#)
}

#[on_each_store]
fn error_stops_its_source_only() {
    for (source, headers, expected) in [
        (
            json!({"name": "acme", "sender": "gitlub", "secrets": ["s3cret"]}),
            &[][..],
            "`/1/sender` is an unknown sender `gitlub`: did you mean `github`?",
        ),
        (
            json!({"name": "acme", "sender": "stripe", "secret": ["s3cret"]}),
            &[("stripe-signature", "t=1,v1=00")],
            "`/1` has an unknown name `secret`: did you mean `secrets`?",
        ),
        (
            json!({"name": "acme", "sender": "stripe"}),
            &[("stripe-signature", "t=1,v1=00")],
            "`/1` must have `secrets`, `tokens` or `keys`",
        ),
        (
            json!({"name": "acme", "tokens": ["s3cret", "s3cr et"]}),
            &[],
            "`/1/tokens/1` must be visible ASCII without blanks",
        ),
        (
            json!({"name": "acme", "tokens": ["s3cret"], "workflows": ["a*b"]}),
            &[],
            "`/1/workflows/0` must have `*` only at its end, and once",
        ),
        (
            json!({"name": "acme", "tokens": ["s3cret"], "callbacks": "yes"}),
            &[],
            "`/1/callbacks` must be a boolean, but is a string",
        ),
        (json!({"name": "acme", "tokens": ["s3cret"], "repeat": "id"}), &[], "`/1/repeat` must be `body`"),
        (
            json!({"name": "acme", "sender": "slack", "secrets": ["s3cret\n"]}),
            &[("x-slack-signature", "v0=00")],
            "`/1/secrets/0` must not begin or end with white space, such as a line break",
        ),
        (
            json!({"name": "acme", "sender": {"algorithm": "s3cret", "headers": ["x-mine"]}, "secrets": ["s"]}),
            &[("x-mine", "00")],
            "`/1/sender",
        ),
        (
            json!({"name": "acme", "sender": "svix", "secrets": ["whsec_s3cret!"]}),
            &[("svix-signature", "v1,AA=="), ("svix-id", "1"), ("svix-timestamp", "1")],
            "`/1/secrets/0` ",
        ),
    ] {
        let _row = row(&source);
        let name = source["name"].as_str().unwrap().to_owned();
        let world = World::new().source_of("github", ["s3cret"]).source(source).healthy();

        let ready = world.get("/readyz");
        assert_eq!((ready.status(), &ready.json()["status"]), (200, &json!("degraded")));
        let report = ready.json();
        let [stopped] = &report["sources"].as_array().unwrap()[..] else { panic!("{report}") };
        assert_eq!(stopped["name"], name);
        let error = stopped["error"].as_str().unwrap();
        assert!(error.starts_with(expected), "{error}");
        assert!(ready.warning().contains(&name) && ready.json()["warnings"][0].as_str().unwrap().contains(error));

        // Its own requests are worth sending again: a vendor may drop an event after a 401.
        let token = [("x-access-token", "s3cret")];
        let proof = if headers.is_empty() { &token } else { headers };
        let named = format!("{WEBHOOK_URI}&source={name}");
        let replies = [&named, WEBHOOK_URI].map(|uri| world.post(uri, &[&[JSON], proof].concat(), "{}"));
        for reply in &replies {
            assert_eq!(reply.problem(503, "configuration")["field"], "sources");
            assert!(reply.header("retry-after").is_some());
        }
        world.assert_untouched();
        for text in [ready.text(), replies[0].text(), replies[1].text(), &ready.log.to_string()] {
            assert!(!text.contains("s3cr"), "{text}");
        }

        // The others go on.
        let signature = github("{}");
        let good = world.post(WEBHOOK_URI, &[JSON, ("x-hub-signature-256", &signature)], "{}");
        assert_eq!(good.outcome(), (200, Some("delivered")));
        // A request that nobody has signed may be one of a sender whose name can't be read.
        let forged = world.post(WEBHOOK_URI, &[JSON, ("x-hub-signature-256", "sha256=00")], "{}");
        let is_unreadable = expected.contains("an unknown sender");
        assert_eq!(forged.status(), if is_unreadable { 503 } else { 401 }, "{}", forged.text());
    }
}

/// A request would be either's.
#[on_each_store]
fn sources_that_can_not_be_told_apart_are_stopped() {
    for (one, other, member) in [
        (
            json!({"name": "one", "sender": "github", "secrets": ["a", "s3cret"]}),
            json!({"name": "other", "sender": "github", "secrets": ["s3cret"], "workflows": ["x"]}),
            "secrets",
        ),
        (json!({"name": "one", "tokens": ["t0ken"]}), json!({"name": "other", "tokens": ["b", "t0ken"]}), "tokens"),
        (json!({"name": "same", "tokens": ["t0ken"]}), json!({"name": "same", "tokens": ["b"]}), "name"),
    ] {
        let _row = row(member);
        let world = World::new().source(one).source(other);
        let ready = world.get("/readyz").json();
        let stopped = ready["sources"].as_array().unwrap();
        assert_eq!(stopped.len(), 2, "{ready}");
        for (at, stopped) in stopped.iter().enumerate() {
            assert!(stopped["error"].as_str().unwrap().starts_with(&format!("`/{at}/{member}")), "{stopped}");
        }
        let signature = github("{}");
        let headers = [JSON, TOKEN, ("x-hub-signature-256", &signature)];
        world.post(WEBHOOK_URI, &headers, "{}").problem(503, "configuration");
        world.assert_untouched();
    }
    // Two senders may have one secret.
    let world = World::new().source_of("github", ["s3cret"]).source_of("gitea", ["s3cret"]);
    assert_eq!(world.get("/readyz").json()["status"], "ready");
}

/// The kinds of authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    Token,
    Signature,
    AccessToken,
    Open,
}

impl Proof {
    const ALL: [Self; 4] = [Self::Token, Self::Signature, Self::AccessToken, Self::Open];

    fn is_limited(self) -> bool {
        matches!(self, Self::Token | Self::Signature)
    }

    /// A world in which a source has these members, besides its proof.
    fn world(self, members: Value) -> World {
        let with = |mut source: Value| {
            source.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            source
        };
        match self {
            Self::Token => World::new().source(with(json!({"name": "partner", "tokens": ["t0ken"]}))),
            Self::Signature => {
                World::new().source(with(json!({"name": "github", "sender": "github", "secrets": ["s3cret"]})))
            }
            Self::AccessToken => World::new().with("access_tokens", "t0ken"),
            Self::Open => World::new(),
        }
    }

    /// Sends a request with this proof. Neither the store nor the engine may be used if it is refused.
    fn send(self, world: &World, way: &Way, is_refused: bool) -> Reply {
        let signature = github(&way.body);
        let proof = match self {
            Self::Token | Self::AccessToken => Some(TOKEN),
            Self::Signature => Some(("x-hub-signature-256", signature.as_str())),
            Self::Open => None,
        };
        let headers: Vec<_> = [("content-type", way.content_type)].into_iter().chain(proof).collect();
        let request = request(way.method, &way.uri, &headers, &way.body);
        world.restart_count();
        if is_refused { world.send_unused(request) } else { world.send(request) }
    }
}

/// A way in: a request that names a workflow.
struct Way {
    name: &'static str,
    method: &'static str,
    uri: String,
    content_type: &'static str,
    body: String,
    routes: Option<Value>,
}

impl Way {
    fn all(workflow: &str) -> Vec<Self> {
        let way = |name, uri: &str, body: &str| Self {
            name,
            method: "POST",
            uri: uri.to_owned(),
            content_type: "application/json",
            body: body.to_owned(),
            routes: None,
        };
        let subject = format!(r#","subject":"/{workflow}/topic""#);
        let allowed = event("1", r#","subject":"/build/topic""#);
        // One target in scope and one that may be out of it: then neither is started.
        let routes =
            |from: &str| Some(json!([{"workflow": "build", "from": from}, {"workflow": workflow, "from": from}]));
        vec![
            way("webhook by ref", &format!("/api/v2/webhook?ref={workflow}"), "{}"),
            way("event by ref", &format!("/api/v2/event?ref={workflow}"), EVENT),
            way("event by subject", "/api/v2/event", &event("1", &subject)),
            Self {
                content_type: BATCH,
                ..way("batch", "/api/v2/event", &format!("[{allowed},{}]", event("2", &subject)))
            },
            Self { routes: routes("webhook"), ..way("routes of a webhook", "/api/v2/webhook", "{}") },
            Self { routes: routes("event"), ..way("routes of an event", "/api/v2/event", EVENT) },
        ]
    }
}

#[on_each_store]
fn start_out_of_scope_is_refused_and_touches_nothing() {
    let members = json!({"workflows": ["build", "deploy-*", WORKFLOW_ID]});
    for proof in Proof::ALL {
        for (workflow, is_in_scope) in [
            ("build", true),
            ("deploy-eu", true),
            (WORKFLOW_ID, true),
            ("other", false),
            ("bu", false),
            ("Build", false),
        ] {
            for way in Way::all(workflow) {
                let _row = row(format!("{proof:?}: {} {workflow}", way.name));
                let mut world = proof.world(members.clone()).healthy();
                if let Some(routes) = &way.routes {
                    world = world.with("routes", &routes.to_string());
                }
                let is_refused = proof.is_limited() && !is_in_scope;
                let reply = proof.send(&world, &way, is_refused);
                if is_refused {
                    let problem = reply.problem(403, "out-of-scope");
                    assert_eq!(problem["retry"], "fix-first");
                    world.assert_untouched();
                    assert!(world.engine.looks.borrow().is_empty());
                } else {
                    assert_eq!(reply.status(), 200, "{}", reply.text());
                    assert!(world.engine.targets().contains(&workflow.to_owned()), "{:?}", world.engine.targets());
                }
            }
        }
    }
}

/// A route that a source may not use is seen before a delivery is lost.
#[on_each_store]
fn route_out_of_scope_is_named_at_readyz() {
    let source = json!({"name": "partner", "tokens": ["t0ken"], "workflows": ["build"]});
    let routes = r#"[{"workflow":"build","from":"event","source":"partner"},
        {"workflow":"other","from":"event","source":"partner"}]"#;
    let ready = World::new().source(source).with("routes", routes).get("/readyz");
    assert_eq!(ready.status(), 200);
    let warning = ready.json()["warnings"][0].as_str().unwrap().to_owned();
    assert!(warning.contains("`other` at `/1`") && warning.contains("`partner`"), "{warning}");
}

#[on_each_store]
fn callback_out_of_scope_is_refused_after_at_most_a_look() {
    for proof in Proof::ALL {
        for (members, workflow, is_refused, looks) in [
            (json!({}), WORKFLOW_ID, true, 0),
            (json!({"workflows": [WORKFLOW_ID]}), WORKFLOW_ID, true, 0),
            (json!({"callbacks": true}), WORKFLOW_ID, false, 0),
            (json!({"callbacks": true, "workflows": [WORKFLOW_ID]}), WORKFLOW_ID, false, 1),
            (json!({"callbacks": true, "workflows": ["*"]}), WORKFLOW_ID, false, 1),
            (json!({"callbacks": true, "workflows": ["build"]}), WORKFLOW_ID, true, 1),
            (json!({"callbacks": true, "workflows": [WORKFLOW_ID]}), "6f1c9c8e2f8b9a0001a1b2c3", true, 1),
        ] {
            for (method, body) in [("POST", "{}"), ("GET", ""), ("HEAD", "")] {
                let _row = row(format!("{proof:?}: {method} {members} {workflow}"));
                let world = proof.world(members.clone()).healthy();
                *world.engine.workflow.borrow_mut() = Some(workflow.to_owned());
                let way = Way {
                    name: "callback",
                    method,
                    uri: CALLBACK_URI.to_owned(),
                    content_type: "application/json",
                    body: body.to_owned(),
                    routes: None,
                };
                let is_refused = is_refused && proof.is_limited();
                let reply = proof.send(&world, &way, is_refused);
                if is_refused {
                    assert_eq!((reply.status(), &reply.log["problem"]), (403, &json!("out-of-scope")));
                    assert_eq!(world.engine.looks.borrow().len(), looks);
                    world.assert_untouched();
                    // The refusal says no more about the run than its sender did.
                    assert!(!reply.text().contains(workflow));
                } else {
                    assert_eq!(reply.status(), 200, "{}", reply.text());
                }
            }
        }
    }
}

/// A limited source's callback depends on the look.
#[on_each_store]
fn callback_of_a_limited_source_waits_for_the_engine() {
    let members = json!({"callbacks": true, "workflows": [WORKFLOW_ID]});
    let callback = |world: &World| world.post(CALLBACK_URI, &[JSON, TOKEN], "{}");
    let limited = Proof::Token.world(members).unreachable();
    let reply = callback(&limited);
    reply.problem(503, "scope-undecided");
    assert!(reply.header("retry-after").is_some());
    limited.assert_untouched();
    let unlimited = Proof::Token.world(json!({"callbacks": true})).unreachable();
    assert_eq!(callback(&unlimited).outcome(), (202, Some("pending")));
    // An engine that doesn't say which workflow a run has.
    let silent = Proof::Token.world(json!({"callbacks": true, "workflows": ["build"]})).healthy();
    callback(&silent).problem(403, "out-of-scope");
    silent.assert_untouched();
}

#[on_each_store]
fn source_is_the_label_of_its_runs() {
    let signature = github("{}");
    for (headers, expected) in [
        (vec![JSON, ("x-hub-signature-256", signature.as_str())], Some("github")),
        (vec![JSON, TOKEN], Some("partner")),
        (vec![JSON, ("x-access-token", "acce55")], None),
    ] {
        for is_stored in [false, true] {
            let _row = row(format!("{expected:?}, stored: {is_stored}"));
            let world = World::with_operator()
                .source_of("github", ["s3cret"])
                .source(json!({"name": "partner", "tokens": ["t0ken"]}))
                .with("access_tokens", "acce55");
            let world = if is_stored { world.unreachable() } else { world.healthy() };
            let reply = world.post(WEBHOOK_URI, &headers, "{}");
            assert_eq!(reply.status(), if is_stored { 202 } else { 200 }, "{}", reply.text());
            if is_stored {
                world.engine.recover();
                world.engine.received.borrow_mut().clear();
                world.drain();
            }
            let run = world.engine.effects.borrow()[0].clone();
            assert_eq!(run["labels"].get("sluice.dev/source").and_then(Value::as_str), expected, "{run}");
        }
    }
}

#[on_each_store]
fn routes_select_by_source() {
    let routes = r#"[
        {"workflow":"of-partner","from":"webhook","source":"partner"},
        {"workflow":"by-filter","from":"webhook","filter":{"prefix":{"source":"git"}}},
        {"workflow":"events","from":"event","source":"partner"}
    ]"#;
    let world = || {
        let world =
            World::new().source_of("github", ["s3cret"]).source(json!({"name": "partner", "tokens": ["t0ken"]}));
        world.with("access_tokens", "acce55").with("routes", routes).healthy()
    };
    let signature = github("{}");
    for (uri, body, proof, expected) in [
        ("/api/v2/webhook", "{}", TOKEN, &["of-partner"][..]),
        ("/api/v2/webhook", "{}", ("x-hub-signature-256", &*signature), &["by-filter"]),
        ("/api/v2/webhook", "{}", ("x-access-token", "acce55"), &[]),
        ("/api/v2/event", EVENT, TOKEN, &["events"]),
        ("/api/v2/event", EVENT, ("x-access-token", "acce55"), &[]),
    ] {
        let _row = row(format!("{uri} with {proof:?}"));
        let world = world();
        let reply = world.post(uri, &[JSON, proof], body);
        assert!(reply.status() < 300, "{}", reply.text());
        assert_eq!(world.engine.targets(), expected);
    }
}

/// The same event from two sources is two events.
#[on_each_store]
fn key_never_crosses_sources() {
    let world = || {
        World::new()
            .source(json!({"name": "one", "tokens": ["t1"]}))
            .source(json!({"name": "two", "tokens": ["t2"]}))
            .source(json!({"name": "gh-one", "sender": "github", "secrets": ["s3cret"]}))
            .source(json!({"name": "gh-two", "sender": "github", "secrets": ["other"]}))
            .with("access_tokens", "t3")
            .healthy()
    };
    let signature = |secret: &str| format!("sha256={}", mac_sha256(secret, b"{}"));
    let (first, second) = (signature("s3cret"), signature("other"));
    let tokens = ["t1", "t2", "t3"].map(|token| vec![JSON, ("x-access-token", token)]);
    let signed = [&first, &second].map(|signature| vec![JSON, ("x-hub-signature-256", signature.as_str())]);
    for (name, uri, body, more, proofs) in [
        ("event", "/api/v2/event?ref=w", EVENT, None, &tokens[..]),
        ("idempotency key", WEBHOOK_URI, "{}", Some(("idempotency-key", "k")), &tokens),
        ("id of a vendor", WEBHOOK_URI, "{}", Some(("x-github-delivery", "1")), &signed),
    ] {
        let world = world();
        for outcome in ["delivered", "duplicate"] {
            for proof in proofs {
                let _row = row(format!("{name}, {outcome}: {proof:?}"));
                let headers: Vec<_> = proof.iter().copied().chain(more).collect();
                assert_eq!(world.post(uri, &headers, body).outcome(), (200, Some(outcome)));
            }
        }
    }
}

/// A source's starts are sent in order of arrival.
#[on_each_store]
fn ordered_source_keeps_its_order() {
    let source = json!({"name": "partner", "tokens": ["t0ken"], "ordered": true});
    let world = World::with_operator().source(source).unreachable();
    for n in 0..3 {
        let reply = world.post(WEBHOOK_URI, &[JSON, TOKEN], format!(r#"{{"n":{n}}}"#));
        assert_eq!(reply.outcome(), (202, Some("pending")));
    }
    world.engine.recover();
    world.engine.received.borrow_mut().clear();
    for _ in 0..9 {
        world.advance(60_000);
        world.drain();
    }
    let effects = world.engine.effects.borrow();
    let sent: Vec<_> = effects.iter().map(|run| run["params"][0]["value"]["n"].as_u64().unwrap()).collect();
    assert_eq!(sent, [0, 1, 2]);
}
