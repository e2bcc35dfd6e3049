//! The processes that we start, and the signals that end them. Whatever way we end, none of them stays.

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Stdout,
    Stderr,
}

/// What happens.
#[derive(Debug)]
pub(super) enum Event {
    /// A child says something: a line, or what is before a return of the carriage.
    Said { source: Source, line: String },
    /// A child is gone, and all that it said was told before.
    Ended { name: &'static str, status: ExitStatus },
    /// We are to end: Ctrl-C, or a signal that says the same.
    Stop,
}

/// We were told to end before we were through.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub(super) struct Interrupted;

pub(super) struct Children {
    sender: Sender<Event>,
    events: Receiver<Event>,
    running: Vec<(&'static str, Pid)>,
}

impl Children {
    /// None yet; from here on signals are events.
    pub(super) fn new() -> Result<Children> {
        let (sender, events) = channel();
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let stop = sender.clone();
        spawn(move || signals.forever().all(|_| stop.send(Event::Stop).is_ok()));
        Ok(Children { sender, events, running: Vec::new() })
    }

    /// Starts one, in a process group of its own: a Ctrl-C reaches us alone, and we reach its children too.
    pub(super) fn start(&mut self, name: &'static str, command: &mut Command) -> Result<()> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().with_context(|| format!("can't run {name}"))?;
        let group = Pid::from_child(&child);
        self.running.push((name, group));
        let stdout = child.stdout.take().map(|pipe| self.listen(Source::Stdout, pipe));
        let stderr = child.stderr.take().map(|pipe| self.listen(Source::Stderr, pipe));
        let sender = self.sender.clone();
        spawn(move || {
            let status = child.wait();
            // What it left behind would hold its pipes open, and live on.
            let _ = kill_process_group(group, Signal::KILL);
            for pipe in [stdout, stderr].into_iter().flatten() {
                let _ = pipe.join();
            }
            // Nobody listens any more when we end.
            let _ = sender.send(Event::Ended { name, status: status.unwrap_or_default() });
        });
        Ok(())
    }

    fn listen(&self, source: Source, pipe: impl Read + Send + 'static) -> JoinHandle<()> {
        let sender = self.sender.clone();
        spawn(move || {
            for line in Lines(BufReader::new(pipe)) {
                let _ = sender.send(Event::Said { source, line });
            }
        })
    }

    /// What happens next; `None` when all are gone.
    pub(super) fn next(&mut self) -> Option<Event> {
        if self.running.is_empty() {
            return None;
        }
        let event = self.events.recv().ok()?;
        Some(self.note(event))
    }

    /// What happens within this time.
    pub(super) fn next_within(&mut self, time: Duration) -> Option<Event> {
        match self.events.recv_timeout(time) {
            Ok(event) => Some(self.note(event)),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => None,
        }
    }

    fn note(&mut self, event: Event) -> Event {
        if let Event::Ended { name, .. } = event {
            self.running.retain(|(running, _)| *running != name);
        }
        event
    }

    /// Asks all to end, as Ctrl-C does.
    pub(super) fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Ends all, and waits for it.
    pub(super) fn end(&mut self) {
        self.interrupt();
        while let Some(event) = self.next() {
            if let Event::Stop = event {
                self.kill();
            }
        }
    }

    /// Ends all at once.
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        for (_, group) in &self.running {
            // It may just have ended.
            let _ = kill_process_group(*group, signal);
        }
    }
}

impl Drop for Children {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Lines, each of which may end by a carriage return alone, as progress does.
struct Lines<R>(R);

impl<R: Read> Iterator for Lines<BufReader<R>> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let text = |line: &[u8]| Some(String::from_utf8_lossy(line).into_owned());
        let mut line = Vec::new();
        for byte in self.0.by_ref().bytes() {
            match byte {
                // Back to the start of a line in which nothing was said.
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

    fn said(children: &mut Children) -> String {
        match children.next() {
            Some(Event::Said { line, .. }) => line,
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn a_child_is_heard_to_its_end() {
        let mut children = Children::new().unwrap();
        children.start("sh", &mut command("sh", ["-c", "printf '\\ra\\rb\\n\\nlast'; exit 3"])).unwrap();
        let lines = [said(&mut children), said(&mut children), said(&mut children), said(&mut children)];
        assert_eq!(lines, ["a", "b", "", "last"]);
        let ended = children.next().unwrap();
        assert!(matches!(ended, Event::Ended { name: "sh", status } if status.code() == Some(3)), "{ended:?}");
        assert!(children.next().is_none());
    }

    #[test]
    fn to_end_reaches_the_children_of_a_child() {
        // Its own child ignores Ctrl-C, and is told of all the same when the parent has ended.
        let script = "trap 'exit 0' INT; (trap '' INT; exec sleep 60) & echo $!; while :; do sleep 0.1; done";
        let mut children = Children::new().unwrap();
        children.start("sh", &mut command("sh", ["-c", script])).unwrap();
        let grandchild: i32 = said(&mut children).parse().unwrap();
        children.end();
        let gone = || rustix::process::test_kill_process(Pid::from_raw(grandchild).unwrap()).is_err();
        let stat = || std::fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default();
        // Where nobody takes in orphans it stays as a zombie.
        assert!((0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(50));
            gone() || stat().contains(") Z ")
        }));
    }
}
