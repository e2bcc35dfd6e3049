//! Reads variables into checked settings. Each endpoint reads only the variables that it needs; `/readyz` reads all of
//! them ([`check`]).

mod document;
mod forms;
pub mod members;
mod moved;
mod trust;

use std::borrow::Cow;
use std::time::Duration;

use crate::delivery::Limits;
use crate::engine::{Constants, DEFAULT_PROFILE, Engine, EngineUrl, EngineUrlError, Profile};
use crate::json::Pointer;
use crate::ports::{Timeouts, Variables};
use crate::routing::Table;
use crate::secret::Secret;
use crate::store::{MoveFrom, StoreSize};
use crate::time::Retention;

pub use document::{Document, DocumentError};
pub use forms::{AnyMember, Form, Member};
pub use moved::{MOVED, Moved, Place};
pub use trust::{
    Origins, access_tokens, allowed_origins, custom_descriptor, custom_secrets, link_secrets, preset_secrets,
    requires_authentication, secret_variable, senders_with_secrets,
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
    /// The engine: `engine`, `engine_settings`, `engine_url`, `engine_token`, `engine_start`.
    pub engine: Engine,
    /// Time limits for a call to the engine: `engine_connect_ms`, `engine_timeout_ms`.
    pub timeouts: Timeouts,
    /// `engine_wait_ms`: how long a sender waits for the engine before its delivery is stored.
    pub wait: Duration,
    /// The limits on retries: `retry_max_hours`, `retry_max_attempts`, `callback_early_ms`, `callback_wait_hours`,
    /// `orphan_after_ms`.
    pub limits: Limits,
    /// `retention_hours`: how long outcomes and callbacks are kept.
    pub retention: Retention,
    /// `database_url`; the key-value store is used without it.
    pub database_url: Option<Secret>,
    /// `drain_width_max`: the greatest number of deliveries that drains have in flight.
    pub width_max: u32,
    /// `store_doors` and `store_max_keys`: the size of the key-value store.
    pub store: StoreSize,
    /// `move_from`: the store in use before, if its content is being moved.
    pub move_from: Option<MoveFrom>,
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
        engine: engine(variables)?,
        timeouts,
        wait: milliseconds(variables, "engine_wait_ms")?,
        limits: Limits {
            max_age: retry_max_age(variables)?,
            max_attempts: retry_max_attempts(variables)?,
            callback_early: callback_early(variables)?,
            callback_wait: callback_wait(variables)?,
            engine_timeout: timeouts.total,
            orphan_after: orphan_after(variables)?,
        },
        retention: retention(variables)?,
        database_url: database_url(variables)?,
        width_max: width_max(variables)?,
        store: StoreSize { doors: store_doors(variables)?, max_keys: store_max_keys(variables)? },
        move_from: move_from(variables)?,
    })
}

fn engine(variables: &impl Variables) -> Result<Engine, ConfigError> {
    let profile = engine_profile(variables)?;
    Ok(Engine {
        constants: engine_constants(variables, &profile)?,
        profile,
        url: engine_url(variables)?,
        token: secret(variables, "engine_token")?,
        start: engine_start(variables)?,
    })
}

/// Reads `engine`, the name of a profile. The default profile is used if it is empty.
fn engine_profile(variables: &impl Variables) -> Result<Profile, ConfigError> {
    parse(variables, "engine", |text| {
        let names = || format!("must be one of {}", Profile::names().collect::<Vec<_>>().join(", "));
        Profile::built_in(if text.is_empty() { DEFAULT_PROFILE } else { text }).ok_or_else(names)
    })
}

/// Reads `engine_settings`, the constants for a profile.
fn engine_constants(variables: &impl Variables, profile: &Profile) -> Result<Constants, ConfigError> {
    parse(variables, "engine_settings", |text| Constants::parse(text, profile).map_err(|error| error.to_string()))
}

fn engine_url(variables: &impl Variables) -> Result<EngineUrl, ConfigError> {
    parse(variables, "engine_url", |text| EngineUrl::parse(text).map_err(|e| e.to_string()))
}

