//! Callbacks to an engine with the recorded times, which loses events that come too early and takes two at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all};
use serde_json::Value;
use sluice_host::stand_in::model::{Record, Settings, Status, Timing};
use sluice_host::stand_in::{RequestKind, StandIn};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::data::Data;
use crate::setup::{HttpClient, JSON, Reply, Setup, eventually, wait_task};

/// Callbacks to each workflow.
const CALLBACKS: u64 = 200;
/// Runs at a time.
const AT_ONCE: usize = 100;
const PAIRS: usize = 100;

/// The two profiles, with their variables and their references to the workflows `waits` and `naplit`.
const PROFILES: [Profile; 2] = [
    Profile {
        name: "boomerang",
        variables: &[("engine", "boomerang"), ("settings", r#"{"engine_start":true}"#)],
        waits: "6b08ce3a2bb126dc8dc5a8a6",
        naplit: "6b08ce3c2bb126dc8dc5a8ac",
    },
    Profile {
        name: "flow",
        variables: &[
            ("engine", "flow"),
            ("engine_token", "bft_ACME"),
            ("settings", r#"{"engine_start":true,"engine":{"team":"acme"}}"#),
        ],
        waits: "waits",
        naplit: "naplit",
    },
];

#[derive(Clone, Copy)]
struct Profile {
    name: &'static str,
    variables: &'static [(&'static str, &'static str)],
    waits: &'static str,
    naplit: &'static str,
}

impl Profile {
    /// A host with this profile, and a stand-in with the recorded times and workflows.
    async fn setup(self) -> Setup {
        let seed = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos().into();
        println!("{}: seed {seed}", self.name);
        let settings = Settings { seed, timing: Timing::default(), ..Settings::default() };
        let engine = StandIn::builder().settings(settings).start().await.unwrap();
        Setup::with_engine(Data::new(), engine, self.variables).await
    }
}

/// A callback that got a 2xx.
struct Accepted {
    run: String,
    status: Status,
    is_pending: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_soon_after_the_start_all_end_their_task() {
    for profile in PROFILES {
        let start = Instant::now();
        let setup = Arc::new(profile.setup().await);
        // `waits` waits about 0.3 s after its start; events in the first half of that are lost. `naplit` naps for 4 s
        // first; events that come when that ends are lost, too.
        let soon = send_all(&setup, profile.waits, Duration::ZERO);
        let after_nap = send_all(&setup, profile.naplit, Duration::from_millis(4_100));
        let (mut accepted, after_nap) = join(soon, after_nap).await;
        accepted.extend(after_nap);
        let pending = accepted.iter().filter(|callback| callback.is_pending).count();

        let totals = setup.drain_all().await;
        assert_eq!((totals.dead, totals.rejected), (0, 0), "{}", profile.name);
        assert_eq!(setup.deliveries("dead").await, Vec::<Value>::new(), "{}", profile.name);
        assert_eq!(accepted.len() as u64, 2 * CALLBACKS);
        for Accepted { run, status, .. } in &accepted {
            let context = format!("{}: run {run} never ended", profile.name);
            let record = eventually(&context, async || setup.engine.run(run).filter(has_ended)).await;
            assert_eq!(wait_task(&record).unwrap().status, *status, "{}: {record:?}", profile.name);
        }
        println!(
            "{}: {} runs in {:.1} s; {pending} callbacks got a 202, {} events were sent",
            profile.name,
            accepted.len(),
            start.elapsed().as_secs_f64(),
            events(&setup),
        );
    }
}

/// Starts [`CALLBACKS`] runs of a workflow, and sends a callback to each, up to half a second after `delay` has passed
/// since its start. A callback that gets a 200 has ended its task by then.
async fn send_all(setup: &Arc<Setup>, workflow: &'static str, delay: Duration) -> Vec<Accepted> {
    let at_once = Arc::new(Semaphore::new(AT_ONCE / 2));
    let mut senders = JoinSet::new();
    for n in 0..CALLBACKS {
        let (setup, at_once) = (setup.clone(), at_once.clone());
        senders.spawn(async move {
            let _permit = at_once.acquire().await.unwrap();
            let started = setup.post(&format!("/api/v2/webhook?ref={workflow}"), "{}").await;
            started.assert_ok("delivered");
            let run = started.json()["id"].as_str().unwrap().to_owned();
            tokio::time::sleep(delay + Duration::from_millis(n * 500 / CALLBACKS)).await;

            let (name, status) = if n % 2 == 0 { ("Succeeded", Status::Succeeded) } else { ("Failed", Status::Failed) };
            let path = format!("/api/v2/callback?ref={run}&topic=approval&status={name}");
            // One of four doesn't wait, and is left to the drain.
            let prefer = if n % 8 < 6 { ("x-none", "") } else { ("prefer", "respond-async") };
            let reply = setup.send("POST", &path, &[JSON, prefer], format!(r#"{{"n":{n}}}"#)).await;
            let is_pending = is_pending(&reply);
            if !is_pending {
                reply.assert_ok("delivered");
                let record = setup.engine.run(&run).unwrap();
                assert_eq!(wait_task(&record).unwrap().status, status, "{reply}: {record:?}");
            }
            Accepted { run, status, is_pending }
        });
    }
    senders.join_all().await
}

fn is_pending(reply: &Reply) -> bool {
    reply.header("sluice-outcome") == Some("pending")
}

fn has_ended(record: &Record) -> bool {
    matches!(record.run.status, Status::Succeeded | Status::Failed)
}

/// The number of events that the engine got.
fn events(setup: &Setup) -> usize {
    setup.requests(RequestKind::Event)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_callbacks_at_once_no_accepted_one_is_overruled() {
    for profile in PROFILES {
        let setup = profile.setup().await;
        let client = HttpClient::new();
        let pairs = (0..PAIRS).map(|_| {
            let run = setup.engine.wait("waits", "approval").unwrap();
            let send = |status: &'static str| {
                let url = format!("{}/api/v2/callback?ref={run}&topic=approval&status={status}", setup.host.url());
                let client = client.clone();
                async move { client.send("POST", &url, &[JSON], "{}").await.unwrap() }
            };
            let both = join(send("Succeeded"), send("Failed"));
            async move {
                let (yes, no) = both.await;
                (run, [(Status::Succeeded, yes), (Status::Failed, no)])
            }
        });
        let pairs = join_all(pairs).await;
        setup.drain_all().await;

        let dead = setup.deliveries("dead").await;
        let mut outcomes = BTreeMap::<_, u32>::new();
        for (run, replies) in &pairs {
            let end = wait_task(&setup.engine.run(run).unwrap()).unwrap().status;
            assert!(matches!(end, Status::Succeeded | Status::Failed), "{run} still waits: {replies:?}");
            for (status, reply) in replies {
                let is_overruled = end != *status;
                *outcomes.entry((reply.status.as_u16(), is_overruled)).or_default() += 1;
                match reply.status.as_u16() {
                    200 => assert!(!is_overruled, "{run} ended with {end:?}: {replies:?}"),
                    409 => assert!(is_overruled, "{run} ended with {end:?}: {replies:?}"),
                    _ => {
                        // The loser of two that were stored is a dead letter, which its operator sees.
                        reply.assert_stored("pending", false);
                        let is_dead = dead.iter().any(|letter| letter["id"] == reply.delivery());
                        assert_eq!(is_dead, is_overruled, "{run} ended with {end:?}: {replies:?}");
                    }
                }
            }
        }
        println!("{}: {PAIRS} pairs, {} events; (status, overruled): {outcomes:?}", profile.name, events(&setup));
    }
}
