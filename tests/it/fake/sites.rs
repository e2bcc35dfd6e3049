//! Sites besides the engine, which publish keys.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use http::{Request, Response, Uri};
use sluice::ports::{Clock, Timeouts};

use super::{EngineResult, World};

/// The sites that requests beyond the engine's go to. A host that has no page belongs to the engine, which refuses
/// routes that it doesn't know.
#[derive(Default)]
pub struct Sites {
    pages: RefCell<BTreeMap<String, EngineResult>>,
    /// The URLs that were fetched since the last [`Sites::take_fetches`], with the time limits.
    fetches: RefCell<Vec<(String, Timeouts)>>,
    /// Milliseconds until a site answers.
    pub latency: Cell<u64>,
}

impl Sites {
    /// Sets what the site of a URL answers.
    pub fn set(&self, url: &str, result: EngineResult) {
        self.pages.borrow_mut().insert(url.to_owned(), result);
    }

    /// Sets a page, with headers.
    pub fn publish(&self, url: &str, headers: &[(&str, &str)], body: &str) {
        let mut response = Response::builder();
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        self.set(url, Ok(response.body(body.as_bytes().to_vec()).unwrap()));
    }

    /// The URLs that were fetched since the last call.
    pub fn take_fetches(&self) -> Vec<String> {
        self.fetches.borrow_mut().drain(..).map(|(url, _)| url).collect()
    }

    /// The time limits of the last fetch.
    pub fn last_timeouts(&self) -> Timeouts {
        self.fetches.borrow().last().expect("a fetch").1
    }

    fn has_host(&self, uri: &Uri) -> bool {
        let authority = |url: &String| url.parse::<Uri>().unwrap().authority().cloned();
        self.pages.borrow().keys().any(|url| authority(url).as_ref() == uri.authority())
    }
}

impl World {
    /// The answer of a site; `None` for a request to the engine.
    pub(super) async fn send_to_site(&self, request: &Request<Vec<u8>>, timeouts: Timeouts) -> Option<EngineResult> {
        if !self.sites.has_host(request.uri()) {
            return None;
        }
        assert_eq!((request.method().as_str(), request.body().len()), ("GET", 0));
        let url = request.uri().to_string();
        self.sites.fetches.borrow_mut().push((url.clone(), timeouts));
        self.sleep(Duration::from_millis(self.sites.latency.get())).await;
        let page = self.sites.pages.borrow().get(&url).cloned();
        Some(page.unwrap_or_else(|| super::answer(404, "")))
    }
}
