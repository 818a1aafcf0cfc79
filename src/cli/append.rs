//! `waldo append`: standard input into a ring.

use super::failure::Outcome;
use super::input::Input;
use super::interrupt::{Interrupt, Ready};
use super::units;
use super::writer_args::{WriterArgs, payload_limit};
use anyhow::Context;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Instant;
use waldo::writer::Writer;

/// Append standard input to a ring, a record a line.
///
/// Makes the ring if there is none. Records are numbered on from the newest one. Whatever one read brings is
/// appended together, so that a slow producer's records are visible at once and a fast one's travel in
/// large batches.
///
/// Every line is a record, without its newline, whatever bytes it holds; `waldo tail` prints them with a newline
/// behind each, so that text comes out as it went in. (If the input does not end in a newline, the output has
/// one more.) For records that hold newlines use --framed.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  git log -p | waldo append /var/tmp/ring            one record a line
  waldo tail A --format raw | waldo append --framed B  copy the records of one ring into another
  seq 1000000 | waldo append --no-sync --ring-size 4 --page-size 16M /var/tmp/ring")]
pub struct Args {
    /// Directory of the ring.
    home: PathBuf,
    #[command(flatten)]
    writer: WriterArgs,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::install()?;
    let mut writer = args.writer.open(&args.home, false)?;
    let stdin = std::io::stdin().as_fd().try_clone_to_owned().context("cannot use standard input")?;
    let mut feed = Feed::new(&args.writer, payload_limit(&args.home));
    let result = feed.pump(&mut writer, File::from(stdin), &interrupt);
    let closed = writer.close().context("cannot close the ring");
    feed.summary();
    let outcome = result?;
    closed?;
    Ok(outcome)
}

/// Moves records from an input into a writer, and counts them.
pub struct Feed<'a> {
    args: &'a WriterArgs,
    limit: usize,
    started: Instant,
    records: u64,
    bytes: u64,
    first: Option<u64>,
    last: u64,
}

impl<'a> Feed<'a> {
    /// Payloads longer than `limit` bytes are refused.
    pub fn new(args: &'a WriterArgs, limit: usize) -> Feed<'a> {
        Feed { args, limit, started: Instant::now(), records: 0, bytes: 0, first: None, last: 0 }
    }

    /// Appends everything from `source` until it ends or a signal comes.
    pub fn pump(
        &mut self,
        writer: &mut Writer,
        source: File,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Outcome> {
        let poll_fd = source.try_clone().context("cannot use the input")?;
        let mut input = Input::new(source, self.args.framing(), self.args.batch(), self.limit);
        loop {
            if let Ready::Signal(signal) = interrupt.wait_readable(Some(poll_fd.as_fd()), None)? {
                if input.unfinished() > 0 {
                    eprintln!(
                        "waldo: interrupted; {} bytes of an unfinished record were not appended",
                        input.unfinished()
                    );
                }
                return Ok(Outcome::Interrupted(signal));
            }
            let more = input.read();
            self.append(writer, &input)?;
            if !more? {
                return Ok(Outcome::Done);
            }
        }
    }

    fn append(&mut self, writer: &mut Writer, input: &Input<File>) -> anyhow::Result<()> {
        let batch = input.batch();
        if batch.is_empty() {
            return Ok(());
        }
        let first = input.first_number();
        let appended = writer.append_payloads(&batch).with_context(|| {
            format!("cannot append records {first} to {} of the input", first + batch.len() as u64 - 1)
        })?;
        self.records += batch.len() as u64;
        self.bytes += batch.iter().map(|payload| payload.len() as u64).sum::<u64>();
        self.first.get_or_insert(appended.first_seq_no);
        self.last = appended.last_seq_no;
        Ok(())
    }

    /// Says on stderr what was appended, unless that is not wanted.
    pub fn summary(&self) {
        if self.args.quiet {
            return;
        }
        match self.first {
            None => eprintln!("appended nothing"),
            Some(first) => eprintln!(
                "appended {} records, {} ({} bytes), seq {first} to {}, in {}",
                units::count(self.records),
                units::bytes(self.bytes),
                self.bytes,
                self.last,
                units::duration(self.started.elapsed())
            ),
        }
    }
}
