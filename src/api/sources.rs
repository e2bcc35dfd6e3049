//! `GET /api/v2/sources`: the notes about each source, and about the public keys of senders.

use std::collections::BTreeMap;

use http::Response;
use serde::Serialize;

use super::problem::Problem;
use super::{RequestContext, operator};
use crate::config::Config;
use crate::gateway::sources::{Remembered, remembered};
use crate::ports::{Host, Variables};
use crate::sender::{FetchAttempt, FetchAttempts, FetchedKeys};
use crate::source::{HandedSecret, HandedSecrets, LastRefused, LastVerified, OldSecret, Refused, SourceSender};

/// A configured source.
#[derive(Clone, Debug, Default)]
pub(super) struct Configured {
    pub(super) name: String,
    /// Its sender, as the vendor writes the name; `None` if it has only tokens.
    pub(super) sender: Option<&'static str>,
    /// The number of its tokens.
    pub(super) tokens: usize,
    /// Whether an error in its configuration stops it.
    pub(super) is_stopped: bool,
}

/// A source, and the notes about it.
#[derive(Debug, Default)]
pub(super) struct SourceRow {
    pub(super) name: String,
    /// Its configuration; `None` if it is no longer configured.
    pub(super) configured: Option<Configured>,
    /// The last refused requests, the last one first.
    pub(super) refused: Vec<Refused>,
    /// When it was last verified.
    pub(super) verified: Option<LastVerified>,
    /// The secrets that its sender has handed over.
    pub(super) handed: Vec<HandedSecret>,
}

/// The sources by name, and the refused requests that belong to none.
#[derive(Debug, Default)]
pub(super) struct SourceRows {
    pub(super) sources: Vec<SourceRow>,
    pub(super) unknown: Vec<Refused>,
}

impl SourceRows {
    /// The configured sources, and all others of which something is remembered.
    pub(super) fn new(configured: impl IntoIterator<Item = Configured>, remembered: &Remembered) -> Self {
        let mut rows: BTreeMap<String, SourceRow> = BTreeMap::new();
        let mut unknown = Vec::new();
        let row = |name: &str| SourceRow { name: name.to_owned(), ..SourceRow::default() };
        for source in configured {
            let name = source.name.clone();
            // Of two with one name, both are stopped.
            rows.entry(name.clone()).or_insert_with(|| row(&name)).configured = Some(source);
        }
        for LastRefused { source, refused, .. } in &remembered.refused {
            match source {
                Some(name) => rows.entry(name.clone()).or_insert_with(|| row(name)).refused.clone_from(refused),
                None => unknown.clone_from(refused),
            }
        }
        for verified in &remembered.verified {
            let name = &verified.source;
            rows.entry(name.clone()).or_insert_with(|| row(name)).verified = Some(verified.clone());
        }
        for HandedSecrets { source, secrets, .. } in &remembered.handed {
            rows.entry(source.clone()).or_insert_with(|| row(source)).handed.clone_from(secrets);
        }
        Self { sources: rows.into_values().collect(), unknown }
    }
}

/// The configured sources whose name can be read. None if `sources` can't be read.
pub(super) fn configured(config: &Config<'_, impl Variables>) -> Vec<Configured> {
    let Ok(sources) = config.sources() else { return Vec::new() };
    let stopped = sources.faults();
    let valid = sources.iter().map(|source| Configured {
        name: source.name().to_owned(),
        sender: source.sender().map(|sender| match sender {
            SourceSender::Preset(preset) => preset.title,
            SourceSender::Descriptor(_) => "a scheme of its own",
        }),
        tokens: source.tokens().len(),
        is_stopped: stopped.iter().any(|stopped| stopped.at == source.at()),
    });
    let unreadable = stopped.iter().filter(|stopped| sources.iter().all(|source| source.at() != stopped.at));
    let unreadable = unreadable.filter_map(|stopped| stopped.name.clone());
    valid.chain(unreadable.map(|name| Configured { name, is_stopped: true, ..Configured::default() })).collect()
}

/// The last attempts that have failed, and whose URL was not fetched since.
pub(super) fn failed_fetches(remembered: &Remembered) -> impl Iterator<Item = (&FetchAttempt, &str)> {
    let is_over = |attempt: &FetchAttempt| {
        remembered.keys.iter().any(|keys| keys.url() == attempt.url && keys.fetched() >= attempt.at)
    };
    let attempts = remembered.fetches.iter().flat_map(FetchAttempts::iter).filter(move |attempt| !is_over(attempt));
    attempts.filter_map(|attempt| Some((attempt, attempt.failure.as_deref()?)))
}

/// The response.
#[derive(Serialize)]
struct View<'a> {
    sources: Vec<SourceView<'a>>,
    unknown: Vec<RefusedView<'a>>,
    keys: Vec<KeysView<'a>>,
    failed_fetches: Vec<FailureView<'a>>,
}

