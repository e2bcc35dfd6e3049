//! The console: who comes in, what each page shows, what each button does, and that what a sender wrote stays text.

use data_encoding::BASE64;
use proptest::prelude::*;

use crate::fake::{Cost, EVENT, Reply, World, request};

const HOOK: &str = "/api/v2/webhook?ref=w";
const ON_CALLBACK: &str = "/api/v2/callback?ref=r&topic=t";
const LIST: &str = "/console/deliveries";
const SOME: &str = "01M85MNVRRNF3YKJSMZYXYD1X7";
const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
const OWN: (&str, &str) = ("sec-fetch-site", "same-origin");

fn basic(password: &str) -> String {
    format!("Basic {}", BASE64.encode(password.as_bytes()))
}

fn operate(world: &World, method: &str, uri: &str, more: &[(&str, &str)]) -> Reply {
    let authorization = basic("me:op3rator");
    let headers = [&[("authorization", authorization.as_str()), BROWSER], more].concat();
    world.send(request(method, uri, &headers, ""))
}

#[track_caller]
fn open(world: &World, uri: &str) -> String {
    let reply = operate(world, "GET", uri, &[]);
    is_page(&reply, 200);
    reply.text().to_owned()
}

#[track_caller]
fn press(world: &World, uri: &str) -> String {
    let reply = operate(world, "POST", uri, &[OWN]);
    is_page(&reply, 200);
    reply.text().to_owned()
}

#[track_caller]
fn is_page(reply: &Reply, status: u16) {
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
    for loaded in ["<script", "<img", "<link", "<iframe", " style=\"", " src=\""] {
        assert!(!page.contains(loaded), "{loaded} in {page}");
    }
    assert_eq!(page.matches("<h1>").count(), 1);
}

#[track_caller]
fn has(page: &str, texts: &[&str]) {
    for text in texts {
        assert!(page.contains(text), "lacks {text:?}:\n{page}");
    }
}

fn id(reply: &Reply) -> String {
    reply.header("sluice-delivery").unwrap().to_owned()
}

fn stored(world: &World, uri: &str, body: &str) -> String {
    world.pass(1);
    id(&world.json(uri, body))
}

/// One that is dead, since the engine refused it after its answer.
fn dead() -> (World, String) {
    let world = World::operated().answers(400, "").after(3_000);
    let id = id(&world.json(HOOK, "{}"));
    (world, id)
}

