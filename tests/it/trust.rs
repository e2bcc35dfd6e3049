//! Authentication by tokens and signatures. Once a source or a token is set up, each request has to show one.

use std::collections::VecDeque;

use http::{Method, Request};
use serde_json::json;
use sluice::sender::PRESETS;

use crate::fake::{
    CALLBACK_URI, Chunks, DRAIN_URI, EVENT, EVENT_URI, JSON, OPERATOR, PROVIDER_FAILS, Reply, UNKNOWN_ID, WEBHOOK_URI,
    World, request, row,
};

const TOKENS: &str = "t0ken-one, t0ken-two";
const WEBHOOK: (&str, &str) = ("POST", WEBHOOK_URI);
/// Method and URI of each ingress route.
const ENTRIES: [(&str, &str); 5] =
    [WEBHOOK, ("POST", EVENT_URI), ("POST", CALLBACK_URI), ("GET", CALLBACK_URI), ("HEAD", CALLBACK_URI)];
type Headers<'a> = &'a [(&'a str, &'a str)];

fn guarded() -> World {
    World::with_operator().with("access_tokens", TOKENS)
}

/// Asserts that the request is accepted and reaches the engine.
#[track_caller]
fn assert_admitted(world: World, method: &str, uri: &str, headers: Headers<'_>) -> Reply {
    let _row = row(format!("{method} {uri} {headers:?}"));
    let world = world.healthy();
    let reply = world.send(request(method, uri, &[&[JSON], headers].concat(), EVENT));
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_eq!(world.engine.received.borrow().len(), usize::from(method != "HEAD"), "requests to the engine");
    reply
}

/// A request whose body breaks off: reading it would be a 400.
fn unfinished(method: &str, uri: &str, headers: Headers<'_>) -> Request<Chunks> {
    let mut request = request(method, uri, &[&[JSON], headers].concat(), "");
    request.body_mut().0 = VecDeque::from([Some(b"{".to_vec()), None]);
    request
}

/// Asserts a 401 before any call to the store or the engine. After the response, the refusal may be noted.
#[track_caller]
fn assert_refused(world: &World, request: Request<Chunks>, slug: &str) -> Reply {
    let method = request.method().clone();
    let _row = row(format!("{method} {} {:?}", request.uri(), request.headers()));
    world.restart_count();
    let reply = world.send_unused(request);
    assert_eq!((reply.status(), reply.log["problem"].as_str()), (401, Some(slug)));
    if method != Method::HEAD {
        reply.problem(401, slug);
    }
    assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"sluice\""));
    world.assert_untouched();
    reply
}

fn with(uri: &str, parameter: &str) -> String {
    format!("{uri}&{parameter}")
}

#[on_each_store]
fn anyone_may_deliver_without_configuration() {
    for (method, uri) in ENTRIES {
        assert_admitted(World::new(), method, uri, &[]);
        assert_admitted(World::new(), method, uri, &[("authorization", "Bearer anything")]);
        assert_admitted(World::new().with("access_tokens", " , "), method, uri, &[]);
    }
}

#[on_each_store]
fn each_token_is_accepted_in_each_place() {
    for (method, uri) in ENTRIES {
        for token in ["t0ken-one", "t0ken-two"] {
            for scheme in ["Bearer", "bearer"] {
                assert_admitted(guarded(), method, uri, &[("authorization", &format!("{scheme} {token}"))]);
            }
            assert_admitted(guarded(), method, uri, &[("x-access-token", token)]);
            assert_admitted(guarded(), method, &with(uri, &format!("access_token={token}")), &[]);
            // An additional wrong token changes nothing.
            let others = [("authorization", "Bearer wrong"), ("x-access-token", token)];
            assert_admitted(guarded(), method, &with(uri, "access_token=wrong"), &others);
        }
    }
    assert_admitted(guarded(), "GET", "/api/v2/callback?ref=r,topic=t,access_token=t0ken-one", &[]);
}

