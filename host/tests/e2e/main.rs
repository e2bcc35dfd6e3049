//! End-to-end tests: the component, built with `cargo xtask build`, in the host with the stand-in engine.
//!
//! The fixture is in `setup` and `data`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    unreachable_pub,
    missing_docs,
    reason = "a test fails by panicking"
)]

mod callbacks;
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
mod orphans;
mod outage;
mod postgres;
mod process;
mod redis;
mod setup;
mod store_faults;
mod world;
