#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::thread;

use http_body_util::Empty;

use super::*;
use crate::spin::allowed_hosts::AllowedHosts;
use crate::spin::logs::Logs;
use crate::spin::postgres::Postgres;
use crate::spin::variables::Variables;

const TIMEOUT: Duration = Duration::from_millis(200);
/// Longer than every timeout of a request.
const TOO_LONG: Duration = Duration::from_secs(3);

/// A server whose responses carry the number of connections so far and of `Host` headers, and a body of three bytes.
/// `/late` delays the response; `/stalls` pauses within the body.
fn server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (connections, stream) in (1..).zip(listener.incoming()) {
            thread::spawn(move || serve(stream?, connections));
        }
    });
    addr
}

fn serve(mut stream: std::net::TcpStream, connections: u32) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    while let Some(request) = lines.next() {
        let request = request?;
        let hosts = lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty());
        let hosts = hosts.filter(|line| line.to_ascii_lowercase().starts_with("host:")).count();
        if request.contains("/late") {
            thread::sleep(TOO_LONG);
        }
        write!(stream, "HTTP/1.1 200 OK\r\nconnections: {connections}\r\nhosts: {hosts}\r\n")?;
        write!(stream, "content-length: 3\r\n\r\na")?;
        if request.contains("/stalls") {
            thread::sleep(TOO_LONG);
        }
        write!(stream, "bc")?;
    }
    Ok(())
}

async fn call(outbound: &Outbound, uri: impl Into<String>) -> Result<Response<WasiBody>, ErrorCode> {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let request = Request::get(uri.into()).header(HOST, "of-the-guest.test").body(body).unwrap();
    let options = RequestOptions {
        connect_timeout: Some(TIMEOUT),
        first_byte_timeout: Some(TIMEOUT * 2),
        between_bytes_timeout: Some(TIMEOUT),
    };
    outbound.clone().send(request, options, Session::default()).await
}

#[tokio::test]
async fn connections_are_reused_and_the_host_header_is_replaced() {
    let (addr, outbound) = (server(), Outbound::new());
    for _ in 0..3 {
        let response = call(&outbound, format!("http://{addr}/")).await.unwrap();
        assert_eq!(response.headers()["connections"], "1");
        assert_eq!(response.headers()["hosts"], "1");
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "abc");
    }
    assert_eq!(outbound.calls(), 3);
}

#[tokio::test]
async fn failures_map_to_their_error_codes() {
    let (addr, outbound) = (server(), Outbound::new());
    let closed = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let error = async |uri: String| call(&outbound, uri).await.unwrap_err();
    assert!(matches!(error(format!("http://{closed}/")).await, ErrorCode::ConnectionRefused));
    assert!(matches!(error("http://nowhere.invalid/".into()).await, ErrorCode::DnsError { .. }));
    assert!(matches!(error(format!("http://{addr}/late")).await, ErrorCode::ConnectionReadTimeout));

    let stalls = call(&outbound, format!("http://{addr}/stalls")).await.unwrap();
    let error = stalls.into_body().collect().await.unwrap_err();
    assert!(matches!(error, ErrorCode::ConnectionReadTimeout));
}

#[tokio::test]
async fn connecting_has_a_separate_timeout() {
    // Linux leaves a connection attempt unanswered when the accept queue is full.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let addr = listener.local_addr().unwrap();
    let waiting: Vec<_> = (0..8).map(|_| tokio::spawn(TcpStream::connect(addr))).collect();
    sleep(TIMEOUT).await;
    let error = call(&Outbound::new(), format!("http://{addr}/")).await.unwrap_err();
    assert!(matches!(error, ErrorCode::ConnectionTimeout), "{error:?}");
    drop((waiting, listener));
}

#[tokio::test]
async fn faults_are_injected_before_or_after_the_send() {
    let (addr, outbound) = (server(), Outbound::new());
    outbound.inject_faults(|parts| match parts.uri.path() {
        "/before" => Some(Fault::BeforeSend(ErrorCode::ConnectionRefused)),
        "/after" => Some(Fault::AfterSend(ErrorCode::ConnectionTerminated)),
        _ => None,
    });
    let error = call(&outbound, "http://nowhere.invalid/before").await.unwrap_err();
    assert!(matches!(error, ErrorCode::ConnectionRefused));
    let error = call(&outbound, format!("http://{addr}/after")).await.unwrap_err();
    assert!(matches!(error, ErrorCode::ConnectionTerminated));
    outbound.clear_faults();
    assert!(call(&outbound, format!("http://{addr}/after")).await.is_ok());
    assert_eq!(outbound.calls(), 3);
}

/// A connection that is held over a call is counted as the call begins, and as its response is read; so is one that is
/// opened between the two.
#[tokio::test]
async fn connection_held_over_a_call_is_counted() {
    let addr = server();
    let variables = Variables::new(&BTreeMap::new(), BTreeMap::new()).unwrap();
    for (opened_before, opened_within, count) in [(false, false, 0), (true, false, 2), (false, true, 1)] {
        let postgres = Postgres::default();
        let session = Session::new(postgres.clone(), Logs::captured());
        let allowed = AllowedHosts::new(&["http://127.0.0.1:*".to_owned()], &variables).unwrap().0;
        let (outbound, logs) = (Outbound::new(), Logs::captured());
        let mut hooks =
            Hooks { outbound, allowed: AllowList::Parsed(Arc::new(allowed)), logs, session: session.clone() };
        let before = opened_before.then(|| session.connection_to_nothing());
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        let request = Request::get(format!("http://{addr}/")).body(body).unwrap();
        let sent = hooks.send_request(request, None, Box::new(async { Ok(()) }));
        let response = Box::into_pin(sent).await.unwrap().0;
        let within = opened_within.then(|| session.connection_to_nothing());
        response.into_body().collect().await.unwrap();
        assert_eq!(postgres.counts().calls_while_open, count, "{opened_before} {opened_within}");
        drop((before, within));
    }
}
