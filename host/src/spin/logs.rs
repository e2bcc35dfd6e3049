//! Log output of the components and of the host, line by line.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
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

    /// A stream for a guest's stdout or stderr, which is also written to the file.
    pub(crate) fn stream(&self, source: Source, file: Option<LogFile>) -> LineStream {
        LineStream(Arc::new(Mutex::new(Lines { logs: self.clone(), source, file, partial: Vec::new() })))
    }
}

/// The log files of a component, as in Spin's `crates/trigger`, `StdioLoggingExecutorHooks::component_stdio_writer`.
#[derive(Clone, Debug)]
pub(crate) struct LogFiles {
    stdout: PathBuf,
    stderr: PathBuf,
}

impl LogFiles {
    pub(crate) fn new(directory: &Path, component: &str) -> std::io::Result<LogFiles> {
        std::fs::create_dir_all(directory)?;
        let path = |suffix| directory.join(format!("{component}_{suffix}.txt"));
        Ok(LogFiles { stdout: path("stdout"), stderr: path("stderr") })
    }

    /// Opens a file for one instance, with a second handle: Spin has one for each way of writing
    /// (`ComponentStdioWriter::new_forward`).
    pub(crate) fn open(&self, source: Source) -> std::io::Result<LogFile> {
        let path = match source {
            Source::Stdout => &self.stdout,
            Source::Stderr => &self.stderr,
        };
        let file = File::options().create(true).append(true).open(path)?;
        Ok(LogFile { _second: file.try_clone()?, file })
    }
}

/// A log file that an instance has open.
pub(crate) struct LogFile {
    file: File,
    _second: File,
}

/// A guest's stdout or stderr, logged line by line. The end of the guest completes its last line.
#[derive(Clone)]
pub(crate) struct LineStream(Arc<Mutex<Lines>>);

struct Lines {
    logs: Logs,
    source: Source,
    file: Option<LogFile>,
    /// The line that isn't complete yet.
    partial: Vec<u8>,
}

impl Lines {
    fn write(&mut self, bytes: &[u8]) {
        // Spin's `crates/telemetry`, `handle_app_log`. The subscriber of `Costs::spans` doesn't print it.
        if let Ok(text) = std::str::from_utf8(bytes) {
            tracing::info!(app_log = text);
        }
        if let Some(LogFile { file, .. }) = &mut self.file {
            // A full disk must not fail a request.
            let _ = file.write_all(bytes);
        }
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
            self.partial.push(b'\n');
            self.logs.write_line(self.source, &self.partial);
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
        // As in Spin's `crates/factor-wasi`, `PipedWriteStream`.
        Ok(1024 * 1024)
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
        let mut one = logs.stream(Source::Stdout, None);
        let mut two = logs.stream(Source::Stderr, None);
        one.write("first ".into()).unwrap();
        two.write("second\nthird ".into()).unwrap();
        one.clone().write("line\n".into()).unwrap();
        drop(two);
        logs.host_message("fourth");
        assert_eq!(logs.lines(), ["second", "first line", "third ", "sluice-host: fourth"]);
    }
}
