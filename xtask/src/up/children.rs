//! Child processes, and the signals that end them. None of them outlives this process when it returns, panics, or gets
//! SIGINT, SIGTERM or SIGHUP.
//!
//! Each child is the leader of a process group: it starts with `process_group(0)` and ends with `kill_process_group`. A
//! crate such as `process-wrap` would replace only these two calls, not the threads that read output and wait.

use std::io::{BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

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
    Line { source: Source, line: String },
    /// The end of a child. It comes after all of the child's output.
    Exited { name: &'static str, status: ExitStatus },
    /// SIGINT (Ctrl-C), SIGTERM or SIGHUP.
    Interrupt,
}

/// The error of a start that was interrupted by a signal.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(super) struct Interrupted;

/// The running children, and a queue of their events.
pub(super) struct Children {
    sender: Sender<Event>,
    events: Receiver<Event>,
    running: Vec<(&'static str, Pid)>,
}

impl Children {
    /// Starts without children. From then on, SIGINT, SIGTERM and SIGHUP are events, and no longer end this process.
    pub(super) fn new() -> Result<Children> {
        let (sender, events) = channel();
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let interrupts = sender.clone();
        spawn(move || signals.forever().all(|_| interrupts.send(Event::Interrupt).is_ok()));
        Ok(Children { sender, events, running: Vec::new() })
    }

    /// Starts a child in its own process group. Ctrl-C then reaches only this process, and a signal to the group also
    /// reaches the child's own children.
    pub(super) fn start(&mut self, name: &'static str, command: &mut Command) -> Result<()> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().with_context(|| format!("can't run {name}"))?;
        let group = Pid::from_child(&child);
        self.running.push((name, group));
        let stdout = child.stdout.take().map(|pipe| self.forward(Source::Stdout, pipe));
        let stderr = child.stderr.take().map(|pipe| self.forward(Source::Stderr, pipe));
        let sender = self.sender.clone();
        spawn(move || {
            let status = child.wait();
            // The child's own children would keep the pipes open, and outlive it.
            let _ = kill_process_group(group, Signal::KILL);
            for pipe in [stdout, stderr].into_iter().flatten() {
                let _ = pipe.join();
            }
            // The receiver is gone once this process ends.
            let _ = sender.send(Event::Exited { name, status: status.unwrap_or_default() });
        });
        Ok(())
    }

    /// Sends each line of a pipe as an event.
    fn forward(&self, source: Source, pipe: impl Read + Send + 'static) -> JoinHandle<()> {
        let sender = self.sender.clone();
        spawn(move || {
            for line in Lines(BufReader::new(pipe)) {
                let _ = sender.send(Event::Line { source, line });
            }
        })
    }

    /// The next event; `None` once no child is left.
    pub(super) fn next(&mut self) -> Option<Event> {
        if self.running.is_empty() {
            return None;
        }
        let event = self.events.recv().ok()?;
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
            self.running.retain(|(running, _)| *running != name);
        }
        event
    }

    /// Sends SIGINT to each child's group, as Ctrl-C in a terminal does.
    pub(super) fn interrupt(&self) {
        self.signal(Signal::INT);
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
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        for (_, group) in &self.running {
            // The child may have ended in the meantime.
            let _ = kill_process_group(*group, signal);
        }
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
    use crate::shell::command;

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
