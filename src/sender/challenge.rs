//! Senders that ask whether an endpoint is meant to be called, before they call it. Pure: what is asked, and the answer.

use base16ct::lower::encode_string as hex;
use http::HeaderMap;
use serde_json::value::RawValue;

use super::{Preset, form, payload};
use crate::json::{self, JsonType};
use crate::secret::Secret;

/// A question that is answered at once, with 200, and starts nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// Slack's `url_verification` (<https://docs.slack.dev/reference/events/url_verification>).
    Slack {
        /// A JSON string, as it was sent.
        challenge: String,
    },
    /// Slack's `ssl_check`, of the URL of a slash command
    /// (<https://docs.slack.dev/interactivity/implementing-slash-commands>).
    SlackCertificate,
    /// Zoom's `endpoint.url_validation` (<https://developers.zoom.us/docs/api/webhooks/#validate-your-webhook-endpoint>).
    Zoom {
        /// What is to be signed.
        plain: String,
    },
    /// Twitch's `webhook_callback_verification`
    /// (<https://dev.twitch.tv/docs/eventsub/handling-webhook-events/#responding-to-a-challenge-request>).
    Twitch {
        /// What is to be sent back.
        challenge: String,
    },
    /// Event Grid's `SubscriptionValidationEvent`
    /// (<https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema>).
    EventGrid {
        /// A JSON string, as it was sent.
        code: String,
    },
}

/// What is answered, with status 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The answer's `Content-Type`: never one that a browser would run.
    pub content_type: &'static str,
    /// Its body.
    pub body: String,
}

/// The longest challenge: Slack's has 52 characters, Zoom's 22, Twitch's 43.
const MAX_CHALLENGE: usize = 256;

impl Challenge {
    /// The question that a request of this sender asks. `preset` is the sender that is known by headers or by name; Event
    /// Grid has no preset, and is known by its own header.
    pub fn of(preset: Option<&Preset>, headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        match preset.map(|preset| preset.name) {
            Some("slack") if is(body, "/type", "url_verification") => {
                Some(Self::Slack { challenge: token(json::value(body).ok()?, "/challenge")? })
            }
            Some("slack") if form::field(body, "ssl_check").is_some_and(|value| value == "1") => {
                Some(Self::SlackCertificate)
            }
            // What is signed for Zoom must not be what Zoom would have signed, which has colons.
            Some("zoom") if is(body, "/event", "endpoint.url_validation") => {
                payload::text_at(body, "/payload/plainToken")
                    .filter(|plain| {
                        bounded(plain) && plain.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_+/=".contains(&b))
                    })
                    .map(|plain| Self::Zoom { plain })
            }
            Some("twitch") if header("twitch-eventsub-message-type") == Some("webhook_callback_verification") => {
                let challenge = payload::text_at(body, "/challenge").filter(|challenge| bounded(challenge))?;
                Some(Self::Twitch { challenge })
            }
            None if header("aeg-event-type") == Some("SubscriptionValidation") => {
                let events: Vec<&RawValue> = serde_json::from_str(json::value(body).ok()?.get()).ok()?;
                let [event] = events.as_slice() else { return None };
                let validation = "Microsoft.EventGrid.SubscriptionValidationEvent";
                is(event.get().as_bytes(), "/eventType", validation)
                    .then(|| token(event, "/data/validationCode"))?
                    .map(|code| Self::EventGrid { code })
            }
            _ => None,
        }
    }

    /// Is it answered only where the request's signature was verified? Event Grid signs nothing: an access token in the
    /// URL, where one is set, lets it in or not.
    pub fn is_signed(&self) -> bool {
        !matches!(self, Self::EventGrid { .. })
    }

