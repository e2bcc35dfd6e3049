//! `sources` and `settings`: each error has its place, a source with an error admits nobody, and a request without a
//! proof gets no authority.

use http::HeaderMap;
use sluice::config::{Document, members};
use sluice::source::{Authority, Clues, Proof, Sources};

/// Not a token of any source: it contains a blank.
const NO_TOKEN: &str = "no token";

pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(settings) = Document::parse(text) {
        let errors = settings.errors();
        assert!(errors.iter().all(|error| !error.rule.is_empty()));
        // Without an error, each member has its value or its default.
        assert!(!errors.is_empty() || settings.get(&members::OPEN).is_ok());
    }
    let Ok(sources) = Sources::parse(text, Vec::new()) else { return };
    let stopped: Vec<_> = sources.stopped().into_iter().map(|stopped| (stopped.at, stopped.error.pointer)).collect();
    for (at, pointer) in &stopped {
        assert!(pointer.strip_prefix(&format!("/{at}")).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    }
    let headers = HeaderMap::new();
    let found = sources.find(Clues { source: None, headers: &headers, tokens: &[NO_TOKEN] });
    for candidate in found.expect("no name is given").candidates {
        match (candidate.authority, candidate.proof) {
            (Authority::Open, _) => assert!(sources.is_open()),
            (Authority::Source(source, _), Proof::Signature(_)) => {
                assert!(stopped.iter().all(|(at, _)| *at != source.at()));
            }
            (authority, proof) => panic!("{authority:?} by {proof:?}"),
        }
    }
}
