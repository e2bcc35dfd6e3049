//! What cargo says while it builds: its progress and status are for the spinner, all else is for the eyes.

/// One piece of cargo's standard error, between ends of lines or returns of the carriage.
#[derive(Debug, PartialEq)]
pub(super) enum Piece {
    /// `Building [====>   ] 12/345: serde`
    Progress { done: u64, all: u64, now: String },
    /// `Compiling serde v1.0.0`; nothing that anyone has to read.
    Status(String),
    /// A compiler's message, or anything else.
    Words,
}

/// What cargo begins a line of status with, aligned to the right in twelve columns.
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

/// Reads a piece.
pub(super) fn read(piece: &str) -> Piece {
    if piece.is_empty() {
        return Piece::Words;
    }
    let piece = anstream::adapter::strip_str(piece).to_string();
    if let Some(progress) = progress(&piece) {
        return progress;
    }
    match piece.trim_start().split_once(' ') {
        // It wiped its progress away.
        _ if piece.trim().is_empty() => Piece::Status(String::new()),
        Some((verb, _)) if VERBS.contains(&verb) && piece.find(verb) == Some(12 - verb.len()) => {
            Piece::Status(piece.trim().to_owned())
        }
        _ => Piece::Words,
    }
}

fn progress(piece: &str) -> Option<Piece> {
    let (_, counts) = piece.trim_start().strip_prefix("Building [")?.split_once("] ")?;
    let (counts, now) = counts.split_once(": ").unwrap_or((counts, ""));
    let (done, all) = counts.trim().split_once('/')?;
    Some(Piece::Progress { done: done.parse().ok()?, all: all.parse().ok()?, now: now.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_counted() {
        let piece = "\u{1b}[K\u{1b}[1m\u{1b}[36m    Building\u{1b}[0m [=====>     ] 12/345: serde, http(build)...   ";
        let now = "serde, http(build)...".to_owned();
        assert_eq!(read(piece), Piece::Progress { done: 12, all: 345, now });
        assert_eq!(read("    Building [==] 3/9"), Piece::Progress { done: 3, all: 9, now: String::new() });
    }

    #[test]
    fn status_is_told_from_words() {
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
        for words in ["", "error[E0308]: mismatched types", "   |", "12 | let x", "Compiling by hand failed"] {
            assert_eq!(read(words), Piece::Words, "{words}");
        }
    }
}
