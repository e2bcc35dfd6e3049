//! The profile of Boomerang Flow v4, for version 1 of its engine's API: `WorkflowControllerV1`,
//! `WorkflowRunControllerV1` and `BoomerangError` in boomerang-io/flow.services.

mod request;
mod response;

use http::{Request, Response};

use super::{Engine, Operation, Profile, RequestError};
use crate::delivery::{Delivery, Verdict};
use crate::time::Timestamp;

/// The label by which the run of a delivery is looked up.
const DELIVERY_LABEL: &str = "sluice.dev/delivery";

/// The profile `boomerang`.
pub(super) struct Boomerang;

impl Profile for Boomerang {
    fn name(&self) -> &'static str {
        "boomerang"
    }

    fn request(&self, engine: &Engine, delivery: &Delivery<'_>) -> Result<Request<Vec<u8>>, RequestError> {
        request::deliver(engine, delivery)
    }

    fn read(&self, operation: Operation, response: Response<Vec<u8>>, now: Timestamp) -> Verdict {
        response::read(operation, response, now)
    }

    fn find(&self, engine: &Engine, label: &str) -> Result<Request<Vec<u8>>, RequestError> {
        request::find(engine, label)
    }

    fn read_found(&self, label: &str, response: Response<Vec<u8>>, now: Timestamp) -> Result<Option<Vec<u8>>, Verdict> {
        response::read_found(label, response, now)
    }

    fn run_id(&self, body: &[u8]) -> Option<String> {
        response::run_id(body)
    }
}
