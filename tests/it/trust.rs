//! Who may deliver: tokens, and that a secret which is set closes every way around it.

use std::collections::VecDeque;

use http::{Method, Request};

use crate::fake::{Chunks, EVENT, JSON, OPERATOR, Reply, World, request};

const TOKENS: &str = "t0ken-one, t0ken-two";
const WEBHOOK: (&str, &str) = ("POST", "/api/v2/webhook?ref=w");
/// Each way in.
const ENTRIES: [(&str, &str); 5] = [
    WEBHOOK,
    ("POST", "/api/v2/event?ref=w"),
    ("POST", "/api/v2/callback?ref=r&topic=t"),
    ("GET", "/api/v2/callback?ref=r&topic=t"),
    ("HEAD", "/api/v2/callback?ref=r&topic=t"),
];
type Headers<'a> = &'a [(&'a str, &'a str)];

fn guarded() -> World {
    World::operated().with("access_tokens", TOKENS)
}

/// Gets in, and does what the route does.
#[track_caller]
fn admitted(world: World, method: &str, uri: &str, headers: Headers<'_>) -> (World, Reply) {
    let world = world.well();
    let reply = world.send(request(method, uri, &[&[JSON], headers].concat(), EVENT));
    assert_eq!(reply.status(), 200, "{method} {uri} {headers:?}: {}", reply.text());
    assert_eq!(world.sent.borrow().len(), usize::from(method != "HEAD"), "{method} {uri}");
    (world, reply)
}

/// A request whose body breaks off: who reads it gets 400.
fn unfinished(method: &str, uri: &str, headers: Headers<'_>) -> Request<Chunks> {
    let mut request = request(method, uri, &[&[JSON], headers].concat(), "");
    request.body_mut().0 = VecDeque::from([Some(b"{".to_vec()), None]);
    request
}

/// Is turned away before anything is asked of the store or the engine.
#[track_caller]
fn refused(world: &World, request: Request<Chunks>, slug: &str) -> Reply {
    let (method, said) = (request.method().clone(), request.uri().to_string());
    let reply = world.send(request);
    assert_eq!((reply.status(), reply.log["problem"].as_str()), (401, Some(slug)), "{method} {said}");
    if method != Method::HEAD {
        reply.problem(401, slug);
    }
    assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"sluice\""));
    world.assert_untouched();
    assert!(world.operations.borrow().is_empty(), "a refusal doesn't even read the store");
    reply
}

fn with(uri: &str, parameter: &str) -> String {
    format!("{uri}&{parameter}")
}

#[test]
fn anyone_may_deliver_without_configuration() {
    for (method, uri) in ENTRIES {
        admitted(World::new(), method, uri, &[]);
        admitted(World::new(), method, uri, &[("authorization", "Bearer anything")]);
        admitted(World::new().with("access_tokens", " , "), method, uri, &[]);
    }
}

#[test]
fn each_token_is_accepted_in_each_place() {
    for (method, uri) in ENTRIES {
        for token in ["t0ken-one", "t0ken-two"] {
            for scheme in ["Bearer", "bearer"] {
                admitted(guarded(), method, uri, &[("authorization", &format!("{scheme} {token}"))]);
            }
            admitted(guarded(), method, uri, &[("x-access-token", token)]);
            admitted(guarded(), method, &with(uri, &format!("access_token={token}")), &[]);
            // A wrong one beside it takes nothing away.
            let others = [("authorization", "Bearer wrong"), ("x-access-token", token)];
            admitted(guarded(), method, &with(uri, "access_token=wrong"), &others);
        }
    }
    admitted(guarded(), "GET", "/api/v2/callback?ref=r,topic=t,access_token=t0ken-one", &[]);
}

