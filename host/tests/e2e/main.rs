//! End to end: the built component in the host, with the stand-in engine. `cargo xtask build` makes the component.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    missing_docs,
    reason = "a test says what is wrong by failing"
)]

mod cloudevents_sdk;
mod cost;
mod data;
mod deep;
mod double_click;
mod engine_faults;
mod fault_matrix;
mod good_paths;
mod hostile;
mod kill;
mod outage;
mod redis;
mod setup;
mod store_faults;
mod world;
