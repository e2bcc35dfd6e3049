//! The index of the known senders. The file `presets/<name>.json` describes a sender: its set-up, for people; the headers
//! that identify it; and its definition, a [`Sender`]. `build.rs` makes the index from these files: no
//! definition is parsed to recognize a sender.
//!
//! | Member of a file | Content |
//! |---|---|
//! | `title` | the sender's name, as the vendor writes it |
//! | `aliases` | other names that are accepted for it |
//! | `pages` | the vendor's pages that the definition follows |
//! | `setup` | the set-up: where the secret is shown, who makes it, what to enter at the vendor's |
//! | `secret` | the secret, in a phrase that completes "set …"; none if the sender signs nothing |
//! | `notes` | facts to be known, and choices that the vendor leaves open |
//! | `detect` | sets of headers that only this sender sends: if all of a set are there, it is the sender |
//! | `before` | senders whose headers this one also sends: it is recognized before them |
//! | `sender` | the definition, as a source may contain it |
//!
//! `title`, `pages` and `sender` are required. `docs/senders.md` and `docs/senders/` are made from the files.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use serde::{Deserialize, Serialize};

use super::definition::Sender;
use super::descriptor::Descriptor;

/// A known sender.
#[derive(Debug)]
pub struct Preset {
    /// Name in `?sender=`, in routes, in sources and in the log.
    pub name: &'static str,
    /// Other names that are accepted for it.
    pub aliases: &'static [&'static str],
    /// Name as the vendor writes it.
    pub title: &'static str,
    /// The vendor's pages about its webhooks.
    pub pages: &'static [&'static str],
    /// The secret, as the vendor calls it. Completes a sentence such as "set …". `None` if the sender signs nothing.
    pub secret: Option<&'static str>,
    /// Headers of which a request from this sender has at least one. Others may send them, too.
    pub marks: &'static [&'static str],
    /// Sets of headers that only this sender sends, or that [`PRESETS`] lists it before all others for. Empty if it
    /// can't be recognized: another sender has the same headers, or it has none of its own.
    pub detect: &'static [&'static [&'static str]],
    /// The response that the sender expects.
    pub response_policy: ResponsePolicy,
    /// The preset that this one is like: they have the same headers.
    pub like: Option<&'static str>,
    /// Whether the sender signs its requests, or sends a secret in them.
    pub signs: bool,
    /// Whether the sender makes the secret, and hands it over in a request of its own.
    pub hands_over: bool,
    /// The definition, a [`Sender`] in JSON.
    pub sender: &'static str,
}

/// The response that a sender expects. `docs/senders.md` links the pages that describe it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponsePolicy {
    /// How long the sender waits for a response, in seconds, if the vendor says so.
    pub deadline: Option<u8>,
    /// The responses that the sender takes for success.
    pub success: SuccessCriterion,
}

/// The responses that a sender takes for success.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum SuccessCriterion {
    /// Any 2xx, with any body.
    #[default]
    #[serde(rename = "2xx")]
    Any2xx,
    /// Only 200, with any body.
    #[serde(rename = "200")]
    Only200,
    /// Only 200, without a body: the sender would show it to its user.
    #[serde(rename = "200-empty")]
    Empty200,
    /// Only 204: the sender would execute a body as a program.
    #[serde(rename = "204")]
    Only204,
}

impl ResponsePolicy {
    /// The policy for a sender that publishes none: no deadline, and any 2xx is a success.
    pub const UNKNOWN: Self = Self { deadline: None, success: SuccessCriterion::Any2xx };

    /// Maximum time to wait for the engine, if the sender has a deadline. One second of it is left for the network, and
    /// for storing the delivery if the engine does not answer in time.
    pub fn max_engine_wait(&self) -> Option<Duration> {
        self.deadline.map(|seconds| Duration::from_secs(u64::from(seconds)).saturating_sub(Duration::from_secs(1)))
    }
}

impl Preset {
    /// The sender with this name or alias.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        let at = NAMES.binary_search_by_key(&name, |(own, _)| own).ok()?;
        NAMES.get(at).and_then(|(_, preset)| PRESETS.get(*preset))
    }

    /// The sender that these headers identify.
    pub fn by_headers(headers: &HeaderMap) -> Option<&'static Self> {
        let sends = |preset: &&usize| {
            let sets = PRESETS.get(**preset).map_or(&[][..], |preset| preset.detect);
            sets.iter().any(|set| set.iter().all(|name| headers.contains_key(*name)))
        };
        let first = headers.keys().flat_map(detected_by).filter(sends).min()?;
        PRESETS.get(*first)
    }

    /// The name, and the aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// The signature schemes. Each call parses them again.
    pub fn descriptors(&self) -> impl Iterator<Item = Descriptor> + use<> {
        Sender::of(self).schemes.into_iter()
    }
}

/// The known senders, in the order of detection: by name, but for those that send the headers of another one as well,
/// which come before it.
pub static PRESETS: &[Preset] = include!(concat!(env!("OUT_DIR"), "/presets.rs"));

/// The indices of the presets with a set of headers that begins with this one.
fn detected_by(header: &HeaderName) -> &'static [usize] {
    let at = DETECTION.binary_search_by_key(&header.as_str(), |(name, _)| name).ok();
    at.and_then(|at| DETECTION.get(at)).map_or(&[], |(_, presets)| presets)
}

/// The first header of each set in [`detect`](Preset::detect), sorted, with the indices of its presets.
static DETECTION: &[(&str, &[usize])] = include!(concat!(env!("OUT_DIR"), "/preset_detection.rs"));

/// The names and aliases, sorted, each with the index of its preset.
static NAMES: &[(&str, usize)] = include!(concat!(env!("OUT_DIR"), "/preset_names.rs"));
