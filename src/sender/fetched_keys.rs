//! Public keys that were fetched: their stored form, how long they are used, and when they may be fetched again.
//!
//! ```text
//! stored keys ──plan──▶ use │ unknown │ fetch ──attempts──▶ fetched: use, or the id is unknown
//!                                        └──▶ not permitted, or failed: use the old ones, or refuse for now
//! ```

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::descriptor::KeySource;
use super::public_key::{MAX_KEYS, PublicKey, PublicKeyError};
use crate::json;
use crate::time::{MAX_CLOCK_SKEW, Timestamp};

/// The time for which keys are fresh if the response states none.
pub const DEFAULT_MAX_AGE: Duration = Duration::from_secs(3_600);

/// The shortest time for which keys are fresh. The keys of Google and Microsoft change every few days.
pub const MIN_MAX_AGE: Duration = Duration::from_secs(300);

/// The longest time for which keys are fresh: a key that its owner withdraws is accepted for as long.
pub const MAX_MAX_AGE: Duration = Duration::from_secs(86_400);

/// The time for which keys go on to be used after they were fresh, if they can't be fetched again. Long enough for an outage of
/// the key server, since vendors keep a key in the set for days; short enough that a withdrawn key is accepted for at
/// most two days.
pub const MAX_STALE: Duration = Duration::from_secs(86_400);

/// The shortest time between two attempts to fetch the same URL, on all hosts together.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(60);

/// Maximum number of attempts for one [`KeySource`] within [`RETRY_INTERVAL`]. Requests name the URLs of certificates,
/// so anyone can name a new one each time.
pub const MAX_ATTEMPTS: usize = 8;

/// Maximum length of a response, in bytes. Entra ID's key set has about 25 KB.
pub const MAX_KEY_RESPONSE: usize = 131_072;

/// Maximum length of a URL that is fetched, in bytes.
pub const MAX_KEY_URL: usize = 1_024;

/// Maximum length of a reason in [`FetchAttempt`], in bytes.
const MAX_FAILURE: usize = 256;

/// Maximum length of a key's id, in bytes.
const MAX_KEY_ID: usize = 256;

/// The members of a JSON Web Key that are stored.
const JWK_MEMBERS: [&str; 8] = ["kty", "kid", "use", "crv", "x", "y", "n", "e"];

const VERSION: u32 = 1;

/// The keys of a URL, as they are stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchedKeys {
    v: u32,
    url: String,
    fetched: Timestamp,
    /// The time for which they are fresh, in seconds.
    max_age: u64,
    keys: Vec<FetchedKey>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct FetchedKey {
    id: String,
    /// A JSON Web Key, or a certificate in PEM.
    key: String,
}

/// The state of stored keys by their age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// They are used.
    Fresh,
    /// They are used only if they can't be fetched again.
    Stale,
    /// They are not used any more.
    Expired,
}

/// The next step for a key that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// The stored keys have it, and are fresh.
    Use,
    /// The keys were fetched less than [`RETRY_INTERVAL`] ago, and do not have it.
    Unknown,
    /// The keys have to be fetched, if [`FetchAttempts::permit`] permits it.
    Fetch,
}

impl FetchedKeys {
    /// The keys in a response with the status 200. `cache_control` is the value of its `Cache-Control`. A JSON Web Key
    /// without an id, or for another algorithm, is left out.
    pub fn from_response(
        source: &KeySource,
        url: &str,
        body: &[u8],
        cache_control: Option<&str>,
        now: Timestamp,
    ) -> Result<Self, PublicKeyError> {
        let text = std::str::from_utf8(body).map_err(|_| PublicKeyError::Form)?;
        let keys = match source {
            KeySource::Jwks(_) => jwks(text)?,
            KeySource::Certificate { .. } => vec![FetchedKey { id: url.to_owned(), key: certificate(text)? }],
        };
        let max_age = cache_control.map_or(DEFAULT_MAX_AGE, max_age).as_secs();
        Ok(Self { v: VERSION, url: url.to_owned(), fetched: now, max_age, keys })
    }

    /// Reads the stored form; `None` for a text of another version.
    pub fn read(text: &str) -> Option<Self> {
        json::read(text.as_bytes()).ok().filter(|keys: &Self| keys.v == VERSION)
    }

