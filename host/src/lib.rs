//! The smallest thing that runs Sluice's `spin.toml` truthfully where Spin isn't installed, and a stand-in engine for
//! development and tests. Production runs on Spin itself.

pub mod serve;
#[cfg(feature = "runtime")]
pub mod spin;
pub mod stand_in;

#[cfg(feature = "runtime")]
pub use spin::Host;
