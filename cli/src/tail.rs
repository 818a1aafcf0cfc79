//! `waldo tail`: the records of a ring on standard output.

mod format;

use crate::output::Output;
use clap::ValueEnum;
use format::Format;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use waldo::reader::{
    Batch, Cursor, Integrity, OnLapped, ReadError, Reader, ReaderOptions, Ring, Visibility, Wakeup,
    WriterStatus,
};
use waldo_terminal::failure::{Outcome, Usage};
use waldo_terminal::interrupt::Interrupt;
use waldo_terminal::notice;
use waldo_terminal::units;

/// How long a signal may go unnoticed while there is nothing to read.
const IDLE: Duration = Duration::from_millis(100);

/// Print the records of a ring, and follow it.
///
/// Never disturbs the writer, and needs none: a ring whose writer has ended or crashed can be read just
/// the same. Without --follow it ends at the record that was the newest when it started.
///
/// Damage is an error, with or without --follow: what lies before it is printed, standard error names file,
/// offset and record, and the exit code is 1. The torn end of an append that a crash interrupted is no
/// damage, and no record. Every record is checked before it is printed, see --check; `waldo verify` checks
/// the rest of the files, too.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waldo tail /var/tmp/ring                          everything that is still there
  waldo tail /var/tmp/ring --follow --from tip      only what comes from now on
  waldo tail /var/tmp/ring --from 5m --format json  the last five minutes, for jq
  waldo tail /var/tmp/ring --from 1000 --count 10   ten records from number 1000 on
  waldo tail A --format raw | waldo append --framed B

Exit codes: 0 everything asked for is printed, or nobody reads it any more; 1 failure, damage to the ring included;
2 wrong usage; 128 + n ended by signal n (130 after Ctrl-C).")]
pub struct Args {
    /// Directory of the ring.
    home: PathBuf,
    /// Where to start: `oldest`, `tip` (behind the newest), a sequence number (inclusive), or a time, as
    /// `2026-01-31T12:00:00Z` or how long ago (`5m`, `2h 30m`).
    #[arg(long, value_name = "PLACE", default_value = "oldest")]
    from: String,
    /// Go on with new records as they come, also when the writer is started anew.
    #[arg(short, long)]
    follow: bool,
    /// How records are printed.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Only records that have reached the disk.
    #[arg(long)]
    durable: bool,
    /// End after so many records.
    #[arg(short = 'n', long, value_name = "N")]
    count: Option<u64>,
    /// What is checked of each record before it is printed: `structure` (length, kind, the chain of sequence
    /// numbers), `headers` (also the header's checksum and epoch), `payloads` (also every byte of the
    /// payload).
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = Check::Payloads)]
    check: Check,
    /// The same as --check payloads, which is the default.
    #[arg(long, conflicts_with = "check")]
    verify: bool,
    /// What to do when the ring has overtaken this reader: end with an error, or go on from the oldest record
    /// still there or with the newest.
    #[arg(long, value_enum, value_name = "WHAT", default_value_t = Lapped::Fail)]
    on_lapped: Lapped,
}

#[derive(Clone, Copy, ValueEnum)]
enum Check {
    Structure,
    Headers,
    Payloads,
}

#[derive(Clone, Copy, ValueEnum)]
enum Lapped {
    Fail,
    Oldest,
    Tip,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let cursor = parse_cursor(&args.from)?;
    let interrupt = Interrupt::install()?;
    let ring = Ring::attach(&args.home)?;
    let options = ReaderOptions::default()
        .visibility(if args.durable { Visibility::Durable } else { Visibility::Committed })
        .integrity(match args.check {
            _ if args.verify => Integrity::Payloads,
            Check::Structure => Integrity::Structure,
            Check::Headers => Integrity::Headers,
            Check::Payloads => Integrity::Payloads,
        })
        .on_lapped(match args.on_lapped {
            Lapped::Fail => OnLapped::Fail,
            Lapped::Oldest => OnLapped::Oldest,
            Lapped::Tip => OnLapped::Tip,
        });
    let end = if args.follow { None } else { Some(ring.status()?.tip_seq_no.unwrap_or(0)) };
    let reader = ring.reader_with(cursor, options).map_err(explain)?;
    let mut tail = Tail {
        reader,
        out: Output::stdout(&interrupt)?,
        format: args.format,
        end,
        left: args.count,
        lapses: 0,
    };
    let result = tail.run(args.follow, &interrupt);
    // What was read before an error is still printed.
    let flushed = tail.out.flush();
    let outcome = result?;
    flushed?;
    Ok(outcome)
}

struct Tail<'a> {
    reader: Reader,
    out: Output<'a>,
    format: Format,
    /// Last sequence number wanted.
    end: Option<u64>,
    /// Records still wanted.
    left: Option<u64>,
    /// Times lapped so far.
    lapses: u64,
}

