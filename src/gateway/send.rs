//! Requests to the engine.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use http::{HeaderMap, Request, Response, StatusCode};

use super::{Gateway, store_of};
use crate::delivery::{Delivery, FoundRun, RunView, Verdict, WaitState, Work};
use crate::engine::{Engine, Login, Names, Operation, RequestError, Session};
use crate::ports::{Host, SendError, Timeouts};
use crate::store::{NoteKind, SourceNotes as _};
use crate::time::Timestamp;

/// The age from which a token that the engine refuses is replaced by a new one. A younger one would be refused again.
const SESSION_IS_OLD: Duration = Duration::from_secs(10);

/// The result of a request.
pub(super) struct Sent {
    /// The engine's status, if it responded.
    pub(super) engine_status: Option<StatusCode>,
    pub(super) verdict: Verdict,
}

impl From<Verdict> for Sent {
    fn from(verdict: Verdict) -> Self {
        Self { engine_status: None, verdict }
    }
}

/// A request in progress. It doesn't borrow from its delivery, so it can outlive the sender's wait.
pub(super) type Sending<'a> = Pin<Box<dyn Future<Output = Sent> + 'a>>;

/// Calls the engine, with its token.
#[derive(Debug)]
pub(super) struct Caller<'a, H> {
    host: &'a H,
    engine: Engine<'a>,
    timeouts: Timeouts,
    /// The token that a login has returned.
    session: Rc<RefCell<Option<Session>>>,
}

impl<H> Clone for Caller<'_, H> {
    fn clone(&self) -> Self {
        Self {
            host: self.host,
            engine: self.engine.clone(),
            timeouts: self.timeouts,
            session: Rc::clone(&self.session),
        }
    }
}

impl<'a, H> Caller<'a, H> {
    /// A caller of an engine.
    pub(super) fn new(host: &'a H, engine: Engine<'a>, timeouts: Timeouts) -> Self {
        Self { host, engine, timeouts, session: Rc::default() }
    }
}

impl<H: Host> Caller<'_, H> {
    /// Sends a request. An error says why there is no response to it.
    async fn call(&self, mut request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, Verdict> {
        let Some(login) = self.engine.login() else {
            self.engine.authorize(&mut request, None)?;
            return Ok(self.host.send(request, self.timeouts).await?);
        };
        let session = self.session(&login).await?;
        self.engine.authorize(&mut request, Some(&session))?;
        let response = self.host.send(request.clone(), self.timeouts).await?;
        let is_refused = matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if !is_refused || self.host.now().since(session.issued()) < SESSION_IS_OLD {
            return Ok(response);
        }
        // The engine has not acted: it has refused the token.
        let session = self.log_in(&login).await?;
        self.engine.authorize(&mut request, Some(&session))?;
        Ok(self.host.send(request, self.timeouts).await?)
    }

    /// Returns a token that is valid for a while: from this instance, from the store, or by a login.
    async fn session(&self, login: &Login) -> Result<Session, Verdict> {
        let now = self.host.now();
        let is_valid = |session: &Session| login.accepts(session, now);
        if let Some(session) = self.session.borrow().clone().filter(is_valid) {
            return Ok(session);
        }
        // Without the store, this is a login more.
        let stored = store_of(self.host).source_note(NoteKind::Session, Session::NAME).await.ok().flatten();
        match stored.and_then(|text| Session::read(&text)).filter(is_valid) {
            Some(session) => {
                *self.session.borrow_mut() = Some(session.clone());
                Ok(session)
            }
            None => self.log_in(login).await,
        }
    }

    /// Exchanges user and password for a token, and stores it.
    async fn log_in(&self, login: &Login) -> Result<Session, Verdict> {
        let result = match self.host.send(self.engine.login_request(login)?, self.timeouts).await {
            Ok(response) => self.engine.read_login(login, response, self.host.now()),
            Err(error) => Err(error.into()),
        };
        let session = result.map_err(|verdict| match verdict {
            // Only the login may have had an effect: the request was not sent.
            Verdict::Unclear { reason, after, .. } => {
                Verdict::Retry { reason: format!("the login failed: {reason}"), after }
            }
            Verdict::Unreachable { reason } => Verdict::Unreachable { reason },
            Verdict::Retry { reason, after } => Verdict::Retry { reason: format!("the login failed: {reason}"), after },
            verdict => Verdict::Misconfigured { reason: format!("the login failed: {verdict}") },
        })?;
        let store = store_of(self.host);
        // If this fails, the next instance logs in as well.
        let _: Result<(), _> = store.write_source_note(NoteKind::Session, Session::NAME, &session.to_json()).await;
        *self.session.borrow_mut() = Some(session.clone());
        Ok(session)
    }

    /// Sends the request for a delivery, and reads its response.
    async fn send(&self, operation: Operation, names: &Names, request: Request<Vec<u8>>, trace: &HeaderMap) -> Sent {
        let response = match self.call(request).await {
            Ok(response) => response,
            Err(verdict) => return verdict.into(),
        };
        let status = response.status();
        let verdict = match self.engine.read(operation, names, response, self.now()) {
            Verdict::Existing { body: None } if operation == Operation::Start => {
                self.confirm_existing(names, status, trace).await
            }
            verdict => verdict,
        };
        Sent { engine_status: Some(status), verdict }
    }

    /// Looks up the run that the engine says it has started before. Its word alone never counts: the same status may
    /// mean that a quota is used up, or that something else has this name.
    async fn confirm_existing(&self, names: &Names, status: StatusCode, trace: &HeaderMap) -> Verdict {
        let unclear = |flaw: String| Verdict::Unclear {
            reason: format!("the engine answered {}, {flaw}", status.as_u16()),
            after: None,
            concluded: true,
        };
        match self.find(names, trace).await {
            Ok(runs) => match runs.into_iter().next() {
                Some(run) => Verdict::Accepted { body: run.body },
                None => unclear("as for a run that it has, but does not show it".to_owned()),
            },
            Err(verdict) => unclear(format!("as for a run that it has, and the lookup failed: {verdict}")),
        }
    }

    /// Looks up the runs of a start, oldest first. Returns a verdict if they are unknown.
    async fn find(&self, names: &Names, trace: &HeaderMap) -> Result<Vec<FoundRun>, Verdict> {
        let request = self.engine.find(names, trace)?.ok_or(RequestError)?;
        self.engine.read_found(names, self.call(request).await?, self.now())
    }

    fn now(&self) -> Timestamp {
        self.host.now()
    }
}

