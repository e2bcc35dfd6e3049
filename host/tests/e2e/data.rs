//! The data of a host: in SQLite, or, with `SLUICE_E2E_STORE=redis` or `postgres`, in a server that the tests start.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::postgres::server::{Database, Server};
use crate::setup::{ReservedPort, TIMEOUT};

/// Deleted on drop, together with a server of its own.
pub struct Data {
    directory: TempDir,
    store: Store,
}

enum Store {
    Sqlite,
    Redis(Redis),
    Postgres(Database),
}

impl Data {
    pub fn new() -> Self {
        Self::with(|| Database::new(&shared_server()))
    }

    /// Like [`Data::new`], with a server that no other data is in, so that it may crash.
    pub fn that_may_crash() -> Self {
        Self::with(|| Database::new(&Arc::new(Server::start())))
    }

    /// Whether [`Data::new`] is in PostgreSQL.
    pub fn is_in_postgres() -> bool {
        std::env::var("SLUICE_E2E_STORE").as_deref() == Ok("postgres")
    }

    fn with(postgres: impl FnOnce() -> Database) -> Self {
        match std::env::var("SLUICE_E2E_STORE").as_deref() {
            Err(_) | Ok("sqlite") => Self { directory: directory(), store: Store::Sqlite },
            Ok("redis") => Self::in_redis(),
            Ok("postgres") => Self::in_postgres(postgres()),
            Ok(other) => panic!("SLUICE_E2E_STORE is {other}; expected sqlite, redis or postgres"),
        }
    }

    pub fn in_redis() -> Self {
        let directory = directory();
        let redis = Redis::start(directory.path());
        Self { directory, store: Store::Redis(redis) }
    }

    pub fn in_postgres(database: Database) -> Self {
        Self { directory: directory(), store: Store::Postgres(database) }
    }

    /// The directory of the SQLite file.
    pub fn state_dir(&self) -> &Path {
        self.directory.path()
    }

    /// The runtime configuration for a host whose data is in Redis.
    pub fn runtime_config(&self) -> Option<PathBuf> {
        let Store::Redis(redis) = &self.store else { return None };
        let file = self.directory.path().join("runtime-config.toml");
        std::fs::write(&file, format!("[key_value_store.default]\ntype = \"redis\"\nurl = \"{}\"\n", redis.url()))
            .unwrap();
        Some(file)
    }

    /// The variables for a host whose data is in PostgreSQL.
    pub fn variables(&self) -> Vec<(String, String)> {
        let Store::Postgres(database) = &self.store else { return Vec::new() };
        vec![("database_url".to_owned(), database.url()), ("database_host".to_owned(), database.host())]
    }

    pub fn redis(&mut self) -> &mut Redis {
        let Store::Redis(redis) = &mut self.store else { panic!("the data isn't in Redis") };
        redis
    }

    /// The database, if the data is in PostgreSQL.
    pub fn postgres(&self) -> Option<&Database> {
        let Store::Postgres(database) = &self.store else { return None };
        Some(database)
    }

    /// Kills and restarts the server. SQLite needs nothing: it runs in the host's process, and is killed with it.
    pub fn crash(&mut self) {
        match &mut self.store {
            Store::Sqlite => {}
            Store::Redis(redis) => {
                redis.kill();
                redis.restart();
            }
            Store::Postgres(database) => {
                database.server().kill();
                database.server().restart();
            }
        }
    }
}

/// A server for databases of all tests that run now.
pub fn shared_server() -> Arc<Server> {
    static SERVER: Mutex<Weak<Server>> = Mutex::new(Weak::new());
    let mut shared = SERVER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(Server::start());
        *shared = Arc::downgrade(&server);
        server
    })
}

/// A directory in memory where possible: a disk takes milliseconds for each durable write, and no test simulates a
/// power failure.
pub fn directory() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { TempDir::new_in(memory).unwrap() } else { TempDir::new().unwrap() }
}

/// A Redis server that acknowledges a write only when it is durable.
pub struct Redis {
    port: ReservedPort,
    directory: PathBuf,
    child: Child,
}

impl Redis {
    fn start(directory: &Path) -> Self {
        let port = ReservedPort::new();
        let child = serve(port.addr().port(), directory);
        Self { port, directory: directory.to_owned(), child }
    }

    pub fn url(&self) -> String {
        format!("redis://{}", self.port.addr())
    }

    /// Starts a killed server again with the same port and data.
    pub fn restart(&mut self) {
        self.child = serve(self.port.addr().port(), &self.directory);
    }

    /// Sends SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Runs a command with `redis-cli` and returns its output.
    pub fn cli(&self, command: &[&str]) -> String {
        let port = self.port.addr().port().to_string();
        let output = Command::new("redis-cli").args(["-p", &port]).args(command).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// Stops the server even if the test fails.
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
        .expect("can't run redis-server; on Debian, `apt-get install redis-server`");
    let start = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(child.try_wait().unwrap().is_none(), "redis-server exited");
        assert!(start.elapsed() < TIMEOUT, "redis-server doesn't listen");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}
