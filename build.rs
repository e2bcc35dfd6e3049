//! Makes what `/openapi.json` serves of `docs/openapi.yaml`: JSON, compressed. Of LZ4 and deflate
//! the former makes the smaller component: its decoder is a sixth as large.
#![allow(clippy::disallowed_methods, reason = "cargo tells a build script by its environment where to write")]

use std::error::Error;
use std::path::Path;
use std::{env, fs};

const SOURCE: &str = "docs/openapi.yaml";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed=build.rs");
    let mut document: yaml_serde::Value = yaml_serde::from_str(&fs::read_to_string(SOURCE)?)?;
    document.apply_merge()?;
    let json = serde_json::to_vec(&document)?;
    let made = Path::new(&env::var("OUT_DIR")?).join("openapi.json.lz4");
    Ok(fs::write(made, lz4_flex::compress_prepend_size(&json))?)
}
