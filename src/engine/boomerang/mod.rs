//! Boomerang Flow v4, its internal API v1: `WorkflowControllerV1`, `WorkflowRunControllerV1` and `BoomerangError` of
//! boomerang-io/flow.services.

mod answer;
mod request;

pub use answer::{Reader, read_found, reader, run_id};
pub use request::{RequestError, bring, find};

/// The label by which the run of a delivery is found again.
pub const DELIVERY_LABEL: &str = "sluice.dev/delivery";
