//! The subset of Spin's runtime configuration that the host supports: the location of each key-value store, and values of
//! variables. Every other key causes a warning.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::spin::key_value::{Backend, Redis, Sqlite};

/// A runtime configuration.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct RuntimeConfig {
    #[serde(default)]
    /// By label.
    key_value_store: BTreeMap<String, Store>,
    #[serde(default)]
    variables_provider: Vec<VariablesProvider>,
}

/// A provider of variables. Spin has more types, for the environment and for vaults.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum VariablesProvider {
    Static { values: BTreeMap<String, String> },
}

/// A key-value store. Spin has two more types, for cloud services.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Store {
    /// SQLite, in memory if there is no path. A relative path is relative to the configuration's directory.
    Spin {
        path: Option<PathBuf>,
    },
    Redis {
        url: String,
    },
}

impl RuntimeConfig {
    /// Reads a file and returns it with a warning for each unsupported key.
    pub(crate) fn load(path: &Path) -> Result<(RuntimeConfig, Vec<String>)> {
        let in_file = || format!("in the runtime config {}", path.display());
        let text = std::fs::read_to_string(path).with_context(in_file)?;
        RuntimeConfig::parse(&text).with_context(in_file)
    }

    fn parse(text: &str) -> Result<(RuntimeConfig, Vec<String>)> {
        let mut warnings = Vec::new();
        let config = serde_ignored::deserialize(toml::Deserializer::parse(text)?, |path| {
            warnings.push(format!("the runtime config's key {path} has no effect in this host"));
        })?;
        Ok((config, warnings))
    }

    /// The values of variables. The first provider that has a variable counts.
    pub(crate) fn variables(&self) -> BTreeMap<String, String> {
        let all = self.variables_provider.iter().rev().map(|VariablesProvider::Static { values }| values.clone());
        all.flatten().collect()
    }

    /// Opens the stores and returns them by label. If `default` isn't configured, it is a file in the state directory.
    pub(crate) fn stores(self, directory: &Path, state: &Path) -> Result<BTreeMap<String, Backend>> {
        let mut stores = BTreeMap::new();
        for (label, store) in self.key_value_store {
            let backend = match store {
                Store::Spin { path } => {
                    Sqlite::open(path.map(|path| directory.join(path)).as_deref()).map(Backend::Sqlite)
                }
                Store::Redis { url } => Redis::new(&url).map(Backend::Redis),
            };
            let backend = backend.with_context(|| format!("can't open the key-value store {label:?}"))?;
            stores.insert(label, backend);
        }
        if !stores.contains_key("default") {
            let sqlite = Sqlite::open(Some(&state.join("sqlite_key_value.db")))?;
            stores.insert("default".to_owned(), Backend::Sqlite(sqlite));
        }
        Ok(stores)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn stores(text: &str, directory: &Path) -> Result<(BTreeMap<String, Backend>, Vec<String>)> {
        let (config, warnings) = RuntimeConfig::parse(text)?;
        Ok((config.stores(&directory.join("config"), &directory.join("state"))?, warnings))
    }

    #[test]
    fn stores_are_opened_where_configured() {
        let directory = tempfile::tempdir().unwrap();
        let exists = |file: &str| directory.path().join(file).exists();
        let (found, _) = stores("", directory.path()).unwrap();
        assert!(found.contains_key("default") && exists("state/sqlite_key_value.db"));

        let text = "[key_value_store.default]\ntype = 'spin'\npath = 'sub/gate.db'\nmode = 'x'\n\
             [key_value_store.memory]\ntype = 'spin'\n\
             [key_value_store.far]\ntype = 'redis'\nurl = 'redis://:s3cret@127.0.0.1:1/2'\n\
             [[config_provider]]\ntype = 'vault'";
        let (found, mut warnings) = stores(text, directory.path()).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["default", "far", "memory"]);
        assert!(matches!(found["far"], Backend::Redis(_)) && exists("config/sub/gate.db"));
        warnings.sort();
        assert!(warnings[0].contains(" config_provider has no effect"), "{warnings:?}");
    }

    #[test]
    fn first_provider_of_a_variable_counts() {
        let text = "[[variables_provider]]\ntype = 'static'\nvalues = { a = '1' }\n\
             [[variables_provider]]\ntype = 'static'\nvalues = { a = '2', b = '3' }";
        let variables = RuntimeConfig::parse(text).unwrap().0.variables();
        assert_eq!(variables, BTreeMap::from([("a", "1"), ("b", "3")].map(|(k, v)| (k.to_owned(), v.to_owned()))));
        assert!(RuntimeConfig::parse("[[variables_provider]]\ntype = 'vault'").is_err());
    }

    #[test]
    fn unavailable_stores_are_errors_without_the_password() {
        let directory = tempfile::tempdir().unwrap();
        let error = |text: &str| format!("{:#}", stores(text, directory.path()).err().unwrap());
        assert!(error("[key_value_store.default]\ntype = 'azure_cosmos'").contains("azure_cosmos"));
        assert!(error("[key_value_store.default]\ntype = 'redis'").contains("url"));
        let url = error("[key_value_store.default]\ntype = 'redis'\nurl = 'http://:s3cret@x'");
        assert!(url.contains("\"default\"") && !url.contains("s3cret"), "{url}");
    }
}
