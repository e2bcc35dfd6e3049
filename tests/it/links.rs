//! Callback links, and `callback_get`: a person answers by a button, and nothing that only opens a link answers.

use serde_json::{Value, json};

use crate::fake::{Cost, JSON, NOW, OPERATOR, Reply, World, request};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
const WISH: &str = r#"{"ref":"r","topic":"t","question":"Ship <b>1.2</b>?","buttons":{"succeeded":"Ship it"}}"#;
const GET: &str = "/api/v2/callback?ref=r&topic=t";

fn world() -> World {
    World::operated().with("link_secret", "s3cret,0ld").with("public_url", "https://gate.example/")
}

fn mint(world: &World, wish: &str) -> Reply {
    world.post("/api/v2/callback-links", &[OPERATOR, JSON], wish)
}

/// The two links, as path and query.
fn links(world: &World, wish: &str) -> [String; 2] {
    let reply = mint(world, wish);
    assert_eq!(reply.status(), 200, "{}", reply.text());
    ["succeeded", "failed"].map(|way| reply.json()[way].as_str().unwrap().split("example").nth(1).unwrap().to_owned())
}

fn open(world: &World, link: &str) -> Reply {
    world.send(request("GET", link, &[BROWSER], ""))
}

fn press(world: &World, link: &str) -> Reply {
    world.post(link, &[BROWSER, FORM], "confirm=yes")
}