    /// The stored form: JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The ids of the keys.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| &*key.id)
    }

    /// When they were fetched.
    pub fn fetched(&self) -> Timestamp {
        self.fetched
    }

    /// Until when they are fresh.
    pub fn fresh_until(&self) -> Timestamp {
        self.fetched.plus(Duration::from_secs(self.max_age))
    }

    /// The keys with this id.
    pub fn with_id(&self, id: &str) -> Vec<PublicKey> {
        let found = self.keys.iter().filter(|key| key.id == id);
        found.flat_map(|key| PublicKey::parse(&key.key).unwrap_or_default()).map(|key| key.with_id(id)).collect()
    }

    fn has(&self, id: &str) -> bool {
        self.ids().any(|own| own == id)
    }

    /// Their state by their age. Keys that were fetched in the future were stored by a clock that was wrong.
    pub fn freshness(&self, now: Timestamp) -> Freshness {
        if self.fetched > now.plus(MAX_CLOCK_SKEW) {
            Freshness::Expired
        } else if now < self.fresh_until() {
            Freshness::Fresh
        } else if now < self.fresh_until().plus(MAX_STALE) {
            Freshness::Stale
        } else {
            Freshness::Expired
        }
    }

    /// The next step for the key with this id, given the stored keys of its URL.
    pub fn plan(stored: Option<&Self>, id: &str, now: Timestamp) -> Plan {
        let Some(stored) = stored.filter(|stored| stored.freshness(now) == Freshness::Fresh) else {
            return Plan::Fetch;
        };
        match stored.has(id) {
            true => Plan::Use,
            false if now.since(stored.fetched) < RETRY_INTERVAL => Plan::Unknown,
            false => Plan::Fetch,
        }
    }

    /// Whether the key with this id is used although it should be fetched again, which failed or is not permitted yet.
    pub fn is_usable_without_fetch(&self, id: &str, now: Timestamp) -> bool {
        self.has(id) && self.freshness(now) != Freshness::Expired
    }
}

/// The usable keys of a JSON Web Key Set.
fn jwks(text: &str) -> Result<Vec<FetchedKey>, PublicKeyError> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<Map<String, Value>>,
    }
    let set: Set = json::read(text.as_bytes()).map_err(|_| PublicKeyError::Form)?;
    if set.keys.len() > MAX_KEYS {
        return Err(PublicKeyError::Set);
    }
    let mut keys = Vec::new();
    for mut jwk in set.keys {
        // A set with a private key is none that its owner meant to publish.
        if jwk.contains_key("d") {
            return Err(PublicKeyError::Private);
        }
        jwk.retain(|name, _| JWK_MEMBERS.contains(&&**name));
        let id = jwk.get("kid").and_then(Value::as_str).filter(|id| id.len() <= MAX_KEY_ID).map(str::to_owned);
        let key = Value::Object(jwk).to_string();
        if let Some(id) = id
            && PublicKey::parse(&key).is_ok()
        {
            keys.push(FetchedKey { id, key });
        }
    }
    if keys.is_empty() { Err(PublicKeyError::Set) } else { Ok(keys) }
}

/// The first certificate of a text in PEM: the one that signs, before those that sign it.
fn certificate(text: &str) -> Result<String, PublicKeyError> {
    const END: &str = "-----END CERTIFICATE-----";
    let text = text.trim_start();
    let first = text.starts_with("-----BEGIN CERTIFICATE-----").then(|| text.split_once(END)).flatten();
    let (first, _) = first.ok_or(PublicKeyError::Form)?;
    let first = format!("{first}{END}");
    PublicKey::parse(&first).map(|_| first)
}

/// The `max-age` of a `Cache-Control` (RFC 9111, section 5.2), within the bounds. `no-store` and `no-cache` ask for
/// none: the shortest one.
fn max_age(cache_control: &str) -> Duration {
    let mut age = None;
    for directive in cache_control.split(',') {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let name = name.trim();
        if name.eq_ignore_ascii_case("no-store") || name.eq_ignore_ascii_case("no-cache") {
            return MIN_MAX_AGE;
        }
        if name.eq_ignore_ascii_case("max-age") && age.is_none() {
            let value = value.trim().trim_matches('"');
            let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            // Too many digits for a number are a long time all the same.
            age = is_number.then(|| Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
        }
    }
    age.map_or(DEFAULT_MAX_AGE, |age| age.clamp(MIN_MAX_AGE, MAX_MAX_AGE))
}

/// The last attempts to fetch keys of one [`KeySource`], as they are stored: at most [`MAX_ATTEMPTS`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchAttempts {
    v: u32,
    attempts: Vec<FetchAttempt>,
}

