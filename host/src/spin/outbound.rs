//! Outbound `wasi:http`: the allow-list, pooled connections, the guest's timeouts.

use std::future::Future;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::request::Parts;
use http::{Request, Response, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep, timeout};
use tower_service::Service;
use wasmtime_wasi_http::{RequestOptions, WasiBody, WasiHttpHooks};

use crate::spin::allowed_hosts::AllowedHosts;
use crate::spin::logs::{Logs, lock};

/// How a call fails, as `wasi:http` tells the component.
pub use wasmtime_wasi_http::Error as ErrorCode;

/// A failure on order.
#[derive(Debug)]
pub enum Fault {
    /// Nothing is sent.
    BeforeSend(ErrorCode),
    /// It is sent and answered, but the component doesn't hear of it.
    AfterSend(ErrorCode),
}

type FaultHook = dyn Fn(&Parts) -> Option<Fault> + Send + Sync;

/// The outbound calls of a host: counted, and made to fail on demand.
#[derive(Clone)]
pub struct Outbound {
    client: Client<HttpsConnector<Connector>, WasiBody>,
    calls: Arc<AtomicU64>,
    fault: Arc<Mutex<Option<Box<FaultHook>>>>,
}

impl Outbound {
    pub(crate) fn new() -> Outbound {
        let connector =
            HttpsConnectorBuilder::new().with_webpki_roots().https_or_http().enable_http1().wrap_connector(Connector);
        Outbound {
            client: Client::builder(TokioExecutor::new()).build(connector),
            calls: Arc::default(),
            fault: Arc::default(),
        }
    }

    /// How many calls components made that the allow-list let through, failed ones too.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Counts from zero again.
    pub fn reset(&self) {
        self.calls.store(0, Ordering::SeqCst);
    }

    /// From now on a call for which the hook has a fault fails by it.
    pub fn fail(&self, hook: impl Fn(&Parts) -> Option<Fault> + Send + Sync + 'static) {
        *lock(&self.fault) = Some(Box::new(hook));
    }

    /// No call fails any more by the hook.
    pub fn heal(&self) {
        *lock(&self.fault) = None;
    }

    async fn send(self, request: Request<WasiBody>, options: RequestOptions) -> Result<Response<WasiBody>, ErrorCode> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let (mut parts, body) = request.into_parts();
        let fault = lock(&self.fault).as_ref().and_then(|fault| fault(&parts));
        let after = match fault {
            Some(Fault::BeforeSend(error)) => return Err(error),
            Some(Fault::AfterSend(error)) => Some(error),
            None => None,
        };
        // The client writes its own.
        parts.headers.remove(HOST);

        let connect = options.connect_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let first_byte = options.first_byte_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let between_bytes = options.between_bytes_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let sent = CONNECT_TIMEOUT.scope(connect, self.client.request(Request::from_parts(parts, body)));
        let response =
            timeout(first_byte, sent).await.map_err(|_| ErrorCode::ConnectionReadTimeout)?.map_err(error_code)?;
        after.map_or(Ok(()), Err)?;
        Ok(response.map(|body| BetweenBytes { body, timeout: between_bytes, sleep: None }.boxed_unsync()))
    }
}

/// As in Spin and wasmtime.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

tokio::task_local! {
    /// The one way to tell a pooled client's connector of the request that it connects for.
    static CONNECT_TIMEOUT: Duration;
}

/// Connects within the request's timeout.
#[derive(Clone)]
struct Connector;

#[derive(Clone, Copy, Debug)]
enum ConnectError {
    Dns,
    Refused,
    Timeout,
}

impl std::fmt::Display for ConnectError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for ConnectError {}

impl Service<Uri> for Connector {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let within = CONNECT_TIMEOUT.try_with(Duration::clone).unwrap_or(DEFAULT_TIMEOUT);
        Box::pin(async move {
            let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
            let host = uri.host().ok_or(ConnectError::Dns)?.trim_matches(['[', ']']);
            let addresses: Vec<_> = tokio::net::lookup_host((host, uri.port_u16().unwrap_or(default)))
                .await
                .map_err(|_| ConnectError::Dns)?
                .collect();
            let stream = timeout(within, TcpStream::connect(&*addresses))
                .await
                .map_err(|_| ConnectError::Timeout)?
                .map_err(|error| match error.kind() {
                    ErrorKind::AddrNotAvailable => ConnectError::Dns,
                    _ => ConnectError::Refused,
                })?;
            // A call is written in small pieces: don't let the kernel wait for more.
            let _ = stream.set_nodelay(true);
            Ok(TokioIo::new(stream))
        })
    }
}

/// The codes that Spin gives.
fn error_code(error: legacy::Error) -> ErrorCode {
    let source = std::error::Error::source(&error);
    match source.and_then(|source| source.downcast_ref::<ConnectError>()) {
        Some(ConnectError::Dns) => {
            ErrorCode::DnsError { rcode: Some("address not available".to_owned()), info_code: Some(0) }
        }
        Some(ConnectError::Refused) => ErrorCode::ConnectionRefused,
        Some(ConnectError::Timeout) => ErrorCode::ConnectionTimeout,
        // The TCP connection is there, but not what is spoken on it.
        None if error.is_connect() => ErrorCode::TlsProtocolError,
        None => ErrorCode::HttpProtocolError,
    }
}

/// A response body that fails when nothing comes for too long while it is waited for.
struct BetweenBytes {
    body: Incoming,
    timeout: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Body for BetweenBytes {
    type Data = Bytes;
    type Error = ErrorCode;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ErrorCode>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.sleep = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(|_| ErrorCode::HttpProtocolError)));
        }
        let within = self.timeout;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(within)));
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Some(Err(ErrorCode::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A component's way out.
#[derive(Clone)]
pub(crate) struct Hooks {
    pub(crate) outbound: Outbound,
    pub(crate) allowed: Arc<AllowedHosts>,
    pub(crate) logs: Logs,
}

type Worker = Box<dyn Future<Output = Result<(), ErrorCode>> + Send>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Worker,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Worker), ErrorCode>> + Send> {
        let Hooks { outbound, allowed, logs } = self.clone();
        Box::new(async move {
            let uri = request.uri();
            if !allowed.allows(uri) {
                let scheme = uri.scheme_str().unwrap_or_default();
                let host = uri.authority().map(|authority| authority.as_str().rsplit('@').next().unwrap_or_default());
                let host = host.unwrap_or_default();
                logs.say(format_args!("{scheme}://{host} isn't among the component's allowed_outbound_hosts"));
                return Err(ErrorCode::HttpRequestDenied);
            }
            let response = outbound.send(request, options.unwrap_or_default()).await?;
            // The pool drives the connection: there is no work left for a worker.
            Ok((response, Box::new(async { Ok(()) }) as Worker))
        })
    }
}

#[cfg(test)]
mod tests;
