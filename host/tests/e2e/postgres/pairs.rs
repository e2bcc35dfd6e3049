//! Equal deliveries at the same moment, at two hosts over one database: exactly one wins at once, and the others are
//! answered as its duplicates.

use std::collections::BTreeMap;
use std::sync::Arc;

use sluice_host::stand_in::RequestKind;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::server::Database;
use crate::data::{Data, shared_server};
use crate::setup::{HttpClient, JSON, Reply, Setup};

/// Rounds of two, and then rounds of five.
const ROUNDS: [(usize, usize); 2] = [(200, 2), (50, 5)];

/// Two hosts, and their database.
struct Hosts {
    setup: Setup,
    other: sluice_host::Host,
}

impl Hosts {
    async fn start() -> Self {
        let mut setup = Setup::with_data(Data::in_postgres(Database::new(&shared_server())), &[]).await;
        let other = setup.start_another().await;
        Self { setup, other }
    }

    /// Sends a request at the same moment from this number of senders to both hosts.
    async fn send(&self, client: &HttpClient, senders: usize, path: &str, body: &str) -> Vec<Reply> {
        let (start, mut requests) = (Arc::new(Barrier::new(senders)), JoinSet::new());
        for n in 0..senders {
            let host = if n % 2 == 0 { self.setup.host.url() } else { self.other.url() };
            let (client, start) = (client.clone(), start.clone());
            let (url, body) = (format!("{host}{path}"), body.to_owned());
            requests.spawn(async move {
                start.wait().await;
                client.send("POST", &url, &[JSON], body).await.unwrap()
            });
        }
        requests.join_all().await
    }

    /// Asserts that each key is settled, and no connection is in use.
    async fn assert_settled(self, keys: usize) {
        let database = self.setup.data.postgres().unwrap();
        let rows = database.psql("SELECT state, count(*) FROM sluice_delivery GROUP BY state");
        assert_eq!(rows, format!("delivered|{keys}"));
        for host in [self.setup.host, self.other] {
            assert_eq!((host.postgres().counts().open, host.postgres().counts().calls_while_open), (0, 0));
            host.stop().await;
        }
    }
}

/// Asserts that one of these won, and that the others repeat its response.
fn assert_one_winner(replies: &[Reply]) {
    let (winners, others): (Vec<_>, Vec<_>) =
        replies.iter().partition(|reply| reply.header("sluice-outcome") == Some("delivered"));
    let [winner] = winners[..] else { panic!("{} winners: {replies:?}", winners.len()) };
    winner.assert_ok("delivered");
    for other in others {
        other.assert_ok("duplicate");
        assert_eq!((other.delivery(), other.text()), (winner.delivery(), winner.text()), "{replies:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn equal_events_at_two_hosts_have_one_winner_at_once() {
    let (hosts, client, mut round) = (Hosts::start().await, HttpClient::new(), 0);
    for (rounds, senders) in ROUNDS {
        for _ in 0..rounds {
            round += 1;
            let event = format!(r#"{{"specversion":"1.0","id":"{round}","source":"/s","type":"t"}}"#);
            let path = format!("/api/v2/event?ref=w{round}");
            assert_one_winner(&hosts.send(&client, senders, &path, &event).await);
        }
    }
    let mut runs = BTreeMap::<String, u32>::new();
    for record in hosts.setup.engine.runs() {
        *runs.entry(record.run.workflow_ref).or_default() += 1;
    }
    assert_eq!((runs.len(), runs.values().max()), (round, Some(&1)));
    hosts.assert_settled(round).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs postgresql"]
async fn equal_callbacks_at_two_hosts_have_one_winner_at_once() {
    let (hosts, client, mut round) = (Hosts::start().await, HttpClient::new(), 0);
    for (rounds, senders) in ROUNDS {
        for _ in 0..rounds {
            round += 1;
            let run = hosts.setup.engine.wait("release", "t").unwrap();
            let path = format!("/api/v2/callback?ref={run}&topic=t");
            assert_one_winner(&hosts.send(&client, senders, &path, "{}").await);
        }
    }
    assert_eq!(hosts.setup.requests(RequestKind::Event), round);
    hosts.assert_settled(round).await;
}
