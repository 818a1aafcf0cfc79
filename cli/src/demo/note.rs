//! What the processes of the demo tell it, one line each in the event log.

use super::tally::Sum;
use waldo_harness::processes::memory::Memory;

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

impl Note {
    /// The note as a line.
    pub fn line(&self) -> String {
        render(self)
    }

    /// The note that a line is; `None` if it is none.
    pub fn parse(line: &str) -> Option<Note> {
        parse(line)
    }
}

fn render(note: &Note) -> String {
    match note {
        Note::Attached { reader } => format!("attached {reader}"),
        Note::Seen { reader, seq_no } => format!("seen {reader} {seq_no}"),
        Note::Verified { reader, sum, at_ns, memory } => format!(
            "verified {reader} {} {} {:032x} {at_ns} {} {} {} {}",
            sum.records, sum.bytes, sum.hash, memory.own, memory.private, memory.proportional, memory.tables
        ),
        Note::Failed { reader, error } => format!("failed {reader} {}", error.replace('\n', " ")),
        Note::Written { records } => format!("written {records}"),
        Note::Finished { sum, busy_ns } => {
            format!("finished {} {} {:032x} {busy_ns}", sum.records, sum.bytes, sum.hash)
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
                own: number(word())?,
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
        let memory = Memory { own: 4, private: 1, proportional: 2, tables: 3 };
        for note in [
            Note::Attached { reader: 1 },
            Note::Seen { reader: 2, seq_no: 9 },
            Note::Verified { reader: 3, sum: sum.clone(), at_ns: 77, memory },
            Note::Failed { reader: 4, error: "no such thing".into() },
            Note::Written { records: 8 },
            Note::Finished { sum, busy_ns: 6 },
        ] {
            assert_eq!(Note::parse(&note.line()), Some(note));
        }
        assert_eq!(parse("verified 1 2"), None);
    }
}
