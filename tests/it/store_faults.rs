//! Store failures: on each path each operation fails in turn, alone and together with all that follow.
//!
//! No 2xx is sent without the engine or the store behind it, no text of the store is disclosed, and after recovery each
//! delivery has one run.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::select;
use http::Request;
use sluice::ports::{Clock, SendError, SqlError};

use crate::fake::{
    ASYNC, At, Behaviour, CALLBACK_URI, Chunks, DRAIN_URI, EVENT, EVENT_URI, Fault, JSON, MINUTE, NOTIFICATION,
    OPERATOR, Reply, StoreFault, WEBHOOK_URI, World, request, row,
};

/// A delivery by each path through the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    Webhook,
    KeyedWebhook,
    Event,
    Callback,
}

impl Delivery {
    const ALL: [Self; 4] = [Self::Webhook, Self::KeyedWebhook, Self::Event, Self::Callback];

    fn request(self, is_async: bool) -> Request<Chunks> {
        let (uri, body) = match self {
            Self::Webhook | Self::KeyedWebhook => (WEBHOOK_URI, "{}"),
            Self::Event => (EVENT_URI, EVENT),
            Self::Callback => (CALLBACK_URI, "{}"),
        };
        let mut headers = vec![JSON];
        headers.extend((self == Self::KeyedWebhook).then_some(("idempotency-key", "k")));
        headers.extend(is_async.then_some(ASYNC));
        request("POST", uri, &headers, body)
    }

