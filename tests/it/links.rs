//! Callback links, and `callback_get`: a person answers with a button, and opening a link changes nothing.

use serde_json::{Value, json};

use crate::cost::{LINK_OPENED, documented};
use crate::fake::{BROWSER, CALLBACK_URI, FORM, HOUR, JSON, NOW, OPERATOR, Reply, World, request, row};

/// The body of a request for links.
const REQUEST: &str = r#"{"ref":"r","topic":"t","question":"Ship <b>1.2</b>?","buttons":{"succeeded":"Ship it"}}"#;

fn world() -> World {
    World::with_operator().setting("link_secrets", ["s3cret", "0ld"]).setting("public_url", "https://gate.example/")
}

fn create(world: &World, body: &str) -> Reply {
    world.post("/api/v2/callback-links", &[OPERATOR, JSON], body)
}

/// Creates the links for success and failure, each as path and query.
#[track_caller]
pub fn links(world: &World, body: &str) -> [String; 2] {
    let reply = create(world, body);
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let links = reply.json();
    ["succeeded", "failed"].map(|status| links[status].as_str().unwrap().split("example").nth(1).unwrap().to_owned())
}

/// Opens a link in a browser.
fn open(world: &World, link: &str) -> Reply {
    world.send(request("GET", link, &[BROWSER], ""))
}

/// Submits the page's form.
fn confirm(world: &World, link: &str) -> Reply {
    world.post(link, &[BROWSER, FORM], "confirm=yes")
}