/// An attempt to fetch the keys of a URL.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchAttempt {
    /// The URL.
    pub url: String,
    /// When it began.
    pub at: Timestamp,
    /// Why it failed; `None` if it succeeded, or has not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl Default for FetchAttempts {
    fn default() -> Self {
        Self { v: VERSION, attempts: Vec::new() }
    }
}

impl FetchAttempts {
    /// The name under which the attempts of a source of keys are stored: the URL of its key set, or the patterns of its
    /// certificates, and never what a request names.
    pub fn name_of(source: &KeySource) -> String {
        match source {
            KeySource::Jwks(url) => url.clone(),
            KeySource::Certificate { urls, .. } => urls.join(" "),
        }
    }

    /// Reads the stored form; `None` for a text of another version.
    pub fn read(text: &str) -> Option<Self> {
        let read: Self = json::read(text.as_bytes()).ok()?;
        (read.v == VERSION).then_some(read)
    }

    /// The stored form: JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The attempts, the last one first.
    pub fn iter(&self) -> impl Iterator<Item = &FetchAttempt> {
        self.attempts.iter()
    }

    /// Notes an attempt that begins now; returns whether it is permitted, and changes nothing if it is not. A permitted
    /// one is stored before it begins, so that it counts on all hosts.
    #[must_use]
    pub fn permit(&mut self, url: &str, now: Timestamp) -> bool {
        // An attempt of a clock that is ahead counts as none.
        let is_recent =
            |attempt: &&FetchAttempt| attempt.at <= now.plus(MAX_CLOCK_SKEW) && now.since(attempt.at) < RETRY_INTERVAL;
        let mut recent = self.attempts.iter().filter(is_recent);
        if recent.clone().count() >= MAX_ATTEMPTS || recent.any(|attempt| attempt.url == url) {
            return false;
        }
        self.attempts.retain(|attempt| attempt.url != url);
        self.attempts.insert(0, FetchAttempt { url: url.to_owned(), at: now, failure: None });
        self.attempts.truncate(MAX_ATTEMPTS);
        true
    }