    /// A repeated delivery is known by its key, and its run can be found by its label.
    fn has_label(self) -> bool {
        matches!(self, Self::KeyedWebhook | Self::Event)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Engine {
    Healthy,
    Slow,
    BusyOnce,
    UnreachableOnce,
    RejectsOnce,
    LosesResponses,
}

impl Engine {
    const ALL: [Self; 6] =
        [Self::Healthy, Self::Slow, Self::BusyOnce, Self::UnreachableOnce, Self::RejectsOnce, Self::LosesResponses];

    fn world(self) -> World {
        let world = World::with_operator();
        match self {
            Self::Healthy => world.healthy(),
            Self::Slow => world.slow(3_000),
            Self::BusyOnce => world.respond(503, "").healthy(),
            Self::UnreachableOnce => world.result(Err(SendError::NotSent("the connection was refused"))).healthy(),
            Self::RejectsOnce => world.respond(422, "").healthy(),
            Self::LosesResponses => world.losing_responses(),
        }
    }
}

fn is_stored(world: &World) -> bool {
    !world.pending().is_empty() || !world.dead().is_empty()
}

/// Asserts that the reply does not contain the store's error.
#[track_caller]
fn assert_not_disclosed(reply: &Reply) {
    let headers = format!("{:?}", reply.response.headers());
    assert!(!reply.text().contains("/secret/path") && !headers.contains("/secret/path"), "{}", reply.text());
}

/// A fault of either store.
#[derive(Clone, Copy, Debug)]
enum AnyFault {
    KeyValue(StoreFault),
    Postgres(At, Fault),
}

impl AnyFault {
    /// The faults of each operation, or of each connect and statement, since the count was restarted: alone, and with
    /// all that follow.
    fn each(sound: &World) -> Vec<Self> {
        let Some(database) = &sound.database else {
            return StoreFault::each(sound.operations()).map(Self::KeyValue).collect();
        };
        let faults = [
            Fault::Refuse(SqlError::Unreachable),
            Fault::BreakBefore,
            Fault::BreakAfter,
            Fault::BreakThenAct(200),
            Fault::BreakThenAct(12_000),
            Fault::BreakThenAct(70_000),
            Fault::Full,
        ];
        let mut each = Vec::new();
        for (nth, call) in database.take_calls().into_iter().enumerate() {
            // A refused connection is that of a connect; the others are faults of a statement.
            let faults = faults.into_iter().filter(|fault| matches!(fault, Fault::Refuse(_)) == (call == "connect"));
            each.extend(faults.flat_map(|fault| [At::Once(nth), At::From(nth)].map(|at| Self::Postgres(at, fault))));
        }
        each
    }

    fn inject(self, world: &World) {
        match self {
            Self::KeyValue(fault) => world.store.fail(fault),
            Self::Postgres(at, fault) => world.database().fail(&[(at, fault)]),
        }
    }

    /// Whether the gateway learns of it: a statement that breaks once is repeated, and one that only reads needs no
    /// room.
    fn is_reported(self) -> bool {
        match self {
            Self::KeyValue(_) => true,
            Self::Postgres(at, fault) => match fault {
                Fault::Refuse(_) => true,
                Fault::Full => false,
                _ => matches!(at, At::From(_)),
            },
        }
    }

    /// Whether a statement that its sender was told has failed may have had an effect.
    fn may_act(self) -> bool {
        matches!(self, Self::Postgres(_, Fault::BreakAfter | Fault::BreakThenAct(_)))
    }
}

fn recover(world: &World) {
    world.recover_store();
    world.engine.recover();
}

/// Drains until nothing is pending.
#[track_caller]
fn drain_all(world: &World) {
    for _ in 0..10 {
        world.advance(20 * MINUTE);
        if world.drain()["pending"] == 0 {
            return;
        }
    }
    panic!("still pending: {:?}", world.pending());
}

#[on_each_store]
fn accepted_request_is_never_lost() {
    let (mut accepted, mut refused) = (0, 0);
    for delivery in Delivery::ALL {
        for engine in Engine::ALL {
            for is_async in [false, true] {
                let sound = engine.world();
                sound.send(delivery.request(is_async));
                for fault in AnyFault::each(&sound) {
                    let _row = row(format!("{delivery:?}, async: {is_async}, engine {engine:?}, store {fault:?}"));
                    let status = accept_with_fault(delivery, engine, is_async, fault);
                    *(if status < 300 { &mut accepted } else { &mut refused }) += 1;
                }
            }
        }
    }
    assert!(accepted > 50 && refused > 50, "{accepted} accepted, {refused} refused");
}

/// Sends a delivery while the store fails, and follows it until it is settled. Returns the status of the response.
#[track_caller]
fn accept_with_fault(delivery: Delivery, engine: Engine, is_async: bool, fault: AnyFault) -> u16 {
    let world = engine.world();
    fault.inject(&world);
    let reply = world.run(async {
        let (reply, rest) = world.handle(delivery.request(is_async)).await;
        let is_kept = is_stored(&world) || (reply.status() == 200 && !world.engine.targets().is_empty());
        assert!(reply.status() >= 300 || is_kept, "accepted, and neither stored nor sent: {}", reply.text());
        world.finish(rest).await;
        reply
    });
    assert_not_disclosed(&reply);
    let log = world.log.borrow();
    let is_logged = log
        .iter()
        .chain([&reply.log])
        .any(|line| line["warning"].as_str().is_some_and(|warning| warning.contains(world.store_error())));
    assert!(is_logged || !fault.is_reported(), "the log lacks the store's error: {} {log:?}", reply.log);
    drop(log);

    // The sender does as the problem says: it repeats the request.
    let may_repeat = reply.status() >= 300 && reply.json()["retry"] == "may-repeat";
    recover(&world);
    if reply.status() >= 300 {
        world.advance(5_000);
        let again = world.send(delivery.request(false));
        assert!(again.status() < 300, "{}", again.text());
    }
    drain_all(&world);
    let (effects, dead) = (world.engine.targets().len(), world.dead().len());
    let is_rejected = engine == Engine::RejectsOnce && (effects, dead) == (0, 1);
    // An ambiguous callback is sent again, which the engine ignores. So is an unkeyed webhook whose sender was told that
    // a repeated request may run twice.
    // And a statement that its sender was told has failed may have stored it.
    let may_repeat = may_repeat || (reply.status() >= 300 && fault.may_act());
    let is_repeated = effects == 2 && (delivery == Delivery::Callback || (delivery == Delivery::Webhook && may_repeat));
    // And a delivery that the engine has refused is there again, once its claim has its effect at last.
    let is_rejected = is_rejected || engine == Engine::RejectsOnce && fault.may_act() && (effects, dead) == (1, 1);
    assert!((effects, dead) == (1, 0) || is_rejected || is_repeated, "{effects} effects, {dead} dead letters");
    if effects > 0 && delivery.has_label() {
        // If no outcome is recorded, the drain queries the engine.
        let again = world.send(delivery.request(false));
        assert!(matches!(again.outcome(), (200, Some("duplicate")) | (202, Some("pending"))), "{:?}", again.outcome());
        drain_all(&world);
        assert_eq!(world.send(delivery.request(false)).outcome(), (200, Some("duplicate")));
        assert_eq!(world.engine.targets().len(), 1);
    }
    reply.status()
}

/// Four due deliveries: an unkeyed webhook, an event, a callback, and a contended event whose winner stopped.
fn with_due_deliveries() -> World {
    let world = World::with_operator().slow(100);
    let contended = || request("POST", "/api/v2/event?ref=contended", &[JSON], EVENT);
    world.run(async {
        let winner = pin!(world.handle(contended()));
        select(winner, pin!(world.sleep(Duration::from_millis(50)))).await;
    });
    world.advance(10_000);
    assert_eq!(world.send(contended()).outcome(), world.contended());
    world.engine.behaviour.set(Behaviour::Unreachable);
    for delivery in [Delivery::Webhook, Delivery::Event, Delivery::Callback] {
        world.advance(1);
        assert_eq!(world.send(delivery.request(false)).status(), 202);
    }
    world.engine.recover();
    world.advance(world.takes_over_after());
    world
}

/// The targets of these deliveries, in order of names.
const DUE_TARGETS: [&str; 4] = ["contended", "r", "w", "w"];

#[on_each_store]
fn failed_drain_loses_and_repeats_nothing() {
    let sound = with_due_deliveries();
    sound.restart_count();
    assert_eq!(sound.drain()["delivered"], 4);
    assert!(sound.operations() > 5, "{:?}", sound.store.operations);
    for fault in AnyFault::each(&sound) {
        let _row = row(format!("{fault:?}"));
        let world = with_due_deliveries();
        fault.inject(&world);
        let reply = world.as_operator("POST", DRAIN_URI);
        if reply.status() != 200 {
            reply.problem(503, "store-unavailable");
        }
        assert_not_disclosed(&reply);
        assert!(reply.warning().contains(world.store_error()) || !fault.is_reported(), "{}", reply.log);
        recover(&world);
        drain_all(&world);
        let mut targets = world.engine.targets();
        targets.sort_unstable();
        if targets.iter().filter(|target| *target == "r").count() == 2 {
            // An ambiguous callback is sent again, which the engine ignores.
            targets.remove(1);
        }
        assert_eq!(targets, DUE_TARGETS);
        assert!(world.dead().is_empty() && world.store.keys(NOTIFICATION).is_empty());
    }
}

#[on_each_store]
fn failed_redelivery_loses_and_repeats_nothing() {
    for (delivery, is_dead) in [
        (Delivery::Webhook, false),
        (Delivery::KeyedWebhook, false),
        (Delivery::Event, false),
        (Delivery::Webhook, true),
        (Delivery::Event, true),
    ] {
        let with_delivery = || {
            let world = if is_dead {
                World::with_operator().respond(400, "").after(3_000)
            } else {
                World::with_operator().respond(503, "")
            };
            let reply = world.send(delivery.request(false));
            assert_eq!(reply.status(), 202);
            world.engine.recover();
            (world, format!("/api/v2/deliveries/{}/redeliver", reply.delivery()))
        };
        let (sound, uri) = with_delivery();
        sound.restart_count();
        assert_eq!(sound.as_operator("POST", &uri).json()["state"], "delivered");
        for fault in AnyFault::each(&sound) {
            let _row = row(format!("{delivery:?}, dead: {is_dead}, store {fault:?}"));
            let (world, uri) = with_delivery();
            fault.inject(&world);
            let reply = world.as_operator("POST", &uri);
            assert_not_disclosed(&reply);
            if reply.status() >= 300 && !(fault.may_act() && matches!(reply.status(), 404 | 409)) {
                reply.problem(503, "store-unavailable");
                assert!(reply.warning().contains(world.store_error()), "{}", reply.log);
            }
            recover(&world);
            world.advance(MINUTE);
            let again = world.as_operator("POST", &uri);
            // It may have been taken after all, when its statement was already given up.
            let is_taken = again.status() == 409 && fault.may_act();
            assert!(matches!(again.status(), 200 | 202 | 404) || is_taken, "{}", again.text());
            drain_all(&world);
            assert_eq!((world.engine.targets().len(), world.dead().len()), (1, 0));
        }
    }
}

#[on_each_store]
fn failed_deletion_can_be_repeated() {
    for delivery in Delivery::ALL {
        let with_delivery = || {
            let world = World::with_operator().unreachable();
            let reply = world.send(delivery.request(false));
            (world, format!("/api/v2/deliveries/{}", reply.delivery()))
        };
        let (sound, uri) = with_delivery();
        sound.restart_count();
        assert_eq!(sound.as_operator("DELETE", &uri).status(), 204);
        for failing in 0..sound.operations() {
            let _row = row(format!("{delivery:?}, operation {failing} fails"));
            let (world, uri) = with_delivery();
            world.fail_store(StoreFault::Once(failing));
            let reply = world.as_operator("DELETE", &uri);
            reply.problem(503, "store-unavailable");
            assert_not_disclosed(&reply);
            recover(&world);
            let again = world.as_operator("DELETE", &uri);
            match again.status() {
                204 | 404 => {}
                // The failed request may have left the lease's door closed, so the drain deletes it, and sends nothing.
                202 => {
                    world.advance(MINUTE);
                    world.drain();
                    assert_eq!(world.engine.targets().len(), 0);
                }
                _ => panic!("{}", again.text()),
            }
            assert!(!is_stored(&world));
            world.advance(MINUTE);
            // The same request is a new delivery. If only its claim was not released, the drain delivers it.
            let reply = world.send(delivery.request(false));
            if reply.status() == 202 {
                world.advance(20_000);
                assert_eq!(world.drain()["delivered"], 1);
            }
            assert_eq!(world.engine.targets().len(), 1, "{}", reply.text());
        }
    }
}

#[on_each_store]
fn failed_read_affects_no_later_request() {
    for uri in ["/api/v2/deliveries", "/api/v2/callbacks/r", "/api/v2/callbacks/r?topic=t", "/readyz"] {
        let sound = with_due_deliveries();
        sound.restart_count();
        assert_eq!(sound.send(request("GET", uri, &[OPERATOR], "")).status(), 200);
        assert!(sound.operations() > 0, "{uri} reads nothing");
        for failing in 0..sound.operations() {
            let _row = row(format!("{uri}, operation {failing} fails"));
            let world = with_due_deliveries();
            world.fail_store(StoreFault::Once(failing));
            let reply = world.as_operator("GET", uri);
            reply.problem(503, "store-unavailable");
            assert_not_disclosed(&reply);
            assert!(reply.warning().contains(world.store_error()) || uri == "/readyz", "{}", reply.log);
            assert_eq!(world.as_operator("GET", uri).status(), 200, "the next request");
        }
    }
}

#[on_each_store]
fn store_outage_affects_only_requests_that_use_the_store() {
    for delivery in Delivery::ALL {
        let _row = row(format!("{delivery:?}"));
        let world = World::new().healthy();
        world.fail_store(StoreFault::From(0));
        let reply = world.send(delivery.request(false));
        if delivery == Delivery::Webhook {
            assert_eq!(reply.status(), 200);
        } else {
            assert_eq!(reply.problem(503, "store-unavailable")["retry"], "safe");
            assert_eq!(reply.header("retry-after"), Some("5"));
            assert!(world.engine.take_calls().is_empty(), "a possible duplicate was sent");
        }
    }
    let world = World::new().respond(422, "");
    world.fail_store(StoreFault::From(0));
    world.send(Delivery::Webhook.request(false)).problem(422, "rejected");
}
