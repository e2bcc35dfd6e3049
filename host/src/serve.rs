//! A small accept loop, shared by the host and the stand-in engine.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

/// Whatever went wrong in a handler or a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A listening HTTP server (HTTP/1.1 and HTTP/2 without TLS). Dropped, it stops at once.
#[derive(Debug)]
pub struct Server {
    addr: SocketAddr,
    /// Carries the grace; when it is dropped instead, there is none.
    stop: oneshot::Sender<Duration>,
    task: JoinHandle<()>,
}

impl Server {
    /// Binds and serves in the background; TCP_NODELAY on every connection. A handler's `Err` closes the connection
    /// without an answer.
    pub async fn start<F, Fut, B>(addr: SocketAddr, handler: F) -> std::io::Result<Server>
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
        let task = tokio::spawn(accept(listener, stopped, handler));
        Ok(Server { addr, stop, task })
    }

    /// Where it listens, with the port that the system chose if it was asked for port 0.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Stops accepting, lets what is in flight finish for at most `grace`.
    pub async fn stop(self, grace: Duration) {
        // Neither fails but when the task is gone, and that is what is wanted.
        let _ = self.stop.send(grace);
        let _ = self.task.await;
    }
}

async fn accept<F, Fut, B>(listener: TcpListener, mut stopped: oneshot::Receiver<Duration>, handler: F)
where
    F: Fn(Request<Incoming>, SocketAddr) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<Response<B>, BoxError>> + Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let builder = auto::Builder::new(TokioExecutor::new());
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let grace = loop {
        let (stream, peer) = tokio::select! {
            grace = &mut stopped => break grace.unwrap_or_default(),
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                // The peer is already gone, or there are no descriptors left: don't spin on the latter.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let handler = handler.clone();
        let service = service_fn(move |request| handler(request, peer));
        let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let watched = graceful.watch(connection);
        connections.spawn(async move {
            // How a connection ended is the peer's matter or the handler's, which knows it already.
            let _ = watched.await;
        });
    };
    drop(listener);
    // What is still open afterwards is aborted with the set.
    let _ = tokio::time::timeout(grace, graceful.shutdown()).await;
}
