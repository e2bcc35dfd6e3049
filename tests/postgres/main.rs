//! The laws of the PostgreSQL backend's statements, on a real PostgreSQL and on the model of `tests/support/tables`.
//!
//! `cargo test` runs them on the model. `cargo xtask test --step postgres` runs them on a server of its own, too: there,
//! `SLUICE_TEST_POSTGRES` is the URL of one on which they may create databases.
//!
//! ```sh
//! SLUICE_TEST_POSTGRES=postgres://postgres@127.0.0.1:5432/postgres cargo test --test postgres -- --include-ignored
//! ```
//!
//! Each test has a database of its own, with a clock that only the test moves.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    unreachable_pub,
    reason = "a test says what is wrong by failing"
)]

mod callbacks;
mod claims;
mod differential;
mod drains;
mod kept;
mod model;
mod mutations;
mod operator;
mod plans;
mod races;
mod server;
mod session;
mod sweeps;
#[path = "../support/tables/mod.rs"]
#[allow(dead_code, reason = "tests/it uses the rest")]
mod tables;
mod under_way;
