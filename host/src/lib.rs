//! The smallest thing that runs Sluice's `spin.toml` truthfully where Spin isn't installed, and a stand-in engine for
//! development and tests. Production runs on Spin itself.

pub mod serve;
pub mod stand_in;

#[cfg(feature = "runtime")]
mod allowed_hosts;
#[cfg(feature = "runtime")]
pub mod component;
#[cfg(feature = "runtime")]
mod guest;
#[cfg(feature = "runtime")]
mod headers;
#[cfg(feature = "runtime")]
pub mod key_value;
#[cfg(feature = "runtime")]
pub mod logs;
#[cfg(feature = "runtime")]
mod manifest;
#[cfg(feature = "runtime")]
pub mod outbound;
#[cfg(feature = "runtime")]
mod route;
#[cfg(feature = "runtime")]
mod runtime;
#[cfg(feature = "runtime")]
mod trigger;
#[cfg(feature = "runtime")]
mod variables;

#[cfg(feature = "runtime")]
pub use runtime::{Builder, Host};
