//! The conformance feature of CloudEvents, run as data. tests/vectors/README.md has its origin.

use gherkin::{Feature, GherkinEnv};
use serde_json::Value;

use crate::fake::{EVENT_URI, RUN, World, request, row};

#[on_each_store]
fn http_binding_feature_passes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/cloudevents-http-protocol-binding.feature");
    let feature = Feature::parse_path(path, GherkinEnv::default()).unwrap();
    let mut run = 0;
    for scenario in &feature.scenarios {
        for (placeholder, value) in examples(scenario) {
            let _row = row(format!("{} with {value}", scenario.name));
            let fill = |text: &str| text.replace(&format!("<{placeholder}>"), &value);
            let mut world = None;
            for step in &scenario.steps {
                match step.value.as_str() {
                    "an HTTP request" => world = Some(receive(&fill(step.docstring.as_ref().unwrap()))),
                    "parsed as HTTP request" => {}
                    "the attributes are:" => {
                        let event = world.as_ref().unwrap().engine.only_request().param("event");
                        for row in step.table.as_ref().unwrap().rows.iter().skip(1) {
                            assert_eq!(event[row[0].as_str()], fill(&row[1]), "{}", row[0]);
                        }
                    }
                    "the data is equal to the following JSON:" => {
                        let expected: Value = serde_json::from_str(step.docstring.as_ref().unwrap()).unwrap();
                        assert_eq!(world.as_ref().unwrap().engine.only_request().param("data"), expected);
                    }
                    unknown => panic!("unknown step: {unknown}"),
                }
            }
            run += 1;
        }
    }
    assert_eq!(run, 4, "two outlines of two examples each");
}

/// The examples of an outline: its placeholder with each value.
fn examples(scenario: &gherkin::Scenario) -> Vec<(String, String)> {
    let table = scenario.examples[0].table.as_ref().unwrap();
    table.rows[1..].iter().map(|row| (table.rows[0][0].clone(), row[0].clone())).collect()
}

fn receive(text: &str) -> World {
    let text = text.trim_start();
    let (head, body) = text.split_once("\n\n").unwrap();
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("POST /someresource HTTP/1.1"));
    let headers: Vec<_> = lines.map(|line| line.split_once(": ").unwrap()).collect();
    let world = World::new().respond(200, RUN);
    let reply = world.send(request("POST", EVENT_URI, &headers, body));
    assert_eq!(reply.status(), 200, "{}", reply.text());
    world
}
