//! The answer to a sender's question contains what the question contains, no secret, and no signature that the sender
//! would take for one of an event.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::Sha256;
use sluice::json;
use sluice::secret::Secret;
use sluice::sender::{Preset, Sender, SignedRequest};

use super::support::{choose, request};

const SECRET: &str = "s3cret";

/// The first byte selects the sender; the rest is a request.
pub fn check(data: &[u8]) {
    let Some((sender, data)) = data.split_first() else { return };
    let (headers, body) = request(data);
    let name = *choose(&["event-grid", "slack", "zoom", "twitch", "asana", "notion", "discord", "docker-hub"], *sender);
    let sender = Sender::of(Preset::by_name(name).expect("a preset"));
    let request = SignedRequest { method: "POST", headers: &headers, url: "https://gate.example/w", body };
    let Some(question) = sender.question(request) else { return };

    let answer = question.answer(request, &[Secret::new(SECRET)], &[]);
    // Only the answer to Zoom is made with the secret.
    assert_eq!(answer.is_ok() && question.answer(request, &[], &[]).is_err(), answer.is_ok() && name == "zoom");
    let Ok(answer) = answer else { return };
    assert!((200..300).contains(&answer.status));
    assert_eq!(answer.content_type.is_none(), answer.body.is_empty());
    assert!(
        answer.content_type.is_none_or(|it| it == "application/json" || it == "text/plain; charset=utf-8"),
        "{name}"
    );
    assert!(!answer.body.contains(SECRET) || String::from_utf8_lossy(body).contains(SECRET));
    // JSON may have a number beyond `f64`, which `Value` can't hold.
    let Ok(asked) = serde_json::from_slice::<Value>(body) else { return };
    match name {
        "slack" if !answer.body.is_empty() => {
            assert_eq!(asked["type"], "url_verification");
            assert_eq!(members(&answer.body)[0].0, "challenge");
        }
        "zoom" => {
            assert_eq!(asked["event"], "endpoint.url_validation");
            let answered = members(&answer.body);
            let plain = answered.iter().find(|(name, _)| name == "plainToken").unwrap().1.as_str().unwrap().to_owned();
            let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_+/.=".contains(&byte);
            assert!((1..=sluice::sender::MAX_VALUE).contains(&plain.len()) && plain.bytes().all(is_safe), "{plain}");
            let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(SECRET.as_bytes()).unwrap();
            mac.update(plain.as_bytes());
            let mac = data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes());
            assert!(answered.contains(&("encryptedToken".to_owned(), mac.into())));
        }
        "event-grid" => {
            assert_eq!(asked[0]["eventType"], "Microsoft.EventGrid.SubscriptionValidationEvent");
            assert_eq!(members(&answer.body)[0].0, "validationResponse");
        }
        _ => {}
    }
}

/// The members of the response, all of them strings.
fn members(answer: &str) -> Vec<(String, Value)> {
    let answer = json::object(answer.as_bytes()).expect("an object");
    let read =
        |(name, value): (&RawValue, &RawValue)| (json::text(name).unwrap(), Value::String(json::text(value).unwrap()));
    json::members(answer).unwrap().into_iter().map(read).collect()
}