#[test]
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
        refused(&guarded(), unfinished(method, uri, &[]), "unauthorized");
        for token in wrong {
            for scheme in ["Bearer ", "bearer  ", "", "Basic ", "Token "] {
                let header = format!("{scheme}{token}");
                refused(&guarded(), unfinished(method, uri, &[("authorization", &header)]), "unauthorized");
            }
            refused(&guarded(), unfinished(method, uri, &[("x-access-token", token)]), "unauthorized");
            let uri = with(uri, &format!("access_token={}", token.replace(' ', "+")));
            refused(&guarded(), unfinished(method, &uri, &[]), "unauthorized");
        }
        // The right one in a wrong place.
        for header in [("authorization", "Basic t0ken-one"), ("authorization", "t0ken-one"), ("cookie", "t0ken-one")] {
            refused(&guarded(), unfinished(method, uri, &[header]), "unauthorized");
        }
        refused(&guarded(), unfinished(method, &with(uri, "token=t0ken-one"), &[]), "unauthorized");
    }
}

#[test]
fn operator_and_access_tokens_are_separate() {
    for (method, uri) in ENTRIES {
        refused(&guarded(), unfinished(method, uri, &[OPERATOR]), "unauthorized");
    }
    for (method, uri) in [
        ("GET", "/api/v2/deliveries"),
        ("POST", "/api/v2/deliveries/drain"),
        ("GET", "/api/v2/callbacks/r?topic=t"),
        ("GET", "/api/v2/deliveries/01M85MNVRRNF3YKJSMZYXYD1X7"),
        ("DELETE", "/api/v2/deliveries/01M85MNVRRNF3YKJSMZYXYD1X7"),
        ("POST", "/api/v2/deliveries/01M85MNVRRNF3YKJSMZYXYD1X7/redeliver"),
    ] {
        for header in
            [("authorization", "Bearer t0ken-one"), ("x-access-token", "t0ken-one"), ("x-access-token", "op3rator")]
        {
            refused(&guarded(), request(method, uri, &[header], ""), "unauthorized");
        }
        for token in ["t0ken-one", "op3rator"] {
            let mark = if uri.contains('?') { '&' } else { '?' };
            refused(&guarded(), request(method, &format!("{uri}{mark}access_token={token}"), &[], ""), "unauthorized");
        }
    }
}

/// RFC 6750, section 2.3.
#[test]
fn response_to_a_token_in_the_url_is_not_cached() {
    let kept = |reply: &Reply| reply.header("cache-control").map(str::to_owned);
    for (method, uri) in ENTRIES {
        let (_, reply) = admitted(guarded(), method, &with(uri, "access_token=t0ken-one"), &[]);
        assert_eq!(kept(&reply).as_deref(), Some("private, no-store"), "{method} {uri}");
        let reply = refused(&guarded(), unfinished(method, &with(uri, "access_token=wrong"), &[]), "unauthorized");
        assert_eq!(kept(&reply).as_deref(), Some("private, no-store"), "{method} {uri}");
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
        let reply = guarded().well().send(request(method, uri, &[JSON], "{}"));
        assert_eq!((reply.status(), kept(&reply).as_deref()), (status, Some("private, no-store")), "{uri}");
    }
    let (_, reply) = admitted(guarded(), WEBHOOK.0, WEBHOOK.1, &[("x-access-token", "t0ken-one")]);
    assert_eq!(kept(&reply), None);
}

