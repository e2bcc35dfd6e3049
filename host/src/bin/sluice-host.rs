//! Runs Sluice from its `spin.toml` without Spin.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use sluice_host::Host;
use sluice_host::spin::costs::Costs;
use sluice_host::stand_in::{Options, StandIn};
use tokio::signal::unix::{SignalKind, signal};

/// Runs a Spin application until Ctrl-C.
#[derive(Parser)]
struct Arguments {
    /// The application's manifest
    #[arg(long, default_value = "spin.toml")]
    from: PathBuf,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// Directory of the key-value data [default: .spin beside the manifest]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Spin's runtime configuration, which locates the key-value stores
    #[arg(long, value_name = "FILE")]
    runtime_config_file: Option<PathBuf>,
    /// Value of an application variable; may be repeated
    #[arg(long = "variable", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, String)>,
    /// Imitate what requests cost in Spin: a list of variables, cpu-time, spans, log-files and engine, or all
    #[arg(long, value_name = "LIST", num_args = 0..=1, require_equals = true, default_missing_value = "all")]
    spin_costs: Option<Costs>,
    /// Also start a stand-in engine [default address: 127.0.0.1:7701]
    #[arg(
        long,
        value_name = "ADDR",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "127.0.0.1:7701"
    )]
    stand_in: Option<SocketAddr>,
    #[command(flatten)]
    options: Options,
}

/// Parses `NAME=VALUE`.
fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut stop = async || {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    };

    let mut builder = Host::builder().manifest(arguments.from).listen(arguments.listen);
    builder = builder.costs(arguments.spin_costs.unwrap_or_default());
    for (name, value) in arguments.variables {
        builder = builder.variable(name, value);
    }
    if let Some(directory) = arguments.state_dir {
        builder = builder.state_dir(directory);
    }
    if let Some(file) = arguments.runtime_config_file {
        builder = builder.runtime_config(file);
    }
    let host = tokio::select! {
        host = builder.start() => host?,
        () = stop() => return Ok(()),
    };
    let stand_in = match arguments.stand_in {
        Some(addr) => {
            let builder = arguments.options.apply(StandIn::builder().listen(addr))?;
            let stand_in = builder.start().await;
            Some(stand_in.with_context(|| {
                format!("can't start the stand-in engine on {addr}; --stand-in=ADDR chooses another address")
            })?)
        }
        None => None,
    };
    println!("Serving {}", host.url());
    if let Some(stand_in) = &stand_in {
        println!("Stand-in engine: {}/", stand_in.url());
    }

    stop().await;
    // A second Ctrl-C skips the wait for requests in flight.
    tokio::select! {
        () = host.stop() => {}
        () = stop() => {}
    }
    if let Some(stand_in) = stand_in {
        stand_in.stop().await;
    }
    Ok(())
}
