//! The use cases: start a run, resolve a wait, look a callback up. Generic over the ports, so that they run in Spin and
//! in a test alike.

use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};

use crate::callback::{self, Callback, Record, RecordError, State};
use crate::config::EngineSettings;
use crate::delivery::DeliveryId;
use crate::engine::{Start, Verdict, boomerang};
use crate::ports::{Clock, Outside, SendError, Store, StoreError};
use crate::reference::{RunRef, Topic};
use crate::time::{Retention, Timestamp};

/// What came of a delivery.
#[derive(Debug)]
pub struct Outcome {
    /// Its id.
    pub id: DeliveryId,
    /// What the engine said, where it said something.
    pub engine_status: Option<StatusCode>,
    /// The body for the sender, or why there is none.
    pub result: Result<Vec<u8>, Failure>,
    /// What went wrong beside it, and changes nothing for the sender. For the log.
    pub warning: Option<String>,
}

/// Why the engine has not accepted a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It couldn't be stored, so it was not sent.
    Store(StoreError),
    /// The engine never will: same status to the sender.
    Rejected {
        /// The engine's status.
        status: StatusCode,
        /// The engine's code for the reason.
        reason: Option<String>,
    },
    /// The engine can't be reached, or says later: it has not acted.
    Later {
        /// Where the attempt ended.
        reason: String,
        /// When the engine wants the next.
        retry_after: Option<Duration>,
    },
    /// The engine may have acted.
    Unclear {
        /// Where the attempt ended.
        reason: String,
        /// When the engine wants the next.
        retry_after: Option<Duration>,
    },
    /// Our configuration is at fault, not the sender.
    Misconfigured {
        /// What to look at.
        reason: String,
    },
}

/// Why a stored callback can't be given.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecallError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What it gave is damaged.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Starts a run of a workflow.
pub async fn start(outside: &impl Outside, engine: &EngineSettings, start: &Start<'_>, trace: &HeaderMap) -> Outcome {
    let id = new_id(outside);
    let request = boomerang::submit(&engine.url, start, engine.start, &id.to_string());
    send(outside, engine, id, request, trace, boomerang::read_submit).await
}

/// Resolves the waits of a run. The callback is stored before the engine hears of it.
pub async fn resolve(
    outside: &impl Outside,
    engine: &EngineSettings,
    retention: Retention,
    callback: &Callback<'_>,
    trace: &HeaderMap,
) -> Outcome {
    let id = new_id(outside);
    let now = outside.now();
    let key = callback::key(&callback.run, &callback.topic, retention.window(now));
    let mut record = Record::pending(callback, now);
    let before = match replace(outside, &key, &record).await {
        Ok(before) => before,
        Err(error) => return Outcome { id, engine_status: None, result: Err(Failure::Store(error)), warning: None },
    };

    let request = boomerang::event(&engine.url, callback);
    let mut outcome = send(outside, engine, id, request, trace, boomerang::read_event).await;
    let stored = match &outcome.result {
        Ok(_) => {
            record.state = State::Delivered;
            write(outside, &key, &record).await
        }
        // What is refused is not kept, and doesn't undo what was there.
        Err(Failure::Rejected { .. }) => match before {
            Some(before) => outside.set(&key, &before).await,
            None => outside.delete(&key).await,
        },
        Err(_) => Ok(()),
    };
    outcome.warning = stored.err().map(|error| error.to_string());
    outcome
}

/// The stored callback of a run and a topic.
pub async fn recall(
    outside: &(impl Store + Clock),
    retention: Retention,
    run: &RunRef,
    topic: &Topic,
) -> Result<Option<Record>, RecallError> {
    for window in retention.lookup(outside.now()) {
        if let Some(bytes) = outside.get(&callback::key(run, topic, window)).await? {
            return Ok(Some(Record::from_bytes(&bytes)?));
        }
    }
    Ok(None)
}

fn new_id(clock: &impl Clock) -> DeliveryId {
    DeliveryId::new(clock.now(), clock.entropy())
}

/// Writes a record, and gives what it replaces.
async fn replace(store: &impl Store, key: &str, record: &Record) -> Result<Option<Vec<u8>>, StoreError> {
    let before = store.get(key).await?;
    write(store, key, record).await?;
    Ok(before)
}

async fn write(store: &impl Store, key: &str, record: &Record) -> Result<(), StoreError> {
    let bytes = record.to_bytes().map_err(|e| StoreError(e.to_string()))?;
    store.set(key, &bytes).await
}

async fn send(
    outside: &impl Outside,
    engine: &EngineSettings,
    id: DeliveryId,
    request: Result<Request<Vec<u8>>, boomerang::RequestError>,
    trace: &HeaderMap,
    read: fn(Response<Vec<u8>>, Timestamp) -> Verdict,
) -> Outcome {
    let mut engine_status = None;
    let result = match request {
        Err(error) => Err(Failure::Misconfigured { reason: error.to_string() }),
        Ok(mut request) => {
            request.headers_mut().extend(trace.clone());
            if let Some(bearer) = engine.token.as_ref().and_then(|token| bearer(token.expose())) {
                request.headers_mut().insert(AUTHORIZATION, bearer);
            }
            match outside.send(request, engine.timeouts).await {
                Err(error) => Err(Failure::of(error)),
                Ok(answer) => {
                    engine_status = Some(answer.status());
                    Failure::or_body(read(answer, outside.now()))
                }
            }
        }
    };
    Outcome { id, engine_status, result, warning: None }
}

fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl Failure {
    fn of(error: SendError) -> Self {
        let reason = error.to_string();
        match error {
            SendError::NotSent(_) => Self::Later { reason, retry_after: None },
            SendError::NoAnswer(_) => Self::Unclear { reason, retry_after: None },
            SendError::Denied(_) => Self::Misconfigured { reason },
        }
    }

    fn or_body(verdict: Verdict) -> Result<Vec<u8>, Self> {
        let answered = |status: StatusCode| format!("the engine answered {}", status.as_u16());
        Err(match verdict {
            Verdict::Accepted { body } => return Ok(body),
            Verdict::Refused { status, reason } => Self::Rejected { status, reason },
            Verdict::Later { status, retry_after } => Self::Later { reason: answered(status), retry_after },
            Verdict::Unclear { status, retry_after } if status.is_success() => {
                let reason = format!("{}, but not as the engine does", answered(status));
                Self::Unclear { reason, retry_after }
            }
            Verdict::Unclear { status, retry_after } => Self::Unclear { reason: answered(status), retry_after },
            Verdict::Misconfigured { status } => Self::Misconfigured { reason: answered(status) },
        })
    }
}
