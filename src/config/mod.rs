//! Reads variables into checked settings. Each endpoint reads only the variables that it needs; `/readyz` reads all of
//! them ([`check`]).

mod trust;

use std::borrow::Cow;
use std::time::Duration;

use crate::delivery::Limits;
use crate::engine::{DEFAULT_PROFILE, Engine, EngineUrl, EngineUrlError, Profile, profile};
use crate::ports::{Timeouts, Variables};
use crate::routing::Table;
use crate::secret::Secret;
use crate::time::Retention;

pub use trust::{
    Origins, access_tokens, allowed_origins, custom_descriptor, custom_secrets, link_secrets, preset_secrets,
    requires_authentication, senders_with_secrets,
};

/// A variable whose value can't be used. The error doesn't contain the value, which might be a secret.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, thiserror::Error)]
#[error("variable `{variable}` {problem}")]
pub struct ConfigError {
    /// The variable's name.
    #[serde(rename = "field")]
    pub variable: &'static str,
    /// The problem. Completes the sentence "variable `…` …".
    #[serde(rename = "detail")]
    pub problem: String,
}

/// The settings of the gateway.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The engine: `engine_url`, `engine_token`, `engine_start`.
    pub engine: Engine,
    /// Time limits for a call to the engine: `engine_connect_ms`, `engine_timeout_ms`.
    pub timeouts: Timeouts,
    /// `engine_wait_ms`: how long a sender waits for the engine before its delivery is stored.
    pub wait: Duration,
    /// The limits on retries: `retry_max_hours`, `retry_max_attempts`, `callback_early_ms`.
    pub limits: Limits,
    /// `retention_hours`: how long outcomes and callbacks are kept.
    pub retention: Retention,
}

impl Settings {
    /// How long the records of callbacks are kept: at least as long as a callback waits for its run.
    pub fn callback_retention(&self) -> Retention {
        self.retention.at_least(self.limits.callback_wait)
    }
}

/// Reads the settings of the gateway. Returns the first error.
pub fn settings(variables: &impl Variables) -> Result<Settings, ConfigError> {
    let timeouts = Timeouts {
        connect: milliseconds(variables, "engine_connect_ms")?,
        total: milliseconds(variables, "engine_timeout_ms")?,
    };
    Ok(Settings {
        engine: Engine {
            profile: engine_profile()?,
            url: engine_url(variables)?,
            token: secret(variables, "engine_token")?,
            start: engine_start(variables)?,
        },
        timeouts,
        wait: milliseconds(variables, "engine_wait_ms")?,
        limits: Limits {
            max_age: retry_max_age(variables)?,
            max_attempts: retry_max_attempts(variables)?,
            callback_early: callback_early(variables)?,
            callback_wait: Duration::from_secs(168*3600),
            orphan_after: Duration::from_secs(300),
            engine_timeout: timeouts.total,
        },
        retention: retention(variables)?,
    })
}

/// Returns the engine's profile. There is no variable for it yet.
fn engine_profile() -> Result<&'static dyn Profile, ConfigError> {
    let unknown = || ConfigError { variable: "engine", problem: "must name a profile".to_owned() };
    profile(DEFAULT_PROFILE).ok_or_else(unknown)
}

fn engine_url(variables: &impl Variables) -> Result<EngineUrl, ConfigError> {
    parse(variables, "engine_url", |text| EngineUrl::parse(text).map_err(|e| e.to_string()))
}

fn engine_start(variables: &impl Variables) -> Result<bool, ConfigError> {
    parse(variables, "engine_start", |text| text.parse().map_err(|_| "must be `true` or `false`".to_owned()))
}

/// Reads `retry_max_hours`, which is at most [`Retention::MAX_HOURS`].
fn retry_max_age(variables: &impl Variables) -> Result<Duration, ConfigError> {
    let hours = |text: &str| number(text, 1_u64, u64::from(Retention::MAX_HOURS));
    parse(variables, "retry_max_hours", hours).map(|hours| Duration::from_secs(hours.saturating_mul(3_600)))
}

/// Reads `retry_max_attempts`.
fn retry_max_attempts(variables: &impl Variables) -> Result<u32, ConfigError> {
    parse(variables, "retry_max_attempts", |text| number(text, 1, 1_000_000))
}

/// Reads `callback_early_ms`, which is at most one day.
fn callback_early(variables: &impl Variables) -> Result<Duration, ConfigError> {
    parse(variables, "callback_early_ms", |text| number(text, 0_u64, 86_400_000)).map(Duration::from_millis)
}

/// Reads `max_body_bytes`, the size of the largest body that is accepted.
pub fn max_body(variables: &impl Variables) -> Result<usize, ConfigError> {
    /// Akamai's limit on the size of a request.
    const MAX: usize = 10 * 1024 * 1024;
    parse(variables, "max_body_bytes", |text| number(text, 1, MAX))
}

