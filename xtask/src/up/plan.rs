//! The checked arguments of `up`. Errors are reported before anything is built.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use serde_json::{Map, Value};
use xtask::component::Profile;
use xtask::shell::{command, has, output};

use super::engine::Choice;
use super::engines::Started;
use super::manifest::MANIFEST;
use super::style::{BOLD, paint};
use super::{Arguments, address, engine, sources, variables};
use crate::engines::Engine;

/// A start whose arguments have been checked.
pub(super) struct Plan {
    /// Whether Sluice runs on Spin, or else on the native host.
    pub(super) on_spin: bool,
    /// The profile of the component.
    pub(super) profile: Profile,
    pub(super) listen: SocketAddr,
    /// Base URL of the engine. That of a real engine is known once it runs.
    pub(super) engine: String,
    /// The real engine to start, if there is one.
    pub(super) real: Option<Engine>,
    /// The real engine, once it runs.
    pub(super) started: Option<Started>,
    /// Address of the stand-in engine, if it is used.
    pub(super) stand_in: Option<SocketAddr>,
    /// More options of the stand-in engine.
    pub(super) stand_in_options: Vec<String>,
    /// Variables other than `engine_url`.
    pub(super) variables: Vec<(String, String)>,
    pub(super) state_dir: Option<PathBuf>,
    /// Problems that don't prevent the start.
    pub(super) warnings: Vec<String>,
}

impl Plan {
    pub(super) fn new(arguments: &Arguments) -> Result<Plan> {
        let Arguments { host, release, port, listen, engine, variables, sources, state_dir, stand_in: options, .. } =
            arguments.clone();
        let declared = variables::declared(Path::new(MANIFEST))?;
        variables::check(variables.iter().map(|(name, _)| name.as_str()), &declared)?;
        let environment = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let mut warnings = variables::unused(environment, &declared);

        let listen = address::bindable(listen.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, port).into()))?;
        let (urls, mut variables): (Vec<_>, Vec<_>) = variables.into_iter().partition(|(name, _)| name == "engine_url");
        if engine.is_some() && !urls.is_empty() {
            bail!("--engine sets engine_url: give only one of them");
        }
        if !sources.is_empty() {
            if variables.iter().any(|(name, _)| name == "sources") {
                bail!("--source sets sources: give only one of them");
            }
            variables.push(("sources".to_owned(), sources::variable(&sources)));
        }
        let url = urls.into_iter().next_back().map(|(_, url)| url).or_else(|| in_environment("engine_url"));
        let (engine, real, stand_in) = match engine.or(url.map(Choice::Url)) {
            Some(Choice::Real(real)) => {
                if let Some((name, _)) = variables.iter().find(|(name, _)| name == "engine" || name == "engine_token") {
                    bail!("--engine {} sets {name}: give only one of them", real.name());
                }
                real.require_installer()?;
                (String::new(), Some(real), None)
            }
            Some(Choice::Url(engine)) => {
                let error = engine::connection_error(&engine);
                warnings.extend(
                    error.map(|error| format!("no engine at {engine}: {error}. Deliveries are stored and sent later")),
                );
                (engine, None, None)
            }
            None => {
                let stand_in = address::stand_in()?;
                warnings.extend(address::stand_in_warning(stand_in));
                (address::url(stand_in), None, Some(stand_in))
            }
        };
        let on_spin = !host && has("spin");
        let profile = if release { Profile::Release } else { Profile::Up };
        let stand_in_options = if options.is_empty() { vec!["--any-workflow".to_owned()] } else { options };
        let started = None;
        Ok(Plan {
            on_spin,
            profile,
            listen,
            engine,
            real,
            started,
            stand_in,
            stand_in_options,
            variables,
            state_dir,
            warnings,
        })
    }

    /// Puts a real engine that runs behind Sluice.
    pub(super) fn set_engine(&mut self, engine: Engine, started: Started) {
        let running = &started.running;
        self.engine.clone_from(&running.url);
        let settings = self.variables.iter().rposition(|(name, _)| name == "settings");
        let settings = settings.map(|at| self.variables.remove(at).1).or_else(|| in_environment("settings"));
        self.variables.extend([
            ("engine".to_owned(), engine.name().to_owned()),
            ("engine_token".to_owned(), running.token.to_owned()),
            ("settings".to_owned(), with_constants(settings.as_deref(), &running.constants)),
        ]);
        self.started = Some(started);
    }

    /// The first line of the output: Sluice's version and its host.
    pub(super) fn header(&self) -> String {
        let host = if self.on_spin {
            spin_version()
        } else if has("spin") {
            "the native host".to_owned()
        } else {
            "the native host, since spin isn't on the PATH".to_owned()
        };
        format!("{} on {host}", paint(BOLD, concat!("Sluice ", env!("CARGO_PKG_VERSION"))))
    }
}

/// The value of a variable in the environment.
fn in_environment(name: &str) -> Option<String> {
    std::env::var(variables::in_environment(name)).ok()
}

/// The variable `settings` with the constants of an engine, unless it sets some itself. A text that isn't an object is
/// kept, so that Sluice reports it.
fn with_constants(settings: Option<&str>, constants: &Value) -> String {
    let settings = settings.filter(|text| !text.trim().is_empty()).unwrap_or("{}");
    let Ok(mut members) = serde_json::from_str::<Map<String, Value>>(settings) else { return settings.to_owned() };
    members.entry("engine").or_insert_with(|| constants.clone());
    Value::Object(members).to_string()
}

/// Turns `spin 3.4.0 (0f3b5b5 2025-09-01)` into `Spin 3.4.0`.
fn spin_version() -> String {
    let version = output(&mut command("spin", ["--version"])).unwrap_or_default();
    format!("Spin {}", version.split(' ').nth(1).unwrap_or_default()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn constants_are_added_to_the_settings() {
        let constants = json!({ "namespace": "default" });
        assert_eq!(with_constants(None, &constants), r#"{"engine":{"namespace":"default"}}"#);
        assert_eq!(with_constants(Some(" "), &constants), r#"{"engine":{"namespace":"default"}}"#);
        let expected = r#"{"engine":{"namespace":"default"},"open":true}"#;
        assert_eq!(with_constants(Some(r#"{"open":true}"#), &constants), expected);
        for own in [r#"{"engine":{"namespace":"mine"}}"#, "nonsense"] {
            assert_eq!(with_constants(Some(own), &constants), own);
        }
    }
}
