//! The token in requests to the engine: as `engine_token` is, or exchanged for another one by a login.

use std::fmt;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{HeaderMap, Request, Response, Uri};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::form::AuthForm;
use super::names::base64;
use super::request::push_parameter;
use super::response::Value;
use super::{Engine, Names, Operation, RequestError, malformed};
use crate::delivery::Verdict;
use crate::json;
use crate::secret::Secret;
use crate::time::Timestamp;

/// The time before the end of a token's life from which it isn't used any more.
const MARGIN: Duration = Duration::from_secs(60);

/// A token that a login has returned, in its stored form.
#[derive(Clone, Serialize, Deserialize)]
pub struct Session {
    /// The token.
    token: String,
    /// When it was issued.
    issued: Timestamp,
    /// When it ends.
    until: Timestamp,
    /// SHA-256 of the user and password that it was issued for, in hexadecimal, and of the engine's address.
    of: String,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("issued", &self.issued).field("until", &self.until).finish_non_exhaustive()
    }
}

impl Session {
    /// The name of its note in a store. There is one engine.
    pub const NAME: &'static str = "engine";

    /// Decodes the stored form; `None` if it is damaged or of a later version.
    pub fn read(text: &str) -> Option<Self> {
        json::read(text.as_bytes()).ok()
    }

    /// The stored form: JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// When the token was issued.
    pub fn issued(&self) -> Timestamp {
        self.issued
    }
}

/// The login of the configured engine.
#[derive(Clone, Debug)]
pub struct Login {
    user: String,
    password: Secret,
    of: String,
}

impl Login {
    /// Whether a token was issued for these credentials and isn't about to end.
    pub fn accepts(&self, session: &Session, now: Timestamp) -> bool {
        session.of == self.of && now.plus(MARGIN) < session.until && session.issued <= now.plus(MARGIN)
    }
}

impl Engine<'_> {
    /// Returns the login by which `engine_token` has to be exchanged for a token; `None` if it is sent itself.
    pub fn login(&self) -> Option<Login> {
        let form = self.document().auth().ok()??;
        form.login?;
        let (user, password) = self.token.as_ref()?.expose().split_once(':')?;
        let mut hash = Sha256::new();
        for part in [self.url.to_string().as_str(), user, password] {
            hash.update(part);
            hash.update([0]);
        }
        let of = base16ct::lower::encode_string(&hash.finalize());
        Some(Login { user: user.to_owned(), password: Secret::new(password), of })
    }

    /// Builds the request of a login.
    pub fn login_request(&self, login: &Login) -> Result<Request<Vec<u8>>, RequestError> {
        let form = self.document().auth()?.and_then(|form| form.login).ok_or(RequestError)?;
        let mut names = Names::default();
        names.add("user", Some(login.user.clone()));
        names.add("password", Some(login.password.expose().to_owned()));
        self.build_simple(&form.request, &names, &HeaderMap::new())
    }

    /// Reads the response to a login.
    pub fn read_login(&self, login: &Login, response: Response<Vec<u8>>, now: Timestamp) -> Result<Session, Verdict> {
        let form = self.document().auth().map_err(malformed)?.and_then(|form| form.login).ok_or(RequestError)?;
        let status = response.status();
        let names = Names::default();
        let success = self.reader(Operation::Login, &names, now).success(response)?;
        let value = Value::of_body(&success.body);
        let token = value.text_at(&form.token).filter(|token| token.bytes().all(|b| b.is_ascii_graphic()));
        let token = token.filter(|token| !token.is_empty()).ok_or_else(|| Verdict::Misconfigured {
            reason: format!("the engine answered the login with {}, but without a token", status.as_u16()),
        })?;
        let told = form.expires_in.and_then(|place| value.at(&place)?.get().parse().ok());
        let life = Duration::from_secs(told.unwrap_or(form.lifetime_seconds));
        Ok(Session { token, issued: now, until: now.plus(life), of: login.of.clone() })
    }

    /// Adds the token to a request: that of a session, or `engine_token` as the profile says.
    pub fn authorize(&self, request: &mut Request<Vec<u8>>, session: Option<&Session>) -> Result<(), RequestError> {
        if let Some(session) = session {
            return insert(request.headers_mut(), AUTHORIZATION, &format!("Bearer {}", session.token));
        }
        let Some(token) = self.token.as_ref().map(Secret::expose) else { return Ok(()) };
        match self.document().auth()? {
            Some(AuthForm { header: Some(name), prefix, .. }) => {
                let name: HeaderName = name.parse().map_err(|_| RequestError)?;
                let prefix = prefix.as_deref().unwrap_or_default();
                insert(request.headers_mut(), name, &format!("{prefix}{token}"))
            }
            Some(AuthForm { basic: true, .. }) if token.contains(':') => {
                insert(request.headers_mut(), AUTHORIZATION, &format!("Basic {}", base64(token)))
            }
            Some(AuthForm { query: Some(name), .. }) => {
                let target = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
                let mut target = target.to_owned();
                push_parameter(&mut target, &name, token);
                let mut parts = request.uri().clone().into_parts();
                parts.path_and_query = Some(target.parse().map_err(|_| RequestError)?);
                *request.uri_mut() = Uri::from_parts(parts).map_err(|_| RequestError)?;
                Ok(())
            }
            _ => insert(request.headers_mut(), AUTHORIZATION, &format!("Bearer {token}")),
        }
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) -> Result<(), RequestError> {
    let mut value = HeaderValue::try_from(value).map_err(|_| RequestError)?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}