/// Reads `retention_hours`.
pub fn retention(variables: &impl Variables) -> Result<Retention, ConfigError> {
    parse(variables, "retention_hours", |text| {
        let hours = number(text, 1, Retention::MAX_HOURS)?;
        Retention::from_hours(hours).ok_or_else(|| "is out of range".to_owned())
    })
}

/// Reads `operator_token`; `None` if it is empty.
pub fn operator_token(variables: &impl Variables) -> Result<Option<Secret>, ConfigError> {
    secret(variables, "operator_token")
}

/// Reads `public_url`: scheme, host and port, without a slash at the end; `None` if it is empty.
pub fn public_url(variables: &impl Variables) -> Result<Option<String>, ConfigError> {
    parse(variables, "public_url", |text| match text.trim_end_matches('/') {
        "" => Ok(None),
        text => match EngineUrl::parse(text) {
            Ok(_) => Ok(Some(text.to_owned())),
            Err(EngineUrlError::UserInfo) => Err("must not carry a user or password".to_owned()),
            Err(EngineUrlError::Path) => Err("must end after host and port".to_owned()),
            Err(EngineUrlError::NotAbsolute | EngineUrlError::Scheme) => {
                Err("must be an absolute URL, such as https://gate.example.com".to_owned())
            }
        },
    })
}

/// The effect of `GET /api/v2/callback`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallbackGet {
    /// Completes the callback, as the contract says.
    Complete,
    /// Shows a page with a button that completes the callback.
    Confirm,
}

/// Reads `callback_get`.
pub fn callback_get(variables: &impl Variables) -> Result<CallbackGet, ConfigError> {
    parse(variables, "callback_get", |text| match text {
        "complete" => Ok(CallbackGet::Complete),
        "confirm" => Ok(CallbackGet::Confirm),
        _ => Err("must be `complete` or `confirm`".to_owned()),
    })
}

/// Reads `routes`; `None` if it is empty.
pub fn routes(variables: &impl Variables) -> Result<Option<Table>, ConfigError> {
    parse(variables, "routes", |text| match text {
        "" => Ok(None),
        json => Table::parse(json).map(Some).map_err(|error| format!("is no table of routes: {error}")),
    })
}

/// Returns all errors in the configuration. `/readyz` succeeds only if there are none.
pub fn check(variables: &impl Variables) -> Vec<ConfigError> {
    let errors = [
        engine_url(variables).err(),
        secret(variables, "engine_token").err(),
        engine_start(variables).err(),
        milliseconds(variables, "engine_connect_ms").err(),
        milliseconds(variables, "engine_timeout_ms").err(),
        milliseconds(variables, "engine_wait_ms").err(),
        max_body(variables).err(),
        retention(variables).err(),
        retry_max_age(variables).err(),
        retry_max_attempts(variables).err(),
        callback_early(variables).err(),
        operator_token(variables).err(),
        public_url(variables).err(),
        callback_get(variables).err(),
        routes(variables).err(),
    ];
    let mut errors: Vec<_> = errors.into_iter().flatten().collect();
    errors.extend(trust::errors(variables));
    errors
}

/// Reads a variable, trims the white space around its value, and parses it.
fn parse<T>(
    variables: &impl Variables,
    variable: &'static str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T, ConfigError> {
    let text = text(variables, variable)?;
    read(text.trim()).map_err(|problem| ConfigError { variable, problem })
}

/// Reads the text of a variable.
fn text<'v>(variables: &'v impl Variables, variable: &'static str) -> Result<Cow<'v, str>, ConfigError> {
    match variables.variable(variable) {
        Ok(Some(text)) => Ok(text),
        Ok(None) => {
            Err(ConfigError { variable, problem: "is not in the manifest: use spin.toml as it is shipped".to_owned() })
        }
        // The provider's message may contain the provider's address or a token.
        Err(_) => Err(ConfigError { variable, problem: "can't be read: its provider did not answer".to_owned() }),
    }
}

/// Reads a token; `None` if it is empty. A token is sent in a header, so it must be visible ASCII (RFC 9110, section
/// 5.5).
fn secret(variables: &impl Variables, variable: &'static str) -> Result<Option<Secret>, ConfigError> {
    parse(variables, variable, |text| match text {
        "" => Ok(None),
        text if text.bytes().all(|b| b.is_ascii_graphic()) => Ok(Some(Secret::new(text))),
        _ => Err("must be visible ASCII without blanks".to_owned()),
    })
}

/// Reads a duration of 1 to 600,000 ms.
fn milliseconds(variables: &impl Variables, variable: &'static str) -> Result<Duration, ConfigError> {
    parse(variables, variable, |text| number(text, 1_u64, 600_000).map(Duration::from_millis))
}

/// Parses a whole number from `min` to `max`.
fn number<T>(text: &str, min: T, max: T) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + std::fmt::Display,
{
    text.parse()
        .ok()
        .filter(|number| (&min..=&max).contains(&number))
        .ok_or_else(|| format!("must be a whole number from {min} to {max}"))
}
