//! A private PostgreSQL server for tests.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use xtask::shell::{apt_install, command, output, run, succeeds};

/// Where Debian installs the programs of each version of the server.
const VERSIONS: &str = "/usr/lib/postgresql";

/// The package of the server.
const PACKAGE: &str = "postgresql";

/// The server's superuser.
const USER: &str = "postgres";

/// A server on the loopback interface. It trusts every client, and stops when it is dropped.
pub(crate) struct Server {
    programs: PathBuf,
    /// The user and group that the server runs as, if this user is root: the server refuses that.
    owner: Option<(u32, u32)>,
    directory: PathBuf,
    port: u16,
}

impl Server {
    /// Installs the server's package if it is missing, and starts a server with a new, empty directory.
    pub(crate) fn start() -> Result<Self> {
        let programs = match programs() {
            Some(programs) => programs,
            None if apt_install(&[PACKAGE]) => programs().context("the package contains no server")?,
            None => bail!("PostgreSQL's server is missing; on Debian, `apt-get install {PACKAGE}`"),
        };
        let id = |flag| -> Result<u32> { Ok(output(&mut command("id", [flag, USER]))?.parse()?) };
        let is_root = output(&mut command("id", ["-u"]))? == "0";
        let owner = if is_root { Some((id("-u")?, id("-g")?)) } else { None };
        let directory = std::env::temp_dir().join(format!("sluice-postgres-{}", std::process::id()));
        fs::create_dir(&directory).with_context(|| format!("can't create {}", directory.display()))?;
        if let Some((user, group)) = owner {
            chown(&directory, Some(user), Some(group))?;
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let server = Self { programs, owner, directory, port };
        run(server.program("initdb").args([
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--username",
            USER,
        ]))?;
        let directory = server.directory.display();
        let options = format!("-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={directory}");
        let log = server.directory.join("log");
        run(server.program("pg_ctl").args(["start", "--wait", "--silent", "-o", &options, "--log"]).arg(log))?;
        Ok(server)
    }

    /// The URL of its maintenance database.
    pub(crate) fn url(&self) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/postgres", self.port)
    }

    /// One of its programs, on its data.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.arg("--pgdata").arg(self.directory.join("data")).current_dir(&self.directory).stdout(Stdio::null());
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        succeeds(self.program("pg_ctl").args(["stop", "--wait", "--mode=immediate"]));
        // The rest is in the directory for temporary files.
        let _: std::io::Result<()> = fs::remove_dir_all(&self.directory);
    }
}

/// The programs of the latest version that is installed.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(Path::new(VERSIONS)).ok()?.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    versions.filter(|programs| programs.join("initdb").is_file()).max_by_key(|programs| version(programs))
}

fn version(programs: &Path) -> Option<u32> {
    programs.parent()?.file_name()?.to_str()?.parse().ok()
}
