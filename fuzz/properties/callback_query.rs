//! The values of a callback are read from either form of its query, and any values that are read are within the limits.
//! A query that says `failed` in the place of a status never succeeds.

use sluice::api::query::Query;
use sluice::callback::Status;
use sluice::reference::{MAX_REFERENCE, MAX_TOPIC, RunRef, Topic};

use super::support::lines;

const NAMES: [&str; 3] = ["ref", "topic", "status"];
/// The other names of parameters. `failed` may be the value of one of these.
const OTHERS: [&str; 5] = ["ref", "workflowrun", "topic", "access_token", "sender"];

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    arbitrary(text);
    let values = lines::<3>(data).map(|line| std::str::from_utf8(line).unwrap_or_default());
    round_trip(values);
}

/// An arbitrary query is read within the limits, or refused.
fn arbitrary(text: &str) {
    let Ok(query) = Query::parse_callback(Some(text)) else { return };
    if let Ok(run) = query.run() {
        let run = run.as_str();
        assert!((1..=MAX_REFERENCE).contains(&run.len()) && run != "." && run != "..", "{run:?}");
        assert!(!run.contains(|c: char| c.is_control() || "/\\?#%;".contains(c)), "{run:?}");
    }
    if let Ok(topic) = query.topic() {
        assert!((1..=MAX_TOPIC).contains(&topic.as_str().len()));
        assert!(!topic.as_str().contains(char::is_control));
    }
    if matches!(query.status(), Ok(Status::Succeeded)) {
        assert!(!text.to_ascii_lowercase().contains("status=failed"), "{text}");
        for (name, value) in form_urlencoded::parse(text.as_bytes()) {
            assert!(OTHERS.contains(&&*name) || !value.eq_ignore_ascii_case("failed"), "{text}");
        }
    }
    for name in NAMES {
        let all: Vec<_> = form_urlencoded::parse(text.as_bytes()).filter(|(read, _)| read == name).collect();
        match query.one(name) {
            // A repeated parameter is refused: another reader might use the other one.
            Err(_) => assert!(all.len() != 1 || !text.contains('&')),
            Ok(value) if text.contains('&') || !text.contains(',') => {
                assert_eq!(value, all.first().map(|(_, value)| value.as_ref()));
                assert!(all.len() < 2);
            }
            Ok(_) => {}
        }
    }
}

/// A query with these values reads back as the same values.
fn round_trip(values: [&str; 3]) {
    let pairs = || NAMES.into_iter().zip(values);
    let plain = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs()).finish();
    let reversed = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs().rev()).finish();
    // Commas within a value need no encoding.
    let encode = |value: &str| form_urlencoded::byte_serialize(value.as_bytes()).collect::<String>();
    let commas: Vec<_> = pairs().map(|(name, value)| format!("{name}={}", encode(value).replace("%2C", ","))).collect();
    for query in [plain, reversed, commas.join(",")] {
        let read = Query::parse_callback(Some(&query)).expect("a query");
        for (name, value) in pairs() {
            assert_eq!(read.one(name).ok(), Some(Some(value)), "{query}");
        }
        assert_eq!(read.run().ok(), RunRef::parse(values[0]).ok(), "{query}");
        assert_eq!(read.topic().ok(), Topic::parse(values[1]).ok(), "{query}");
        if let Ok(status) = read.status() {
            assert_eq!(Some(status), Status::parse(values[2]), "{query}");
        }
    }
}
