//! Large stores, filled with copies of real records under other keys.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use xtask::shell::{command, output};

use super::lab::{Application, ENGINE_DOWN, Lab, Target};
use super::process::Request;
use super::rows::{PLAIN, first_event};

/// The content of a large store. A script in bench/store creates each.
#[derive(Clone, Copy)]
pub(super) enum Content {
    /// The keys of delivered events.
    Keyed,
    /// Pending webhooks.
    Pending,
}

/// The name of a store's file, as in Spin.
const FILE: &str = "sqlite_key_value.db";

/// Creates the directory of a store with `count` keys, which are copies of those in a template that a host has written.
pub(super) fn fill(template: &Path, directory: &Path, content: Content, count: u64) -> Result<()> {
    let script = match content {
        Content::Keyed => "bench/store/keyed.sql",
        Content::Pending => "bench/store/pending.sql",
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
    child.stdin.take().context("sqlite3 has no standard input")?.write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    let created = String::from_utf8_lossy(&output.stdout);
    let is_filled = output.status.success() && created.trim().parse() == Ok(count);
    ensure!(is_filled, "{script} created {} of {count}", created.trim());
    Ok(())
}

/// Number of pending deliveries in a store.
pub(super) fn pending(directory: &Path) -> Result<u64> {
    let mut sqlite = command("sqlite3", ["-readonly"]);
    sqlite.arg(directory.join(FILE)).arg("SELECT count(*) FROM spin_key_value WHERE key GLOB 'sluice:pending:*'");
    Ok(output(&mut sqlite)?.parse()?)
}

/// A store with one keyed event that was delivered.
pub(super) fn one_keyed(lab: &Lab) -> Result<std::path::PathBuf> {
    let target = lab.start(Application::Sluice, "one-keyed", &[])?;
    first_event(&target)?;
    Ok(target.state)
}

/// A store with one pending webhook.
pub(super) fn one_pending(lab: &Lab) -> Result<std::path::PathBuf> {
    let target = lab.start(Application::Sluice, "one-pending", &[ENGINE_DOWN])?;
    let load = PLAIN.load(&target, &lab.directory);
    let body = fs::read(load.body.context("no body")?)?;
    let headers = [("content-type", "application/json")];
    let response = Request { url: &load.url, headers: &headers, body: Some(&body) }.send()?;
    ensure!(response.outcome.as_deref() == Some("pending"), "the webhook was not stored: {}", response.status);
    // The store has the webhook, because the response follows the write.
    Ok(target.state)
}

/// The response of a drain.
#[derive(Debug, serde::Deserialize)]
pub(super) struct DrainResult {
    pub(super) delivered: u64,
    pub(super) pending: Option<u64>,
    pub(super) stopped: Option<String>,
    /// Whether a further pass has something to do at once.
    pub(super) again: bool,
}

/// Runs one pass of the drain.
pub(super) fn drain(target: &Target) -> Result<DrainResult> {
    let url = format!("{}/api/v2/deliveries/drain", target.url);
    let bearer = format!("Bearer {}", super::lab::OPERATOR_TOKEN);
    let headers = [("authorization", bearer.as_str())];
    let response = Request { url: &url, headers: &headers, body: Some(b"") }.send()?;
    ensure!(response.status == 200, "the drain answered {} {}", response.status, response.body);
    serde_json::from_str(&response.body).context("the drain's response")
}
