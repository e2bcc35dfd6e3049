//! A program that runs as long as its owner, and one request to it.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a program may take until it answers.
const PATIENCE: Duration = Duration::from_secs(60);

/// A child that is ended when it is dropped, and when we end in any other way.
pub(super) struct Process(Child);

impl Process {
    /// Starts it; what it says goes to the file.
    pub(super) fn start(command: &Command, log: &Path) -> Result<Process> {
        let file = File::create(log).with_context(|| format!("can't write {}", log.display()))?;
        let program = command.get_program();
        let mut bound = Command::new("setpriv");
        bound.args(["--pdeathsig", "KILL"]).arg(program).args(command.get_args());
        for (name, value) in command.get_envs() {
            bound.env(name, value.unwrap_or_default());
        }
        bound.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = bound.spawn().with_context(|| format!("can't run {}", program.display()))?;
        Ok(Process(child))
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits for the first 2xx; says how long after `since` that was.
    pub(super) fn answers(&mut self, request: &Request<'_>, since: Instant) -> Result<Duration> {
        let answers = || request.send().is_ok_and(|answer| (200..300).contains(&answer.status));
        self.wait(answers, request.url, since)
    }

    /// Waits until it takes connections at the port.
    pub(super) fn listens(&mut self, port: &str) -> Result<Duration> {
        let address = format!("127.0.0.1:{port}");
        self.wait(|| TcpStream::connect(&address).is_ok(), &address, Instant::now())
    }

    fn wait(&mut self, is_there: impl Fn() -> bool, what: &str, since: Instant) -> Result<Duration> {
        loop {
            if is_there() {
                return Ok(since.elapsed());
            }
            if let Some(status) = self.0.try_wait()? {
                bail!("it ended before it answered: {status}; see the logs in target/bench");
            }
            if since.elapsed() > PATIENCE {
                bail!("{what} doesn't answer; see the logs in target/bench");
            }
            sleep(Duration::from_millis(1));
        }
    }
}

/// Waits until these programs rest: what one has taken, it may work on for long after its answer.
pub(super) fn rest(programs: &[u32]) -> Result<()> {
    /// Of a core.
    const BUSY: f64 = 0.05;
    const LOOK: Duration = Duration::from_millis(500);
    if programs.is_empty() {
        return Ok(());
    }
    let since = Instant::now();
    let mut before = busy(programs)?;
    loop {
        sleep(LOOK);
        let now = busy(programs)?;
        if now - before < BUSY * LOOK.as_secs_f64() {
            return Ok(());
        }
        if since.elapsed() > PATIENCE {
            bail!("a program is still at work a minute after its load");
        }
        before = now;
    }
}

/// Seconds of processor time that they have had, and those that they have ended (proc_pid_stat(5)).
fn busy(programs: &[u32]) -> Result<f64> {
    let mut ticks = 0;
    for program in programs {
        let stat = std::fs::read_to_string(format!("/proc/{program}/stat"))?;
        // A program's name, in brackets, may have blanks.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        ticks += fields.skip(11).take(4).filter_map(|field| field.parse::<u64>().ok()).sum::<u64>();
    }
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that is free now.
pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// One request. A POST if it has a body.
#[derive(Clone, Copy, Default)]
pub(super) struct Request<'a> {
    pub(super) url: &'a str,
    pub(super) headers: &'a [(&'a str, &'a str)],
    pub(super) body: Option<&'a [u8]>,
}

/// What came of it.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) outcome: Option<String>,
    pub(super) body: String,
}

impl Request<'_> {
    pub(super) fn send(&self) -> Result<Answer> {
        // On a connection of its own, so that nothing of it is left behind.
        let agent = ureq::Agent::new_with_config(ureq::Agent::config_builder().http_status_as_error(false).build());
        let mut answer = match self.body {
            Some(body) => {
                let head =
                    self.headers.iter().fold(agent.post(self.url), |head, (name, value)| head.header(*name, *value));
                head.send(body)?
            }
            None => agent.get(self.url).call()?,
        };
        let outcome = answer.headers().get("sluice-outcome").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Answer { status: answer.status().as_u16(), outcome, body: answer.body_mut().read_to_string()? })
    }
}
