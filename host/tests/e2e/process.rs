//! The host in a process of its own, which can be killed.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use crate::data::Data;
use crate::setup::{assert_confidential, root};

pub struct Process {
    child: Child,
    pub url: String,
    /// What it has written so far, except for the lines before it served.
    log: Arc<Mutex<String>>,
}

impl Process {
    /// Starts a host with this data, the operator's token `op3rator`, and these variables.
    pub fn start(data: &Data, variables: &[(&str, &str)]) -> Self {
        Self::with_environment(data, variables, &[])
    }

    pub fn with_environment(data: &Data, variables: &[(&str, &str)], environment: &[(&str, &str)]) -> Self {
        let of_data = data.variables();
        let of_data = of_data.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        // In the environment rather than in arguments, which every process of the machine can read.
        let variables = of_data.chain([("operator_token", "op3rator")]).chain(variables.iter().copied());
        let mut child = Command::new(env!("CARGO_BIN_EXE_sluice-host"))
            .arg("--from")
            .arg(root().join("spin.toml"))
            .arg("--state-dir")
            .arg(data.state_dir())
            .args(["--listen", "127.0.0.1:0"])
            .args(data.runtime_config().iter().flat_map(|file| [OsStr::new("--runtime-config-file"), file.as_os_str()]))
            .envs(variables.map(|(name, value)| (format!("SPIN_VARIABLE_{}", name.to_uppercase()), value)))
            .envs(environment.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::default();
        keep(child.stderr.take().unwrap(), &log);
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let url = stdout.by_ref().lines().find_map(|line| Some(line.unwrap().strip_prefix("Serving ")?.to_owned()));
        keep(stdout, &log);
        let url = url.unwrap_or_else(|| panic!("the host exited before it served: {}", log.lock().unwrap()));
        Self { child, url, log }
    }

    /// Sends SIGKILL.
    pub fn kill(mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "the host exited by itself");
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// Keeps the lines of a log. It must be consumed, or the host would block on a full pipe.
fn keep(output: impl Read + Send + 'static, log: &Arc<Mutex<String>>) {
    let log = log.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
}

/// Stops the host even if the test fails. Panics if its log has something confidential, or if it has held a connection
/// to a database over an outbound call.
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !std::thread::panicking() {
            let log = self.log.lock().unwrap();
            assert_confidential(&log);
            assert!(!log.contains("connection to a database is open"), "{log}");
        }
    }
}
