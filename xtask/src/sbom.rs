//! The component's software bill of materials (SBOM), in [CycloneDX 1.6](https://cyclonedx.org/docs/1.6/json/).
//!
//! It lists the crates that are linked into the component, with version, license, checksum and dependencies, and the
//! standard library. It has no time of its own, so that the same commit has the same SBOM.
//!
//! `cargo cyclonedx` 0.5.9 doesn't fit: it also lists procedural macros with their dependencies, and crates that only
//! features of the workspace's other members need; it writes a file beside each manifest, with the tree's path in it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use toml::Table;
use xtask::component::TARGET;
use xtask::shell::{cargo, output};

/// The facts about a build that are not in the tree.
pub(crate) struct Build<'a> {
    /// SHA-256 of the component, in hex.
    pub(crate) digest: &'a str,
    /// The first line of `rustc --version`.
    pub(crate) rustc: &'a str,
    /// Version of Sluice.
    pub(crate) version: &'a str,
}

/// The dependencies of the component as [`document`] reads them: one on each line, with its depth in the tree.
pub(crate) fn tree() -> Result<String> {
    let linked = ["tree", "-q", "--locked", "--package", "sluice", "--edges", "normal,no-proc-macro"];
    output(cargo(linked).args(["--target", TARGET, "--prefix", "depth", "--format", "|{p}|{l}|{r}|"]))
}

/// The SBOM, from [`tree`] and `Cargo.lock`.
pub(crate) fn document(build: &Build, tree: &str, lock: &str) -> Result<Value> {
    let checksums = checksums(lock)?;
    let mut components = BTreeMap::new();
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    // The references on the way from the root to the current line.
    let mut path: Vec<String> = Vec::new();
    for line in tree.lines() {
        let fields: Vec<_> = line.split('|').collect();
        let [depth, package, license, repository, _] = fields[..] else { bail!("cargo tree: {line}") };
        let mut words = package.split(' ');
        let (Some(name), Some(version)) = (words.next(), words.next()) else { bail!("cargo tree: {line}") };
        let version = version.trim_start_matches('v');
        path.truncate(depth.parse().with_context(|| format!("cargo tree: {line}"))?);
        let reference = if path.is_empty() { ROOT.to_owned() } else { purl("cargo", name, version) };
        if let Some(parent) = path.last() {
            edges.entry(parent.clone()).or_default().insert(reference.clone());
            let checksum = checksums
                .get(&(name.to_owned(), version.to_owned()))
                .with_context(|| format!("Cargo.lock lacks {package}"))?;
            components.insert(reference.clone(), component(&reference, name, version, license, repository, checksum));
        }
        edges.entry(reference.clone()).or_default();
        path.push(reference);
    }
    let std = std(build.rustc)?;
    edges.entry(ROOT.to_owned()).or_default().insert(std["bom-ref"].as_str().unwrap_or_default().to_owned());
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "lifecycles": [{ "phase": "build" }],
            "tools": {
                "components": [{ "type": "application", "name": "cargo xtask release", "version": build.version }],
            },
            "component": {
                "type": "application",
                "bom-ref": ROOT,
                "name": "sluice",
                "version": build.version,
                "purl": purl("generic", "sluice", build.version),
                "licenses": [{ "expression": "Apache-2.0" }],
                "hashes": [{ "alg": "SHA-256", "content": build.digest }],
            },
            "properties": [
                { "name": "cdx:rustc:sbom:target:triple", "value": TARGET },
                { "name": "sluice:rustc", "value": build.rustc },
            ],
        },
        "components": components.into_values().chain([std]).collect::<Vec<_>>(),
        "dependencies": edges
            .into_iter()
            .map(|(from, to)| json!({ "ref": from, "dependsOn": to }))
            .collect::<Vec<_>>(),
    }))
}

/// The reference of Sluice itself.
const ROOT: &str = "sluice";

fn component(reference: &str, name: &str, version: &str, license: &str, repository: &str, checksum: &str) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": reference,
        "name": name,
        "version": version,
        "purl": reference,
        // The slash is an old form of `OR`.
        "licenses": [{ "expression": license.replace('/', " OR ") }],
        "hashes": [{ "alg": "SHA-256", "content": checksum }],
    });
    if !repository.is_empty() {
        component["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
    }
    component
}

