//! Runs cargo, and shows its progress in one line and the compiler's messages in full.

use std::io::stderr;
use std::process::Command;
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice, eprintln};
use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use super::children::{Children, Event, Interrupted, Source};
use super::progress::{CargoLine, parse};
use super::style::{DIM, SUCCESS, paint};

/// A spinner on standard error, hidden unless that is a terminal.
pub(super) fn spinner(name: &'static str, message: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_prefix(name).with_message(message);
    bar.set_style(style("  {spinner:.cyan} {prefix:16} {wide_msg:.dim}"));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner()).progress_chars("━╸ ")
}

/// Runs a build to its end. Returns its duration if anything was compiled.
pub(super) fn build(children: &mut Children, bar: &ProgressBar, mut cargo: Command) -> Result<Option<Duration>> {
    let name = bar.prefix();
    let start = Instant::now();
    let is_coloured = AutoStream::choice(&stderr()) != ColorChoice::Never;
    cargo.env("CARGO_TERM_COLOR", if is_coloured { "always" } else { "never" });
    if bar.is_hidden() {
        eprintln!("  - {name:16} building");
    } else {
        bar.set_message("");
        // Cargo must not truncate its line, because the progress bar does so.
        cargo.env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", "200");
    }
    children.start("cargo", &mut cargo)?;
    let mut compiled = false;
    while let Some(event) = children.next() {
        match event {
            Event::Line { source: Source::Stdout, line } => bar.suspend(|| eprintln!("{line}")),
            Event::Line { source: Source::Stderr, line } => {
                match parse(&line) {
                    CargoLine::Progress { done, total, current } => {
                        bar.set_style(style("  {spinner:.cyan} {prefix:16} {bar:20.cyan/dim} {pos}/{len} {elapsed:.dim} {wide_msg:.dim}"));
                        bar.set_length(total);
                        bar.set_position(done);
                        bar.set_message(current);
                    }
                    CargoLine::Status(status) => {
                        compiled |= status.starts_with("Compiling");
                        if !status.is_empty() {
                            bar.set_message(status);
                        }
                    }
                    CargoLine::Message => bar.suspend(|| eprintln!("{line}")),
                }
            }
            Event::Exited { status, .. } if status.success() => break,
            Event::Exited { status, .. } => {
                bar.finish_and_clear();
                bail!("{name} was not built: cargo: {status}");
            }
            Event::Interrupt => {
                bar.finish_and_clear();
                children.end();
                bail!(Interrupted);
            }
        }
    }
    Ok(compiled.then(|| start.elapsed()))
}

/// Prints `✓ component  12.4 s`, or `up to date` if it has no duration.
pub(super) fn done(bar: &ProgressBar, duration: Option<Duration>, remark: &str) {
    bar.finish_and_clear();
    let time = duration.map_or_else(|| "up to date".to_owned(), |time| format!("{:.1} s", time.as_secs_f32()));
    eprintln!("  {} {:16} {}", paint(SUCCESS, "✓"), bar.prefix(), paint(DIM, format_args!("{time}{remark}")));
}