#[on_each_store]
fn missing_token_is_refused_unread() {
    let wrong = [
        "",
        "t0ken-on",
        "t0ken-one1",
        "T0ken-one",
        "t0ken-one,t0ken-two",
        TOKENS,
        ",",
        "op3rator",
        "t0ken-one t0ken-two",
    ];
    for (method, uri) in ENTRIES {
        assert_refused(&guarded(), unfinished(method, uri, &[]), "unauthorized");
        for token in wrong {
            for scheme in ["Bearer ", "bearer  ", "", "Basic ", "Token "] {
                let header = format!("{scheme}{token}");
                assert_refused(&guarded(), unfinished(method, uri, &[("authorization", &header)]), "unauthorized");
            }
            assert_refused(&guarded(), unfinished(method, uri, &[("x-access-token", token)]), "unauthorized");
            let uri = with(uri, &format!("access_token={}", token.replace(' ', "+")));
            assert_refused(&guarded(), unfinished(method, &uri, &[]), "unauthorized");
        }
        // A valid token in the wrong place.
        for header in [("authorization", "Basic t0ken-one"), ("authorization", "t0ken-one"), ("cookie", "t0ken-one")] {
            assert_refused(&guarded(), unfinished(method, uri, &[header]), "unauthorized");
        }
        assert_refused(&guarded(), unfinished(method, &with(uri, "token=t0ken-one"), &[]), "unauthorized");
    }
}

#[on_each_store]
fn operator_and_access_tokens_are_separate() {
    for (method, uri) in ENTRIES {
        assert_refused(&guarded(), unfinished(method, uri, &[OPERATOR]), "unauthorized");
    }
    for (method, uri) in [
        ("GET", "/api/v2/deliveries"),
        ("POST", DRAIN_URI),
        ("GET", "/api/v2/callbacks/r?topic=t"),
        ("GET", &format!("/api/v2/deliveries/{UNKNOWN_ID}")),
        ("DELETE", &format!("/api/v2/deliveries/{UNKNOWN_ID}")),
        ("POST", &format!("/api/v2/deliveries/{UNKNOWN_ID}/redeliver")),
    ] {
        for header in
            [("authorization", "Bearer t0ken-one"), ("x-access-token", "t0ken-one"), ("x-access-token", "op3rator")]
        {
            assert_refused(&guarded(), request(method, uri, &[header], ""), "unauthorized");
        }
        for token in ["t0ken-one", "op3rator"] {
            let separator = if uri.contains('?') { '&' } else { '?' };
            let uri = format!("{uri}{separator}access_token={token}");
            assert_refused(&guarded(), request(method, &uri, &[], ""), "unauthorized");
        }
    }
}

/// RFC 6750, section 2.3.
#[on_each_store]
fn response_to_a_token_in_the_url_is_not_cached() {
    let cache_control = |reply: &Reply| reply.header("cache-control").map(str::to_owned);
    for (method, uri) in ENTRIES {
        let reply = assert_admitted(guarded(), method, &with(uri, "access_token=t0ken-one"), &[]);
        assert_eq!(cache_control(&reply).as_deref(), Some("private, no-store"), "{method} {uri}");
        let reply =
            assert_refused(&guarded(), unfinished(method, &with(uri, "access_token=wrong"), &[]), "unauthorized");
        assert_eq!(cache_control(&reply).as_deref(), Some("private, no-store"), "{method} {uri}");
    }
    for (method, uri, status) in [
        ("GET", "/api/v2/callback?ref=r,topic=t,access_token=t0ken-one", 200),
        ("GET", "/api/v2/callback?ref=r,topic=t,access_token=wrong", 401),
        ("GET", "/api/v2/callback?ref=r&access_token=t0ken-one", 400),
        ("POST", "/api/v2/webhook?access%5ftoken=t0ken-one", 400),
        ("POST", "/api/v2/webhook?access_token=t0ken-one&access_token=t0ken-one", 400),
        ("POST", "/api/v2/webhook?access_token=t0ken-one&ref=%ff", 400),
        ("POST", "/api/v2/nothing?access_token=t0ken-one", 404),
        ("PUT", "/api/v2/webhook?access_token=t0ken-one", 405),
    ] {
        let reply = guarded().healthy().send(request(method, uri, &[JSON], "{}"));
        assert_eq!((reply.status(), cache_control(&reply).as_deref()), (status, Some("private, no-store")), "{uri}");
    }
    let reply = assert_admitted(guarded(), WEBHOOK.0, WEBHOOK.1, &[("x-access-token", "t0ken-one")]);
    assert_eq!(cache_control(&reply), None);
}

