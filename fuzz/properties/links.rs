//! A link opens with the values it was created from until it expires. Forged and modified links don't open.

use std::sync::LazyLock;

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sluice::callback::{Link, LinkError, Status};
use sluice::reference::{RunRef, Topic};
use sluice::secret::Secret;
use sluice::time::Timestamp;

use super::support::lines;

const NOW: Timestamp = Timestamp(1_700_000_000_000);
const SECRET: &str = "nobody guesses this";
/// The signed parameters, in order.
const NAMES: [&str; 6] = ["ref", "topic", "status", "question", "button", "expires"];

static SECRETS: LazyLock<[Secret; 2]> = LazyLock::new(|| ["another one", SECRET].map(Secret::new));

/// The data is `q` and a query in which `$` stands for the right signature, or a link. A link has one byte for the status
/// (`s` or `f`), two for the seconds until it expires, and two for the position of a flipped bit. Lines with run, topic,
/// question and button follow.
pub fn check(data: &[u8]) {
    if let Some(query) = data.strip_prefix(b"q") {
        arbitrary(&String::from_utf8_lossy(query));
    } else if let Some((&[status, seconds @ .., high, low], rest)) = data.split_first_chunk::<5>() {
        let status = if status == b's' { Status::Succeeded } else { Status::Failed };
        let expires = NOW.0.saturating_add_signed(i64::from(i16::from_be_bytes(seconds)) * 1_000);
        let [run, topic, question, button] = lines(rest).map(|line| String::from_utf8_lossy(line).into_owned());
        if let (Ok(run), Ok(topic)) = (RunRef::parse(&run), Topic::parse(&topic)) {
            let link = Link { run, topic, status, question, button, expires: Timestamp(expires) };
            round_trip(&link, u16::from_be_bytes([high, low]));
        }
    }
}

/// A query opens if, and only if, it contains the right signature of its own parameters.
fn arbitrary(query: &str) {
    let query = query.replace('$', &signature_of(query).unwrap_or_default());
    let opened = Link::open(&query, SECRETS.as_slice(), NOW);
    let given: Vec<_> = form_urlencoded::parse(query.as_bytes()).filter(|(name, _)| name == "signature").collect();
    let is_right =
        signature_of(&query).is_some_and(|expected| matches!(given.as_slice(), [(_, given)] if *given == expected));
    match opened {
        Ok(link) => assert!(is_right && link.expires > NOW, "opened without the right signature"),
        Err(LinkError::Expired(at)) => assert!(is_right && at <= NOW),
        Err(LinkError::Forged) => assert!(!is_right, "refused with the right signature"),
    }
}

/// The signature of a query's parameters; `None` if they aren't those of a link.
fn signature_of(query: &str) -> Option<String> {
    let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let mut fields = NAMES.map(|name| {
        let values: Vec<_> = pairs.iter().filter(|(found, _)| found == name).map(|(_, value)| value.clone()).collect();
        (values.len() < 2).then(|| values.concat())
    });
    RunRef::parse(fields[0].as_ref()?).ok()?;
    Topic::parse(fields[1].as_ref()?).ok()?;
    fields[2].as_mut()?.make_ascii_lowercase();
    let seconds: u64 = fields[5].as_ref()?.parse().ok()?;
    fields[5] = Some(seconds.checked_mul(1_000)?.checked_div(1_000)?.to_string());
    if !matches!(fields[2].as_deref(), Some("succeeded" | "failed")) {
        return None;
    }
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(b"22:sluice callback link 1,");
    for field in fields {
        let field = field?;
        mac.update(format!("{}:{field},", field.len()).as_bytes());
    }
    Some(BASE64URL_NOPAD.encode(&mac.finalize().into_bytes()))
}

/// A created link opens with its own values, and with no others.
fn round_trip(link: &Link, at: u16) {
    let query = link.to_query(&SECRETS[1]);
    let signature = signature_of(&query).expect("a link's fields");
    assert!(query.ends_with(&format!("&signature={signature}")), "{query}");
    let open = |query: &str| Link::open(query, SECRETS.as_slice(), NOW);
    assert_eq!(Link::open(&query, &SECRETS[..1], NOW), Err(LinkError::Forged));
    let expired = link.expires <= NOW;
    let expected = if expired { Err(LinkError::Expired(link.expires)) } else { Ok(link.clone()) };
    assert_eq!(open(&query), expected);
    // Parameters added by mail programs are ignored; a repeated parameter is ambiguous.
    assert_eq!(open(&format!("utm_source=a&{query}&b")), expected);
    assert_eq!(open(&format!("{query}&topic=t")), Err(LinkError::Forged));
    let callback = link.callback();
    assert_eq!((&callback.run, &callback.topic, callback.status), (&link.run, &link.topic, link.status));
    assert!(callback.payload.is_none());

    let mut bytes = query.into_bytes();
    let nth = usize::from(at) % (bytes.len() * 8);
    bytes[nth / 8] ^= 1 << (nth % 8);
    // The flipped bit may lead to another encoding of the same link.
    match String::from_utf8(bytes).map(|flipped| open(&flipped)) {
        Ok(opened @ (Ok(_) | Err(LinkError::Expired(_)))) => assert_eq!(opened, expected, "opened with a flipped bit"),
        Ok(Err(LinkError::Forged)) | Err(_) => {}
    }
}
