//! Reads variables into checked settings. A request reads only the variables and members that it needs; `/readyz` reads
//! all of them ([`Config::check`]).

mod document;
mod forms;
pub mod members;
mod moved;
mod trust;

use std::cell::OnceCell;
use std::time::Duration;

use crate::delivery::Limits;
use crate::engine::{Constants, DEFAULT_PROFILE, Doubt, Engine, EngineUrl, EngineUrlError, Profile};
use crate::json::{InvalidValue, Pointer, without_mark};
use crate::ports::{Timeouts, Variables};
use crate::reference::WorkflowRef;
use crate::routing::Table;
use crate::secret::Secret;
use crate::source::{Action, SourceSender, Sources, Via, Workflow};
use crate::store::{MoveFrom, StoreSize};
use crate::time::Retention;

pub use document::{Document, DocumentError};
pub use forms::{AnyMember, Form, Member, Token};
pub use moved::{MOVED, Moved, Place};
pub use trust::{Origins, WebOrigins};

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

impl ConfigError {
    /// The error of a member of `settings`.
    fn setting(error: &InvalidValue) -> Self {
        Self { variable: "settings", problem: format!("has an error: {error}") }
    }
}

/// The settings of the gateway.
#[derive(Clone, Debug)]
pub struct Settings<'h> {
    /// The engine: `engine`, `engine_url`, `engine_token`, and the members `engine` and `engine_start`.
    pub engine: Engine<'h>,
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
    /// `doors` and `max_keys`: the size of the key-value store.
    pub store: StoreSize,
    /// `move_from`: the store in use before, if its content is being moved.
    pub move_from: Option<MoveFrom>,
    /// `keep_hours`: how long the payloads of delivered starts are kept; zero for not at all.
    pub keep: Duration,
    /// `alert_workflow` and `alert_after_minutes`: the alerts, if there are any.
    pub alerts: Option<Alerts>,
}

/// When an alert is sent, and to which workflow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alerts {
    /// The workflow that is started.
    pub workflow: WorkflowRef,
    /// How long the oldest pending delivery may wait.
    pub after: Duration,
    /// `public_url`: scheme, host and port at which Sluice is reached, if they are known.
    pub public_url: Option<String>,
}

impl Settings<'_> {
    /// How long the records of callbacks are kept: at least as long as a callback waits for its run.
    pub fn callback_retention(&self) -> Retention {
        self.retention.at_least(self.limits.callback_wait)
    }
}

/// The configuration of the host. Each text is parsed at most once.
pub struct Config<'h, H> {
    variables: &'h H,
    settings: OnceCell<Result<Document<'h>, ConfigError>>,
    sources: OnceCell<Result<Sources<'h>, ConfigError>>,
    profile: OnceCell<Result<Profile<'h>, ConfigError>>,
}

/// Redacted: the texts contain secrets.
impl<H> std::fmt::Debug for Config<'_, H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Config(…)")
    }
}

impl<'h, H: Variables> Config<'h, H> {
    /// The configuration in these variables.
    pub fn new(variables: &'h H) -> Self {
        Self { variables, settings: OnceCell::new(), sources: OnceCell::new(), profile: OnceCell::new() }
    }

