//! Sluice: a webhook and event gateway in front of a workflow engine, as one WebAssembly component for Spin.
//!
//! It verifies the sender of each request, accepts each event once, and starts or resumes workflow runs by outbound
//! HTTP. A delivery that the engine can't accept now is stored and retried. The core is pure: it has no clock, socket
//! or random number generator. `now` is an argument, and everything else comes through the traits of [`ports`].
//!
//! # Layers
//!
//! From the ground up. A layer names only layers below it; `tests/it/layering.rs` reads this table and enforces the
//! rule. Pure layers don't call the host; generic ones call it through the traits of [`ports`].
//!
//! | Layer | Contents | |
//! |---|---|---|
//! | [`time`] | points in time, retention windows | pure |
//! | [`json`] | JSON that passes through byte for byte | pure |
//! | [`secret`] | tokens and signing secrets | pure |
//! | [`reference`](mod@reference) | what a sender may name: a workflow, a run, a topic | pure |
//! | [`event`] | CloudEvents: structured, binary, batched | pure |
//! | [`sender`] | webhook senders: descriptors, presets, verification, challenges | pure |
//! | [`source`] | sources: the senders that may deliver, with the workflows and callbacks of each | pure |
//! | [`callback`] | callbacks, their stored form, signed links | pure |
//! | [`delivery`] | a delivery: identity, retry schedule, outcome, stored form, filters | pure |
//! | [`engine`] | engine profiles: the requests to an engine, and the meaning of its responses | pure |
//! | [`routing`] | routes: filters and params | pure |
//! | [`ports`] | the interfaces of the host | traits |
//! | [`store`] | claims and the outbox, over the host's store | generic |
//! | [`config`] | variables → checked settings | generic |
//! | [`gateway`] | the use cases: accepting, draining, operator requests | generic |
//! | [`api`] | HTTP endpoints, problems, the console | generic |
//! | `spin` | the shell: it implements the ports in Spin | Spin only |
//!
//! # A whole request
//!
//! A webhook for an engine that can't be reached: the delivery is stored, and the sender gets a 202.
//!
//! ```
//! use http::{Request, StatusCode};
//! use sluice::api;
//! use sluice::ports::memory::{Memory, WholeBody};
//!
//! // The variables, with the defaults of spin.toml.
//! let manifest: toml::Table = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/spin.toml")).parse()?;
//! let variables = manifest["variables"].as_table().into_iter().flatten();
//! let defaults = variables.filter_map(|(name, variable)| Some((name.as_str(), variable["default"].as_str()?)));
//! let host = Memory::new(defaults);
//!
//! let request = Request::post("/api/v2/webhook?ref=deploy")
//!     .header("content-type", "application/json")
//!     .body(WholeBody::new(r#"{"order": 7}"#))?;
//! let handled = futures_executor::block_on(api::handle(&host, request));
//! assert_eq!(handled.response.status(), StatusCode::ACCEPTED);
//! assert_eq!(handled.response.headers()["sluice-outcome"], "pending");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::string_slice)]

pub mod api;
pub mod callback;
pub mod config;
pub mod delivery;
pub mod engine;
pub mod event;
pub mod gateway;
pub mod json;
pub mod ports;
pub mod reference;
pub mod routing;
pub mod secret;
pub mod sender;
pub mod source;
pub mod store;
pub mod time;

// Built only for Spin, whose interfaces it calls; clippy and rustdoc check it on every target.
#[cfg(any(target_family = "wasm", clippy, doc))]
mod spin;