fn pages() -> [(&'static str, String); 8] {
    let one = format!("{LIST}/{SOME}");
    [
        ("GET", "/console".to_owned()),
        ("POST", "/console/drain".to_owned()),
        ("GET", LIST.to_owned()),
        ("GET", one.clone()),
        ("POST", format!("{one}/redeliver")),
        ("GET", format!("{one}/delete")),
        ("POST", format!("{one}/delete")),
        ("GET", "/console/callbacks".to_owned()),
    ]
}

#[test]
fn console_is_absent_without_an_operator_token() {
    for (method, uri) in pages() {
        let world = World::new();
        let reply = operate(&world, method, &uri, &[OWN]);
        assert_eq!(
            reply.problem(404, "not-found")["detail"],
            "this path is disabled: set the variable `operator_token` to enable it",
            "{uri}"
        );
        assert!(world.operations.borrow().is_empty());
    }
}

#[test]
fn pages_require_the_operator_token() {
    let wrong = ["", ":", "op3rator", "op3rator:", "me:op3rator ", "me:other", "me:op3rator:x"].map(basic);
    let others = ["", "Basic", "Basic ?", "Bearer op3rator", "Basic /w=="].map(str::to_owned);
    for authorization in wrong.iter().chain(&others) {
        for (method, uri) in pages() {
            let world = World::operated();
            let headers = [("authorization", authorization.as_str()), BROWSER, OWN];
            let reply = world.send(request(method, &uri, &headers, ""));
            is_page(&reply, 401);
            assert_eq!(reply.header("www-authenticate"), Some("Basic realm=\"Sluice\", charset=\"UTF-8\""));
            assert_eq!(reply.log["problem"], "unauthorized");
            assert!(world.operations.borrow().is_empty());
        }
    }
    // Any user name, none, and a password in UTF-8 with a colon.
    for (token, credentials) in [("op3rator", ":op3rator"), ("op3rator", "é:op3rator"), ("a:b", "me:a:b")] {
        let world = World::new().with("operator_token", token);
        let reply = world.send(request("GET", "/console", &[("authorization", &basic(credentials)), BROWSER], ""));
        is_page(&reply, 200);
    }
}

#[test]
fn cross_site_form_changes_nothing() {
    const SEEN: (&str, &str) = ("spin-full-url", "http://10.0.0.7:3000/console/drain");
    let refused: [&[(&str, &str)]; 9] = [
        &[],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site"), ("origin", "http://10.0.0.7:3000")],
        &[("sec-fetch-site", "none"), ("origin", "http://10.0.0.7:3000")],
        &[OWN, ("sec-fetch-site", "cross-site")],
        &[("origin", "null")],
        &[("origin", "http://evil.example")],
        &[("origin", "http://10.0.0.7")],
        &[("origin", "http://10.0.0.7:3000"), ("origin", "http://evil.example")],
    ];
    for (method, uri) in pages().into_iter().filter(|(method, _)| *method == "POST") {
        for headers in refused {
            let world = World::operated();
            let reply = operate(&world, method, &uri, &[headers, &[SEEN]].concat());
            is_page(&reply, 403);
            assert_eq!(reply.log["problem"], "cross-site", "{uri} {headers:?}");
            assert!(world.operations.borrow().is_empty());
        }
    }
    let taken: [&[(&str, &str)]; 6] = [
        &[OWN],
        &[OWN, ("origin", "null")],
        &[("origin", "http://10.0.0.7:3000")],
        // A proxy that ends TLS; one that hides the host, which `public_url` names.
        &[("origin", "https://gate.example"), ("host", "gate.example:80")],
        &[("origin", "https://Gate.example"), ("host", "gate.example")],
        &[("origin", "https://public.example")],
    ];
    for headers in taken {
        let world = World::operated().with("public_url", "https://public.example:443/");
        is_page(&operate(&world, "POST", "/console/drain", &[headers, &[SEEN]].concat()), 200);
    }
}

#[test]
fn problems_are_json_if_accepted() {
    let authorization = basic(":op3rator");
    let headers = [("authorization", authorization.as_str()), ("accept", "application/json")];
    let reply = World::operated().send(request("GET", &format!("{LIST}/{SOME}"), &headers, ""));
    reply.problem(404, "no-delivery");
    for (method, uri) in [("DELETE", LIST), ("GET", "/console/drain"), ("POST", "/console")] {
        World::operated().send(request(method, uri, &headers, "")).problem(405, "method-not-allowed");
    }
    for uri in ["/console/x", "/consoles", "/console/deliveries/", "/console/deliveries/x/y"] {
        World::operated().send(request("GET", uri, &headers, "")).problem(404, "not-found");
    }
    let head = operate(&World::operated(), "HEAD", "/console", &[]);
    assert_eq!((head.status(), head.text()), (200, ""));
}

#[test]
fn overview_shows_the_current_state() {
    let world = World::operated();
    has(&open(&world, "/console"), &[">OK<", ">Valid<", "No pending deliveries", "No dead deliveries", "Never"]);
    assert_eq!(world.cost(), Cost { reads: 2, writes: 0, scans: 1 });
    world.assert_untouched();

    let world = World::operated().down();
    let oldest = stored(&world, HOOK, "{}");
    stored(&world, HOOK, "{}");
    world.pass(180_000);
    let page = open(&world, "/console");
    has(&page, &["Some deliveries fail", "The oldest pending delivery: the engine can't be reached"]);
    has(&page, &[&format!(r#"The oldest was received <a href="{LIST}/{oldest}">3 min ago</a>"#)]);
    has(&page, &[r#"<a href="/console/deliveries">2</a>"#, r#"<a href="/console/deliveries?state=dead">0</a>"#]);

    // What a drain did is told later, too, and by another request.
    has(&press(&world, "/console/drain"), &["Drained: 2 still pending, stopped: the engine can't be reached"]);
    has(&open(&world, "/console"), &["Not reachable", "just now", "2 still pending"]);
    world.heal();
    world.pass(60_000);
    assert_eq!(world.drain()["delivered"], 2);
    world.pass(120_000);
    has(&open(&world, "/console"), &[">OK<", "2 min ago", "2 delivered", "No pending deliveries"]);
    has(&press(&world, "/console/drain"), &["Drained: nothing was pending"]);

    let (world, _) = dead();
    has(&open(&world, "/console"), &[r#"?state=dead">1</a>"#, "Redeliver or delete them"]);
    let world = World::operated().answers(401, "");
    stored(&world, HOOK, "{}");
    has(&open(&world, "/console"), &["Refuses Sluice", "the engine answered 401", "2026-11-24 08:30:00 UTC"]);
}

#[test]
fn overview_shows_the_configuration_without_secrets() {
    let routes = r#"[{"workflow":"triage","from":"webhook","sender":"github","filter":{"exact":{"type":"push"}},
        "params":{"who":"$.a","what":"$.b"}},{"workflow":"<i>","from":"event"}]"#;
    let world = World::operated()
        .with("engine_token", "s3cret-engine")
        .with("access_tokens", "s3cret-a,s3cret-b")
        .with("link_secret", "s3cret-link")
        .with("public_url", "https://gate.example")
        .with("secret_github", "s3cret-one,s3cret-two")
        .with("secret_slack", "s3cret-slack")
        .with("routes", routes);
    let page = open(&world, "/console");
    has(
        &page,
        &[
            "an access token (2 tokens are set)",
            "https://gate.example",
            "http://127.0.0.1:7701",
            "At least 72 h",
            ">on<",
        ],
    );
    has(&page, &["github</span> <small>2 secrets", "slack</span> <small>1 secret<"]);
    has(&page, &["triage", "github webhooks", "who, what", "&lt;i&gt;", "events", "matches all"]);
    assert!(!page.contains("s3cret") && !page.contains("op3rator") && !page.contains("stripe"), "{page}");
    has(&open(&World::operated(), "/console"), &["Anyone", "No sender has a secret", "No routes are set"]);

    // What is wrong is named there, where all else that needs it can't be shown.
    let world = World::operated().with("engine_url", "s3cret").with("secret_custom", "s3cret").with("routes", "[");
    let page = open(&world, "/console");
    has(
        &page,
        &["variable `engine_url` must be", "variable `secret_custom` is set, but sender_custom", "variable `routes`"],
    );
    assert!(!page.contains("s3cret"), "{page}");
    is_page(&operate(&world, "GET", LIST, &[]), 503);
}

#[test]
fn deliveries_are_listed_by_state_and_page() {
    let world = World::operated().down();
    has(&open(&world, LIST), &["No pending deliveries", "Pending (0)", "Dead (0)"]);
    has(&open(&world, &format!("{LIST}?state=dead")), &["No dead deliveries"]);
    let ids: Vec<_> = (0..51).map(|_| stored(&world, HOOK, "{}")).collect();
    let page = open(&world, LIST);
    has(&page, &["Pending (51)", "the engine can't be reached", "at the next drain"]);
    assert!(page.contains(&ids[49]) && !page.contains(&ids[50]) && !page.contains("First page"));
    let next = format!("{LIST}?state=pending&amp;after={}", ids[49]);
    has(&page, &[&format!(r#"<a class="button" href="{next}">Next page</a>"#)]);
    let page = open(&world, &next.replace("&amp;", "&"));
    assert!(page.contains(&ids[50]) && !page.contains(&ids[49]) && !page.contains("Next page"), "{page}");
    has(&page, &["First page"]);
    has(&open(&world, &format!("{LIST}?after={}", ids[50])), &["No more deliveries"]);

    let (world, id) = dead();
    let page = open(&world, &format!("{LIST}?state=dead"));
    has(&page, &[&id, "Dead (1)", "the engine answered 400"]);
    assert!(!page.contains("Next attempt"));
    for query in ["state=x", "after=x", "q=a&q=b", "q=%ff"] {
        is_page(&operate(&world, "GET", &format!("{LIST}?{query}"), &[]), 400);
    }
}

#[test]
fn search_matches_id_workflow_run_and_topic() {
    let world = World::operated().down();
    let [nightly, _, callback] = [
        stored(&world, "/api/v2/webhook?ref=Nightly-build", "{}"),
        stored(&world, HOOK, "{}"),
        stored(&world, "/api/v2/callback?ref=run7&topic=sign%20%26%20ship", "{}"),
    ];
    for (text, found) in [("nightly", &nightly), ("RUN7", &callback), ("n+%26+s", &callback), ("+build+", &nightly)] {
        let page = open(&world, &format!("{LIST}?q={text}"));
        assert_eq!(page.matches("<code>").count(), 1, "{text}: {page}");
        has(&page, &[found, "3 deliveries searched"]);
    }
    has(&open(&world, &format!("{LIST}?q=Nope")), &["Nothing was found", "<bdi>Nope</bdi>"]);
    has(&open(&world, &format!("{LIST}?q={SOME}")), &["Nothing was found"]);
    world.cost();
    let reply = operate(&world, "GET", &format!("{LIST}?state=dead&q=%20{}", callback.to_lowercase()), &[]);
    assert_eq!((reply.status(), reply.header("location")), (303, Some(&*format!("{LIST}/{callback}"))));
    assert_eq!(world.cost(), Cost { reads: 1, writes: 0, scans: 0 });
}

#[test]
fn search_is_bounded_and_continues() {
    let world = World::operated().down();
    let first = stored(&world, HOOK, "{}");
    let record = world.store.borrow()[&format!("sluice/pending/{first}")].clone();
    let ids: Vec<_> = (0..1_200).map(|n| format!("01M85MNVRRNF3YKJSMZYXZ{n:04}")).collect();
    for id in &ids {
        world.store.borrow_mut().insert(format!("sluice/pending/{id}"), record.clone());
    }
    let wanted = String::from_utf8(record).unwrap().replace(r#""workflow":"w""#, r#""workflow":"needle""#);
    world.store.borrow_mut().insert(format!("sluice/pending/{}", ids[900]), wanted.into_bytes());
    world.cost();
    let page = open(&world, &format!("{LIST}?q=needle"));
    assert_eq!(world.cost(), Cost { reads: 500, writes: 0, scans: 1 });
    has(&page, &["Nothing was found", "500 deliveries searched", "at most 500 at a time", "Continue search"]);
    let on = page.split(r#"class="button" href=""#).nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    has(&open(&world, &on), &[&ids[900], "500 deliveries searched", "Continue search"]);
}

#[test]
fn delivery_page_shows_the_request() {
    const ODD: &str = r#"{"n":12345678901234567890,"d":1,"d":[],"e":1e5}"#;
    let world = World::operated().answers(503, "").down();
    let hook = stored(&world, "/api/v2/webhook?ref=my%20flow", ODD);
    let page = open(&world, &format!("{LIST}/{hook}"));
    has(
        &page,
        &["<h1>Start my flow</h1>", "pending", "the engine answered 503", "/workflow/my%20flow/submit?start=false"],
    );
    has(
        &page,
        &["        &quot;n&quot;: 12345678901234567890,\n        &quot;d&quot;: 1,\n        &quot;d&quot;: [],\n"],
    );
    has(
        &page,
        &[&format!(r#"<form method="post" action="{LIST}/{hook}/redeliver">"#), &format!("{LIST}/{hook}/delete")],
    );
    let event = stored(&world, "/api/v2/event?ref=w", EVENT);
    has(&open(&world, &format!("{LIST}/{event}")), &["<dt>Key</dt>", "the engine can't be reached"]);
    let callback = stored(&world, ON_CALLBACK, "{}");
    let page = open(&world, &format!("{LIST}/{callback}"));
    has(&page, &["<h1>Resolve r</h1>", "<dt>Topic</dt><dd><bdi>t</bdi>", "PUT", "/api/v1/workflowrun/r/event"]);
    has(&open(&dead().0, &format!("{LIST}/{}", dead().1)), &[r#"<span class="chip bad">dead</span>"#]);
    for id in [SOME, "x", "%30"] {
        is_page(&operate(&world, "GET", &format!("{LIST}/{id}"), &[]), 404);
    }
}

#[test]
fn huge_payload_is_truncated() {
    let world = World::operated().with("max_body_bytes", "900000").down();
    let body = format!(r#"{{"a":{}[{}0]{}}}"#, "[".repeat(100), "0,".repeat(200_000), "]".repeat(100));
    let id = stored(&world, HOOK, &body);
    let page = open(&world, &format!("{LIST}/{id}"));
    has(&page, &["the first 262144 bytes", &format!("GET /api/v2/deliveries/{id}")]);
    assert!(page.len() < 300_000, "{}", page.len());
}

#[test]
fn sender_input_is_escaped() {
    const EVIL: &str = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>";
    let world = World::operated().down();
    let encoded: String = form_urlencoded::byte_serialize(EVIL.as_bytes()).collect();
    let body = serde_json::json!({ "a": EVIL, "turned": "a\u{202e}b", EVIL: "</pre></main>" }).to_string();
    let topic = stored(&world, &format!("/api/v2/callback?ref=r%3Cb%3E&topic={encoded}"), &body);
    let hook = stored(&world, "/api/v2/webhook?ref=%3Cb%3E%22x", &body);
    for uri in [
        "/console".to_owned(),
        LIST.to_owned(),
        format!("{LIST}?q={encoded}"),
        format!("{LIST}?q=%22%3E%3Cb%3E"),
        format!("{LIST}/{topic}"),
        format!("{LIST}/{hook}"),
        format!("{LIST}/{hook}/delete"),
        "/console/callbacks?run=r%3Cb%3E".to_owned(),
    ] {
        let page = open(&world, &uri);
        assert!(!page.contains("<b>") && !page.contains("<img") && !page.contains('\u{202e}'), "{uri}: {page}");
        assert_eq!(page.matches("</main>").count(), 1, "{uri}");
    }
    for uri in [format!("{LIST}/{hook}"), format!("{LIST}/{topic}"), "/console/callbacks?run=r%3Cb%3E".to_owned()] {
        has(&open(&world, &uri), &["&lt;/pre&gt;&lt;/main&gt;", r"a\u202eb", "&lt;img src=x onerror"]);
    }
    let answer = operate(&world, "GET", &format!("/console/callbacks?run={encoded}"), &[]);
    is_page(&answer, 400);
    is_page(&operate(&world, "GET", &format!("{LIST}/{SOME}%3Cscript%3E"), &[]), 404);
}

#[test]
fn redelivery_page_reports_the_outcome() {
    let world = World::operated().answers(503, "").down();
    let id = stored(&world, HOOK, "{}");
    let redeliver = format!("{LIST}/{id}/redeliver");
    let page = press(&world, &redeliver);
    has(
        &page,
        &["The delivery stays pending: the engine can't be reached", "<h1>Start w</h1>", "<dt>Attempts</dt><dd>2</dd>"],
    );
    world.heal();
    has(&press(&world, &redeliver), &["<h1>Delivered</h1>", &id]);
    assert_eq!(world.acted().len(), 1);
    is_page(&operate(&world, "POST", &redeliver, &[OWN]), 404);

    let (world, id) = dead();
    let world = world.answers(422, "");
    has(&press(&world, &format!("{LIST}/{id}/redeliver")), &["The delivery stays dead: the engine answered 422"]);
    world.heal();
    has(&press(&world, &format!("{LIST}/{id}/redeliver")), &["<h1>Delivered</h1>"]);

    let world = World::operated().answers(400, "").after(3_000);
    let dead = stored(&world, "/api/v2/event?ref=w", EVENT);
    world.heal();
    world.json("/api/v2/event?ref=w", EVENT);
    has(&press(&world, &format!("{LIST}/{dead}/redeliver")), &["<h1>Dropped</h1>"]);

    let world = World::operated().cut();
    let id = stored(&world, "/api/v2/event?ref=w", EVENT);
    let page = open(&world, &format!("{LIST}/{id}"));
    has(&page, &["unconfirmed", "Sluice asks the engine before it sends this one again"]);
    assert!(!page.contains("<form") && !page.contains("/delete"), "what would be refused isn't offered");
    for action in ["redeliver", "delete"] {
        let reply = operate(&world, "POST", &format!("{LIST}/{id}/{action}"), &[OWN]);
        is_page(&reply, 409);
        assert_eq!(reply.header("retry-after"), Some("5"));
    }
}

#[test]
fn deletion_requires_confirmation() {
    let world = World::operated().down();
    let id = stored(&world, HOOK, "{}");
    let delete = format!("{LIST}/{id}/delete");
    let page = open(&world, &delete);
    has(
        &page,
        &[
            "<h1>Delete this delivery?</h1>",
            "Delete permanently",
            "Cancel",
            &id,
            r#"<form class="row below" method="post">"#,
        ],
    );
    assert_eq!(world.keys("sluice/pending/"), [&*id]);
    has(&press(&world, &delete), &["<h1>Deleted</h1>"]);
    assert!(world.keys("sluice/pending/").is_empty());
    is_page(&operate(&world, "GET", &delete, &[]), 404);
    is_page(&operate(&world, "POST", &delete, &[OWN]), 404);
}

#[test]
fn unreadable_record_is_listed_and_can_be_deleted() {
    let world = World::operated().down();
    let id = stored(&world, HOOK, "{}");
    world.store.borrow_mut().insert(format!("sluice/pending/{id}"), b"{\"v\":9}".to_vec());
    has(&open(&world, LIST), &[&id, "Damaged", "The record can't be read"]);
    has(&open(&world, &format!("{LIST}/{id}")), &["Damaged delivery", &format!("{LIST}/{id}/delete")]);
    has(&open(&world, &format!("{LIST}/{id}/delete")), &["The record can't be read", "Delete permanently"]);
    has(&press(&world, &format!("{LIST}/{id}/delete")), &["<h1>Deleted</h1>"]);
    assert!(world.keys("sluice/pending/").is_empty());
}

#[test]
fn callbacks_of_a_run_are_shown() {
    let world = World::operated().answers(200, "").down();
    has(&open(&world, "/console/callbacks"), &["No run selected"]);
    has(&open(&world, "/console/callbacks?run=none"), &["None was accepted"]);
    stored(&world, ON_CALLBACK, r#"{"who":"Ada"}"#);
    let pending = stored(&world, "/api/v2/callback?ref=r&topic=u&status=Failed", "{}");
    world.pass(10_000);
    let page = open(&world, "/console/callbacks?run=+r+");
    has(
        &page,
        &["<bdi>t</bdi>", "succeeded", "delivered", "&quot;who&quot;: &quot;Ada&quot;", "<bdi>u</bdi>", "failed"],
    );
    has(&page, &["2 callbacks", "10 s ago", &format!("{LIST}/{pending}")]);
    is_page(&operate(&world, "GET", "/console/callbacks?run=a/b", &[]), 400);
}

#[test]
fn store_failure_is_reported_without_details() {
    for (method, uri) in pages() {
        let world = World::operated();
        world.failing_operation.set(Some(0));
        let reply = operate(&world, method, &uri, &[OWN]);
        if uri == "/console/callbacks" {
            is_page(&reply, 200);
            continue;
        }
        is_page(&reply, 503);
        assert!(!reply.text().contains("disk full") && reply.log["warning"].as_str().unwrap().contains("disk full"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn every_request_gets_a_page(
        method in prop::sample::select(vec!["GET", "GET", "HEAD", "POST"]),
        path in prop_oneof![prop::sample::select(pages().map(|(_, path)| path).to_vec()), "/console(/[a-z%0-9A-F]{0,9}){0,3}"],
        query in "(state=(dead|pending)|q=[!-~]{0,12}|after=[0-9A-Z]{24,26}|run=[!-~]{0,12}|[!-~]{0,5})(&(q|run|state)=[a-z%]{0,6}){0,2}",
        site in prop::sample::select(vec!["same-origin", "cross-site"]),
    ) {
        let query: String = query.chars().filter(|c| !"\"<>`{}|\\^#".contains(*c)).collect();
        let world = World::operated().down();
        stored(&world, HOOK, "{}");
        let reply = operate(&world, method, &format!("{path}?{query}"), &[("sec-fetch-site", site)]);
        prop_assert!(reply.status() < 500, "{}", reply.text());
        let is_known = !matches!(reply.log["problem"].as_str(), Some("not-found" | "method-not-allowed"));
        if is_known && method != "HEAD" && reply.status() != 303 {
            is_page(&reply, reply.status());
        }
    }
}
