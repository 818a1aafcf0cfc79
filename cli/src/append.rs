//! `waldo append`: standard input into a ring.

use crate::input::{Input, Source};
use crate::writer_args::{WriterArgs, payload_limit};
use anyhow::Context;
use std::path::PathBuf;
use std::time::Instant;
use waldo::writer::Writer;
use waldo_terminal::failure::Outcome;
use waldo_terminal::interrupt::{Interrupt, Ready, is_readable};
use waldo_terminal::notice;
use waldo_terminal::units;

/// Append standard input to a ring, a record a line.
///
/// Makes the ring if there is none. Records are numbered on from the newest one. Whatever one read brings is
/// appended together, so that a slow producer's records are visible at once and a fast one's travel in
/// large batches.
///
/// Every line is a record, without its newline, whatever bytes it holds; `waldo tail` prints them with a
/// newline behind each, so that text comes out as it went in. (If the input does not end in a newline, the
/// output has one more.) For records that hold newlines use --framed.
///
/// A line that is longer than the ring takes, or half a frame at the end, is left out and reported with its
/// offset in the input; everything else is appended, and the exit code is 3. --long-lines chooses otherwise.
/// When a signal ends the command, what a pipe held by then is appended first.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  git log -p | waldo append /var/tmp/ring            one record a line
  waldo tail A --format raw | waldo append --framed B  copy the records of one ring into another
  seq 1000000 | waldo append --no-sync --ring-size 4 --page-size 16M /var/tmp/ring

Exit codes: 0 everything is appended; 1 failure; 2 wrong usage; 3 appended but for records that were refused; 128 + n
ended by signal n, with the ring closed in good order.")]
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
    let mut feed = Feed::new(&args.writer, payload_limit(&args.home));
    let result = Source::stdin().and_then(|stdin| feed.pump(&mut writer, stdin, &interrupt));
    let closed = writer.close().context("cannot close the ring");
    feed.summary();
    let outcome = result?;
    closed?;
    Ok(feed.judge(outcome))
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
    /// Records of the input that were left out.
    refused: u64,
    /// Those and the ones that were split or cut short.
    troubles: u64,
    /// Bytes of payload that were left out.
    left_out: u64,
}

/// Records of the input that are told one by one, if they cannot be appended as they are.
const TOLD: u64 = 16;

impl<'a> Feed<'a> {
    /// Payloads longer than `limit` bytes are dealt with as the arguments say.
    pub fn new(args: &'a WriterArgs, limit: usize) -> Feed<'a> {
        Feed {
            args,
            limit,
            started: Instant::now(),
            records: 0,
            bytes: 0,
            first: None,
            last: 0,
            refused: 0,
            troubles: 0,
            left_out: 0,
        }
    }

    /// Appends everything from `source` until it ends or a signal comes. After a signal that is what had been
    /// sent before it came.
    pub fn pump(
        &mut self,
        writer: &mut Writer,
        source: Source,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Outcome> {
        let batch = self.args.batch();
        let mut input = Input::new(source, self.args.framing(), batch, self.limit, self.args.long_lines);
        loop {
            let ready = interrupt.wait_readable(Some(input.source().fd()), None)?;
            if let Ready::Signal(signal) = ready {
                self.take_rest(writer, &mut input)?;
                return Ok(Outcome::Interrupted(signal));
            }
            if !self.step(writer, &mut input)? {
                return Ok(Outcome::Done);
            }
        }
    }

    /// Reads once and appends what came; `false` when nothing can come any more.
    fn step(&mut self, writer: &mut Writer, input: &mut Input<Source>) -> anyhow::Result<bool> {
        let more = input.read().context("cannot read the input")?;
        self.append(writer, input)?;
        self.tell(input);
        if !more && input.source().goes_on() {
            input.source().reopen()?;
            return Ok(true);
        }
        Ok(more)
    }

    /// A signal has come: appends what a pipe holds now, which would be lost with this process, and says what
    /// is left.
    fn take_rest(&mut self, writer: &mut Writer, input: &mut Input<Source>) -> anyhow::Result<()> {
        let enough = input.received() + input.source().waiting();
        let mut more = true;
        // One look more than there are bytes sees the end, which makes a record of a last line without a
        // newline.
        while more && input.source().volatile() && is_readable(input.source().fd()) {
            let left = input.source().waiting();
            if left > 0 && input.received() >= enough {
                notice!("waldo: interrupted; {left} bytes that were sent afterwards were not appended");
                break;
            }
            more = self.step(writer, input)? && left > 0;
        }
        if input.unfinished() > 0 {
            let unfinished = input.unfinished();
            notice!("waldo: interrupted; {unfinished} bytes of an unfinished record were not appended");
        }
        Ok(())
    }

    fn append(&mut self, writer: &mut Writer, input: &Input<Source>) -> anyhow::Result<()> {
        let batch = input.batch();
        if batch.is_empty() {
            return Ok(());
        }
        let first = input.first_number();
        let appended = writer.append_payloads(&batch).with_context(|| {
            format!("cannot append {} records of the input, from number {first} on", batch.len())
        })?;
        self.records += batch.len() as u64;
        self.bytes += batch.iter().map(|payload| payload.len() as u64).sum::<u64>();
        self.first.get_or_insert(appended.first_seq_no);
        self.last = appended.last_seq_no;
        Ok(())
    }

    /// Says what could not be appended as it was. The log must not grow with what somebody sends, so after
    /// the first few only every second, fourth, ... one is told.
    fn tell(&mut self, input: &mut Input<Source>) {
        for trouble in input.troubles() {
            self.troubles += 1;
            self.refused += u64::from(trouble.refused());
            if self.troubles <= TOLD || self.troubles.is_power_of_two() {
                notice!("waldo: {trouble}");
            }
            if self.troubles == TOLD {
                notice!("waldo: from now on only the 32nd, 64th, 128th, ... record like that is told");
            }
        }
        self.left_out = input.left_out();
    }

    /// The outcome, unless it is bad anyway: whether everything was appended.
    pub fn judge(&self, outcome: Outcome) -> Outcome {
        if outcome == Outcome::Done && self.refused > 0 { Outcome::Partly } else { outcome }
    }

    /// Says on stderr what was appended, unless that is not wanted.
    pub fn summary(&self) {
        if self.args.quiet {
            return;
        }
        let mut text = match self.first {
            None => "appended nothing".to_owned(),
            Some(first) => format!(
                "appended {} records, {} ({} bytes), seq {first} to {}, in {}",
                units::count(self.records),
                units::bytes(self.bytes),
                self.bytes,
                self.last,
                units::duration(self.started.elapsed())
            ),
        };
        if self.troubles > 0 {
            text.push_str(&format!(
                "; {} records of the input refused, {} split or cut short, {} bytes left out",
                units::count(self.refused),
                units::count(self.troubles - self.refused),
                self.left_out
            ));
        }
        notice!("{text}");
    }
}
