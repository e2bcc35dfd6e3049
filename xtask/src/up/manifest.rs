//! The manifest that `up` runs: `spin.toml` with the component that `up` has built.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use xtask::component::Profile;

/// The manifest's path, relative to the root.
pub(super) const MANIFEST: &str = "spin.toml";

/// The member `source` of the component, in the manifest.
const SOURCE: &str = "source = \"target/wasm32-wasip1/release/sluice.wasm\"";

/// Writes the manifest beside its component. Returns its path.
pub(super) fn write(profile: Profile) -> Result<PathBuf> {
    let module = profile.module();
    let path = module.with_file_name(MANIFEST);
    let text = fs::read_to_string(MANIFEST).with_context(|| format!("can't read {MANIFEST}"))?;
    fs::write(&path, with_own_component(&text)?).with_context(|| format!("can't write {}", path.display()))?;
    Ok(path)
}

/// The manifest with the component that is beside it.
fn with_own_component(manifest: &str) -> Result<String> {
    ensure!(manifest.contains(SOURCE), "{MANIFEST} has no line `{SOURCE}`");
    Ok(manifest.replace(SOURCE, "source = \"sluice.wasm\""))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn manifest_differs_in_the_component_alone() {
        let ours = fs::read_to_string(xtask::shell::root().join(MANIFEST)).unwrap();
        let source =
            |manifest: &mut toml::Table| manifest["component"]["sluice"].as_table_mut().unwrap().remove("source");
        let [mut expected, mut found]: [toml::Table; 2] =
            [ours.parse().unwrap(), with_own_component(&ours).unwrap().parse().unwrap()];
        assert_eq!(source(&mut found), Some("sluice.wasm".into()));
        source(&mut expected);
        assert_eq!(found, expected);
        assert!(with_own_component("").is_err());
    }
}