impl<'a, H: Host> Gateway<'a, H> {
    /// Sends a delivery. Nothing is sent before the future is polled.
    pub(super) fn send(&self, delivery: &Delivery<'_>) -> Sending<'a> {
        let (caller, operation) = (self.caller.clone(), Operation::of(&delivery.work));
        let engine = &self.settings.engine;
        let prepared = engine.names(delivery).and_then(|names| Ok((engine.request_with(delivery, &names)?, names)));
        let trace = delivery.trace.clone();
        Box::pin(async move {
            match prepared {
                Ok((request, names)) => caller.send(operation, &names, request, &trace).await,
                Err(error) => Verdict::from(error).into(),
            }
        })
    }

    /// Sends a request that isn't a delivery.
    pub(super) async fn call(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, Verdict> {
        self.caller.call(request).await
    }

    /// Looks up the runs of a start at the engine, oldest first. Returns a verdict if they are unknown.
    pub(super) async fn find_runs(&self, delivery: &Delivery<'_>) -> Result<Vec<FoundRun>, Verdict> {
        self.caller.find(&self.settings.engine.names(delivery)?, &delivery.trace).await
    }

    /// Looks at a run in one scope, or at a topic in it.
    pub(super) async fn look_in(
        &self,
        run: &str,
        topic: Option<&str>,
        scope: Option<&str>,
        trace: &HeaderMap,
    ) -> Result<RunView, Verdict> {
        let engine = &self.settings.engine;
        let request = engine.look(run, topic, scope, trace)?.ok_or(RequestError)?;
        let seen = engine.read_look(run, topic, self.call(request).await?, self.now());
        let is_open = match &seen {
            Ok(view) => view.waits.iter().all(|wait| wait.state == WaitState::Ahead),
            Err(verdict) => matches!(verdict, Verdict::UnknownRun { .. }),
        };
        if topic.is_none() || !is_open || !engine.looks_at_runs_apart() {
            return seen;
        }
        // The run may have ended without it.
        let request = engine.look(run, None, scope, trace)?.ok_or(RequestError)?;
        let run = engine.read_look(run, None, self.call(request).await?, self.now())?;
        let ended = RunView { waits: Vec::new(), ..run };
        if ended.state.is_final() { Ok(ended) } else { seen.or(Ok(RunView { has_tasks: false, ..ended })) }
    }

    /// Asks the engine whether a callback whose answer is its proof may be sent to a run, if the profile says how.
    pub(super) async fn look_before(&self, delivery: &Delivery<'_>, topic: &str) -> Result<(), Verdict> {
        let (engine, run) = (&self.settings.engine, delivery.work.reference());
        let Some(request) = engine.look(run, Some(topic), None, &delivery.trace)? else { return Ok(()) };
        engine.read_look_before(run, topic, self.call(request).await?, self.now())
    }

    /// Requests that a run of a start is cancelled. Only a lookup shows whether it was: the engine can answer 500 and
    /// cancel the run all the same.
    pub(super) async fn cancel(&self, delivery: &Delivery<'_>, run: &str) {
        let engine = &self.settings.engine;
        if let Ok(Some(request)) = engine.cancel(run, self.scope_of(delivery).as_deref(), &delivery.trace) {
            let _: Result<_, Verdict> = self.call(request).await;
        }
    }

    /// Returns the scope of a start's workflow, such as a team.
    pub(super) fn scope_of(&self, delivery: &Delivery<'_>) -> Option<String> {
        match &delivery.work {
            Work::Start(start) => self.settings.engine.scope_of(&start.workflow),
            Work::Resolve(_) => None,
        }
    }
}

impl From<SendError> for Verdict {
    fn from(error: SendError) -> Self {
        let reason = error.to_string();
        match error {
            SendError::NotSent(_) => Self::Unreachable { reason },
            SendError::NoResponse(_) => Self::Unclear { reason, after: None, concluded: false },
            SendError::Denied(_) => Self::Misconfigured { reason },
        }
    }
}

impl From<RequestError> for Verdict {
    fn from(error: RequestError) -> Self {
        Self::Misconfigured { reason: error.to_string() }
    }
}