#[test]
fn token_is_never_disclosed() {
    let headers = [JSON, ("authorization", "Bearer t0ken-one"), ("x-access-token", "t0ken-two")];
    for (method, uri) in ENTRIES {
        for world in
            [guarded().well(), guarded().down(), guarded().answers(401, "").after(3_000), guarded().answers(404, "")]
        {
            let reply = world.send(request(method, &with(uri, "access_token=t0ken-one"), &headers, EVENT));
            let mut told = vec![format!("{:?}", reply.response), reply.text().to_owned(), reply.log.to_string()];
            told.extend(world.lines.borrow().iter().map(ToString::to_string));
            for sent in world.sent.borrow().iter() {
                told.push(format!("{:?}", sent.request));
                told.push(String::from_utf8_lossy(sent.request.body()).into_owned());
            }
            for (key, value) in world.store.borrow().iter() {
                told.push(format!("{key}: {}", String::from_utf8_lossy(value)));
            }
            assert!(told.iter().all(|text| !text.contains("t0ken")), "{method} {uri}: {told:?}");
        }
        let wrong = [("authorization", "Bearer t0ken-x"), ("x-access-token", "t0ken-y")];
        for uri in [with(uri, "access_token=t0ken-z"), with(uri, "access_token=t0ken-z&access_token=t0ken-z")] {
            let reply = guarded().send(unfinished(method, &uri, &wrong));
            assert!(matches!(reply.status(), 400 | 401), "{uri}");
            let told = format!("{:?} {} {}", reply.response.headers(), reply.text(), reply.log);
            assert!(!told.contains("t0ken"), "{told}");
        }
    }
}

const GITHUB: (&str, &str) = ("x-github-event", "push");
const BAD: (&str, &str) = ("x-hub-signature-256", "sha256=00");

