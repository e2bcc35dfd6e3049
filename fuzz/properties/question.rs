//! The answer to a sender's question contains what was asked for, and no answer is a signature that a sender would make.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use sluice::secret::Secret;
use sluice::sender::{Preset, Sender, SignedRequest};

use super::support::{choose, request};

const SECRET: &str = "s3cret";
const SENDERS: [&str; 5] = ["event-grid", "slack", "zoom", "twitch", "github"];

/// The first byte selects the sender; the rest is a request.
pub fn check(data: &[u8]) {
    let Some((sender, data)) = data.split_first() else { return };
    let (headers, body) = request(data);
    let name = *choose(&SENDERS, *sender);
    let sender = Sender::of(Preset::by_name(name).expect("a preset"));
    let request = SignedRequest { method: "POST", headers: &headers, url: "https://a.example/api/v2/webhook", body };
    let Some(question) = sender.question(request) else { return };

    assert_ne!(name, "github", "it asks nothing by POST");
    let Ok(reply) = question.answer(request, &[Secret::new(SECRET)], &[]) else { return };
    assert!((200..=299).contains(&reply.status));
    let kinds = ["application/json", "text/plain; charset=utf-8"];
    assert!(reply.content_type.is_none_or(|kind| kinds.contains(&kind)), "{:?}", reply.content_type);
    assert!(!reply.body.contains(SECRET) || String::from_utf8_lossy(body).contains(SECRET));
    // Only the answer to Zoom is made with the secret.
    assert_eq!(question.answer(request, &[], &[]).is_err(), name == "zoom");
    // JSON may have a number beyond `f64`, which `Value` can't hold.
    let Ok(asked) = serde_json::from_slice::<Value>(body) else { return };
    match name {
        "event-grid" => {
            assert!(headers.get("aeg-event-type").is_some_and(|kind| kind == "SubscriptionValidation"));
            assert_eq!(asked[0]["eventType"], "Microsoft.EventGrid.SubscriptionValidationEvent");
        }
        "zoom" => {
            assert!(question.signed);
            assert_eq!(asked["event"], "endpoint.url_validation");
            let answer: Value = serde_json::from_str(&reply.body).expect("JSON");
            let plain = answer["plainToken"].as_str().expect("a text");
            // Zoom signs `v0:TIME:BODY`.
            assert!(!plain.contains([':', '{', '&', '"']), "{plain}");
            let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(SECRET.as_bytes()).unwrap();
            mac.update(plain.as_bytes());
            assert_eq!(answer["encryptedToken"], data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes()));
        }
        "twitch" => {
            assert!(question.signed);
            let kind = headers.get("twitch-eventsub-message-type");
            assert!(kind.is_some_and(|kind| kind == "webhook_callback_verification"));
            assert!(asked["challenge"] == reply.body.as_str() || !asked["challenge"].is_string());
        }
        _ => {}
    }
}
