//! From the built module to a component that is ready to run.

use std::sync::OnceLock;

use anyhow::{Result, anyhow};
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Cache, CacheConfig, Config, Engine, PoolingAllocationConfig};
use wasmtime_wasi_http::p2::bindings::ProxyPre;
use wit_component::ComponentEncoder;

use crate::spin::guest::{Guest, Imports};

/// Makes a component of a wasip1 module, as Spin does; a component is taken as it is.
pub fn componentize(wasm: &[u8]) -> Result<Vec<u8>> {
    // Behind the magic are the version and the layer; the layer of a component is 1.
    if wasm.get(6..8) == Some(&[1, 0]) {
        return Ok(wasm.to_vec());
    }
    ComponentEncoder::default()
        .validate(true)
        .module(wasm)?
        .adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER)?
        .encode()
}

/// Compiles a component and links it with all that the host offers.
pub(crate) fn prepare(wasm: &[u8]) -> Result<ProxyPre<Guest>> {
    let engine = engine()?;
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

/// One engine for all hosts of a process: the pool reserves terabytes of address space, of which there are only so many.
fn engine() -> Result<&'static Engine> {
    static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();
    let new = || Engine::new(&config()).map_err(|error| format!("{error:#}"));
    ENGINE.get_or_init(new).as_ref().map_err(|error| anyhow!("{error}"))
}

fn config() -> Config {
    // Requests at a time. A component has a main module and up to a few around it (the adapter, shims).
    const INSTANCES: u32 = 1000;
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(INSTANCES)
        .total_core_instances(INSTANCES * 4)
        .total_memories(INSTANCES)
        .total_tables(INSTANCES * 2)
        .total_stacks(INSTANCES)
        .max_memory_size(256 << 20)
        // As Spin: what an instance has written is reset in place, where to give it back costs a page fault each time.
        .linear_memory_keep_resident(2 << 20)
        .table_keep_resident(512 << 10);
    let mut config = Config::new();
    config.allocation_strategy(pool);
    // It spares seconds at each start but the first, and nothing else depends on it.
    config.cache(Cache::new(CacheConfig::new()).ok());
    config
}

pub(crate) fn wasm_error(error: wasmtime::Error) -> anyhow::Error {
    anyhow!("{error:#}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_module_becomes_a_component_and_a_component_stays_one() {
        let module = b"\0asm\x01\0\0\0";
        let component = componentize(module).unwrap();
        assert_eq!(component[..8], *b"\0asm\x0d\0\x01\0");
        assert_eq!(componentize(&component).unwrap(), component);
        assert!(componentize(b"no wasm at all").is_err());
    }
}
