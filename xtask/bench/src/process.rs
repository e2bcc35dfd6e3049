//! Child processes that end with this process, and single requests to them.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Maximum time until a program is ready, or idle.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A child that is killed when it is dropped, and when this process ends without dropping it.
pub(super) struct Process(Child);

impl Process {
    /// Starts a command with its output in a log file.
    pub(super) fn start(command: &Command, log: &Path) -> Result<Process> {
        let file = File::create(log).with_context(|| format!("can't write {}", log.display()))?;
        let program = command.get_program();
        let mut wrapped = Command::new("setpriv");
        wrapped.args(["--pdeathsig", "KILL"]).arg(program).args(command.get_args());
        for (name, value) in command.get_envs() {
            wrapped.env(name, value.unwrap_or_default());
        }
        wrapped.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = wrapped.spawn().with_context(|| format!("can't run {}", program.display()))?;
        Ok(Process(child))
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits for the first 2xx response, and returns the time since `since`.
    pub(super) fn wait_until_ready(&mut self, request: &Request<'_>, since: Instant) -> Result<Duration> {
        let is_ready = || request.send().is_ok_and(|response| (200..300).contains(&response.status));
        self.wait(is_ready, request.url, since)
    }

    /// Waits until the process accepts connections on a port.
    pub(super) fn wait_until_listening(&mut self, port: &str) -> Result<Duration> {
        let address = format!("127.0.0.1:{port}");
        self.wait(|| TcpStream::connect(&address).is_ok(), &address, Instant::now())
    }

    fn wait(&mut self, is_ready: impl Fn() -> bool, address: &str, since: Instant) -> Result<Duration> {
        loop {
            if is_ready() {
                return Ok(since.elapsed());
            }
            if let Some(status) = self.0.try_wait()? {
                bail!("the process for {address} ended: {status}; see the logs in target/bench");
            }
            if since.elapsed() > TIMEOUT {
                bail!("{address} doesn't answer; see the logs in target/bench");
            }
            sleep(Duration::from_millis(1));
        }
    }
}

/// Waits until programs are idle, because they may process requests long after the response.
pub(super) fn wait_until_idle(programs: &[u32]) -> Result<()> {
    /// Maximum share of a core that counts as idle.
    const IDLE: f64 = 0.05;
    const INTERVAL: Duration = Duration::from_millis(500);
    if programs.is_empty() {
        return Ok(());
    }
    let since = Instant::now();
    let mut before = processor_seconds(programs)?;
    loop {
        sleep(INTERVAL);
        let now = processor_seconds(programs)?;
        if now - before < IDLE * INTERVAL.as_secs_f64() {
            return Ok(());
        }
        if since.elapsed() > TIMEOUT {
            bail!("a program is still busy a minute after its load");
        }
        before = now;
    }
}

/// Processor time in seconds of programs and their ended children (proc_pid_stat(5)).
fn processor_seconds(programs: &[u32]) -> Result<f64> {
    let mut ticks = 0;
    for program in programs {
        let stat = std::fs::read_to_string(format!("/proc/{program}/stat"))?;
        // A program's name, in parentheses, may contain spaces.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        ticks += fields.skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    }
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

impl Drop for Process {
    fn drop(&mut self) {
        // The child may have ended before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that is free at the moment.
pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
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
