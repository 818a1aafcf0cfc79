//! What the processes tell the command, one line each in the event log.

use super::sum::{Load, Sum};

/// A line of the event log.
#[derive(Clone, Debug, PartialEq)]
pub enum Note {
    /// The writer has a ring that has gone round once; its newest record.
    Ready {
        /// Number of that record.
        tip: u64,
    },
    /// How far the writer is.
    Written {
        /// Records so far.
        records: u64,
    },
    /// What appending for a while has come to.
    Load(Load),
    /// Times of flushes.
    Flushes {
        /// What for.
        name: String,
        /// A line of latencies.
        latency: String,
    },
    /// A process that only waits is there.
    Idle,
    /// A reader is attached and has read something.
    Attached {
        /// Which one.
        reader: usize,
        /// Nanoseconds that attaching took.
        took_ns: u64,
    },
    /// A reader has seen the mark.
    CaughtUp {
        /// Which one.
        reader: usize,
    },
    /// A reader has seen the end.
    Done {
        /// Which one.
        reader: usize,
        /// What it has seen.
        sum: Sum,
    },
    /// A process gives up.
    Failed {
        /// Which reader; `None` for the writer.
        reader: Option<usize>,
        /// Why.
        error: String,
    },
}

impl Note {
    /// The note as a line.
    pub fn line(&self) -> String {
        match self {
            Note::Ready { tip } => format!("ready {tip}"),
            Note::Written { records } => format!("written {records}"),
            Note::Load(load) => format!("load {}", load.line()),
            Note::Flushes { name, latency } => format!("flushes {name} {latency}"),
            Note::Idle => "idle".into(),
            Note::Attached { reader, took_ns } => format!("attached {reader} {took_ns}"),
            Note::CaughtUp { reader } => format!("caught-up {reader}"),
            Note::Done { reader, sum } => format!("done {reader} {}", sum.line()),
            Note::Failed { reader: None, error } => format!("failed writer {}", error.replace('\n', " ")),
            Note::Failed { reader: Some(reader), error } => {
                format!("failed {reader} {}", error.replace('\n', " "))
            }
        }
    }

    /// The note that a line is; `None` if it is none.
    pub fn parse(line: &str) -> Option<Note> {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        let two = || rest.split_once(' ');
        Some(match kind {
            "ready" => Note::Ready { tip: rest.parse().ok()? },
            "written" => Note::Written { records: rest.parse().ok()? },
            "load" => Note::Load(Load::parse(rest)?),
            "flushes" => {
                let (name, latency) = two()?;
                Note::Flushes { name: name.into(), latency: latency.into() }
            }
            "idle" => Note::Idle,
            "attached" => {
                let (reader, took) = two()?;
                Note::Attached { reader: reader.parse().ok()?, took_ns: took.parse().ok()? }
            }
            "caught-up" => Note::CaughtUp { reader: rest.parse().ok()? },
            "done" => {
                let (reader, sum) = two()?;
                Note::Done { reader: reader.parse().ok()?, sum: Sum::parse(sum)? }
            }
            "failed" => {
                let (who, error) = two()?;
                let reader = if who == "writer" { None } else { Some(who.parse().ok()?) };
                Note::Failed { reader, error: error.into() }
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_round_trip() {
        let sum = Sum {
            records: 1,
            bytes: 2,
            wakes: 3,
            cpu_ns: 4,
            pings: vec![5, 6],
            age: "7:8 9:10".into(),
            ..Sum::default()
        };
        let load = Load {
            name: "active".into(),
            appends: 5,
            service: "1:2".into(),
            late: "3:4 5:6".into(),
            ..Load::default()
        };
        for note in [
            Note::Ready { tip: 1 },
            Note::Written { records: 8 },
            Note::Load(load),
            Note::Flushes { name: "idle".into(), latency: "1:2 3:4".into() },
            Note::Idle,
            Note::Attached { reader: 1, took_ns: 2 },
            Note::CaughtUp { reader: 3 },
            Note::Done { reader: 3, sum },
            Note::Done { reader: 3, sum: Sum::default() },
            Note::Failed { reader: None, error: "no such thing".into() },
            Note::Failed { reader: Some(4), error: "no such thing".into() },
        ] {
            assert_eq!(Note::parse(&note.line()), Some(note));
        }
        assert_eq!(Note::parse("done 1 2"), None);
    }
}
