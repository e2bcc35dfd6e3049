//! Sluice with an engine to try it on.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::component;
use crate::shell::{cargo, command, has, run};

const STAND_IN: &str = "127.0.0.1:7701";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Runs on the native host even where Spin is installed
    #[arg(long)]
    host: bool,
    /// Where Sluice listens
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: String,
    /// The base URL of an engine; without it, a stand-in is started
    #[arg(long)]
    engine: Option<String>,
    /// A variable of spin.toml, as key=value
    #[arg(long = "variable")]
    variables: Vec<String>,
}

pub(crate) fn start(arguments: &Arguments) -> Result<()> {
    component::build()?;
    let spin = !arguments.host && has("spin");
    let mut sluice = if spin {
        println!("up: on Spin");
        command("spin", ["up"])
    } else {
        println!("up: on the native host (its first compilation takes minutes)");
        cargo(["run", "-q", "-p", "sluice-host", "--bin", "sluice-host", "--"])
    };
    sluice.args(["--from", "spin.toml", "--listen", &arguments.listen]);
    for variable in &arguments.variables {
        sluice.args(["--variable", variable]);
    }
    match &arguments.engine {
        Some(engine) => {
            sluice.arg("--variable").arg(format!("engine_url={engine}"));
        }
        None if spin => return together(sluice, &arguments.listen),
        None => {
            sluice.arg(format!("--stand-in={STAND_IN}"));
        }
    }
    // In our place: signals reach it as they would reach us.
    Err(sluice.exec().into())
}

/// Spin and the stand-in: when one ends, the other is ended.
fn together(mut spin: Command, listen: &str) -> Result<()> {
    const BIN: [&str; 5] = ["-p", "sluice-host", "--no-default-features", "--bin", "stand-in"];
    run(cargo(["build", "-q"]).args(BIN))?;
    let mut stand_in = cargo(["run", "-q"]);
    stand_in.args(BIN).args(["--", "--listen", STAND_IN, "--sluice"]).arg(format!("http://{listen}"));
    let mut stand_in = stand_in.spawn()?;
    let spin = spin.spawn();
    let Ok(mut spin) = spin else {
        stand_in.kill()?;
        bail!("can't run spin");
    };
    loop {
        if let Some(status) = stand_in.try_wait()? {
            spin.kill()?;
            spin.wait()?;
            bail!("the stand-in engine ended: {status}");
        }
        if let Some(status) = spin.try_wait()? {
            stand_in.kill()?;
            stand_in.wait()?;
            if !status.success() {
                bail!("spin ended: {status}");
            }
            return Ok(());
        }
        sleep(Duration::from_millis(100));
    }
}
