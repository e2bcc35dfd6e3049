//! Callback links. The operator creates a pair of links; a person opens one of them and confirms with the button on its
//! page. Opening a link changes nothing, since mail programs, scanners and proxies open links too.

use http::{HeaderValue, Method, Response, StatusCode, Uri};
use serde::{Deserialize, Serialize};

use super::confirm_page::{self, Question};
use super::problem::{Kind, Problem};
use super::query::invalid_reference;
use super::{RequestContext, SLUICE_OUTCOME, body, operator, respond};
use crate::callback::{Callback, Link, LinkError, MAX_BUTTON, MAX_QUESTION, Status};
use crate::config::members;
use crate::delivery::{Outcome, Verdict, Work};
use crate::gateway::Gateway;
use crate::gateway::operator::Answer;
use crate::json::{self, JsonType};
use crate::ports::{Body, Host};
use crate::reference::{RunRef, Topic};
use crate::secret::Secret;
use crate::time::Timestamp;

/// The path of all links.
pub(super) const PATH: &str = "/api/v2/callback/link";

/// The heading of the page after an answer.
const RECORDED: &str = "Your answer is recorded";
/// The heading of the page if an answer was already recorded.
const ALREADY_ANSWERED: &str = "This has already been answered";

/// The body of a request to create links.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkRequest {
    r#ref: String,
    topic: String,
    #[serde(default)]
    question: String,
    #[serde(default)]
    buttons: Buttons,
    expires_in: Option<u64>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Buttons {
    succeeded: String,
    failed: String,
}

/// `POST /api/v2/callback-links`: returns one URL for success and one for failure. Stores nothing.
pub(super) async fn create(
    context: &mut RequestContext<'_, '_, impl Host>,
    incoming: &mut impl Body,
) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = operator::authorize_or(context, &members::LINK_TOKEN)?;
    gateway.settings().engine.resumes(None)?;
    let secrets = context.config.get(&members::LINK_SECRETS)?;
    let secret = secrets.first().ok_or_else(|| {
        let detail = "`link_secrets` in `settings` is not set: set it to an array with a long random text, which signs the links";
        Problem::new(Kind::Configuration, detail).field("settings")
    })?;
    let origin = context.origin()?.ok_or_else(|| {
        let detail =
            "`public_url` in `settings` is not set, and the request does not show the URL at which people reach Sluice: set it";
        Problem::new(Kind::Configuration, detail).field("settings")
    })?;
    body::require_json(context.headers)?;
    let bytes = body::read(incoming, context.headers, context.config.get(&members::MAX_BODY_BYTES)?).await?;
    let object = body::object(&bytes)?;
    // serde would also accept an array, because it can read a struct from one.
    if json::member(object, "buttons").is_some_and(|buttons| json::type_of(buttons) != JsonType::Object) {
        return Err(Problem::new(Kind::InvalidBody, "`buttons` must be an object").field("buttons"));
    }
    let request: LinkRequest = json::read(object.get().as_bytes()).map_err(|error| {
        let detail =
            format!("a request for links has `ref`, `topic` and optional `question`, `buttons`, `expires_in`: {error}");
        Problem::new(Kind::InvalidBody, detail).field("body")
    })?;
    let retention = gateway.settings().retention.length();
    let lifetime = request.expires_in.unwrap_or(retention.as_secs());
    if !(1..=retention.as_secs()).contains(&lifetime) {
        let detail = format!(
            "`expires_in` must be 1 to {} seconds: a link can't outlive the record of its first answer, which `retention_hours` limits",
            retention.as_secs()
        );
        return Err(Problem::new(Kind::InvalidBody, detail).field("expires_in"));
    }
    let Buttons { succeeded, failed } = request.buttons;
    for (name, text, max) in [
        ("question", &request.question, MAX_QUESTION),
        ("buttons/succeeded", &succeeded, MAX_BUTTON),
        ("buttons/failed", &failed, MAX_BUTTON),
    ] {
        if text.len() > max || text.chars().any(char::is_control) {
            let detail = format!("`{name}` must have at most {max} bytes and no control characters");
            return Err(Problem::new(Kind::InvalidBody, detail).field(name));
        }
    }
    // Rounded down to whole seconds: a link must not be valid for longer than requested.
    let expires = gateway.now().0.saturating_add(lifetime.saturating_mul(1_000));
    let run = RunRef::parse(&request.r#ref).map_err(|error| invalid_reference("ref", error))?;
    gateway.settings().engine.accepts_run(&run).map_err(|error| invalid_reference("ref", error))?;
    let mut link = Link {
        run,
        topic: Topic::parse(&request.topic).map_err(|error| invalid_reference("topic", error))?,
        status: Status::Succeeded,
        question: request.question,
        button: succeeded,
        expires: Timestamp(expires.saturating_sub(expires.checked_rem(1_000).unwrap_or(0))),
    };
    let url = |link: &Link| format!("{origin}{PATH}?{}", link.to_query(secret));
    let succeeded = url(&link);
    (link.status, link.button) = (Status::Failed, failed);

    #[derive(Serialize)]
    struct View {
        succeeded: String,
        failed: String,
        expires: String,
    }
    let view = View { succeeded, failed: url(&link), expires: link.expires.rfc3339() };
    Ok(respond::no_store(respond::json(StatusCode::OK, &view)))
}

