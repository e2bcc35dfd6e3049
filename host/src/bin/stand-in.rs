//! Runs the stand-in engine on its own.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use sluice_host::stand_in::{Options, StandIn};
use tokio::signal::unix::{SignalKind, signal};

/// Runs a stand-in engine until Ctrl-C.
#[derive(Parser)]
struct Arguments {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:7701")]
    listen: SocketAddr,
    #[command(flatten)]
    options: Options,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { listen, options } = Arguments::parse();
    match run(listen, options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(listen: SocketAddr, options: Options) -> Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let builder = options.apply(StandIn::builder().listen(listen))?;
    let stand_in = builder.start().await.with_context(|| format!("can't start the stand-in engine on {listen}"))?;
    println!("Stand-in engine: {}/", stand_in.url());
    tokio::select! {
        _ = terminated.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    stand_in.stop().await;
    Ok(())
}
