//! Child processes that end with this process, and single requests to them.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};

/// Maximum time until a program is ready.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A program that is killed, together with its children, when it is dropped. If this process ends without that, the
/// program gets SIGTERM, which `spin up` passes on to its trigger.
pub(super) struct Process(Child);

impl Process {
    /// Starts a command with its output in a log file.
    pub(super) fn start(command: &Command, log: &Path) -> Result<Process> {
        let file = File::create(log).with_context(|| format!("can't write {}", log.display()))?;
        let program = command.get_program();
        let mut wrapped = Command::new("setpriv");
        wrapped.args(["--pdeathsig", "TERM"]).arg(program).args(command.get_args()).process_group(0);
        for (name, value) in command.get_envs() {
            wrapped.env(name, value.unwrap_or_default());
        }
        wrapped.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = wrapped.spawn().with_context(|| format!("can't run {}", program.display()))?;
        Ok(Process(child))
    }

    /// Resident memory in bytes of the program and its children.
    pub(super) fn resident(&self) -> Result<f64> {
        let id = self.0.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let mut pages = 0.0;
        for id in children.split_whitespace().chain([id.to_string().as_str()]) {
            let text = fs::read_to_string(format!("/proc/{id}/statm"))?;
            pages += text.split(' ').nth(1).context("no statm")?.parse::<f64>()?;
        }
        Ok(pages * rustix::param::page_size() as f64)
    }

    /// Waits for the first 2xx response, and returns the time since `since`.
    pub(super) fn wait_until_ready(&mut self, request: &Request<'_>, since: Instant) -> Result<Duration> {
        loop {
            if request.send().is_ok_and(|response| (200..300).contains(&response.status)) {
                return Ok(since.elapsed());
            }
            let url = request.url;
            if let Some(status) = self.0.try_wait()? {
                bail!("the process for {url} ended: {status}; see the logs in target/bench");
            }
            if since.elapsed() > TIMEOUT {
                bail!("{url} doesn't answer; see the logs in target/bench");
            }
            sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // All may have ended before.
        let group = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        let _ = group.map(|group| kill_process_group(group, Signal::KILL));
        let _ = self.0.wait();
    }
}

/// An address whose port is free at the moment.
pub(super) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A request: POST with a body, otherwise GET.
#[derive(Clone, Copy, Default)]
pub(super) struct Request<'a> {
    pub(super) url: &'a str,
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: Option<&'a [u8]>,
}

/// The response to a [`Request`].
pub(super) struct Response {
    pub(super) status: u16,
    /// The header `sluice-outcome`.
    pub(super) outcome: Option<String>,
    pub(super) body: String,
}

impl Request<'_> {
    pub(super) fn send(&self) -> Result<Response> {
        // A new agent for each request, so no connection stays open.
        let agent = ureq::Agent::new_with_config(ureq::Agent::config_builder().http_status_as_error(false).build());
        let mut response = match self.body {
            Some(body) => {
                let head =
                    self.headers.iter().fold(agent.post(self.url), |head, (name, value)| head.header(*name, *value));
                head.send(body)?
            }
            None => agent.get(self.url).call()?,
        };
        let outcome = response.headers().get("sluice-outcome").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Response { status: response.status().as_u16(), outcome, body: response.body_mut().read_to_string()? })
    }
}
