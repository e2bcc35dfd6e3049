//! Who may deliver. A sender whose secret is set has to sign; anyone else has to show a token, from the moment on that an
//! operator has set a token or a secret.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::value::RawValue;

use super::RequestContext;
use super::problem::{Kind, Problem};
use super::query::Query;
use crate::config;
use crate::ports::Host;
use crate::secret::Secret;
use crate::sender::{self, Descriptor, Preset, SignedRequest, Verified};

/// How someone has to prove what is to be proved once the body is there.
pub(super) enum Entry {
    /// Nothing: a token did, or nothing is asked.
    Admitted(Option<&'static Preset>),
    /// The signature.
    Signs(Box<Signer>),
}

/// A sender that signs.
pub(super) struct Signer {
    way: Way,
    secrets: Vec<Secret>,
}

enum Way {
    Preset(&'static Preset),
    Custom(Box<Descriptor>),
}

/// A signature that was verified.
pub(super) struct Proof {
    /// The sender's name.
    pub(super) sender: &'static str,
    pub(super) verified: Verified,
    /// The secret that was used.
    pub(super) secret: Option<Secret>,
}

impl Entry {
    /// The sender, as far as it is known; to be relied on only with a [`Proof`].
    pub(super) fn preset(&self) -> Option<&'static Preset> {
        match self {
            Self::Admitted(preset) => *preset,
            Self::Signs(signer) => match signer.way {
                Way::Preset(preset) => Some(preset),
                Way::Custom(_) => None,
            },
        }
    }

    /// The sender's name, as far as it is known.
    pub(super) fn sender(&self) -> Option<&'static str> {
        match self {
            Self::Signs(signer) if matches!(signer.way, Way::Custom(_)) => Some(sender::CUSTOM),
            _ => self.preset().map(|preset| preset.name),
        }
    }

    /// What type of event it says this is.
    pub(super) fn kind(&self, headers: &HeaderMap, payload: &RawValue) -> Option<String> {
        match self {
            Self::Signs(signer) if let Way::Custom(descriptor) = &signer.way => {
                sender::event_type([(**descriptor).clone()], headers, payload)
            }
            _ => sender::event_type(self.preset()?.descriptors(), headers, payload),
        }
    }
}

impl<'o, O: Host> RequestContext<'_, 'o, O> {
    /// Before the body is read: is it worth to read it?
    pub(super) fn enter(&mut self, query: &Query) -> Result<Entry, Problem> {
        let custom = config::custom_descriptor(self.host)?;
        let named = query.one("sender")?;
        let preset = match named {
            None | Some(sender::CUSTOM) => None,
            Some(name) => Some(Preset::by_name(name).ok_or_else(|| {
                let detail = "`sender` must be a sender that Sluice knows, or custom: docs/senders.md lists them";
                Problem::new(Kind::InvalidParameter, detail).field("sender")
            })?),
        };
        let preset = preset.or_else(|| named.is_none().then(|| Preset::by_headers(self.headers)).flatten());
        if let Some(preset) = preset {
            self.response_policy = preset.response_policy;
            let secrets = config::preset_secrets(self.host, preset)?;
            if !secrets.is_empty() {
                return Ok(Entry::Signs(Box::new(Signer { way: Way::Preset(preset), secrets })));
            }
        } else if let Some(descriptor) = custom {
            let by_header = descriptor.headers.iter().any(|header| self.headers.contains_key(header.as_str()));
            if named.is_some() || by_header {
                let secrets = config::custom_secrets(self.host, Some(&descriptor))?;
                return Ok(Entry::Signs(Box::new(Signer { way: Way::Custom(Box::new(descriptor)), secrets })));
            }
        }
        self.show_token(query)?;
        Ok(Entry::Admitted(preset))
    }

    /// Once the body is there, and before anything reads it.
    pub(super) fn verify(&self, entry: &Entry, body: &[u8]) -> Result<Option<Proof>, Problem> {
        let Entry::Signs(signer) = entry else { return Ok(None) };
        let Signer { way, secrets } = &**signer;
        let url = self.public_url()?;
        let parts = SignedRequest { headers: self.headers, url: &url, body };
        let (name, verified) = match way {
            Way::Preset(preset) => (preset.name, sender::verify_preset(preset, secrets, parts, self.host.now())),
            Way::Custom(descriptor) => (sender::CUSTOM, sender::verify(descriptor, secrets, parts, self.host.now())),
        };
        let verified = verified.map_err(|error| {
            let detail = format!("this is not proved to come from {name}: {error}");
            Problem::new(Kind::InvalidSignature, detail)
        })?;
        let secret = secrets.get(verified.secret_index).cloned();
        Ok(Some(Proof { sender: name, verified, secret }))
    }

    /// `Authorization: Bearer` (RFC 6750, section 2.1), `x-access-token`, or `?access_token=`.
    fn show_token(&self, query: &Query) -> Result<(), Problem> {
        let text = |name| self.headers.get(name).and_then(|value| value.to_str().ok());
        let shown = [super::bearer(self.headers), text("x-access-token").map(str::trim), query.one("access_token")?];
        let tokens = config::access_tokens(self.host)?;
        // Each is compared with each, so that the time tells nothing.
        let mut matches = false;
        for shown in shown.into_iter().flatten() {
            for token in &tokens {
                matches |= token.matches(shown);
            }
        }
        if matches || !config::requires_authentication(self.host)? {
            return Ok(());
        }
        let detail =
            "send an access token as Authorization: Bearer, x-access-token or ?access_token=, or sign the request";
        Err(Problem::new(Kind::Unauthorized, detail).field(AUTHORIZATION.as_str()))
    }

    /// The URL as the sender called it: behind a proxy only `public_url` knows its scheme and host.
    fn public_url(&self) -> Result<String, Problem> {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let origin = config::public_url(self.host)?;
        Ok(match (origin, self.seen_url()) {
            (Some(origin), _) => format!("{origin}{path}"),
            (None, Some(seen)) => seen.to_owned(),
            (None, None) => path.to_owned(),
        })
    }

    /// The URL as it came to the host. Spin appends its own: what comes before it, a client wrote.
    pub(super) fn seen_url(&self) -> Option<&str> {
        self.headers.get_all("spin-full-url").iter().next_back().and_then(|value| value.to_str().ok())
    }
}
