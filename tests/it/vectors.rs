//! The CloudEvents conformance feature, run as data (tests/vectors/README.md has its origin).

use gherkin::{Feature, GherkinEnv};
use serde_json::Value;

use crate::fake::{RUN, World, request};

#[test]
fn http_binding_feature_passes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/cloudevents-http-protocol-binding.feature");
    let feature = Feature::parse_path(path, GherkinEnv::default()).unwrap();
    let mut run = 0;
    for scenario in &feature.scenarios {
        for (header, values) in examples(scenario) {
            let fill = |text: &str| text.replace(&format!("<{header}>"), &values);
            let mut world = None;
            for step in &scenario.steps {
                match step.value.as_str() {
                    "an HTTP request" => world = Some(receive(&fill(step.docstring.as_ref().unwrap()))),
                    "parsed as HTTP request" => {}
                    "the attributes are:" => {
                        let event = param(world.as_ref().unwrap(), "event");
                        for row in step.table.as_ref().unwrap().rows.iter().skip(1) {
                            assert_eq!(event[row[0].as_str()], fill(&row[1]), "{}", row[0]);
                        }
                    }
                    "the data is equal to the following JSON:" => {
                        let expected: Value = serde_json::from_str(step.docstring.as_ref().unwrap()).unwrap();
                        assert_eq!(param(world.as_ref().unwrap(), "data"), expected);
                    }
                    unknown => panic!("a step that isn't known: {unknown}"),
                }
            }
            run += 1;
        }
    }
    assert_eq!(run, 4, "two outlines of two examples each");
}

/// The column of an outline's examples: its name and each value.
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
    let world = World::new().answers(200, RUN);
    let reply = world.send(request("POST", "/api/v2/event?ref=w", &headers, body));
    assert_eq!(reply.status(), 200, "{}", reply.text());
    world
}

fn param(world: &World, name: &str) -> Value {
    let body: Value = serde_json::from_str(&world.only_sent().2).unwrap();
    let params = body["params"].as_array().unwrap();
    params.iter().find(|param| param["name"] == name).unwrap()["value"].clone()
}
