//! A batch is accepted if each of its events would be accepted alone and all have one version. Each event then has the
//! bytes of its element.

use serde_json::value::RawValue;
use sluice::event::{self, BatchError, Event};
use sluice::json;

use super::support::trimmed;

pub fn check(data: &[u8]) {
    match event::read_batch(data) {
        Ok(events) => {
            let elements = elements(data).expect("an array");
            assert!(events.iter().map(|event| event.json.get()).eq(elements.iter().map(|element| element.get())));
            for event in &events {
                let alone = event::read_structured(event.json.get().as_bytes()).expect("an event");
                assert_eq!(contents(event), contents(&alone));
                assert_eq!(event.version, events[0].version);
            }
        }
        Err(BatchError::Events(invalid)) => {
            let elements = elements(data).expect("an array");
            let alone: Vec<_> =
                elements.iter().map(|element| event::read_structured(element.get().as_bytes())).collect();
            let version = alone.iter().flatten().next().map(|event| event.version);
            let invalid_alone =
                (0..alone.len()).filter(|at| alone[*at].as_ref().ok().map(|event| event.version) != version);
            let named: Vec<_> = invalid.iter().map(|event| event.index).collect();
            assert_eq!(
                named,
                if version.is_some() { invalid_alone.collect() } else { (0..alone.len()).collect::<Vec<_>>() }
            );
            assert!(!named.is_empty());
        }
        Err(BatchError::NotObject { index, .. }) => {
            let elements = elements(data).expect("an array");
            assert!(json::object(elements[index].get().as_bytes()).is_err());
        }
        Err(BatchError::NotArray { .. }) => assert_ne!(trimmed(data)[0], b'['),
        Err(BatchError::Body(_)) => assert!(json::value(data).is_err()),
    }
}

fn elements(data: &[u8]) -> Option<Vec<&RawValue>> {
    json::elements(json::value(data).ok()?)
}

fn contents<'a>(event: &'a Event<'_>) -> ([&'a str; 3], [Option<&'a str>; 2]) {
    let data = event.data.as_deref().map(|data| data.get());
    ([&event.id, &event.source, &event.kind], [event.subject.as_deref(), data])
}
