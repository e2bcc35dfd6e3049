//! The program that runs the measured applications.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use xtask::shell::{command, output};

/// A program that runs an application from its manifest.
pub(super) enum Runner {
    /// The host in `host/`, with the costs of Spin.
    Host(PathBuf),
    Spin(PathBuf),
}

impl Runner {
    /// The command that runs an application with the values of all its variables. They are arguments: Spin looks up the
    /// others in the environment at each request, which blocks a thread each time.
    pub(super) fn command(
        &self,
        manifest: &Path,
        listen: SocketAddr,
        state: &Path,
        variables: &BTreeMap<String, String>,
    ) -> Command {
        let mut command = match self {
            Runner::Host(host) => command(host, ["--spin-costs"]),
            Runner::Spin(spin) => command(spin, ["up"]),
        };
        command.arg("--from").arg(manifest).args(["--listen", &listen.to_string(), "--state-dir"]).arg(state);
        for (name, value) in variables {
            command.arg("--variable").arg(format!("{name}={value}"));
        }
        // With it, each error in Spin that nobody sees costs a walk over the stack.
        command.env_remove("RUST_BACKTRACE").env_remove("RUST_LIB_BACKTRACE");
        command
    }

    /// Its name for the report, with Spin's version.
    pub(super) fn describe(&self) -> Result<String> {
        match self {
            Runner::Host(_) => Ok("`host/` with `--spin-costs`".to_owned()),
            Runner::Spin(spin) => output(&mut command(spin, ["--version"])).context("--spin"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use rustix::process::{Pid, test_kill_process};

    use super::super::process::Process;
    use super::*;
    use xtask::shell::root;

    /// Waits at most a minute.
    fn eventually<T>(mut check: impl FnMut() -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = check() {
                return found;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "the condition wasn't met");
            sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn host_has_the_costs_of_spin() {
        let host = Runner::Host("sluice-host".into());
        let listen = SocketAddr::from(([127, 0, 0, 1], 3000));
        let command = host.command(Path::new("a.toml"), listen, Path::new("state"), &BTreeMap::new());
        let expected = ["--spin-costs", "--from", "a.toml", "--listen", "127.0.0.1:3000", "--state-dir", "state"];
        assert!(command.get_args().eq(expected));
    }

    #[test]
    fn spin_takes_the_arguments_and_ends_with_its_trigger() {
        let directory = std::env::temp_dir().join(format!("sluice-bench-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let host = directory.join("host");
        // `mv` makes the file complete at once.
        let script = "#!/bin/sh\necho $$ \"$@\" >$0.new; mv $0.new $0.ran; exec sleep 600\n";
        fs::write(&host, script).unwrap();
        fs::set_permissions(&host, fs::Permissions::from_mode(0o755)).unwrap();

        let spin = Runner::Spin(root().join("bench/spin.sh"));
        assert_eq!(spin.describe().unwrap(), "spin 0.0.0 (bench/spin.sh)");
        let listen = SocketAddr::from(([127, 0, 0, 1], 3000));
        let variables = BTreeMap::from([("engine_url".to_owned(), "http://engine".to_owned())]);
        let mut command = spin.command(Path::new("a.toml"), listen, Path::new("state"), &variables);
        command.env("SLUICE_HOST", &host);
        let process = Process::start(&command, &directory.join("log")).unwrap();
        let ran = eventually(|| fs::read_to_string(host.with_extension("ran")).ok());
        let (trigger, arguments) = ran.trim_end().split_once(' ').unwrap();
        assert_eq!(
            arguments,
            "--from a.toml --listen 127.0.0.1:3000 --state-dir state --variable engine_url=http://engine"
        );

        drop(process);
        let trigger = Pid::from_raw(trigger.parse().unwrap()).unwrap();
        eventually(|| test_kill_process(trigger).err());
        fs::remove_dir_all(directory).unwrap();
    }
}
