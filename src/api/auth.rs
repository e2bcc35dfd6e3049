//! Authentication of requests: the source of a request is known by an access token or a signature. While neither a
//! source nor an access token is set up, anyone may deliver.

use std::fmt;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, Response};
use serde_json::value::RawValue;

use super::problem::{Kind, Problem};
use super::query::{Query, invalid_reference};
use super::{RequestContext, SLUICE_DELIVERY, SLUICE_OUTCOME, VerifiedBy, respond};
use crate::callback::Status;
use crate::config::{Config, ConfigError, members};
use crate::delivery::Start;
use crate::engine::Engine;
use crate::gateway::Gateway;
use crate::gateway::keys::{self, KeyError, KeyLookup};
use crate::gateway::sources::remember_handed;
use crate::ports::{Host, Variables};
use crate::reference::{RunRef, WorkflowRef};
use crate::secret::Secret;
use crate::sender::{
    self, Credentials, Descriptor, Identity, Preset, PublicKey, Question, QuestionError, Repeat, Reply, Sender,
    SignedRequest, Verified, VerifyError,
};
use crate::source::{
    Action, Authority, Candidate, Clues, FailedVerification, Found, OldSecret, Proof, RunWorkflow, Source,
    SourceSender, Sources, Via, Workflow,
};

/// `x-access-token`: an access token, as `Authorization: Bearer` has it.
const X_ACCESS_TOKEN: HeaderName = HeaderName::from_static("x-access-token");
/// `spin-full-url`: the URL that the host received, from Spin.
const SPIN_FULL_URL: HeaderName = HeaderName::from_static("spin-full-url");

/// The sources that a request may come from, found before its body is read.
pub(super) struct Authentication<'r, 'h> {
    found: Found<'r, 'h>,
}

/// An authenticated request.
pub(super) struct Admission<'r, 'h> {
    /// The workflows and callbacks that the request may ask for.
    pub(super) authority: Authority<'r, 'h>,
    /// The sender as data: that of the source, or else the known sender that the request resembles.
    pub(super) sender: Option<Sender>,
    /// The name of that sender. Any client may claim to be it unless the request is [signed](Self::signed).
    pub(super) sender_name: Option<&'static str>,
    /// The verified signature, if the request is signed.
    pub(super) signed: Option<Signed>,
}

/// A verified signature.
pub(super) struct Signed {
    pub(super) verified: Verified,
    /// The index of its scheme among those of the sender.
    pub(super) scheme: usize,
    /// The number of the source's secrets.
    secrets: usize,
}

/// The result of authenticating a request.
pub(super) enum Admitted<'r, 'h> {
    /// The request is from the source.
    Delivery(Box<Admission<'r, 'h>>),
    /// The request is a question of a sender, with its answer. It delivers nothing.
    Question(Reply),
}

/// A source to be tried, with its sender as data.
struct Trial<'r, 'h> {
    authority: Authority<'r, 'h>,
    sender: Option<Sender>,
    name: Option<&'static str>,
    /// The secrets to verify a signature with, and the keys that the source contains; `None` if the request has proved
    /// its authority already.
    secrets: Option<Vec<Secret>>,
}

/// A request that is not admitted as one of a source.
struct Refused {
    /// The name of the source; empty if anyone may deliver.
    source: String,
    reason: Reason,
    secrets: Vec<Secret>,
}

/// The reason why a request is not admitted as one of a source.
enum Reason {
    /// The signature is not valid, by the scheme that got furthest.
    Signature(VerifyError, Option<Box<Descriptor>>),
    /// A question gets no answer.
    Question(QuestionError),
    /// Too many secrets were handed over already.
    NotKept,
    /// A public key of the sender can't be looked for, or a secret can't be stored.
    Keys(KeyError),
}

impl Reason {
    /// The rank of the step that failed.
    fn progress(&self) -> u8 {
        match self {
            Self::Signature(error, _) => error.progress(),
            Self::Question(_) | Self::NotKept | Self::Keys(_) => u8::MAX,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signature(VerifyError::KeyNeeded(_), _) => f.write_str("the sender has published no such key"),
            Self::Signature(error, _) => error.fmt(f),
            Self::Question(error) => error.fmt(f),
            Self::NotKept => f.write_str("other secrets were handed over before: set one of them in the source"),
            Self::Keys(error) => error.fmt(f),
        }
    }
}

impl<'r, 'h> Admission<'r, 'h> {
    /// The name of the source; `None` for a request without limits.
    pub(super) fn source(&self) -> Option<&'r Source<'h>> {
        self.authority.source()
    }