#[test]
fn configured_secret_requires_a_signature() {
    let github = || World::new().with("secret_github", "s3cret");
    for (method, uri) in ENTRIES {
        // Who doesn't say whom it comes from is not let in for that, nor who says that it comes from someone else.
        refused(&github(), unfinished(method, uri, &[]), "unauthorized");
        for other in [("x-gitlab-event", "Push Hook"), ("x-gitlab-token", "s3cret"), ("stripe-signature", "t=1,v1=00")]
        {
            refused(&github(), unfinished(method, uri, &[other]), "unauthorized");
            // GitHub's own headers beside it don't help: whichever of the two it is taken for, it is not let in.
            let both = request(method, uri, &[JSON, other, GITHUB, BAD], EVENT);
            let slug = if other.0.starts_with("x-gitlab") { "unauthorized" } else { "invalid-signature" };
            refused(&github(), both, slug);
        }
        for other in ["gitlab", "docker-hub", "custom", "forgejo"] {
            let uri = with(uri, &format!("sender={other}"));
            refused(&github(), unfinished(method, &uri, &[GITHUB, BAD]), "unauthorized");
        }
        // Who is named has to sign, also where its headers are missing.
        for headers in [&[][..], &[GITHUB], &[GITHUB, BAD], &[("x-gitlab-token", "s3cret")]] {
            let uri = with(uri, "sender=github");
            refused(&github(), request(method, &uri, &[&[JSON], headers].concat(), EVENT), "invalid-signature");
        }
        refused(&github(), request(method, uri, &[JSON, GITHUB], EVENT), "invalid-signature");
    }
    // Any of the secrets closes.
    for variable in World::new().variables.borrow().keys().filter(|name| name.starts_with("secret_")) {
        let secret =
            if matches!(*variable, "secret_svix" | "secret_standard_webhooks") { "whsec_AAAA" } else { "s3cret" };
        let custom = if *variable == "secret_custom" { r#"{"algorithm":"token","headers":["x-mine"]}"# } else { "" };
        let world = World::new().with(variable, secret).with("sender_custom", custom);
        refused(&world, unfinished(WEBHOOK.0, WEBHOOK.1, &[]), "unauthorized");
    }
}

#[test]
fn token_does_not_replace_a_signature() {
    let world = || guarded().with("secret_github", "s3cret");
    let token = ("authorization", "Bearer t0ken-one");
    for (method, uri) in ENTRIES {
        for headers in [&[token, GITHUB][..], &[token, GITHUB, BAD], &[token, BAD]] {
            refused(&world(), request(method, uri, &[&[JSON], headers].concat(), EVENT), "invalid-signature");
        }
        let named = with(uri, "sender=github&access_token=t0ken-one");
        refused(&world(), request(method, &named, &[JSON], EVENT), "invalid-signature");
        // Others go on with theirs.
        admitted(world(), method, uri, &[token]);
        admitted(world(), method, uri, &[token, ("x-gitlab-event", "Push Hook")]);
        admitted(world(), method, &with(uri, "sender=docker-hub&access_token=t0ken-one"), &[]);
    }
}

#[test]
fn unknown_sender_is_refused() {
    for name in ["", "GitHub", "nobody", "github,gitlab"] {
        for world in [World::new(), guarded(), World::new().with("secret_github", "s3cret")] {
            let uri = with(WEBHOOK.1, &format!("sender={name}"));
            let problem = world.json(&uri, "{}").problem(400, "invalid-parameter");
            assert_eq!(problem["field"], "sender");
            world.assert_untouched();
        }
    }
    let twice = with(WEBHOOK.1, "sender=github&sender=gitlab");
    assert_eq!(World::new().json(&twice, "{}").problem(400, "invalid-parameter")["field"], "sender");
}

#[test]
fn invalid_configuration_admits_no_one() {
    let custom = r#"{"algorithm":"hmac-sha256","headers":["x-mine"]}"#;
    let no_key = r#"{"algorithm":"hmac-sha256","headers":["x-mine"],"secret":{"encoding":"hex"}}"#;
    let put_in = r#"{"algorithm":"hmac-sha256","headers":["x-mine"],"secret":"s3cret"}"#;
    for (variable, value, descriptor) in [
        ("access_tokens", "s3cr et", ""),
        ("access_tokens", "t0ken,s3crét", ""),
        ("access_tokens", "(provider fails)", ""),
        ("secret_github", "s3crét", ""),
        ("secret_github", "s3cret\ns3cret", ""),
        ("secret_github", "(provider fails)", ""),
        ("secret_svix", "s3cret", ""),
        ("secret_svix", "whsec_s3cret!", ""),
        ("secret_svix", "whsec_", ""),
        ("secret_standard_webhooks", "whsec_AAAA,whpk_s3cret", ""),
        ("secret_custom", "s3cret", ""),
        ("secret_custom", "s3cret", no_key),
        ("secret_custom", "s3crét", custom),
        ("sender_custom", "s3cret", "s3cret"),
        ("sender_custom", "", put_in),
        ("sender_custom", "", r#"{"algorithm":"s3cret","headers":["x-mine"]}"#),
        ("sender_custom", "", r#"{"algorithm":"token","headers":["x-mine"],"s3cret":1}"#),
        ("sender_custom", "", r#"{"algorithm":"token","headers":[]}"#),
        ("sender_custom", "(provider fails)", "(provider fails)"),
    ] {
        let world = || World::new().with(variable, value).with("sender_custom", descriptor);
        let ready = world().get("/readyz");
        assert_eq!(ready.problem(503, "configuration")["field"], variable, "{value} {descriptor}");
        assert!(ready.text().contains(&format!("`{variable}`")), "{}", ready.text());
        let world = world();
        let reply = world.json(WEBHOOK.1, "{}");
        assert_eq!(reply.problem(503, "configuration")["field"], variable, "{value} {descriptor}");
        world.assert_untouched();
        for told in [ready.text(), reply.text(), &ready.log.to_string(), &reply.log.to_string()] {
            assert!(!told.contains("s3cr"), "{told}");
        }
    }
    for url in ["gate.example", "http://user:s3cret@gate", "https://gate/s3cret", "ftp://s3cret"] {
        let ready = World::new().with("public_url", url).get("/readyz");
        assert_eq!(ready.problem(503, "configuration")["field"], "public_url");
        assert!(!ready.text().contains("s3cret"), "{}", ready.text());
    }
    for (variable, value) in
        [("public_url", "https://gate.example/"), ("sender_custom", custom), ("access_tokens", TOKENS)]
    {
        assert_eq!(World::new().with(variable, value).get("/readyz").status(), 200, "{variable}");
    }
}
