//! A PostgreSQL server for tests, and databases in it.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tempfile::TempDir;

use super::LIMITS;
use crate::data::directory;
use crate::setup::{ReservedPort, TIMEOUT, eventually, root};

/// The user that owns the database, and its password.
pub const USER: &str = "sluice";
pub const PASSWORD: &str = "r1ght-pa55word";

/// A server on a port of 127.0.0.1 with data of its own. Its clients need the password, and may use TLS.
pub struct Server {
    port: ReservedPort,
    directory: TempDir,
    child: Mutex<Child>,
}

impl Server {
    /// Starts a server with Debian's snakeoil certificate, which no system trusts.
    pub fn start() -> Self {
        let files = ["/etc/ssl/certs/ssl-cert-snakeoil.pem", "/etc/ssl/private/ssl-cert-snakeoil.key"].map(|file| {
            std::fs::read(file).unwrap_or_else(|error| panic!("{file}: {error}; on Debian, install ssl-cert"))
        });
        Self::with(directory(), files)
    }

    /// Starts a server with a certificate of its own for this name, such as `IP:127.0.0.1`.
    pub fn with_certificate_for(name: &str) -> Self {
        let directory = directory();
        let files = ["own.crt", "own.key"].map(|file| directory.path().join(file));
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
        openssl.args(["-days", "2", "-subj", "/CN=sluice", "-addext", "basicConstraints=critical,CA:FALSE"]);
        openssl
            .args(["-addext", &format!("subjectAltName={name}"), "-out"])
            .arg(&files[0])
            .arg("-keyout")
            .arg(&files[1]);
        let output = openssl.output().expect("can't run openssl; on Debian, `apt-get install openssl`");
        assert!(output.status.success(), "{output:?}");
        let files = files.map(|file| std::fs::read(file).unwrap());
        Self::with(directory, files)
    }

    /// Starts a server with this certificate and its key.
    fn with(directory: TempDir, [certificate, key]: [Vec<u8>; 2]) -> Self {
        give(directory.path());
        let password = directory.path().join("password");
        write(&password, PASSWORD.as_bytes());
        write(&directory.path().join("server.crt"), &certificate);
        write(&directory.path().join("server.key"), &key);

        let mut initdb = command("initdb", directory.path());
        initdb.args(["--username", USER, "--auth", "scram-sha-256", "--pwfile"]).arg(&password).arg("--pgdata");
        initdb.arg(directory.path().join("data")).args(["--encoding", "UTF8", "--locale", "C", "--no-sync"]);
        let output = initdb.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let port = ReservedPort::new();
        let child = serve(port.addr().port(), directory.path());
        let server = Self { port, directory, child: Mutex::new(child) };
        server.create_schema("postgres");
        server
    }

    /// Creates Sluice's schema in a database.
    pub fn create_schema(&self, database: &str) {
        let schema = std::fs::read_to_string(root().join("src/store/postgres/schema.sql")).unwrap();
        self.psql_in(database, &schema);
    }

    /// The server's entry in an allow-list.
    pub fn host(&self) -> String {
        format!("postgres://{}", self.port.addr())
    }

