//! Runs the stand-in engine on its own.

use std::net::SocketAddr;
use std::process::ExitCode;

use clap::Parser;
use sluice_host::stand_in::StandIn;
use tokio::signal::unix::{SignalKind, signal};

/// Runs a stand-in engine until Ctrl-C.
#[derive(Parser)]
struct Arguments {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:7701")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { listen } = Arguments::parse();
    match run(listen).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: the stand-in engine can't listen on {listen}: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(listen: SocketAddr) -> std::io::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    let stand_in = StandIn::builder().listen(listen).start().await?;
    println!("Stand-in engine: {}/", stand_in.url());
    tokio::select! {
        _ = terminated.recv() => {}
        interrupted = tokio::signal::ctrl_c() => interrupted?,
    }
    stand_in.stop().await;
    Ok(())
}