impl Tail<'_> {
    fn run(&mut self, follow: bool, interrupt: &Interrupt) -> anyhow::Result<Outcome> {
        loop {
            if let Some(signal) = interrupt.signal() {
                return Ok(Outcome::Interrupted(signal));
            }
            if self.left == Some(0) {
                return Ok(Outcome::Done);
            }
            let batch = self.reader.poll().map_err(explain)?;
            self.tell_lapses();
            match batch {
                Some(batch) => {
                    if !self.print(&batch)? {
                        break;
                    }
                }
                None if follow => self.idle()?,
                None => return Ok(Outcome::Done),
            }
        }
        // The newest good record is not the end of the log if what stands behind it is damaged.
        if self.left != Some(0) {
            match self.reader.poll() {
                // What comes behind is none of this run's business.
                Ok(_) | Err(ReadError::Lapped { .. }) => {}
                Err(error) => return Err(explain(error)),
            }
        }
        Ok(Outcome::Done)
    }

    /// Prints what is wanted of a batch; `false` when that was the last.
    fn print(&mut self, batch: &Batch) -> anyhow::Result<bool> {
        for record in batch {
            if self.end.is_some_and(|end| record.seq_no() > end) || self.left == Some(0) {
                return Ok(false);
            }
            self.format.render(&record, self.out.buffer());
            self.out.spill()?;
            self.left = self.left.map(|n| n - 1);
        }
        Ok(self.end.is_none_or(|end| batch.last_seq_no() < end))
    }

    fn idle(&mut self) -> anyhow::Result<()> {
        self.out.flush()?;
        match self.reader.wait(Some(IDLE)).map_err(explain)? {
            Wakeup::Writer(status) => {
                if let Some(event) = describe(&status) {
                    notice!("waldo: {event}");
                }
            }
            _ if self.out.is_closed() => return Err(waldo_terminal::failure::OutputClosed.into()),
            _ => {}
        }
        Ok(())
    }

    fn tell_lapses(&mut self) {
        let lapses = self.reader.lapses();
        if lapses.count > self.lapses {
            self.lapses = lapses.count;
            let lost = match lapses.lost {
                Some(lost) => format!("{} records lost so far", units::count(lost)),
                None => "how many records are lost is not known".to_owned(),
            };
            notice!("waldo: the ring has overtaken this reader: {lost}; going on");
        }
    }
}

/// What a change of the writer's state means to somebody who follows the ring; `None` if nothing.
fn describe(status: &WriterStatus) -> Option<String> {
    Some(match status {
        WriterStatus::Live => return None,
        WriterStatus::Recovering => "a writer is opening the ring".to_owned(),
        WriterStatus::Closed => "the writer has closed the ring; waiting for it to come back".to_owned(),
        WriterStatus::Failed { errno } => format!(
            "the writer has stopped after an error ({}); waiting for it to come back",
            std::io::Error::from_raw_os_error(*errno)
        ),
        WriterStatus::Stalled { age } => {
            format!("the writer has not been heard of for {}; still waiting", units::duration(*age))
        }
        WriterStatus::Restarted { epoch } => format!("the writer has been started anew (epoch {epoch})"),
        WriterStatus::Absent => "there is no writer; waiting for one".to_owned(),
        other => format!("the writer: {other}"),
    })
}

/// The library's message, in the words of this command where its remedy is another one.
fn explain(error: ReadError) -> anyhow::Error {
    match error {
        ReadError::Lapped { requested, oldest, lost } => {
            let lost = lost.map_or(String::new(), |n| format!(", so {n} records are lost to this reader"));
            anyhow::anyhow!(
                "the ring has overtaken this reader: what follows record {requested} has been dropped{lost}; the oldest \
                 record left is {oldest}. Go on with `--from {oldest}`, or let `--on-lapped oldest` (or `tip`) go \
                 on by itself"
            )
        }
        other => other.into(),
    }
}

fn parse_cursor(text: &str) -> anyhow::Result<Cursor> {
    match text {
        "oldest" => return Ok(Cursor::Oldest),
        "tip" => return Ok(Cursor::Tip),
        _ => {}
    }
    if let Ok(seq_no) = text.parse() {
        return Ok(Cursor::From(seq_no));
    }
    units::parse_time(text, SystemTime::now()).map(Cursor::Since).ok_or_else(|| {
        Usage(format!(
            "`--from {text}` is no place in a ring: use oldest, tip, a sequence number, or a time \
             like 2026-01-31T12:00:00Z or 5m"
        ))
        .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        assert!(matches!(parse_cursor("oldest"), Ok(Cursor::Oldest)));
        assert!(matches!(parse_cursor("tip"), Ok(Cursor::Tip)));
        assert!(matches!(parse_cursor("17"), Ok(Cursor::From(17))));
        assert!(matches!(parse_cursor("5m"), Ok(Cursor::Since(_))));
        assert!(parse_cursor("nowhere").unwrap_err().is::<Usage>());
    }
}
