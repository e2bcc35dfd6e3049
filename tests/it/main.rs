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

#[macro_use]
extern crate sluice_test_macros;

mod alerts;
mod ambiguous_outcomes;
mod batches;
mod brokers;
mod callbacks;
mod cesql;
mod console;
mod console_state;
mod contract;
mod cost;
mod deliveries;
mod docs;
mod doubt;
mod drain_scheduling;
mod drains;
mod duplicates;
mod engine_answers;
mod engine_settings;
mod fail_over;
mod fake;
mod fuzz_properties;
mod handshake;
mod health_and_log;
mod interleavings;
mod keys;
mod late_outcomes;
mod layering;
mod links;
mod metrics;
mod moves;
mod openapi;
mod operator;
mod ordered;
mod orphans;
mod outage;
mod postgres_differences;
mod postgres_rules;
mod preferences;
mod preflight;
mod profiles;
mod properties;
mod real_flow;
mod recorded;
mod refusals;
mod repair;
mod replays;
mod reported_sources;
mod reports;
mod routed;
mod routes;
mod samples;
mod scopes;
mod sender_protocols;
mod senders;
mod simulated_database;
mod snapshots;
mod sources;
mod statements;
mod store_faults;
#[path = "../support/tables/mod.rs"]
#[allow(dead_code, reason = "tests/postgres uses the rest")]
mod tables;
mod trust;
mod vectors;
mod waits;
mod weeks;
