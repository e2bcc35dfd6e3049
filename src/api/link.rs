//! Callback links: the operator has them made, a person opens one and presses its button. Opening it does nothing: mail
//! programs, scanners and proxies open links too.

use http::{HeaderValue, Method, Response, StatusCode, Uri};
use serde::Deserialize;

use super::confirm_page::{self, Question};
use super::problem::{Kind, Problem};
use super::query::unusable;
use super::{RequestContext, SLUICE_OUTCOME, body, operator};
use crate::callback::{Callback, Link, LinkError, MAX_BUTTON, MAX_QUESTION, Status};
use crate::config;
use crate::delivery::{Key, Outcome, Work};
use crate::gateway::Gateway;
use crate::json::{self, JsonType};
use crate::ports::{Body, Host};
use crate::reference::{RunRef, Topic};
use crate::secret::Secret;
use crate::time::Timestamp;

/// Where links lead.
pub(super) const PATH: &str = "/api/v2/callback/link";

/// What is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wish {
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

/// `POST /api/v2/callback-links`: a URL for each way in which the wait can end. Nothing is stored.
pub(super) async fn mint(
    context: &mut RequestContext<'_, '_, impl Host>,
    incoming: &mut impl Body,
) -> Result<Response<Vec<u8>>, Problem> {
    let gateway = operator::open(context)?;
    let secrets = config::link_secrets(context.host)?;
    let secret = secrets.first().ok_or_else(|| {
        let detail = "variable `link_secret` is empty: set a long random text, which signs the links";
        Problem::new(Kind::Configuration, detail).field("link_secret")
    })?;
    let origin = context.origin()?.ok_or_else(|| {
        let detail = "variable `public_url` is empty, and nothing else says by which URL Sluice is reached: set it";
        Problem::new(Kind::Configuration, detail).field("public_url")
    })?;
    body::require_json(context.headers)?;
    let bytes = body::read(incoming, context.headers, config::max_body(context.host)?).await?;
    // Where a struct is wanted, serde takes an array too.
    if json::member(body::object(&bytes)?, "buttons").is_some_and(|buttons| json::type_of(buttons) != JsonType::Object)
    {
        return Err(Problem::new(Kind::InvalidBody, "`buttons` must be an object").field("buttons"));
    }
    let wish: Wish = json::read(&bytes).map_err(|error| {
        let detail =
            format!("the body must be {{\"ref\", \"topic\", \"question\"?, \"buttons\"?, \"expires_in\"?}}: {error}");
        Problem::new(Kind::InvalidBody, detail).field("body")
    })?;
    let retention = gateway.settings().retention.length();
    let life = wish.expires_in.unwrap_or(retention.as_secs());
    if !(1..=retention.as_secs()).contains(&life) {
        let detail = format!(
            "`expires_in` must be 1 to {} seconds: for longer nobody could tell a second answer, see retention_hours",
            retention.as_secs()
        );
        return Err(Problem::new(Kind::InvalidBody, detail).field("expires_in"));
    }
    let Buttons { succeeded, failed } = wish.buttons;
    for (name, text, most) in [
        ("question", &wish.question, MAX_QUESTION),
        ("buttons/succeeded", &succeeded, MAX_BUTTON),
        ("buttons/failed", &failed, MAX_BUTTON),
    ] {
        if text.len() > most || text.chars().any(char::is_control) {
            let detail = format!("`{name}` must have at most {most} bytes and no control character");
            return Err(Problem::new(Kind::InvalidBody, detail).field(name));
        }
    }
    // Whole seconds, rounded down, so that it is not open for longer than was said.
    let expires = gateway.now().0.saturating_add(life.saturating_mul(1_000));
    let mut link = Link {
        run: RunRef::parse(&wish.r#ref).map_err(|error| unusable("ref", error))?,
        topic: Topic::parse(&wish.topic).map_err(|error| unusable("topic", error))?,
        status: Status::Succeeded,
        question: wish.question,
        button: succeeded,
        expires: Timestamp(expires.saturating_sub(expires.checked_rem(1_000).unwrap_or(0))),
    };
    let url = |link: &Link| format!("{origin}{PATH}?{}", link.to_query(secret));
    let succeeded = url(&link);
    (link.status, link.button) = (Status::Failed, failed);

    #[derive(serde::Serialize)]
    struct View {
        succeeded: String,
        failed: String,
        expires: String,
    }
    let view = View { succeeded, failed: url(&link), expires: link.expires.rfc3339() };
    Ok(operator::json(StatusCode::OK, &view))
}

/// `GET`, `HEAD` and `POST` of a link: only POST answers.
pub(super) async fn answer(
    context: &mut RequestContext<'_, '_, impl Host>,
    incoming: &mut impl Body,
) -> Result<Response<Vec<u8>>, Problem> {
    context.refuse = confirm_page::refuse;
    let link = open(context, &config::link_secrets(context.host)?)?;
    let gateway = context.gateway()?;
    let callback = link.callback();
    if context.method == Method::POST {
        body::read(incoming, context.headers, config::max_body(context.host)?).await?;
        return press(context, gateway, callback).await;
    }
    show(
        context,
        &gateway,
        &Question { text: &link.question, button: &link.button, callback: &callback, until: Some(link.expires) },
    )
    .await
}

fn open(context: &RequestContext<'_, '_, impl Host>, secrets: &[Secret]) -> Result<Link, Problem> {
    if secrets.is_empty() {
        return Err(Problem::new(Kind::NotFound, "callback links are there once link_secret is set"));
    }
    Link::open(context.query.unwrap_or_default(), secrets, context.host.now()).map_err(|error| {
        let (kind, way) = match error {
            LinkError::Forged => (Kind::LinkForged, "open it as it was sent, whole"),
            LinkError::Expired(_) => (Kind::LinkExpired, "ask who sent it for another"),
        };
        Problem::new(kind, format!("{error}: {way}")).no_store()
    })
}

/// The page with the button, or what was answered already. Reads the store and changes nothing.
pub(super) async fn show<O: Host>(
    context: &mut RequestContext<'_, '_, O>,
    gateway: &Gateway<'_, O>,
    question: &Question<'_>,
) -> Result<Response<Vec<u8>>, Problem> {
    let callback = question.callback;
    let first = gateway.callback(&callback.run, &callback.topic).await;
    match first.map_err(|error| operator::refuse(context, error))? {
        None => Ok(confirm_page::ask(question)),
        Some(first) if first.digest == callback.digest() => {
            let text =
                format!("This answer was recorded at {}. There is nothing more to do.", first.received.rfc3339());
            Ok(confirm_page::tell(StatusCode::OK, "This was answered already", &text, callback))
        }
        Some(first) => Err(Problem::of_outcome(Outcome::Conflict { status: first.status, received: first.received })),
    }
}

/// The button: brings the callback to the engine, or stores it.
pub(super) async fn press<'o, O: Host>(
    context: &mut RequestContext<'_, 'o, O>,
    gateway: Gateway<'o, O>,
    callback: Callback<'_>,
) -> Result<Response<Vec<u8>>, Problem> {
    let key = Key::callback(&callback);
    let answer = context.deliver(gateway, Work::Resolve(callback.clone()), Some(key)).await?;
    let again = answer.headers().get(SLUICE_OUTCOME) == Some(&HeaderValue::from_static("duplicate"));
    let pending = answer.status() == StatusCode::ACCEPTED;
    let (heading, text) = match (again, pending) {
        (true, _) => ("This was answered already", "The same answer was recorded before. There is nothing more to do."),
        (false, true) => (
            "Your answer is recorded",
            "The workflow gets it as soon as its engine can be reached. There is nothing more to do.",
        ),
        (false, false) => ("Your answer is recorded", "The workflow has it. There is nothing more to do."),
    };
    let status = if pending { StatusCode::ACCEPTED } else { StatusCode::OK };
    let mut told = confirm_page::tell(status, heading, text, &callback);
    for name in [SLUICE_OUTCOME, super::SLUICE_DELIVERY] {
        if let Some(value) = answer.headers().get(&name) {
            told.headers_mut().insert(name, value.clone());
        }
    }
    Ok(told)
}

impl<O: Host> RequestContext<'_, '_, O> {
    /// Scheme and host by which people reach Sluice: `public_url`, else those by which this request came.
    fn origin(&self) -> Result<Option<String>, Problem> {
        if let Some(origin) = config::public_url(self.host)? {
            return Ok(Some(origin));
        }
        let seen = self.seen_url().and_then(|url| url.parse::<Uri>().ok());
        Ok(seen.and_then(|url| Some(format!("{}://{}", url.scheme_str()?, url.authority()?))))
    }
}