fn engine_start(variables: &impl Variables) -> Result<bool, ConfigError> {
    boolean(variables, "engine_start")
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

/// Reads `drain_width_max`.
fn width_max(variables: &impl Variables) -> Result<u32, ConfigError> {
    parse(variables, "drain_width_max", |text| number(text, 1, 1_024))
}

/// Reads `store_doors`.
fn store_doors(variables: &impl Variables) -> Result<u32, ConfigError> {
    parse(variables, "store_doors", |text| number(text, 16, 65_536))
}

/// Reads `store_max_keys`.
fn store_max_keys(variables: &impl Variables) -> Result<usize, ConfigError> {
    parse(variables, "store_max_keys", |text| number(text, 500, 10_000_000))
}

/// Reads `callback_early_ms`, which is at most one day.
fn callback_early(variables: &impl Variables) -> Result<Duration, ConfigError> {
    parse(variables, "callback_early_ms", |text| number(text, 0_u64, 86_400_000)).map(Duration::from_millis)
}

/// Reads `callback_wait_hours`, which is at most [`Retention::MAX_HOURS`].
fn callback_wait(variables: &impl Variables) -> Result<Duration, ConfigError> {
    let hours = |text: &str| number(text, 1_u64, u64::from(Retention::MAX_HOURS));
    parse(variables, "callback_wait_hours", hours).map(|hours| Duration::from_secs(hours.saturating_mul(3_600)))
}

/// Reads `orphan_after_ms`, which is at most one day. Never less than ten times `engine_timeout_ms`: a slow engine may
/// still queue a run long after Sluice has given up its request.
fn orphan_after(variables: &impl Variables) -> Result<Duration, ConfigError> {
    let after = parse(variables, "orphan_after_ms", |text| number(text, 1_u64, 86_400_000))?;
    // An invalid `engine_timeout_ms` is an error of its own.
    let min = milliseconds(variables, "engine_timeout_ms").unwrap_or_default().saturating_mul(10);
    Ok(Duration::from_millis(after).max(min))
}

/// Reads `webhook_any_json`: whether a webhook may be any JSON value instead of an object.
pub fn webhook_any_json(variables: &impl Variables) -> Result<bool, ConfigError> {
    boolean(variables, "webhook_any_json")
}

/// Reads `max_body_bytes`, the size of the largest body that is accepted.
pub fn max_body(variables: &impl Variables) -> Result<usize, ConfigError> {
    /// Akamai's limit on the size of a request.
    const MAX: usize = 10 * 1024 * 1024;
    parse(variables, "max_body_bytes", |text| number(text, 1, MAX))
}

/// Checks that the engine takes each payload that `max_body_bytes` accepts.
fn body_limit(variables: &impl Variables, profile: &Profile) -> Result<(), ConfigError> {
    let error = |problem| ConfigError { variable: "max_body_bytes", problem };
    let (max, limit) = (max_body(variables)?, profile.max_body_bytes().map_err(|e| error(e.to_string()))?);
    match limit {
        Some(limit) if max > limit => {
            Err(error(format!("must be at most {limit}: the engine takes no larger payload")))
        }
        _ => Ok(()),
    }
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

/// Reads `database_url`; `None` if it is empty. The host parses the URL further.
pub fn database_url(variables: &impl Variables) -> Result<Option<Secret>, ConfigError> {
    parse(variables, "database_url", |text| match text {
        "" => Ok(None),
        text => match url_of_database(text) {
            Some(url) => Ok(Some(url)),
            None => {
                Err("must be a URL such as postgres://USER:PASSWORD@HOST:5432/DATABASE, percent-encoded".to_owned())
            }
        },
    })
}

/// Reads `move_from`; `None` if it is empty. It names a store of the other kind than the one in use.
pub fn move_from(variables: &impl Variables) -> Result<Option<MoveFrom>, ConfigError> {
    // An invalid `database_url` is an error of its own.
    let is_postgres = database_url(variables).is_ok_and(|url| url.is_some());
    parse(variables, "move_from", |text| match (text, is_postgres) {
        ("", _) => Ok(None),
        ("key-value", true) => Ok(Some(MoveFrom::KeyValue)),
        (_, true) => Err("must be `key-value` while `database_url` is set".to_owned()),
        (text, false) => match url_of_database(text) {
            Some(url) => Ok(Some(MoveFrom::Postgres(url))),
            None => Err("must be the URL of a database, such as `database_url` was, while that is empty".to_owned()),
        },
    })
}

fn url_of_database(text: &str) -> Option<Secret> {
    let is_url = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
    (is_url && text.bytes().all(|b| b.is_ascii_graphic())).then(|| Secret::new(text))
}

/// Reads `public_url`: scheme, host and port, without a slash at the end; `None` if it is empty.
pub fn public_url(variables: &impl Variables) -> Result<Option<String>, ConfigError> {
    parse(variables, "public_url", |text| match text {
        "" => Ok(None),
        text => origin(text).map(Some).map_err(str::to_owned),
    })
}

/// Parses scheme, host and port of a URL. The error completes a sentence that begins with its place.
fn origin(text: &str) -> Result<String, &'static str> {
    let text = text.trim_end_matches('/');
    match EngineUrl::parse(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(EngineUrlError::UserInfo) => Err("must not carry a user or password"),
        Err(EngineUrlError::Path) => Err("must end after host and port"),
        Err(EngineUrlError::NotAbsolute | EngineUrlError::Scheme) => {
            Err("must be an absolute URL, such as https://gate.example.com")
        }
    }
}

/// The effect of `GET /api/v2/callback`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallbackGet {
    /// Completes the callback, as the contract says.
    #[default]
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

/// Reads `routes`; `None` if it is empty. The table has to fit the configured engine, as far as that is valid itself.
pub fn routes(variables: &impl Variables) -> Result<Option<Table>, ConfigError> {
    let table = parse(variables, "routes", |text| match text {
        "" => Ok(None),
        json => Table::parse(json).map(Some).map_err(|error| format!("is no table of routes: {error}")),
    })?;
    if let (Some(table), Ok(engine)) = (&table, engine(variables)) {
        check_routes(table, &engine).map_err(|problem| ConfigError { variable: "routes", problem })?;
    }
    Ok(table)
}

/// Checks what depends on the engine: the scopes of workflows, and the names of params that it reserves.
fn check_routes(table: &Table, engine: &Engine) -> Result<(), String> {
    let reserved = engine.profile.reserved_params().map_err(|error| error.to_string())?;
    for (at, route) in table.iter().enumerate() {
        let error = |place: &str, flaw: &str| Err(format!("is no table of routes: `/{at}/{place}` {flaw}"));
        if let Err(scope) = engine.accepts(route.workflow()) {
            return error("workflow", &scope.to_string());
        }
        if let Some(name) = route.param_names().find(|name| reserved.contains(name)) {
            return error(&format!("params/{}", Pointer::escape(name)), "is reserved: use another name");
        }
    }
    Ok(())
}

/// Returns all errors in the configuration. `/readyz` succeeds only if there are none.
pub fn check(variables: &impl Variables) -> Vec<ConfigError> {
    let profile = engine_profile(variables);
    let constants = profile.as_ref().map(|profile| engine_constants(variables, profile));
    let errors = [
        constants.ok().and_then(Result::err),
        profile.as_ref().ok().and_then(|profile| body_limit(variables, profile).err()),
        profile.err(),
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
        width_max(variables).err(),
        store_doors(variables).err(),
        store_max_keys(variables).err(),
        callback_early(variables).err(),
        callback_wait(variables).err(),
        orphan_after(variables).err(),
        webhook_any_json(variables).err(),
        operator_token(variables).err(),
        database_url(variables).err(),
        move_from(variables).err(),
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

/// Reads `true` or `false`.
fn boolean(variables: &impl Variables, variable: &'static str) -> Result<bool, ConfigError> {
    parse(variables, variable, |text| text.parse().map_err(|_| "must be `true` or `false`".to_owned()))
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
