//! Signed callback links: a callback, its expiry and the texts to display, as the query of a URL with an HMAC over all
//! fields. Opening a link only shows its contents. Only the [`Callback`] made from it on confirmation resolves the
//! tasks.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::{Callback, Status};
use crate::reference::{RunRef, Topic};
use crate::secret::{self, Secret};
use crate::time::Timestamp;

/// Maximum length of the question in bytes.
pub const MAX_QUESTION: usize = 500;
/// Maximum length of the button's text in bytes.
pub const MAX_BUTTON: usize = 60;

/// First part of the signed message. A MAC that was made for another purpose with the same secret is never a valid
/// link.
const DOMAIN: &str = "sluice callback link 1";

/// The contents of a callback link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The workflow run.
    pub run: RunRef,
    /// The topic that its tasks wait for.
    pub topic: Topic,
    /// The result for the tasks.
    pub status: Status,
    /// The question shown on the page; empty for the default.
    pub question: String,
    /// The text of the button; empty for the default.
    pub button: String,
    /// The time from which the link is refused, in whole seconds.
    pub expires: Timestamp,
}

/// The reason why a query is not a usable link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Not signed with one of the secrets, incomplete, or changed after signing.
    #[error("Sluice did not make this link, or a part of it was lost or changed on the way")]
    Forged,
    /// Signed with one of the secrets, but expired at this time.
    #[error("the link expired at {}", .0.rfc3339())]
    Expired(Timestamp),
}

