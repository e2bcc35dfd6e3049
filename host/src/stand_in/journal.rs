//! A database in a file: one line of JSON for each write.
//!
//! Nothing is rewritten, so a process that is killed at any time leaves a valid file, except for its last line. Lines
//! aren't synchronised with the disk: they survive the process, not the machine.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Error, ErrorKind, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::model::{Record, Workflow};

/// A write.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Entry {
    /// The stand-in was started for the nth time.
    Start(u64),
    /// A workflow was created or changed.
    Workflow(Workflow),
    /// A run, as it is from now on.
    Run(Record),
}

/// An [`Entry`] that borrows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum EntryRef<'a> {
    Start(u64),
    Workflow(&'a Workflow),
    Run(&'a Record),
}

/// The open file, which no other process can open meanwhile.
#[derive(Debug)]
pub(super) struct Journal(File);

impl Journal {
    /// Opens or creates a file, and reads its entries. An incomplete last line is removed.
    pub(super) fn open(path: &Path) -> io::Result<(Journal, Vec<Entry>)> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        file.try_lock().map_err(|error| Error::other(format!("{}: {error}", path.display())))?;
        let mut reader = BufReader::new(&file);
        let (mut entries, mut end) = (Vec::new(), 0);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') {
                break;
            }
            let entry = serde_json::from_slice(&line).map_err(|error| {
                let number = entries.len().saturating_add(1);
                Error::new(ErrorKind::InvalidData, format!("{}: line {number}: {error}", path.display()))
            })?;
            entries.push(entry);
            end += read as u64;
        }
        file.set_len(end)?;
        file.seek(SeekFrom::End(0))?;
        Ok((Journal(file), entries))
    }

    /// Appends an entry.
    pub(super) fn write(&mut self, entry: &EntryRef<'_>) -> io::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.0.write_all(&line)
    }
}