    /// The index of the secret that has verified the request, if it is an old one of its source.
    fn old_secret(&self) -> Option<usize> {
        let signed = self.signed.as_ref()?;
        OldSecret::index_of(signed.verified.secret_index, signed.secrets)
    }

    /// Decides whether an action is in scope.
    fn decide(&self, action: &Action<'_>, engine: &Engine) -> Result<(), Problem> {
        let decision = self.authority.decide(action, engine.default_scope().as_deref());
        decision.map(drop).map_err(|refusal| Problem::out_of_scope(&refusal))
    }

    /// The identity of the event, if a signature was verified.
    pub(super) fn identity(&self) -> Option<Identity> {
        Some(self.source_identity(self.signed.as_ref()?.verified.identity.clone()))
    }

    /// The identity of one event of a batch, if a signature was verified.
    pub(super) fn item_identity(&self, index: usize, item: &[u8]) -> Option<Identity> {
        let signed = self.signed.as_ref()?;
        let scheme = self.sender.as_ref()?.schemes.get(signed.scheme)?;
        Some(self.source_identity(Sender::item_identity(scheme, &signed.verified, index, item)))
    }

    /// An identity, as the source's `repeat` completes it.
    fn source_identity(&self, identity: Identity) -> Identity {
        match (identity, self.source().and_then(Source::repeat)) {
            // With a captured request, the key could have been added.
            (Identity::Unknown { digest } | Identity::Key { digest, .. }, Some(Repeat::Body)) => {
                Identity::Digest(digest)
            }
            (identity, _) => identity,
        }
    }

    /// The scope of the keys of signed events: a key never crosses sources.
    pub(super) fn key_scope(&self) -> &str {
        self.source().map_or_else(|| self.sender_name.unwrap_or_default(), Source::name)
    }

    /// Adds the source to a run: its name, and its order.
    pub(super) fn mark<'s>(&self, mut start: Start<'s>) -> Start<'s> {
        if let Some(source) = self.source() {
            start.source = Some(source.name().to_owned());
            if source.is_ordered() && start.queue.is_none() {
                start.queue = Some(start.workflow.as_str().to_owned());
            }
        }
        start
    }

    /// The response that the sender prescribes, in place of one that reports a success.
    pub(super) fn prescribed(&self, response: Response<Vec<u8>>) -> Response<Vec<u8>> {
        let answer = self.sender.as_ref().and_then(|sender| sender.answer.as_ref());
        match answer {
            Some(answer) if response.status().is_success() => {
                let mut prescribed = respond::reply(answer.fixed());
                for name in [SLUICE_OUTCOME, SLUICE_DELIVERY] {
                    let value = response.headers().get(&name).cloned();
                    prescribed.headers_mut().extend(value.map(|value| (name, value)));
                }
                prescribed
            }
            _ => response,
        }
    }

    /// The type of the event. The sender's schemes say where to find it.
    pub(super) fn event_type(&self, headers: &HeaderMap, payload: &RawValue) -> Option<String> {
        sender::event_type(self.sender.as_ref()?.schemes.iter().cloned(), headers, payload)
    }
}

impl<'r, 'h> Authentication<'r, 'h> {
    /// Whether the request may come from a sender that says itself what it posts.
    pub(super) fn may_know_sender(&self) -> bool {
        let has_sender =
            |candidate: &Candidate<'_, '_>| candidate.authority.source().and_then(Source::sender).is_some();
        self.found.preset.is_some() || self.found.candidates.iter().any(has_sender)
    }
}

impl<'r, 'h, H: Host> RequestContext<'r, 'h, H> {
    /// Returns the answer to a question.
    pub(super) fn reply(&mut self, reply: Reply) -> Response<Vec<u8>> {
        self.log.outcome("challenge");
        respond::reply(reply)
    }

    /// Checks that the engine can have a workflow, and that the source may start it.
    pub(super) fn permit(
        &self,
        admission: &Admission<'_, '_>,
        gateway: &Gateway<'_, H>,
        via: Via<'_>,
        workflow: &WorkflowRef,
    ) -> Result<(), Problem> {
        let engine = &gateway.settings().engine;
        engine.accepts(workflow).map_err(|error| invalid_reference("ref", error))?;
        // Most requests have no limits, and the profile is parsed to tell ids from names.
        if admission.source().is_none() {
            return Ok(());
        }
        let workflow = Workflow::of_reference(workflow, |text| engine.is_workflow_id(text));
        admission.decide(&Action::Start(via, workflow), engine)
    }

