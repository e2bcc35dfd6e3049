//! Snapshots of what people read: every problem, and every page of the console.
//!
//! After an intended change, `INSTA_UPDATE=always cargo test --test it snapshots` rewrites the files in `snapshots/`.
//! With `CI` or `INSTA_UPDATE=no` set, nothing is written.

use std::fmt::Write;

use serde_json::json;
use sluice::api::problem::{Kind, Problem};
use sluice::gateway::keys::{KeyError, KeyFailure};

use crate::console::{as_operator, basic, dead_letter, store, with_pages};
use crate::fake::{
    ASYNC, CALLBACK_URI, Chunks, EVENT, EVENT_URI, EngineResult, FORM, HOUR, JSON, Lag, MINUTE, RUN, Reply, StoreFault,
    StoreKind, UNKNOWN_ID, WEBHOOK_URI, World, answer, request, row,
};
use crate::links::links;
use crate::preflight::with_shell;
use crate::sources::known_sources;

/// Pages respond with JSON if it is accepted.
const ACCEPT_JSON: (&str, &str) = ("accept", "application/json");

/// Responds with a problem of the kind. The match is exhaustive: a new kind needs a request here.
fn provoke(kind: Kind) -> Reply {
    let world = World::with_operator();
    match kind {
        Kind::NotFound => world.get("/nothing"),
        Kind::MethodNotAllowed => world.send(request("PUT", WEBHOOK_URI, &[JSON], "{}")),
        Kind::UnsupportedMediaType => world.post(EVENT_URI, &[FORM], "a=b"),
        Kind::BodyTooLarge => world.setting("max_body_bytes", 10).post_json(WEBHOOK_URI, r#"{"a":"too large"}"#),
        Kind::BodyIncomplete => {
            let mut request = request("POST", WEBHOOK_URI, &[JSON], "");
            *request.body_mut() = Chunks([Some(b"{".to_vec()), None].into());
            world.send(request)
        }
        Kind::InvalidBody => world.post_json(WEBHOOK_URI, "[]"),
        Kind::InvalidEvent => world.post_json(EVENT_URI, EVENT.replace("1.0", "2.0")),
        Kind::MissingParameter => world.post_json("/api/v2/webhook", "{}"),
        Kind::InvalidParameter => world.post_json("/api/v2/webhook?ref=a/b", "{}"),
        Kind::Unauthorized => world.with("access_tokens", "t0ken").post_json(WEBHOOK_URI, "{}"),
        Kind::InvalidSignature => {
            let headers = [JSON, ("x-github-event", "push"), ("x-hub-signature-256", "sha256=00")];
            world.source_of("github", ["s3cret"]).post(WEBHOOK_URI, &headers, "{}")
        }
        Kind::OriginNotAllowed => {
            let headers = [JSON, ("webhook-request-origin", "other.example")];
            world.setting("allowed_origins", ["eventgrid.azure.net"]).post(EVENT_URI, &headers, EVENT)
        }
        Kind::CrossSite => {
            let authorization = basic("me:op3rator");
            let headers = [("authorization", &*authorization), ACCEPT_JSON, ("sec-fetch-site", "cross-site")];
            world.send(request("POST", "/console/drain", &headers, ""))
        }
        Kind::HeadersTooLarge => world.post(WEBHOOK_URI, &[JSON, ("x-long", &"v".repeat(65_536))], "{}"),
        Kind::UriTooLong => world.post_json(&format!("{WEBHOOK_URI}&x={}", "y".repeat(16_384)), "{}"),
        Kind::Prefetch => world.send(request("GET", CALLBACK_URI, &[("sec-purpose", "prefetch")], "")),
        Kind::NoCallback => world.as_operator("GET", "/api/v2/callbacks/r?topic=t"),
        Kind::CallbackConflict => {
            let world = world.healthy();
            world.post_json(CALLBACK_URI, r#"{"n":1}"#);
            world.post_json(CALLBACK_URI, r#"{"n":2}"#)
        }
        Kind::CallbackResolved => {
            let world = world.healthy();
            world.engine.ended.borrow_mut().push(("r".into(), "t".into(), "failed".into()));
            world.post_json(CALLBACK_URI, "{}")
        }
        Kind::OutOfScope => {
            let source = json!({"name": "partner", "tokens": ["t0ken"], "workflows": ["intake"]});
            world.source(source).post(WEBHOOK_URI, &[JSON, ("x-access-token", "t0ken")], "{}")
        }
        Kind::ScopeUndecided => {
            let source = json!({"name": "partner", "tokens": ["t0ken"], "workflows": ["intake"], "callbacks": true});
            let world = world.source(source).unreachable();
            world.post(CALLBACK_URI, &[JSON, ("x-access-token", "t0ken")], "{}")
        }
        // tests/it/keys.rs provokes it by a sender whose keys are fetched.
        Kind::KeysUnavailable => {
            let (url, failure) =
                ("https://keys.example/jwks".to_owned(), KeyFailure::NoResponse("the attempt timed out"));
            let response = Problem::from(KeyError::Unavailable { url, failure }).into_response();
            Reply { response, log: json!({ "problem": "keys-unavailable", "status": 503 }) }
        }
        Kind::UnknownTopic => world.post_json("/api/v2/callback?ref=r&topic=nobody-waits", "{}"),
        Kind::UnsupportedByEngine => {
            let start = json!({"request": {"method": "POST", "path": "/{workflow}"}, "proof": "any"});
            let profile =
                json!({"name": "own", "title": "Own", "doubt": "resend-anyway", "start": start, "answers": []});
            world.with("engine", &profile.to_string()).post_json(CALLBACK_URI, "{}")
        }
        Kind::LinkForged => {
            let link = "/api/v2/callback/link?ref=r&topic=t";
            world.setting("link_secrets", ["s3cret"]).send(request("GET", link, &[ACCEPT_JSON], ""))
        }
        Kind::LinkExpired => {
            let world = world.setting("link_secrets", ["s3cret"]).setting("public_url", "https://gate.example");
            let [link, _] = links(&world, r#"{"ref":"r","topic":"t","expires_in":60}"#);
            world.advance(MINUTE);
            world.send(request("GET", &link, &[ACCEPT_JSON], ""))
        }
        Kind::KeyReused => {
            let world = world.healthy();
            let headers = [JSON, ("idempotency-key", "k")];
            world.post(WEBHOOK_URI, &headers, r#"{"n":1}"#);
            world.post(WEBHOOK_URI, &headers, r#"{"n":2}"#)
        }
        Kind::NoDelivery => world.as_operator("GET", &format!("/api/v2/deliveries/{UNKNOWN_ID}")),
        Kind::UnderWay => {
            let world = world.healthy();
            let (reply, _) = world.run(world.handle(request("POST", WEBHOOK_URI, &[JSON, ASYNC], "{}")));
            world.as_operator("DELETE", &format!("/api/v2/deliveries/{}", reply.delivery()))
        }
        Kind::Damaged => {
            world.damage(UNKNOWN_ID);
            world.as_operator("GET", &format!("/api/v2/deliveries/{UNKNOWN_ID}"))
        }
        Kind::Rejected => world.respond(400, r#"{"reason":"WORKFLOW_INVALID_REFERENCE"}"#).post_json(WEBHOOK_URI, "{}"),
        Kind::EngineUnclear => {
            world.fail_store(StoreFault::Once(0));
            world.respond(500, "").post_json(WEBHOOK_URI, "{}")
        }
        Kind::StoreUnavailable => {
            world.fail_store(StoreFault::Once(0));
            world.respond(503, "").post_json(WEBHOOK_URI, "{}")
        }
        Kind::OutOfTime => {
            let world = world.unreachable();
            world.set_lag(Some(Lag { operation: 5_000, stale: 0 }));
            let event = |id| format!(r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"t"}}"#);
            let batch = format!("[{}]", (0..17).map(event).collect::<Vec<_>>().join(","));
            world.post(EVENT_URI, &[("content-type", "application/cloudevents-batch+json")], batch)
        }
        Kind::Configuration => world.with("engine_url", "nonsense").setting("engine_wait_ms", 0).get("/readyz"),
    }
}

/// On the key-value store: with a database, ids depend on how many tokens were drawn.
#[test]
fn problems_match_the_snapshot() {
    StoreKind::KeyValue.choose();
    let mut snapshot = String::new();
    for kind in Kind::ALL {
        let _row = row(format!("{kind:?}"));
        let reply = provoke(*kind);
        let slug = kind.definition().slug;
        reply.problem(reply.status(), slug);
        let mut headers: Vec<_> = reply.response.headers().iter().collect();
        headers.retain(|(name, _)| !matches!(name.as_str(), "content-type" | "content-length"));
        headers.sort_by_key(|(name, _)| name.as_str());
        writeln!(snapshot, "{}", reply.status()).unwrap();
        for (name, value) in headers {
            writeln!(snapshot, "{name}: {}", value.to_str().unwrap()).unwrap();
        }
        writeln!(snapshot, "{}\n", serde_json::to_string_pretty(&reply.json()).unwrap()).unwrap();
    }
    insta::assert_snapshot!("problems", snapshot);
}

/// A page of the console: its status and, with a tag on each line, its HTML without style sheet and version.
fn page(world: &World, method: &str, uri: &str) -> String {
    let reply = as_operator(world, method, uri, &[("sec-fetch-site", "same-origin")]);
    let (before, rest) = reply.text().split_once("<style>").expect("a style sheet");
    let (_, after) = rest.split_once("</style>").expect("the end of the style sheet");
    let html = [before, after].concat().replace(env!("CARGO_PKG_VERSION"), "[version]").replace("><", ">\n<");
    format!("{}\n{html}", reply.status())
}

/// The same without what all pages have around their contents.
fn contents(world: &World, method: &str, uri: &str) -> String {
    let page = page(world, method, uri);
    let start = page.find("<main").expect("the page's contents");
    format!("{}{}", &page[..4], page[start..].trim_end_matches("\n</body>\n</html>"))
}

/// On the key-value store, as [`problems_match_the_snapshot`].
#[test]
fn console_pages_match_the_snapshot() {
    StoreKind::KeyValue.choose();
    const LIST: &str = "/console/deliveries";
    let routes = r#"[{"workflow":"triage","from":"webhook","sender":"github","filter":{"exact":{"type":"push"}},
        "params":{"who":"$.a"}},{"workflow":"audit","from":"event"}]"#;
    let busy = World::with_operator()
        .with("access_tokens", "s3cret-a,s3cret-b")
        .source_of("github", ["s3cret-one", "s3cret-two"])
        .setting("public_url", "https://gate.example")
        .with("routes", routes)
        .respond(401, "")
        .respond(500, "")
        .unreachable();
    let [pending, ambiguous, callback] =
        [(WEBHOOK_URI, r#"{"text":"<b>&","n":[1,{}]}"#), (EVENT_URI, EVENT), (CALLBACK_URI, r#"{"approved":true}"#)]
            .map(|(uri, body)| store(&busy, &format!("{uri}&access_token=s3cret-a"), body));
    busy.damage(UNKNOWN_ID);
    busy.advance(3 * MINUTE);
    let (failed, dead) = dead_letter();
    failed.advance(5 * HOUR);
    let paged = with_pages("{ui_url}/runs/{run}").unreachable();
    let for_paged = store(&paged, CALLBACK_URI, "{}");
    let invalid = World::with_operator().with("engine_url", "nonsense").with("routes", "[");
    let redeliver_dead = |result: EngineResult| {
        failed.engine.script(result);
        contents(&failed, "POST", &format!("{LIST}/{dead}/redeliver"))
    };

    let pages = [
        ("overview", page(&World::with_operator(), "GET", "/console")),
        ("overview of a busy instance", contents(&busy, "GET", "/console")),
        ("overview with invalid configuration", contents(&invalid, "GET", "/console")),
        ("list", contents(&busy, "GET", LIST)),
        ("list of dead letters", contents(&failed, "GET", &format!("{LIST}?state=dead"))),
        ("search without result", contents(&busy, "GET", &format!("{LIST}?q=nothing"))),
        ("pending delivery", contents(&busy, "GET", &format!("{LIST}/{pending}"))),
        ("ambiguous delivery", contents(&busy, "GET", &format!("{LIST}/{ambiguous}"))),
        ("pending callback", contents(&busy, "GET", &format!("{LIST}/{callback}"))),
        ("dead letter", contents(&failed, "GET", &format!("{LIST}/{dead}"))),
        ("unreadable delivery", contents(&busy, "GET", &format!("{LIST}/{UNKNOWN_ID}"))),
        ("callbacks, no run given", contents(&busy, "GET", "/console/callbacks")),
        ("callbacks of a run", contents(&busy, "GET", "/console/callbacks?run=r")),
        ("callbacks of a run that has a page", contents(&paged, "GET", "/console/callbacks?run=r")),
        ("callback for a run that has a page", contents(&paged, "GET", &format!("{LIST}/{for_paged}"))),
        ("preflight, no workflow given", contents(&busy, "GET", "/console/preflight")),
        (
            "preflight",
            contents(&with_shell(World::with_operator()), "GET", "/console/preflight?ref=6b08ce3a2bb126dc8dc5a8a8"),
        ),
        ("sources, none known", contents(&busy, "GET", "/console/sources")),
        ("sources", contents(&known_sources(), "GET", "/console/sources")),
        ("drained", contents(&busy, "POST", "/console/drain")),
        ("deletion to be confirmed", contents(&busy, "GET", &format!("{LIST}/{pending}/delete"))),
        ("deleted", contents(&busy, "POST", &format!("{LIST}/{pending}/delete"))),
        ("unknown delivery", contents(&busy, "GET", &format!("{LIST}/{pending}"))),
        ("redelivered, rejected", redeliver_dead(answer(422, ""))),
        ("redelivered, delivered", redeliver_dead(answer(200, RUN))),
    ];
    let pages: Vec<_> = pages.iter().map(|(name, page)| format!("# {name}\n{page}\n")).collect();
    insta::assert_snapshot!("console_pages", pages.join("\n"));
}