    /// The answer. `secret` is the one that verified the request ([`super::Verified::secret`]); Zoom's answer is made
    /// with it, so that there is none without.
    pub fn answer(&self, secret: Option<&Secret>) -> Option<Answer> {
        let json = |body| Some(Answer { content_type: "application/json", body });
        match self {
            Self::Slack { challenge } => json(format!(r#"{{"challenge":{challenge}}}"#)),
            Self::EventGrid { code } => json(format!(r#"{{"validationResponse":{code}}}"#)),
            Self::SlackCertificate => Some(Answer { content_type: "text/plain", body: String::new() }),
            Self::Twitch { challenge } => Some(Answer { content_type: "text/plain", body: challenge.clone() }),
            // Neither text has a character that JSON would escape.
            Self::Zoom { plain } => {
                let encrypted = hex(&secret?.mac(plain.as_bytes()));
                json(format!(r#"{{"plainToken":"{plain}","encryptedToken":"{encrypted}"}}"#))
            }
        }
    }
}

fn is(body: &[u8], at: &str, text: &str) -> bool {
    payload::text_at(body, at).is_some_and(|found| found == text)
}

/// A JSON string as it was sent.
fn token(value: &RawValue, at: &str) -> Option<String> {
    let found = payload::value_at(value, at)?;
    (json::type_of(found) == JsonType::String && bounded(found.get())).then(|| found.get().to_owned())
}

fn bounded(text: &str) -> bool {
    text.len() <= MAX_CHALLENGE
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(sender: Option<&str>, headers: &[(&'static str, &str)], body: &str) -> Option<(bool, Answer)> {
        let headers = headers.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
        let challenge = Challenge::of(sender.map(|name| Preset::by_name(name).unwrap()), &headers, body.as_bytes())?;
        Some((challenge.is_signed(), challenge.answer(Some(&Secret::new("s3cret"))).unwrap()))
    }

    fn json(body: &str) -> Answer {
        Answer { content_type: "application/json", body: body.to_owned() }
    }

    #[test]
    fn each_is_answered_as_its_sender_asks() {
        let slack = r#"{"token":"Jhj5","challenge":"3eZbrw1aBm2rZ\u0067","type":"url_verification"}"#;
        let slack = answer(Some("slack"), &[], slack);
        assert_eq!(slack, Some((true, json(r#"{"challenge":"3eZbrw1aBm2rZ\u0067"}"#))));

        let check = answer(Some("slack"), &[], "ssl_check=1&token=Jhj5");
        assert_eq!(check, Some((true, Answer { content_type: "text/plain", body: String::new() })));

        let zoom = r#"{"payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"},"event_ts":1654503849680,"event":"endpoint.url_validation"}"#;
        // printf qgg8vlvZRS6UYooatFL8Aw | openssl dgst -sha256 -hmac s3cret
        let encrypted = "f54f2d5fee8f181aab8371bada7fed9bb675eae464f18ed4fb91715244b58ef4";
        let expected = format!(r#"{{"plainToken":"qgg8vlvZRS6UYooatFL8Aw","encryptedToken":"{encrypted}"}}"#);
        assert_eq!(answer(Some("zoom"), &[], zoom), Some((true, json(&expected))));

        let twitch = r#"{"challenge":"pogchamp-kappa-360noscope-vohiyo","subscription":{"status":"webhook_callback_verification_pending"}}"#;
        let headers = [("twitch-eventsub-message-type", "webhook_callback_verification")];
        let expected = Answer { content_type: "text/plain", body: "pogchamp-kappa-360noscope-vohiyo".to_owned() };
        assert_eq!(answer(Some("twitch"), &headers, twitch), Some((true, expected)));

        let grid = r#"[{"id":"2d1781af","data":{"validationCode":"512d38b6"},"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent"}]"#;
        let headers = [("aeg-event-type", "SubscriptionValidation")];
        assert_eq!(answer(None, &headers, grid), Some((false, json(r#"{"validationResponse":"512d38b6"}"#))));
    }

    #[test]
    fn what_asks_nothing_has_no_answer() {
        let slack = r#"{"challenge":"x","type":"url_verification"}"#;
        for (sender, body) in [
            (Some("slack"), r#"{"challenge":"x","type":"event_callback"}"#),
            (Some("slack"), r#"{"challenge":{},"type":"url_verification"}"#),
            (Some("slack"), "payload=x"),
            (Some("slack"), "ssl_check=0"),
            (Some("slack"), r#"{"ssl_check":"1"}"#),
            (Some("github"), "ssl_check=1"),
            (Some("github"), slack),
            (None, slack),
            (Some("twitch"), r#"{"challenge":"x"}"#),
            (
                None,
                r#"[{"data":{"validationCode":"x"},"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent"}]"#,
            ),
        ] {
            assert_eq!(answer(sender, &[], body), None, "{body}");
        }
        let headers = [("aeg-event-type", "SubscriptionValidation")];
        assert_eq!(answer(None, &headers, r#"[{"eventType":"x","data":{"validationCode":"x"}}]"#), None);
        let two = r#"{"data":{"validationCode":"x"},"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent"}"#;
        assert_eq!(answer(None, &headers, &format!("[{two},{two}]")), None);
    }

    /// `v0:<timestamp>:<body>` is what Zoom signs: to sign it for who asks would be to sign anything.
    #[test]
    fn zoom_is_no_oracle() {
        for plain in ["v0:1654503849:{}", "a b", "", "é", &"a".repeat(MAX_CHALLENGE + 1)] {
            let body = serde_json::json!({"event": "endpoint.url_validation", "payload": {"plainToken": plain}});
            assert_eq!(answer(Some("zoom"), &[], &body.to_string()), None, "{plain}");
        }
        let challenge = Challenge::Zoom { plain: "a".to_owned() };
        assert_eq!(challenge.answer(None), None);
    }

    proptest! {
        #[test]
        fn any_body_is_asked_or_not(body in "\\PC{0,60}") {
            let headers: HeaderMap = [
                ("twitch-eventsub-message-type", "webhook_callback_verification"),
                ("aeg-event-type", "SubscriptionValidation"),
            ].into_iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
            for preset in [None, Preset::by_name("slack"), Preset::by_name("zoom"), Preset::by_name("twitch")] {
                let _ = Challenge::of(preset, &headers, body.as_bytes());
            }
        }
    }
}