    /// Checks that the engine can be told callbacks of a run, and that the source may resolve them. If it is limited to some workflows, the engine is asked for
    /// that of the run, before anything is claimed or stored.
    pub(super) async fn permit_callback(
        &self,
        admission: &Admission<'_, '_>,
        gateway: &Gateway<'_, H>,
        run: &RunRef,
        status: Status,
    ) -> Result<(), Problem> {
        let engine = &gateway.settings().engine;
        engine.resumes(Some(status))?;
        engine.accepts_run(run).map_err(|error| invalid_reference("ref", error))?;
        if admission.source().is_none() {
            return Ok(());
        }
        let decide = |workflow| admission.decide(&Action::Resolve(workflow), engine);
        if !admission.authority.needs_run_workflow() {
            return decide(RunWorkflow::Unknown);
        }
        match gateway.workflow_of(run, &self.trace()).await {
            Ok((workflow, team)) => {
                let (id, name) = (workflow.id.as_deref(), workflow.name.as_deref());
                decide(RunWorkflow::Seen(Workflow { id, name, team: team.as_deref() }))
            }
            Err(_) => Err(Problem::scope_undecided()),
        }
    }

    /// Finds the sources that the request may come from, before the body is read. If there is none, the request is
    /// refused.
    pub(super) fn authenticate(&mut self, query: &Query) -> Result<Authentication<'r, 'h>, Problem> {
        let named = query.source()?;
        let text = |name| self.headers.get(name).and_then(|value| value.to_str().ok());
        let given = [super::bearer(self.headers), text(X_ACCESS_TOKEN).map(str::trim), query.one("access_token")?];
        let given: Vec<&str> = given.into_iter().flatten().collect();
        let found = match self.config.sources() {
            Ok(sources) => {
                let clues = Clues { source: named.map(|(_, name)| name), headers: self.headers, tokens: &given };
                sources.find(clues).map_err(|error| {
                    let parameter = named.map_or("source", |(parameter, _)| parameter);
                    Problem::new(Kind::InvalidParameter, format!("`{parameter}` {error}")).field(parameter)
                })?
            }
            Err(error) => self.by_access_token(&given, error)?,
        };
        if let Some(preset) = found.preset {
            self.response_policy = preset.response_policy;
        }
        if found.candidates.is_empty() {
            return Err(refusal(&found, &mut [], found.is_maybe_stopped()));
        }
        Ok(Authentication { found })
    }

    /// The authority of an access token while `sources` as a whole can't be used.
    fn by_access_token(&self, given: &[&str], error: ConfigError) -> Result<Found<'r, 'h>, Problem> {
        let tokens = self.config.access_tokens()?;
        let found = Found::by_access_token(&tokens, given);
        if found.candidates.is_empty() { Err(error.into()) } else { Ok(found) }
    }

    /// Authenticates the request by its body: the first source whose signature is valid has sent it.
    pub(super) async fn admit(
        &mut self,
        authentication: Authentication<'r, 'h>,
        body: &[u8],
    ) -> Result<Admitted<'r, 'h>, Problem> {
        // Only a sender's scheme or question needs the URL: an error in `public_url` concerns no other request.
        let url = if authentication.may_know_sender() { self.public_url()? } else { String::new() };
        let Authentication { found } = authentication;
        let request = SignedRequest { method: self.method.as_str(), headers: self.headers, url: &url, body };
        let mut refused = Vec::new();
        let mut is_stopped = found.is_maybe_stopped();
        let mut admitted = None;
        for candidate in &found.candidates {
            let Some(trial) = Trial::of(*candidate, found.preset) else {
                is_stopped = true;
                continue;
            };
            match trial.run(self.host, request).await {
                Ok(it) => {
                    admitted = Some(it);
                    break;
                }
                // An error in the configuration, not of the sender.
                Err(Refused {
                    reason: Reason::Signature(VerifyError::NoUsableSecret | VerifyError::RuleNotSet { .. }, _),
                    ..
                }) => is_stopped = true,
                Err(error) => refused.push(error),
            }
        }
        if let Some(admitted) = admitted {
            if let Admitted::Delivery(admission) = &admitted {
                self.source = admission.source().map(|source| source.name().to_owned());
                self.verified_by = admission.source().map(|_| VerifiedBy { old_secret: admission.old_secret() });
            }
            return Ok(admitted);
        }
        let problem = refusal(&found, &mut refused, is_stopped);
        if let Some(Refused { source, reason, secrets }) = refused.into_iter().next() {
            self.source = Some(source).filter(|source| !source.is_empty());
            if let Reason::Signature(error, Some(descriptor)) = reason {
                let (method, headers) = (self.method.to_string(), self.headers.clone());
                // `receive` adds the body, which it owns.
                let (keys, others, body) = (Vec::new(), Vec::new(), Vec::new());
                let descriptor = *descriptor;
                let failed =
                    FailedVerification { error, descriptor, secrets, keys, method, url, headers, body, others };
                self.failed = Some(failed);
            }
        }
        Err(problem)
    }

