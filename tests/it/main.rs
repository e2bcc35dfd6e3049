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
mod callbacks;
mod contract;
mod docs;
mod engine_answers;
mod fake;
mod layering;
mod operations;
mod refusals;
mod vectors;
