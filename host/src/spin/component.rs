//! Turns a built module into a component that is ready to run.

use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Result, anyhow};
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Cache, CacheConfig, Config, Engine, PoolingAllocationConfig};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wit_component::ComponentEncoder;

use crate::spin::costs::Costs;
use crate::spin::guest::{Guest, Imports};

/// Converts a wasip1 module into a component, as Spin does. A component is returned unchanged.
pub fn componentize(wasm: &[u8]) -> Result<Vec<u8>> {
    // The magic number is followed by the version and the layer, which is 1 for a component.
    if wasm.get(6..8) == Some(&[1, 0]) {
        return Ok(wasm.to_vec());
    }
    ComponentEncoder::default()
        .validate(true)
        .module(wasm)?
        .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)?
        .encode()
}

/// Compiles a component and links it with the host's interfaces.
pub(crate) fn prepare(wasm: &[u8], costs: Costs) -> Result<ProxyPre<Guest>> {
    let engine = engine(costs.engine)?;
    let component = Component::from_binary(engine, &componentize(wasm)?).map_err(wasm_error)?;
    link(engine, &component).map_err(wasm_error)
}

fn link(engine: &Engine, component: &Component) -> wasmtime::Result<ProxyPre<Guest>> {
    let mut linker = Linker::<Guest>::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    Imports::add_to_linker::<_, HasSelf<_>>(&mut linker, |guest| guest)?;
    ProxyPre::new(linker.instantiate_pre(component)?)
}

/// The wasmtime engine, shared by all hosts of a process with the same costs: each pool reserves terabytes of address
/// space.
fn engine(costs: bool) -> Result<&'static Engine> {
    static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();
    static WITH_COSTS: OnceLock<Result<Engine, String>> = OnceLock::new();
    let new = || {
        let engine = Engine::new(&config(costs)).map_err(|error| format!("{error:#}"))?;
        if costs {
            let weak = engine.weak();
            std::thread::spawn(move || {
                while let Some(engine) = weak.upgrade() {
                    engine.increment_epoch();
                    std::thread::sleep(EPOCH);
                }
            });
        }
        Ok(engine)
    };
    let engine = if costs { &WITH_COSTS } else { &ENGINE };
    engine.get_or_init(new).as_ref().map_err(|error| anyhow!("{error}"))
}

/// The length of an epoch, as in Spin.
const EPOCH: Duration = Duration::from_millis(10);

/// A deadline that is never reached, as in Spin, which sets it for each store.
pub(crate) const NO_DEADLINE: u64 = u64::MAX / 2;

fn config(costs: bool) -> Config {
    /// Maximum number of concurrent requests, each with an instance of its own.
    const INSTANCES: u32 = 1000;
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(INSTANCES)
        // A component consists of a main module and a few small ones: the adapter and shims.
        .total_core_instances(INSTANCES * 4)
        .total_memories(INSTANCES)
        .total_tables(INSTANCES * 2)
        .total_stacks(INSTANCES)
        .max_memory_size(256 << 20)
        // As in Spin: resetting written memory in place avoids a page fault for each page of the next instance.
        .linear_memory_keep_resident(2 << 20)
        .table_keep_resident(512 << 10);
    let mut config = Config::new();
    config.allocation_strategy(pool);
    config.epoch_interruption(costs).concurrency_support(costs);
    // The cache saves seconds on every start but the first. The host works without it.
    config.cache(Cache::new(CacheConfig::new()).ok());
    config
}

/// Converts an error of wasmtime, together with its causes.
pub(crate) fn wasm_error(error: wasmtime::Error) -> anyhow::Error {
    anyhow!("{error:#}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn modules_become_components_and_components_stay_unchanged() {
        let module = b"\0asm\x01\0\0\0";
        let component = componentize(module).unwrap();
        assert_eq!(component[..8], *b"\0asm\x0d\0\x01\0");
        assert_eq!(componentize(&component).unwrap(), component);
        assert!(componentize(b"not wasm").is_err());
    }
}
