#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{Read, Write};
use std::net::TcpStream;

use super::*;

/// A component whose handler traps, built from `traps.wat`. All other behaviour is tested with Sluice itself.
const TRAPS: &[u8] = include_bytes!("traps.wasm");

const MANIFEST: &str = r#"
    spin_manifest_version = 2
    [application]
    name = "traps"
    colour = "red"
    [[trigger.http]]
    route = "/gate/..."
    component = "traps"
    [component.traps]
    source = "traps.wasm"
"#;

/// A directory with the manifest and, if `is_built`, its component.
fn application(is_built: bool) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("spin.toml"), MANIFEST).unwrap();
    if is_built {
        std::fs::write(directory.path().join("traps.wasm"), TRAPS).unwrap();
    }
    directory
}

async fn get(host: &Host, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: gate.test\r\nconnection: close\r\n\r\n");
    let addr = host.addr();
    let ask = move || {
        let mut stream = TcpStream::connect(addr).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    tokio::task::spawn_blocking(ask).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn host_serves_and_reports_errors() {
    let directory = application(true);
    let logs = Logs::captured();
    let builder = || Host::builder().manifest(directory.path().join("spin.toml")).logs(logs.clone());
    let host = builder().start().await.unwrap();

    let health = get(&host, "/.well-known/spin/health").await;
    assert!(health.starts_with("HTTP/1.1 200") && health.ends_with("\r\n\r\nOK"), "{health}");
    assert!(get(&host, "/elsewhere").await.starts_with("HTTP/1.1 404"));
    let trap = get(&host, "/gate").await;
    assert!(trap.starts_with("HTTP/1.1 500") && trap.ends_with("\r\n\r\n"), "{trap}");

    let logged = |text: &str| logs.lines().iter().any(|line| line.contains(text));
    assert!(logged("application.colour has no effect"));
    assert!(logged("unreachable"));

    let in_use = builder().listen(host.addr()).start().await.unwrap_err().to_string();
    assert!(in_use.contains("--listen"), "{in_use}");

    host.key_value().set("default", "a", b"1".to_vec()).await.unwrap();
    host.stop().await;
    let restarted = builder().start().await.unwrap();
    assert_eq!(restarted.key_value().get("default", "a").await.unwrap(), Some(b"1".to_vec()));
    assert!(directory.path().join(".spin/sqlite_key_value.db").exists());
    restarted.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_component_is_named_in_the_error() {
    let directory = application(false);
    let builder = Host::builder().manifest(directory.path().join("spin.toml")).logs(Logs::captured());
    let error = format!("{:#}", builder.start().await.unwrap_err());
    assert!(error.contains("traps.wasm") && error.contains("cargo xtask build"), "{error}");
}
