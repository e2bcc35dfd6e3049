//! What is remembered of sources: the laws of the store's notes, refused and verified requests, and how the operator
//! sees them.

use std::time::Duration;

use futures_util::future::join;
use http::HeaderMap;
use serde_json::{Value, json};
use sluice::delivery::Limits;
use sluice::gateway::sources::{remember_refusal, remember_verified};
use sluice::secret::Secret;
use sluice::source::{MAX_REFUSED, Refused};
use sluice::store::{MAX_SOURCE_NOTE, NoteKind, SOURCE_NOTE_AGE, SourceNotes, Store, StoreSize};
use sluice::time::{Retention, Timestamp};

use crate::console::as_operator;
use crate::cost::{REFUSED, VERIFIED, documented};
use crate::fake::{EVENT, EVENT_URI, HOUR, JSON, MINUTE, NOW, StoreFault, World, row};
use crate::senders::mac_sha256;

const URI: &str = "/api/v2/sources";
const KINDS: [NoteKind; 6] = NoteKind::ALL;
const DAY: u64 = 24 * HOUR;

fn store(world: &World) -> Store<'_, World> {
    let url = world.database.as_ref().map(|_| Secret::new(world.variables.borrow()["database_url"]));
    Store::new(world, url, [Retention::default(); 2], Limits::default(), StoreSize::default())
}

fn read(world: &World, kind: NoteKind, name: &str) -> Option<String> {
    world.run(store(world).source_note(kind, name)).unwrap()
}

fn write(world: &World, kind: NoteKind, name: &str, note: &str) {
    world.run(store(world).write_source_note(kind, name, note)).unwrap();
}

fn all(world: &World) -> Vec<(NoteKind, String)> {
    let mut all = world.run(store(world).source_notes(1_000)).unwrap();
    all.sort();
    all
}

#[on_each_store]
fn note_is_what_was_written_last_under_kind_and_name() {
    let world = World::new();
    let long = format!("https://a.example/{}", "k".repeat(5_000));
    for (nth, name) in ["", "acme", "ACME", "a\u{0}b", "é/:*", &long].into_iter().enumerate() {
        for kind in KINDS {
            assert_eq!(read(&world, kind, name), None);
            for n in 0..2 {
                let note = json!({ "nth": nth, "n": n, "kind": format!("{kind:?}"), "text": "\u{0}é\"" }).to_string();
                write(&world, kind, name, &note);
                assert_eq!(read(&world, kind, name).as_ref(), Some(&note));
            }
        }
    }
    let notes = all(&world);
    assert_eq!(notes.len(), 6 * KINDS.len());
    for kind in KINDS {
        let of_kind = notes.iter().filter(|(of, note)| *of == kind && note.contains(&format!("{kind:?}")));
        assert_eq!(of_kind.count(), 6, "{kind:?}");
    }
    assert_eq!(world.run(store(&world).source_notes(5)).unwrap().len(), 5);
}

#[on_each_store]
fn note_that_is_too_long_is_not_written() {
    let world = World::new();
    let note = |length: usize| format!("\"{}\"", "n".repeat(length - 2));
    write(&world, NoteKind::Keys, "a", &note(MAX_SOURCE_NOTE));
    world.run(store(&world).write_source_note(NoteKind::Keys, "a", &note(MAX_SOURCE_NOTE + 1))).unwrap_err();
    assert_eq!(read(&world, NoteKind::Keys, "a").unwrap().len(), MAX_SOURCE_NOTE);
}

#[on_each_store]
fn note_that_was_not_written_for_thirty_days_is_swept() {
    assert_eq!(SOURCE_NOTE_AGE, Duration::from_millis(30 * DAY));
    let world = World::with_operator();
    write(&world, NoteKind::Refused, "gone", "1");
    world.advance(DAY);
    write(&world, NoteKind::Refused, "acme", "2");
    let names = |world: &World| world.source_notes().len();
    for (days, left, readable) in [(28, 2, 2), (1, 1, 1), (1, 0, 0)] {
        world.advance(days * DAY);
        assert_eq!(all(&world).len(), readable, "after {days} days more");
        world.drain();
        assert_eq!(names(&world), left, "after {days} days more");
    }
    // One that is written again begins anew.
    write(&world, NoteKind::Verified, "acme", "3");
    for day in 0..40 {
        world.advance(DAY);
        write(&world, NoteKind::Verified, "acme", &day.to_string());
        world.drain();
    }
    assert_eq!(read(&world, NoteKind::Verified, "acme").as_deref(), Some("39"));
}

