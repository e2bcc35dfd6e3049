//! The subset of Spin that Sluice needs: the manifest, the HTTP trigger, and the interfaces that a component imports.

mod allowed_hosts;
pub mod component;
mod guest;
mod headers;
pub mod key_value;
pub mod logs;
mod manifest;
pub mod outbound;
mod route;
mod runtime;
mod runtime_config;
mod trigger;
mod variables;

pub use runtime::{Builder, Host};