/// The standard library, which comes with the compiler.
fn std(rustc: &str) -> Result<Value> {
    let version = rustc.split(' ').nth(1).with_context(|| format!("rustc --version: {rustc}"))?;
    let reference = purl("generic", "rust-std", version);
    Ok(json!({
        "type": "library",
        "bom-ref": reference,
        "name": "rust-std",
        "version": version,
        "purl": reference,
        "description": "Rust's standard library, with wasi-libc",
        "licenses": [{ "expression": "MIT OR Apache-2.0" }],
    }))
}

/// A package URL. The only character in versions of crates that it encodes is the plus sign.
fn purl(kind: &str, name: &str, version: &str) -> String {
    format!("pkg:{kind}/{name}@{}", version.replace('+', "%2B"))
}

/// SHA-256 of each crate, by name and version.
fn checksums(lock: &str) -> Result<BTreeMap<(String, String), String>> {
    let lock: Table = lock.parse().context("Cargo.lock")?;
    let packages =
        lock.get("package").and_then(|packages| packages.as_array()).context("Cargo.lock has no packages")?;
    let text = |package: &toml::Value, member| Some(package.get(member)?.as_str()?.to_owned());
    let checksum = |package| Some(((text(package, "name")?, text(package, "version")?), text(package, "checksum")?));
    Ok(packages.iter().filter_map(checksum).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const TREE: &str = "\
0|sluice v0.2.0 (/somewhere)|Apache-2.0||
1|wasi v0.13.1+wasi-0.2.0|MIT/Apache-2.0|https://example.com/wasi|
2|subtle v2.6.1|BSD-3-Clause||
1|subtle v2.6.1|BSD-3-Clause|| (*)
";
    const LOCK: &str = r#"
[[package]]
name = "sluice"
version = "0.2.0"
[[package]]
name = "subtle"
version = "2.6.1"
checksum = "5b"
[[package]]
name = "wasi"
version = "0.13.1+wasi-0.2.0"
checksum = "a0"
"#;
    const BUILD: Build = Build { digest: "c0", rustc: "rustc 1.95.0 (59807616e 2026-04-14)", version: "0.2.0" };

    #[test]
    fn crates_have_version_license_checksum_and_dependencies() {
        let sbom = document(&BUILD, TREE, LOCK).unwrap();
        let listed: Vec<_> = sbom["components"].as_array().unwrap().iter().map(|it| it["purl"].clone()).collect();
        assert_eq!(
            listed,
            ["pkg:cargo/subtle@2.6.1", "pkg:cargo/wasi@0.13.1%2Bwasi-0.2.0", "pkg:generic/rust-std@1.95.0"]
        );
        let wasi = &sbom["components"][1];
        assert_eq!(wasi["licenses"], json!([{ "expression": "MIT OR Apache-2.0" }]));
        assert_eq!(wasi["hashes"], json!([{ "alg": "SHA-256", "content": "a0" }]));
        assert_eq!(
            sbom["dependencies"],
            json!([
                { "ref": "pkg:cargo/subtle@2.6.1", "dependsOn": [] },
                { "ref": "pkg:cargo/wasi@0.13.1%2Bwasi-0.2.0", "dependsOn": ["pkg:cargo/subtle@2.6.1"] },
                {
                    "ref": "sluice",
                    "dependsOn": listed,
                },
            ])
        );
        assert!(!sbom.to_string().contains("somewhere"));
    }

    #[test]
    fn a_crate_without_checksum_is_an_error() {
        let tree = "0|sluice v0.2.0||\n1|unknown v1.0.0|MIT||\n";
        assert!(document(&BUILD, tree, LOCK).is_err());
        let tree = "0|sluice v0.2.0 (/x)|Apache-2.0||\n1|unknown v1.0.0|MIT||\n";
        assert_eq!(document(&BUILD, tree, LOCK).unwrap_err().to_string(), "Cargo.lock lacks unknown v1.0.0");
    }
}
