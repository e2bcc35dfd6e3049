//! What the component and the host say, line by line.

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

/// Where log lines go. A line stays whole, however many requests write at once.
#[derive(Clone, Debug, Default)]
pub struct Logs {
    /// None is the terminal.
    kept: Option<Arc<Mutex<Vec<String>>>>,
}

#[derive(Clone, Copy)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

impl Logs {
    /// Lines go to the terminal: the component's stdout to stdout, its stderr and the host's own words to stderr.
    pub fn terminal() -> Logs {
        Logs::default()
    }

    /// Lines are kept to be read, for tests.
    pub fn kept() -> Logs {
        Logs { kept: Some(Arc::default()) }
    }

    /// The lines so far, if they are kept.
    pub fn lines(&self) -> Vec<String> {
        self.kept.as_deref().map(|kept| lock(kept).clone()).unwrap_or_default()
    }

    /// A line of the host itself.
    pub(crate) fn say(&self, line: impl std::fmt::Display) {
        self.line(Source::Stderr, format!("sluice-host: {line}\n").as_bytes());
    }

    fn line(&self, source: Source, line: &[u8]) {
        match (&self.kept, source) {
            (Some(kept), _) => {
                let line = line.strip_suffix(b"\n").unwrap_or(line);
                lock(kept).push(String::from_utf8_lossy(line).into_owned());
            }
            // A terminal that is gone stops no request.
            (None, Source::Stdout) => drop(std::io::stdout().lock().write_all(line)),
            (None, Source::Stderr) => drop(std::io::stderr().lock().write_all(line)),
        }
    }

    /// A guest's stdout or stderr.
    pub(crate) fn stream(&self, source: Source) -> LineStream {
        LineStream(Arc::new(Mutex::new(Lines { logs: self.clone(), source, partial: Vec::new() })))
    }
}

/// Gathers a guest's output into lines.
#[derive(Clone)]
pub(crate) struct LineStream(Arc<Mutex<Lines>>);

struct Lines {
    logs: Logs,
    source: Source,
    partial: Vec<u8>,
}

impl Lines {
    fn write(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.partial.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.logs.line(self.source, &self.partial);
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
        // Asked for by WASI 0.3 only, which this host hasn't.
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

/// A panic elsewhere leaves nothing half done behind these locks.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_whole() {
        let logs = Logs::kept();
        let mut one = logs.stream(Source::Stdout);
        let mut two = logs.stream(Source::Stderr);
        one.write("first ".into()).unwrap();
        two.write("second\nthird ".into()).unwrap();
        one.clone().write("line\n".into()).unwrap();
        drop(two);
        logs.say("fourth");
        assert_eq!(logs.lines(), ["second", "first line", "third ", "sluice-host: fourth"]);
    }
}
