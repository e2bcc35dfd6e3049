//! What Spin does, as far as Sluice asks for it: the manifest, the HTTP trigger, and the interfaces that a component gets.

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
