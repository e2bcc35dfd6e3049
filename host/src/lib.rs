//! The smallest thing that runs Sluice's `spin.toml` truthfully where Spin isn't installed, and a stand-in engine for
//! development and tests. Production runs on Spin itself.
