//! Ports: one that is taken is told before anything is built.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Result, bail};

use crate::shell::{command, has, output};

/// Where the stand-in engine listens, if that is free.
const STAND_IN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7701);

/// The address, if it is free; a free port in place of port 0.
pub(super) fn free(wanted: SocketAddr) -> Result<SocketAddr> {
    match TcpListener::bind(wanted) {
        Ok(listener) => Ok(listener.local_addr()?),
        Err(error) => bail!(refusal(wanted, error.kind(), holder(wanted.port()).as_deref())),
    }
}

/// Where the stand-in shall listen: another port if its own is taken.
pub(super) fn stand_in() -> Result<SocketAddr> {
    free(STAND_IN).or_else(|_| free(SocketAddr::new(STAND_IN.ip(), 0)))
}

/// What is said if the stand-in isn't where it usually is.
pub(super) fn moved(stand_in: SocketAddr) -> Option<String> {
    let (usual, port) = (STAND_IN.port(), stand_in.port());
    (usual != port).then(|| format!("port {usual} is taken, so the stand-in engine has port {port}"))
}

/// Where a client finds what listens there.
pub(super) fn url(listen: SocketAddr) -> String {
    let host = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => std::net::Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(host, listen.port()))
}

fn refusal(wanted: SocketAddr, kind: ErrorKind, holder: Option<&str>) -> String {
    let port = wanted.port();
    match kind {
        ErrorKind::AddrInUse => {
            let holder = holder.map(|holder| format!(" by {holder}")).unwrap_or_default();
            format!("port {port} is taken{holder}: stop what listens there, or {}", another(wanted))
        }
        ErrorKind::PermissionDenied => format!("port {port} is for root only: choose one from 1024 on by --port"),
        ErrorKind::AddrNotAvailable => format!("this machine hasn't the address {}", wanted.ip()),
        kind => format!("can't listen on {wanted}: {kind}"),
    }
}

/// The flag for the next port that is free.
fn another(taken: SocketAddr) -> String {
    let ports = taken.port().saturating_add(1)..=u16::MAX;
    let mut others = ports.map(|port| SocketAddr::new(taken.ip(), port)).take(100);
    match others.find(|other| TcpListener::bind(other).is_ok()) {
        None => "choose another by --port".to_owned(),
        Some(other) if taken.ip() == STAND_IN.ip() => format!("--port {}", other.port()),
        Some(other) => format!("--listen {other}"),
    }
}

/// Who listens on a port, where the system tells that.
fn holder(port: u16) -> Option<String> {
    let ask = || output(command("ss", ["-Hltnp"]).arg(format!("sport = :{port}"))).ok();
    named(&has("ss").then(ask)??)
}

/// `nginx (pid 123)`, of `… users:(("nginx",pid=123,fd=6))`.
fn named(listed: &str) -> Option<String> {
    let (name, rest) = listed.split_once("((\"")?.1.split_once("\",pid=")?;
    let pid: u32 = rest.split(',').next()?.parse().ok()?;
    Some(format!("{} (pid {pid})", super::style::plain(name)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_named_with_the_way_out() {
        let holds = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let taken = holds.local_addr().unwrap();
        let error = free(taken).unwrap_err().to_string();
        assert!(error.starts_with(&format!("port {} is taken", taken.port())), "{error}");
        assert!(error.contains("stop what listens there, or --port "), "{error}");
        let other: u16 = error.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(free((Ipv4Addr::LOCALHOST, other).into()).is_ok(), "what it names is free");
        drop(holds);
        assert_eq!(free(taken).unwrap(), taken);
        assert_ne!(free((Ipv4Addr::LOCALHOST, 0).into()).unwrap().port(), 0);
    }

    #[test]
    fn who_has_it_is_told_where_that_is_known() {
        let listed = r#"LISTEN 0 4096 127.0.0.1:3000 0.0.0.0:* users:(("sluice-host",pid=5190,fd=13))"#;
        assert_eq!(named(listed).as_deref(), Some("sluice-host (pid 5190)"));
        assert_eq!(named("LISTEN 0 4096 127.0.0.1:3000 0.0.0.0:*"), None);
        let any = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 3000);
        let said = refusal(any, ErrorKind::AddrInUse, named(listed).as_deref());
        assert!(said.starts_with("port 3000 is taken by sluice-host (pid 5190): "), "{said}");
        assert!(said.contains("--listen 0.0.0.0:"), "{said}");
        assert_eq!(
            refusal(any, ErrorKind::PermissionDenied, None).split(':').next(),
            Some("port 3000 is for root only")
        );
    }

    #[test]
    fn all_addresses_are_reached_by_the_local_one() {
        assert_eq!(url("0.0.0.0:3000".parse().unwrap()), "http://127.0.0.1:3000");
        assert_eq!(url("[::]:3000".parse().unwrap()), "http://[::1]:3000");
        assert_eq!(url("127.0.0.2:80".parse().unwrap()), "http://127.0.0.2:80");
        assert_eq!(moved(STAND_IN), None);
        assert!(moved("127.0.0.1:9".parse().unwrap()).unwrap().ends_with("has port 9"));
    }
}
