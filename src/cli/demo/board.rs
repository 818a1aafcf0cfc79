//! The notice board: a file to which every process of the demo appends lines, and that the demo reads. It takes no
//! descriptor per process, so thirty thousand of them are no different from ten.

use super::tally::Sum;
use anyhow::Context;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;

/// A line on the board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A reader waits for records.
    Attached {
        /// Which one.
        reader: usize,
    },
    /// A reader has checked everything up to a record.
    Seen {
        /// Which one.
        reader: usize,
        /// The record's number.
        seq_no: u64,
    },
    /// A reader has met the end of the demo.
    Verified {
        /// Which one.
        reader: usize,
        /// What it has read.
        sum: Sum,
        /// When, on the shared clock.
        at_ns: u64,
        /// What it takes.
        memory: Memory,
    },
    /// A reader gives up.
    Failed {
        /// Which one.
        reader: usize,
        /// Why.
        error: String,
    },
    /// How far the writer is.
    Written {
        /// Records so far.
        records: u64,
    },
    /// The writer has appended everything.
    Finished {
        /// What that was.
        sum: Sum,
        /// Nanoseconds spent appending.
        busy_ns: u64,
    },
}

/// Memory of one process in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Its own pages, which no other process shares.
    pub private: u64,
    /// Its own pages and its share of the shared ones.
    pub proportional: u64,
    /// Page tables.
    pub tables: u64,
}

/// A process's way to the board.
pub struct Pin(File);

impl Pin {
    /// Opens the board for appending.
    pub fn open(path: &Path) -> anyhow::Result<Pin> {
        let file = OpenOptions::new().append(true).open(path).context("cannot open the demo's board")?;
        Ok(Pin(file))
    }

    /// Appends a line, in one piece.
    pub fn post(&mut self, note: &Note) -> anyhow::Result<()> {
        self.0.write_all(render(note).as_bytes()).context("cannot write to the demo's board")
    }
}

/// The demo's view of the board.
pub struct Board {
    file: File,
    partial: Vec<u8>,
}

impl Board {
    /// Makes an empty board.
    pub fn create(path: &Path) -> anyhow::Result<Board> {
        let file = OpenOptions::new().read(true).append(true).create_new(true).open(path);
        Ok(Board { file: file.context("cannot make the demo's board")?, partial: Vec::new() })
    }

    /// The lines that have come since the last call.
    pub fn news(&mut self) -> anyhow::Result<Vec<Note>> {
        self.file.read_to_end(&mut self.partial).context("cannot read the demo's board")?;
        // A line that is being written just now is left for the next time.
        let complete = memchr::memrchr(b'\n', &self.partial).map_or(0, |at| at + 1);
        let notes = self.partial[..complete].split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let parsed = notes
            .map(|line| {
                let text = String::from_utf8_lossy(line);
                parse(&text).with_context(|| format!("the demo's board holds nonsense: {text}"))
            })
            .collect();
        self.partial.drain(..complete);
        parsed
    }
}

fn render(note: &Note) -> String {
    match note {
        Note::Attached { reader } => format!("attached {reader}\n"),
        Note::Seen { reader, seq_no } => format!("seen {reader} {seq_no}\n"),
        Note::Verified { reader, sum, at_ns, memory } => format!(
            "verified {reader} {} {} {:032x} {at_ns} {} {} {}\n",
            sum.records, sum.bytes, sum.hash, memory.private, memory.proportional, memory.tables
        ),
        Note::Failed { reader, error } => format!("failed {reader} {}\n", error.replace('\n', " ")),
        Note::Written { records } => format!("written {records}\n"),
        Note::Finished { sum, busy_ns } => {
            format!("finished {} {} {:032x} {busy_ns}\n", sum.records, sum.bytes, sum.hash)
        }
    }
}

fn parse(line: &str) -> Option<Note> {
    let (kind, rest) = line.split_once(' ')?;
    if kind == "failed" {
        let (reader, error) = rest.split_once(' ')?;
        return Some(Note::Failed { reader: reader.parse().ok()?, error: error.to_owned() });
    }
    let mut words = rest.split(' ');
    let mut word = || words.next();
    let number = |text: Option<&str>| text?.parse::<u64>().ok();
    Some(match kind {
        "attached" => Note::Attached { reader: number(word())? as usize },
        "seen" => Note::Seen { reader: number(word())? as usize, seq_no: number(word())? },
        "verified" => Note::Verified {
            reader: number(word())? as usize,
            sum: Sum {
                records: number(word())?,
                bytes: number(word())?,
                hash: u128::from_str_radix(word()?, 16).ok()?,
            },
            at_ns: number(word())?,
            memory: Memory {
                private: number(word())?,
                proportional: number(word())?,
                tables: number(word())?,
            },
        },
        "written" => Note::Written { records: number(word())? },
        "finished" => Note::Finished {
            sum: Sum {
                records: number(word())?,
                bytes: number(word())?,
                hash: u128::from_str_radix(word()?, 16).ok()?,
            },
            busy_ns: number(word())?,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_round_trip() {
        let sum = Sum { records: 3, bytes: 4, hash: 5 };
        let memory = Memory { private: 1, proportional: 2, tables: 3 };
        for note in [
            Note::Attached { reader: 1 },
            Note::Seen { reader: 2, seq_no: 9 },
            Note::Verified { reader: 3, sum: sum.clone(), at_ns: 77, memory },
            Note::Failed { reader: 4, error: "no such thing".into() },
            Note::Written { records: 8 },
            Note::Finished { sum, busy_ns: 6 },
        ] {
            assert_eq!(parse(render(&note).trim_end()), Some(note));
        }
        assert_eq!(parse("verified 1 2"), None);
    }

    #[test]
    fn half_a_line_waits_for_its_other_half() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("board");
        let mut board = Board::create(&path).unwrap();
        let mut pin = Pin::open(&path).unwrap();
        pin.0.write_all(b"attached 1\natt").unwrap();
        assert_eq!(board.news().unwrap(), vec![Note::Attached { reader: 1 }]);
        assert_eq!(board.news().unwrap(), vec![]);
        pin.0.write_all(b"ached 2\n").unwrap();
        assert_eq!(board.news().unwrap(), vec![Note::Attached { reader: 2 }]);
    }
}
