//! The shell: the entry point of the component, and the implementation of [`ports`] with Spin and WASIp2. No other
//! layer refers to Spin or WASIp2.

#![allow(unsafe_code, reason = "the SDK's macro generates the entry point")]

mod database;
mod incoming;
mod outbound;
mod stream;
mod variables;
mod wait;

use std::cell::{Cell, OnceCell};
use std::mem::ManuallyDrop;
use std::time::Duration;

use http::{HeaderMap, Request, Response};
use spin_sdk::http::{Fields, IncomingRequest, ResponseOutparam};
use spin_sdk::http_component;
use spin_sdk::key_value::Store;
use spin_sdk::wit::wasi::http0_2_0::types::HeaderError;
use wasi::cli::stdout::get_stdout;
use wasi::clocks::{monotonic_clock, wall_clock};
use wasi::io::streams::StreamError;
use wasi::random::random;

use crate::api;
use crate::gateway::on_heap;
use crate::ports::{self, SendError, SqlError, StoreError, Timeouts, VariableError};
use crate::secret::Secret;
use crate::time::{ArrivalTime, Timestamp};

/// Bindings for the interfaces in `wit/` that the SDK does not wrap.
mod bindings {
    #![allow(missing_docs, clippy::all, clippy::arithmetic_side_effects, reason = "generated")]
    wit_bindgen::generate!({
        world: "shell",
        path: "wit",
        with: {
            "wasi:clocks/monotonic-clock@0.2.0": ::wasi::clocks::monotonic_clock,
            "wasi:io/error@0.2.0": ::wasi::io::error,
            "wasi:io/poll@0.2.0": ::wasi::io::poll,
            "wasi:io/streams@0.2.0": ::wasi::io::streams,
            "wasi:http/types@0.2.0": ::spin_sdk::wit::wasi::http0_2_0::types,
            "wasi:http/outgoing-handler@0.2.0": generate,
        },
    });
}

#[http_component]
async fn handle(request: IncomingRequest, responder: ResponseOutparam) {
    on_heap(|| wait::drive(serve(request, responder))).await;
}

async fn serve(request: IncomingRequest, responder: ResponseOutparam) {
    let started = monotonic_clock::now();
    let spin = Spin::default();
    let handled = on_heap(|| api::handle(&spin, incoming::request(request))).await;
    if let Err(error) = incoming::respond(handled.response, responder).await {
        eprintln!("the response was not sent: {error:#}");
    }
    let duration = Duration::from_nanos(monotonic_clock::now().saturating_sub(started));
    // Rounded to microseconds, because the clock is not more precise.
    log(handled.log.to_json((duration.as_secs_f64() * 1e6).round() / 1e3));
    if let Some(background) = handled.background {
        background.await.into_iter().for_each(log);
    }
}

/// Writes a line of the log. It avoids `println!`, which goes through the WASI preview 1 adapter. That adapter
/// initializes its own state on its first call, which would happen in every request.
fn log(mut line: String) {
    /// Maximum bytes of one `blocking-write-and-flush`.
    const MAX: usize = 4096;
    line.push('\n');
    // Never dropped, like the handles of the request.
    let stdout = ManuallyDrop::new(get_stdout());
    // An error here can't be reported, since the log is the only place to report it.
    let _: Result<(), StreamError> =
        line.as_bytes().chunks(MAX).try_for_each(|chunk| stdout.blocking_write_and_flush(chunk));
}

/// The host of one request. It caches the variables that the request has read, the store that it has opened, and the time
/// while nothing waits.
#[derive(Default)]
struct Spin {
    variables: variables::Cache,
    store: OnceCell<Store>,
    /// The time, with the [number of waits](wait::waits) before it was read.
    time: Cell<Option<(u64, ArrivalTime)>>,
}

/// The label of the store in `spin.toml`.
const STORE: &str = "default";

impl Spin {
    /// Returns the store, which is opened once per request.
    fn store(&self) -> Result<&Store, StoreError> {
        // Each of its operations may wait for a disk or a server.
        wait::note_wait();
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let opened = Store::open(STORE).map_err(store_error)?;
        Ok(self.store.get_or_init(|| opened))
    }
}

/// Converts headers for the host.
fn fields(headers: &HeaderMap) -> Result<Fields, HeaderError> {
    let list: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    Fields::from_list(&list)
}

fn store_error(error: spin_sdk::key_value::Error) -> StoreError {
    StoreError(error.to_string())
}

impl ports::KeyValue for Spin {
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store()?.get(key).map_err(store_error)
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.store()?.set(key, value).map_err(store_error)
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.store()?.delete(key).map_err(store_error)
    }

    async fn exists(&self, key: &str) -> Result<bool, StoreError> {
        self.store()?.exists(key).map_err(store_error)
    }

    async fn keys(&self) -> Result<Vec<String>, StoreError> {
        self.store()?.get_keys().map_err(store_error)
    }
}

impl ports::Sql for Spin {
    type Connection = database::Connection;

    async fn connect(&self, url: &Secret) -> Result<Self::Connection, SqlError> {
        wait::note_wait();
        database::Connection::open(url.expose())
    }
}

impl ports::Http for Spin {
    async fn send(&self, request: Request<Vec<u8>>, timeouts: Timeouts) -> Result<Response<Vec<u8>>, SendError> {
        outbound::send(request, timeouts).await
    }
}

impl ports::Clock for Spin {
    fn arrival_time(&self) -> ArrivalTime {
        let wall_clock::Datetime { seconds, nanoseconds } = wall_clock::now();
        let since_epoch = Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanoseconds.into()));
        let time = ArrivalTime::since_epoch(since_epoch);
        self.time.set(Some((wait::waits(), time)));
        time
    }

    /// The time when the clock was last read, if nothing has waited since.
    fn now(&self) -> Timestamp {
        match self.time.get() {
            Some((waits, time)) if waits == wait::waits() => time.at,
            _ => self.arrival_time().at,
        }
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(monotonic_clock::now())
    }

    async fn sleep(&self, duration: Duration) {
        wait::sleep(duration).await;
    }
}

impl ports::Rng for Spin {
    fn random(&self) -> u64 {
        random::get_random_u64()
    }
}

impl ports::Variables for Spin {
    fn variable(&self, name: &str) -> Result<Option<&str>, VariableError> {
        self.variables.variable(name)
    }
}
