//! The subset of `spin.toml`, version 2, that the host supports. Every other key causes a warning.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// A Spin manifest.
#[derive(Debug, Deserialize)]
pub(crate) struct Manifest {
    spin_manifest_version: u32,
    #[serde(rename = "application")]
    _application: Application,
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, Variable>,
    #[serde(default)]
    pub(crate) trigger: Triggers,
    #[serde(default)]
    pub(crate) component: BTreeMap<String, Component>,
}

/// Names and descriptions. They don't affect how the application runs, and cause no warning.
#[derive(Debug, Deserialize)]
struct Application {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "version")]
    _version: Option<String>,
    #[serde(rename = "description")]
    _description: Option<String>,
    #[serde(rename = "authors")]
    _authors: Option<Vec<String>>,
}

/// An application variable, which has a default or is required.
#[derive(Debug, Deserialize)]
pub(crate) struct Variable {
    pub(crate) default: Option<String>,
    #[serde(default)]
    pub(crate) required: bool,
    /// Ignored: the host never shows the value of a variable, secret or not.
    #[serde(rename = "secret")]
    _secret: Option<bool>,
    #[serde(rename = "description")]
    _description: Option<String>,
}

/// The triggers; the host supports HTTP only.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Triggers {
    #[serde(default)]
    pub(crate) http: Vec<HttpTrigger>,
}

/// A route and the component that handles it.
#[derive(Debug, Deserialize)]
pub(crate) struct HttpTrigger {
    pub(crate) route: String,
    pub(crate) component: String,
    #[serde(rename = "id")]
    _id: Option<String>,
}

/// A component and the resources that it may use.
#[derive(Debug, Deserialize)]
pub(crate) struct Component {
    /// Path of the Wasm file, relative to the manifest.
    pub(crate) source: String,
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) allowed_outbound_hosts: Vec<String>,
    #[serde(default)]
    pub(crate) key_value_stores: Vec<String>,
    #[serde(rename = "description")]
    _description: Option<String>,
    #[serde(rename = "build")]
    _build: Option<Build>,
}

/// The build command, which only `spin build` uses.
#[derive(Debug, Deserialize)]
struct Build {
    #[serde(rename = "command")]
    _command: toml::Value,
    #[serde(rename = "workdir")]
    _workdir: Option<String>,
    #[serde(rename = "watch")]
    _watch: Option<Vec<String>>,
}

impl Manifest {
    /// Reads a manifest and returns it with a warning for each unsupported key.
    pub(crate) fn load(path: &Path) -> Result<(Manifest, Vec<String>)> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("can't read the manifest {}", path.display()))?;
        Manifest::parse(&text).with_context(|| format!("in the manifest {}", path.display()))
    }

    fn parse(text: &str) -> Result<(Manifest, Vec<String>)> {
        let mut warnings = Vec::new();
        let manifest: Manifest = serde_ignored::deserialize(toml::Deserializer::parse(text)?, |path| {
            warnings.push(format!("the manifest's key {path} has no effect in this host"));
        })?;
        ensure!(
            manifest.spin_manifest_version == 2,
            "spin_manifest_version is {}, but this host supports version 2 only",
            manifest.spin_manifest_version
        );
        ensure!(!manifest.trigger.http.is_empty(), "[[trigger.http]] is missing");
        for (name, variable) in &manifest.variables {
            ensure!(
                variable.required || variable.default.is_some(),
                "the variable {name} needs a default or required = true"
            );
        }
        for trigger in &manifest.trigger.http {
            ensure!(
                manifest.component.contains_key(&trigger.component),
                "the route {} names the component {}, which isn't defined",
                trigger.route,
                trigger.component
            );
        }
        Ok((manifest, warnings))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const MINIMAL: &str = r#"
        spin_manifest_version = 2
        [application]
        name = "gate"
        [[trigger.http]]
        route = "/..."
        component = "gate"
        [component.gate]
        source = "gate.wasm"
    "#;

    #[test]
    fn unsupported_keys_cause_warnings() {
        let text = format!(
            "{MINIMAL}
            files = ['static/**']
            build = {{ command = 'make' }}
            [component.gate.tool.x]
            y = 1
            [variables]
            token = {{ required = true, secret = true, colour = 'red' }}
            [[trigger.cron]]
            component = 'gate'"
        );
        let (_, mut warnings) = Manifest::parse(&text).unwrap();
        warnings.sort();
        let keys: Vec<_> = warnings.iter().filter_map(|w| w.split(' ').nth(3)).collect();
        let expected = ["component.gate.files", "component.gate.tool", "trigger.cron", "variables.token.colour"];
        assert_eq!(keys, expected);
    }

    #[test]
    fn invalid_manifests_are_errors() {
        let error = |text: String| format!("{:#}", Manifest::parse(&text).unwrap_err());
        assert!(error(MINIMAL.replace("= 2", "= 1")).contains("supports version 2 only"));
        assert!(error(MINIMAL.replace("component = \"gate\"", "component = \"door\"")).contains("door, which"));
        assert!(error(format!("{MINIMAL}\n[variables]\nx = {{}}")).contains("variable x needs"));
    }
}
