//! The model against the recordings, and against its own promises.
#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod agent;
mod crashes;
mod flow;
mod graphs;
mod properties;
mod recordings;
mod requests;
mod stalls;
mod state;
mod support;
mod timeouts;
mod windows;
mod writes;
