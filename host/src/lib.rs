//! A minimal host for Sluice, and a stand-in engine.
//!
//! [`spin`] runs Sluice's `spin.toml` where Spin isn't installed, and injects faults for tests. [`stand_in`] is a fake
//! workflow engine for development and tests. Both use the HTTP server in [`serve`], and neither depends on the other.
//! Production runs on Spin itself.

pub mod serve;
#[cfg(feature = "runtime")]
pub mod spin;
pub mod stand_in;

#[cfg(feature = "runtime")]
pub use spin::Host;
