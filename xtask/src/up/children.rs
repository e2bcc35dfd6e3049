//! Child processes, and the signals that end them. None of them outlives this process when it returns, panics, or gets
//! SIGINT, SIGTERM or SIGHUP. They end in the reverse order of their starts: Sluice, then the engine behind it.
//!
//! Each child is the leader of a process group: it starts with `process_group(0)` and ends with `kill_process_group`. A
//! crate such as `process-wrap` would replace only these two calls, not the threads that read output and wait.

use std::fmt::{self, Display, Formatter};
use std::fs::File;
use std::io::{BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{JoinHandle, spawn};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How long a service may take to end. Airflow's scheduler takes 10 s on a busy machine.
const SERVICE_END: Duration = Duration::from_secs(20);

/// The stream that a line was written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Stdout,
    Stderr,
}

/// An event of a child, or a signal to this process.
#[derive(Debug)]
pub(super) enum Event {
    /// A line of a child's output, ended by a line feed or a carriage return.
    Line { name: &'static str, source: Source, line: String },
    /// The end of a child. It comes after all of the child's output.
    Exited { name: &'static str, status: ExitStatus },
    /// SIGINT (Ctrl-C), SIGTERM or SIGHUP.
    Interrupt,
}

/// The error of a start that was interrupted by a signal.
#[derive(Debug)]
pub(super) struct Interrupted;

impl Display for Interrupted {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// The running children, and a queue of their events.
pub(super) struct Children {
    sender: Sender<Event>,
    events: Receiver<Event>,
    /// In the order of their starts.
    running: Vec<Running>,
    is_ending: bool,
    /// The last one that was interrupted, which isn't interrupted again.
    interrupted: Option<Pid>,
    /// How long a service may take to end, and when the one that was interrupted is killed.
    service_end: Duration,
    deadline: Option<Instant>,
}

/// A child that runs.
#[derive(Clone, Copy)]
struct Running {
    name: &'static str,
    /// Its process, and the group that it leads.
    leader: Pid,
    is_service: bool,
}

impl Children {
    /// Starts without children. From then on, SIGINT, SIGTERM and SIGHUP are events, and no longer end this process.
    pub(super) fn new() -> Result<Children> {
        let (sender, events) = channel();
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let interrupts = sender.clone();
        spawn(move || signals.forever().all(|_| interrupts.send(Event::Interrupt).is_ok()));
        Ok(Children {
            sender,
            events,
            running: Vec::new(),
            is_ending: false,
            interrupted: None,
            service_end: SERVICE_END,
            deadline: None,
        })
    }

    /// Starts a child in its own process group. Ctrl-C then reaches only this process, and a signal to the group also
    /// reaches the child's own children.
    pub(super) fn start(&mut self, name: &'static str, command: &mut Command) -> Result<()> {
        self.begin(name, command.stdout(Stdio::piped()).stderr(Stdio::piped()), false)
    }

    /// Starts a child that writes its output to a file instead of this process. Such a child ends its own children once
    /// it is interrupted, and is killed if that takes longer than [`SERVICE_END`].
    pub(super) fn start_service(&mut self, name: &'static str, command: &mut Command, log: &File) -> Result<()> {
        self.begin(name, command.stdout(log.try_clone()?).stderr(log.try_clone()?), true)
    }

    fn begin(&mut self, name: &'static str, command: &mut Command, is_service: bool) -> Result<()> {
        let mut child =
            command.stdin(Stdio::null()).process_group(0).spawn().with_context(|| format!("can't run {name}"))?;
        let leader = Pid::from_child(&child);
        self.running.push(Running { name, leader, is_service });
        let stdout = child.stdout.take().map(|pipe| self.forward(name, Source::Stdout, pipe));
        let stderr = child.stderr.take().map(|pipe| self.forward(name, Source::Stderr, pipe));
        let sender = self.sender.clone();
        spawn(move || {
            let status = child.wait();
            // The child's own children would keep the pipes open, and outlive it.
            let _ = kill_process_group(leader, Signal::KILL);
            for pipe in [stdout, stderr].into_iter().flatten() {
                let _ = pipe.join();
            }
            // The receiver is gone once this process ends.
            let _ = sender.send(Event::Exited { name, status: status.unwrap_or_default() });
        });
        Ok(())
    }

    /// Sends each line of a pipe as an event.
    fn forward(&self, name: &'static str, source: Source, pipe: impl Read + Send + 'static) -> JoinHandle<()> {
        let sender = self.sender.clone();
        spawn(move || {
            for line in Lines(BufReader::new(pipe)) {
                let _ = sender.send(Event::Line { name, source, line });
            }
        })
    }

    /// The next event; `None` once no child is left.
    pub(super) fn next(&mut self) -> Option<Event> {
        if self.running.is_empty() {
            return None;
        }
        let event = match self.deadline {
            None => self.events.recv().ok()?,
            Some(deadline) => match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(event) => event,
                Err(_) => {
                    self.deadline = None;
                    self.running.last().inspect(|last| last.kill());
                    self.events.recv().ok()?
                }
            },
        };
        Some(self.record(event))
    }

    /// The next event, if there is one within the timeout.
    pub(super) fn next_within(&mut self, timeout: Duration) -> Option<Event> {
        match self.events.recv_timeout(timeout) {
            Ok(event) => Some(self.record(event)),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }

    fn record(&mut self, event: Event) -> Event {
        if let Event::Exited { name, .. } = event {
            self.running.retain(|running| running.name != name);
            if self.is_ending {
                self.interrupt();
            }
        }
        event
    }

    /// Sends SIGINT to the child that was started last. Each other child gets it once those that were started after it
    /// have ended.
    pub(super) fn interrupt(&mut self) {
        self.is_ending = true;
        if let Some(last) = self.running.last().filter(|last| self.interrupted != Some(last.leader)) {
            self.interrupted = Some(last.leader);
            self.deadline = last.is_service.then(|| Instant::now() + self.service_end);
            last.interrupt();
        }
    }

    /// Interrupts all children and waits until they have ended. A second Ctrl-C kills them.
    pub(super) fn end(&mut self) {
        self.interrupt();
        while let Some(event) = self.next() {
            if let Event::Interrupt = event {
                self.kill();
            }
        }
    }

    /// Kills all children.
    pub(super) fn kill(&self) {
        self.running.iter().for_each(Running::kill);
    }
}

impl Running {
    /// Sends SIGINT. To the group, as Ctrl-C in a terminal does; but a service passes it on by itself, and Airflow's
    /// processes hang if they get two signals.
    fn interrupt(&self) {
        // The child may have ended in the meantime, here and below.
        let _ = match self.is_service {
            true => kill_process(self.leader, Signal::INT),
            false => kill_process_group(self.leader, Signal::INT),
        };
    }

    fn kill(&self) {
        let _ = kill_process_group(self.leader, Signal::KILL);
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An iterator over lines. A line may end with only a carriage return, as a progress bar does.
struct Lines<R>(R);

impl<R: Read> Iterator for Lines<BufReader<R>> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let text = |line: &[u8]| Some(String::from_utf8_lossy(line).into_owned());
        let mut line = Vec::new();
        for byte in self.0.by_ref().bytes() {
            match byte {
                // A carriage return at the start of a line doesn't end one.
                Ok(b'\r') if line.is_empty() => {}
                Ok(b'\n' | b'\r') => return text(&line),
                Ok(byte) => line.push(byte),
                Err(_) => break,
            }
        }
        if line.is_empty() { None } else { text(&line) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use xtask::shell::command;

    fn next_line(children: &mut Children) -> String {
        match children.next() {
            Some(Event::Line { line, .. }) => line,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn output_of_a_child_precedes_its_exit() {
        let mut children = Children::new().unwrap();
        children.start("sh", &mut command("sh", ["-c", "printf '\\ra\\rb\\n\\nlast'; exit 3"])).unwrap();
        let lines = [(); 4].map(|()| next_line(&mut children));
        assert_eq!(lines, ["a", "b", "", "last"]);
        let exited = children.next().unwrap();
        assert!(matches!(exited, Event::Exited { name: "sh", status } if status.code() == Some(3)), "{exited:?}");
        assert!(children.next().is_none());
    }

    #[test]
    fn children_end_in_the_reverse_order_of_their_starts() {
        let directory = std::env::temp_dir().join(format!("sluice-xtask-{}", std::process::id()));
        let mut children = Children::new().unwrap();
        // The first one says so when it is interrupted; the second one takes its time to end.
        let first = "trap 'echo interrupted; exit' INT; echo started; while :; do sleep 0.05; done";
        let second = "trap 'sleep 0.3; echo ended; exit' INT; echo started; while :; do sleep 0.05; done";
        for (name, script) in [("first", first), ("second", second)] {
            children.start(name, &mut command("sh", ["-c", script])).unwrap();
            assert_eq!(next_line(&mut children), "started");
        }
        let log = File::create(&directory).unwrap();
        children.start_service("third", &mut command("sh", ["-c", "echo one; echo two >&2"]), &log).unwrap();
        assert!(matches!(children.next(), Some(Event::Exited { name: "third", .. })), "its output is no event");
        assert_eq!(std::fs::read_to_string(&directory).unwrap(), "one\ntwo\n");
        std::fs::remove_file(directory).unwrap();

        children.interrupt();
        children.interrupt();
        assert_eq!(next_line(&mut children), "ended");
        assert!(matches!(children.next(), Some(Event::Exited { name: "second", .. })));
        assert_eq!(next_line(&mut children), "interrupted");
        assert!(matches!(children.next(), Some(Event::Exited { name: "first", .. })));
        assert!(children.next().is_none());
    }

    #[test]
    fn service_that_does_not_end_is_killed() {
        let log = File::options().write(true).open("/dev/null").unwrap();
        let mut children = Children::new().unwrap();
        children.service_end = Duration::from_millis(100);
        for name in ["first", "second"] {
            // Ignored signals stay ignored in the program that is executed.
            let mut service = command("sh", ["-c", "trap '' INT; exec sleep 60"]);
            children.start_service(name, &mut service, &log).unwrap();
        }
        children.interrupt();
        for name in ["second", "first"] {
            let event = children.next();
            assert!(matches!(event, Some(Event::Exited { name: ended, .. }) if ended == name), "{event:?}");
        }
        assert!(children.next().is_none());
    }

    #[test]
    fn children_of_a_child_end_with_it() {
        // The grandchild ignores SIGINT; it is killed once its parent has ended.
        let script = "trap 'exit 0' INT; (trap '' INT; exec sleep 60) & echo $!; while :; do sleep 0.1; done";
        let mut children = Children::new().unwrap();
        children.start("sh", &mut command("sh", ["-c", script])).unwrap();
        let grandchild: i32 = next_line(&mut children).parse().unwrap();
        children.end();
        let gone = || rustix::process::test_kill_process(Pid::from_raw(grandchild).unwrap()).is_err();
        let stat = || std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
        // It stays a zombie if no process reaps orphans.
        assert!((0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            gone() || stat().contains(") Z ")
        }));
    }
}