    /// Reads a member of `settings`, or its default.
    pub fn get<F: Form<'h>>(&self, member: &Member<F>) -> Result<F::Value, ConfigError> {
        self.document()?.get(member).map_err(|error| ConfigError::setting(&error))
    }

    fn document(&self) -> Result<&Document<'h>, ConfigError> {
        let parsed = self.settings.get_or_init(|| {
            let text = self.text("settings")?;
            Document::parse(text).map_err(|error| ConfigError { variable: "settings", problem: error.to_string() })
        });
        parsed.as_ref().map_err(Clone::clone)
    }

    /// Reads `sources` and `access_tokens`. An error stops all sources; that of one source stops only that one
    /// ([`Sources::stopped`]).
    pub fn sources(&self) -> Result<&Sources<'h>, ConfigError> {
        let parsed = self.sources.get_or_init(|| {
            let tokens = self.access_tokens()?;
            let text = self.text("sources")?;
            Sources::parse(text, tokens)
                .map_err(|error| ConfigError { variable: "sources", problem: error.to_string() })
        });
        parsed.as_ref().map_err(Clone::clone)
    }

    /// Reads `access_tokens`, separated by commas: any one of them authenticates a request, without limits.
    pub fn access_tokens(&self) -> Result<Vec<Secret>, ConfigError> {
        self.parse("access_tokens", trust::tokens)
    }

    /// Reads the settings of the gateway. Returns the first error.
    pub fn settings(&self) -> Result<Settings<'h>, ConfigError> {
        let timeouts =
            Timeouts { connect: self.get(&members::ENGINE_CONNECT)?, total: self.get(&members::ENGINE_TIMEOUT)? };
        let engine = self.engine()?;
        Ok(Settings {
            // An error of it stops no delivery; `/readyz` shows it.
            alerts: self.alerts(Some(&engine)).unwrap_or_default(),
            engine,
            timeouts,
            wait: self.get(&members::ENGINE_WAIT)?,
            limits: Limits {
                max_age: self.get(&members::RETRY_MAX)?,
                max_attempts: self.get(&members::RETRY_MAX_ATTEMPTS)?,
                callback_early: self.get(&members::CALLBACK_EARLY)?,
                callback_wait: self.get(&members::CALLBACK_WAIT)?,
                engine_timeout: timeouts.total,
                // A slow engine may still queue a run long after Sluice has given up its request.
                orphan_after: self.get(&members::ORPHAN_AFTER)?.max(timeouts.total.saturating_mul(10)),
            },
            retention: self.retention()?,
            database_url: self.database_url()?,
            width_max: self.get(&members::DRAIN_WIDTH_MAX)?,
            store: StoreSize { doors: self.get(&members::DOORS)?, max_keys: self.get(&members::MAX_KEYS)? },
            move_from: self.move_from()?,
            keep: self.keep()?,
        })
    }

    fn engine(&self) -> Result<Engine<'h>, ConfigError> {
        let profile = self.engine_profile()?;
        Ok(Engine {
            constants: self.engine_constants(&profile)?,
            profile,
            url: self.engine_url()?,
            token: self.secret("engine_token")?,
            start: self.get(&members::ENGINE_START)?,
        })
    }

    /// Reads `engine`: the name of a profile, or a profile in JSON. The default profile is used if it is empty.
    fn engine_profile(&self) -> Result<Profile<'h>, ConfigError> {
        self.profile.get_or_init(|| self.parse("engine", profile)).clone()
    }

    /// Reads the member `engine`, the constants for a profile.
    fn engine_constants(&self, profile: &Profile<'_>) -> Result<Constants, ConfigError> {
        let text = self.get(&members::ENGINE)?.map_or("", |raw| raw.get());
        let error = |problem: String| ConfigError { variable: "settings", problem };
        Constants::parse(text, profile).map_err(|e| error(format!("has an error: `/{}` {e}", members::ENGINE.name)))
    }

    fn engine_url(&self) -> Result<EngineUrl, ConfigError> {
        self.parse("engine_url", |text| EngineUrl::parse(text).map_err(|e| e.to_string()))
    }

    /// Reads `retention_hours`.
    fn retention(&self) -> Result<Retention, ConfigError> {
        let hours = self.get(&members::RETENTION_HOURS)?;
        Retention::from_hours(hours).ok_or_else(|| self.invalid(&members::RETENTION_HOURS, "is out of range"))
    }

    /// Checks that the engine takes each payload that `max_body_bytes` accepts, if that is set. Its default follows the
    /// engine's limit.
    fn body_limit(&self, profile: &Profile<'_>) -> Result<(), ConfigError> {
        let error = |rule: String| self.invalid(&members::MAX_BODY_BYTES, rule);
        let max = self.get(&members::MAX_BODY_BYTES)?;
        // A malformed profile is an error of `engine`.
        match profile.max_body_bytes().ok().flatten() {
            Some(limit) if max > limit && self.document()?.has(&members::MAX_BODY_BYTES) => {
                Err(error(format!("must be at most {limit}: the engine takes no larger payload")))
            }
            _ => Ok(()),
        }
    }

    /// The error of a member that breaks a rule together with something outside `settings`.
    fn invalid<F>(&self, member: &Member<F>, rule: impl Into<String>) -> ConfigError {
        ConfigError::setting(&InvalidValue { pointer: format!("/{}", member.name), rule: rule.into() })
    }

    /// Reads `operator_token`; `None` if it is empty.
    pub fn operator_token(&self) -> Result<Option<Secret>, ConfigError> {
        self.secret("operator_token")
    }

    /// Reads `database_url`; `None` if it is empty. The host parses the URL further.
    pub fn database_url(&self) -> Result<Option<Secret>, ConfigError> {
        self.parse("database_url", |text| match text {
            "" => Ok(None),
            text => match url_of_database(text) {
                Some(url) => Ok(Some(url)),
                None => {
                    Err("must be a URL such as postgres://USER:PASSWORD@HOST:5432/DATABASE, percent-encoded".to_owned())
                }
            },
        })
    }

    /// Reads `move_from`; `None` if it is not set. It names a store of the other kind than the one in use.
    pub fn move_from(&self) -> Result<Option<MoveFrom>, ConfigError> {
        // An invalid `database_url` is an error of its own.
        let is_postgres = self.database_url().is_ok_and(|url| url.is_some());
        let error = |rule: &str| Err(self.invalid(&members::MOVE_FROM, rule));
        let from = self.get(&members::MOVE_FROM)?;
        match (from.as_ref().map(Secret::expose), is_postgres) {
            (None, _) => Ok(None),
            (Some("key-value"), true) => Ok(Some(MoveFrom::KeyValue)),
            (Some(_), true) => error("must be `key-value` while `database_url` is set"),
            (Some(text), false) => match url_of_database(text) {
                Some(url) => Ok(Some(MoveFrom::Postgres(url))),
                None => error("must be the URL of a database, such as `database_url` was, while that is empty"),
            },
        }
    }

    /// Reads `keep_hours`, which only a database has room for.
    fn keep(&self) -> Result<Duration, ConfigError> {
        let hours = self.get(&members::KEEP_HOURS)?;
        // An invalid `database_url` is an error of its own.
        if hours > 0 && self.database_url().is_ok_and(|url| url.is_none()) {
            let rule =
                "must be 0 while `database_url` is empty: only PostgreSQL keeps the payloads of delivered starts";
            return Err(self.invalid(&members::KEEP_HOURS, rule));
        }
        Ok(Duration::from_secs(3_600).saturating_mul(hours))
    }

    /// Reads `alert_workflow` with `alert_after_minutes`; `None` without a workflow. The workflow has to fit the
    /// configured engine, as far as that is valid itself.
    fn alerts(&self, engine: Option<&Engine<'_>>) -> Result<Option<Alerts>, ConfigError> {
        let after = self.get(&members::ALERT_AFTER)?;
        let Some(workflow) = self.get(&members::ALERT_WORKFLOW)? else { return Ok(None) };
        if let Some(engine) = engine {
            engine.accepts(&workflow).map_err(|rule| self.invalid(&members::ALERT_WORKFLOW, rule.to_string()))?;
        }
        // `/readyz` shows its error, which is none of the alert.
        let public_url = self.get(&members::PUBLIC_URL).unwrap_or_default();
        Ok(Some(Alerts { workflow, after, public_url }))
    }

    /// Reads `routes`; `None` if it is empty. The table has to fit the configured engine, as far as that is valid
    /// itself.
    pub fn routes(&self) -> Result<Option<Table>, ConfigError> {
        let table = self.parse("routes", |text| match text {
            "" => Ok(None),
            json => Table::parse(json).map(Some).map_err(|error| format!("is no table of routes: {error}")),
        })?;
        if let (Some(table), Ok(engine)) = (&table, self.engine()) {
            check_routes(table, &engine).map_err(|problem| ConfigError { variable: "routes", problem })?;
        }
        Ok(table)
    }

    /// Returns the routes that refuse deliveries of a source, because it may not start their workflow: a delivery that
    /// matches one of them is refused as a whole. Completes the sentence "`routes` …".
    pub fn refusing_routes(&self) -> Vec<String> {
        let (Ok(Some(table)), Ok(sources), Ok(engine)) = (self.routes(), self.sources(), self.engine()) else {
            return Vec::new();
        };
        let default_team = engine.default_scope();
        let mut found = Vec::new();
        for (at, route) in table.iter().enumerate() {
            if let Some(name) = route.source().filter(|name| sources.iter().all(|source| source.name() != *name)) {
                found.push(format!("has a source `{name}` at `/{at}/source` that is not in `sources`"));
            }
            let workflow = Workflow::of_reference(route.workflow(), |text| engine.is_workflow_id(text));
            let name = route.name();
            let refusing = sources.iter().filter(|source| {
                let sender = source.sender().map(SourceSender::name);
                let may_match = route.source().is_none_or(|name| name == source.name())
                    && (route.sender().is_none() || sender.is_none() || route.sender() == sender);
                let action = Action::Start(Via::Route(&name), workflow);
                may_match && source.authority().is_some_and(|it| it.decide(&action, default_team.as_deref()).is_err())
            });
            found.extend(refusing.map(|source| {
                format!(
                    "has the workflow `{}` at `/{at}`, which the source `{}` may not start: what it sends and the \
                     route matches is refused; set `source` in the route, or `workflows` in the source",
                    route.workflow().as_str(),
                    source.name()
                )
            }));
        }
        found
    }

    /// Returns warnings about what the configured engine can't promise.
    pub fn promises(&self) -> Vec<String> {
        let (Ok(engine), Ok(limit)) = (self.engine(), self.get(&members::RETRY_MAX)) else { return Vec::new() };
        let (name, mut warnings) = (engine.profile.name(), Vec::new());
        match engine.profile.doubt() {
            Doubt::ResendAnyway => warnings.push(format!(
                "the engine `{name}` may start a run twice: a delivery whose response was lost is sent again, so let the \
                 receiver recognize it by its key"
            )),
            Doubt::Hold => warnings.push(format!(
                "the engine `{name}` can't be asked for a run: a delivery whose response was lost becomes a dead letter"
            )),
            Doubt::Find | Doubt::Resend => {}
        }
        let hours = limit.as_secs().div_ceil(3_600);
        if let Some(retention) = engine.retention_hours().filter(|retention| *retention < hours) {
            warnings.push(format!(
                "the engine `{name}` knows a start for {retention} h, and deliveries are retried for {hours} h: one that is \
                 sent again later may start a second run; set `retry_max_hours` in `settings` to at most {retention}, or \
                 let the engine remember longer"
            ));
        }
        warnings
    }

    /// Returns all errors that stop the gateway. `/readyz` succeeds only if there are none.
    pub fn check(&self) -> Vec<ConfigError> {
        let profile = self.engine_profile();
        let constants = profile.as_ref().ok().map(|profile| self.engine_constants(profile));
        let document = self.document();
        let members = document.as_ref().map(|document| document.errors()).unwrap_or_default();
        // Each error of a member is reported once, as the document's.
        let is_valid = members.is_empty() && document.is_ok();
        let across = [
            constants.and_then(Result::err),
            profile.as_ref().ok().and_then(|profile| self.body_limit(profile).err()),
            self.retention().err(),
            self.move_from().err(),
            self.keep().err(),
            self.alerts(self.engine().ok().as_ref()).err(),
        ];
        let checked = profile.as_ref().ok().and_then(|profile| profile.check().err());
        let checked =
            checked.map(|error| ConfigError { variable: "engine", problem: format!("has a profile that {error}") });
        let errors = [
            profile.err().or(checked),
            self.engine_url().err(),
            self.secret("engine_token").err(),
            self.operator_token().err(),
            self.database_url().err(),
            document.err(),
            self.access_tokens().err().or_else(|| self.sources().err()),
            self.routes().err(),
        ];
        let mut errors: Vec<_> = errors.into_iter().flatten().collect();
        errors.extend(members.iter().map(ConfigError::setting));
        errors.extend(across.into_iter().flatten().filter(|_| is_valid));
        errors
    }

    /// Reads a variable, and parses its value without the white space around it and without a byte order mark.
    fn parse<T>(&self, variable: &'static str, read: impl Fn(&'h str) -> Result<T, String>) -> Result<T, ConfigError> {
        let text = self.text(variable)?;
        read(without_mark(text.trim()).trim()).map_err(|problem| ConfigError { variable, problem })
    }

    /// Reads the text of a variable.
    fn text(&self, variable: &'static str) -> Result<&'h str, ConfigError> {
        match self.variables.variable(variable) {
            Ok(Some(text)) => Ok(text),
            Ok(None) => Err(ConfigError {
                variable,
                problem: "is not in the manifest: use spin.toml as it is shipped".to_owned(),
            }),
            // The provider's message may contain the provider's address or a token.
            Err(_) => Err(ConfigError { variable, problem: "can't be read: its provider did not answer".to_owned() }),
        }
    }

    /// Reads a token; `None` if it is empty. A token is sent in a header, so it must be visible ASCII (RFC 9110,
    /// section 5.5).
    fn secret(&self, variable: &'static str) -> Result<Option<Secret>, ConfigError> {
        self.parse(variable, |text| match text {
            "" => Ok(None),
            text if text.bytes().all(|b| b.is_ascii_graphic()) => Ok(Some(Secret::new(text))),
            _ => Err("must be visible ASCII without blanks".to_owned()),
        })
    }
}

