//! Faults on order: what the next engine requests meet, and what all of them meet.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use serde::Deserialize;

use super::state::State;

/// The engine's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `POST /api/v1/workflow/{ref}/submit`
    Submit,
    /// `PUT /api/v1/workflowrun/{ref}/event`
    Event,
    /// `GET /api/v1/workflowrun/query`
    Query,
}

/// What happens to a request instead of, or around, the normal answer. In JSON: `{"do":"status","code":503}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Behaviour {
    /// This answer; the request isn't acted on.
    Status {
        /// The status code.
        code: u16,
        /// The body; empty without one.
        #[serde(default)]
        body: Option<String>,
        /// The header `Retry-After`.
        #[serde(default)]
        retry_after: Option<String>,
        /// More headers.
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    /// Acts and answers after so many milliseconds; it acts even if the client has gone by then.
    Delay {
        /// The milliseconds.
        ms: u64,
    },
    /// Never answers and never acts.
    Hang,
    /// Closes the connection; the request isn't acted on.
    CutBefore,
    /// Acts, then closes the connection without an answer.
    CutAfterActing,
    /// Acts, answers with a head alone that announced a body, then closes the connection.
    CutAfterHead,
    /// Acts, answers with half of the body that its head announced, then closes the connection.
    CutMidBody,
    /// 200 with a body that says that it is JSON and isn't; the request isn't acted on.
    Garbage,
    /// 200 with a login page, as a proxy gives it; the request isn't acted on.
    Html,
    /// 302 to a login page; the request isn't acted on.
    Redirect,
}

impl Behaviour {
    /// An empty answer with this status.
    pub fn status(code: u16) -> Behaviour {
        Behaviour::Status { code, body: None, retry_after: None, headers: Vec::new() }
    }

    /// The same, with a `Retry-After`.
    pub fn retry_after(code: u16, after: impl Into<String>) -> Behaviour {
        Behaviour::Status { code, body: None, retry_after: Some(after.into()), headers: Vec::new() }
    }
}

/// A behaviour and the requests that it is for: all without `on`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Line {
    #[serde(default)]
    on: Option<Kind>,
    #[serde(flatten)]
    behaviour: Behaviour,
}

impl Line {
    fn is_for(&self, kind: Option<Kind>) -> bool {
        self.on.is_none() || self.on == kind
    }
}

/// All that is on order.
#[derive(Debug, Default)]
pub(super) struct Orders {
    next: VecDeque<Line>,
    always: Vec<Line>,
    pub(super) unknown_workflows: BTreeSet<String>,
}

impl Orders {
    /// The behaviour for this request: the first of the queue that is for it, else the standing one.
    pub(super) fn take(&mut self, kind: Option<Kind>) -> Option<Behaviour> {
        if let Some(at) = self.next.iter().position(|line| line.is_for(kind)) {
            return self.next.remove(at).map(|line| line.behaviour);
        }
        self.always.iter().find(|line| line.is_for(kind)).map(|line| line.behaviour.clone())
    }

    pub(super) fn add(&mut self, more: More) {
        self.next.extend(more.next);
        for line in more.always {
            self.stand(line);
        }
        self.unknown_workflows.extend(more.unknown_workflows);
    }

    /// One standing behaviour for each kind, and one for all.
    fn stand(&mut self, line: Line) {
        self.always.retain(|old| old.on != line.on);
        self.always.push(line);
        // Those for one kind first.
        self.always.sort_by_key(|line| line.on.is_none());
    }
}

/// The body of `POST /stand-in/script`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct More {
    #[serde(default)]
    next: Vec<Line>,
    #[serde(default)]
    always: Vec<Line>,
    #[serde(default)]
    unknown_workflows: Vec<String>,
}

/// The script of a running stand-in.
#[derive(Clone, Debug)]
pub struct Script(pub(super) Arc<State>);

impl Script {
    /// Queues a behaviour for the next request that nothing queued earlier is for.
    pub fn next(&self, behaviour: Behaviour) -> &Script {
        self.queue(None, behaviour)
    }

    /// The same, for the next request of this kind.
    pub fn next_on(&self, kind: Kind, behaviour: Behaviour) -> &Script {
        self.queue(Some(kind), behaviour)
    }

    /// Makes a behaviour the standing one, in place of the former.
    pub fn always(&self, behaviour: Behaviour) -> &Script {
        self.0.lock().orders.stand(Line { on: None, behaviour });
        self
    }

    /// The same, for requests of this kind.
    pub fn always_on(&self, kind: Kind, behaviour: Behaviour) -> &Script {
        self.0.lock().orders.stand(Line { on: Some(kind), behaviour });
        self
    }

    /// Makes a workflow unknown to the engine.
    pub fn unknown_workflow(&self, workflow: impl Into<String>) -> &Script {
        self.0.lock().orders.unknown_workflows.insert(workflow.into());
        self
    }

    /// Drops all that is on order: from now on the engine is well.
    pub fn clear(&self) {
        self.0.lock().orders = Orders::default();
    }

    fn queue(&self, on: Option<Kind>, behaviour: Behaviour) -> &Script {
        self.0.lock().orders.next.push_back(Line { on, behaviour });
        self
    }
}
