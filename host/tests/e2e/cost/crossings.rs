//! The cost of each path in calls from the component into its host: the table in "Calls into the host" of
//! docs/reliability.md.

use std::cmp::Reverse;
use std::fmt::Write;

use sluice_host::spin::costs::Costs;
use sluice_host::spin::crossings::Crossings;
use sluice_host::stand_in::Behaviour;

use super::{CALLBACK, EVENT, NO_HEADER, REQUESTS, Template};
use crate::setup::{Setup, eventually, root};

/// A sender that signs, and a token for the paths without a source.
const SOURCES: &[(&str, &str)] = &[
    ("access_tokens", "t0ken"),
    ("sources", r#"[{"name":"acme","sender":{"algorithm":"hmac-sha256","headers":["x-sig"]},"secrets":["s3cret"]}]"#),
];

/// About 1 KB.
const WEBHOOK: Template = Template { body: r#"{"a":"PAD"}"#, ..super::WEBHOOK };
/// HMAC-SHA256 of the body with the source's secret.
const SIGNATURE: &str = "2bd02f723fd97dee927f1902e0fe381aa7595289c05ce846b96b5b451f01f239";
const SIGNED: Template = Template { header: ("x-sig", SIGNATURE), ..WEBHOOK };
const HEALTH: Template = Template { method: "GET", path: "/healthz", header: NO_HEADER, body: "" };

struct Case {
    /// The first cell of the row.
    path: &'static str,
    variables: &'static [(&'static str, &'static str)],
    /// Sent before the counted requests.
    before: Option<Template>,
    counted: Template,
    /// The status of the engine's responses; `None` if it works normally.
    engine: Option<u16>,
    /// The expected status.
    status: u16,
}

const PLAIN: Case =
    Case { path: "webhook, 1 KB", variables: &[], before: None, counted: WEBHOOK, engine: None, status: 200 };

const CASES: [Case; 8] = [
    PLAIN,
    Case { path: "webhook, 1 KB, signed", variables: SOURCES, counted: SIGNED, ..PLAIN },
    Case { path: "event, first time", counted: EVENT, ..PLAIN },
    Case { path: "event, repeated", before: Some(EVENT), counted: EVENT, ..PLAIN },
    Case { path: "callback, first time", counted: CALLBACK, ..PLAIN },
    Case { path: "webhook, 1 KB, stored because the engine answers 503", engine: Some(503), status: 202, ..PLAIN },
    Case { path: "webhook, 1 KB, refused for want of a signature", variables: SOURCES, status: 401, ..PLAIN },
    Case { path: "`/healthz`", counted: HEALTH, ..PLAIN },
];

/// The request with the fewest crossings. Others have a few more, where the component waited for a part of a body, or
/// looked for stored deliveries after its response.
async fn fewest(case: &Case, costs: Costs) -> Crossings {
    let setup = Setup::with_variables(case.variables).await;
    let runs = [(); REQUESTS].map(|()| setup.engine.wait("release", "t").unwrap());
    // After a drain, the keys aren't listed again for 15 minutes unless there is a drain notification.
    setup.drain().await;
    if let Some(before) = case.before {
        for (n, run) in runs.iter().enumerate() {
            before.send(&setup, run, n).await.in_case(case.path).assert_status(200);
        }
    }
    let setup = setup.restart_counting_crossings(costs).await;
    if let Some(status) = case.engine {
        setup.engine.script().always(Behaviour::status(status));
    }
    for (n, run) in runs.iter().enumerate() {
        case.counted.send(&setup, run, n).await.in_case(case.path).assert_status(case.status);
    }
    let mut counted = Vec::new();
    eventually("the instances have ended", async || {
        counted.extend(setup.host.take_crossings());
        (counted.len() == REQUESTS).then_some(())
    })
    .await;
    if costs.log_files {
        let log = std::fs::read_to_string(setup.data.state_dir().join("logs/sluice_stdout.txt")).unwrap();
        assert_eq!(log.lines().count(), REQUESTS, "{log}");
    }
    // Of several with as many crossings, the one with the most imports: `tracing` misses the first call of an import if
    // another test makes a subscriber at the same moment.
    let imports = |crossings: &Crossings| crossings.imports.values().sum::<u64>();
    counted.into_iter().min_by_key(|crossings| (crossings.total, Reverse(imports(crossings)))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_call_the_host_as_often_as_the_documented_table_says() {
    let document = std::fs::read_to_string(root().join("docs/reliability.md")).unwrap();
    let rows = document.lines().skip_while(|line| !line.starts_with("| Path | Imports called |")).skip(2);
    let documented: Vec<_> = rows.take_while(|line| line.starts_with('|')).collect();

    let mut measured = Vec::new();
    let mut by_name = String::new();
    for case in CASES {
        let Crossings { total, imports } = fewest(&case, Costs::default()).await;
        measured.push(format!("| {} | {} | {total} |", case.path, imports.values().sum::<u64>()));
        writeln!(by_name, "{}:", case.path).unwrap();
        for (name, calls) in imports {
            writeln!(by_name, "{calls:4} {name}").unwrap();
        }
    }
    assert_eq!(documented, measured, "{by_name}");
}

/// Those of Spin's costs that aren't for the whole process.
#[tokio::test(flavor = "multi_thread")]
async fn spins_costs_change_neither_answers_nor_calls() {
    let costs = Costs { spans: false, ..Costs::ALL };
    assert_eq!(fewest(&PLAIN, costs).await, fewest(&PLAIN, Costs::default()).await);
}
