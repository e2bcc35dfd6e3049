//! A callback link: what the one who has it may answer, until when, and an HMAC over all of it. It travels as the query
//! of a URL. To open one tells what it would do; only a [`Callback`] that is made of it does it.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::{Callback, Status};
use crate::reference::{RunRef, Topic};
use crate::secret::{self, Secret};
use crate::time::Timestamp;

/// Longest question, in bytes.
pub const MAX_QUESTION: usize = 500;
/// Longest text of a button, in bytes.
pub const MAX_BUTTON: usize = 60;

/// Signed before everything else, so that no other use of the secret makes a link.
const DOMAIN: &str = "sluice callback link 1";

/// What a link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The workflow run.
    pub run: RunRef,
    /// What its tasks wait for.
    pub topic: Topic,
    /// How it ends the wait.
    pub status: Status,
    /// What is asked; empty if nothing was said.
    pub question: String,
    /// The text of the button; empty if nothing was said.
    pub button: String,
    /// Until when it can be used, in whole seconds.
    pub expires: Timestamp,
}

/// Why a query isn't a link that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Not signed by us, or not as it was signed.
    #[error("the link is not one that Sluice made, or a part of it was lost or changed on the way")]
    Forged,
    /// Signed by us, and too old.
    #[error("the link could be used until {}", .0.rfc3339())]
    Expired(Timestamp),
}

impl Link {
    /// The query that carries it, signed.
    pub fn to_query(&self, secret: &Secret) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let expires = self.seconds().to_string();
        for (name, value) in self.fields(&expires).into_iter().filter(|(_, value)| !value.is_empty()) {
            query.append_pair(name, value);
        }
        query.append_pair("signature", &BASE64_URL_SAFE_NO_PAD.encode(secret.mac(&self.message()))).finish()
    }

    /// Reads a query. Each of `secrets` may have signed it. Parameters of others, which mail programs add, are left alone.
    pub fn open(query: &str, secrets: &[Secret], now: Timestamp) -> Result<Self, LinkError> {
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        let one = |name: &str| {
            let mut values = pairs.iter().filter(|(had, _)| had == name).map(|(_, value)| &**value);
            let value = values.next();
            values.next().map_or(Ok(value.unwrap_or_default()), |_| Err(LinkError::Forged))
        };
        let link = Self {
            run: RunRef::parse(one("ref")?).map_err(|_| LinkError::Forged)?,
            topic: Topic::parse(one("topic")?).map_err(|_| LinkError::Forged)?,
            status: Status::parse(one("status")?).ok_or(LinkError::Forged)?,
            question: one("question")?.to_owned(),
            button: one("button")?.to_owned(),
            expires: one("expires")?
                .parse::<u64>()
                .ok()
                .and_then(|seconds| seconds.checked_mul(1_000))
                .map(Timestamp)
                .ok_or(LinkError::Forged)?,
        };
        let given = BASE64_URL_SAFE_NO_PAD.decode(one("signature")?).map_err(|_| LinkError::Forged)?;
        let message = link.message();
        // Each is compared, so that the time tells nothing.
        let genuine =
            secrets.iter().fold(false, |genuine, secret| genuine | secret::equal(&secret.mac(&message), &given));
        match genuine {
            false => Err(LinkError::Forged),
            true if now >= link.expires => Err(LinkError::Expired(link.expires)),
            true => Ok(link),
        }
    }

    /// What pressing the button brings to the engine.
    pub fn callback(&self) -> Callback<'static> {
        Callback { run: self.run.clone(), topic: self.topic.clone(), status: self.status, payload: None }
    }

    fn seconds(&self) -> u64 {
        self.expires.0.checked_div(1_000).unwrap_or(0)
    }

    /// All that is signed, in the order of the signature.
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

    /// What is signed: each field with its length, so that no two links have the same.
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
    fn any_of_the_secrets_opens_it_until_it_expires() {
        let link = link("r", "t", "", 2_000);
        let query = link.to_query(&Secret::new("old"));
        assert_eq!(Link::open(&query, &secrets(&["new", "old"]), NOW), Ok(link.clone()));
        assert_eq!(Link::open(&query, &secrets(&["new"]), NOW), Err(LinkError::Forged));
        assert_eq!(Link::open(&query, &[], NOW), Err(LinkError::Forged));
        assert_eq!(Link::open(&query, &secrets(&["old"]), Timestamp(1_999_999)), Ok(link.clone()));
        let expired = Err(LinkError::Expired(Timestamp(2_000_000)));
        assert_eq!(Link::open(&query, &secrets(&["old"]), Timestamp(2_000_000)), expired);
        // What is forged doesn't learn that it would be late as well.
        let forged = query.replace("ref=r", "ref=s");
        assert_eq!(Link::open(&forged, &secrets(&["old"]), Timestamp(2_000_000)), Err(LinkError::Forged));
        let tracked = format!("utm_source=mail&{query}&fbclid=x");
        assert_eq!(Link::open(&tracked, &secrets(&["old"]), NOW), Ok(link));
    }

    #[test]
    fn what_is_not_a_whole_link_is_forged() {
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
        fn a_link_comes_back_and_nothing_else_opens(
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
            // One character changed: another link is not genuine, and another spelling is the same link.
            let at = at.index(query.len());
            let mut changed = query.clone();
            changed.replace_range(at..=at, &to);
            if let Ok(opened) = Link::open(&changed, &secrets, NOW) {
                prop_assert_eq!(opened, link);
            }
        }
    }
}
