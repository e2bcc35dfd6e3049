//! The HTTP trigger: runs each request in an instance of its own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::field::Empty;
use tracing::instrument::WithSubscriber;
use tracing::{Instrument, instrument};
use wasmtime::Store;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{WasiBody, WasiHttpView};

use crate::serve::BoxError;
use crate::spin::component::{NO_DEADLINE, wasm_error};
use crate::spin::costs::{Costs, CpuTime};
use crate::spin::crossings::{Counter, Log};
use crate::spin::guest::{Grants, Guest};
use crate::spin::headers;
use crate::spin::logs::{Logs, lock};
use crate::spin::route::Route;

/// A compiled and linked component, with its grants.
pub(crate) struct Component {
    pub(crate) pre: ProxyPre<Guest>,
    pub(crate) grants: Arc<Grants>,
    pub(crate) costs: Costs,
}

/// Dispatches requests to components.
pub(crate) struct Trigger {
    routes: Vec<(Route, Arc<Component>)>,
    logs: Logs,
    crossings: Option<Log>,
    /// The running instances, including those that still work after their response.
    guests: Mutex<JoinSet<()>>,
}

impl Trigger {
    pub(crate) fn new(routes: Vec<(Route, Arc<Component>)>, logs: Logs, crossings: Option<Log>) -> Trigger {
        Trigger { routes, logs, crossings, guests: Mutex::default() }
    }

    /// Handles a request within the span of Spin's `crates/trigger-http`, `http_span`.
    pub(crate) async fn handle(
        &self,
        request: Request<Incoming>,
        client: SocketAddr,
    ) -> Result<Response<WasiBody>, BoxError> {
        let method = request.method().clone();
        let span = tracing::info_span!(
            "spin_trigger_http.handle_http_request",
            otel.kind = "server",
            http.request.method = %method,
            network.peer.address = %client.ip(),
            network.peer.port = %client.port(),
            network.protocol.name = "http",
            url.path = request.uri().path(),
            url.query = request.uri().query().unwrap_or_default(),
            url.scheme = request.uri().scheme_str().unwrap_or_default(),
            client.address = request.headers().get("x-forwarded-for").and_then(|value| value.to_str().ok()),
            error.type = Empty,
            http.response.status_code = Empty,
            http.route = Empty,
            otel.name = Empty,
        );
        let response = self.dispatch(request, client).instrument(span.clone()).await?;
        span.in_scope(|| tracing::info!("Request finished, sending response with status code {}", response.status()));
        span.record("otel.name", method.to_string());
        span.record("http.response.status_code", response.status().as_u16());
        Ok(response)
    }

    /// Finds the component and runs it. As in Spin, an `Err` closes the connection.
    async fn dispatch(
        &self,
        mut request: Request<Incoming>,
        client: SocketAddr,
    ) -> Result<Response<WasiBody>, BoxError> {
        headers::strip(request.headers_mut());
        let path = request.uri().path();
        tracing::info!("Processing request on path '{path}'");
        if let Some(name) = path.strip_prefix("/.well-known/spin/") {
            return Ok(match name {
                "health" => response(StatusCode::OK, "OK"),
                _ => response(StatusCode::NOT_FOUND, ""),
            });
        }
        let matching = self.routes.iter().filter_map(|(route, to)| Some((route, route.matches(path)?, to)));
        let Some((route, path_info, component)) = matching.max_by_key(|(route, ..)| route.rank()) else {
            return Ok(response(StatusCode::NOT_FOUND, ""));
        };
        headers::complete_uri(&mut request)?;
        let result = match headers::append(&mut request, route, &path_info, client) {
            Ok(()) => self.run(component.clone(), request).await,
            Err(error) => Err(error),
        };
        Ok(result.unwrap_or_else(|error| {
            self.logs.host_message(format_args!("answered 500: {error:#}"));
            response(StatusCode::INTERNAL_SERVER_ERROR, "")
        }))
    }

    /// Runs the request in a new instance and returns the response. The instance may continue to run after that.
    #[instrument(name = "spin_trigger_http.execute_wasm", skip_all, fields(otel.name = component.grants.id))]
    async fn run(&self, component: Arc<Component>, request: Request<Incoming>) -> Result<Response<WasiBody>> {
        let mut store = Store::new(component.pre.engine(), Guest::new(component.grants.clone())?);
        let (sender, response) = oneshot::channel();
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request).map_err(wasm_error)?;
        let out = store.data_mut().http().new_response_outparam(sender).map_err(wasm_error)?;
        let counter = self.crossings.as_ref().map(Log::counter);
        let mut count = counter.as_ref().map(Counter::hook);
        let mut cpu_time = component.costs.cpu_time.then(CpuTime::default);
        if count.is_some() || cpu_time.is_some() {
            store.call_hook(move |_, hook| {
                if let Some(count) = &mut count {
                    count(hook);
                }
                if let Some(cpu_time) = &mut cpu_time {
                    cpu_time.record(hook);
                }
                Ok(())
            });
        }
        store.set_epoch_deadline(NO_DEADLINE);
        let logs = self.logs.clone();
        let guest = async move {
            let work = async {
                let proxy = component.pre.instantiate_async(&mut store).await?;
                proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out).await
            };
            let done = match &counter {
                Some(counter) => work.with_subscriber(counter.subscriber()).await,
                None => work.await,
            };
            if let Err(error) = done {
                logs.host_message(format_args!("the component {} failed: {error:?}", component.grants.id));
            }
        };
        {
            let mut guests = lock(&self.guests);
            while guests.try_join_next().is_some() {}
            guests.spawn(guest.in_current_span());
        }
        match response.await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => anyhow::bail!("the component answered with an error: {error:?}"),
            // The instance trapped, which is logged above, or returned without a response; either drops the sender.
            Err(_) => anyhow::bail!("the component sent no response"),
        }
    }

    /// Waits for the running instances for at most the grace period, then aborts them.
    pub(crate) async fn stop(&self, grace: Duration) {
        let mut guests = std::mem::take(&mut *lock(&self.guests));
        let finish = async { while guests.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, finish).await.is_err() && !grace.is_zero() {
            self.logs.host_message(format_args!("aborted {} requests that were still running", guests.len()));
        }
        guests.shutdown().await;
    }
}

fn response(status: StatusCode, body: &'static str) -> Response<WasiBody> {
    let body = Full::new(Bytes::from_static(body.as_bytes())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    response
}
