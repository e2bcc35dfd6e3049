//! Sluice: the gate between the outside world and a workflow engine, as one WebAssembly component for Spin.
//!
//! The rooms, from the ground up; a room names only rooms below it (`tests/it/layering.rs` holds the ladder):
//!
//! | Room | What | |
//! |---|---|---|
//! | [`time`] | points in time, windows of retention | pure |
//! | [`json`] | JSON that passes through byte-faithful | pure |
//! | [`secret`] | tokens and signing secrets: compared in one place, never shown | pure |
//! | [`reference`](mod@reference) | what a sender may name: a workflow, a run, a topic | pure |
//! | [`event`] | CloudEvents: structured, binary, batched → `Event` | pure |
//! | [`sender`] | who sends webhooks, and how each signs: descriptor, presets, verification | pure |
//! | [`callback`] | a callback, its stored form and key, signed links | pure |
//! | [`delivery`] | one thing to be brought to the engine: its states, its key, its stored form | pure |
//! | [`routing`] | which workflows an event or a webhook starts, and with which params | pure |
//! | [`engine`] | the engine's requests and answers, a file a profile | pure |
//! | [`ports`] | all that is asked of outside | traits |
//! | [`config`] | variables → checked settings | pure |
//! | [`claim`] | who takes a keyed delivery: the splitter, the drain's lease | over the store |
//! | [`gateway`] | the use cases, generic over ports | |
//! | [`api`] | HTTP: routes, refusals, answers | |
//! | `spin` | the shell: entry, store, outbound HTTP, variables, clock | runs in Spin only |
#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::string_slice)]

pub mod api;
pub mod callback;
pub mod claim;
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
pub mod time;

// It calls its host, so it runs in Spin only; clippy and rustdoc look at it everywhere.
#[cfg(any(target_family = "wasm", clippy, doc))]
mod spin;
