//! Weeks of steady traffic in simulated time: what is remembered stays small, and a drain goes on to work.
//!
//! A window is `retention_hours`. The bar is that of docs/key-value.md: at most `2.2 × rate × retention` keys, and the
//! doors; in PostgreSQL, as many rows.

use crate::fake::{HOUR, MINUTE, STORE_FORM, StoreKind, World};
use crate::tables::{Delivery as Row, State};

/// An event each time that this many milliseconds are over.
const INTERVAL: u64 = 1_000;
const WINDOWS: u64 = 28;
/// Expired rows or keys that three passes delete.
const EXPIRED: usize = 50_000;

/// Sends one keyed event with this number.
fn send(world: &World, n: u64) {
    let event = format!(r#"{{"specversion":"1.0","id":"{n}","source":"/s","type":"t"}}"#);
    let reply = world.post_json("/api/v2/event?ref=w", event);
    assert_eq!(reply.outcome(), (200, Some("delivered")), "{}", reply.text());
}

/// A drain's pass, which has to do all that there is to do.
fn drain(world: &World) {
    let drained = world.drain_whole();
    assert_eq!((&drained["stopped"], &drained["again"]), (&None::<&str>.into(), &false.into()), "{drained}");
    world.restart_count();
    // Only counted here.
    world.engine.effects.borrow_mut().clear();
    world.log.borrow_mut().clear();
}

fn world() -> World {
    let world = World::with_operator().setting("retention_hours", 1).healthy();
    world.engine.forgets_requests.set(true);
    world
}

/// Runs so many windows with an event each `interval`, and a drain each minute. Returns the most that was stored at the
/// end of a minute.
fn most_stored(world: &World, windows: u64, interval: u64) -> usize {
    let mut most = 0;
    for minute in 0..windows * HOUR / MINUTE {
        for n in 0..MINUTE / interval {
            send(world, minute * MINUTE / interval + n);
            world.advance(interval);
        }
        drain(world);
        most = most.max(world.size());
    }
    most
}

fn assert_weeks_stay_small() {
    let world = world();
    let in_a_window = usize::try_from(HOUR / INTERVAL).unwrap();
    let most = most_stored(&world, WINDOWS, INTERVAL);
    assert!(most * 10 <= in_a_window * 22, "{most} of {in_a_window} in a window");
    assert!(most >= in_a_window, "events are forgotten before `retention_hours` are over: {most}");
}

#[test]
fn rows_of_steady_traffic_stay_within_the_bar() {
    StoreKind::Postgres.choose();
    assert_weeks_stay_small();
}

#[test]
fn keys_of_steady_traffic_stay_within_the_bar() {
    StoreKind::KeyValue.choose();
    assert_weeks_stay_small();
}

/// 5 events a second for 72 h are 5.2 times the default of `store_max_keys`. Here they arrive for 1 h at a time, and the
/// ceiling is in the same proportion.
#[test]
fn store_at_its_ceiling_stays_there_and_every_pass_succeeds() {
    const INTERVAL: u64 = 200;
    const MAX_KEYS: usize = 3_472;
    StoreKind::KeyValue.choose();
    let world = world().setting("max_keys", MAX_KEYS).setting("doors", 64);
    // The size of the table of doors is decided once for a store.
    world.store.entries.borrow_mut().remove(STORE_FORM);
    let most = most_stored(&world, 3, INTERVAL);
    // Three keys of each event that arrives until the next pass come on top.
    let until_pass = 3 * usize::try_from(MINUTE / INTERVAL).unwrap();
    let ready = world.get("/readyz").json();
    assert!(
        ready["warnings"].to_string().contains("still known") && ready["store"]["known_since"].is_string(),
        "{ready}"
    );
    assert!((MAX_KEYS..=MAX_KEYS + until_pass).contains(&(most + world.doors())), "{most}");
}

#[test]
fn expired_rows_are_gone_in_three_passes() {
    StoreKind::Postgres.choose();
    let world = world();
    send(&world, 0);
    let template = world.database().tables().deliveries().iter().next().unwrap().clone();
    assert_eq!(template.state, State::Delivered);
    let rows = (0..EXPIRED).map(|n| Row { key: format!("{}-{n}", template.key), ..template.clone() });
    world.database().add_rows(rows);
    world.advance(HOUR + 1);
    assert_eq!(world.size(), EXPIRED + 1);
    for _ in 0..3 {
        world.drain_whole();
        world.advance(MINUTE);
    }
    assert_eq!(world.size(), 0);
}

#[test]
fn expired_keys_are_gone_in_three_passes() {
    StoreKind::KeyValue.choose();
    let world = world();
    send(&world, 0);
    let templates = world.store.entries.borrow().clone();
    let of_event: Vec<_> = templates.iter().filter(|(key, _)| key.contains("done")).collect();
    assert_eq!(of_event.len(), 1, "the record of an event among {:?}", templates.keys());
    for n in 0..EXPIRED {
        let (key, value) = of_event[0];
        // Another hash of the same length.
        world.store.put(format!("{}{n:08}", &key[..key.len() - 8]), value);
    }
    // Each operation takes up to 1 ms and then 1 ms: a pass has a budget of 25 s.
    world.set_lag(Some(crate::fake::Lag { operation: 1, stale: 0 }));
    world.advance(4 * HOUR);
    for _ in 0..3 {
        world.drain_whole();
        world.advance(15 * MINUTE);
    }
    assert_eq!(world.store.count(|key| key.contains("done")), 0);
}
