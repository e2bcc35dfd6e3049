//! The calls from a component into its host, counted for each request.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use wasmtime::CallHook;

use crate::spin::logs::lock;

/// The calls of one request's instance into the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Crossings {
    /// Calls from Wasm into the host in total. Beside the imported functions, these are the runtime's own: each drop
    /// of a resource is two, one for the component's table and one for the host's, and each growth of memory is one.
    pub total: u64,
    /// Calls of imported functions, by `interface.function` as in WIT.
    pub imports: BTreeMap<String, u64>,
}

/// The crossings of the requests that have finished, in the order of their ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<Crossings>>>);

impl Log {
    pub(crate) fn take(&self) -> Vec<Crossings> {
        std::mem::take(&mut *lock(&self.0))
    }

    pub(crate) fn counter(&self) -> Counter {
        Counter { counted: Arc::default(), log: self.clone() }
    }
}

/// Counts the crossings of one instance, and adds them to the log on drop.
pub(crate) struct Counter {
    counted: Arc<Mutex<Crossings>>,
    log: Log,
}

impl Counter {
    /// Counts a change between Wasm and the host.
    pub(crate) fn hook(&self) -> impl FnMut(CallHook) + Send + Sync + 'static {
        let counted = self.counted.clone();
        move |hook| {
            if matches!(hook, CallHook::CallingHost) {
                lock(&counted).total += 1;
            }
        }
    }

    /// A subscriber that counts the imports by name: wasmtime's generated bindings open a span for each call.
    pub(crate) fn subscriber(&self) -> impl Subscriber + Send + Sync + 'static {
        Spans(self.counted.clone())
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        lock(&self.log.0).push(lock(&self.counted).clone());
    }
}

struct Spans(Arc<Mutex<Crossings>>);

impl Subscriber for Spans {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.name() == "wit-bindgen import"
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut name = Name::default();
        span.record(&mut name);
        *lock(&self.0).imports.entry(format!("{}.{}", name.module, name.function)).or_default() += 1;
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The fields of a span.
#[derive(Default)]
struct Name {
    module: String,
    function: String,
}

impl Visit for Name {
    fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "module" => self.module = value.to_owned(),
            "function" => self.function = value.to_owned(),
            _ => {}
        }
    }
}