    /// Notes why the attempt that was permitted last has failed.
    pub fn fail(&mut self, reason: &str) {
        if let Some(attempt) = self.attempts.first_mut() {
            attempt.failure =
                Some(reason.get(..reason.floor_char_boundary(MAX_FAILURE)).unwrap_or_default().to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const URL: &str = "https://issuer.example/keys";

    fn keys(ids: &[&str], fetched: Timestamp, max_age: Duration) -> FetchedKeys {
        let keys = ids.iter().map(|id| FetchedKey { id: (*id).to_owned(), key: String::new() }).collect();
        FetchedKeys { v: VERSION, url: URL.to_owned(), fetched, max_age: max_age.as_secs(), keys }
    }

    /// Each age at and around a bound.
    #[test]
    fn age_of_keys_decides_what_is_done() {
        use Freshness::{Expired, Fresh, Stale};
        use Plan::{Fetch, Unknown, Use};
        let ms = Duration::from_millis(1);
        let hour = DEFAULT_MAX_AGE;
        for (age, freshness, known, unknown, usable) in [
            (Duration::ZERO, Fresh, Use, Unknown, true),
            (RETRY_INTERVAL - ms, Fresh, Use, Unknown, true),
            (RETRY_INTERVAL, Fresh, Use, Fetch, true),
            (hour - ms, Fresh, Use, Fetch, true),
            (hour, Stale, Fetch, Fetch, true),
            (hour + MAX_STALE - ms, Stale, Fetch, Fetch, true),
            (hour + MAX_STALE, Expired, Fetch, Fetch, false),
            (10 * MAX_STALE, Expired, Fetch, Fetch, false),
        ] {
            let stored = keys(&["a", "b"], NOW.minus(age), hour);
            assert_eq!(stored.freshness(NOW), freshness, "{age:?}");
            assert_eq!(FetchedKeys::plan(Some(&stored), "b", NOW), known, "{age:?}");
            assert_eq!(FetchedKeys::plan(Some(&stored), "c", NOW), unknown, "{age:?}");
            assert_eq!(stored.is_usable_without_fetch("a", NOW), usable, "{age:?}");
            assert!(!stored.is_usable_without_fetch("c", NOW), "{age:?}");
        }
        assert_eq!(FetchedKeys::plan(None, "a", NOW), Fetch);
        // Of a clock that is a little ahead, and of one that is wrong.
        let ahead = keys(&["a"], NOW.plus(MAX_CLOCK_SKEW), hour);
        assert_eq!(FetchedKeys::plan(Some(&ahead), "a", NOW), Use);
        let wrong = keys(&["a"], NOW.plus(MAX_CLOCK_SKEW).plus(ms), hour);
        assert_eq!((wrong.freshness(NOW), FetchedKeys::plan(Some(&wrong), "a", NOW)), (Expired, Fetch));
    }

    #[test]
    fn cache_control_is_honoured_within_bounds() {
        for (value, seconds) in [
            ("max-age=7200", 7_200),
            ("public, max-age=19943, must-revalidate, no-transform", 19_943),
            ("Max-Age=\"600\"", 600),
            ("max-age = 600", 600),
            ("max-age=1", 300),
            ("max-age=0", 300),
            ("max-age=86401", 86_400),
            ("max-age=99999999999999999999999", 86_400),
            ("max-age=600, max-age=7200", 600),
            ("no-store", 300),
            ("max-age=7200, no-cache", 300),
            ("s-maxage=7200", 3_600),
            ("max-age=", 3_600),
            ("max-age=-1", 3_600),
            ("max-age=1e3", 3_600),
            ("x-max-age=7200", 3_600),
            ("", 3_600),
        ] {
            assert_eq!(max_age(value).as_secs(), seconds, "{value}");
        }
    }

    #[test]
    fn url_is_attempted_once_a_minute() {
        let mut attempts = FetchAttempts::default();
        assert!(attempts.permit(URL, NOW));
        for ms in [0, 1, 59_999] {
            let before = attempts.clone();
            assert!(!attempts.permit(URL, Timestamp(NOW.0 + ms)), "{ms}");
            assert_eq!(attempts, before);
        }
        // Also if the other host's clock is a little ahead.
        assert!(!attempts.permit(URL, NOW.minus(MAX_CLOCK_SKEW)));
        assert!(attempts.clone().permit(URL, NOW.minus(MAX_CLOCK_SKEW).minus(Duration::from_millis(1))));
        assert!(attempts.permit(URL, NOW.plus(RETRY_INTERVAL)));
        assert_eq!(attempts.iter().count(), 1);
    }

    #[test]
    fn urls_that_requests_name_share_a_number_of_attempts() {
        let url = |n: usize| format!("{URL}/{n}");
        let mut attempts = FetchAttempts::default();
        for n in 0..MAX_ATTEMPTS {
            assert!(attempts.permit(&url(n), Timestamp(NOW.0 + n as u64)), "{n}");
            attempts.fail("the answer was 404");
        }
        assert!(!attempts.permit(&url(MAX_ATTEMPTS), Timestamp(NOW.0 + 59_999)));
        // The first one is a minute old.
        assert!(attempts.permit(&url(MAX_ATTEMPTS), Timestamp(NOW.0 + 60_000)));
        assert_eq!(attempts.iter().count(), MAX_ATTEMPTS);
        assert!(!attempts.permit(&url(0), Timestamp(NOW.0 + 60_000)), "the others are younger");
        let urls: Vec<_> = attempts.iter().map(|attempt| (attempt.url.clone(), attempt.failure.is_some())).collect();
        assert_eq!((urls[0].clone(), urls[1].clone()), ((url(MAX_ATTEMPTS), false), (url(MAX_ATTEMPTS - 1), true)));
    }

    #[test]
    fn failure_is_cut_at_a_character() {
        let mut attempts = FetchAttempts::default();
        attempts.fail("nothing was attempted");
        assert_eq!(attempts, FetchAttempts::default());
        assert!(attempts.permit(URL, NOW));
        attempts.fail(&"é".repeat(200));
        assert_eq!(attempts.iter().next().unwrap().failure.as_deref(), Some(&*"é".repeat(128)));
        assert_eq!(FetchAttempts::read(&attempts.to_json()), Some(attempts));
    }

    #[test]
    fn text_of_another_version_counts_as_none() {
        let stored = keys(&["a"], NOW, DEFAULT_MAX_AGE);
        assert_eq!(FetchedKeys::read(&stored.to_json()), Some(stored.clone()));
        for text in ["", "{}", "[]", &stored.to_json().replace("\"v\":1", "\"v\":2")] {
            assert_eq!(FetchedKeys::read(text), None, "{text}");
            assert_eq!(FetchAttempts::read(text), None, "{text}");
        }
    }
}