    /// The server's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.directory.path().join("server.crt")
    }

    /// The URL of a database, with a password that needs no encoding.
    pub fn url(&self, password: &str, database: &str) -> String {
        format!("postgres://{USER}:{password}@{}/{database}", self.port.addr())
    }

    /// The URL of the database `postgres` for another user.
    pub fn url_of(&self, user: &str, password: &str, parameters: &str) -> String {
        format!("postgres://{user}:{password}@{}/postgres?{parameters}", self.port.addr())
    }

    /// Runs statements in the database `postgres`, and returns what `psql` prints for them.
    pub fn psql(&self, statements: &str) -> String {
        self.psql_in("postgres", statements)
    }

    /// Runs statements in a database, and returns what `psql` prints for them.
    pub fn psql_in(&self, database: &str, statements: &str) -> String {
        let (success, output) = self.try_psql(database, statements);
        assert!(success, "{statements}: {output}");
        output
    }

    /// Runs statements in a database until one fails. Returns whether none did, and the output of `psql`.
    pub fn try_psql(&self, database: &str, statements: &str) -> (bool, String) {
        let mut psql = self.psql_command(database);
        let mut psql = psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        psql.stdin.take().unwrap().write_all(statements.as_bytes()).unwrap();
        let output = psql.wait_with_output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap().trim().to_owned())
    }

    /// Locks a table of the database `postgres` against all readers, until the returned lock is dropped.
    pub async fn lock(&self, table: &str) -> Lock {
        let held = format!("SELECT count(*) FROM pg_locks WHERE relation = '{table}'::regclass AND granted");
        self.lock_in("postgres", &format!("LOCK TABLE {table}"), &held).await
    }

    /// Runs a statement that locks something in a database, until the returned lock is dropped. `held` counts the locks.
    pub async fn lock_in(&self, database: &str, statement: &str, held: &str) -> Lock {
        let mut psql = self.psql_command(database);
        let child = psql.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut lock = Lock(child);
        let statements = format!("BEGIN; {statement};\n");
        lock.0.stdin.as_mut().unwrap().write_all(statements.as_bytes()).unwrap();
        eventually("it is locked", async || (self.psql_in(database, held) == "1").then_some(())).await;
        lock
    }

    /// Waits until this number of sessions wait for a lock.
    pub async fn until_waiting(&self, sessions: usize) {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        eventually("sessions wait", async || (self.psql(waiting) == sessions.to_string()).then_some(())).await;
    }

    fn psql_command(&self, database: &str) -> Command {
        let mut psql = command("psql", self.directory.path());
        psql.arg(self.url(PASSWORD, database)).args(["--quiet", "--no-psqlrc", "--tuples-only", "--no-align"]);
        psql.args(["--set", "ON_ERROR_STOP=1", "--file", "-"]);
        psql
    }

    /// Mounts a file system of this size in memory as a tablespace. It needs root, as only root can mount.
    pub fn tablespace(&self, name: &str, kib: u32) -> Mounted {
        let directory = self.directory.path().join(name);
        std::fs::create_dir(&directory).unwrap();
        mount(&format!("size={kib}k"), &directory);
        let mounted = Mounted(directory);
        give(&mounted.0);
        self.psql(&format!("CREATE TABLESPACE {name} LOCATION '{}'", mounted.0.display()));
        mounted
    }

    /// Restarts the server as a standby, which has no primary.
    pub fn restart_as_standby(&self) {
        self.stop();
        write(&self.directory.path().join("data/standby.signal"), b"");
        self.restart();
    }

    /// Stops the server at once, like a crash, but without leaving its shared memory behind.
    pub fn stop(&self) {
        let mut child = self.child();
        assert!(signal("-QUIT", &[child.id()]));
        child.wait().unwrap();
    }

    /// Sends SIGKILL to all processes of the server. A server that starts with the same data removes the shared memory
    /// that this leaves behind.
    pub fn kill(&self) {
        let mut child = self.child();
        let output = Command::new("pgrep").args(["--parent", &child.id().to_string()]).output().unwrap();
        let mut processes: Vec<u32> =
            String::from_utf8(output.stdout).unwrap().lines().map(|id| id.parse().unwrap()).collect();
        // Without their parent, the others would end by themselves; it could start others in the meantime.
        child.kill().unwrap();
        child.wait().unwrap();
        signal("-KILL", &processes);
        let is_alive = |id: &u32| Path::new(&format!("/proc/{id}")).exists();
        let start = Instant::now();
        while !processes.is_empty() {
            processes.retain(is_alive);
            assert!(start.elapsed() < TIMEOUT, "processes of the server don't end: {processes:?}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Starts a stopped server again with the same port and data.
    pub fn restart(&self) {
        *self.child() = serve(self.port.addr().port(), self.directory.path());
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops the server even if the test fails.
impl Drop for Server {
    fn drop(&mut self) {
        let mut child = self.child();
        if child.try_wait().is_ok_and(|status| status.is_none()) {
            signal("-QUIT", &[child.id()]);
            let _ = child.wait();
        }
    }
}

/// A database with Sluice's schema. It is not dropped before its server.
pub struct Database {
    server: Arc<Server>,
    name: String,
}

impl Database {
    pub fn new(server: &Arc<Server>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("sluice_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        // Nobody is connected to the template, as the first statement is in another database.
        server.psql_in("template1", &format!("CREATE DATABASE {name} TEMPLATE postgres"));
        Self { server: server.clone(), name }
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Its URL, with a password and with limits.
    pub fn url(&self) -> String {
        self.server.url(PASSWORD, &format!("{}?{LIMITS}", self.name))
    }

    /// The entry of its server in an allow-list.
    pub fn host(&self) -> String {
        self.server.host()
    }

    /// Runs statements, and returns what `psql` prints for them.
    pub fn psql(&self, statements: &str) -> String {
        self.server.psql_in(&self.name, statements)
    }

    /// Lets the database's clock go forward, so that leases run out.
    pub fn advance(&self, ms: u64) {
        self.psql(&format!(
            "CREATE TABLE IF NOT EXISTS passed (ms int8 NOT NULL); INSERT INTO passed VALUES ({ms});
            CREATE OR REPLACE FUNCTION sluice_clock() RETURNS int8 LANGUAGE sql VOLATILE AS $$
                SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::int8 + (SELECT sum(ms) FROM passed)::int8
            $$"
        ));
    }

    /// Lets statements that call `pg_advisory_xact_lock(1)` wait, until the returned lock is dropped.
    pub async fn lock(&self) -> Lock {
        let held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        self.server.lock_in(&self.name, "SELECT pg_advisory_xact_lock(1)", held).await
    }

    /// Waits until this number of sessions wait for a lock.
    pub async fn until_waiting(&self, sessions: usize) {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
            AND datname = current_database()";
        eventually("sessions wait", async || (self.psql(waiting) == sessions.to_string()).then_some(())).await;
    }

    /// Ends the sessions that wait for a lock, and rolls their statements back.
    pub fn end_waiting(&self) {
        self.psql(
            "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE wait_event_type = 'Lock'
                AND datname = current_database()",
        );
    }
}

fn signal(name: &str, processes: &[u32]) -> bool {
    Command::new("kill")
        .arg(name)
        .args(processes.iter().map(u32::to_string))
        .stderr(Stdio::null())
        .status()
        .unwrap()
        .success()
}

/// A session that holds a lock.
pub struct Lock(Child);

impl Drop for Lock {
    fn drop(&mut self) {
        // At the end of its input, `psql` closes the session.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// A mounted file system. Unmounted on drop, even while the server still has files open there.
pub struct Mounted(PathBuf);

impl Mounted {
    /// Changes its size.
    pub fn resize(&self, kib: u32) {
        mount(&format!("remount,size={kib}k"), &self.0);
    }
}

fn mount(options: &str, directory: &Path) {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", options, "sluice-e2e"]).arg(directory);
    assert!(mount.status().unwrap().success(), "can't mount a file system: run this test as root");
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn serve(port: u16, directory: &Path) -> Child {
    let mut server = command("postgres", directory);
    server.args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k"]).arg(directory).arg("-D");
    server.arg(directory.join("data"));
    // No test simulates a power failure.
    for setting in
        ["ssl=on", "ssl_cert_file=../server.crt", "ssl_key_file=../server.key", "fsync=off", "max_connections=400"]
    {
        server.args(["-c", setting]);
    }
    let mut child = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    let is_ready = || {
        let mut probe = command("pg_isready", directory);
        probe.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]).status().unwrap().success()
    };
    while !is_ready() {
        assert!(child.try_wait().unwrap().is_none(), "postgres exited");
        assert!(start.elapsed() < TIMEOUT, "postgres doesn't listen");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    child
}

/// A program of PostgreSQL. As root, it runs as the package's user, because the server refuses to run as root.
fn command(program: &str, directory: &Path) -> Command {
    let mut command = Command::new(programs().join(program));
    command.current_dir(directory).env_clear();
    if let Some((user, group)) = server_user() {
        command.uid(user).gid(group);
    }
    command
}

/// The directory of the newest server that Debian's packages have installed.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let newest = versions.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok()).max();
    let newest = newest.expect("PostgreSQL is missing; on Debian, `apt-get install postgresql`");
    format!("/usr/lib/postgresql/{newest}/bin").into()
}

/// The package's user and group, if this is root.
fn server_user() -> Option<(u32, u32)> {
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    is_root.then(|| {
        let home = std::fs::metadata("/var/lib/postgresql").expect("the user postgres has no directory");
        (home.uid(), home.gid())
    })
}

/// Gives a file to the server's user.
fn give(path: &Path) {
    if let Some((user, group)) = server_user() {
        chown(path, Some(user), Some(group)).unwrap();
    }
}

/// Writes a file that only the server can read.
fn write(path: &Path, content: &[u8]) {
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(content).unwrap();
    file.set_permissions(std::fs::Permissions::from_mode(0o600)).unwrap();
    give(path);
}
