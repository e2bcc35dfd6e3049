//! Parses cargo's standard error: progress and status for the spinner, messages to be shown.

/// A line of cargo's standard error, ended by a line feed or a carriage return.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    /// `Building [====>   ] 12/345: serde`
    Progress { done: u64, total: u64, current: String },
    /// A line of status, such as `Compiling serde v1.0.0`.
    Status(String),
    /// A compiler's message, or anything else to be shown.
    Message,
}

/// The first words of cargo's lines of status, right-aligned in twelve columns.
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
pub(super) fn read(piece: &str) -> Piece {
    if piece.is_empty() {
        return Piece::Message;
    }
    let piece = anstream::adapter::strip_str(piece).to_string();
    if let Some(progress) = progress(&piece) {
        return progress;
    }
    match piece.trim_start().split_once(' ') {
        // Only escape sequences: cargo erased its progress bar.
        _ if piece.trim().is_empty() => Piece::Status(String::new()),
        Some((verb, _)) if VERBS.contains(&verb) && piece.find(verb) == Some(12 - verb.len()) => {
            Piece::Status(piece.trim().to_owned())
        }
        _ => Piece::Message,
    }
}

fn progress(piece: &str) -> Option<Piece> {
    let (_, counts) = piece.trim_start().strip_prefix("Building [")?.split_once("] ")?;
    let (counts, current) = counts.split_once(": ").unwrap_or((counts, ""));
    let (done, total) = counts.trim().split_once('/')?;
    Some(Piece::Progress { done: done.parse().ok()?, total: total.parse().ok()?, current: current.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_parsed() {
        let piece = "\u{1b}[K\u{1b}[1m\u{1b}[36m    Building\u{1b}[0m [=====>     ] 12/345: serde, http(build)...   ";
        let current = "serde, http(build)...".to_owned();
        assert_eq!(read(piece), Piece::Progress { done: 12, total: 345, current });
        assert_eq!(read("    Building [==] 3/9"), Piece::Progress { done: 3, total: 9, current: String::new() });
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
            assert!(matches!(read(status), Piece::Status(_)), "{status}");
        }
        for message in ["", "error[E0308]: mismatched types", "   |", "12 | let x", "Compiling by hand failed"] {
            assert_eq!(read(message), Piece::Message, "{message}");
        }
    }
}