/// The profile of this name, or in this text.
fn profile(text: &str) -> Result<Profile<'_>, String> {
    let profile = match text {
        json if json.starts_with('{') => return Profile::parse(json).map_err(|e| format!("has a profile that {e}")),
        "" => Profile::built_in(DEFAULT_PROFILE),
        name => Profile::built_in(name),
    };
    let names = || format!("must be one of {}, or a profile in JSON", Profile::names().collect::<Vec<_>>().join(", "));
    profile.ok_or_else(names)
}

fn url_of_database(text: &str) -> Option<Secret> {
    let is_url = ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme));
    (is_url && text.bytes().all(|b| b.is_ascii_graphic())).then(|| Secret::new(text))
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

/// Checks what depends on the engine: the scopes of workflows, and the names of params that it reserves.
fn check_routes(table: &Table, engine: &Engine<'_>) -> Result<(), String> {
    let reserved = engine.profile.reserved_params().map_err(|error| error.to_string())?;
    for (at, route) in table.iter().enumerate() {
        let error = |place: &str, flaw: &str| Err(format!("is no table of routes: `/{at}/{place}` {flaw}"));
        if let Err(scope) = engine.accepts(route.workflow()) {
            return error("workflow", &scope.to_string());
        }
        if let Some(name) = route.param_names().find(|name| reserved.iter().any(|it| it == name)) {
            return error(&format!("params/{}", Pointer::escape(name)), "is reserved: use another name");
        }
    }
    Ok(())
}
