//! Addresses to listen on, checked before anything is built.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Result, bail};
use xtask::shell::{command, has, output};

/// Default address of the stand-in engine.
const STAND_IN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7701);

/// Checks that an address can be bound, and replaces port 0 with a free one.
pub(super) fn bindable(wanted: SocketAddr) -> Result<SocketAddr> {
    match TcpListener::bind(wanted) {
        Ok(listener) => Ok(listener.local_addr()?),
        Err(error) => bail!(explain(wanted, error.kind(), listener(wanted.port()).as_deref())),
    }
}

/// The address for the stand-in engine: a free port if the default one is in use.
pub(super) fn stand_in() -> Result<SocketAddr> {
    bindable(STAND_IN).or_else(|_| bindable(SocketAddr::new(STAND_IN.ip(), 0)))
}

/// A warning if the stand-in engine doesn't listen on its default port.
pub(super) fn stand_in_warning(stand_in: SocketAddr) -> Option<String> {
    let (default, port) = (STAND_IN.port(), stand_in.port());
    (default != port).then(|| format!("port {default} is in use, so the stand-in engine listens on port {port}"))
}

/// The URL by which clients on this machine reach a server that listens on this address.
pub(super) fn url(listen: SocketAddr) -> String {
    let host = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(host, listen.port()))
}

/// A message that says why an address can't be bound, and how to fix it.
fn explain(wanted: SocketAddr, kind: ErrorKind, listener: Option<&str>) -> String {
    let port = wanted.port();
    match kind {
        ErrorKind::AddrInUse => {
            let by = listener.map(|listener| format!(" by {listener}")).unwrap_or_default();
            format!("port {port} is in use{by}: stop the program that uses it, or pass {}", alternative(wanted))
        }
        ErrorKind::PermissionDenied => format!("port {port} needs root: use --port with 1024 or more"),
        ErrorKind::AddrNotAvailable => format!("{} is no address of this machine", wanted.ip()),
        kind => format!("can't listen on {wanted}: {kind}"),
    }
}

/// The flag for the next free port, which the message suggests.
fn alternative(taken: SocketAddr) -> String {
    let ports = taken.port().saturating_add(1)..=u16::MAX;
    let mut others = ports.map(|port| SocketAddr::new(taken.ip(), port)).take(100);
    match others.find(|other| TcpListener::bind(other).is_ok()) {
        None => "--port with another one".to_owned(),
        Some(other) if taken.ip() == STAND_IN.ip() => format!("--port {}", other.port()),
        Some(other) => format!("--listen {other}"),
    }
}

/// The program that listens on a port, if `ss` shows it.
fn listener(port: u16) -> Option<String> {
    let ask = || output(command("ss", ["-Hltnp"]).arg(format!("sport = :{port}"))).ok();
    program(&has("ss").then(ask)??)
}

/// Turns `… users:(("nginx",pid=123,fd=6))` into `nginx (pid 123)`.
fn program(listed: &str) -> Option<String> {
    let (name, rest) = listed.split_once("((\"")?.1.split_once("\",pid=")?;
    let pid: u32 = rest.split(',').next()?.parse().ok()?;
    Some(format!("{} (pid {pid})", super::style::plain(name)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn port_in_use_is_reported_with_an_alternative() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = listener.local_addr().unwrap();
        let error = bindable(taken).unwrap_err().to_string();
        assert!(error.starts_with(&format!("port {} is in use", taken.port())), "{error}");
        assert!(error.contains(": stop the program that uses it, or pass --port "), "{error}");
        let other: u16 = error.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(bindable((Ipv4Addr::LOCALHOST, other).into()).is_ok(), "the alternative is free");
        drop(listener);
        // A child that another test forks holds the listener until it executes its program.
        let freed = (0..100).find_map(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            bindable(taken).ok()
        });
        assert_eq!(freed, Some(taken));
        assert_ne!(bindable((Ipv4Addr::LOCALHOST, 0).into()).unwrap().port(), 0);
    }

    #[test]
    fn listening_program_is_named_if_known() {
        let listed = r#"LISTEN 0 4096 127.0.0.1:3000 0.0.0.0:* users:(("sluice-host",pid=5190,fd=13))"#;
        assert_eq!(program(listed).as_deref(), Some("sluice-host (pid 5190)"));
        assert_eq!(program("LISTEN 0 4096 127.0.0.1:3000 0.0.0.0:*"), None);
        let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 3000);
        let error = explain(any, ErrorKind::AddrInUse, program(listed).as_deref());
        assert!(error.starts_with("port 3000 is in use by sluice-host (pid 5190): "), "{error}");
        assert!(error.contains("--listen 0.0.0.0:"), "{error}");
        assert_eq!(explain(any, ErrorKind::PermissionDenied, None).split(':').next(), Some("port 3000 needs root"));
    }

    #[test]
    fn unspecified_address_is_reached_over_loopback() {
        assert_eq!(url("0.0.0.0:3000".parse().unwrap()), "http://127.0.0.1:3000");
        assert_eq!(url("[::]:3000".parse().unwrap()), "http://[::1]:3000");
        assert_eq!(url("127.0.0.2:80".parse().unwrap()), "http://127.0.0.2:80");
        assert_eq!(stand_in_warning(STAND_IN), None);
        assert!(stand_in_warning("127.0.0.1:9".parse().unwrap()).unwrap().ends_with("listens on port 9"));
    }
}
