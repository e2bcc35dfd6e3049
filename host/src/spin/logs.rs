//! Log output of the components and of the host, line by line.

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// The destination of log lines. Lines of concurrent requests never mix.
#[derive(Clone, Debug, Default)]
pub struct Logs {
    /// `None` writes to the terminal.
    captured: Option<Arc<Mutex<Vec<String>>>>,
}

/// The stream that a line belongs to.
#[derive(Clone, Copy)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

impl Logs {
    /// Writes to the terminal: the component's stdout to stdout, its stderr and the host's messages to stderr.
    pub fn terminal() -> Logs {
        Logs::default()
    }

    /// Captures lines in memory, for tests.
    pub fn captured() -> Logs {
        Logs { captured: Some(Arc::default()) }
    }

    /// The captured lines; none if the logs go to the terminal.
    pub fn lines(&self) -> Vec<String> {
        self.captured.as_deref().map(|lines| lock(lines).clone()).unwrap_or_default()
    }

    /// Writes a message of the host itself.
    pub(crate) fn host_message(&self, message: impl std::fmt::Display) {
        self.write_line(Source::Stderr, format!("sluice-host: {message}\n").as_bytes());
    }

    fn write_line(&self, source: Source, line: &[u8]) {
        match (&self.captured, source) {
            (Some(lines), _) => {
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                lock(lines).push(String::from_utf8_lossy(line).into_owned());
            }
            // A closed terminal must not fail a request, so write errors are ignored.
            (None, Source::Stdout) => drop(std::io::stdout().lock().write_all(line)),
            (None, Source::Stderr) => drop(std::io::stderr().lock().write_all(line)),
        }
    }

    /// A stream for a guest's stdout or stderr.
    pub(crate) fn stream(&self, source: Source) -> LineStream {
        LineStream(Arc::new(Mutex::new(Lines { logs: self.clone(), source, partial: Vec::new() })))
    }
}

/// A guest's stdout or stderr, logged line by line. The end of the guest completes its last line.
#[derive(Clone)]
pub(crate) struct LineStream(Arc<Mutex<Lines>>);

struct Lines {
    logs: Logs,
    source: Source,
    /// The line that isn't complete yet.
    partial: Vec<u8>,
}

impl Lines {
    fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.logs.write_line(self.source, &self.partial);
                self.partial.clear();
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.partial.is_empty() {
            self.write(b"\n");
        }
    }
}

impl IsTerminal for LineStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LineStream {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Used by WASI 0.3 only, which this host doesn't provide.
        Box::new(tokio::io::sink())
    }
}

impl OutputStream for LineStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        lock(&self.0).write(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 * 1024)
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LineStream {
    async fn ready(&mut self) {}
}

/// Locks a mutex, ignoring poisoning: no panic leaves the guarded data inconsistent.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn concurrent_lines_do_not_mix() {
        let logs = Logs::captured();
        let mut one = logs.stream(Source::Stdout);
        let mut two = logs.stream(Source::Stderr);
        one.write("first ".into()).unwrap();
        two.write("second\nthird ".into()).unwrap();
        one.clone().write("line\n".into()).unwrap();
        drop(two);
        logs.host_message("fourth");
        assert_eq!(logs.lines(), ["second", "first line", "third ", "sluice-host: fourth"]);
    }
}
