//! The OpenAPI document lists every route with its methods, every problem and every sender of the code.
//! `tests/interop/test_openapi.py` compares the responses of the running component with the document.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice::api::endpoint::Endpoint;
use sluice::api::problem::{Definition, Kind, TYPE_BASE};
use sluice::sender::{PRESETS, Preset};

use crate::fake::{World, request};

fn document() -> Value {
    World::new().get("/openapi.json").json()
}

/// The methods of a path item.
fn operations(item: &Value) -> BTreeSet<String> {
    let methods = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
    item.as_object()
        .unwrap()
        .keys()
        .filter(|name| methods.contains(&name.as_str()))
        .map(|name| name.to_uppercase())
        .collect()
}

#[on_each_store]
fn every_route_is_in_the_document() {
    let document = document();
    let mut paths = document["paths"].as_object().unwrap().clone();
    // The console's pages are not part of the API.
    for (path, methods) in Endpoint::ALL.iter().filter(|(path, _)| !path.starts_with("/console")) {
        let item = paths.remove(*path).unwrap_or_else(|| panic!("docs/openapi.yaml lacks {path}"));
        let mut documented = operations(&item);
        if documented.contains("GET") {
            // The document describes HEAD once, for all routes with GET.
            documented.insert("HEAD".to_owned());
        }
        // OPTIONS depends on the allowed origins, so the table of routes lacks it.
        let options = documented.remove("OPTIONS");
        let is_for_senders = matches!(*path, "/api/v2/event" | "/api/v2/webhook" | "/api/v2/callback");
        assert_eq!(options, is_for_senders, "{path}");
        let methods: BTreeSet<_> = methods.split(", ").map(str::to_owned).collect();
        assert_eq!(documented, methods, "{path}");
        // The template matches this route, and none before it.
        assert_eq!(Endpoint::of(path).unwrap().template(), *path);
    }
    assert!(paths.is_empty(), "docs/openapi.yaml has unknown paths: {:?}", paths.keys());
}

#[on_each_store]
fn every_problem_is_in_the_document() {
    let document = document();
    // Only the console's forms respond with this problem.
    let kinds: Vec<_> = Kind::ALL.iter().filter(|kind| **kind != Kind::CrossSite).collect();
    let types: Vec<_> = kinds.iter().map(|kind| format!("{TYPE_BASE}{}", kind.definition().slug)).collect();
    assert_eq!(document["components"]["schemas"]["ProblemType"]["enum"], json!(types));
    let responses = document["components"]["responses"].as_object().unwrap();
    for kind in kinds {
        let Definition { slug, status, retry, title } = kind.definition();
        let examples: Vec<_> = responses
            .values()
            .filter_map(|response| response["content"]["application/problem+json"]["examples"].get(slug))
            .map(|example| &example["value"])
            .collect();
        assert!(!examples.is_empty(), "docs/openapi.yaml has no example of {slug}");
        for example in examples {
            assert_eq!(example["type"], format!("{TYPE_BASE}{slug}"));
            assert_eq!((&example["title"], &example["retry"]), (&json!(title), &json!(retry)), "{slug}");
            assert!(slug == "rejected" || example["status"] == status.as_u16(), "{slug}: {example}");
        }
    }
}

#[on_each_store]
fn every_sender_is_in_the_document() {
    let document = document();
    let senders =
        document["components"]["parameters"]["source"]["schema"]["anyOf"][0]["enum"].as_array().unwrap().clone();
    for preset in PRESETS {
        assert!(senders.contains(&json!(preset.name)), "docs/openapi.yaml lacks the sender {}", preset.name);
    }
    for name in senders.iter().map(|name| name.as_str().unwrap()) {
        assert!(Preset::by_name(name).is_some(), "docs/openapi.yaml has an unknown sender {name}");
    }
}

#[on_each_store]
fn document_is_served_with_an_etag() {
    let world = World::new();
    let reply = world.get("/openapi.json");
    assert_eq!((reply.status(), reply.header("content-type")), (200, Some("application/json")));
    assert_eq!(reply.header("cache-control"), Some("no-cache"));
    assert_eq!(reply.json()["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(reply.json()["openapi"], "3.1.0");
    let tag = reply.header("etag").unwrap().to_owned();
    for (known, status) in [
        (tag.clone(), 304),
        (format!("W/{tag}"), 304),
        (format!("\"other\", {tag}"), 304),
        ("*".to_owned(), 304),
        ("\"other\"".to_owned(), 200),
        (tag.trim_matches('"').to_owned(), 200),
    ] {
        let again = world.send(request("GET", "/openapi.json", &[("if-none-match", &known)], ""));
        assert_eq!((again.status(), again.text().is_empty()), (status, status == 304), "{known}");
        assert_eq!(again.header("etag"), Some(&*tag));
    }
    let head = world.send(request("HEAD", "/openapi.json", &[], ""));
    assert_eq!((head.status(), head.text(), head.header("etag")), (200, "", Some(&*tag)));
    world.assert_untouched();
}
