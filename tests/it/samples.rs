//! Samples: what each pass of the drain leaves behind for the metrics and the console.

use sluice::delivery::DeliveryId;
use sluice::gateway::{MAX_SAMPLES, Sample, samples};
use sluice::time::Timestamp;

use crate::fake::{EVENT, EVENT_URI, HOUR, MINUTE, NOW, StoreKind, WEBHOOK_URI, World, answer};

fn read(world: &World) -> Vec<Sample> {
    world.run(samples(world)).unwrap()
}

fn last(world: &World) -> Sample {
    *read(world).last().expect("a pass has left no sample")
}

/// At the beginning of a minute.
fn world() -> World {
    let world = World::with_operator().unreachable();
    world.clock.set(NOW / MINUTE * MINUTE);
    world
}

#[on_each_store]
fn pass_leaves_what_it_knows_at_its_end() {
    let world = world();
    assert_eq!(read(&world), [], "without a pass");
    for workflow in ["a", "b", "c"] {
        world.post_json(&format!("/api/v2/webhook?ref={workflow}"), "{}");
        world.advance(1_000);
    }
    world.drain();
    let sample = last(&world);
    assert_eq!((sample.pending, sample.dead, sample.delivered, sample.failed), (3, 0, 0, 0));
    assert_eq!(sample.oldest, Some(Timestamp(NOW / MINUTE * MINUTE)));

    world.engine.recover();
    world.engine.script(answer(400, ""));
    world.engine.script(answer(503, ""));
    world.advance(MINUTE);
    world.drain();
    let sample = last(&world);
    assert_eq!((sample.pending, sample.dead, sample.delivered, sample.failed), (1, 1, 1, 1));
    let left = world.pending().pop().and_then(|id| DeliveryId::parse(&id)).unwrap();
    assert_eq!(sample.oldest, Some(left.at()), "those that are gone are not the oldest");

    world.advance(HOUR);
    world.drain();
    let sample = last(&world);
    assert_eq!((sample.pending, sample.dead, sample.delivered, sample.failed, sample.oldest), (0, 1, 1, 0, None));
    assert_eq!((sample.at, read(&world).len()), (Timestamp(world.clock.now()), 3));
}

#[on_each_store]
fn passes_of_one_minute_are_added_up() {
    let world = world();
    for n in 1..=3 {
        world.engine.behaviour.set(crate::fake::Behaviour::Unreachable);
        world.post_json(WEBHOOK_URI, "{}");
        world.engine.recover();
        world.advance(1_000);
        assert_eq!(world.drain()["delivered"], 1);
        assert_eq!((last(&world).delivered, read(&world).len()), (n, 1));
    }
}

#[on_each_store]
fn ring_is_bounded() {
    let world = world();
    world.post_json(WEBHOOK_URI, "{}");
    for n in 1..MAX_SAMPLES + 9 {
        world.advance(MINUTE);
        world.drain();
        let samples = read(&world);
        assert_eq!(samples.len(), n.min(MAX_SAMPLES));
        assert!(samples.is_sorted_by_key(|sample| sample.at));
        assert_eq!(samples.last().map(|sample| sample.at), Some(Timestamp(world.clock.now())));
    }
}

#[test]
fn number_of_keys_is_that_of_the_store() {
    StoreKind::KeyValue.choose();
    let world = world().healthy();
    world.post_json(EVENT_URI, EVENT);
    world.drain();
    let keys = world.store.count(|_| true);
    // The lease and what belongs to it were written after the keys were listed.
    let keys = u64::try_from(keys).unwrap();
    assert!(last(&world).keys.is_some_and(|counted| counted <= keys && counted + 6 >= keys), "{:?}", last(&world));
    StoreKind::Postgres.choose();
    let world = World::with_operator();
    world.drain();
    assert_eq!(last(&world).keys, None);
}

/// The note of an earlier release has no sample, and the ring of a later one may have another form.
#[test]
fn note_of_another_release_is_read() {
    StoreKind::KeyValue.choose();
    let world = world();
    world.post_json(WEBHOOK_URI, "{}");
    world.drain();
    let lease = world.store.entries.borrow()["sluice:lease"].clone();
    let mut earlier: serde_json::Value = serde_json::from_slice(&lease).unwrap();
    earlier["scan"].as_object_mut().unwrap().remove("sample").expect("the sample is in the note");
    world.store.put("sluice:lease", earlier.to_string().as_bytes());
    world.store.put("sluice:history", br#"{"v":2,"samples":{}}"#);
    assert_eq!(read(&world), []);
    world.advance(MINUTE);
    world.drain();
    assert_eq!((read(&world).len(), last(&world).pending), (1, 1));

    StoreKind::Postgres.choose();
    let world = World::with_operator();
    world.database().put_note("drain", r#"{"at":1,"summary":null}"#);
    world.database().put_note("samples", r#"{"v":2}"#);
    assert_eq!(read(&world), []);
    world.drain();
    assert_eq!(read(&world).len(), 1);
}