    /// Answers a question that a sender asks by GET or HEAD; `None` if the request is none.
    pub(super) fn answer(&self, authentication: &Authentication<'r, 'h>) -> Result<Option<Reply>, Problem> {
        let found = &authentication.found;
        let url = self.public_url()?;
        let request = SignedRequest { method: self.method.as_str(), headers: self.headers, url: &url, body: b"" };
        let mut refused = Vec::new();
        for trial in found.candidates.iter().filter_map(|candidate| Trial::of(*candidate, found.preset)) {
            match trial.answer(request) {
                Some(Ok(reply)) => return Ok(Some(reply)),
                Some(Err(error)) => refused.push(trial.refused(Reason::Question(error))),
                None => {}
            }
        }
        if refused.is_empty() { Ok(None) } else { Err(refusal(found, &mut refused, false)) }
    }

    /// Returns the URL that the sender called. Behind a proxy, its scheme and host are known only from `public_url`.
    fn public_url(&self) -> Result<String, Problem> {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let origin = self.config.get(&members::PUBLIC_URL)?;
        Ok(match (origin, self.received_url()) {
            (Some(origin), _) => format!("{origin}{path}"),
            (None, Some(received)) => received.to_owned(),
            (None, None) => path.to_owned(),
        })
    }

    /// Returns the URL that the host received, from Spin's `spin-full-url` header. Spin appends this header, so all but
    /// the last one come from the client.
    pub(super) fn received_url(&self) -> Option<&str> {
        self.headers.get_all(SPIN_FULL_URL).iter().next_back().and_then(|value| value.to_str().ok())
    }
}

impl<'r, 'h> Trial<'r, 'h> {
    /// Prepares a source; `None` if an error in its configuration stops it. `resembled` is the known sender that the
    /// request resembles.
    fn of(candidate: Candidate<'r, 'h>, resembled: Option<&'static Preset>) -> Option<Self> {
        let Candidate { authority, proof } = candidate;
        let source = authority.source();
        let sender = match source.and_then(Source::definition) {
            Some(definition) => Some(definition.ok()?),
            None => resembled.map(Sender::of),
        };
        let own = source.and_then(Source::sender).map(SourceSender::name);
        let name = own.or_else(|| resembled.map(|preset| preset.name));
        let secrets = match proof {
            Proof::Complete => None,
            Proof::Signature(secrets) => {
                let given = source.map(Source::given_keys).unwrap_or_default();
                Some(secrets.iter().cloned().chain(given).collect())
            }
        };
        Some(Self { authority, sender, name, secrets })
    }

    /// The answer to a question that needs no signature; `None` if the request is none.
    fn answer(&self, request: SignedRequest<'_>) -> Option<Result<Reply, QuestionError>> {
        let question = self.question(request).filter(|question| !question.signed)?;
        Some(question.answer(request, self.secrets.as_deref().unwrap_or_default(), self.tokens()))
    }

    /// The question that the request asks. One that hands a secret over counts only while the source has none.
    fn question(&self, request: SignedRequest<'_>) -> Option<&Question> {
        let has_secret = self.secrets.as_ref().is_some_and(|secrets| !secrets.is_empty());
        self.sender.as_ref()?.question(request).filter(|question| question.keep.is_none() || !has_secret)
    }

