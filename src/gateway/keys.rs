//! Public keys of senders, by which a request is verified: from the store, or fetched.
//!
//! A request that needs a key costs 1 read while the key is stored and fresh. A fetch costs 1 read and 2 writes more,
//! and 1 write if it fails. Two instances may fetch the same keys at once, and store them one after the other.

use std::time::Duration;

use http::header::CACHE_CONTROL;
use http::uri::Scheme;
use http::{Method, Request, StatusCode, Uri};

use super::store_of;
use crate::ports::{Host, SendError, StoreError, Timeouts};
use crate::sender::{
    Descriptor, FetchAttempts, FetchedKeys, KeyRequest, KeySource, MAX_KEY_RESPONSE, MAX_KEY_URL, Plan, PublicKey,
};
use crate::store::{NoteKind, SourceNotes as _};

/// Time limits of a fetch. The sender of the request waits meanwhile.
const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(2), total: Duration::from_secs(5) };

/// The result of looking for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyLookup {
    /// The keys with the id that the request names, for
    /// [`Credentials::keys`](crate::sender::Credentials::keys).
    Found(Vec<PublicKey>),
    /// The sender has published no such key, a minute ago or later: the request is not verified.
    Unknown,
}

/// The reason why a key can't be looked for. Sending the request again is safe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// None of the sender's schemes takes keys from this URL. Nothing was fetched.
    #[error("the URL of the key is none of this sender's")]
    NotPermitted,
    /// The keys can't be fetched, and the stored ones are too old or don't have this one.
    #[error("the sender's public keys at {url} can't be fetched: {failure}")]
    Unavailable {
        /// The URL.
        url: String,
        /// The failure.
        failure: KeyFailure,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The reason why keys can't be fetched. Contains no part of the response.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFailure {
    /// The host forbids the call.
    #[error("{0}; if {1} is missing in `allowed_outbound_hosts`, add it there, or give the keys in the source")]
    Denied(&'static str, String),
    /// No complete response arrived.
    #[error("{0}")]
    NoResponse(&'static str),
    /// The response has another status than 200. A redirect is not followed.
    #[error("the answer was {}", .0.as_u16())]
    Status(StatusCode),
    /// The response is longer than [`MAX_KEY_RESPONSE`].
    #[error("the answer has more than {MAX_KEY_RESPONSE} bytes")]
    TooLong,
    /// The response has no usable key.
    #[error("the answer {0}")]
    NotKeys(#[from] crate::sender::PublicKeyError),
    /// The last attempt is less than a minute old: it has failed, or is still under way.
    #[error("the last attempt is less than a minute old")]
    TooSoon,
}

/// Looks for the public key that a verification by one of these schemes needs
/// ([`VerifyError::KeyNeeded`](crate::sender::VerifyError::KeyNeeded)): among the stored keys of the URL while they are
/// fresh, and otherwise at the URL, at most once a minute. If that fails, keys that were fresh within the last day go
/// on to be used.
pub async fn public_keys<'d>(
    host: &impl Host,
    descriptors: impl IntoIterator<Item = &'d Descriptor>,
    request: &KeyRequest,
) -> Result<KeyLookup, KeyError> {
    let KeyRequest { url, id } = request;
    // It was checked when the key was asked for. Once more: the URL that is named here is called.
    let source =
        descriptors.into_iter().filter_map(|descriptor| descriptor.keys.as_ref()).find(|keys| keys.permits(url));
    let (Some(source), Some(uri)) = (source, fetchable(url)) else { return Err(KeyError::NotPermitted) };
    let store = store_of(host);
    let stored = store.source_note(NoteKind::Keys, url).await?.and_then(|text| FetchedKeys::read(&text));
    let stored = stored.filter(|stored| stored.url() == url);
    match FetchedKeys::plan(stored.as_ref(), id, host.now()) {
        Plan::Use => return Ok(found(stored.as_ref(), id)),
        Plan::Unknown => return Ok(KeyLookup::Unknown),
        Plan::Fetch => {}
    }
    let place = FetchAttempts::name_of(source);
    let attempts = store.source_note(NoteKind::Fetches, &place).await?;
    let mut attempts = attempts.and_then(|text| FetchAttempts::read(&text)).unwrap_or_default();
    let failure = if attempts.permit(url, host.now()) {
        // Before the fetch, so that other instances don't begin one as well.
        store.write_source_note(NoteKind::Fetches, &place, &attempts.to_json()).await?;
        match fetch(host, source, url, uri).await {
            Ok(keys) => {
                // If this fails, a later request fetches them again.
                let _: Result<(), StoreError> = store.write_source_note(NoteKind::Keys, url, &keys.to_json()).await;
                return Ok(found(Some(&keys), id));
            }
            Err(failure) => {
                attempts.fail(&failure.to_string());
                // Only for the operator: that there was an attempt is stored already.
                let _: Result<(), StoreError> =
                    store.write_source_note(NoteKind::Fetches, &place, &attempts.to_json()).await;
                failure
            }
        }
    } else {
        KeyFailure::TooSoon
    };
    match stored.as_ref().filter(|stored| stored.is_usable_without_fetch(id, host.now())) {
        Some(stored) => Ok(found(Some(stored), id)),
        None => Err(KeyError::Unavailable { url: url.clone(), failure }),
    }
}

/// The keys with this id among fetched ones.
fn found(keys: Option<&FetchedKeys>, id: &str) -> KeyLookup {
    let keys = keys.map(|keys| keys.with_id(id)).unwrap_or_default();
    if keys.is_empty() { KeyLookup::Unknown } else { KeyLookup::Found(keys) }
}

/// The URL, if it is one of HTTPS without user information, and short.
fn fetchable(url: &str) -> Option<Uri> {
    let uri: Uri = Some(url).filter(|url| url.len() <= MAX_KEY_URL)?.parse().ok()?;
    let has_host =
        uri.authority().is_some_and(|authority| !authority.as_str().contains('@') && !authority.host().is_empty());
    (uri.scheme() == Some(&Scheme::HTTPS) && has_host).then_some(uri)
}

/// Fetches the keys at a URL.
async fn fetch(host: &impl Host, source: &KeySource, url: &str, uri: Uri) -> Result<FetchedKeys, KeyFailure> {
    let origin = uri.authority().map(|authority| format!("https://{authority}")).unwrap_or_default();
    let mut request = Request::new(Vec::new());
    *request.method_mut() = Method::GET;
    *request.uri_mut() = uri;
    let response = host.send(request, TIMEOUTS).await.map_err(|error| match error {
        SendError::Denied(reason) => KeyFailure::Denied(reason, origin),
        SendError::NotSent(reason) | SendError::NoResponse(reason) => KeyFailure::NoResponse(reason),
    })?;
    if response.status() != StatusCode::OK {
        return Err(KeyFailure::Status(response.status()));
    }
    let body = response.body();
    if body.len() > MAX_KEY_RESPONSE {
        return Err(KeyFailure::TooLong);
    }
    // A response with several of these fields has one list, in their order (RFC 9110, section 5.3).
    let cache_control: Vec<_> =
        response.headers().get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok()).collect();
    let cache_control = (!cache_control.is_empty()).then(|| cache_control.join(","));
    Ok(FetchedKeys::from_response(source, url, body, cache_control.as_deref(), host.now())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_https_urls_of_a_host_are_fetched() {
        for (url, is_fetchable) in [
            ("https://issuer.example/keys", true),
            ("https://issuer.example:8443/keys?v=1", true),
            ("http://issuer.example/keys", false),
            ("HTTPS://issuer.example/keys", true),
            ("ftp://issuer.example/keys", false),
            ("https://user@issuer.example/keys", false),
            ("https://sns.eu-west-1.amazonaws.com@evil.example/a.pem", false),
            ("//issuer.example/keys", false),
            ("/keys", false),
            ("https://", false),
            ("https:///keys", false),
            ("https://issuer.example/a b", false),
            ("", false),
        ] {
            assert_eq!(fetchable(url).is_some(), is_fetchable, "{url}");
        }
        let of_length = |length: usize| format!("{:k<length$}", "https://issuer.example/");
        assert!(fetchable(&of_length(MAX_KEY_URL)).is_some());
        assert!(fetchable(&of_length(MAX_KEY_URL + 1)).is_none());
    }
}
