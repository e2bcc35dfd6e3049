//! The laws: what holds whatever comes. Each is `law(data)`, which panics where it doesn't; libFuzzer calls it
//! (`fuzz/targets`), and so do native tests with the seeds and what is made of them (`tests/it/fuzz_properties.rs`).

pub mod batch;
pub mod binary;
pub mod callback_query;
pub mod challenge;
pub mod descriptor;
pub mod form;
pub mod links;
pub mod signature_ed25519;
pub mod signature_list;
pub mod signature_pairs;
pub mod signature_single;
pub mod stored;
pub mod structured;
mod support;