    /// Stores the secret that the request hands over, if it does.
    async fn keep_secret(&self, host: &impl Host, request: SignedRequest<'_>) -> Result<(), Refused> {
        let secret = self.question(request).and_then(|question| question.secret(request));
        let (Some(secret), Some(source)) = (secret, self.authority.source()) else { return Ok(()) };
        let kept = remember_handed(host, source.name(), &secret).await;
        match kept {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.refused(Reason::NotKept)),
            Err(error) => Err(self.refused(Reason::Keys(KeyError::Store(error)))),
        }
    }

    /// The tokens that the operator has chosen at the sender.
    fn tokens(&self) -> &'r [Secret] {
        self.authority.source().map_or(&[], Source::tokens)
    }

    fn refused(&self, reason: Reason) -> Refused {
        let source = self.authority.source().map(|source| source.name().to_owned()).unwrap_or_default();
        Refused { source, reason, secrets: self.secrets.clone().unwrap_or_default() }
    }

    fn answered(&self, answer: Result<Reply, QuestionError>) -> Result<Admitted<'r, 'h>, Refused> {
        answer.map(Admitted::Question).map_err(|error| self.refused(Reason::Question(error)))
    }

    /// Verifies the request by each scheme of the sender. A question is answered.
    async fn run(self, host: &impl Host, request: SignedRequest<'_>) -> Result<Admitted<'r, 'h>, Refused> {
        if let Some(answer) = self.answer(request) {
            if answer.is_ok() {
                self.keep_secret(host, request).await?;
            }
            return self.answered(answer);
        }
        let signed = match &self.secrets {
            None => None,
            Some(secrets) => Some(self.verify(host, request, secrets).await?),
        };
        if let Some(signed) = &signed
            && let Some(question) = self.question(request)
        {
            let secrets = self.secrets.as_deref().unwrap_or_default();
            let secret = secrets.get(signed.verified.secret_index).map_or(&[][..], std::slice::from_ref);
            return self.answered(question.answer(request, secret, self.tokens()));
        }
        let Self { authority, sender, name: sender_name, .. } = self;
        Ok(Admitted::Delivery(Box::new(Admission { authority, sender, sender_name, signed })))
    }

    /// Verifies the request by each scheme of the sender in turn. If none succeeds, the error is that of the scheme that
    /// got furthest.
    async fn verify(
        &self,
        host: &impl Host,
        request: SignedRequest<'_>,
        secrets: &[Secret],
    ) -> Result<Signed, Refused> {
        let schemes = self.sender.as_ref().map_or(&[][..], |sender| &sender.schemes);
        let mut furthest = (VerifyError::Unsigned, None);
        for (scheme, descriptor) in schemes.iter().enumerate() {
            let verify = |keys: &[PublicKey]| {
                sender::verify_with(descriptor, Credentials { secrets, keys }, request, host.now())
            };
            let verified = match verify(&[]) {
                Err(VerifyError::KeyNeeded(needed)) => match keys::public_keys(host, schemes, &needed).await {
                    Ok(KeyLookup::Found(keys)) => verify(&keys),
                    Ok(KeyLookup::Unknown) => Err(VerifyError::KeyNeeded(needed)),
                    Err(error) => return Err(self.refused(Reason::Keys(error))),
                },
                verified => verified,
            };
            match verified {
                Ok(verified) => return Ok(Signed { verified, scheme, secrets: secrets.len() }),
                Err(error) if error.progress() > furthest.0.progress() => furthest = (error, Some(descriptor)),
                Err(_) => {}
            }
        }
        let (error, descriptor) = furthest;
        Err(self.refused(Reason::Signature(error, descriptor.cloned().map(Box::new))))
    }
}

/// The secrets of all sources but one, by their names.
pub(super) fn secrets_of_others(
    config: &Config<'_, impl Variables>,
    source: Option<&str>,
) -> Vec<(String, Vec<Secret>)> {
    let sources = config.sources().ok().into_iter().flat_map(Sources::iter);
    let others = sources.filter(|other| Some(other.name()) != source);
    others.map(|other| (other.name().to_owned(), other.secrets().to_vec())).collect()
}

/// The problem of a request that no source has sent. If a source that is stopped may have sent it, the sender is asked
/// to send it again. The refusals are sorted: the one that got furthest comes first.
fn refusal(found: &Found<'_, '_>, refused: &mut [Refused], is_stopped: bool) -> Problem {
    refused.sort_by_key(|refused| std::cmp::Reverse(refused.reason.progress()));
    let not_verified = refused.iter().map(|Refused { source, reason, .. }| match &**source {
        "" => format!("the request is not verified: {reason}"),
        source => format!("the request is not verified as one of the source `{source}`: {reason}"),
    });
    let mut reasons: Vec<String> = not_verified.chain(found.misses.iter().map(ToString::to_string)).collect();
    if is_stopped {
        if reasons.is_empty() {
            reasons.push("the source is stopped by an error in its configuration".to_owned());
        }
        return Problem::new(Kind::Configuration, reasons.join("; ")).field("sources");
    }
    let key_error = refused.iter().find_map(|refused| match &refused.reason {
        Reason::Keys(error) => Some(error.clone()),
        _ => None,
    });
    if let Some(error) = key_error {
        return Problem::from(error).detail(reasons.join("; "));
    }
    if refused.is_empty() {
        reasons.push(
            "send an access token in `Authorization: Bearer`, `x-access-token` or `?access_token=`, or sign the request"
                .to_owned(),
        );
        return Problem::new(Kind::Unauthorized, reasons.join("; ")).field(AUTHORIZATION.as_str());
    }
    Problem::new(Kind::InvalidSignature, reasons.join("; "))
}