#[on_each_store]
fn token_is_never_disclosed() {
    let headers = [JSON, ("authorization", "Bearer t0ken-one"), ("x-access-token", "t0ken-two")];
    for (method, uri) in ENTRIES {
        for (name, world) in [
            ("healthy", guarded().healthy()),
            ("unreachable", guarded().unreachable()),
            ("unauthorized late", guarded().respond(401, "").after(3_000)),
            ("rejects", guarded().respond(404, "")),
        ] {
            let _row = row(format!("{method} {uri}, engine {name}"));
            let reply = world.send(request(method, &with(uri, "access_token=t0ken-one"), &headers, EVENT));
            let mut disclosed = vec![format!("{:?}", reply.response), reply.text().to_owned(), reply.log.to_string()];
            disclosed.extend(world.log.borrow().iter().map(ToString::to_string));
            for received in world.engine.received.borrow().iter() {
                disclosed.push(format!("{:?}", received.request));
                disclosed.push(String::from_utf8_lossy(received.request.body()).into_owned());
            }
            disclosed.extend(world.everything());
            assert!(disclosed.iter().all(|text| !text.contains("t0ken")), "{disclosed:?}");
        }
        let wrong = [("authorization", "Bearer t0ken-x"), ("x-access-token", "t0ken-y")];
        for uri in [with(uri, "access_token=t0ken-z"), with(uri, "access_token=t0ken-z&access_token=t0ken-z")] {
            let reply = guarded().send(unfinished(method, &uri, &wrong));
            assert!(matches!(reply.status(), 400 | 401), "{method} {uri}");
            let disclosed = format!("{:?} {} {}", reply.response.headers(), reply.text(), reply.log);
            assert!(!disclosed.contains("t0ken"), "{disclosed}");
        }
    }
}

const GITHUB: (&str, &str) = ("x-github-event", "push");
const WRONG_SIGNATURE: (&str, &str) = ("x-hub-signature-256", "sha256=00");

#[on_each_store]
fn source_requires_authentication() {
    let github = || World::new().source_of("github", ["s3cret"]);
    for (method, uri) in ENTRIES {
        // Neither an unidentified request nor one that looks like another sender's is admitted.
        assert_refused(&github(), unfinished(method, uri, &[]), "unauthorized");
        for other in [("x-gitlab-event", "Push Hook"), ("x-gitlab-token", "s3cret"), ("stripe-signature", "t=1,v1=00")]
        {
            assert_refused(&github(), unfinished(method, uri, &[other]), "unauthorized");
            // A sender that is not set up never shadows one that is.
            let both = request(method, uri, &[JSON, other, GITHUB, WRONG_SIGNATURE], EVENT);
            assert_refused(&github(), both, "invalid-signature");
        }
        for other in ["gitlab", "docker-hub", "forgejo"] {
            let uri = with(uri, &format!("sender={other}"));
            assert_refused(&github(), unfinished(method, &uri, &[GITHUB, WRONG_SIGNATURE]), "unauthorized");
        }
        // `?source=github` requires GitHub's signature, even without GitHub's headers. The parameter's old name does, too.
        for headers in [&[][..], &[GITHUB], &[GITHUB, WRONG_SIGNATURE], &[("x-gitlab-token", "s3cret")]] {
            for parameter in ["source=github", "sender=github"] {
                let uri = with(uri, parameter);
                let request = request(method, &uri, &[&[JSON], headers].concat(), EVENT);
                assert_refused(&github(), request, "invalid-signature");
            }
        }
        assert_refused(&github(), request(method, uri, &[JSON, GITHUB], EVENT), "invalid-signature");
    }
    // A source of any sender, or with a token only, requires authentication of all.
    let signing = PRESETS.iter().filter(|preset| preset.descriptors().next().is_some()).map(|preset| preset.name);
    let mut sources: Vec<_> =
        signing.map(|sender| json!({"name": sender, "sender": sender, "secrets": ["s3cret"]})).collect();
    sources.push(json!({"name": "mine", "sender": {"algorithm": "token", "headers": ["x-mine"]}, "secrets": ["s"]}));
    sources.push(json!({"name": "partner", "tokens": ["t0ken"]}));
    // A source that is stopped leaves the gateway closed.
    sources.push(json!({"name": "wrong", "sender": "nobody", "secrets": ["s"]}));
    sources.push(json!({"name": "wrong", "tokens": []}));
    sources.push(json!(7));
    for source in sources {
        let _row = row(&source);
        let world = World::new().source(source);
        let reply = world.send(unfinished(WEBHOOK.0, WEBHOOK.1, &[]));
        assert!(matches!(reply.status(), 401 | 503), "{}", reply.text());
        world.assert_untouched();
    }
}

