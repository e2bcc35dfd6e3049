//! Airflow: the API server with the page, and the scheduler, which runs the tasks itself.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use serde_json::json;
use xtask::shell::command;

use super::{Place, Recipe, Running, Stage, Workflows, free_ports, local};
use crate::up::ready;

/// Signs the tokens of the API server, which is reached from this machine only.
const JWT_SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

pub(super) fn recipe(place: &Place) -> Result<Recipe> {
    let [port, logs] = free_ports()?;
    let url = local(port);
    // Airflow reads the directory of its DAGs again and again, and writes to it.
    let dags = place.data.join("dags");
    fs::create_dir(&dags)?;
    fs::copy(place.workflows.join("airflow_dags.py"), dags.join("airflow_dags.py"))?;
    let passwords = place.data.join("passwords.json");
    fs::write(&passwords, json!({ "admin": "admin" }).to_string())?;
    let airflow = |arguments: &[&str]| {
        let mut airflow = command(place.installed.join("bin/airflow"), []);
        configure(&mut airflow, &place.data, [port, logs]);
        airflow.args(arguments).env("AIRFLOW__CORE__DAGS_FOLDER", &dags);
        airflow.env("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", &passwords);
        airflow
    };
    // Readers of SQLite then don't block a writer. Otherwise, requests fail now and then while tasks run.
    let pragma = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('PRAGMA journal_mode = WAL')";
    let mut wal = command(place.installed.join("bin/python"), ["-c", pragma]);
    wal.arg(place.data.join("home/airflow.db"));
    let version = format!("{url}/api/v2/version");
    let stages = vec![
        Stage::Run(airflow(&["db", "migrate"])),
        Stage::Run(wal),
        Stage::Run(airflow(&["dags", "reserialize"])),
        Stage::start("Airflow's server", airflow(&["api-server"]), move || ready::answers(&version)),
        Stage::start("Airflow's scheduler", airflow(&["scheduler"]), || true),
    ];
    let running = Running {
        title: "Airflow",
        page: (url.clone(), "shows the runs, after a sign-in as admin with the password admin"),
        token: "admin:admin",
        constants: json!({ "ui_url": url }),
        url,
    };
    Ok(Recipe { stages, running, workflows: Workflows::named("record", "wait") })
}

/// Sets the configuration of a command of Airflow. It listens on the ports for the API, and for logs of tasks.
fn configure(airflow: &mut Command, data: &Path, [api, logs]: [u16; 2]) {
    airflow.env("AIRFLOW_HOME", data.join("home")).env("RECORDS", data);
    for (name, value) in [
        ("CORE__DAGS_ARE_PAUSED_AT_CREATION", "False"),
        ("CORE__LOAD_EXAMPLES", "False"),
        ("CORE__EXECUTOR", "LocalExecutor"),
        ("CORE__PARALLELISM", "2"),
        ("CORE__EXECUTION_API_SERVER_URL", &format!("{}/execution/", local(api))),
        ("CORE__SIMPLE_AUTH_MANAGER_USERS", "admin:admin"),
        ("API__HOST", "127.0.0.1"),
        ("API__PORT", &api.to_string()),
        ("API__WORKERS", "1"),
        ("API_AUTH__JWT_SECRET", JWT_SECRET),
        ("LOGGING__WORKER_LOG_SERVER_PORT", &logs.to_string()),
        ("SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME", "0.2"),
        ("USAGE_DATA_COLLECTION__ENABLED", "False"),
    ] {
        airflow.env(format!("AIRFLOW__{name}"), value);
    }
}
