//! What a callback names comes back from the query in either spelling; whatever else is read is within the limits.

use sluice::api::query::Query;
use sluice::reference::{MAX_REFERENCE, MAX_TOPIC, RunRef, Topic};

use super::support::lines;

const NAMES: [&str; 3] = ["ref", "topic", "status"];

pub fn law(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    any(text);
    let values = lines::<3>(data).map(|line| std::str::from_utf8(line).unwrap_or_default());
    written(values);
}

/// Any query is read or refused.
fn any(text: &str) {
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
    for name in NAMES {
        let all: Vec<_> = form_urlencoded::parse(text.as_bytes()).filter(|(had, _)| had == name).collect();
        match query.one(name) {
            // Two readers could see two.
            Err(_) => assert!(all.len() != 1 || !text.contains('&')),
            Ok(value) if text.contains('&') || !text.contains(',') => {
                assert_eq!(value, all.first().map(|(_, value)| value.as_ref()));
                assert!(all.len() < 2);
            }
            Ok(_) => {}
        }
    }
}

/// What is written is read.
fn written(values: [&str; 3]) {
    let pairs = || NAMES.into_iter().zip(values);
    let plain = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs()).finish();
    let turned = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs().rev()).finish();
    // Commas within a value may stay.
    let encode = |value: &str| form_urlencoded::byte_serialize(value.as_bytes()).collect::<String>();
    let commas: Vec<_> = pairs().map(|(name, value)| format!("{name}={}", encode(value).replace("%2C", ","))).collect();
    for query in [plain, turned, commas.join(",")] {
        let read = Query::parse_callback(Some(&query)).expect("a query");
        for (name, value) in pairs() {
            assert_eq!(read.one(name).ok(), Some(Some(value)), "{query}");
        }
        assert_eq!(read.run().ok(), RunRef::parse(values[0]).ok(), "{query}");
        assert_eq!(read.topic().ok(), Topic::parse(values[1]).ok(), "{query}");
    }
}
