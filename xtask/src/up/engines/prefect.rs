//! Prefect: the server with the page, and a process that serves the deployments of two flows.

use anyhow::Result;
use serde_json::json;
use xtask::shell::command;

use super::{Place, Recipe, Running, Stage, Workflows, free_ports, local};
use crate::up::ready;

pub(super) fn recipe(place: &Place) -> Result<Recipe> {
    let [port] = free_ports()?;
    let url = local(port);
    let api = format!("{url}/api");
    let prefect = |program: &str| {
        let mut prefect = command(place.installed.join("bin").join(program), []);
        prefect.env("PREFECT_HOME", place.data.join("home")).env("PREFECT_API_URL", &api).env("RECORDS", &place.data);
        prefect.env("PREFECT_SERVER_ANALYTICS_ENABLED", "false").env("DO_NOT_TRACK", "1");
        prefect
    };
    let mut server = prefect("prefect");
    server.args(["server", "start", "--host", "127.0.0.1", "--port", &port.to_string()]);
    let mut worker = prefect("python");
    worker.arg(place.workflows.join("prefect_flows.py"));
    let health = format!("{api}/health");
    let stages = vec![
        Stage::start("Prefect's server", server, move || ready::answers(&health)),
        Stage::start("Prefect's flows", worker, || true),
    ];
    // A deployment is named by its id, which the server makes.
    let deployment = move |flow: &str| {
        let shown = ready::get_json(&format!("{api}/deployments/name/{flow}/tests"))?;
        let is_served = shown.get("status")?.as_str()? == "READY";
        is_served.then(|| shown.get("id")?.as_str().map(str::to_owned)).flatten()
    };
    let workflows = move || Some(Workflows { records: deployment("record")?, waits: deployment("wait")? });
    let running = Running {
        title: "Prefect",
        page: (url.clone(), "shows the runs"),
        token: "",
        constants: json!({ "ui_url": url }),
        url,
    };
    Ok(Recipe { stages, running, workflows: Box::new(workflows) })
}
