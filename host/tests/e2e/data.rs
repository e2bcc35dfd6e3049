//! Where a host's data is: in SQLite, or, with `SLUICE_E2E_STORE=redis`, in a Redis server of the test's own.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::setup::{Closed, PATIENCE};

pub struct Data {
    directory: TempDir,
    redis: Option<Redis>,
}

impl Data {
    pub fn new() -> Self {
        match std::env::var("SLUICE_E2E_STORE").as_deref() {
            Err(_) | Ok("sqlite") => Self { directory: directory(), redis: None },
            Ok("redis") => Self::in_redis(),
            Ok(other) => panic!("SLUICE_E2E_STORE is {other}; it may be sqlite or redis"),
        }
    }

    pub fn in_redis() -> Self {
        let directory = directory();
        let redis = Redis::start(directory.path());
        Self { directory, redis: Some(redis) }
    }

    /// The directory of SQLite's file.
    pub fn state(&self) -> &Path {
        self.directory.path()
    }

    /// What tells the host that it is elsewhere.
    pub fn runtime_config(&self) -> Option<PathBuf> {
        let redis = self.redis.as_ref()?;
        let file = self.directory.path().join("runtime-config.toml");
        std::fs::write(&file, format!("[key_value_store.default]\ntype = \"redis\"\nurl = \"{}\"\n", redis.url()))
            .unwrap();
        Some(file)
    }

    pub fn redis(&mut self) -> &mut Redis {
        self.redis.as_mut().unwrap()
    }

    /// What happens to it when the machine it is on loses power. SQLite's file is the host's own affair.
    pub fn crash(&mut self) {
        if let Some(redis) = &mut self.redis {
            redis.kill();
            redis.start_again();
        }
    }
}

/// In memory where the system has that, for a disk takes milliseconds to make each write durable, and no test pulls the plug.
fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory).unwrap() } else { TempDir::new().unwrap() }
}

/// A server that has written what it has answered.
pub struct Redis {
    port: Closed,
    directory: PathBuf,
    child: Child,
}

impl Redis {
    fn start(directory: &Path) -> Self {
        let port = Closed::new();
        let child = serve(port.addr().port(), directory);
        Self { port, directory: directory.to_owned(), child }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.port.addr())
    }

    pub fn start_again(&mut self) {
        self.child = serve(self.port.addr().port(), &self.directory);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What `redis-cli` says to a command.
    pub fn cli(&self, command: &[&str]) -> String {
        let port = self.port.addr().port().to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(command).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// A test that fails leaves no process.
impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(port: u16, directory: &Path) -> Child {
    let mut child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir"])
        .arg(directory)
        .args(["--save", "", "--appendonly", "yes", "--appendfsync", "always"])
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server isn't there; on Debian, `apt-get install redis-server`");
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(child.try_wait().unwrap().is_none(), "redis-server ended");
        assert!(start.elapsed() < PATIENCE, "redis-server doesn't listen");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}
