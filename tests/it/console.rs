//! The console: access, the contents of each page, the effect of each form, and the escaping of sender input.

use data_encoding::BASE64;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::fake::{
    BROWSER, CALLBACK_URI, Cost, EVENT, EVENT_URI, NOW, RUN, Reply, StoreFault, UNKNOWN_ID, WEBHOOK_URI, World, answer,
    request, row,
};

use crate::preflight::with_shell;

const LIST: &str = "/console/deliveries";
const REDELIVER_ALL: &str = "/console/deliveries/redeliver";
const DELETE_ALL: &str = "/console/deliveries/delete";

const SAME_ORIGIN: (&str, &str) = ("sec-fetch-site", "same-origin");

pub fn basic(password: &str) -> String {
    format!("Basic {}", BASE64.encode(password.as_bytes()))
}

/// Sends a request as the operator's browser.
pub fn as_operator(world: &World, method: &str, uri: &str, more: &[(&str, &str)]) -> Reply {
    let authorization = basic("me:op3rator");
    let headers = [&[("authorization", authorization.as_str()), BROWSER], more].concat();
    world.send(request(method, uri, &headers, ""))
}

/// Gets a page.
#[track_caller]
pub fn open(world: &World, uri: &str) -> String {
    let reply = as_operator(world, "GET", uri, &[]);
    assert_page(&reply, 200);
    reply.text().to_owned()
}

/// Submits a form from the console's own page.
#[track_caller]
fn submit(world: &World, uri: &str) -> String {
    let reply = as_operator(world, "POST", uri, &[SAME_ORIGIN]);
    assert_page(&reply, 200);
    reply.text().to_owned()
}

#[track_caller]
fn assert_page(reply: &Reply, status: u16) {
    assert_eq!(reply.status(), status, "{}", reply.text());
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("referrer-policy", "same-origin"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ] {
        assert_eq!(reply.header(name), Some(value));
    }
    let policy = reply.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.ends_with("form-action 'self'; base-uri 'none'; frame-ancestors 'none'"), "{policy}");
    let page = reply.text();
    for forbidden in ["<script", "<img", "<link", "<iframe", " style=\"", " src=\""] {
        assert!(!page.contains(forbidden), "{forbidden} in {page}");
    }
    assert_eq!(page.matches("<h1>").count(), 1);
}

#[track_caller]
pub fn assert_has(page: &str, texts: &[&str]) {
    for text in texts {
        assert!(page.contains(text), "no {text:?} in:\n{page}");
    }
}

/// Sends a delivery, one millisecond after the one before, and returns its id.
pub fn store(world: &World, uri: &str, body: &str) -> String {
    world.advance(1);
    world.post_json(uri, body).delivery()
}

/// A world with a dead letter, which the engine rejected after the response, and its id.
pub fn dead_letter() -> (World, String) {
    let world = World::with_operator().respond(400, "").after(3_000);
    let id = world.post_json(WEBHOOK_URI, "{}").delivery();
    (world, id)
}

