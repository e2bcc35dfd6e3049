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
use wasmtime::Store;
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wasmtime_wasi_http::p2::bindings::http::types::Scheme;
use wasmtime_wasi_http::{WasiBody, WasiHttpView};

use crate::serve::BoxError;
use crate::spin::component::wasm_error;
use crate::spin::guest::{Grants, Guest};
use crate::spin::headers;
use crate::spin::logs::{Logs, lock};
use crate::spin::route::Route;

/// A compiled and linked component, with its grants.
pub(crate) struct Component {
    pub(crate) pre: ProxyPre<Guest>,
    pub(crate) grants: Arc<Grants>,
}

/// Dispatches requests to components.
pub(crate) struct Trigger {
    routes: Vec<(Route, Arc<Component>)>,
    logs: Logs,
    /// The running instances, including those that still work after their response.
    guests: Mutex<JoinSet<()>>,
}

impl Trigger {
    pub(crate) fn new(routes: Vec<(Route, Arc<Component>)>, logs: Logs) -> Trigger {
        Trigger { routes, logs, guests: Mutex::default() }
    }

    /// Handles a request. As in Spin, an `Err` closes the connection.
    pub(crate) async fn handle(
        &self,
        mut request: Request<Incoming>,
        client: SocketAddr,
    ) -> Result<Response<WasiBody>, BoxError> {
        headers::strip(request.headers_mut());
        let path = request.uri().path();
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
    async fn run(&self, component: Arc<Component>, request: Request<Incoming>) -> Result<Response<WasiBody>> {
        let mut store = Store::new(component.pre.engine(), Guest::new(component.grants.clone()));
        let (sender, response) = oneshot::channel();
        let request = store.data_mut().http().new_incoming_request(Scheme::Http, request).map_err(wasm_error)?;
        let out = store.data_mut().http().new_response_outparam(sender).map_err(wasm_error)?;
        let logs = self.logs.clone();
        let guest = async move {
            let work = async {
                let proxy = component.pre.instantiate_async(&mut store).await?;
                proxy.wasi_http_incoming_handler().call_handle(&mut store, request, out).await
            };
            if let Err(error) = work.await {
                logs.host_message(format_args!("the component {} failed: {error:?}", component.grants.id));
            }
        };
        {
            let mut guests = lock(&self.guests);
            while guests.try_join_next().is_some() {}
            guests.spawn(guest);
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
