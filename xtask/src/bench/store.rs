//! Stores with much in them: one real record, taken many times under other names.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::lab::{Application, DOWN, Lab, Target};
use super::process::Request;
use super::rows::{PLAIN, first_event};
use crate::shell::{command, output};

/// What there is much of; a file of bench/store each.
#[derive(Clone, Copy)]
pub(super) enum Much {
    Keyed,
    Pending,
}

/// The store's file, as Spin names it.
const FILE: &str = "sqlite_key_value.db";

/// Makes the directory of a store with so many keys, from a store that a host has made.
pub(super) fn fill(template: &Path, directory: &Path, much: Much, count: u64) -> Result<()> {
    let script = match much {
        Much::Keyed => "bench/store/keyed.sql",
        Much::Pending => "bench/store/pending.sql",
    };
    if directory.exists() {
        fs::remove_dir_all(directory)?;
    }
    fs::create_dir_all(directory)?;
    let file = directory.join(FILE);
    fs::copy(template.join(FILE), &file)?;
    let text = fs::read_to_string(script)?.replace("COUNT", &count.to_string());
    let mut sqlite = command("sqlite3", ["-bail"]);
    let mut child = sqlite.arg(&file).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    child.stdin.take().context("sqlite3 takes nothing")?.write_all(text.as_bytes())?;
    let said = child.wait_with_output()?;
    let there = String::from_utf8_lossy(&said.stdout);
    let is_filled = said.status.success() && there.trim().parse() == Ok(count);
    ensure!(is_filled, "{script} made {} of {count}", there.trim());
    Ok(())
}

/// How many are pending, as the store says.
pub(super) fn pending(directory: &Path) -> Result<u64> {
    let mut sqlite = command("sqlite3", ["-readonly"]);
    sqlite.arg(directory.join(FILE)).arg("SELECT count(*) FROM spin_key_value WHERE key GLOB 'sluice/pending/*'");
    Ok(output(&mut sqlite)?.parse()?)
}

/// A store with one keyed event that the engine has.
pub(super) fn one_keyed(lab: &Lab) -> Result<std::path::PathBuf> {
    let target = lab.start(Application::Sluice, "one-keyed", &[])?;
    first_event(&target)?;
    Ok(target.state)
}

/// A store with one webhook that is pending.
pub(super) fn one_pending(lab: &Lab) -> Result<std::path::PathBuf> {
    let target = lab.start(Application::Sluice, "one-pending", &[DOWN])?;
    let load = PLAIN.load(&target, &lab.directory);
    let body = fs::read(load.body.context("no body")?)?;
    let headers = [("content-type", "application/json")];
    let answer = Request { url: &load.url, headers: &headers, body: Some(&body) }.send()?;
    ensure!(answer.outcome.as_deref() == Some("pending"), "the webhook was not stored: {}", answer.status);
    // It is written before it is answered.
    Ok(target.state)
}

/// What a drain said.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Drained {
    pub(super) delivered: u64,
    pub(super) pending: Option<u64>,
    pub(super) stopped: Option<String>,
}

/// One pass of the drain.
pub(super) fn drain(target: &Target) -> Result<Drained> {
    let url = format!("{}/api/v2/deliveries/drain", target.url);
    let bearer = format!("Bearer {}", super::lab::OPERATOR);
    let headers = [("authorization", bearer.as_str())];
    let answer = Request { url: &url, headers: &headers, body: Some(b"") }.send()?;
    ensure!(answer.status == 200, "the drain answered {} {}", answer.status, answer.body);
    serde_json::from_str(&answer.body).context("the drain's answer")
}
