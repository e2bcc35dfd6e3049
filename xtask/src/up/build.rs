//! Runs cargo, several at a time, and shows the progress of each in one line and the compiler's messages in full.

use std::io::stderr;
use std::process::Command;
use std::time::{Duration, Instant};

use anstream::{AutoStream, ColorChoice, eprintln};
use anyhow::{Result, bail};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

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

/// A run of cargo.
struct Build {
    name: &'static str,
    bar: ProgressBar,
    start: Instant,
    /// Whether anything was compiled.
    compiled: bool,
}

/// Runs builds side by side, each a name and a command of cargo, and prints the time of each.
pub(super) fn build(children: &mut Children, commands: Vec<(&'static str, Command)>) -> Result<()> {
    let bars = MultiProgress::new();
    let is_coloured = AutoStream::choice(&stderr()) != ColorChoice::Never;
    let mut running = Vec::new();
    for (name, mut cargo) in commands {
        cargo.env("CARGO_TERM_COLOR", if is_coloured { "always" } else { "never" });
        if bars.is_hidden() {
            eprintln!("  - {name:16} building");
        } else {
            // Cargo must not truncate its line, because the progress bar does so.
            cargo.env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", "200");
        }
        let bar = bars.add(spinner(name, ""));
        children.start(name, &mut cargo)?;
        running.push(Build { name, bar, start: Instant::now(), compiled: false });
    }
    let result = follow(children, &bars, running);
    // Nothing is left of the bars, whatever the result.
    let _ = bars.clear();
    if result.is_err() {
        children.end();
    }
    result
}

/// Shows the progress of builds until all have succeeded or one has failed.
fn follow(children: &mut Children, bars: &MultiProgress, mut running: Vec<Build>) -> Result<()> {
    while let Some(event) = children.next() {
        match event {
            Event::Line { source: Source::Stdout, line, .. } => bars.suspend(|| eprintln!("{line}")),
            Event::Line { source: Source::Stderr, name, line } => {
                let build = running.iter_mut().find(|build| build.name == name);
                if build.is_none_or(|build| !build.show(&line)) {
                    bars.suspend(|| eprintln!("{line}"));
                }
            }
            Event::Exited { name, status } if status.success() => {
                for build in running.extract_if(.., |build| build.name == name) {
                    build.bar.finish_and_clear();
                    let time = build.compiled.then(|| build.start.elapsed());
                    bars.suspend(|| print_done(name, time));
                }
            }
            Event::Exited { name, status } => bail!("{name} was not built: cargo: {status}"),
            Event::Interrupt => bail!(Interrupted),
        }
    }
    Ok(())
}

impl Build {
    /// Shows a line of cargo's standard error in the bar. Returns whether it belongs there: a message doesn't.
    fn show(&mut self, line: &str) -> bool {
        match parse(line) {
            CargoLine::Progress { done, total, current } => {
                let bar = "  {spinner:.cyan} {prefix:16} {bar:20.cyan/dim} {pos}/{len} {elapsed:.dim} {wide_msg:.dim}";
                self.bar.set_style(style(bar));
                self.bar.set_length(total);
                self.bar.set_position(done);
                self.bar.set_message(current);
            }
            CargoLine::Status(status) => {
                self.compiled |= status.starts_with("Compiling");
                if !status.is_empty() {
                    self.bar.set_message(status);
                }
            }
            CargoLine::Message => return false,
        }
        true
    }
}

/// Replaces a spinner by a line such as `✓ start  12.4 s`.
pub(super) fn done(bar: &ProgressBar, time: Duration) {
    bar.finish_and_clear();
    print_done(&bar.prefix(), Some(time));
}

/// Prints `✓ component  12.4 s`, or `up to date` if it took no time.
fn print_done(name: &str, time: Option<Duration>) {
    let time = time.map_or_else(|| "up to date".to_owned(), |time| format!("{:.1} s", time.as_secs_f32()));
    eprintln!("  {} {name:16} {}", paint(SUCCESS, "✓"), paint(DIM, time));
}