#[on_each_store]
fn other_notes_are_neither_listed_nor_swept() {
    let world = World::with_operator();
    world.put_note("twice", "{}");
    write(&world, NoteKind::Keys, "a", "1");
    world.advance(31 * DAY);
    assert_eq!(all(&world), []);
    world.drain();
    assert_eq!(world.source_notes(), []);
    match &world.database {
        Some(database) => assert!(database.tables().notes().any(|note| note.name == "twice")),
        None => assert!(world.store.entries.borrow().contains_key("sluice:twice")),
    }
}

/// Notes of a later release, and such as can't be decoded, are left alone by all that lists keys.
#[test]
fn notes_that_are_not_known_disturb_nothing() {
    let world = World::key_value().with_operator_token().unreachable();
    let strange = [
        ("sluice:note:other:0", "{}"),
        ("sluice:note:keys:x", "no JSON"),
        ("sluice:note:", ""),
        ("sluice:other:1", ""),
    ];
    for (name, value) in strange {
        world.store.put(name, value.as_bytes());
    }
    write(&world, NoteKind::Keys, "a", "1");
    world.post_json(EVENT_URI, EVENT);
    assert_eq!(all(&world), [(NoteKind::Keys, "1".to_owned())]);
    assert_eq!(world.as_operator("GET", "/api/v2/deliveries").json()["deliveries"].as_array().unwrap().len(), 1);
    world.engine.recover();
    assert_eq!(world.drain()["delivered"], 1);
    let world = world.setting("max_keys", 1_000);
    world.advance(40 * DAY);
    world.drain();
    for (name, _) in strange {
        assert!(world.store.entries.borrow().contains_key(name), "{name}");
    }
    assert_eq!(all(&world), []);
}

/// A move leaves the notes behind.
#[test]
fn move_does_not_carry_notes() {
    let world = World::key_value().with_operator_token();
    write(&world, NoteKind::Keys, "a", "1");
    let world = world.with_database().setting("move_from", "key-value");
    let reply = world.as_operator("POST", "/api/v2/move");
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_eq!((reply.json()["next"].clone(), all(&world)), (Value::Null, vec![]));
    assert!(world.store.entries.borrow().keys().any(|key| key.starts_with("sluice:note:keys:")));
}

#[test]
fn notes_are_swept_once_a_day() {
    let world = World::key_value().with_operator_token();
    write(&world, NoteKind::Keys, "a", "1");
    write(&world, NoteKind::Refused, "b", "1");
    let reads = |world: &World| {
        world.store.operations.borrow_mut().clear();
        world.drain();
        world.store.operations.borrow().iter().filter(|operation| operation.starts_with("get sluice:note:")).count()
    };
    world.post_json(EVENT_URI, "{}");
    for (hours, expected) in [(0, 2), (1, 0), (22, 0), (1, 2), (30, 2)] {
        world.advance(hours * HOUR);
        assert_eq!(reads(&world), expected, "after {hours} h more");
    }
}

