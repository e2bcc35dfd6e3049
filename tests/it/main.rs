//! Native tests through `api::handle`: a fake store, a scripted engine, time as given. One binary.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    unreachable_pub,
    reason = "a test says what is wrong by failing"
)]

mod anything;
mod batches;
mod brokers;
mod callbacks;
mod console;
mod contract;
mod cost;
mod deliveries;
mod docs;
mod doubt;
mod drains;
mod duplicates;
mod engine_answers;
mod fake;
mod handshake;
mod hints;
mod interleavings;
mod laws;
mod layering;
mod links;
mod manners;
mod openapi;
mod operations;
mod operator;
mod preferences;
mod refusals;
mod routed;
mod routes;
mod senders;
mod store_faults;
mod trust;
mod vectors;