#[derive(Serialize)]
struct SourceView<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_verified: Option<String>,
    refused: Vec<RefusedView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    old_secret: Option<SecretView>,
    /// The only place that shows a secret: nobody else knows it, and the operator has to set it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    handed: Vec<HandedView<'a>>,
}

#[derive(Serialize)]
struct HandedView<'a> {
    at: String,
    secret: &'a str,
}

impl<'a> SourceView<'a> {
    fn of(SourceRow { name, refused, verified, handed, .. }: &'a SourceRow) -> Self {
        let handed = handed.iter().map(|handed| HandedView { at: handed.at.rfc3339(), secret: &handed.secret });
        let old_secret = |old: OldSecret| SecretView { index: old.index, at: old.at.rfc3339() };
        Self {
            name,
            last_verified: verified.as_ref().map(|verified| verified.at.rfc3339()),
            refused: RefusedView::all(refused),
            old_secret: verified.as_ref().and_then(|verified| verified.old).map(old_secret),
            handed: handed.collect(),
        }
    }
}

#[derive(Serialize)]
struct SecretView {
    index: usize,
    at: String,
}

#[derive(Serialize)]
struct RefusedView<'a> {
    at: String,
    count: u32,
    reason: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    near_miss: Option<&'a str>,
    headers: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<&'a str>,
}

impl<'a> RefusedView<'a> {
    fn all(list: &'a [Refused]) -> Vec<Self> {
        let view = |refused: &'a Refused| Self {
            at: refused.at.rfc3339(),
            count: refused.count,
            reason: &refused.reason,
            detail: &refused.detail,
            near_miss: refused.near_miss.as_deref(),
            headers: &refused.headers,
            size: refused.size,
            digest: refused.digest.as_deref(),
        };
        list.iter().map(view).collect()
    }
}

#[derive(Serialize)]
struct KeysView<'a> {
    url: &'a str,
    ids: Vec<&'a str>,
    fetched: String,
    fresh_until: String,
}

impl<'a> KeysView<'a> {
    fn of(keys: &'a FetchedKeys) -> Self {
        let (fetched, fresh_until) = (keys.fetched().rfc3339(), keys.fresh_until().rfc3339());
        Self { url: keys.url(), ids: keys.ids().collect(), fetched, fresh_until }
    }
}

#[derive(Serialize)]
struct FailureView<'a> {
    url: &'a str,
    at: String,
    failure: &'a str,
}

/// `GET /api/v2/sources`: lists the sources and the fetched keys. Needs no valid settings besides the operator's token.
pub(super) async fn list(context: &mut RequestContext<'_, '_, impl Host>) -> Result<Response<Vec<u8>>, Problem> {
    operator::authenticate(context)?;
    let remembered = remembered(context.host).await.map_err(|error| operator::to_problem(context, error.into()))?;
    let rows = SourceRows::new(configured(context.config), &remembered);
    let failed = failed_fetches(&remembered);
    let view = View {
        sources: rows.sources.iter().map(SourceView::of).collect(),
        unknown: RefusedView::all(&rows.unknown),
        keys: remembered.keys.iter().map(KeysView::of).collect(),
        failed_fetches: failed
            .map(|(attempt, failure)| FailureView { url: &attempt.url, at: attempt.at.rfc3339(), failure })
            .collect(),
    };
    Ok(operator::json(&view))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn rows_are_those_of_configured_sources_and_of_notes() {
        let refused = |detail: &str| Refused::new("unauthorized", detail, &HeaderMap::new(), Timestamp(1));
        let list = |source: Option<&str>, detail| {
            let mut list = LastRefused::new(source);
            list.add(refused(detail));
            list
        };
        let remembered = Remembered {
            refused: vec![list(Some("b"), "of b"), list(None, "of none"), list(Some("gone"), "of gone")],
            verified: vec![LastVerified::new("a", Some(1), Timestamp(2)), LastVerified::new("b", None, Timestamp(3))],
            ..Remembered::default()
        };
        let of_name = |name: &str| Configured { name: name.to_owned(), ..Configured::default() };
        let rows = SourceRows::new(["c", "b", "c"].map(of_name), &remembered);
        let seen = rows.sources.iter().map(|row| {
            let detail = row.refused.first().map(|refused| &*refused.detail);
            (&*row.name, detail, row.verified.as_ref().map(|verified| verified.at.0))
        });
        let seen: Vec<_> = seen.collect();
        assert_eq!(
            seen,
            [("a", None, Some(2)), ("b", Some("of b"), Some(3)), ("c", None, None), ("gone", Some("of gone"), None)]
        );
        assert_eq!(rows.unknown, [refused("of none")]);
    }
}
