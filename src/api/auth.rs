//! Authentication of senders, by signature or access token. A sender whose secret is set must sign. As soon as any
//! token or secret is set, all other senders must send a token.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::value::RawValue;

use super::RequestContext;
use super::problem::{Kind, Problem};
use super::query::Query;
use crate::config;
use crate::ports::Host;
use crate::secret::Secret;
use crate::sender::{self, Descriptor, PRESETS, Preset, SignedRequest, Verified};

/// The authentication of a request before its body is read.
pub(super) enum Authentication {
    /// Complete: the token is valid, or none is required. Contains the sender's preset, if any.
    Complete(Option<&'static Preset>),
    /// Incomplete: the signature covers the body, so [`RequestContext::verify`] completes the authentication.
    Signature(Box<PendingSignature>),
}

/// A signature that is still to be verified.
pub(super) struct PendingSignature {
    scheme: AuthScheme,
    secrets: Vec<Secret>,
}

/// The signature scheme of a sender.
enum AuthScheme {
    Preset(&'static Preset),
    Custom(Box<Descriptor>),
}

/// A sender whose signature was verified.
pub(super) struct VerifiedSender {
    pub(super) name: &'static str,
    pub(super) verified: Verified,
    /// The secret that the sender signed with.
    pub(super) secret: Option<Secret>,
}

impl Authentication {
    /// Returns the sender's preset. Any client may claim to be this sender: only a [`VerifiedSender`] is authenticated.
    pub(super) fn preset(&self) -> Option<&'static Preset> {
        match self {
            Self::Complete(preset) => *preset,
            Self::Signature(pending) => match pending.scheme {
                AuthScheme::Preset(preset) => Some(preset),
                AuthScheme::Custom(_) => None,
            },
        }
    }

    /// Returns the name of the sender, with the same caveat as [`preset`](Self::preset).
    pub(super) fn sender(&self) -> Option<&'static str> {
        match self {
            Self::Signature(pending) if matches!(pending.scheme, AuthScheme::Custom(_)) => Some(sender::CUSTOM),
            _ => self.preset().map(|preset| preset.name),
        }
    }

    /// Returns the type of the event. The sender's descriptor says where to find it.
    pub(super) fn event_type(&self, headers: &HeaderMap, payload: &RawValue) -> Option<String> {
        match self {
            Self::Signature(pending) if let AuthScheme::Custom(descriptor) = &pending.scheme => {
                sender::event_type([(**descriptor).clone()], headers, payload)
            }
            _ => sender::event_type(self.preset()?.descriptors(), headers, payload),
        }
    }
}

impl<'h, H: Host> RequestContext<'_, 'h, H> {
    /// Authenticates the sender before the body is read: finds its signature scheme, or checks its token.
    pub(super) fn authenticate(&mut self, query: &Query) -> Result<Authentication, Problem> {
        let custom = config::custom_descriptor(self.host)?;
        let named = query.one("sender")?;
        let preset = match named {
            None | Some(sender::CUSTOM) => None,
            Some(name) => Some(Preset::by_name(name).ok_or_else(|| {
                let detail = "`sender` must be `custom` or one of the senders that docs/senders.md lists";
                Problem::new(Kind::InvalidParameter, detail).field("sender")
            })?),
        };
        let preset = match preset {
            None if named.is_none() => self.preset_by_headers()?,
            preset => preset,
        };
        if let Some(preset) = preset {
            self.response_policy = preset.response_policy;
            let secrets = config::preset_secrets(self.host, preset)?;
            if !secrets.is_empty() {
                let scheme = AuthScheme::Preset(preset);
                return Ok(Authentication::Signature(Box::new(PendingSignature { scheme, secrets })));
            }
        } else if let Some(descriptor) = custom {
            let by_header = descriptor.headers.iter().any(|header| self.headers.contains_key(header.as_str()));
            if named.is_some() || by_header {
                let secrets = config::custom_secrets(self.host, Some(&descriptor))?;
                let scheme = AuthScheme::Custom(Box::new(descriptor));
                return Ok(Authentication::Signature(Box::new(PendingSignature { scheme, secrets })));
            }
        }
        self.check_token(query)?;
        Ok(Authentication::Complete(preset))
    }

    /// The preset that the headers identify, or else the first one that has secrets and one of whose headers is there.
    fn preset_by_headers(&self) -> Result<Option<&'static Preset>, Problem> {
        if let Some(preset) = Preset::by_headers(self.headers) {
            return Ok(Some(preset));
        }
        for preset in PRESETS {
            let is_marked = preset.marks.iter().any(|mark| self.headers.contains_key(*mark));
            if is_marked && !config::preset_secrets(self.host, preset)?.is_empty() {
                return Ok(Some(preset));
            }
        }
        Ok(None)
    }

    /// Verifies the signature over the raw body, before the body is parsed. `None` if no signature is required.
    pub(super) fn verify(
        &self,
        authentication: &Authentication,
        body: &[u8],
    ) -> Result<Option<VerifiedSender>, Problem> {
        let Authentication::Signature(pending) = authentication else { return Ok(None) };
        let PendingSignature { scheme, secrets } = &**pending;
        let url = self.public_url()?;
        let request = SignedRequest { method: self.method.as_str(), headers: self.headers, url: &url, body };
        let (name, verified) = match scheme {
            AuthScheme::Preset(preset) => {
                (preset.name, sender::verify_preset(preset, secrets, request, self.host.now()))
            }
            AuthScheme::Custom(descriptor) => {
                (sender::CUSTOM, sender::verify(descriptor, secrets, request, self.host.now()))
            }
        };
        let verified = verified.map_err(|error| {
            let detail = format!("the request is not verified as one from {name}: {error}");
            Problem::new(Kind::InvalidSignature, detail)
        })?;
        let secret = secrets.get(verified.secret_index).cloned();
        Ok(Some(VerifiedSender { name, verified, secret }))
    }

    /// Checks the access token in `Authorization: Bearer` (RFC 6750, section 2.1), `x-access-token` or
    /// `?access_token=`.
    fn check_token(&self, query: &Query) -> Result<(), Problem> {
        let text = |name| self.headers.get(name).and_then(|value| value.to_str().ok());
        let given = [super::bearer(self.headers), text("x-access-token").map(str::trim), query.one("access_token")?];
        let tokens = config::access_tokens(self.host)?;
        // All pairs are compared, so the time does not depend on which pairs match.
        let mut matches = false;
        for given in given.into_iter().flatten() {
            for token in &tokens {
                matches |= token.matches(given);
            }
        }
        if matches || !config::requires_authentication(self.host)? {
            return Ok(());
        }
        let detail = "send an access token in `Authorization: Bearer`, `x-access-token` or `?access_token=`, or sign the request";
        Err(Problem::new(Kind::Unauthorized, detail).field(AUTHORIZATION.as_str()))
    }

    /// Returns the URL that the sender called. Behind a proxy, its scheme and host are known only from `public_url`.
    fn public_url(&self) -> Result<String, Problem> {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let origin = config::public_url(self.host)?;
        Ok(match (origin, self.received_url()) {
            (Some(origin), _) => format!("{origin}{path}"),
            (None, Some(received)) => received.to_owned(),
            (None, None) => path.to_owned(),
        })
    }

    /// Returns the URL that the host received, from Spin's `spin-full-url` header. Spin appends this header, so all but
    /// the last one come from the client.
    pub(super) fn received_url(&self) -> Option<&str> {
        self.headers.get_all("spin-full-url").iter().next_back().and_then(|value| value.to_str().ok())
    }
}
