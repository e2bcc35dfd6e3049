//! The parts of `cargo xtask` that its benchmark, a program of its own, uses too.

pub mod component;
pub mod shell;
