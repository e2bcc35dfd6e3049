//! `Prefer` (RFC 7240), and brokers that want a response without a body.

use crate::fake::{CALLBACK_URI, EVENT, EVENT_URI, JSON, NOW, WEBHOOK_URI, World, request, row};

#[on_each_store]
fn preferred_wait_bounds_the_wait() {
    for (prefer, wait, applied) in [
        ("respond-async", 0, Some("respond-async")),
        ("respond-async, wait=1", 1_000, Some("respond-async")),
        ("wait=1", 1_000, None),
        ("wait=0", 0, None),
        ("wait=100", 2_500, None),
        ("respond-async, wait=100", 2_500, Some("respond-async")),
        ("handling=strict", 2_500, None),
        ("respond-async, return=minimal", 0, Some("respond-async, return=minimal")),
    ] {
        let _row = row(prefer);
        let world = World::new().slow(60_000);
        let (reply, answered_at) = world.run(async {
            let (reply, _) = world.handle(request("POST", EVENT_URI, &[JSON, ("prefer", prefer)], EVENT)).await;
            (reply, world.now())
        });
        assert_eq!((reply.outcome(), answered_at), ((202, Some("pending")), NOW + wait));
        assert_eq!(reply.header("preference-applied"), applied);
        assert_eq!(world.pending().len(), 1);
    }
    // The preference isn't applied if the engine answers in time.
    let reply = World::new().slow(500).post(EVENT_URI, &[JSON, ("prefer", "respond-async, wait=1")], EVENT);
    assert_eq!((reply.outcome(), reply.header("preference-applied")), ((200, Some("delivered")), None));
}

#[on_each_store]
fn minimal_response_has_no_body() {
    for (header, applied) in [
        (("prefer", "return=minimal"), Some("return=minimal")),
        (("prefer", "reply"), None),
        (("kn-namespace", "default"), None),
        (("ce-knativearrivaltime", "2026-11-24T08:30:00Z"), None),
    ] {
        for uri in [EVENT_URI, WEBHOOK_URI, CALLBACK_URI] {
            let headers = [("content-type", "application/cloudevents+json"), header];
            let _row = row(format!("{header:?} at {uri}"));
            let headers = if uri == EVENT_URI { headers } else { [JSON, header] };
            let send = |world: &World| {
                let reply = world.post(uri, &headers, EVENT);
                assert_eq!((reply.text(), reply.header("content-type")), ("", None));
                assert_eq!(reply.header("content-length"), Some("0"));
                assert_eq!(reply.header("preference-applied"), applied);
                (reply.status(), reply.header("sluice-outcome").unwrap().to_owned(), reply.header("location").is_some())
            };
            let world = World::new().healthy();
            assert_eq!(send(&world), (204, "delivered".to_owned(), false));
            if !uri.contains("webhook") {
                assert_eq!(send(&world), (204, "duplicate".to_owned(), false));
            }
            let world = World::new().unreachable();
            assert_eq!(send(&world), (202, "pending".to_owned(), true));
            // A problem has a body regardless.
            let world = World::new().respond(400, "");
            world.post(uri, &headers, EVENT).problem(400, "rejected");
        }
    }
}
