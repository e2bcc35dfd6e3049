//! Hostile requests, HEAD and prefetch requests never reach the engine, and don't affect the next request. Hostile ones
//! get a precise problem.

use sluice_host::stand_in::RequestKind;

use crate::setup::{EVENT, JSON, Setup};

#[tokio::test(flavor = "multi_thread")]
async fn hostile_requests_get_a_precise_problem() {
    let setup = Setup::new().await;
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(1_000), "]".repeat(1_000));
    let large = vec![b' '; 10_000_000];
    for (path, body, status, slug) in [
        ("/api/v2/webhook?ref=..%2F..%2Fadmin", &b"{}"[..], 400, "invalid-parameter"),
        ("/api/v2/webhook?ref=a/b?x", b"{}", 400, "invalid-parameter"),
        ("/api/v2/webhook?ref=a%23y", b"{}", 400, "invalid-parameter"),
        ("/api/v2/event?ref=../../admin", EVENT.as_bytes(), 400, "invalid-parameter"),
        ("/api/v2/callback?ref=..&topic=t", b"{}", 400, "invalid-parameter"),
        ("/api/v2/webhook?ref=a&ref=b", b"{}", 400, "invalid-parameter"),
        ("/api/v2/webhook?ref=%ff", b"{}", 400, "invalid-parameter"),
        ("/api/v2/webhook?ref=a", &large, 413, "body-too-large"),
        ("/api/v2/event?ref=a", &large, 413, "body-too-large"),
        ("/api/v2/callback?ref=a&topic=t", &large, 413, "body-too-large"),
        ("/api/v2/webhook?ref=a", b"{\"a\":\"\xff\"}", 400, "invalid-body"),
        ("/api/v2/webhook?ref=a", deep.as_bytes(), 400, "invalid-body"),
        ("/api/v2/webhook?ref=a", b"", 400, "invalid-body"),
        ("/api/v2/webhook?ref=a", b"[]", 400, "invalid-body"),
        ("/api/v2/callback?ref=a", b"{}", 400, "missing-parameter"),
        ("/api/v2/webhook/", b"{}", 404, "not-found"),
    ] {
        let reply = setup.post(path, body.to_vec()).await;
        reply.assert_problem(status, slug);
        assert!(setup.engine.requests().is_empty(), "the request reached the engine: {reply}");
    }
    let text = setup.send("POST", "/api/v2/webhook?ref=a", &[("content-type", "text/plain")], "{}").await;
    text.assert_problem(415, "unsupported-media-type");
    assert_eq!(text.header("accept-post"), Some("application/json"));
    let wrong = setup.send("DELETE", "/api/v2/webhook?ref=a", &[JSON], "").await;
    wrong.assert_problem(405, "method-not-allowed");
    assert_eq!(wrong.header("allow"), Some("GET, HEAD, POST"));
    assert_eq!(setup.host.key_value().counts(), Default::default(), "a rejected request must not use the store");
    setup.assert_works().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn head_and_prefetch_complete_nothing() {
    let setup = Setup::new().await;
    let run = setup.engine.wait("release", "t").unwrap();
    let path = format!("/api/v2/callback?ref={run}&topic=t");
    let head = setup.send("HEAD", &path, &[], "").await;
    assert_eq!((head.status.as_u16(), head.text()), (200, ""));
    setup.send("GET", &path, &[("sec-purpose", "prefetch")], "").await.assert_problem(503, "prefetch");
    assert_eq!(setup.host.outbound().calls(), 0);
    assert_eq!(setup.get(&path).await.status, 200);
    assert_eq!(setup.requests(RequestKind::Event), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn callback_records_are_hidden_without_an_operator_token() {
    let setup = Setup::with_variables(&[("operator_token", "")]).await;
    setup.callback("r", "t").await.assert_problem(404, "not-found");
    let setup = Setup::new().await;
    setup.get("/api/v2/callbacks/r?topic=t").await.assert_problem(401, "unauthorized");
}
