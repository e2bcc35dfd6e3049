//! Every recorded exchange, replayed.
//!
//! [`situations`] says for each entry in which state the run was that its request names; [`replay`] brings the model
//! there, sends the request, and compares status, content type and body. The look of `then` was taken at some later
//! time, so the model has to come to the same state by itself. Ids and times are compared by their place, not by their
//! value.

mod compare;
mod replay;
mod situations;

use replay::Replay;
use sluice_engine_model::{Database, Settings};

/// Entries that the model doesn't reproduce, and why.
const NOT_REPRODUCED: [(&str, &str, &str); 0] = [];

fn replay() -> Replay {
    Replay::new(Settings { database: Database::FerretDb, ..Settings::default() })
}

#[test]
fn submits() {
    replay().file("submit.json", include_str!("../../../vectors/submit.json"), 16);
}

/// Look-ups find a run that an entry of `event.json` has made.
#[test]
fn events_and_queries() {
    let mut replay = replay();
    replay.file("event.json", include_str!("../../../vectors/event.json"), 17);
    replay.file("query.json", include_str!("../../../vectors/query.json"), 8);
}

#[test]
fn payloads() {
    replay().file("payload.json", include_str!("../../../vectors/payload.json"), 22);
}

#[test]
fn orphans() {
    replay().file("orphan.json", include_str!("../../../vectors/orphan.json"), 4);
}

#[test]
fn flow_api() {
    replay().file("flow-api.json", include_str!("../../../vectors/flow-api.json"), 31);
}
