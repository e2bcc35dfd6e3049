//! Size of the component, and the costs that it may have: memory, instantiation, and the time to the first response.

use std::fs;
use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Plan;
use super::lab::{Application, Lab, silent_engine};
use super::load::{Load, Pace, interleaved};
use super::process::Process;
use super::report::{Section, Table};
use super::rows::{Body, LINKED, PLAIN};
use super::stats::Spread;

/// Number of concurrent requests in the memory measurement.
const CONCURRENT: usize = 64;
/// The compared applications, each with its name in the table.
const COMPARED: [(Application, &str); 2] = [(Application::LimitLinked, LINKED.name), (Application::Sluice, "Sluice")];

pub(super) fn measure(lab: &Lab, plan: &Plan) -> Result<Section> {
    let headers = ["", "wasm, KB (1000 bytes)", "memory per request, KB", "empty request, p50 ms"];
    let starts = ["first response, ms", "the same with compilation, ms"];
    let mut table = Table::new("", &[&headers[..], &starts[..]].concat());
    let mut times = COMPARED.map(|_| (Vec::new(), Vec::new()));
    for _ in 0..plan.rounds {
        for ((application, _), (warm, cold)) in COMPARED.iter().zip(&mut times) {
            if lab.cache().exists() {
                fs::remove_dir_all(lab.cache())?;
            }
            cold.push(first_response(lab, *application)?);
            warm.push(first_response(lab, *application)?);
        }
    }
    let empty = empty_requests(lab, plan)?;
    for (((application, name), (warm, cold)), empty) in COMPARED.into_iter().zip(times).zip(empty) {
        let wasm = application.wasm();
        let size = fs::metadata(&wasm).with_context(|| format!("no {}", wasm.display()))?.len() as f64 / 1e3;
        table.rows.push(vec![
            name.to_owned(),
            format!("{size:.0}"),
            format!("{:.0}", memory(lab, application)?),
            format!("{empty:.3}"),
            format!("{:.0}", Spread::of(warm)),
            format!("{:.0}", Spread::of(cold)),
        ]);
    }
    let mut section = Section::new("Size");
    section.tables.push(table);
    Ok(section)
}

/// Milliseconds from the start of the process to the first 2xx response.
fn first_response(lab: &Lab, application: Application) -> Result<f64> {
    let (command, url) = lab.command(application, "start", &[])?;
    let start = Instant::now();
    let mut process = Process::start(&command, &lab.directory.join("start.log"))?;
    Ok(application.wait_until_ready(&mut process, &url, start)?.as_secs_f64() * 1e3)
}

/// The p50 of a request that causes no work, for each compared application.
fn empty_requests(lab: &Lab, plan: &Plan) -> Result<Vec<Spread>> {
    let start = |(application, _): &(Application, _)| lab.start(*application, "empty", &[]);
    let targets = COMPARED.iter().map(start).collect::<Result<Vec<_>>>()?;
    let loads = COMPARED.iter().zip(&targets).map(|((application, name), target)| Load {
        name,
        url: format!("{}{}", target.url, application.empty_path()),
        method: "GET",
        body: None,
        outcome: None,
        ..PLAIN.load(target, &lab.directory)
    });
    let samples = interleaved(&loads.collect::<Vec<_>>(), Pace::Connections(1), plan)?;
    Ok(samples.iter().map(|samples| Spread::of(samples.iter().map(|sample| sample.p50_ms))).collect())
}

/// Memory per request in KB, while many requests wait for a silent engine.
fn memory(lab: &Lab, application: Application) -> Result<f64> {
    let (engine, url) = silent_engine()?;
    let mut variables = vec![("engine_url", url.as_str())];
    let path = match application {
        Application::Limit | Application::LimitLinked => "/call",
        Application::Sluice => {
            variables.push(("settings", r#"{"engine_wait_ms":600000,"engine_timeout_ms":600000}"#));
            "/api/v2/webhook?ref=w"
        }
    };
    let target = lab.start(application, "memory", &variables)?;
    let idle = target.process.resident()?;
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
    let busy = target.process.resident()?;
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
