//! Text styles, named by their meaning. `anstream` removes them unless the output is a terminal.

use std::fmt::Display;

use anstyle::{AnsiColor, Style};

pub(super) const SUCCESS: Style = AnsiColor::Green.on_default();
pub(super) const ACCENT: Style = AnsiColor::Cyan.on_default();
pub(super) const WARNING: Style = AnsiColor::Yellow.on_default();
pub(super) const ERROR: Style = AnsiColor::Red.on_default();
pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();

/// Formats text in a style.
pub(super) fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Replaces control characters in untrusted text, which a terminal would interpret.
pub(super) fn plain(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}
