//! The state that the console shows: the limits of the engine, the last drains, and the sources.

use serde_json::{Value, json};

use crate::console::{assert_has, edited_profile, open, store};
use crate::fake::{EVENT, EVENT_URI, JSON, MINUTE, NOW, WEBHOOK_URI, World, row};

#[on_each_store]
fn overview_compares_the_limits_of_the_engine_with_the_settings() {
    let overview = |limits: Value, settings: &[(&str, u64)]| {
        let world = World::with_operator().with("engine", &edited_profile(json!({ "limits": limits })));
        let world = settings.iter().fold(world, |world, (name, value)| world.setting(name, *value));
        open(&world, "/console")
    };
    let page = overview(Value::Null, &[]);
    assert_has(&page, &["An early one is kept for up to 7 days", "524,288 bytes; the engine"]);
    assert!(!page.contains("Starts known"), "{page}");
    for (limits, settings, expected) in [
        (json!({ "retention_hours": 24 }), &[][..], "For 24 h at the engine; a delivery is retried for at most 24 h<"),
        (
            json!({ "retention_hours": 24 }),
            &[("retry_max_hours", 30)],
            ">Too short</span> The engine knows a start for 24 h, and a delivery is retried for 30 h: a start that is sent again later may start a second run",
        ),
        (json!({ "max_body_bytes": 1_000 }), &[], ">1,000 bytes, the engine's limit<"),
        (json!({ "max_body_bytes": 9_000 }), &[("max_body_bytes", 100)], ">100 bytes; the engine takes 9,000<"),
    ] {
        let _row = row(&limits);
        assert_has(&overview(limits, settings), &[expected]);
    }
}

#[on_each_store]
fn overview_draws_what_the_drains_have_left() {
    let world = World::with_operator().unreachable();
    world.clock.set(NOW / MINUTE * MINUTE);
    let page = open(&world, "/console");
    assert_has(&page, &["No samples yet: each pass of the drain takes one"]);
    assert!(!page.contains("<svg"), "{page}");
    store(&world, WEBHOOK_URI, "{}");
    store(&world, EVENT_URI, EVENT);
    world.drain();
    assert_has(
        &open(&world, "/console"),
        &["1 sample, the last one just now", r#"aria-label="Pending: last 2, between 2 and 2""#],
    );
    world.engine.recover();
    world.advance(2 * MINUTE);
    assert_eq!(world.drain()["delivered"], 2);
    world.advance(MINUTE / 2);
    assert_has(
        &open(&world, "/console"),
        &[
            "2 samples over 2 min, the last one 30 s ago",
            r#"<svg class="spark" role="img" aria-label="Pending: last 0, between 0 and 2""#,
            r#"aria-label="Delivered per minute: last 2, between 0 and 2""#,
            r#"aria-label="Oldest waiting: last 0 s, between 0 s and "#,
        ],
    );
}

#[on_each_store]
fn sources_are_listed_with_what_is_noted_of_them() {
    let world = World::with_operator()
        .healthy()
        .source_of("github", ["s3cret-new"])
        .source(json!({ "name": "partner", "tokens": ["t0ken-one", "t0ken-two"] }))
        .source(json!({ "name": "twin", "tokens": ["t0ken-two"] }))
        .source(json!({ "name": "own", "sender": { "algorithm": "hmac-sha256", "headers": ["x-sig"], "signed": "{body}" }, "secrets": ["s3cret-own"], "tokens": ["t0ken-own"] }))
        .source(json!({ "name": "quiet", "tokens": ["t0ken-quiet"] }));
    let headers = [("authorization", "Bearer t0ken-own"), JSON, ("idempotency-key", "k")];
    assert_eq!(world.post(WEBHOOK_URI, &headers, "{}").outcome(), (200, Some("delivered")));
    for _ in 0..3 {
        world.advance(MINUTE);
        world.post(WEBHOOK_URI, &[("x-hub-signature-256", "sha256=00"), JSON], "{}");
    }
    world.advance(MINUTE);
    let page = open(&world, "/console/sources");
    assert_has(
        &page,
        &[
            r##"<a href="#source-0"><bdi class="name">github</bdi></a>"##,
            r#"<h2 id="source-0"><bdi>github</bdi></h2>"#,
            "<span>GitHub</span>",
            "<span>3 noted, the last one 60 s ago</span><small><bdi>",
            "<span>a scheme of its own, 1 token</span>",
            "<span>4 min ago</span>",
            r#"<span>2 tokens <span class="chip bad">Stopped</span></span>"#,
        ],
    );
    assert_eq!(page.matches("<span>Not yet</span>").count(), 4, "{page}");
    assert!(!page.contains("s3cret") && !page.contains("t0ken"), "{page}");

    // Once it is no longer configured, what was noted of it is still there.
    world.set("sources", "");
    let page = open(&world, "/console/sources");
    assert_has(&page, &["No longer set", "4 min ago"]);
    assert!(!page.contains("quiet"), "{page}");
    assert_has(&open(&World::with_operator(), "/console/sources"), &["No sources are set"]);
}
