//! The subset of Spin that Sluice needs: the manifest, the HTTP trigger, and the interfaces that a component imports.
//!
//! `runtime` reads the manifest once, at the start. Each request then runs in an instance of its own:
//!
//! ```text
//!  client ──HTTP──▶ trigger ──▶ guest ──▶ component
//!               (route, headers)             │
//!                                            ├──▶ variables
//!                                            ├──▶ key_value ──▶ SQLite or Redis
//!                                            ├──▶ allowed_hosts ──▶ postgres ──▶ PostgreSQL
//!                                            ├──▶ allowed_hosts ──▶ outbound ──HTTP──▶ engine
//!                                            └──▶ logs
//! ```
//!
//! Only this module names wasmtime. Tests reach the running host through [`Host`], which counts store operations,
//! statements and outbound calls, and injects faults into all of them.

mod allowed_hosts;
pub mod component;
pub mod costs;
pub mod crossings;
mod guest;
mod headers;
pub mod key_value;
pub mod logs;
mod manifest;
pub mod outbound;
pub mod postgres;
mod route;
mod runtime;
mod runtime_config;
mod trigger;
mod variables;

pub use runtime::{Builder, Host};
