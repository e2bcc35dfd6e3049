//! The laws of the PostgreSQL backend's statements, against a real PostgreSQL.
//!
//! `cargo xtask test --step postgres` runs them on a server of its own. `cargo test` ignores them, because they need a
//! server: `SLUICE_TEST_POSTGRES` is the URL of one on which they may create databases.
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
mod database;
mod drains;
mod mutations;
mod operator;
mod plans;
mod sweeps;
mod under_way;
