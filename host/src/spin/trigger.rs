//! The HTTP trigger: from a request to its own instance of the component, and back.

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

/// A component that is ready to run.
pub(crate) struct Component {
    pub(crate) pre: ProxyPre<Guest>,
    pub(crate) grants: Arc<Grants>,
}

/// Serves requests.
pub(crate) struct Trigger {
    routes: Vec<(Route, Arc<Component>)>,
    logs: Logs,
    /// What runs, also after its response is sent.
    guests: Mutex<JoinSet<()>>,
}

impl Trigger {
    pub(crate) fn new(routes: Vec<(Route, Arc<Component>)>, logs: Logs) -> Trigger {
        Trigger { routes, logs, guests: Mutex::default() }
    }

    /// An `Err` closes the connection, as in Spin.
    pub(crate) async fn handle(
        &self,
        mut request: Request<Incoming>,
        client: SocketAddr,
    ) -> Result<Response<WasiBody>, BoxError> {
        headers::strip(request.headers_mut());
        let path = request.uri().path();
        if let Some(known) = path.strip_prefix("/.well-known/spin/") {
            return Ok(match known {
                "health" => answer(StatusCode::OK, "OK"),
                _ => answer(StatusCode::NOT_FOUND, ""),
            });
        }
        let matching = self.routes.iter().filter_map(|(route, to)| Some((route, route.matches(path)?, to)));
        let Some((route, path_info, component)) = matching.max_by_key(|(route, ..)| route.rank()) else {
            return Ok(answer(StatusCode::NOT_FOUND, ""));
        };
        headers::complete_uri(&mut request)?;
        let response = match headers::append(&mut request, route, &path_info, client) {
            Ok(()) => self.run(component.clone(), request).await,
            Err(error) => Err(error),
        };
        Ok(response.unwrap_or_else(|error| {
            self.logs.say(format_args!("answered 500: {error:#}"));
            answer(StatusCode::INTERNAL_SERVER_ERROR, "")
        }))
    }

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
                logs.say(format_args!("the component {} failed: {error:?}", component.grants.id));
            }
        };
        {
            let mut guests = lock(&self.guests);
            while guests.try_join_next().is_some() {}
            guests.spawn(guest);
        }
        match response.await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => anyhow::bail!("the component answered by an error: {error:?}"),
            // It trapped, which it has told, or returned without an answer. The sender went with the store.
            Err(_) => anyhow::bail!("the component gave no response"),
        }
    }

    /// Waits for what still runs, then ends it.
    pub(crate) async fn stop(&self, grace: Duration) {
        let mut guests = std::mem::take(&mut *lock(&self.guests));
        let finish = async { while guests.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, finish).await.is_err() && !grace.is_zero() {
            self.logs.say(format_args!("ended while at work: {} requests", guests.len()));
        }
        guests.shutdown().await;
    }
}

fn answer(status: StatusCode, body: &'static str) -> Response<WasiBody> {
    let body = Full::new(Bytes::from_static(body.as_bytes())).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    response
}