/// `GET`, `HEAD` and `POST` of a link. Only POST completes the callback.
pub(super) async fn answer(
    context: &mut RequestContext<'_, '_, impl Host>,
    incoming: &mut impl Body,
) -> Result<Response<Vec<u8>>, Problem> {
    context.problem_page = confirm_page::problem_page;
    let link = verify(context, &context.config.get(&members::LINK_SECRETS)?)?;
    let gateway = context.gateway()?;
    let callback = link.callback();
    gateway.settings().engine.resumes(Some(callback.status))?;
    if context.method == Method::POST {
        body::read(incoming, context.headers, context.config.get(&members::MAX_BODY_BYTES)?).await?;
        return confirm(context, gateway, callback).await;
    }
    show(
        context,
        &gateway,
        &Question { text: &link.question, button: &link.button, callback: &callback, expires: Some(link.expires) },
    )
    .await
}

/// Verifies the signature and the expiry of a link.
fn verify(context: &RequestContext<'_, '_, impl Host>, secrets: &[Secret]) -> Result<Link, Problem> {
    if secrets.is_empty() {
        return Err(Problem::new(
            Kind::NotFound,
            "callback links are disabled: set `link_secrets` in `settings` to enable them",
        ));
    }
    Link::open(context.query.unwrap_or_default(), secrets, context.host.now()).map_err(|error| {
        let (kind, fix) = match error {
            LinkError::Forged => (Kind::LinkForged, "open the complete link, exactly as it was sent"),
            LinkError::Expired(_) => (Kind::LinkExpired, "ask its sender for a new link"),
        };
        Problem::new(kind, format!("{error}: {fix}")).no_store()
    })
}

/// Returns the page with the question, with the answer if one was already accepted, or a problem if another one was. Changes nothing in the store.
pub(super) async fn show<H: Host>(
    context: &mut RequestContext<'_, '_, H>,
    gateway: &Gateway<'_, H>,
    question: &Question<'_>,
) -> Result<Response<Vec<u8>>, Problem> {
    let callback = question.callback;
    let answer = gateway.answer(callback).await.map_err(|error| operator::to_problem(context, error))?;
    let rejected = |verdict| Err(Problem::of_outcome(Outcome::Rejected { verdict }));
    match answer {
        Answer::Open => Ok(confirm_page::question_page(question)),
        Answer::Recorded(first) if first.digest == callback.digest() => {
            let text = format!("This answer was recorded at {}. You can close this page.", first.received.rfc3339());
            Ok(confirm_page::result_page(StatusCode::OK, ALREADY_ANSWERED, &text, callback))
        }
        Answer::Recorded(first) => {
            Err(Problem::of_outcome(Outcome::Conflict { status: first.status, received: first.received }))
        }
        Answer::Decided(status) => rejected(Verdict::AlreadyResolved { status }),
        Answer::UnknownTopic => rejected(Verdict::UnknownTopic),
    }
}

/// Completes a callback when the button is pressed: delivers it to the engine, or stores it. Returns a page.
pub(super) async fn confirm<'h, H: Host>(
    context: &mut RequestContext<'_, 'h, H>,
    gateway: Gateway<'h, H>,
    callback: Callback<'_>,
) -> Result<Response<Vec<u8>>, Problem> {
    let response = context.deliver(gateway, Work::Resolve(callback.clone()), None).await?;
    let is_duplicate = response.headers().get(SLUICE_OUTCOME) == Some(&HeaderValue::from_static("duplicate"));
    let is_pending = response.status() == StatusCode::ACCEPTED;
    let (heading, text) = if is_duplicate {
        (ALREADY_ANSWERED, "The same answer was recorded before. You can close this page.")
    } else if is_pending {
        (
            RECORDED,
            "The workflow will receive it as soon as it waits for it and its engine can be reached. You can close this page.",
        )
    } else {
        (RECORDED, "The workflow has received it. You can close this page.")
    };
    let status = if is_pending { StatusCode::ACCEPTED } else { StatusCode::OK };
    let mut page = confirm_page::result_page(status, heading, text, &callback);
    for name in [SLUICE_OUTCOME, super::SLUICE_DELIVERY] {
        if let Some(value) = response.headers().get(&name) {
            page.headers_mut().insert(name, value.clone());
        }
    }
    Ok(page)
}

impl<H: Host> RequestContext<'_, '_, H> {
    /// Returns the scheme and host at which people reach Sluice: from `public_url` if it is set, otherwise from the URL
    /// of this request.
    fn origin(&self) -> Result<Option<String>, Problem> {
        if let Some(origin) = self.config.get(&members::PUBLIC_URL)? {
            return Ok(Some(origin));
        }
        let received = self.received_url().and_then(|url| url.parse::<Uri>().ok());
        Ok(received.and_then(|url| Some(format!("{}://{}", url.scheme_str()?, url.authority()?))))
    }
}
