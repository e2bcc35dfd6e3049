//! Outbound `wasi:http`: the allow-list, pooled connections and the guest's timeouts.

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
use tracing::field::Empty;
use tracing::{Instrument, Span};
use wasmtime_wasi_http::{RequestOptions, WasiBody, WasiHttpHooks};

use crate::spin::allowed_hosts::AllowList;
use crate::spin::logs::{Logs, lock};
use crate::spin::postgres::Session;

/// The error code that `wasi:http` returns to the component.
pub use wasmtime_wasi_http::Error as ErrorCode;

/// An injected fault.
#[derive(Debug)]
pub enum Fault {
    /// The call fails and nothing is sent.
    BeforeSend(ErrorCode),
    /// The request is sent and answered, but the component gets the error instead of the response.
    AfterSend(ErrorCode),
}

/// Returns the fault of a call, or `None` to let it pass.
type FaultHook = dyn Fn(&Parts) -> Option<Fault> + Send + Sync;

/// The outbound HTTP client of a host. It counts calls, and tests can inject faults.
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

    /// Number of calls that passed the allow-list, including failed ones.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Installs a fault hook: a call for which it returns a fault fails accordingly.
    pub fn inject_faults(&self, hook: impl Fn(&Parts) -> Option<Fault> + Send + Sync + 'static) {
        *lock(&self.fault) = Some(Box::new(hook));
    }

    /// Removes the fault hook.
    pub fn clear_faults(&self) {
        *lock(&self.fault) = None;
    }

    async fn send(
        self,
        request: Request<WasiBody>,
        options: RequestOptions,
        session: Session,
    ) -> Result<Response<WasiBody>, ErrorCode> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let (mut parts, body) = request.into_parts();
        let fault = lock(&self.fault).as_ref().and_then(|fault| fault(&parts));
        let error_after_send = match fault {
            Some(Fault::BeforeSend(error)) => return Err(error),
            Some(Fault::AfterSend(error)) => Some(error),
            None => None,
        };
        // The client adds its own Host header.
        parts.headers.remove(HOST);

        let connect = options.connect_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let first_byte = options.first_byte_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let between_bytes = options.between_bytes_timeout.unwrap_or(DEFAULT_TIMEOUT);
        let sent = CONNECT_TIMEOUT.scope(connect, self.client.request(Request::from_parts(parts, body)));
        let response =
            timeout(first_byte, sent).await.map_err(|_| ErrorCode::ConnectionReadTimeout)?.map_err(error_code)?;
        error_after_send.map_or(Ok(()), Err)?;
        Ok(response.map(|body| {
            BetweenBytes { body, timeout: between_bytes, sleep: None, session: Some(session) }.boxed_unsync()
        }))
    }
}

/// Default timeout for each phase of a call, as in Spin and wasmtime.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

tokio::task_local! {
    /// Passes the request's timeout to the connector, which the pooled client calls without the request.
    static CONNECT_TIMEOUT: Duration;
}

/// Opens TCP connections within the request's connect timeout. They have no TCP_NODELAY, as in Spin's
/// `crates/factor-outbound-http`, `ConnectOptions::connect_tcp`.
#[derive(Clone)]
struct Connector;

/// The reason why a TCP connection failed.
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
        let connect_timeout = CONNECT_TIMEOUT.try_with(Duration::clone).unwrap_or(DEFAULT_TIMEOUT);
        Box::pin(async move {
            let default_port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
            let host = uri.host().ok_or(ConnectError::Dns)?.trim_matches(['[', ']']);
            let addresses: Vec<_> = tokio::net::lookup_host((host, uri.port_u16().unwrap_or(default_port)))
                .await
                .map_err(|_| ConnectError::Dns)?
                .collect();
            timeout(connect_timeout, TcpStream::connect(&*addresses))
                .await
                .map_err(|_| ConnectError::Timeout)?
                .map(TokioIo::new)
                .map_err(|error| match error.kind() {
                    ErrorKind::AddrNotAvailable => ConnectError::Dns,
                    _ => ConnectError::Refused,
                })
        })
    }
}

/// Maps a client error to the code that Spin returns.
fn error_code(error: legacy::Error) -> ErrorCode {
    let source = std::error::Error::source(&error);
    match source.and_then(|source| source.downcast_ref::<ConnectError>()) {
        Some(ConnectError::Dns) => {
            ErrorCode::DnsError { rcode: Some("address not available".to_owned()), info_code: Some(0) }
        }
        Some(ConnectError::Refused) => ErrorCode::ConnectionRefused,
        Some(ConnectError::Timeout) => ErrorCode::ConnectionTimeout,
        // TCP connected, but the TLS handshake failed.
        None if error.is_connect() => ErrorCode::TlsProtocolError,
        None => ErrorCode::HttpProtocolError,
    }
}

/// A response body with a timeout for each frame, which starts when the guest first polls for the frame.
struct BetweenBytes {
    body: Incoming,
    timeout: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    /// The instance's session, until the guest begins to read.
    session: Option<Session>,
}

impl Body for BetweenBytes {
    type Data = Bytes;
    type Error = ErrorCode;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ErrorCode>>> {
        if let Some(session) = self.session.take() {
            session.note_outbound_call();
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.sleep = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(|_| ErrorCode::HttpProtocolError)));
        }
        let timeout = self.timeout;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep(timeout)));
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

/// The outbound HTTP of one component: the shared client behind the component's allow-list.
#[derive(Clone)]
pub(crate) struct Hooks {
    pub(crate) outbound: Outbound,
    pub(crate) allowed: AllowList,
    pub(crate) logs: Logs,
    /// The instance's connections to databases; an empty session until there is an instance.
    pub(crate) session: Session,
}

/// A future that drives the connection of a response.
type Worker = Box<dyn Future<Output = Result<(), ErrorCode>> + Send>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Worker,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Worker), ErrorCode>> + Send> {
        let Hooks { outbound, allowed, logs, session } = self.clone();
        session.note_outbound_call();
        let span = tracing::info_span!(
            "spin_outbound_http.send_request",
            otel.kind = "client",
            url.full = Empty,
            http.request.method = %request.method(),
            otel.name = %request.method(),
            http.response.status_code = Empty,
            server.address = Empty,
            server.port = Empty,
        );
        let send = async move {
            let uri = request.uri();
            let span = Span::current();
            span.record("url.full", uri.to_string());
            if !allowed.get().allows(uri) {
                let scheme = uri.scheme_str().unwrap_or_default();
                let host = uri.authority().map(|authority| authority.as_str().rsplit('@').next().unwrap_or_default());
                let host = host.unwrap_or_default();
                logs.host_message(format_args!("{scheme}://{host} isn't in the component's allowed_outbound_hosts"));
                return Err(ErrorCode::HttpRequestDenied);
            }
            if let Some(authority) = uri.authority() {
                span.record("server.address", authority.host());
                span.record("server.port", authority.port_u16());
            }
            let response = outbound.send(request, options.unwrap_or_default(), session).await?;
            span.record("http.response.status_code", response.status().as_u16());
            // The client's pool drives the connection, so the worker has nothing to do.
            Ok((response, Box::new(async { Ok(()) }) as Worker))
        };
        Box::new(send.instrument(span))
    }
}

#[cfg(test)]
mod tests;
