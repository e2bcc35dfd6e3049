//! Restate: its server, and workflows by the SDK for Node.

use anyhow::{Result, bail};
use serde_json::{Value, json};
use xtask::shell::command;

use super::{Place, Recipe, Running, Stage, Workflows, free_ports, local};
use crate::up::ready;

pub(super) fn recipe(place: &Place) -> Result<Recipe> {
    let [ingress, admin, node, service] = free_ports()?;
    let [admin_url, service_url] = [admin, service].map(local);
    let mut worker = command("node", []);
    worker.arg(place.workflows.join("restate.mjs")).env("PORT", service.to_string()).env("RESTATE_LOGGING", "WARN");
    // The workflows look for their packages there.
    worker.current_dir(&place.installed);
    // The program itself, which npm's script wouldn't pass a signal to.
    let machine = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => bail!("@restatedev/restate-server has no program for {other}"),
    };
    let system = if cfg!(target_os = "macos") { "darwin" } else { "linux" };
    let package = format!("node_modules/@restatedev/restate-server-{system}-{machine}");
    let mut server =
        command(place.installed.join(package).join("bin/restate-server"), ["--no-logo", "--node-name", "up"]);
    server.arg("--base-dir").arg(place.data.join("restate"));
    for (name, port) in [("INGRESS__BIND", ingress), ("ADMIN__BIND", admin), ("BIND", node)] {
        server.env(format!("RESTATE_{name}_ADDRESS"), format!("127.0.0.1:{port}"));
    }
    server.env("RESTATE_DISABLE_TELEMETRY", "true").env("RESTATE_LISTEN_MODE", "tcp").env("RUST_LOG", "warn");
    server.env("RESTATE_DEFAULT_NUM_PARTITIONS", "2");

    let health = format!("{}/restate/health", local(ingress));
    let (deployments, query) = (format!("{admin_url}/deployments"), format!("{admin_url}/query"));
    // A table can be read once the partitions have a leader. Only then invocations are taken.
    let is_leading = move || ready::accepts(&query, &json!({ "query": "SELECT id FROM sys_invocation" }));
    let is_registered = move || {
        let knows = |health: Value| Some(health.get("services")?.as_array()?.contains(&"approver".into()));
        // A deployment that is registered again stays the same.
        ready::get_json(&health).and_then(knows) == Some(true) || {
            ready::accepts(&deployments, &json!({ "uri": service_url }));
            false
        }
    };
    let stages = vec![
        Stage::start("Restate's server", server, is_leading),
        Stage::start("Restate's workflows", worker, is_registered),
    ];
    let running = Running {
        title: "Restate",
        url: local(ingress),
        page: (format!("{admin_url}/ui"), "shows the runs"),
        token: "",
        constants: json!({ "ui_url": admin_url }),
    };
    Ok(Recipe { stages, running, workflows: Workflows::named("recorder", "approver") })
}
