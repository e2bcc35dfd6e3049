//! What is to be done, and all that can be wrong with it, before any of it is done.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::style::{STRONG, paint};
use super::{Arguments, address, engine, variables};
use crate::shell::{command, has, output};

/// The manifest, seen from the root.
pub(super) const MANIFEST: &str = "spin.toml";

pub(super) struct Plan {
    pub(super) on_spin: bool,
    pub(super) listen: SocketAddr,
    /// The engine's URL.
    pub(super) engine: String,
    /// Where the engine listens, if it is the stand-in.
    pub(super) stand_in: Option<SocketAddr>,
    /// Without `engine_url`.
    pub(super) variables: Vec<(String, String)>,
    pub(super) state_dir: Option<PathBuf>,
    /// What is odd, and may be meant.
    pub(super) warnings: Vec<String>,
}

impl Plan {
    pub(super) fn new(arguments: &Arguments) -> Result<Plan> {
        let Arguments { host, port, listen, engine, variables, state_dir, .. } = arguments.clone();
        let declared = variables::declared(Path::new(MANIFEST))?;
        variables::check(variables.iter().map(|(name, _)| name.as_str()), &declared)?;
        let environment = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let mut warnings = variables::unread(environment, &declared);

        let listen = address::free(listen.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, port).into()))?;
        let (urls, variables): (Vec<_>, Vec<_>) = variables.into_iter().partition(|(name, _)| name == "engine_url");
        if engine.is_some() && !urls.is_empty() {
            bail!("--engine sets engine_url, so give one of both");
        }
        let url = urls.into_iter().next_back().map(|(_, url)| url);
        let given = engine.or(url).or_else(|| std::env::var(variables::in_environment("engine_url")).ok());
        let (engine, stand_in) = match given {
            Some(engine) => {
                let why = engine::unreachable(&engine);
                warnings.extend(
                    why.map(|why| format!("no engine at {engine}: {why}. What comes is stored, and brought later")),
                );
                (engine, None)
            }
            None => {
                let stand_in = address::stand_in()?;
                warnings.extend(address::moved(stand_in));
                (address::url(stand_in), Some(stand_in))
            }
        };
        let on_spin = !host && has("spin");
        Ok(Plan { on_spin, listen, engine, stand_in, variables, state_dir, warnings })
    }

    /// What runs, and where.
    pub(super) fn header(&self) -> String {
        let on = match self.on_spin {
            true => spin(),
            false if has("spin") => "the native host".to_owned(),
            false => "the native host, as there is no spin on the PATH".to_owned(),
        };
        format!("{} on {on}", paint(STRONG, concat!("Sluice ", env!("CARGO_PKG_VERSION"))))
    }
}

/// `Spin 3.4.0`, of `spin 3.4.0 (0f3b5b5 2025-09-01)`.
fn spin() -> String {
    let version = output(&mut command("spin", ["--version"])).unwrap_or_default();
    format!("Spin {}", version.split(' ').nth(1).unwrap_or_default()).trim_end().to_owned()
}