fn refusal(detail: &str) -> impl FnOnce(Timestamp) -> Refused {
    let mut headers = HeaderMap::new();
    headers.insert("x-hub-signature-256", "sha256=5ignature".parse().unwrap());
    headers.insert("authorization", "Bearer t0ken".parse().unwrap());
    move |now| Refused::new("invalid-signature", detail, &headers, now).with_body(br#"{"card":"4711"}"#)
}

/// Remembers a refusal; returns whether it was remembered.
fn refuse(world: &World, source: Option<&str>, detail: &str) -> bool {
    world.run(remember_refusal(world, source, refusal(detail))).unwrap().is_some()
}

/// A world with notes of each kind.
pub fn known_sources() -> World {
    let world = World::with_operator();
    refuse(&world, Some("acme"), "the header `x-sig` is missing");
    world.advance(MINUTE);
    refuse(&world, Some("acme"), "the header `x-sig` is missing");
    let near = |now| Refused {
        near_miss: Some("its timestamp is 700 seconds behind this clock".to_owned()),
        ..refusal("the timestamp is more than 300 seconds old")(now)
    };
    world.advance(MINUTE);
    world.run(remember_refusal(&world, Some("acme"), near)).unwrap();
    world.run(remember_verified(&world, "acme", Some(1))).unwrap();
    world.run(remember_verified(&world, "partner", Some(2))).unwrap();
    world.run(remember_verified(&world, "new", None)).unwrap();
    let early = |now| Refused::new("unauthorized", "its access token belongs to no source", &HeaderMap::new(), now);
    world.run(remember_refusal(&world, None, early)).unwrap();
    crate::keys::failing_fetch(&world);
    world.advance(MINUTE);
    world.sites.publish(crate::keys::JWKS, &[], &crate::keys::key_set(&["a", "b"]));
    crate::keys::look(&world, "a").unwrap();
    world.advance(HOUR);
    crate::keys::failing_fetch_of_stored(&world);
    world
}

fn shown(world: &World) -> Value {
    let reply = world.as_operator("GET", URI);
    assert_eq!((reply.status(), reply.header("cache-control")), (200, Some("no-store")), "{}", reply.text());
    reply.json()
}

#[on_each_store]
fn operator_sees_the_last_refusals_of_each_source() {
    let world = World::with_operator();
    assert_eq!(shown(&world), json!({ "sources": [], "unknown": [], "keys": [], "failed_fetches": [] }));
    assert!(refuse(&world, Some("acme"), "the signature does not match"));
    assert!(refuse(&world, Some("Acme"), "the header `x-sig` is missing"));
    assert!(refuse(&world, None, "its access token belongs to no source"));
    let entry = |detail| {
        json!({
            "at": Timestamp(NOW).rfc3339(), "count": 1, "reason": "invalid-signature", "detail": detail,
            "headers": ["authorization", "x-hub-signature-256"], "size": 15, "digest": "ada2ca4d82d4bed6",
        })
    };
    let expected = json!({
        "sources": [
            { "name": "Acme", "refused": [entry("the header `x-sig` is missing")] },
            { "name": "acme", "refused": [entry("the signature does not match")] },
        ],
        "unknown": [entry("its access token belongs to no source")],
        "keys": [], "failed_fetches": [],
    });
    assert_eq!(shown(&world), expected);
}

#[on_each_store]
fn refusals_are_remembered_once_a_minute_for_each_source() {
    let world = World::with_operator();
    let flood = |source, detail: &str| (0..5).map(|_| refuse(&world, source, detail)).collect::<Vec<_>>();
    assert_eq!(flood(Some("acme"), "a"), [true, false, false, false, false]);
    assert_eq!(flood(None, "a"), [true, false, false, false, false], "each source by itself");
    world.advance(MINUTE - 1);
    assert!(!refuse(&world, Some("acme"), "b"));
    for n in 0..20 {
        world.advance(MINUTE);
        assert!(refuse(&world, Some("acme"), &format!("{}", n % 10)));
    }
    let seen = shown(&world);
    let refused = seen["sources"][0]["refused"].as_array().unwrap();
    let details: Vec<_> = refused.iter().map(|one| (one["detail"].as_str().unwrap(), one["count"].clone())).collect();
    assert_eq!(details.len(), MAX_REFUSED);
    assert_eq!(details[0], ("9", json!(1)));
    assert_eq!(seen["unknown"].as_array().unwrap().len(), 1);
}

#[on_each_store]
fn refusal_that_is_not_remembered_is_not_explained() {
    let world = World::new();
    refuse(&world, Some("acme"), "a");
    let explain = |_: Timestamp| -> Refused { panic!("it takes up to 48 verifications") };
    assert_eq!(world.run(remember_refusal(&world, Some("acme"), explain)).unwrap(), None);
    world.fail_store(StoreFault::From(0));
    assert!(world.run(remember_refusal(&world, Some("acme"), explain)).is_err());
}

/// Of two that are written at the same time, one remains, and the list stays readable.
#[on_each_store]
fn refusals_at_the_same_time_are_harmless() {
    let world = World::with_operator();
    world.set_lag(Some(crate::fake::Lag { operation: 20, stale: 0 }));
    let refuse = |detail| remember_refusal(&world, Some("acme"), refusal(detail));
    let (one, two) = world.run(join(refuse("a"), refuse("b")));
    assert!(one.is_ok() && two.is_ok());
    let count = shown(&world)["sources"][0]["refused"].as_array().unwrap().len();
    assert!(count == 1 || count == 2, "{count}");
}

#[on_each_store]
fn last_verified_request_and_last_use_of_an_old_secret_are_remembered() {
    let world = World::with_operator();
    let verified = |source: &str, old_secret| {
        world.run(remember_verified(&world, source, old_secret)).unwrap();
        world.advance(1_000);
    };
    verified("acme", Some(1));
    verified("acme", Some(1));
    verified("acme", None);
    verified("partner", None);
    verified("partner", Some(2));
    verified("plain", None);
    world.advance(MINUTE);
    verified("acme", None);
    let at = |seconds: u64| Timestamp(NOW + seconds * 1_000).rfc3339();
    assert_eq!(
        shown(&world)["sources"],
        json!([
            { "name": "acme", "last_verified": at(66), "refused": [], "old_secret": { "index": 1, "at": at(0) } },
            { "name": "partner", "last_verified": at(4), "refused": [], "old_secret": { "index": 2, "at": at(4) } },
            { "name": "plain", "last_verified": at(5), "refused": [] },
        ])
    );
}

/// A note of an earlier release, which noted only old secrets.
#[on_each_store]
fn note_of_an_earlier_release_is_read() {
    let world = World::with_operator();
    let stored = json!({ "v": 1, "source": "acme", "secret": 1, "at": NOW }).to_string();
    write(&world, NoteKind::Verified, "acme", &stored);
    let at = Timestamp(NOW).rfc3339();
    let expected =
        json!([{ "name": "acme", "last_verified": at, "refused": [], "old_secret": { "index": 1, "at": at } }]);
    assert_eq!(shown(&world)["sources"], expected);
}

/// Requests with a record are noted, and of the others a sample. A request of no source is never noted.
#[on_each_store]
fn deliveries_say_when_their_source_was_verified() {
    const KEY: (&str, &str) = ("idempotency-key", "k");
    const SAMPLED: u64 = 16;
    let body = r#"{"action":"opened"}"#;
    let signature = |secret: &str| format!("sha256={}", mac_sha256(secret, body.as_bytes()));
    let (new, old) = (signature("new"), signature("old"));
    let github = |signature| vec![("x-hub-signature-256", signature), ("x-github-event", "issues")];
    let id = ("x-github-delivery", "00000001-0000-4000-8000-000000000000");
    let token = |token| vec![("authorization", token)];
    let noted = |old_secret: bool| (true, old_secret);
    let nothing = (false, false);
    for (name, source, headers, random, expected) in [
        ("token, with a key", "partner", [token("Bearer t0ken"), vec![KEY]].concat(), 7, noted(false)),
        ("token, without a key", "partner", token("Bearer t0ken"), 7, nothing),
        ("token, without a key, sampled", "partner", token("Bearer t0ken"), SAMPLED, noted(false)),
        ("access token, with a key", "partner", [token("Bearer any"), vec![KEY]].concat(), SAMPLED, nothing),
        ("signature, with an id", "github", [github(&*new), vec![id]].concat(), 7, noted(false)),
        ("signature, without an id", "github", github(&*new), 7, nothing),
        ("signature, without an id, sampled", "github", github(&*new), SAMPLED, noted(false)),
        ("old secret, with an id", "github", [github(&*old), vec![id]].concat(), 7, noted(true)),
        ("old secret, without an id", "github", github(&*old), 7, nothing),
        ("old secret, without an id, sampled", "github", github(&*old), SAMPLED, noted(true)),
    ] {
        let _row = row(name);
        let world = World::with_operator()
            .healthy()
            .with("access_tokens", "any")
            .source(json!({ "name": "partner", "tokens": ["t0ken"], "workflows": ["w"] }))
            .source_of("github", ["new", "old"]);
        world.random.set(random);
        let uri = "/api/v2/webhook?ref=w";
        let reply = world.post(uri, &[&[JSON], &headers[..]].concat(), body);
        assert_eq!(reply.outcome(), (200, Some("delivered")), "{}", reply.text());
        let seen = shown(&world);
        let seen = seen["sources"].as_array().unwrap().iter().find(|row| row["name"] == source).unwrap();
        assert_eq!((seen["last_verified"].is_string(), seen["old_secret"]["index"] == 1), expected, "{seen}");
        let others = world.source_notes().len();
        assert_eq!(others, usize::from(expected.0), "no other source is noted");
    }
    // Stored without a key; and refused for what it asks for, which is no less verified, but writes no record.
    let world = World::with_operator()
        .unreachable()
        .source(json!({ "name": "partner", "tokens": ["t0ken"], "workflows": ["w"] }));
    let headers = [JSON, ("authorization", "Bearer t0ken")];
    world.post("/api/v2/webhook?ref=other", &headers, "{}").problem(403, "out-of-scope");
    assert!(!shown(&world)["sources"][0]["last_verified"].is_string());
    world.advance(MINUTE);
    assert_eq!(world.post("/api/v2/webhook?ref=w", &headers, "{}").status(), 202);
    assert_eq!(shown(&world)["sources"][0]["last_verified"], Timestamp(NOW + MINUTE).rfc3339());
}

#[test]
fn remembering_costs_one_read_and_one_write_a_minute() {
    let world = World::key_value();
    let spent = |work: &dyn Fn()| {
        world.store.take_cost();
        work();
        world.store.take_cost()
    };
    let refuse = || _ = refuse(&world, Some("acme"), "a");
    let verify = |old_secret| world.run(remember_verified(&world, "acme", old_secret)).unwrap();
    for _ in 0..3 {
        assert_eq!([spent(&refuse), spent(&refuse)], documented(REFUSED));
        assert_eq!([spent(&|| verify(None)), spent(&|| verify(None))], documented(VERIFIED));
        assert_eq!([spent(&|| verify(Some(1))), spent(&|| verify(Some(1)))], documented(VERIFIED), "an old secret");
        world.advance(MINUTE);
    }
}

#[on_each_store]
fn operator_sees_fetched_keys_and_failed_fetches() {
    use crate::keys::{key_set, look};
    let world = World::with_operator();
    let url = crate::keys::JWKS;
    world.sites.publish(url, &[("cache-control", "max-age=600")], &key_set(&["a", "b"]));
    look(&world, "a").unwrap();
    let at = |minutes: u64| Timestamp(NOW + minutes * MINUTE).rfc3339();
    let keys =
        |fetched, until| json!([{ "url": url, "ids": ["a", "b"], "fetched": at(fetched), "fresh_until": at(until) }]);
    assert_eq!((shown(&world)["keys"].clone(), shown(&world)["failed_fetches"].clone()), (keys(0, 10), json!([])));
    world.sites.set(url, crate::fake::answer(500, "s3cret"));
    world.advance(10 * MINUTE);
    look(&world, "a").unwrap();
    let failed = json!([{ "url": url, "at": at(10), "failure": "the answer was 500" }]);
    assert_eq!((shown(&world)["keys"].clone(), shown(&world)["failed_fetches"].clone()), (keys(0, 10), failed));
    world.sites.publish(url, &[("cache-control", "max-age=600")], &key_set(&["a", "b"]));
    world.advance(MINUTE);
    look(&world, "a").unwrap();
    assert_eq!((shown(&world)["keys"].clone(), shown(&world)["failed_fetches"].clone()), (keys(11, 21), json!([])));
}

#[on_each_store]
fn list_is_shown_although_the_settings_are_wrong() {
    let world = World::with_operator().with("engine_url", "nonsense").with("routes", "[");
    refuse(&world, Some("acme"), "a");
    assert_eq!(shown(&world)["sources"][0]["name"], "acme");
    assert_eq!(as_operator(&world, "GET", "/console/sources", &[]).status(), 200);
}

#[on_each_store]
fn nothing_secret_and_no_markup_reaches_the_operator() {
    let world = World::with_operator();
    refuse(&world, Some("<b>acme"), "<i>\u{202e}& \"");
    crate::keys::failing_fetch(&world);
    let page = as_operator(&world, "GET", "/console/sources", &[]);
    for (text, form) in [(page.text().to_owned(), "page"), (shown(&world).to_string(), "list")] {
        let _row = row(form);
        for hidden in ["5ignature", "t0ken", "4711", "captive"] {
            assert!(!text.contains(hidden), "{hidden} in {text}");
        }
    }
    for markup in ["<b>acme", "<i>", "<html>a"] {
        assert!(!page.text().contains(markup), "{markup}");
    }
}
