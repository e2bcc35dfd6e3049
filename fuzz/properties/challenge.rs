//! The response to a sender's challenge contains the challenge, and no response is a signature that a sender would make.

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::Sha256;
use sluice::json;
use sluice::secret::Secret;
use sluice::sender::{Challenge, Preset};

use super::support::{choose, request};

const SECRET: &str = "s3cret";

/// The first byte selects the sender; the rest is a request.
pub fn check(data: &[u8]) {
    let Some((sender, data)) = data.split_first() else { return };
    let (headers, body) = request(data);
    let sender = choose(&[None, Some("slack"), Some("zoom"), Some("twitch"), Some("github")], *sender);
    let preset = sender.map(|name| Preset::by_name(name).expect("a preset"));
    let Some(challenge) = Challenge::detect(preset, &headers, body) else { return };

    let secret = Secret::new(SECRET);
    let answer = challenge.response(Some(&secret)).expect("an answer");
    assert!(matches!(answer.content_type, "application/json" | "text/plain"));
    assert_eq!(challenge.requires_signature(), sender.is_some());
    // Only the response to Zoom is made with the secret.
    assert_eq!(challenge.response(None).is_none(), *sender == Some("zoom"));
    assert!(!answer.body.contains(SECRET) || String::from_utf8_lossy(body).contains(SECRET));
    if challenge == Challenge::SlackCertificate {
        let mut fields = form_urlencoded::parse(body);
        assert_eq!(fields.find(|(name, _)| name == "ssl_check").map(|(_, value)| value).as_deref(), Some("1"));
        assert_eq!((*sender, answer.body.as_str()), (Some("slack"), ""));
        return;
    }
    let asked: Result<Value, _> = serde_json::from_slice(body);
    // JSON may have a number beyond `f64`, which `Value` can't hold.
    let Ok(asked) = asked else { return };

    match challenge {
        Challenge::SlackCertificate => {}
        Challenge::Slack { .. } => {
            assert_eq!(asked["type"], "url_verification");
            assert_eq!(members(&answer.body), [("challenge".to_owned(), asked["challenge"].clone())]);
        }
        Challenge::Zoom { plain_token: plain } => {
            assert_eq!(asked["event"], "endpoint.url_validation");
            let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+/=".contains(&byte);
            assert!((1..=256).contains(&plain.len()) && plain.bytes().all(is_safe), "{plain}");
            let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(SECRET.as_bytes()).unwrap();
            mac.update(plain.as_bytes());
            let mac = data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes());
            let expected = [("plainToken".to_owned(), plain.into()), ("encryptedToken".to_owned(), mac.into())];
            assert_eq!(members(&answer.body), expected);
        }
        Challenge::Twitch { challenge } => {
            assert!(has(&headers, "twitch-eventsub-message-type", "webhook_callback_verification"));
            assert_eq!((answer.content_type, &answer.body), ("text/plain", &challenge));
            assert!(asked["challenge"] == challenge.as_str() || !asked["challenge"].is_string());
        }
        Challenge::EventGrid { .. } => {
            assert!(has(&headers, "aeg-event-type", "SubscriptionValidation"));
            assert_eq!(asked.as_array().map(Vec::len), Some(1));
            assert_eq!(asked[0]["eventType"], "Microsoft.EventGrid.SubscriptionValidationEvent");
            let code = asked[0]["data"]["validationCode"].clone();
            assert_eq!(members(&answer.body), [("validationResponse".to_owned(), code)]);
        }
    }
}

fn has(headers: &HeaderMap, name: &str, value: &str) -> bool {
    headers.get(name).is_some_and(|found| found == value)
}

/// The members of the response, all of them strings.
fn members(answer: &str) -> Vec<(String, Value)> {
    let answer = json::object(answer.as_bytes()).expect("an object");
    let read =
        |(name, value): (&RawValue, &RawValue)| (json::text(name).unwrap(), Value::String(json::text(value).unwrap()));
    json::members(answer).unwrap().into_iter().map(read).collect()
}
