//! What a request costs in Spin and not in this host, to be switched on for a measurement.
//!
//! Each cost is the work that Spin 4.1-pre does by default (`spin up` without options, environment or runtime
//! configuration), at the same point of a request, as its source says.
//!
//! Not imitated: the builders of Spin's other interfaces, the copies of each header to a string and back, the limiter
//! of memory, and the metrics, which go nowhere without an exporter.

use std::str::FromStr;
use std::time::{Duration, Instant};

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt, registry};
use wasmtime::CallHook;

/// The costs that the host imitates; none by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Costs {
    /// Variables are looked up each time they are used: by a component one for each name in the template that it reads
    /// (Spin's `crates/expressions`, `ProviderResolver::resolve_template`), and before the first outbound call or
    /// connection of an instance all of the application, for the allow-list, which is then parsed anew
    /// (`crates/factor-outbound-networking`, `OutboundNetworkingFactor::prepare`).
    ///
    /// A look-up asks the options of the command line (`crates/runtime-factors`, `FactorsBuilder::build`), then the
    /// environment, which blocks the runtime's thread (`crates/variables-env`, `EnvVariablesProvider::get`), and last
    /// the manifest. The runtime gives the work of a blocked thread to another one, so the tasks of a request may then
    /// run at the same time.
    pub variables: bool,
    /// Each crossing between Wasm and the host reads the monotonic clock twice, as it leaves Wasm and as it returns
    /// (Spin's `crates/factors-executor`, `CpuTimeCallHook`; its feature `cpu-time-metrics` is on by default).
    pub cpu_time: bool,
    /// The whole process has Spin's subscriber (`crates/telemetry`, `init`) for the spans and events of requests and
    /// imports.
    ///
    /// It prints errors only, unless `RUST_LOG` is set. Yet it creates each span, those that wasmtime has for each
    /// import on the level TRACE too: its filter for alerts bounds no level, and spans that each layer refuses are
    /// created nevertheless.
    pub spans: bool,
    /// Each instance opens two log files in `logs` in the state directory, and a second handle of each. What it writes
    /// goes to a file and to the terminal (Spin's `crates/trigger`, `StdioLoggingExecutorHooks::prepare_instance`,
    /// `ComponentStdioWriter`).
    pub log_files: bool,
    /// The component is compiled with checks of the epoch, which ends each 10 ms, and wasmtime keeps the state of
    /// concurrent tasks for each instance (Spin's `crates/core`, `Config::default`,
    /// `EngineBuilder::maybe_spawn_epoch_ticker`).
    pub engine: bool,
}

impl Costs {
    /// All costs.
    pub const ALL: Costs = Costs { variables: true, cpu_time: true, spans: true, log_files: true, engine: true };
}

/// Parses a list of names that are separated by commas: `variables`, `cpu-time`, `spans`, `log-files`, `engine`, or
/// `all`.
impl FromStr for Costs {
    type Err = String;

    fn from_str(list: &str) -> Result<Costs, String> {
        let mut costs = Costs::default();
        for name in list.split(',') {
            match name {
                "all" => costs = Costs::ALL,
                "variables" => costs.variables = true,
                "cpu-time" => costs.cpu_time = true,
                "spans" => costs.spans = true,
                "log-files" => costs.log_files = true,
                "engine" => costs.engine = true,
                _ => {
                    return Err(format!("{name:?} is none of variables, cpu-time, spans, log-files, engine and all"));
                }
            }
        }
        Ok(costs)
    }
}

/// How long an instance ran ([`Costs::cpu_time`]).
#[derive(Default)]
pub(crate) struct CpuTime {
    last_entry: Option<Instant>,
    elapsed: Duration,
}

impl CpuTime {
    pub(crate) fn record(&mut self, hook: CallHook) {
        match hook {
            CallHook::CallingWasm | CallHook::ReturningFromHost => self.last_entry = Some(Instant::now()),
            CallHook::ReturningFromWasm | CallHook::CallingHost => {
                self.elapsed += self.last_entry.take().map(|entry| entry.elapsed()).unwrap_or_default();
            }
        }
    }
}

/// In Spin a metric.
impl Drop for CpuTime {
    fn drop(&mut self) {
        tracing::trace!(component_cpu_time = self.elapsed.as_secs_f64());
    }
}

/// Installs the subscriber of [`Costs::spans`] for the whole process, if there is none yet.
pub(crate) fn subscribe() {
    let _ = subscriber().try_init();
}

fn subscriber() -> impl Subscriber + Send + Sync {
    let directives = ["wasmtime_wasi_http=warn", "[{app_log}]=off", "[{app_log_non_utf8}]=off"];
    let printed = directives
        .into_iter()
        .filter_map(|directive| directive.parse().ok())
        .fold(EnvFilter::from_default_env(), EnvFilter::add_directive);
    let alerts = filter_fn(|metadata| metadata.fields().field("alert_in_dev").is_some());
    // Spin's layer for OTEL, which it has only if OTEL's variables are set.
    let exported: Option<LevelFilter> = None;
    registry()
        .with(exported)
        .with(fmt::layer().with_writer(std::io::stderr).with_filter(printed))
        .with(Alerts.with_filter(alerts))
}

/// Stands for the layer that prints Spin's alerts, of which this host has none.
struct Alerts;

impl<S: Subscriber> Layer<S> for Alerts {}

#[cfg(test)]
mod tests {
    use tracing::subscriber::with_default;

    use super::*;

    #[test]
    fn names_are_parsed() {
        assert_eq!("all".parse(), Ok(Costs::ALL));
        assert_eq!("variables,cpu-time,spans,log-files,engine".parse(), Ok(Costs::ALL));
        assert_eq!("spans".parse(), Ok(Costs { spans: true, ..Costs::default() }));
        assert!("".parse::<Costs>().is_err() && "spans,nodelay".parse::<Costs>().is_err());
    }

    #[test]
    fn spans_of_each_level_are_created() {
        with_default(subscriber(), || {
            assert!(!tracing::info_span!("import").is_disabled());
            assert!(!tracing::trace_span!("import").is_disabled());
        });
    }
}
