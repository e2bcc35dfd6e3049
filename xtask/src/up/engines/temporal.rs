//! Temporal: its development server with the HTTP API and the page, and a worker by the SDK for Python.

use anyhow::Result;
use serde_json::json;
use xtask::shell::command;

use super::{Place, Recipe, Running, Stage, Workflows, free_ports, local};
use crate::up::ready;

/// The task queue of the worker.
const QUEUE: &str = "sluice";

pub(super) fn recipe(place: &Place) -> Result<Recipe> {
    let [grpc, http, page, metrics] = free_ports()?;
    let api = format!("{}/api/v1/namespaces/default", local(http));
    let mut server = command(place.installed.join("bin/temporal"), ["server", "start-dev", "--ip", "127.0.0.1"]);
    for (option, port) in [("--port", grpc), ("--http-port", http), ("--ui-port", page), ("--metrics-port", metrics)] {
        server.arg(option).arg(port.to_string());
    }
    server.args(["--log-level", "error", "--db-filename"]).arg(place.data.join("temporal.db"));
    let mut worker = command(place.installed.join("bin/python"), []);
    worker.arg(place.workflows.join("temporal_worker.py")).args([&format!("127.0.0.1:{grpc}"), QUEUE]);
    let queue = format!("{api}/task-queues/{QUEUE}");
    let is_polled = move || ready::get_json(&queue).is_some_and(|queue| queue.get("pollers").is_some());
    let stages = vec![
        Stage::start("Temporal's server", server, move || ready::answers(&api)),
        Stage::start("Temporal's worker", worker, is_polled),
    ];
    let running = Running {
        title: "Temporal",
        url: local(http),
        page: (local(page), "shows the runs"),
        token: "",
        constants: json!({ "task_queue": QUEUE, "ui_url": local(page) }),
    };
    Ok(Recipe { stages, running, workflows: Workflows::named("Record", "Wait") })
}
