//! `Prefer` (RFC 7240), and the brokers that want no body.

use crate::fake::{EVENT, JSON, NOW, World, request};

const ON_EVENT: &str = "/api/v2/event?ref=w";

#[test]
fn preferred_wait_bounds_the_wait() {
    for (prefer, waits, applied) in [
        ("respond-async", 0, Some("respond-async")),
        ("respond-async, wait=1", 1_000, Some("respond-async")),
        ("wait=1", 1_000, None),
        ("wait=0", 0, None),
        ("wait=100", 2_500, None),
        ("respond-async, wait=100", 2_500, Some("respond-async")),
        ("handling=strict", 2_500, None),
        ("respond-async, return=minimal", 0, Some("respond-async, return=minimal")),
    ] {
        let world = World::new().slow(60_000);
        let (reply, at) = world.run(async {
            let (reply, _) = world.answer(request("POST", ON_EVENT, &[JSON, ("prefer", prefer)], EVENT)).await;
            (reply, world.now.get())
        });
        assert_eq!((reply.outcome(), at), ((202, Some("pending")), NOW + waits), "{prefer}");
        assert_eq!(reply.header("preference-applied"), applied, "{prefer}");
        assert_eq!(world.keys("sluice/pending/").len(), 1);
    }
    // Whoever was answered in time did not need it.
    let reply = World::new().slow(500).post(ON_EVENT, &[JSON, ("prefer", "respond-async, wait=1")], EVENT);
    assert_eq!((reply.outcome(), reply.header("preference-applied")), ((200, Some("delivered")), None));
}

#[test]
fn minimal_response_has_no_body() {
    for (header, applied) in [
        (("prefer", "return=minimal"), Some("return=minimal")),
        (("prefer", "reply"), None),
        (("kn-namespace", "default"), None),
        (("ce-knativearrivaltime", "2026-11-24T08:30:00Z"), None),
    ] {
        for uri in [ON_EVENT, "/api/v2/webhook?ref=w", "/api/v2/callback?ref=r&topic=t"] {
            let headers = [("content-type", "application/cloudevents+json"), header];
            let headers = if uri == ON_EVENT { headers } else { [JSON, header] };
            let send = |world: &World| {
                let reply = world.post(uri, &headers, EVENT);
                assert_eq!((reply.text(), reply.header("content-type")), ("", None), "{header:?} {uri}");
                assert_eq!(reply.header("content-length"), Some("0"));
                assert_eq!(reply.header("preference-applied"), applied, "{header:?} {uri}");
                (reply.status(), reply.header("sluice-outcome").unwrap().to_owned(), reply.header("location").is_some())
            };
            let world = World::new().well();
            assert_eq!(send(&world), (204, "delivered".to_owned(), false), "{header:?} {uri}");
            if !uri.contains("webhook") {
                assert_eq!(send(&world), (204, "duplicate".to_owned(), false), "{header:?} {uri}");
            }
            let world = World::new().down();
            assert_eq!(send(&world), (202, "pending".to_owned(), true), "{header:?} {uri}");
            // A refusal says why all the same.
            let world = World::new().answers(400, "");
            world.post(uri, &headers, EVENT).problem(400, "rejected");
        }
    }
}
