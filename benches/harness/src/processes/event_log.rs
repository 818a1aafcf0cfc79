//! The event log: a file to which every process of a crowd appends lines, and that the command reads. It
//! takes no descriptor per process, so thirty thousand processes are no different from ten.

use anyhow::Context;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

/// A process's access to the event log.
pub struct EventWriter(File);

impl EventWriter {
    /// Opens the event log for appending.
    pub fn open(path: &Path) -> anyhow::Result<EventWriter> {
        let file = OpenOptions::new().append(true).open(path).context("cannot open the board")?;
        Ok(EventWriter(file))
    }

    /// Appends a line, in one piece.
    pub fn post(&mut self, line: &str) -> anyhow::Result<()> {
        debug_assert!(!line.contains('\n'));
        self.0.write_all(format!("{line}\n").as_bytes()).context("cannot write to the board")
    }
}

/// The command's view of the event log.
pub struct EventLog {
    file: File,
    partial: Vec<u8>,
}

impl EventLog {
    /// Makes an empty event log.
    pub fn create(path: &Path) -> anyhow::Result<EventLog> {
        let file = OpenOptions::new().read(true).append(true).create_new(true).open(path);
        Ok(EventLog { file: file.context("cannot make the board")?, partial: Vec::new() })
    }

    /// What the lines that have come since the last call mean, as `parse` sees it.
    pub fn news<T>(&mut self, parse: impl Fn(&str) -> Option<T>) -> anyhow::Result<Vec<T>> {
        self.file.read_to_end(&mut self.partial).context("cannot read the board")?;
        // A line that is being written just now is left for the next time.
        let complete = memchr::memrchr(b'\n', &self.partial).map_or(0, |at| at + 1);
        let lines = self.partial[..complete].split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let parsed = lines
            .map(|line| {
                let text = String::from_utf8_lossy(line);
                parse(&text).with_context(|| format!("the board holds nonsense: {text}"))
            })
            .collect();
        self.partial.drain(..complete);
        parsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_line_waits_for_its_other_half() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("board");
        let mut board = EventLog::create(&path).unwrap();
        let mut pin = EventWriter::open(&path).unwrap();
        pin.0.write_all(b"attached 1\natt").unwrap();
        let word = |line: &str| Some(line.to_owned());
        assert_eq!(board.news(word).unwrap(), ["attached 1"]);
        assert!(board.news(word).unwrap().is_empty());
        pin.0.write_all(b"ached 2\n").unwrap();
        assert_eq!(board.news(word).unwrap(), ["attached 2"]);
        pin.post("nonsense").unwrap();
        assert!(board.news(|_| None::<()>).unwrap_err().to_string().contains("nonsense"));
    }
}
