//! The cost of each path in operations of the key-value store, as counted by the host: the table in "Cost" of
//! docs/reliability.md. In that table, deletes count as writes. `crossings` has the cost in calls into the host.

mod crossings;

use sluice_host::spin::key_value::Counts;
use sluice_host::stand_in::Behaviour;

use crate::setup::{JSON, Setup};

/// Number of requests per case, each with a different key.
const REQUESTS: usize = 12;

/// A request. In its texts, `N` stands for the number of the request, `RUN` for a run that waits, another one for each
/// number, and `PAD` for 1,000 characters.
#[derive(Clone, Copy)]
struct Template {
    method: &'static str,
    path: &'static str,
    header: (&'static str, &'static str),
    body: &'static str,
}

const NO_HEADER: (&str, &str) = ("x-none", "");

const WEBHOOK: Template = Template { method: "POST", path: "/api/v2/webhook?ref=w", header: NO_HEADER, body: "{}" };
const ASYNC: Template = Template { header: ("prefer", "respond-async"), ..WEBHOOK };
const IDEMPOTENT: Template = Template { header: ("idempotency-key", "kN"), ..WEBHOOK };
const EVENT: Template = Template {
    path: "/api/v2/event?ref=w",
    body: r#"{"specversion":"1.0","id":"N","source":"/s","type":"t"}"#,
    ..WEBHOOK
};
const UNKEYED: Template = Template { path: "/api/v2/event?ref=w&dedup=off", ..EVENT };
const CALLBACK: Template = Template { path: "/api/v2/callback?ref=RUN&topic=t", ..WEBHOOK };
const OTHER_CALLBACK: Template = Template { body: r#"{"other":true}"#, ..CALLBACK };

struct Case {
    name: &'static str,
    /// Sent before the counted requests.
    before: Option<Template>,
    counted: Template,
    /// The status of the engine's responses; `None` if it works normally.
    engine: Option<u16>,
    /// The expected status.
    status: u16,
    /// The expected operations of each request. The first stored delivery also writes the drain notification, which
    /// isn't included.
    writes: u64,
    reads: u64,
    deletes: u64,
}

const IN_TIME: Case =
    Case { name: "", before: None, counted: WEBHOOK, engine: None, status: 200, writes: 0, reads: 0, deletes: 0 };
const KEYED: Case = Case { writes: 4, reads: 9, ..IN_TIME };
const DUPLICATE: Case = Case { reads: 2, ..IN_TIME };
/// After the response, the refusal is noted for the drain.
const STORED: Case = Case { engine: Some(503), status: 202, writes: 2, reads: 2, ..IN_TIME };
const STORED_KEYED: Case = Case { writes: 6, reads: 10, ..STORED };

const CASES: [Case; 14] = [
    Case { name: "webhook without a key", counted: WEBHOOK, ..IN_TIME },
    Case { name: "event without deduplication", counted: UNKEYED, ..IN_TIME },
    Case { name: "webhook with a key", counted: IDEMPOTENT, ..KEYED },
    Case { name: "event", counted: EVENT, ..KEYED },
    Case { name: "callback", counted: CALLBACK, reads: 11, ..KEYED },
    Case { name: "duplicate webhook with a key", before: Some(IDEMPOTENT), counted: IDEMPOTENT, ..DUPLICATE },
    Case { name: "duplicate event", before: Some(EVENT), counted: EVENT, ..DUPLICATE },
    Case { name: "duplicate callback", before: Some(CALLBACK), counted: CALLBACK, ..DUPLICATE },
    Case { name: "conflicting callback", before: Some(CALLBACK), counted: OTHER_CALLBACK, status: 409, ..DUPLICATE },
    Case { name: "stored webhook", counted: WEBHOOK, ..STORED },
    Case { name: "stored event", counted: EVENT, ..STORED_KEYED },
    // It was not sent, so nothing was refused.
    Case { name: "stored callback", counted: CALLBACK, writes: 5, ..STORED_KEYED },
    // The record is deleted when the engine has accepted the delivery.
    Case { name: "webhook with respond-async", counted: ASYNC, engine: None, writes: 1, deletes: 1, ..STORED },
    // The key is released, so the sender may try again.
    Case { name: "rejected event", counted: EVENT, engine: Some(409), status: 409, writes: 5, reads: 11, ..KEYED },
];

impl Template {
    async fn send(self, setup: &Setup, run: &str, n: usize) -> crate::setup::Reply {
        let fill = |text: &str| text.replace("RUN", run).replace('N', &n.to_string()).replace("PAD", &"x".repeat(1000));
        let header = fill(self.header.1);
        setup.send(self.method, &fill(self.path), &[JSON, (self.header.0, &header)], fill(self.body)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_cost_what_the_documented_table_says() {
    for case in CASES {
        let setup = Setup::new().await;
        let runs = [(); REQUESTS].map(|()| setup.engine.wait("release", "t").unwrap());
        // After a drain, the keys aren't listed again for 15 minutes unless there is a drain notification.
        setup.drain().await;
        if let Some(before) = case.before {
            for (n, run) in runs.iter().enumerate() {
                before.send(&setup, run, n).await.in_case(case.name).assert_status(200);
            }
        }
        let setup = setup.restart().await;
        if let Some(status) = case.engine {
            setup.engine.script().always(Behaviour::status(status));
        }
        let mut sampled = 0;
        for (n, run) in runs.iter().enumerate() {
            let reply = case.counted.send(&setup, run, n).await.in_case(case.name);
            reply.assert_status(case.status);
            sampled += u64::from(reply.is_sampled());
        }

        // Stopping waits for the work after the responses.
        let key_value = setup.host.key_value().clone();
        setup.host.stop().await;
        let Counts { opens, gets, sets, deletes, exists, get_keys } = key_value.counts();
        let requests = REQUESTS as u64;
        // A sampled response is followed by two reads: the drain notification and the time of the last scan.
        let counts = (sets - u64::from(case.status == 202), gets + exists - 2 * sampled, deletes, get_keys);
        assert_eq!(
            counts,
            (case.writes * requests, case.reads * requests, case.deletes * requests, 0),
            "{}",
            case.name
        );
        let uses_store = case.writes + case.reads + case.deletes > 0;
        let most_opens = if uses_store { requests } else { sampled };
        assert!(opens <= most_opens, "{}: {opens} opens, but a request opens the store at most once", case.name);
    }
}