/// Its holder could leave the signature's headers out.
#[on_each_store]
fn token_admits_a_request_whatever_its_signature() {
    let world = || guarded().source_of("github", ["s3cret"]);
    let token = ("authorization", "Bearer t0ken-one");
    for (method, uri) in ENTRIES {
        for headers in [&[token, GITHUB][..], &[token, GITHUB, WRONG_SIGNATURE], &[token, WRONG_SIGNATURE]] {
            assert_admitted(world(), method, uri, headers);
        }
        for named in ["source=github", "sender=github", "sender=docker-hub"] {
            assert_admitted(world(), method, &with(uri, &format!("{named}&access_token=t0ken-one")), &[]);
        }
        assert_admitted(world(), method, uri, &[token]);
        assert_admitted(world(), method, uri, &[token, ("x-gitlab-event", "Push Hook")]);
        let wrong = ("authorization", "Bearer t0ken-x");
        let request = request(method, uri, &[JSON, wrong, GITHUB, WRONG_SIGNATURE], EVENT);
        assert_refused(&world(), request, "invalid-signature");
    }
}

#[on_each_store]
fn unknown_source_is_refused() {
    for parameter in ["source", "sender"] {
        for name in ["", "GitHub", "nobody", "custom", "github,gitlab"] {
            for world in [World::new(), guarded(), World::new().source_of("github", ["s3cret"])] {
                let _row = row(format!("{parameter}={name}"));
                let uri = with(WEBHOOK.1, &format!("{parameter}={name}"));
                let problem = world.post_json(&uri, "{}").problem(400, "invalid-parameter");
                assert_eq!(problem["field"], parameter);
                world.assert_untouched();
            }
        }
    }
    for (query, field) in [
        ("sender=github&sender=gitlab", "sender"),
        ("source=github&source=github", "source"),
        ("source=github&sender=gitlab", "sender"),
    ] {
        let problem = World::new().post_json(&with(WEBHOOK.1, query), "{}").problem(400, "invalid-parameter");
        assert_eq!(problem["field"], field, "{query}");
    }
}

/// An error in `sources` or `access_tokens` as a whole stops all sources.
#[on_each_store]
fn invalid_variable_admits_no_one() {
    for (variable, value) in [
        ("access_tokens", "s3cr et"),
        ("access_tokens", "t0ken,s3crét"),
        ("access_tokens", PROVIDER_FAILS),
        ("sources", "s3cret"),
        ("sources", r#"{"name":"s3cret"}"#),
        ("sources", r#"[{"name":"s3cret"}"#),
        ("sources", PROVIDER_FAILS),
    ] {
        let _row = row(format!("{variable} = {value:?}"));
        let world = || World::new().with(variable, value);
        let ready = world().get("/readyz");
        assert_eq!(ready.problem(503, "configuration")["field"], variable);
        assert!(ready.text().contains(&format!("`{variable}`")), "{}", ready.text());
        let world = world();
        let reply = world.post_json(WEBHOOK.1, "{}");
        assert_eq!(reply.problem(503, "configuration")["field"], variable);
        world.assert_untouched();
        for text in [ready.text(), reply.text(), &ready.log.to_string(), &reply.log.to_string()] {
            assert!(!text.contains("s3cr"), "{text}");
        }
    }
    // An access token is not one of a source.
    assert_admitted(guarded().with("sources", "["), WEBHOOK.0, WEBHOOK.1, &[("x-access-token", "t0ken-one")]);
    for url in ["gate.example", "http://user:s3cret@gate", "https://gate/s3cret", "ftp://s3cret"] {
        let _row = row(url);
        let ready = World::new().setting("public_url", url).get("/readyz");
        ready.wrong_setting("public_url");
        assert!(!ready.text().contains("s3cret"), "{}", ready.text());
    }
    for world in [
        World::new().setting("public_url", "https://gate.example/"),
        World::new().with("access_tokens", TOKENS),
        World::new().source_of("github", ["s3cret"]),
    ] {
        assert_eq!(world.get("/readyz").status(), 200);
    }
}