#[track_caller]
fn assert_page(reply: &Reply, status: u16, heading: &str) {
    assert_eq!(reply.status(), status, "{}", reply.text());
    assert!(reply.text().contains(&format!("<h1>{heading}</h1>")), "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    let policy = reply.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.ends_with("form-action 'self'; base-uri 'none'; frame-ancestors 'none'"), "{policy}");
    assert!(!reply.text().contains("<script") && !reply.text().contains("http"), "{}", reply.text());
}

#[on_each_store]
fn operator_creates_links() {
    let world = world();
    let reply = create(&world, REQUEST);
    assert_eq!((reply.status(), reply.header("cache-control")), (200, Some("no-store")));
    // The default: 72 hours later.
    assert_eq!(reply.json()["expires"], "2026-11-27T08:30:00.000Z");
    for (status, button) in [("succeeded", "&button=Ship+it"), ("failed", "")] {
        let url = reply.json()[status].as_str().unwrap().to_owned();
        let start = format!(
            "https://gate.example/api/v2/callback/link?ref=r&topic=t&status={status}&question=Ship+%3Cb%3E1.2%3C%2Fb%3E%3F{button}&expires="
        );
        assert!(url.starts_with(&start), "{url}");
    }
    let short = create(&world, r#"{"ref":"r","topic":"t","expires_in":90}"#);
    assert_eq!(short.json()["expires"], "2026-11-24T08:31:30.000Z");
    world.assert_untouched();
    assert!(world.is_store_unused());
}

#[on_each_store]
fn links_use_the_request_url_without_public_url() {
    let world = world().setting("public_url", Value::Null);
    let post = |headers: &[(&str, &str)]| world.post("/api/v2/callback-links", headers, REQUEST);
    // The host appends its own header to any that the caller sent.
    let forged = ("spin-full-url", "https://evil.example/");
    let genuine = ("spin-full-url", "http://127.0.0.1:3000/api/v2/callback-links");
    let reply = post(&[OPERATOR, JSON, forged, genuine]);
    let link = reply.json()["failed"].as_str().unwrap().to_owned();
    assert!(link.starts_with("http://127.0.0.1:3000/api/v2/callback/link?ref=r&"), "{link}");
    post(&[OPERATOR, JSON]).wrong_setting("public_url");
}

#[on_each_store]
fn link_creation_requires_the_operator_and_a_valid_request() {
    let post =
        |world: &World, headers: &[(&str, &str)], body: &str| world.post("/api/v2/callback-links", headers, body);
    post(&World::new().setting("link_secrets", ["s"]), &[JSON], REQUEST).problem(404, "not-found");
    post(&world(), &[JSON], REQUEST).problem(401, "unauthorized");
    post(&world(), &[JSON, ("authorization", "Bearer wrong")], REQUEST).problem(401, "unauthorized");
    post(&world(), &[OPERATOR], REQUEST).problem(415, "unsupported-media-type");
    post(&World::with_operator(), &[OPERATOR, JSON], REQUEST).wrong_setting("link_secrets");
    for (body, slug, field) in [
        ("", "invalid-body", "body"),
        ("[]", "invalid-body", "body"),
        (r#"["r","t","",{},null]"#, "invalid-body", "body"),
        (r#"{"topic":"t"}"#, "invalid-body", "body"),
        (r#"{"ref":"r","topic":"t","status":"failed"}"#, "invalid-body", "body"),
        (r#"{"ref":"r","topic":"t","buttons":{"yes":"y"}}"#, "invalid-body", "body"),
        (r#"{"ref":"r","topic":"t","buttons":[]}"#, "invalid-body", "buttons"),
        (r#"{"ref":"a/b","topic":"t"}"#, "invalid-parameter", "ref"),
        (r#"{"ref":"r","topic":""}"#, "invalid-parameter", "topic"),
        (r#"{"ref":"r","topic":"t","expires_in":0}"#, "invalid-body", "expires_in"),
        (r#"{"ref":"r","topic":"t","expires_in":259201}"#, "invalid-body", "expires_in"),
        (r#"{"ref":"r","topic":"t","question":"a\nb"}"#, "invalid-body", "question"),
        (&format!(r#"{{"ref":"r","topic":"t","question":"{}"}}"#, "a".repeat(501)), "invalid-body", "question"),
        (
            &format!(r#"{{"ref":"r","topic":"t","buttons":{{"failed":"{}"}}}}"#, "a".repeat(61)),
            "invalid-body",
            "buttons/failed",
        ),
    ] {
        let _row = row(body);
        let world = world();
        assert_eq!(create(&world, body).problem(400, slug)["field"], field);
        world.assert_untouched();
    }
}

#[on_each_store]
fn link_shows_the_question_and_its_button_answers() {
    let world = world().with("access_tokens", "t0ken").respond(200, "");
    let [succeeded, _] = links(&world, REQUEST);
    let page = open(&world, &succeeded);
    let [unanswered, _] = documented(LINK_OPENED);
    world.assert_cost(unanswered, &["find"]);
    assert_page(&page, 200, "Ship &lt;b&gt;1.2&lt;/b&gt;?");
    assert!(page.text().contains(r#"<form method="post"><input type="hidden" name="confirm" value="yes"><button type="submit">Ship it</button></form>"#));
    assert!(page.text().contains("<dt>Open until</dt><dd>2026-11-27T08:30:00.000Z</dd>"));
    world.assert_untouched();

    let reply = confirm(&world, &succeeded);
    assert_page(&reply, 200, "Your answer is recorded");
    assert_eq!(reply.outcome(), (200, Some("delivered")));
    let sent = world.engine.only_request();
    assert_eq!((sent.method.as_str(), sent.url.ends_with("/api/v1/workflowrun/r/event")), ("PUT", true));
    assert_eq!(sent.json(), json!({"topic": "t", "status": "succeeded", "results": []}));
}

#[on_each_store]
fn opening_a_link_changes_nothing() {
    for link in
        links(&world(), REQUEST).iter().map(String::as_str).chain([CALLBACK_URI, "/api/v2/callback?ref=r,topic=t"])
    {
        let world = world().setting("callback_get", "confirm");
        for headers in [
            &[][..],
            &[BROWSER],
            &[("accept", "application/json")],
            &[("sec-purpose", "prefetch")],
            &[("purpose", "preview")],
        ] {
            for method in ["GET", "HEAD"] {
                let _row = row(format!("{method} {link} with {headers:?}"));
                let reply = world.send(request(method, link, headers, ""));
                assert_eq!((reply.status(), reply.header("content-type")), (200, Some("text/html; charset=utf-8")));
                assert_eq!(
                    (reply.text().is_empty(), reply.header("cache-control")),
                    (method == "HEAD", Some("no-store"))
                );
            }
        }
        for method in ["OPTIONS", "PUT", "DELETE"] {
            assert_eq!(world.send(request(method, link, &[], "")).status(), 405, "{method} {link}");
        }
        world.assert_untouched();
    }
}

#[on_each_store]
fn second_confirmation_reports_the_winner() {
    let world = world().healthy();
    let [succeeded, failed] = links(&world, REQUEST);
    assert_page(&confirm(&world, &failed), 200, "Your answer is recorded");
    world.advance(1_000);

    let again = confirm(&world, &failed);
    assert_page(&again, 200, "This has already been answered");
    assert_eq!(again.outcome(), (200, Some("duplicate")));
    world.restart_count();
    assert_page(&open(&world, &failed), 200, "This has already been answered");
    let [_, answered] = documented(LINK_OPENED);
    world.assert_cost(answered, &["find"]);
    assert!(open(&world, &failed).text().contains("2026-11-24T08:30:00.000Z"));
    assert!(!open(&world, &failed).text().contains("<button"));

    for other in [confirm(&world, &succeeded), open(&world, &succeeded)] {
        assert_page(&other, 409, "Another callback was accepted first");
        assert!(other.text().contains("another callback with status failed was accepted at 2026-11-24T08:30:00.000Z"));
        assert!(!other.text().contains("<button"));
    }
    // A client that doesn't accept HTML gets a problem.
    let program = world.post(&succeeded, &[("accept", "application/json")], "");
    program.problem(409, "callback-conflict");
    assert_eq!(world.engine.targets(), ["r"]);
}

#[on_each_store]
fn page_reports_a_failed_attempt() {
    let world = world().respond(503, "").respond(400, "");
    let [succeeded, _] = links(&world, REQUEST);
    let reply = confirm(&world, &succeeded);
    assert_page(&reply, 202, "Your answer is recorded");
    assert!(reply.text().contains("as soon as it waits for it and its engine can be reached"), "{}", reply.text());
    assert_eq!(reply.outcome(), (202, Some("pending")));
    assert_page(&open(&world, &succeeded), 200, "This has already been answered");
    let [other, _] = links(&world, r#"{"ref":"r2","topic":"t"}"#);
    assert_page(&confirm(&world, &other), 400, "The engine rejected the delivery");
    // A rejected answer is not stored, so it can be repeated.
    assert_page(&open(&world, &other), 200, "A workflow is waiting for your answer");
}

#[on_each_store]
fn expired_and_forged_links_are_told_apart() {
    let world = world().healthy();
    let [link, _] = links(&world, r#"{"ref":"r","topic":"t","expires_in":60}"#);
    let forged = [
        link.replace("ref=r", "ref=s"),
        link.replace("status=succeeded", "status=failed"),
        link.replace("expires=", "expires=9"),
        link.split("&signature").next().unwrap().to_owned(),
        "/api/v2/callback/link".to_owned(),
    ];
    for link in &forged {
        let _row = row(link);
        for reply in [open(&world, link), confirm(&world, link)] {
            assert_page(&reply, 403, "This link is not genuine");
            assert_eq!(reply.log["problem"], "link-forged");
        }
        world.send(request("GET", link, &[("accept", "application/json")], "")).problem(403, "link-forged");
    }
    // A link signed with a secret that is still accepted, then the same link after that secret was removed.
    let [old, _] = links(
        &World::with_operator().setting("link_secrets", ["0ld"]).setting("public_url", "http://gate.example"),
        REQUEST,
    );
    assert_page(&open(&world, &old), 200, "Ship &lt;b&gt;1.2&lt;/b&gt;?");
    let rotated = World::with_operator().setting("link_secrets", ["new"]);
    assert_page(&open(&rotated, &old), 403, "This link is not genuine");

    world.advance(60_000);
    for reply in [open(&world, &link), confirm(&world, &link)] {
        assert_page(&reply, 410, "This link has expired");
        assert!(reply.text().contains("2026-11-24T08:31:00.000Z"), "{}", reply.text());
    }
    // Without `link_secrets` the route doesn't exist.
    assert_page(&open(&World::new(), &link), 404, "There is nothing at this path");
    world.assert_untouched();
}

#[on_each_store]
fn callback_get_confirm_shows_a_page_first() {
    let confirming = || World::with_operator().setting("callback_get", "confirm").healthy();
    let world = confirming();
    let page = open(&world, CALLBACK_URI);
    assert_page(&page, 200, "A workflow is waiting for your answer");
    assert!(page.text().contains(r#"<button type="submit">Approve</button>"#));
    world.assert_untouched();
    assert_page(&confirm(&world, CALLBACK_URI), 200, "Your answer is recorded");
    assert_page(&confirm(&world, CALLBACK_URI), 200, "This has already been answered");
    assert_page(
        &open(&world, "/api/v2/callback?ref=r&topic=t&status=failed"),
        409,
        "Another callback was accepted first",
    );
    assert_eq!(world.engine.targets(), ["r"]);
    assert!(world.engine.only_request().body.contains(r#""results":[]"#));

    // Any other form is refused, since its fields would be lost.
    for body in ["", "a=b", "confirm=no", "confirm=yes&a=b"] {
        let world = confirming();
        assert_eq!(world.post(CALLBACK_URI, &[FORM], body).status(), 415, "{body}");
        world.assert_untouched();
    }
    // A JSON payload needs no page, and a token is required as without pages.
    assert_eq!(confirming().post_json(CALLBACK_URI, "{}").outcome(), (200, Some("delivered")));
    let guarded = confirming().with("access_tokens", "t0ken");
    assert_page(&open(&guarded, CALLBACK_URI), 401, "A valid token is required");
    assert_eq!(open(&guarded, &format!("{CALLBACK_URI}&access_token=t0ken")).status(), 200);
    assert_page(&confirm(&guarded, CALLBACK_URI), 401, "A valid token is required");
    assert_eq!(confirm(&guarded, &format!("{CALLBACK_URI}&access_token=t0ken")).outcome(), (200, Some("delivered")));
    // Without `callback_get` a form is refused.
    World::new().post(CALLBACK_URI, &[FORM], "confirm=yes").problem(415, "unsupported-media-type");
    let wrong = World::new().setting("callback_get", "ask");
    wrong.get(CALLBACK_URI).wrong_setting("callback_get");
    wrong.get("/readyz").wrong_setting("callback_get");
}

/// The first answer is forgotten after the retention, so no link may be valid for longer.
#[on_each_store]
fn first_answer_is_known_while_links_are_valid() {
    for hours in [1, 72] {
        let world = world().setting("retention_hours", hours).healthy();
        let life = hours * HOUR;
        for start in [0, life / 2, life - 1] {
            let _row = row(format!("retention of {hours} h, created {start} ms into a window"));
            world.clock.set(NOW / life * life + life + start);
            world.forget();
            world.engine.ended.borrow_mut().clear();
            let [succeeded, failed] = links(&world, REQUEST);
            assert_eq!(confirm(&world, &succeeded).status(), 200);
            world.advance(life - 1_000);
            world.drain();
            assert_eq!(confirm(&world, &failed).status(), 409);
            world.advance(1_000);
            assert_eq!(confirm(&world, &failed).status(), 410);
        }
    }
}
