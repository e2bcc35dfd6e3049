//! An HTTP server with graceful shutdown, shared by the host and the stand-in engine.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// Any error of a handler or a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A listening HTTP server (HTTP/1.1 and HTTP/2 without TLS). Dropping it stops it at once.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    /// Carries the grace period. Dropping the sender stops the server without one.
    stop: oneshot::Sender<Duration>,
    task: JoinHandle<()>,
}

impl Server {
    /// Binds the address and serves in the background. `nodelay` sets TCP_NODELAY on every connection. An `Err` of the
    /// handler closes the connection without a response.
    pub async fn start<F, Fut, B>(addr: SocketAddr, nodelay: bool, handler: F) -> std::io::Result<Server>
    where
        F: Fn(Request<Incoming>, SocketAddr) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Response<B>, BoxError>> + Send + 'static,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        let listener = TcpListener::bind(addr).await?;
        let addr = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let http = auto::Builder::new(TokioExecutor::new());
        let connect = move |stream, peer| {
            let handler = handler.clone();
            let service = service_fn(move |request| handler(request, peer));
            http.serve_connection(TokioIo::new(stream), service).into_owned()
        };
        let task = tokio::spawn(accept(listener, nodelay, stopped, connect));
        Ok(Server { addr, stop, task })
    }

    /// The address it listens on, with the port that the system chose if port 0 was requested.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops accepting connections and lets requests in flight finish for at most `grace`.
    pub async fn stop(self, grace: Duration) {
        // Both fail only if the task is gone, and then the server has stopped already.
        let _ = self.stop.send(grace);
        let _ = self.task.await;
    }
}

/// Accepts connections until told to stop, then waits for the open ones for at most the grace period.
async fn accept<C>(
    listener: TcpListener,
    nodelay: bool,
    mut stopped: oneshot::Receiver<Duration>,
    connect: impl Fn(TcpStream, SocketAddr) -> C,
) where
    C: GracefulConnection + Send + 'static,
{
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let grace = loop {
        let (stream, peer) = tokio::select! {
            grace = &mut stopped => break grace.unwrap_or_default(),
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                // The peer has gone, or no file descriptors are left. In the latter case the sleep prevents a busy
                // loop.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
        };
        if nodelay {
            let _ = stream.set_nodelay(true);
        }
        let watched = graceful.watch(connect(stream, peer));
        connections.spawn(async move {
            // An error is either the peer's or the handler's, which has reported it already.
            let _ = watched.await;
        });
    };
    drop(listener);
    // Dropping the set aborts the connections that are still open.
    let _ = tokio::time::timeout(grace, graceful.shutdown()).await;
}
