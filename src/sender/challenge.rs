//! Challenges: requests by which a sender checks that an endpoint expects its webhooks, and the responses to them.

use base16ct::lower::encode_string as hex;
use http::HeaderMap;
use serde_json::value::RawValue;

use super::{Preset, form, payload};
use crate::json::{self, JsonType};
use crate::secret::Secret;

/// A challenge, with the part of the request that its response depends on. It gets a 200 and starts no run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// Slack's `url_verification` (<https://docs.slack.dev/reference/events/url_verification>).
    Slack {
        /// The JSON string, quotes and escapes included, to be sent back.
        challenge: String,
    },
    /// Slack's `ssl_check` for the URL of a slash command
    /// (<https://docs.slack.dev/interactivity/implementing-slash-commands>).
    SlackCertificate,
    /// Zoom's `endpoint.url_validation`
    /// (<https://developers.zoom.us/docs/api/webhooks/#validate-your-webhook-endpoint>).
    Zoom {
        /// The text to be signed.
        plain_token: String,
    },
    /// Twitch's `webhook_callback_verification`
    /// (<https://dev.twitch.tv/docs/eventsub/handling-webhook-events/#responding-to-a-challenge-request>).
    Twitch {
        /// The text to be sent back.
        challenge: String,
    },
    /// Event Grid's `SubscriptionValidationEvent`
    /// (<https://learn.microsoft.com/azure/event-grid/end-point-validation-event-grid-events-schema>).
    EventGrid {
        /// The JSON string, quotes and escapes included, to be sent back.
        validation_code: String,
    },
}

/// The response to a [`Challenge`]. Its status is always 200.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChallengeResponse {
    /// The `Content-Type`: never a type that a browser would execute.
    pub content_type: &'static str,
    /// The body.
    pub body: String,
}

/// Maximum length of a challenge, in bytes. Slack's has 52 characters, Zoom's 22, Twitch's 43.
const MAX_CHALLENGE: usize = 256;

impl Challenge {
    /// Detects a challenge. `None` for any other request. `preset` is the sender that the headers or `?sender=`
    /// identify. Event Grid has no preset; a header identifies it.
    pub fn detect(preset: Option<&Preset>, headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        match preset.map(|preset| preset.name) {
            Some("slack") if has_text(body, "/type", "url_verification") => {
                Some(Self::Slack { challenge: json_string(json::value(body).ok()?, "/challenge")? })
            }
            Some("slack") if form::field(body, "ssl_check").is_some_and(|value| value == "1") => {
                Some(Self::SlackCertificate)
            }
            Some("zoom") if has_text(body, "/event", "endpoint.url_validation") => {
                let plain_token = payload::text_at(body, "/payload/plainToken")?;
                (is_bounded(&plain_token) && is_safe_to_sign(&plain_token)).then_some(Self::Zoom { plain_token })
            }
            Some("twitch") if header("twitch-eventsub-message-type") == Some("webhook_callback_verification") => {
                let challenge = payload::text_at(body, "/challenge").filter(|challenge| is_bounded(challenge))?;
                Some(Self::Twitch { challenge })
            }
            None if header("aeg-event-type") == Some("SubscriptionValidation") => {
                let events: Vec<&RawValue> = serde_json::from_str(json::value(body).ok()?.get()).ok()?;
                let [event] = events.as_slice() else { return None };
                let event_type = "Microsoft.EventGrid.SubscriptionValidationEvent";
                if !has_text(event.get().as_bytes(), "/eventType", event_type) {
                    return None;
                }
                Some(Self::EventGrid { validation_code: json_string(event, "/data/validationCode")? })
            }
            _ => None,
        }
    }

    /// Returns whether only a request with a verified signature may get the response. Event Grid signs nothing: where
    /// tokens are required, the one in its URL authenticates it.
    pub fn requires_signature(&self) -> bool {
        !matches!(self, Self::EventGrid { .. })
    }