impl Link {
    /// The signed query of the link's URL.
    pub fn to_query(&self, secret: &Secret) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let expires = self.seconds().to_string();
        for (name, value) in self.fields(&expires).into_iter().filter(|(_, value)| !value.is_empty()) {
            query.append_pair(name, value);
        }
        query.append_pair("signature", &BASE64_URL_SAFE_NO_PAD.encode(secret.mac(&self.message()))).finish()
    }

    /// Verifies and reads a query that was signed with any of `secrets`. Ignores unknown parameters, such as those
    /// that mail programs add for tracking.
    pub fn open(query: &str, secrets: &[Secret], now: Timestamp) -> Result<Self, LinkError> {
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        // A missing field is empty; a repeated one is an error.
        let field = |name: &str| {
            let mut values = pairs.iter().filter(|(key, _)| key == name).map(|(_, value)| &**value);
            let value = values.next();
            values.next().map_or(Ok(value.unwrap_or_default()), |_| Err(LinkError::Forged))
        };
        let link = Self {
            run: RunRef::parse(field("ref")?).map_err(|_| LinkError::Forged)?,
            topic: Topic::parse(field("topic")?).map_err(|_| LinkError::Forged)?,
            status: Status::parse(field("status")?).ok_or(LinkError::Forged)?,
            question: field("question")?.to_owned(),
            button: field("button")?.to_owned(),
            expires: field("expires")?
                .parse::<u64>()
                .ok()
                .and_then(|seconds| seconds.checked_mul(1_000))
                .map(Timestamp)
                .ok_or(LinkError::Forged)?,
        };
        let given = BASE64_URL_SAFE_NO_PAD.decode(field("signature")?).map_err(|_| LinkError::Forged)?;
        let message = link.message();
        // Always compares with every secret: timing doesn't reveal which one signed.
        let genuine =
            secrets.iter().fold(false, |genuine, secret| genuine | secret::equal(&secret.mac(&message), &given));
        if !genuine {
            return Err(LinkError::Forged);
        }
        if now >= link.expires {
            return Err(LinkError::Expired(link.expires));
        }
        Ok(link)
    }

    /// The callback that is sent to the engine on confirmation.
    pub fn callback(&self) -> Callback<'static> {
        Callback { run: self.run.clone(), topic: self.topic.clone(), status: self.status, payload: None }
    }

    /// The expiry in seconds since the Unix epoch, as in the query.
    fn seconds(&self) -> u64 {
        self.expires.0.checked_div(1_000).unwrap_or(0)
    }

    /// The signed fields, in the order in which they are signed.
    fn fields<'a>(&'a self, expires: &'a str) -> [(&'static str, &'a str); 6] {
        [
            ("ref", self.run.as_str()),
            ("topic", self.topic.as_str()),
            ("status", self.status.as_str()),
            ("question", &self.question),
            ("button", &self.button),
            ("expires", expires),
        ]
    }

    /// The signed message. A length before each field ensures that different links have different messages.
    fn message(&self) -> Vec<u8> {
        let expires = self.seconds().to_string();
        let fields = self.fields(&expires).map(|(_, value)| value);
        let parts = std::iter::once(DOMAIN).chain(fields);
        parts.map(|part| Cow::Owned(format!("{}:{part},", part.len()))).collect::<Vec<Cow<'_, str>>>().concat().into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);

    fn link(run: &str, topic: &str, question: &str, seconds: u64) -> Link {
        Link {
            run: RunRef::parse(run).unwrap(),
            topic: Topic::parse(topic).unwrap(),
            status: Status::Failed,
            question: question.to_owned(),
            button: "Nein".to_owned(),
            expires: Timestamp(seconds.saturating_mul(1_000)),
        }
    }

    fn secrets(texts: &[&str]) -> Vec<Secret> {
        texts.iter().map(|text| Secret::new(text)).collect()
    }

    #[test]
    fn link_opens_with_any_of_the_secrets_until_it_expires() {
        let link = link("r", "t", "", 2_000);
        let query = link.to_query(&Secret::new("old"));
        assert_eq!(Link::open(&query, &secrets(&["new", "old"]), NOW), Ok(link.clone()));
        assert_eq!(Link::open(&query, &secrets(&["new"]), NOW), Err(LinkError::Forged));
        assert_eq!(Link::open(&query, &[], NOW), Err(LinkError::Forged));
        assert_eq!(Link::open(&query, &secrets(&["old"]), Timestamp(1_999_999)), Ok(link.clone()));
        let expired = Err(LinkError::Expired(Timestamp(2_000_000)));
        assert_eq!(Link::open(&query, &secrets(&["old"]), Timestamp(2_000_000)), expired);
        // The error of a forged link doesn't reveal that it has expired too.
        let forged = query.replace("ref=r", "ref=s");
        assert_eq!(Link::open(&forged, &secrets(&["old"]), Timestamp(2_000_000)), Err(LinkError::Forged));
        let tracked = format!("utm_source=mail&{query}&fbclid=x");
        assert_eq!(Link::open(&tracked, &secrets(&["old"]), NOW), Ok(link));
    }

    #[test]
    fn incomplete_or_changed_link_is_forged() {
        let query = link("r", "t", "Deploy?", 2_000).to_query(&Secret::new("s"));
        for broken in [
            String::new(),
            "ref=r&topic=t".to_owned(),
            query.replace("failed", "succeeded"),
            query.replace("expires=2000", "expires=3000"),
            query.replace("expires=2000", "expires=99999999999999999999"),
            query.replace("Deploy", "Destroy"),
            query.replace("&button=Nein", ""),
            query.replace("&button=Nein", "&button=Nein&button=Nein"),
            query.split("&signature").next().unwrap().to_owned(),
            format!("{query}="),
        ] {
            assert_eq!(Link::open(&broken, &secrets(&["s"]), NOW), Err(LinkError::Forged), "{broken}");
        }
    }

    proptest! {
        #[test]
        fn link_round_trips_and_no_other_link_opens(
            run in "[a-z0-9 é-]{1,20}",
            topic in "[a-z0-9 ,&=+%é]{1,20}",
            question in "\\PC{0,40}",
            seconds in 1_001_u64..10_000,
            at in any::<prop::sample::Index>(),
            to in "[a-z0-9=&%,]",
        ) {
            let link = link(&run, &topic, &question, seconds);
            let query = link.to_query(&Secret::new("s"));
            let secrets = secrets(&["s"]);
            prop_assert_eq!(Link::open(&query, &secrets, NOW), Ok(link.clone()));
            // With one character changed, the query either is forged or is another spelling of the same link.
            let at = at.index(query.len());
            let mut changed = query.clone();
            changed.replace_range(at..=at, &to);
            if let Ok(opened) = Link::open(&changed, &secrets, NOW) {
                prop_assert_eq!(opened, link);
            }
        }
    }
}
