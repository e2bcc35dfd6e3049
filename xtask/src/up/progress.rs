//! Parses cargo's standard error, of which the spinner shows progress and status. All else is printed.

/// A line of cargo's standard error, ended by a line feed or a carriage return.
#[derive(Debug, PartialEq)]
pub(super) enum CargoLine {
    /// `Building [====>   ] 12/345: serde`
    Progress { done: u64, total: u64, current: String },
    /// A status line, such as `Compiling serde v1.0.0`.
    Status(String),
    /// A message of the compiler, or any other line.
    Message,
}

/// The first words of status lines, which cargo right-aligns in twelve columns.
const VERBS: [&str; 11] = [
    "Adding",
    "Blocking",
    "Building",
    "Compiling",
    "Downloaded",
    "Downloading",
    "Finished",
    "Fresh",
    "Locking",
    "Unpacking",
    "Updating",
];

/// Parses a line.
pub(super) fn parse(line: &str) -> CargoLine {
    if line.is_empty() {
        return CargoLine::Message;
    }
    let line = anstream::adapter::strip_str(line).to_string();
    if let Some(progress) = progress(&line) {
        return progress;
    }
    match line.trim_start().split_once(' ') {
        // Only escape sequences: cargo erased its progress bar.
        _ if line.trim().is_empty() => CargoLine::Status(String::new()),
        Some((verb, _)) if VERBS.contains(&verb) && line.find(verb) == Some(12 - verb.len()) => {
            CargoLine::Status(line.trim().to_owned())
        }
        _ => CargoLine::Message,
    }
}

fn progress(line: &str) -> Option<CargoLine> {
    let (_, counts) = line.trim_start().strip_prefix("Building [")?.split_once("] ")?;
    let (counts, current) = counts.split_once(": ").unwrap_or((counts, ""));
    let (done, total) = counts.trim().split_once('/')?;
    Some(CargoLine::Progress {
        done: done.parse().ok()?,
        total: total.parse().ok()?,
        current: current.trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_parsed() {
        let line = "\u{1b}[K\u{1b}[1m\u{1b}[36m    Building\u{1b}[0m [=====>     ] 12/345: serde, http(build)...   ";
        let current = "serde, http(build)...".to_owned();
        assert_eq!(parse(line), CargoLine::Progress { done: 12, total: 345, current });
        assert_eq!(parse("    Building [==] 3/9"), CargoLine::Progress { done: 3, total: 9, current: String::new() });
    }

    #[test]
    fn status_is_distinguished_from_messages() {
        for status in [
            "   Compiling serde v1.0.0",
            "\u{1b}[1m\u{1b}[32m    Finished\u{1b}[0m `dev` profile in 0.1s",
            "    Blocking waiting for file lock on build directory",
            " Downloading crates ...",
            "    Building [x",
            "\u{1b}[K",
        ] {
            assert!(matches!(parse(status), CargoLine::Status(_)), "{status}");
        }
        for message in ["", "error[E0308]: mismatched types", "   |", "12 | let x", "Compiling by hand failed"] {
            assert_eq!(parse(message), CargoLine::Message, "{message}");
        }
    }
}
