//! A model of the Boomerang services, as the recorded exchanges with the real ones show them.
//!
//! [`Model::handle`] answers HTTP requests as engine 1.0.0 and Flow 4.0.0 do, faults included: the same paths,
//! statuses, bodies and errors, and the same states of runs afterwards. The exchanges in `vectors/` are replayed by its
//! tests.
//!
//! The model is a value. It has no clock, no threads and no randomness of its own: the time is an argument, and random
//! choices come from [`Settings::seed`]. Models that get the same requests at the same times stay equal, and a model
//! can be serialised.
//!
//! ```
//! use http::Request;
//! use sluice_engine_model::{Catalogue, Model, Services, Settings, Status};
//!
//! let mut engine = Model::new(Services::Engine, Catalogue::recorded(), Settings::default());
//! let submit = Request::post("/api/v1/workflow/6b08ce3a2bb126dc8dc5a8a6/submit?start=true")
//!     .header("content-type", "application/json")
//!     .body(br#"{"trigger":"webhook","params":[{"name":"data","value":{"ref":"A-1","amount":12}}]}"#.to_vec())?;
//! assert_eq!(engine.handle(0, submit).status(), 200);
//!
//! // A task of the run waits for an event after about 280 milliseconds.
//! engine.advance(1_000);
//! let record = engine.runs().next().unwrap();
//! assert_eq!(record.task("approve").unwrap().status, Status::Waiting);
//! // The payload has become Java's text.
//! assert_eq!(record.run.params[0].value.as_text(), Some("{ref=A-1, amount=12}"));
//! # Ok::<(), http::Error>(())
//! ```
//!
//! # Scope
//!
//! - At the engine: submit, start, retry, cancel, finalize, events, look-ups and looks, one workflow, one task.
//! - At Flow, with a team's token or a user's password: submit, look-up, look, start, cancel and retry of a team's
//!   runs, one workflow, and callbacks. Its webhook, event and internal endpoints fail, as they do on a fresh
//!   installation.
//! - Tasks of the types [`TaskType`], with the graph's conditions; params and references ([`Param`]).
//! - Races between the engine's threads: [`Timing`] has the windows in which events are lost.
//! - Crashes of either process after each of its writes: [`crash`]. Stalls at the writes of a submit or cancel:
//!   [`Model::stall_at`].
//! - Time-outs, and the retries that follow them.
//! - An [`Agent`], if there is one.
//!
//! Locks, schedules, quotas, conditions of triggers, and Flow's handling of Slack and GitHub are not modelled. An
//! endpoint that only the engine has is answered 501.

pub mod catalogue;
mod chance;
pub mod crash;
mod engine;
mod fault;
mod flow;
mod incoming;
pub mod json;
mod log;
mod model;
mod params;
mod reply;
pub mod run;
mod settings;
mod stall;
mod work;

pub use catalogue::{Catalogue, Task, TaskType, Workflow};
pub use crash::{NoAnswer, Process, Step};
pub use json::Json;
pub use model::{Model, Services};
pub use params::{Kind, Param};
pub use run::{Phase, Record, Run, RunResult, Status, TaskRun};
pub use settings::{Agent, Database, FlowSettings, Settings, Span, Timing};
pub use stall::Ticket;
