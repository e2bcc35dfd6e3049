//! Builds, with the progress that cargo tells, and the compiler's words in full.

use std::io::stderr;
use std::process::Command;
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice, eprintln};
use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use super::children::{Children, Event, Interrupted, Source};
use super::progress::{Piece, read};
use super::style::{GOOD, QUIET, paint};

/// A spinner, where there is a terminal.
pub(super) fn spinner(name: &'static str, message: &'static str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_prefix(name).with_message(message);
    bar.set_style(style("  {spinner:.cyan} {prefix:16} {wide_msg:.dim}"));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner()).progress_chars("━╸ ")
}

/// Runs a build to its end; gives the time that it took, if there was anything to compile.
pub(super) fn build(children: &mut Children, bar: &ProgressBar, mut cargo: Command) -> Result<Option<Duration>> {
    let name = bar.prefix();
    let start = Instant::now();
    let is_coloured = AutoStream::choice(&stderr()) != ColorChoice::Never;
    cargo.env("CARGO_TERM_COLOR", if is_coloured { "always" } else { "never" });
    if bar.is_hidden() {
        eprintln!("  - {name:16} building");
    } else {
        bar.set_message("");
        // As wide as it likes: we cut it ourselves.
        cargo.env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", "200");
    }
    children.start("cargo", &mut cargo)?;
    let mut compiled = false;
    while let Some(event) = children.next() {
        match event {
            Event::Said { source: Source::Stdout, line } => bar.suspend(|| eprintln!("{line}")),
            Event::Said { source: Source::Stderr, line } => {
                match read(&line) {
                    Piece::Progress { done, all, now } => {
                        bar.set_style(style("  {spinner:.cyan} {prefix:16} {bar:20.cyan/dim} {pos}/{len} {elapsed:.dim} {wide_msg:.dim}"));
                        bar.set_length(all);
                        bar.set_position(done);
                        bar.set_message(now);
                    }
                    Piece::Status(status) => {
                        compiled |= status.starts_with("Compiling");
                        if !status.is_empty() {
                            bar.set_message(status);
                        }
                    }
                    Piece::Words => bar.suspend(|| eprintln!("{line}")),
                }
            }
            Event::Ended { status, .. } if status.success() => break,
            Event::Ended { status, .. } => {
                bar.finish_and_clear();
                bail!("{name} was not built: cargo: {status}");
            }
            Event::Stop => {
                bar.finish_and_clear();
                children.end();
                bail!(Interrupted);
            }
        }
    }
    Ok(compiled.then(|| start.elapsed()))
}

/// `✓ component 12.4 s`; without a time it was there already.
pub(super) fn done(bar: &ProgressBar, took: Option<Duration>, more: &str) {
    bar.finish_and_clear();
    let took = took.map_or_else(|| "up to date".to_owned(), |took| format!("{:.1} s", took.as_secs_f32()));
    eprintln!("  {} {:16} {}", paint(GOOD, "✓"), bar.prefix(), paint(QUIET, format_args!("{took}{more}")));
}