    /// Builds the response. `secret` is the one that verified the request ([`super::Verified::secret_index`]). `None`
    /// for a challenge of Zoom without a secret, since the response to it is signed.
    pub fn response(&self, secret: Option<&Secret>) -> Option<ChallengeResponse> {
        let json = |body| Some(ChallengeResponse { content_type: "application/json", body });
        let text = |body| Some(ChallengeResponse { content_type: "text/plain", body });
        match self {
            Self::Slack { challenge } => json(format!(r#"{{"challenge":{challenge}}}"#)),
            Self::SlackCertificate => text(String::new()),
            // Neither text has a character that JSON would escape.
            Self::Zoom { plain_token } => {
                let encrypted = hex(&secret?.mac(plain_token.as_bytes()));
                json(format!(r#"{{"plainToken":"{plain_token}","encryptedToken":"{encrypted}"}}"#))
            }
            Self::Twitch { challenge } => text(challenge.clone()),
            Self::EventGrid { validation_code } => json(format!(r#"{{"validationResponse":{validation_code}}}"#)),
        }
    }
}

/// Returns whether the body has the expected text at a JSON Pointer.
fn has_text(body: &[u8], pointer: &str, expected: &str) -> bool {
    payload::text_at(body, pointer).is_some_and(|text| text == expected)
}

/// The JSON string at a JSON Pointer, as it was received. `None` if it is too long, or not a string.
fn json_string(value: &RawValue, pointer: &str) -> Option<String> {
    let found = payload::value_at(value, pointer)?;
    (json::type_of(found) == JsonType::String && is_bounded(found.get())).then(|| found.get().to_owned())
}

fn is_bounded(text: &str) -> bool {
    text.len() <= MAX_CHALLENGE
}

/// Returns whether the text can't be the signed message of a webhook from Zoom: such a message contains colons.
fn is_safe_to_sign(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_+/=".contains(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns whether a signature is required, and the response.
    fn answer(sender: Option<&str>, headers: &[(&'static str, &str)], body: &str) -> Option<(bool, ChallengeResponse)> {
        let headers = headers.iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
        let preset = sender.map(|name| Preset::by_name(name).unwrap());
        let challenge = Challenge::detect(preset, &headers, body.as_bytes())?;
        Some((challenge.requires_signature(), challenge.response(Some(&Secret::new("s3cret"))).unwrap()))
    }

    fn json(body: &str) -> ChallengeResponse {
        ChallengeResponse { content_type: "application/json", body: body.to_owned() }
    }

    fn text(body: &str) -> ChallengeResponse {
        ChallengeResponse { content_type: "text/plain", body: body.to_owned() }
    }

    #[test]
    fn challenge_gets_the_response_that_its_sender_documents() {
        let slack = r#"{"token":"Jhj5","challenge":"3eZbrw1aBm2rZ\u0067","type":"url_verification"}"#;
        let slack = answer(Some("slack"), &[], slack);
        assert_eq!(slack, Some((true, json(r#"{"challenge":"3eZbrw1aBm2rZ\u0067"}"#))));

        let check = answer(Some("slack"), &[], "ssl_check=1&token=Jhj5");
        assert_eq!(check, Some((true, text(""))));

        let zoom = r#"{"payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"},"event_ts":1654503849680,"event":"endpoint.url_validation"}"#;
        // printf qgg8vlvZRS6UYooatFL8Aw | openssl dgst -sha256 -hmac s3cret
        let encrypted = "f54f2d5fee8f181aab8371bada7fed9bb675eae464f18ed4fb91715244b58ef4";
        let expected = format!(r#"{{"plainToken":"qgg8vlvZRS6UYooatFL8Aw","encryptedToken":"{encrypted}"}}"#);
        assert_eq!(answer(Some("zoom"), &[], zoom), Some((true, json(&expected))));

        let twitch = r#"{"challenge":"pogchamp-kappa-360noscope-vohiyo","subscription":{"status":"webhook_callback_verification_pending"}}"#;
        let headers = [("twitch-eventsub-message-type", "webhook_callback_verification")];
        assert_eq!(answer(Some("twitch"), &headers, twitch), Some((true, text("pogchamp-kappa-360noscope-vohiyo"))));

        let grid = r#"[{"id":"2d1781af","data":{"validationCode":"512d38b6"},"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent"}]"#;
        let headers = [("aeg-event-type", "SubscriptionValidation")];
        assert_eq!(answer(None, &headers, grid), Some((false, json(r#"{"validationResponse":"512d38b6"}"#))));
    }

    #[test]
    fn request_other_than_a_challenge_gets_no_response() {
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
            assert_eq!(answer(sender, &[], body), None, "{sender:?}: {body}");
        }
        let headers = [("aeg-event-type", "SubscriptionValidation")];
        assert_eq!(answer(None, &headers, r#"[{"eventType":"x","data":{"validationCode":"x"}}]"#), None);
        let two = r#"{"data":{"validationCode":"x"},"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent"}"#;
        assert_eq!(answer(None, &headers, &format!("[{two},{two}]")), None);
    }

    /// Zoom signs `v0:<timestamp>:<body>`. The response to a token of that form would be a valid signature of a forged
    /// webhook.
    #[test]
    fn zoom_response_is_never_the_signature_of_a_webhook() {
        for plain in ["v0:1654503849:{}", "a b", "", "é", &"a".repeat(MAX_CHALLENGE + 1)] {
            let body = serde_json::json!({"event": "endpoint.url_validation", "payload": {"plainToken": plain}});
            assert_eq!(answer(Some("zoom"), &[], &body.to_string()), None, "{plain}");
        }
    }

    #[test]
    fn zoom_response_requires_the_secret() {
        let challenge = Challenge::Zoom { plain_token: "a".to_owned() };
        assert_eq!(challenge.response(None), None);
    }

    proptest! {
        #[test]
        fn detection_does_not_panic(body in "\\PC{0,60}") {
            let headers: HeaderMap = [
                ("twitch-eventsub-message-type", "webhook_callback_verification"),
                ("aeg-event-type", "SubscriptionValidation"),
            ].into_iter().map(|(n, v)| (n.parse().unwrap(), v.parse().unwrap())).collect();
            for preset in [None, Preset::by_name("slack"), Preset::by_name("zoom"), Preset::by_name("twitch")] {
                let _ = Challenge::detect(preset, &headers, body.as_bytes());
            }
        }
    }
}
