//! Scripted behaviour of the services, for the next requests or for all of them.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use hyper::Method;
use serde::Deserialize;

use super::state::State;

/// The kind of a request, at the engine or at Flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RequestKind {
    /// `POST …/workflow/{ref}/submit`
    Submit,
    /// `PUT …/workflowrun/{ref}/event` at the engine, `…/callback` at Flow
    Event,
    /// `GET …/workflowrun/query`
    Query,
    /// `GET …/workflowrun/{ref}`
    Look,
    /// `DELETE …/workflowrun/{ref}/cancel`
    Cancel,
    /// `GET …/workflow/{ref}` and `GET …/task/{ref}`
    Describe,
}

impl RequestKind {
    /// The kind of a request; `None` for any other path or method.
    pub(super) fn of(method: &Method, path: &str) -> Option<RequestKind> {
        let segments: Vec<_> = path.split('/').collect();
        match (method.as_str(), &segments[..]) {
            ("POST", [.., "workflow", _, "submit"]) => Some(RequestKind::Submit),
            ("PUT", [.., "workflowrun", _, "event"]) | ("GET" | "POST", [.., "callback"]) => Some(RequestKind::Event),
            ("GET", [.., "workflowrun", "query"]) => Some(RequestKind::Query),
            ("GET", [.., "workflowrun", _]) => Some(RequestKind::Look),
            ("DELETE", [.., "workflowrun", _, "cancel"]) => Some(RequestKind::Cancel),
            ("GET", [.., "workflow" | "task", _]) => Some(RequestKind::Describe),
            _ => None,
        }
    }
}

/// The behaviour that replaces or modifies the normal response. In JSON: `{"do":"status","code":503}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Behaviour {
    /// Sends this response without processing the request.
    Status {
        /// The status code.
        code: u16,
        /// The body; empty by default.
        #[serde(default)]
        body: Option<String>,
        /// The value of `Retry-After`, if any.
        #[serde(default)]
        retry_after: Option<String>,
        /// Additional headers.
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    /// Processes the request and responds after a delay. The request is processed even if the client disconnects.
    Delay {
        /// The delay in milliseconds.
        ms: u64,
    },
    /// Never processes the request and never responds.
    Hang,
    /// Closes the connection without processing the request.
    CutBefore,
    /// Processes the request, then closes the connection without a response.
    CutAfterActing,
    /// Processes the request, sends the response's head, then closes the connection before the announced body.
    CutAfterHead,
    /// Processes the request, sends the head and half of the announced body, then closes the connection.
    CutMidBody,
    /// Sends a 200 with the content type of JSON and an invalid body, without processing the request.
    Garbage,
    /// Sends a 200 with a login page, as a proxy might, without processing the request.
    Html,
    /// Redirects to a login page with a 302, without processing the request.
    Redirect,
}

impl Behaviour {
    /// An empty response with this status.
    pub fn status(code: u16) -> Behaviour {
        Behaviour::Status { code, body: None, retry_after: None, headers: Vec::new() }
    }

    /// An empty response with this status and a `Retry-After`.
    pub fn retry_after(code: u16, after: impl Into<String>) -> Behaviour {
        Behaviour::Status { code, body: None, retry_after: Some(after.into()), headers: Vec::new() }
    }
}

/// A behaviour and the requests that it applies to.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Rule {
    /// `None` stands for any kind of request.
    #[serde(default)]
    on: Option<RequestKind>,
    #[serde(flatten)]
    behaviour: Behaviour,
}

impl Rule {
    fn applies_to(&self, kind: Option<RequestKind>) -> bool {
        self.on.is_none() || self.on == kind
    }
}

/// The rules of a script.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    /// A queue of rules that apply once.
    next: VecDeque<Rule>,
    /// Permanent rules, at most one per kind and one for any kind, which comes last.
    always: Vec<Rule>,
    pub(super) unknown_workflows: BTreeSet<String>,
}

impl Rules {
    /// The behaviour for a request: that of the first queued rule that applies, which is removed, or else that of the
    /// permanent rule.
    pub(super) fn next_for(&mut self, kind: Option<RequestKind>) -> Option<Behaviour> {
        if let Some(index) = self.next.iter().position(|rule| rule.applies_to(kind)) {
            return self.next.remove(index).map(|rule| rule.behaviour);
        }
        self.always.iter().find(|rule| rule.applies_to(kind)).map(|rule| rule.behaviour.clone())
    }

    pub(super) fn add(&mut self, script: ScriptRequest) {
        self.next.extend(script.next);
        for rule in script.always {
            self.set_always(rule);
        }
        self.unknown_workflows.extend(script.unknown_workflows);
    }

    /// Replaces the permanent rule of the same kind.
    fn set_always(&mut self, rule: Rule) {
        self.always.retain(|old| old.on != rule.on);
        self.always.push(rule);
        self.always.sort_by_key(|rule| rule.on.is_none());
    }
}

/// The body of `POST /stand-in/script`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScriptRequest {
    #[serde(default)]
    next: Vec<Rule>,
    #[serde(default)]
    always: Vec<Rule>,
    #[serde(default)]
    unknown_workflows: Vec<String>,
}

/// The script of a running stand-in.
#[derive(Clone, Debug)]
pub struct Script(pub(super) Arc<State>);

impl Script {
    /// Queues a behaviour for one request of any kind, after the behaviours queued before it.
    pub fn next(&self, behaviour: Behaviour) -> &Script {
        self.queue(None, behaviour)
    }

    /// Queues a behaviour for one request of this kind, after the behaviours queued before it.
    pub fn next_on(&self, kind: RequestKind, behaviour: Behaviour) -> &Script {
        self.queue(Some(kind), behaviour)
    }

    /// Sets the behaviour for all requests without a queued one.
    pub fn always(&self, behaviour: Behaviour) -> &Script {
        self.0.lock().rules.set_always(Rule { on: None, behaviour });
        self
    }

    /// Sets the behaviour for all requests of this kind without a queued one.
    pub fn always_on(&self, kind: RequestKind, behaviour: Behaviour) -> &Script {
        self.0.lock().rules.set_always(Rule { on: Some(kind), behaviour });
        self
    }

    /// Makes a workflow unknown, even if the catalogue has it.
    pub fn unknown_workflow(&self, workflow: impl Into<String>) -> &Script {
        self.0.lock().rules.unknown_workflows.insert(workflow.into());
        self
    }

    /// Removes all behaviours and all unknown workflows.
    pub fn clear(&self) {
        self.0.lock().rules = Rules::default();
    }

    fn queue(&self, on: Option<RequestKind>, behaviour: Behaviour) -> &Script {
        self.0.lock().rules.next.push_back(Rule { on, behaviour });
        self
    }
}
