//! What each path costs in operations of the key-value store, as the host counts them.

use sluice_host::spin::key_value::Counts;
use sluice_host::stand_in::Behaviour;

use crate::setup::{JSON, Setup};

/// How often each is measured, with another key each time.
const TIMES: usize = 12;

/// In each text `RUN` stands for a run that waits, `N` for a number that is another each time.
#[derive(Clone, Copy)]
struct Sent {
    path: &'static str,
    header: (&'static str, &'static str),
    body: &'static str,
}

const NONE: (&str, &str) = ("x-none", "");

const WEBHOOK: Sent = Sent { path: "/api/v2/webhook?ref=w", header: NONE, body: "{}" };
const ASYNC: Sent = Sent { header: ("prefer", "respond-async"), ..WEBHOOK };
const IDEMPOTENT: Sent = Sent { header: ("idempotency-key", "kN"), ..WEBHOOK };
const EVENT: Sent = Sent {
    path: "/api/v2/event?ref=w",
    header: NONE,
    body: r#"{"specversion":"1.0","id":"N","source":"/s","type":"t"}"#,
};
const UNKEYED: Sent = Sent { path: "/api/v2/event?ref=w&dedup=off", ..EVENT };
const CALLBACK: Sent = Sent { path: "/api/v2/callback?ref=RUN&topic=tN", header: NONE, body: "{}" };
const OTHER: Sent = Sent { body: r#"{"other":true}"#, ..CALLBACK };

struct Case {
    what: &'static str,
    /// Sent before anything is counted.
    before: Option<Sent>,
    sent: Sent,
    /// What the engine does; nothing is well.
    engine: Option<u16>,
    status: u16,
    writes: u64,
    reads: u64,
    deletes: u64,
}

const WELL: Case =
    Case { what: "", before: None, sent: WEBHOOK, engine: None, status: 200, writes: 0, reads: 0, deletes: 0 };
const FIRST: Case = Case { writes: 3, reads: 4, ..WELL };
const AGAIN: Case = Case { reads: 2, ..WELL };
/// The first of them writes the hint as well.
const STORED: Case = Case { engine: Some(503), status: 202, writes: 1, reads: 1, ..WELL };

const CASES: [Case; 14] = [
    Case { what: "a plain webhook", sent: WEBHOOK, ..WELL },
    Case { what: "an event without deduplication", sent: UNKEYED, ..WELL },
    Case { what: "a webhook with a key", sent: IDEMPOTENT, ..FIRST },
    Case { what: "an event", sent: EVENT, ..FIRST },
    Case { what: "a callback", sent: CALLBACK, ..FIRST },
    Case { what: "a webhook with a key again", before: Some(IDEMPOTENT), sent: IDEMPOTENT, ..AGAIN },
    Case { what: "an event again", before: Some(EVENT), sent: EVENT, ..AGAIN },
    Case { what: "a callback again", before: Some(CALLBACK), sent: CALLBACK, ..AGAIN },
    Case { what: "another callback", before: Some(CALLBACK), sent: OTHER, status: 409, ..AGAIN },
    Case { what: "a webhook that is stored", sent: WEBHOOK, ..STORED },
    Case { what: "an event that is stored", sent: EVENT, writes: 4, reads: 5, ..STORED },
    Case { what: "a callback that is stored", sent: CALLBACK, writes: 4, reads: 5, ..STORED },
    // Its record goes when the engine has it.
    Case { what: "a webhook that asks not to wait", sent: ASYNC, engine: None, deletes: 1, ..STORED },
    // The flag goes, so that it may come again.
    Case {
        what: "an event that is refused",
        sent: EVENT,
        engine: Some(409),
        status: 409,
        deletes: 1,
        writes: 2,
        ..FIRST
    },
];

impl Sent {
    async fn by(self, setup: &Setup, run: &str, n: usize) -> crate::setup::Reply {
        let fill = |text: &str| text.replace("RUN", run).replace('N', &n.to_string());
        let header = fill(self.header.1);
        setup.send("POST", &fill(self.path), &[JSON, (self.header.0, &header)], fill(self.body)).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_path_costs_what_the_table_says() {
    for case in CASES {
        let setup = Setup::new().await;
        let run = setup.engine.wait("release", "t");
        // From now on nobody scans the keys for 15 minutes, unless there is a hint.
        setup.drain().await;
        if let Some(before) = case.before {
            for n in 0..TIMES {
                assert_eq!(before.by(&setup, &run, n).await.status, 200);
            }
        }
        let setup = setup.restart().await;
        if let Some(status) = case.engine {
            setup.engine.script().always(Behaviour::status(status));
        }
        let mut looks = 0;
        for n in 0..TIMES {
            let reply = case.sent.by(&setup, &run, n).await;
            assert_eq!(reply.status, case.status, "{}: {}", case.what, reply.text());
            looks += u64::from(reply.is_sampled());
        }

        // It ends when all work after the answers is done.
        let counted = setup.host.key_value().clone();
        setup.host.stop().await;
        let Counts { opens, gets, sets, deletes, exists, get_keys } = counted.snapshot();
        let times = TIMES as u64;
        // A look reads the hint, and when the keys were last scanned.
        let counts = (sets - u64::from(case.status == 202), gets + exists - 2 * looks, deletes, get_keys);
        assert_eq!(counts, (case.writes * times, case.reads * times, case.deletes * times, 0), "{}", case.what);
        let uses = case.writes + case.reads + case.deletes > 0;
        assert_eq!(opens, if uses { times } else { looks }, "{}: a request opens the store at most once", case.what);
    }
}