/// Method and URI of each route.
fn routes() -> [(&'static str, String); 16] {
    let one = format!("{LIST}/{UNKNOWN_ID}");
    [
        ("GET", "/console".to_owned()),
        ("POST", "/console/drain".to_owned()),
        ("GET", LIST.to_owned()),
        ("GET", one.clone()),
        ("POST", format!("{one}/redeliver")),
        ("GET", format!("{one}/delete")),
        ("POST", format!("{one}/delete")),
        ("GET", REDELIVER_ALL.to_owned()),
        ("POST", REDELIVER_ALL.to_owned()),
        ("GET", DELETE_ALL.to_owned()),
        ("POST", DELETE_ALL.to_owned()),
        ("GET", "/console/replay".to_owned()),
        ("POST", "/console/replay".to_owned()),
        ("GET", "/console/callbacks".to_owned()),
        ("GET", "/console/preflight".to_owned()),
        ("GET", "/console/sources".to_owned()),
    ]
}

#[on_each_store]
fn console_is_absent_without_an_operator_token() {
    for (method, uri) in routes() {
        let _row = row(format!("{method} {uri}"));
        let world = World::new();
        let reply = as_operator(&world, method, &uri, &[SAME_ORIGIN]);
        assert_eq!(
            reply.problem(404, "not-found")["detail"],
            "this path is disabled: set the variable `operator_token` to enable it"
        );
        assert!(world.is_store_unused());
    }
}

#[on_each_store]
fn pages_require_the_operator_token() {
    let wrong = ["", ":", "op3rator", "op3rator:", "me:op3rator ", "me:other", "me:op3rator:x"].map(basic);
    let others = ["", "Basic", "Basic ?", "Bearer op3rator", "Basic /w=="].map(str::to_owned);
    for authorization in wrong.iter().chain(&others) {
        for (method, uri) in routes() {
            let _row = row(format!("{method} {uri} with authorization {authorization:?}"));
            let world = World::with_operator();
            let headers = [("authorization", authorization.as_str()), BROWSER, SAME_ORIGIN];
            let reply = world.send(request(method, &uri, &headers, ""));
            assert_page(&reply, 401);
            assert_eq!(reply.header("www-authenticate"), Some("Basic realm=\"Sluice\", charset=\"UTF-8\""));
            assert_eq!(reply.log["problem"], "unauthorized");
            assert!(world.is_store_unused());
        }
    }
    for (name, token, credentials) in [
        ("no user name", "op3rator", ":op3rator"),
        ("user name in UTF-8", "op3rator", "é:op3rator"),
        ("token with a colon", "a:b", "me:a:b"),
    ] {
        let _row = row(name);
        let world = World::new().with("operator_token", token);
        let reply = world.send(request("GET", "/console", &[("authorization", &basic(credentials)), BROWSER], ""));
        assert_page(&reply, 200);
    }
}

#[on_each_store]
fn cross_site_form_changes_nothing() {
    const URL: (&str, &str) = ("spin-full-url", "http://10.0.0.7:3000/console/drain");
    let refused: [&[(&str, &str)]; 9] = [
        &[],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site"), ("origin", "http://10.0.0.7:3000")],
        &[("sec-fetch-site", "none"), ("origin", "http://10.0.0.7:3000")],
        &[SAME_ORIGIN, ("sec-fetch-site", "cross-site")],
        &[("origin", "null")],
        &[("origin", "http://evil.example")],
        &[("origin", "http://10.0.0.7")],
        &[("origin", "http://10.0.0.7:3000"), ("origin", "http://evil.example")],
    ];
    for (method, uri) in routes().into_iter().filter(|(method, _)| *method == "POST") {
        for headers in refused {
            let _row = row(format!("{uri} with {headers:?}"));
            let world = World::with_operator();
            let reply = as_operator(&world, method, &uri, &[headers, &[URL]].concat());
            assert_page(&reply, 403);
            assert_eq!(reply.log["problem"], "cross-site");
            assert!(world.is_store_unused());
        }
    }
    let accepted: [&[(&str, &str)]; 6] = [
        &[SAME_ORIGIN],
        &[SAME_ORIGIN, ("origin", "null")],
        &[("origin", "http://10.0.0.7:3000")],
        // A proxy that terminates TLS; then one that hides the host, which `public_url` names.
        &[("origin", "https://gate.example"), ("host", "gate.example:80")],
        &[("origin", "https://Gate.example"), ("host", "gate.example")],
        &[("origin", "https://public.example")],
    ];
    for headers in accepted {
        let _row = row(format!("{headers:?}"));
        let world = World::with_operator().setting("public_url", "https://public.example:443/");
        assert_page(&as_operator(&world, "POST", "/console/drain", &[headers, &[URL]].concat()), 200);
    }
}

#[on_each_store]
fn problems_are_json_if_accepted() {
    let authorization = basic(":op3rator");
    let headers = [("authorization", authorization.as_str()), ("accept", "application/json")];
    let reply = World::with_operator().send(request("GET", &format!("{LIST}/{UNKNOWN_ID}"), &headers, ""));
    reply.problem(404, "no-delivery");
    for (method, uri) in [("DELETE", LIST), ("GET", "/console/drain"), ("POST", "/console")] {
        let _row = row(format!("{method} {uri}"));
        World::with_operator().send(request(method, uri, &headers, "")).problem(405, "method-not-allowed");
    }
    for uri in ["/console/x", "/consoles", "/console/deliveries/", "/console/deliveries/x/y"] {
        let _row = row(uri);
        World::with_operator().send(request("GET", uri, &headers, "")).problem(404, "not-found");
    }
    let head = as_operator(&World::with_operator(), "HEAD", "/console", &[]);
    assert_eq!((head.status(), head.text()), (200, ""));
}

#[on_each_store]
fn overview_says_how_long_the_backlog_will_take() {
    let world = World::with_operator().setting("drain_width_max", 1).unreachable();
    (0..40).for_each(|_| _ = store(&world, WEBHOOK_URI, "{}"));
    assert!(!open(&world, "/console").contains("At the pace"));
    world.engine.recover();
    world.engine.latency.set(1_000);
    world.advance(60_000);
    world.drain();
    assert_has(&open(&world, "/console"), &["At the pace of the last drains, they take "]);
}

#[on_each_store]
fn overview_shows_the_current_state() {
    let world = World::with_operator();
    assert_has(&open(&world, "/console"), &[">OK<", ">Valid<", "No pending deliveries", "No dead deliveries", "Never"]);
    world.assert_cost(Cost { reads: 7, writes: 0, scans: 1 }, &["counts", "notes", "notes"]);
    world.assert_untouched();

    let world = World::with_operator().unreachable();
    let oldest = store(&world, WEBHOOK_URI, "{}");
    store(&world, WEBHOOK_URI, "{}");
    world.advance(180_000);
    let page = open(&world, "/console");
    assert_has(&page, &["Some deliveries fail", "The oldest pending delivery: the engine can't be reached"]);
    assert_has(&page, &[&format!(r#"The oldest was received <a href="{LIST}/{oldest}">3 min ago</a>"#)]);
    assert_has(&page, &[r#"<a href="/console/deliveries">2</a>"#, r#"<a href="/console/deliveries?state=dead">0</a>"#]);

    // The summary of a drain is shown by later requests too.
    assert_has(&submit(&world, "/console/drain"), &["Drained: 2 still pending, stopped: the engine can't be reached"]);
    assert_has(&open(&world, "/console"), &["Not reachable", "just now", "2 still pending"]);
    world.engine.recover();
    world.advance(60_000);
    assert_eq!(world.drain()["delivered"], 2);
    world.advance(120_000);
    assert_has(&open(&world, "/console"), &[">OK<", "2 min ago", "2 delivered", "No pending deliveries"]);
    assert_has(&submit(&world, "/console/drain"), &["Drained: nothing was pending"]);

    let (world, _) = dead_letter();
    assert_has(&open(&world, "/console"), &[r#"?state=dead">1</a>"#, "Redeliver or delete them"]);
    let world = World::with_operator().respond(401, "");
    store(&world, WEBHOOK_URI, "{}");
    assert_has(&open(&world, "/console"), &["Rejects Sluice", "the engine answered 401", "2026-11-24 08:30:00 UTC"]);
}

#[on_each_store]
fn overview_shows_the_configuration_without_secrets() {
    let routes = r#"[{"workflow":"triage","from":"webhook","sender":"github","filter":{"exact":{"type":"push"}},
        "params":{"who":"$.a","what":"$.b"}},{"workflow":"<i>","from":"event"}]"#;
    let world = World::with_operator()
        .with("engine_token", "s3cret-engine")
        .with("access_tokens", "s3cret-a,s3cret-b")
        .setting("link_secrets", ["s3cret-link"])
        .setting("public_url", "https://gate.example")
        .source_of("github", ["s3cret-one", "s3cret-two"])
        .source_of("slack", ["s3cret-slack"])
        .with("routes", routes);
    let page = open(&world, "/console");
    assert_has(
        &page,
        &[
            "an access token (2 tokens are set)",
            "https://gate.example",
            "http://127.0.0.1:7701",
            "At least 72 h",
            ">on<",
        ],
    );
    assert_has(&page, &["github</span> <small>github<", "slack</span> <small>slack<"]);
    assert_has(&page, &["triage", "github webhooks", "who, what", "&lt;i&gt;", "events", "matches all"]);
    assert!(!page.contains("s3cret") && !page.contains("op3rator") && !page.contains("stripe"), "{page}");
    assert_has(&open(&World::with_operator(), "/console"), &["Anyone", "No sources are set", "No routes are set"]);

    // The overview names invalid variables; pages that need one of these are 503.
    let world = World::with_operator().with("engine_url", "s3cret").setting("doors", "s3cret").with("routes", "[");
    let page = open(&world, "/console");
    assert_has(
        &page,
        &["variable `engine_url` must be", "variable `settings` has an error: `/doors`", "variable `routes`"],
    );
    assert!(!page.contains("s3cret"), "{page}");
    assert_page(&as_operator(&world, "GET", LIST, &[]), 503);
}

/// The default profile with other members: an object is added to the one that it has, and `null` removes a member.
pub fn edited_profile(members: Value) -> String {
    let mut profile: Value = serde_json::from_str(include_str!("../../src/engine/profiles/boomerang.json")).unwrap();
    let document = profile.as_object_mut().unwrap();
    for (name, value) in members.as_object().unwrap() {
        match (document.get_mut(name).and_then(Value::as_object_mut), value.as_object()) {
            (Some(own), Some(more)) => own.extend(more.clone()),
            _ => _ = document.insert(name.clone(), value.clone()),
        }
    }
    document.retain(|_, value| !value.is_null());
    profile.to_string()
}

/// A world whose engine has a page for each run.
pub fn with_pages(page: &str) -> World {
    let profile = edited_profile(json!({ "settings": { "ui_url": "url" }, "page": page, "title": "<i>Engine</i>" }));
    World::with_operator().with("engine", &profile).setting("engine", json!({ "ui_url": "https://ui.example/flow" }))
}

#[on_each_store]
fn overview_shows_the_promises_of_the_engine() {
    let overview = |members| open(&World::with_operator().with("engine", &edited_profile(members)), "/console");
    assert_has(
        &overview(json!({})),
        &[
            "Boomerang Flow 4: the engine's own API",
            "<code>boomerang</code>",
            ">Once</span> If the answer to a start is lost, its run is looked up",
            "Sent while the engine shows a task that waits",
        ],
    );
    let looked = ["tasks", "look", "cancel", "describe"].map(|name| (name.to_owned(), Value::Null));
    let resume = json!({
        "request": { "method": "POST", "path": "/{run}/{topic}", "body": { "id": { "$": "once" } } },
        "proof": "object",
        "confirm": "answer",
        "statuses": ["succeeded"],
    });
    for (doubt, expected) in [
        (
            "resend",
            ">Once</span> If the answer to a start is lost, the start is sent again, and the engine starts no second run<",
        ),
        ("hold", ">At most once</span> If the answer to a start is lost, the delivery is dead, and you decide<"),
        (
            "resend-anyway",
            ">At least once</span> If the answer to a start is lost, the start is sent again, and may start a second run<",
        ),
    ] {
        let _row = row(doubt);
        let mut members: Map<String, Value> = looked.clone().into_iter().collect();
        members.insert("doubt".to_owned(), doubt.into());
        members.insert("resume".to_owned(), Value::Null);
        let page = overview(Value::Object(members.clone()));
        assert_has(&page, &[expected, ">None</span> The engine can't resume a run, so they are refused"]);
        members.insert("resume".to_owned(), resume.clone());
        let page = overview(Value::Object(members));
        assert_has(
            &page,
            &[
                expected,
                "Sent at once: the engine keeps an early one, and ignores a repeated one. Of different ones for one task, the first wins. A failed one is refused",
            ],
        );
    }
}

#[on_each_store]
fn run_is_a_link_to_its_page_at_the_engine() {
    let link = |run: &str, text: &str| {
        format!(r#"<a href="https://ui.example/flow/runs/{run}" rel="noreferrer"><bdi>{text}</bdi></a>"#)
    };
    let world = with_pages("{ui_url}/runs/{run}").unreachable();
    let callback = store(&world, "/api/v2/callback?ref=r%3Cb%3E%22&topic=t", "{}");
    let escaped = link("r%3Cb%3E%22", "r&lt;b&gt;&quot;");
    assert_has(&open(&world, &format!("{LIST}/{callback}")), &[&escaped]);
    assert_has(&open(&world, &format!("{LIST}/{callback}/delete")), &[&escaped]);
    assert_has(
        &open(&world, "/console/callbacks?run=r1"),
        &[
            r#"<a class="button" href="https://ui.example/flow/runs/r1" rel="noreferrer">Show the run at the engine</a>"#,
        ],
    );
    assert!(!open(&world, "/console/callbacks").contains("at the engine"));
    world.put_note("twice", &format!(r#"{{"at":{NOW},"delivery":"{UNKNOWN_ID}","runs":["5f1c","5f1d"]}}"#));
    let page = open(&world, "/console");
    assert_has(&page, &[&link("5f1c", "5f1c"), &link("5f1d", "5f1d"), "&lt;i&gt;Engine&lt;/i&gt;"]);

    let start = store(&world, WEBHOOK_URI, "{}");
    world.engine.recover();
    world.engine.script(answer(200, RUN));
    let page = submit(&world, &format!("{LIST}/{start}/redeliver"));
    assert_has(&page, &["It is the run ", &link("5f1c9c8e2f8b9a0001a1b2c3", "5f1c9c8e2f8b9a0001a1b2c3")]);

    // Without the constant, and with an address that is none of the web.
    let no_constant = with_pages("{ui_url}/runs/{run}").setting("engine", json!({}));
    for world in [no_constant, with_pages("javascript:alert('{run}')"), with_pages("//evil.example/{run}")] {
        let world = world.unreachable();
        let callback = store(&world, CALLBACK_URI, "{}");
        for uri in [format!("{LIST}/{callback}"), "/console/callbacks?run=r".to_owned()] {
            let page = open(&world, &uri);
            assert!(!page.contains("noreferrer") && !page.contains("javascript") && !page.contains("evil"), "{page}");
        }
        assert_has(&open(&world, &format!("{LIST}/{callback}")), &["<dt>Run</dt><dd><bdi>r</bdi></dd>"]);
    }
}

#[on_each_store]
fn deliveries_are_listed_by_state_and_page() {
    let world = World::with_operator().unreachable();
    assert_has(&open(&world, LIST), &["No pending deliveries", "Pending (0)", "Dead (0)"]);
    assert_has(&open(&world, &format!("{LIST}?state=dead")), &["No dead deliveries"]);
    let ids: Vec<_> = (0..51).map(|_| store(&world, WEBHOOK_URI, "{}")).collect();
    let page = open(&world, LIST);
    assert_has(&page, &["Pending (51)", "the engine can't be reached", "at the next drain"]);
    assert!(page.contains(&ids[49]) && !page.contains(&ids[50]) && !page.contains("First page"));
    let next = format!("{LIST}?state=pending&amp;after={}", ids[49]);
    assert_has(&page, &[&format!(r#"<a class="button" href="{next}">Next page</a>"#)]);
    let page = open(&world, &next.replace("&amp;", "&"));
    assert!(page.contains(&ids[50]) && !page.contains(&ids[49]) && !page.contains("Next page"), "{page}");
    assert_has(&page, &["First page"]);
    assert_has(&open(&world, &format!("{LIST}?after={}", ids[50])), &["No more deliveries"]);

    let (world, id) = dead_letter();
    let page = open(&world, &format!("{LIST}?state=dead"));
    assert_has(&page, &[&id, "Dead (1)", "the engine answered 400"]);
    assert!(!page.contains("Next attempt"));
    for query in ["state=x", "after=x", "q=a&q=b", "q=%ff"] {
        let _row = row(query);
        assert_page(&as_operator(&world, "GET", &format!("{LIST}?{query}"), &[]), 400);
    }
}

#[on_each_store]
fn search_matches_id_workflow_run_and_topic() {
    let world = World::with_operator().unreachable();
    let [nightly, _, callback] = [
        store(&world, "/api/v2/webhook?ref=Nightly-build", "{}"),
        store(&world, WEBHOOK_URI, "{}"),
        store(&world, "/api/v2/callback?ref=run7&topic=sign%20%26%20ship", "{}"),
    ];
    for (text, found) in [("nightly", &nightly), ("RUN7", &callback), ("n+%26+s", &callback), ("+build+", &nightly)] {
        let _row = row(text);
        let page = open(&world, &format!("{LIST}?q={text}"));
        assert_eq!(page.matches("<code>").count(), 1, "{page}");
        assert_has(&page, &[found, "3 deliveries searched"]);
    }
    assert_has(&open(&world, &format!("{LIST}?q=Nope")), &["Nothing was found", "<bdi>Nope</bdi>"]);
    assert_has(&open(&world, &format!("{LIST}?q={UNKNOWN_ID}")), &["Nothing was found"]);
    world.restart_count();
    let reply = as_operator(&world, "GET", &format!("{LIST}?state=dead&q=%20{}", callback.to_lowercase()), &[]);
    assert_eq!((reply.status(), reply.header("location")), (303, Some(&*format!("{LIST}/{callback}"))));
    world.assert_cost(Cost { reads: 1, writes: 0, scans: 0 }, &["show"]);
}

#[on_each_store]
fn search_is_bounded_and_continues() {
    let world = World::with_operator().unreachable();
    let first = store(&world, WEBHOOK_URI, "{}");
    let record = world.pending_record(&first);
    let ids: Vec<_> = (0..1_200).map(|n| format!("01M85MNVRRNF3YKJSMZYXZ{n:04}")).collect();
    for id in &ids {
        world.put_pending(id, &record);
    }
    let wanted = String::from_utf8(record).unwrap().replace(r#""workflow":"w""#, r#""workflow":"needle""#);
    world.put_pending(&ids[900], wanted.as_bytes());
    world.restart_count();
    let page = open(&world, &format!("{LIST}?q=needle"));
    world.assert_cost(Cost { reads: 500, writes: 0, scans: 1 }, &["search", "counts"]);
    assert_has(&page, &["Nothing was found", "500 deliveries searched", "at most 500 at a time", "Continue search"]);
    let next = page.split(r#"class="button" href=""#).nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    assert_has(&open(&world, &next), &[&ids[900], "500 deliveries searched", "Continue search"]);
}

#[on_each_store]
fn delivery_page_shows_the_request() {
    const ODD: &str = r#"{"n":12345678901234567890,"d":1,"d":[],"e":1e5}"#;
    let world = World::with_operator().respond(503, "").unreachable();
    let hook = store(&world, "/api/v2/webhook?ref=my%20flow", ODD);
    let page = open(&world, &format!("{LIST}/{hook}"));
    assert_has(
        &page,
        &["<h1>Start my flow</h1>", "pending", "the engine answered 503", "/workflow/my%20flow/submit?start=false"],
    );
    assert_has(
        &page,
        &["        &quot;n&quot;: 12345678901234567890,\n        &quot;d&quot;: 1,\n        &quot;d&quot;: [],\n"],
    );
    assert_has(
        &page,
        &[&format!(r#"<form method="post" action="{LIST}/{hook}/redeliver">"#), &format!("{LIST}/{hook}/delete")],
    );
    let event = store(&world, EVENT_URI, EVENT);
    assert_has(&open(&world, &format!("{LIST}/{event}")), &["<dt>Key</dt>", "the engine can't be reached"]);
    let callback = store(&world, CALLBACK_URI, "{}");
    let page = open(&world, &format!("{LIST}/{callback}"));
    assert_has(&page, &["<h1>Resolve r</h1>", "<dt>Topic</dt><dd><bdi>t</bdi>", "PUT", "/api/v1/workflowrun/r/event"]);
    let (world, dead) = dead_letter();
    assert_has(&open(&world, &format!("{LIST}/{dead}")), &[r#"<span class="chip bad">dead</span>"#]);
    for id in [UNKNOWN_ID, "x", "%30"] {
        let _row = row(id);
        assert_page(&as_operator(&world, "GET", &format!("{LIST}/{id}"), &[]), 404);
    }
}

#[on_each_store]
fn huge_payload_is_truncated() {
    let world = World::with_operator().setting("max_body_bytes", 900_000).unreachable();
    let body = format!(r#"{{"a":{}[{}0]{}}}"#, "[".repeat(100), "0,".repeat(200_000), "]".repeat(100));
    let id = store(&world, WEBHOOK_URI, &body);
    let page = open(&world, &format!("{LIST}/{id}"));
    assert_has(&page, &["the first 262144 bytes", &format!("GET /api/v2/deliveries/{id}")]);
    assert!(page.len() < 300_000, "{}", page.len());
}

#[on_each_store]
fn sender_input_is_escaped() {
    const EVIL: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    let world = World::with_operator().unreachable();
    let encoded: String = form_urlencoded::byte_serialize(EVIL.as_bytes()).collect();
    let body = serde_json::json!({ "a": EVIL, "turned": "a\u{202e}b", EVIL: "</pre></main>" }).to_string();
    let topic = store(&world, &format!("/api/v2/callback?ref=r%3Cb%3E&topic={encoded}"), &body);
    let hook = store(&world, "/api/v2/webhook?ref=%3Cb%3E%22x", &body);
    for uri in [
        "/console".to_owned(),
        LIST.to_owned(),
        format!("{LIST}?q={encoded}"),
        format!("{LIST}?q=%22%3E%3Cb%3E"),
        format!("{LIST}/{topic}"),
        format!("{LIST}/{hook}"),
        format!("{LIST}/{hook}/delete"),
        "/console/callbacks?run=r%3Cb%3E".to_owned(),
        "/console/preflight?ref=%3Cb%3E%22x".to_owned(),
    ] {
        let _row = row(&uri);
        let page = open(&world, &uri);
        assert!(!page.contains("<b>") && !page.contains("<img") && !page.contains('\u{202e}'), "{page}");
        assert_eq!(page.matches("</main>").count(), 1);
    }
    for uri in [format!("{LIST}/{hook}"), format!("{LIST}/{topic}"), "/console/callbacks?run=r%3Cb%3E".to_owned()] {
        let _row = row(&uri);
        assert_has(&open(&world, &uri), &["&lt;/pre&gt;&lt;/main&gt;", r"a\u202eb", "&lt;img src=x onerror"]);
    }
    let answer = as_operator(&world, "GET", &format!("/console/callbacks?run={encoded}"), &[]);
    assert_page(&answer, 400);
    assert_page(&as_operator(&world, "GET", &format!("{LIST}/{UNKNOWN_ID}%3Cscript%3E"), &[]), 404);
}

#[on_each_store]
fn redelivery_page_reports_the_outcome() {
    let world = World::with_operator().respond(503, "").unreachable();
    let id = store(&world, WEBHOOK_URI, "{}");
    let redeliver = format!("{LIST}/{id}/redeliver");
    let page = submit(&world, &redeliver);
    assert_has(
        &page,
        &["The delivery stays pending: the engine can't be reached", "<h1>Start w</h1>", "<dt>Attempts</dt><dd>2</dd>"],
    );
    world.engine.recover();
    assert_has(&submit(&world, &redeliver), &["<h1>Delivered</h1>", &id]);
    assert_eq!(world.engine.targets().len(), 1);
    assert_page(&as_operator(&world, "POST", &redeliver, &[SAME_ORIGIN]), 404);

    let (world, id) = dead_letter();
    let world = world.respond(422, "");
    assert_has(
        &submit(&world, &format!("{LIST}/{id}/redeliver")),
        &["The delivery stays dead: the engine answered 422"],
    );
    world.engine.recover();
    assert_has(&submit(&world, &format!("{LIST}/{id}/redeliver")), &["<h1>Delivered</h1>"]);

    let world = World::with_operator().respond(400, "").after(3_000);
    let dead = store(&world, EVENT_URI, EVENT);
    world.engine.recover();
    world.post_json(EVENT_URI, EVENT);
    assert_has(&submit(&world, &format!("{LIST}/{dead}/redeliver")), &["<h1>Dropped</h1>"]);

    let world = World::with_operator().losing_responses();
    let id = store(&world, EVENT_URI, EVENT);
    let page = open(&world, &format!("{LIST}/{id}"));
    assert_has(&page, &["unconfirmed", "Sluice asks the engine before it sends this one again"]);
    assert!(!page.contains("<form") && !page.contains("/delete"), "an action that would be refused is offered");
    for action in ["redeliver", "delete"] {
        let _row = row(action);
        let reply = as_operator(&world, "POST", &format!("{LIST}/{id}/{action}"), &[SAME_ORIGIN]);
        assert_page(&reply, 409);
        assert_eq!(reply.header("retry-after"), Some("5"));
    }
}

#[on_each_store]
fn deletion_requires_confirmation() {
    let world = World::with_operator().unreachable();
    let id = store(&world, WEBHOOK_URI, "{}");
    let delete = format!("{LIST}/{id}/delete");
    let page = open(&world, &delete);
    assert_has(
        &page,
        &[
            "<h1>Delete this delivery?</h1>",
            "Delete permanently",
            "Cancel",
            &id,
            r#"<form class="row below" method="post">"#,
        ],
    );
    assert_eq!(world.pending(), [&*id]);
    assert_has(&submit(&world, &delete), &["<h1>Deleted</h1>"]);
    assert!(world.pending().is_empty());
    assert_page(&as_operator(&world, "GET", &delete, &[]), 404);
    assert_page(&as_operator(&world, "POST", &delete, &[SAME_ORIGIN]), 404);
}

#[on_each_store]
fn deliveries_are_found_by_workflow_time_and_failure() {
    let world = World::with_operator().respond(503, "").respond(500, "");
    let [first, second] =
        [store(&world, "/api/v2/webhook?ref=report", "{}"), store(&world, "/api/v2/webhook?ref=bill", "{}")];
    for (query, found) in [
        ("workflow=rep*&q=&source=&received_from=&received_to=&failure=", &first),
        ("workflow=&q=&source=&received_from=&received_to=&failure=answered+500", &second),
        ("received_to=2026-11-24T08:30:00.002", &first),
        ("received_from=2026-11-24T08:30:00.002", &second),
        ("q=REP&workflow=report", &first),
    ] {
        let _row = row(query);
        let page = open(&world, &format!("{LIST}?state=pending&{query}"));
        assert_eq!(page.matches("<code>").count(), 1, "{page}");
        assert_has(&page, &[found, "<details open>", "Clear"]);
    }
    // The fields keep what was searched for.
    let page = open(&world, &format!("{LIST}?workflow=rep*&received_from=2026-11-24T08:30&failure=%22%3Cb%3E"));
    assert_has(
        &page,
        &[
            r#"name="workflow" value="rep*""#,
            r#"type="datetime-local" name="received_from" value="2026-11-24T08:30:00.000""#,
            r#"name="failure" value="&quot;&lt;b&gt;""#,
            "None of the pending deliveries that were searched matches.",
        ],
    );
    assert!(open(&world, LIST).contains("<details>"), "closed without a condition");
    for query in ["workflow=a*b", "received_from=x", "source=a%20b"] {
        let _row = row(query);
        assert_page(&as_operator(&world, "GET", &format!("{LIST}?{query}"), &[]), 400);
    }
}

#[on_each_store]
fn all_that_match_are_redelivered_or_deleted_after_a_dry_run() {
    let world = World::with_operator();
    let mut ids = Vec::new();
    for (workflow, status) in [("report", 422), ("report", 422), ("bill", 422)] {
        world.engine.script.borrow_mut().push_back((3_000, answer(status, "")));
        ids.push(store(&world, &format!("/api/v2/webhook?ref={workflow}"), "{}"));
    }
    assert_eq!(world.dead(), ids);
    let page = open(&world, &format!("{LIST}?state=dead&workflow=report&q=rep"));
    let link = |path: &str| format!("{path}?state=dead&amp;workflow=report&amp;text=rep");
    assert_has(
        &page,
        &[&link(REDELIVER_ALL), &link(DELETE_ALL), "Redeliver all that match…", "Delete all that match…"],
    );

    let uri = link(REDELIVER_ALL).replace("&amp;", "&");
    let page = open(&world, &uri);
    assert_has(
        &page,
        &[
            "<h1>Redeliver 2 deliveries?</h1>",
            "dead deliveries of the workflow <code>report</code>, with <bdi>rep</bdi> in workflow, run or topic.",
            &ids[0],
            &ids[1],
            &format!(r#"<form class="row below" method="post" action="{}">"#, link(REDELIVER_ALL)),
            "Redeliver all</button>",
            &format!(r#"href="{LIST}?state=dead&amp;workflow=report&amp;q=rep""#),
        ],
    );
    assert!(!page.contains(&ids[2]), "{page}");
    assert_eq!(world.dead(), ids, "nothing was done");
    let page = submit(&world, &uri);
    assert_has(&page, &["<h1>Redelivered</h1>", "2 deliveries are pending and due now."]);
    assert_eq!((world.dead(), world.pending()), (ids[2..].to_vec(), ids[..2].to_vec()));
    assert_has(&open(&world, &uri), &["<h1>No delivery matches</h1>"]);

    let page = open(&world, &format!("{DELETE_ALL}?state=dead"));
    assert_has(&page, &["<h1>Delete 1 delivery?</h1>", "All dead deliveries.", "Delete all permanently"]);
    let page = submit(&world, &format!("{DELETE_ALL}?state=dead"));
    assert_has(&page, &["<h1>Deleted</h1>", "1 delivery is deleted."]);
    assert_eq!((world.dead().len(), world.pending().len()), (0, 2));
    for uri in [REDELIVER_ALL, DELETE_ALL] {
        assert_page(&as_operator(&world, "POST", uri, &[SAME_ORIGIN]), 400);
    }
    assert_eq!(world.pending().len(), 2);
}

#[on_each_store]
fn unreadable_record_is_listed_and_can_be_deleted() {
    let world = World::with_operator().unreachable();
    let id = store(&world, WEBHOOK_URI, "{}");
    world.damage(&id);
    assert_has(&open(&world, LIST), &[&id, "Damaged", "The record can't be read"]);
    assert_has(&open(&world, &format!("{LIST}/{id}")), &["Damaged delivery", &format!("{LIST}/{id}/delete")]);
    assert_has(&open(&world, &format!("{LIST}/{id}/delete")), &["The record can't be read", "Delete permanently"]);
    assert_has(&submit(&world, &format!("{LIST}/{id}/delete")), &["<h1>Deleted</h1>"]);
    assert!(world.pending().is_empty());
}

#[on_each_store]
fn callbacks_of_a_run_are_shown() {
    let world = World::with_operator().healthy();
    assert_has(&open(&world, "/console/callbacks"), &["No run selected"]);
    assert_has(&open(&world, "/console/callbacks?run=none"), &["None was accepted"]);
    assert_eq!(world.post_json(CALLBACK_URI, r#"{"who":"Ada"}"#).outcome(), (200, Some("delivered")));
    let world = world.unreachable();
    let pending = store(&world, "/api/v2/callback?ref=r&topic=u&status=Failed", "{}");
    world.advance(10_000);
    let page = open(&world, "/console/callbacks?run=+r+");
    assert_has(
        &page,
        &["<bdi>t</bdi>", "succeeded", "delivered", "&quot;who&quot;: &quot;Ada&quot;", "<bdi>u</bdi>", "failed"],
    );
    assert_has(&page, &["2 callbacks", "10 s ago", &format!("{LIST}/{pending}")]);
    assert_page(&as_operator(&world, "GET", "/console/callbacks?run=a/b", &[]), 400);
}

#[on_each_store]
fn preflight_shows_findings_with_their_remedies() {
    let world = with_shell(World::with_operator());
    assert_has(&open(&world, "/console/preflight"), &["No workflow selected"]);
    let page = open(&world, "/console/preflight?ref=+6b08ce3a2bb126dc8dc5a8a8+");
    assert_has(
        &page,
        &[
            r#"value="6b08ce3a2bb126dc8dc5a8a8""#,
            r#"<span class="chip good">OK</span>"#,
            r#"<span class="chip busy">Warning</span>"#,
            r#"<span class="chip bad">Error</span>"#,
            "The task `sh` has no image",
            "Set `engine.default_image` in `settings`",
        ],
    );
    assert_eq!(world.engine.take_calls().len(), 2);
    for query in ["ref=a?b", "ref=team/shell", "ref=a&ref=b"] {
        let _row = row(query);
        assert_page(&as_operator(&world, "GET", &format!("/console/preflight?{query}"), &[]), 400);
    }

    // The engine's texts are escaped.
    let evil = r#"{"tasks":[{"name":"<b>x</b>","type":"eventwait","params":[{"name":"topic","value":"</main>"}]}]}"#;
    let world = World::with_operator().respond(200, evil);
    let page = open(&world, "/console/preflight?ref=w");
    assert_has(&page, &["The task `&lt;b&gt;x&lt;/b&gt;` waits for the topic `&lt;/main&gt;`."]);
    assert!(!page.contains("<b>") && page.matches("</main>").count() == 1, "{page}");
}

#[on_each_store]
fn workflows_of_routes_and_deliveries_lead_to_a_preflight() {
    let routes = r#"[{"workflow":"triage","from":"webhook"},{"workflow":"audit","from":"event"},
        {"workflow":"triage","from":"event"}]"#;
    let world = World::with_operator().with("routes", routes).unreachable();
    let form = r#"<form class="row above" action="/console/preflight">"#;
    for uri in ["/console", "/console/preflight"] {
        let page = open(&world, uri);
        assert_has(&page, &[form, r#"<option value="audit"></option><option value="triage"></option></datalist>"#]);
    }
    let page = open(&World::with_operator(), "/console");
    assert!(page.contains(form) && !page.contains("<datalist"), "{page}");
    let hook = store(&world, "/api/v2/webhook?ref=my%20flow", "{}");
    assert_has(&open(&world, &format!("{LIST}/{hook}")), &[r#"href="/console/preflight?ref=my+flow""#]);
    let callback = store(&world, CALLBACK_URI, "{}");
    assert!(!open(&world, &format!("{LIST}/{callback}")).contains("/console/preflight"));
}

#[on_each_store]
fn store_failure_is_reported_without_details() {
    for (method, uri) in routes() {
        let _row = row(format!("{method} {uri}"));
        let world = World::with_operator();
        world.fail_store(StoreFault::Once(0));
        let reply = as_operator(&world, method, &format!("{uri}?state=dead"), &[SAME_ORIGIN]);
        if matches!(&*uri, "/console/callbacks" | "/console/preflight") {
            assert_page(&reply, 200);
            continue;
        }
        assert_page(&reply, 503);
        assert!(!reply.text().contains(world.store_error()) && reply.warning().contains(world.store_error()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[on_each_store]
    fn every_request_gets_a_page(
        method in prop::sample::select(vec!["GET", "GET", "HEAD", "POST"]),
        path in prop_oneof![prop::sample::select(routes().map(|(_, path)| path).to_vec()), "/console(/[a-z%0-9A-F]{0,9}){0,3}"],
        query in "(state=(dead|pending)|q=[!-~]{0,12}|ref=[!-~]{0,12}|after=[0-9A-Z]{24,26}|run=[!-~]{0,12}|[!-~]{0,5})(&(q|run|state)=[a-z%]{0,6}){0,2}",
        site in prop::sample::select(vec!["same-origin", "cross-site"]),
    ) {
        let query: String = query.chars().filter(|c| !"\"<>`{}|\\^#".contains(*c)).collect();
        let world = World::with_operator().unreachable();
        store(&world, WEBHOOK_URI, "{}");
        let reply = as_operator(&world, method, &format!("{path}?{query}"), &[("sec-fetch-site", site)]);
        prop_assert!(reply.status() < 500, "{}", reply.text());
        let is_known = !matches!(reply.log["problem"].as_str(), Some("not-found" | "method-not-allowed"));
        if is_known && method != "HEAD" && reply.status() != 303 {
            assert_page(&reply, reply.status());
        }
    }
}