#[track_caller]
fn is_page(reply: &Reply, status: u16, heading: &str) {
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

#[test]
fn operator_creates_links() {
    let world = world();
    let reply = mint(&world, WISH);
    assert_eq!((reply.status(), reply.header("cache-control")), (200, Some("no-store")));
    // 72 hours later.
    assert_eq!(reply.json()["expires"], "2026-11-27T08:30:00.000Z");
    for (way, button) in [("succeeded", "&button=Ship+it"), ("failed", "")] {
        let url = reply.json()[way].as_str().unwrap().to_owned();
        let start = format!(
            "https://gate.example/api/v2/callback/link?ref=r&topic=t&status={way}&question=Ship+%3Cb%3E1.2%3C%2Fb%3E%3F{button}&expires="
        );
        assert!(url.starts_with(&start), "{url}");
    }
    let short = mint(&world, r#"{"ref":"r","topic":"t","expires_in":90}"#);
    assert_eq!(short.json()["expires"], "2026-11-24T08:31:30.000Z");
    // Nothing is stored, and nothing sent.
    world.assert_untouched();
    assert!(world.operations.borrow().is_empty());
}

#[test]
fn links_use_the_request_url_without_public_url() {
    let world = world().with("public_url", "");
    let post = |headers: &[(&str, &str)]| world.post("/api/v2/callback-links", headers, WISH);
    let seen = ("spin-full-url", "http://127.0.0.1:3000/api/v2/callback-links");
    let reply = post(&[OPERATOR, JSON, ("spin-full-url", "https://evil.example/"), seen]);
    let link = reply.json()["failed"].as_str().unwrap().to_owned();
    assert!(link.starts_with("http://127.0.0.1:3000/api/v2/callback/link?ref=r&"), "{link}");
    assert_eq!(post(&[OPERATOR, JSON]).problem(503, "configuration")["field"], "public_url");
}

#[test]
fn link_creation_requires_the_operator_and_a_valid_request() {
    let post =
        |world: &World, headers: &[(&str, &str)], body: &str| world.post("/api/v2/callback-links", headers, body);
    post(&World::new().with("link_secret", "s"), &[JSON], WISH).problem(404, "not-found");
    post(&world(), &[JSON], WISH).problem(401, "unauthorized");
    post(&world(), &[JSON, ("authorization", "Bearer wrong")], WISH).problem(401, "unauthorized");
    post(&world(), &[OPERATOR], WISH).problem(415, "unsupported-media-type");
    let problem = post(&World::operated(), &[OPERATOR, JSON], WISH).problem(503, "configuration");
    assert_eq!(problem["field"], "link_secret");
    for (wish, slug, field) in [
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
        let world = world();
        assert_eq!(mint(&world, wish).problem(400, slug)["field"], field, "{wish}");
        world.assert_untouched();
    }
}

#[test]
fn link_shows_the_question_and_its_button_answers() {
    let world = world().with("access_tokens", "t0ken").answers(200, "");
    let [succeeded, _] = links(&world, WISH);
    let page = open(&world, &succeeded);
    assert_eq!(world.cost(), Cost { reads: 4, writes: 0, scans: 0 });
    is_page(&page, 200, "Ship &lt;b&gt;1.2&lt;/b&gt;?");
    assert!(page.text().contains(r#"<form method="post"><input type="hidden" name="confirm" value="yes"><button type="submit">Ship it</button></form>"#));
    assert!(page.text().contains("<dt>Open until</dt><dd>2026-11-27T08:30:00.000Z</dd>"));
    world.assert_untouched();

    let told = press(&world, &succeeded);
    is_page(&told, 200, "Your answer is recorded");
    assert_eq!(told.outcome(), (200, Some("delivered")));
    let (method, uri, body) = world.only_sent();
    assert_eq!((method.as_str(), uri.ends_with("/api/v1/workflowrun/r/event")), ("PUT", true));
    assert_eq!(
        serde_json::from_str::<Value>(&body).unwrap(),
        json!({"topic": "t", "status": "succeeded", "results": []})
    );
}

#[test]
fn opening_a_link_changes_nothing() {
    for link in links(&world(), WISH).iter().map(String::as_str).chain([GET, "/api/v2/callback?ref=r,topic=t"]) {
        let world = world().with("callback_get", "confirm");
        for headers in [
            &[][..],
            &[BROWSER],
            &[("accept", "application/json")],
            &[("sec-purpose", "prefetch")],
            &[("purpose", "preview")],
        ] {
            for method in ["GET", "HEAD"] {
                let reply = world.send(request(method, link, headers, ""));
                assert_eq!((reply.status(), reply.header("content-type")), (200, Some("text/html; charset=utf-8")));
                assert_eq!(
                    (reply.text().is_empty(), reply.header("cache-control")),
                    (method == "HEAD", Some("no-store"))
                );
            }
        }
        for method in ["OPTIONS", "PUT", "DELETE"] {
            assert_eq!(world.send(request(method, link, &[], "")).status(), 405);
        }
        world.assert_untouched();
    }
}

#[test]
fn second_confirmation_reports_the_winner() {
    let world = world().well();
    let [succeeded, failed] = links(&world, WISH);
    is_page(&press(&world, &failed), 200, "Your answer is recorded");
    world.pass(1_000);

    let again = press(&world, &failed);
    is_page(&again, 200, "This was answered already");
    assert_eq!(again.outcome(), (200, Some("duplicate")));
    world.cost();
    is_page(&open(&world, &failed), 200, "This was answered already");
    assert_eq!(world.cost(), Cost { reads: 1, writes: 0, scans: 0 });
    assert!(open(&world, &failed).text().contains("2026-11-24T08:30:00.000Z"));
    assert!(!open(&world, &failed).text().contains("<button"));

    for other in [press(&world, &succeeded), open(&world, &succeeded)] {
        is_page(&other, 409, "Another callback was accepted first");
        assert!(other.text().contains("another callback completed the wait as failed at 2026-11-24T08:30:00.000Z"));
        assert!(!other.text().contains("<button"));
    }
    // A program is told by a problem.
    let program = world.post(&succeeded, &[("accept", "application/json")], "");
    program.problem(409, "callback-conflict");
    assert_eq!(world.acted(), ["r"]);
}

#[test]
fn page_reports_a_failed_attempt() {
    let world = world().answers(503, "").answers(400, "");
    let [succeeded, _] = links(&world, WISH);
    let told = press(&world, &succeeded);
    is_page(&told, 202, "Your answer is recorded");
    assert!(told.text().contains("as soon as its engine can be reached"), "{}", told.text());
    assert_eq!(told.outcome(), (202, Some("pending")));
    is_page(&open(&world, &succeeded), 200, "This was answered already");
    let [other, _] = links(&world, r#"{"ref":"r2","topic":"t"}"#);
    is_page(&press(&world, &other), 400, "The engine rejected the delivery");
    // It is not stored, so it can be pressed again.
    is_page(&open(&world, &other), 200, "A workflow waits for your answer");
}

#[test]
fn expired_and_forged_links_are_told_apart() {
    let world = world().well();
    let [link, _] = links(&world, r#"{"ref":"r","topic":"t","expires_in":60}"#);
    let forged = [
        link.replace("ref=r", "ref=s"),
        link.replace("status=succeeded", "status=failed"),
        link.replace("expires=", "expires=9"),
        link.split("&signature").next().unwrap().to_owned(),
        "/api/v2/callback/link".to_owned(),
    ];
    for link in &forged {
        for reply in [open(&world, link), press(&world, link)] {
            is_page(&reply, 403, "This link is not genuine");
            assert_eq!(reply.log["problem"], "link-forged");
        }
        world.send(request("GET", link, &[("accept", "application/json")], "")).problem(403, "link-forged");
    }
    // Signed by a secret that is still valid, and by one that isn't any more.
    let [old, _] = links(&World::operated().with("link_secret", "0ld").with("public_url", "http://gate.example"), WISH);
    is_page(&open(&world, &old), 200, "Ship &lt;b&gt;1.2&lt;/b&gt;?");
    let gone = World::operated().with("link_secret", "new");
    is_page(&open(&gone, &old), 403, "This link is not genuine");

    world.pass(60_000);
    for reply in [open(&world, &link), press(&world, &link)] {
        is_page(&reply, 410, "This link has expired");
        assert!(reply.text().contains("2026-11-24T08:31:00.000Z"), "{}", reply.text());
    }
    // Without a secret there are no links.
    is_page(&open(&World::new(), &link), 404, "There is nothing at this path");
    world.assert_untouched();
}

#[test]
fn callback_get_confirm_shows_a_page_first() {
    let confirming = || World::operated().with("callback_get", "confirm").well();
    let world = confirming();
    let page = open(&world, GET);
    is_page(&page, 200, "A workflow waits for your answer");
    assert!(page.text().contains(r#"<button type="submit">Approve</button>"#));
    world.assert_untouched();
    is_page(&press(&world, GET), 200, "Your answer is recorded");
    is_page(&press(&world, GET), 200, "This was answered already");
    is_page(&open(&world, "/api/v2/callback?ref=r&topic=t&status=failed"), 409, "Another callback was accepted first");
    assert_eq!(world.acted(), ["r"]);
    assert!(world.only_sent().2.contains(r#""results":[]"#));

    // A form that isn't the button's has something to say, which would be lost.
    for body in ["", "a=b", "confirm=no", "confirm=yes&a=b"] {
        let world = confirming();
        assert_eq!(world.post(GET, &[FORM], body).status(), 415, "{body}");
        world.assert_untouched();
    }
    // A payload is posted as ever, and a token is asked for as ever.
    assert_eq!(confirming().json(GET, "{}").outcome(), (200, Some("delivered")));
    let guarded = confirming().with("access_tokens", "t0ken");
    is_page(&open(&guarded, GET), 401, "A valid token is required");
    assert_eq!(open(&guarded, &format!("{GET}&access_token=t0ken")).status(), 200);
    is_page(&press(&guarded, GET), 401, "A valid token is required");
    assert_eq!(press(&guarded, &format!("{GET}&access_token=t0ken")).outcome(), (200, Some("delivered")));
    // Elsewhere a form is no callback.
    World::new().post(GET, &[FORM], "confirm=yes").problem(415, "unsupported-media-type");
    let wrong = World::new().with("callback_get", "ask");
    assert_eq!(wrong.get(GET).problem(503, "configuration")["field"], "callback_get");
    assert_eq!(wrong.get("/readyz").problem(503, "configuration")["field"], "callback_get");
}

/// After the retention nobody knows who was first, so no link lives longer.
#[test]
fn first_answer_is_known_while_links_are_valid() {
    for hours in ["1", "72"] {
        let world = world().with("retention_hours", hours).well();
        let life = hours.parse::<u64>().unwrap() * 3_600_000;
        for start in [0, life / 2, life - 1] {
            world.now.set(NOW / life * life + life + start);
            world.store.borrow_mut().clear();
            let [succeeded, failed] = links(&world, WISH);
            assert_eq!(press(&world, &succeeded).status(), 200);
            world.pass(life - 1_000);
            world.drain();
            assert_eq!(press(&world, &failed).status(), 409, "{hours} {start}");
            world.pass(1_000);
            assert_eq!(press(&world, &failed).status(), 410);
        }
    }
}
