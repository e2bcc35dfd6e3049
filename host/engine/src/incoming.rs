//! A request as Spring sees it: decoded segments, query parameters, a body of a declared type.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, StatusCode};
use percent_encoding::percent_decode_str;

use crate::fault::Fault;
use crate::json::Json;

/// A request for one of the services.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) method: String,
    /// The path below the service's prefix, as it came.
    pub(crate) path: String,
    /// The decoded parts of the path.
    pub(crate) segments: Vec<String>,
    query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    body: Vec<u8>,
}

impl Incoming {
    pub(crate) fn new(request: Request<Vec<u8>>, path: &str) -> Incoming {
        let decode = |segment: &str| percent_decode_str(segment).decode_utf8_lossy().into_owned();
        let query = request.uri().query().unwrap_or_default();
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let segments = path.strip_prefix('/').unwrap_or(path).split('/').map(decode).collect();
        let (head, body) = request.into_parts();
        Incoming {
            method: head.method.as_str().to_owned(),
            path: path.to_owned(),
            segments,
            query,
            headers: head.headers,
            body,
        }
    }

    /// The first value of a query parameter.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A query parameter that has to be there.
    pub(crate) fn required(&self, name: &str) -> Result<&str, Fault> {
        let missing = || format!("Required parameter '{name}' is not present.");
        self.parameter(name).ok_or_else(|| Fault::problem(StatusCode::BAD_REQUEST, missing()))
    }

    /// A list: one value is split at its commas, several are taken as they are.
    pub(crate) fn list(&self, name: &str) -> Option<Vec<String>> {
        let values: Vec<_> = self.query.iter().filter(|(known, _)| known == name).map(|(_, value)| value).collect();
        match values[..] {
            [] => None,
            [one] => Some(one.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()),
            _ => Some(values.into_iter().cloned().collect()),
        }
    }

    /// A flag, `false` if it is missing or empty.
    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, Fault> {
        match self.parameter(name).map(str::to_lowercase).as_deref().map(str::trim) {
            None | Some("") => Ok(default),
            Some("true" | "on" | "yes" | "1") => Ok(true),
            Some("false" | "off" | "no" | "0") => Ok(false),
            Some(_) => Err(self.unconvertible(name)),
        }
    }

    /// A whole number, none if it is missing or empty.
    pub(crate) fn number(&self, name: &str) -> Result<Option<i64>, Fault> {
        match self.parameter(name).map(str::trim) {
            None | Some("") => Ok(None),
            Some(text) => match text.parse::<i32>() {
                Ok(number) => Ok(Some(i64::from(number))),
                Err(_) => Err(self.unconvertible(name)),
            },
        }
    }

    /// A time in milliseconds, none if it is missing or empty.
    pub(crate) fn time(&self, name: &str) -> Result<Option<i64>, Fault> {
        match self.parameter(name).map(str::trim) {
            None | Some("") => Ok(None),
            Some(text) => text.parse().map(Some).map_err(|_| self.unconvertible(name)),
        }
    }

    pub(crate) fn unconvertible(&self, name: &str) -> Fault {
        let value = self.parameter(name).unwrap_or_default();
        Fault::problem(StatusCode::BAD_REQUEST, format!("Failed to convert '{name}' with value: '{value}'"))
    }

    /// The body of a request that has to have one.
    pub(crate) fn body(&self) -> Result<Json, Fault> {
        self.optional_body()?.ok_or_else(Fault::unreadable)
    }

    /// The body, if there is one and it isn't `null`.
    pub(crate) fn optional_body(&self) -> Result<Option<Json>, Fault> {
        let content_type = self.headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
        let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_lowercase();
        let is_json =
            essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"));
        if content_type.is_none() && self.body.is_empty() {
            return Ok(None);
        }
        if !is_json {
            let content_type = content_type.unwrap_or("application/octet-stream");
            let detail = format!("Content-Type '{content_type}' is not supported.");
            return Err(Fault::problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
        if self.body.is_empty() {
            return Ok(None);
        }
        match Json::parse(&self.body) {
            Ok(Json::Null) => Ok(None),
            Ok(body) => Ok(Some(body)),
            Err(_) => Err(Fault::unreadable()),
        }
    }
}
