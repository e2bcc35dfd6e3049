//! Properties that hold for arbitrary input.
//!
//! Each module has a function `check(data)`, which panics if the property doesn't hold. libFuzzer calls it through
//! `fuzz/targets`; `tests/it/fuzz_properties.rs` calls it natively, with the seeds and with inputs mutated from them.

pub mod batch;
pub mod binary;
pub mod callback_query;
pub mod descriptor;
pub mod engine_answer;
pub mod expression;
pub mod form;
pub mod links;
pub mod question;
pub mod signature_ed25519;
pub mod signature_list;
pub mod signature_pairs;
pub mod signature_single;
pub mod sources;
pub mod stored;
pub mod structured;
mod support;
