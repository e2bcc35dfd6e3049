//! Converts `docs/openapi.yaml` to compressed JSON, which `/openapi.json` serves.
//!
//! With LZ4 the component is smaller than with deflate, because the decoder is a sixth of the size.
#![allow(clippy::disallowed_methods, reason = "cargo passes the output directory in the environment")]

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
    let output = Path::new(&env::var("OUT_DIR")?).join("openapi.json.lz4");
    Ok(fs::write(output, lz4_flex::compress_prepend_size(&json))?)
}
