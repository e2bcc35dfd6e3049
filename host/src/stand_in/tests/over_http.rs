//! The recorded exchanges, replayed through the server by the model's own tests.
#![allow(unreachable_pub, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "../../../engine/tests/it/recordings/mod.rs"]
mod recordings;

#[path = "../../../engine/tests/it/support.rs"]
#[allow(dead_code, reason = "it has a site, too")]
mod pure;

/// In place of `support` in the model's tests: a model behind HTTP, with a clock.
mod support {
    use std::slice::Iter;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use hyper::{Request, Response};
    use hyper_util::client::legacy::Client;
    use hyper_util::client::legacy::connect::HttpConnector;
    use hyper_util::rt::TokioExecutor;
    use tokio::runtime::Runtime;

    use crate::stand_in::model::{Catalogue, NoAnswer, Record, Settings, Step};
    use crate::stand_in::site::Clock;
    use crate::stand_in::{Builder, StandIn};

    pub use super::pure::{Answer, NAPLIT, SHELL, START, WAITS, request};

    pub struct Site {
        pub model: Remote,
        pub now: u64,
        clock: Arc<AtomicU64>,
        runtime: Runtime,
        client: Client<HttpConnector, Full<Bytes>>,
    }

    /// What the tests ask of the model itself.
    pub struct Remote {
        stand_in: StandIn,
        catalogue: Catalogue,
        runs: Vec<Record>,
    }

    impl Remote {
        pub fn catalogue(&mut self) -> &mut Catalogue {
            &mut self.catalogue
        }

        pub fn die_at(&self, step: Step) {
            self.stand_in.die_at(step);
        }

        pub fn restart(&self) {
            self.stand_in.restart();
        }

        pub fn runs(&self) -> Iter<'_, Record> {
            self.runs.iter()
        }

        pub fn next_event_at(&self) -> Option<u64> {
            self.stand_in.state.lock().site.next_work_at()
        }
    }

    impl Site {
        pub fn new(settings: Settings) -> Site {
            let clock = Arc::new(AtomicU64::new(START));
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
            let builder = Builder { clock: Clock::Manual(clock.clone()), ..StandIn::builder().settings(settings) };
            let stand_in = runtime.block_on(builder.start()).unwrap();
            let client = Client::builder(TokioExecutor::new()).build_http();
            let model = Remote { stand_in, catalogue: Catalogue::recorded(), runs: Vec::new() };
            Site { model, now: START, clock, runtime, client }
        }

        pub fn pass(&mut self, ms: u64) -> &mut Site {
            self.now += ms;
            self.clock.store(self.now, Ordering::SeqCst);
            self.model.runs = self.model.stand_in.runs();
            self
        }

        pub fn try_send(&mut self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, NoAnswer> {
            let (mut head, body) = request.into_parts();
            head.uri = format!("{}{}", self.model.stand_in.url(), head.uri).parse().unwrap();
            let request = Request::from_parts(head, Full::from(body));
            let response = self.runtime.block_on(async {
                let (head, body) = self.client.request(request).await.map_err(|_| NoAnswer::Cut)?.into_parts();
                let body = body.collect().await.map_err(|_| NoAnswer::Cut)?.to_bytes();
                Ok(Response::from_parts(head, body.to_vec()))
            });
            self.pass(0);
            response
        }

        pub fn send(&mut self, method: &str, uri: &str, body: Option<&str>) -> Answer {
            Answer(self.try_send(request(method, uri, body)).unwrap())
        }

        pub fn event(&mut self, run: &str, body: &str) -> Answer {
            self.send("PUT", &format!("/api/v1/workflowrun/{run}/event"), Some(body))
        }
    }
}
