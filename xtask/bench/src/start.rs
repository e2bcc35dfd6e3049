//! Size of the component, memory per request, and time to the first response.

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Plan;
use super::goal::{Goal, Threshold};
use super::lab::{Application, Lab, silent_engine};
use super::process::Process;
use super::report::{Section, Table};
use super::rows::Body;
use super::stats::Spread;

/// Number of concurrent requests in the memory measurement.
const CONCURRENT: usize = 64;
/// Number of measured starts, with and without compilation.
const STARTS: usize = 5;
/// The applications, each with its name in the table and its Wasm file.
const WASM: [(Application, &str, &str); 2] = [
    (Application::Limit, "`bare`", "target/limit/wasm32-wasip1/release/limit.wasm"),
    (Application::Sluice, "Sluice", "target/wasm32-wasip1/release/sluice.wasm"),
];

pub(super) fn measure(lab: &Lab, plan: &Plan) -> Result<Section> {
    let mut section = Section::new("Size, memory, start");
    let headers = ["", "wasm, KB (1000 bytes)", "memory per request, KB"];
    let starts = ["first response, ms", "the same with compilation, ms"];
    let mut table = Table::new("", &[&headers[..], &starts[..]].concat());
    let rounds = if plan.quick { 2 } else { STARTS };
    let mut times = WASM.map(|_| (Vec::new(), Vec::new()));
    for _ in 0..rounds {
        for ((application, ..), (warm, cold)) in WASM.iter().zip(&mut times) {
            let cache = lab.cache();
            if cache.exists() {
                fs::remove_dir_all(&cache)?;
            }
            cold.push(first_response(lab, *application)?);
            warm.push(first_response(lab, *application)?);
        }
    }
    for ((application, name, file), (warm, cold)) in WASM.iter().zip(times) {
        let size = fs::metadata(file).with_context(|| format!("no {file}"))?.len() as f64 / 1e3;
        let memory = memory(lab, *application)?;
        let milliseconds = |times: Vec<f64>| format!("{:.0}", Spread::of(times));
        let (warm, cold) = (milliseconds(warm), milliseconds(cold));
        table.rows.push(vec![(*name).to_owned(), format!("{size:.0}"), format!("{memory:.0}"), warm, cold]);
        if *application == Application::Sluice {
            section.goals.push(Goal::new("size of the component, KB", Threshold::AtMost(600.0), Some(size)));
        }
    }
    section.tables.push(table);
    Ok(section)
}

/// Milliseconds from the start of the process to the first 2xx response.
fn first_response(lab: &Lab, application: Application) -> Result<f64> {
    let state = lab.directory.join("start");
    let (command, url) = lab.command(application, &state, lab.engine(), &[])?;
    let start = Instant::now();
    let mut process = Process::start(&command, &lab.directory.join("start.log"))?;
    Ok(application.wait_until_ready(&mut process, &url, start)?.as_secs_f64() * 1e3)
}

/// Memory per request in KB, while many requests wait for a silent engine.
fn memory(lab: &Lab, application: Application) -> Result<f64> {
    let (engine, url) = silent_engine()?;
    let long_waits = [("settings", r#"{"engine_wait_ms":600000,"engine_timeout_ms":600000}"#)];
    let mut variables = vec![("engine_url", url.as_str())];
    let path = match application {
        Application::Limit | Application::LimitLinked => "/bare",
        Application::Sluice => {
            variables.extend(long_waits);
            "/api/v2/webhook?ref=w"
        }
    };
    let target = lab.start(application, "memory", &variables)?;
    let idle = resident(target.process.id())?;
    let body = Body::Webhook1.content();
    let host = target.url.trim_start_matches("http://");
    // Dropping a connection would end its request.
    let mut connections = Vec::new();
    for _ in 0..CONCURRENT {
        let mut sender = TcpStream::connect(host)?;
        let length = body.len();
        write!(sender, "POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n")?;
        write!(sender, "content-length: {length}\r\n\r\n{body}")?;
        // The engine's connection shows that the request is being processed.
        connections.push((sender, accept(&engine)?));
    }
    let busy = resident(target.process.id())?;
    Ok((busy - idle) / CONCURRENT as f64 / 1e3)
}

/// Accepts a connection; an error if there is none within ten seconds.
fn accept(engine: &TcpListener) -> Result<TcpStream> {
    engine.set_nonblocking(true)?;
    for _ in 0..1_000 {
        match engine.accept() {
            Ok((connection, _)) => return Ok(connection),
            Err(error) if error.kind() == ErrorKind::WouldBlock => sleep(Duration::from_millis(10)),
            Err(error) => return Err(error.into()),
        }
    }
    bail!("a request didn't reach the engine")
}

/// Resident memory of a process, in bytes.
fn resident(process: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/statm"))?;
    let pages: f64 = text.split(' ').nth(1).context("no statm")?.parse()?;
    Ok(pages * 4096.0)
}
