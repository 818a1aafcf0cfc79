//! Moving records from an input to where they are stored.

use super::sink::{Sink, Stored};
use crate::input::{Input, Source};
use crate::writer_args::WriterArgs;
use anyhow::Context;
use std::time::{Duration, Instant};
use waldo_terminal::failure::Outcome;
use waldo_terminal::interrupt::{Interrupt, Ready, is_readable};
use waldo_terminal::notice;
use waldo_terminal::units;

/// Moves records from an input into a sink.
pub struct Feed<'a> {
    args: &'a WriterArgs,
    limit: usize,
    started: Instant,
    /// Records at the beginning of the input that are stored already.
    skip: u64,
    /// Records of the input that were left out.
    refused: u64,
    /// Those and the ones that were split or cut short.
    troubles: u64,
    /// Bytes of payload that were left out.
    left_out: u64,
}

/// How often somebody without input looks whether the writer is still alive: one that has failed must not
/// look alive to a service manager until the next record comes.
pub const CHECK: Duration = Duration::from_secs(1);

/// Records of the input that are told one by one, if they cannot be appended as they are.
const TOLD: u64 = 16;

impl<'a> Feed<'a> {
    /// Payloads longer than `limit` bytes are dealt with as the arguments say.
    pub fn new(args: &'a WriterArgs, limit: usize) -> Feed<'a> {
        Feed { args, limit, started: Instant::now(), skip: 0, refused: 0, troubles: 0, left_out: 0 }
    }

    /// Passes over the first `skip` records.
    pub fn skip(mut self, skip: u64) -> Feed<'a> {
        self.skip = skip;
        self
    }

    /// Appends everything from `source` until it ends or a signal comes. After a signal that is what had been
    /// sent before it came.
    pub fn pump(
        &mut self,
        sink: &mut dyn Sink,
        source: Source,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Outcome> {
        let batch = self.args.batch();
        let mut input = Input::new(source, self.args.framing(), batch, self.limit, self.args.long_lines);
        loop {
            match interrupt.wait_readable(Some(input.source().fd()), Some(CHECK))? {
                Ready::Signal(signal) => {
                    self.take_rest(sink, &mut input)?;
                    return Ok(Outcome::Interrupted(signal));
                }
                Ready::TimedOut => {
                    sink.check()?;
                    continue;
                }
                Ready::Input => {}
            }
            if !self.step(sink, &mut input)? {
                return Ok(Outcome::Done);
            }
        }
    }

    /// Reads once and appends what came; `false` when nothing can come any more.
    fn step(&mut self, sink: &mut dyn Sink, input: &mut Input<Source>) -> anyhow::Result<bool> {
        let more = input.read().context("cannot read the input")?;
        self.append(sink, input)?;
        self.tell(input);
        if !more && input.source().goes_on() {
            input.source().reopen()?;
            return Ok(true);
        }
        Ok(more)
    }

    /// A signal has come: appends what a pipe holds now, which would be lost with this process, and says what
    /// is left.
    fn take_rest(&mut self, sink: &mut dyn Sink, input: &mut Input<Source>) -> anyhow::Result<()> {
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
            more = self.step(sink, input)? && left > 0;
        }
        if input.unfinished() > 0 {
            let unfinished = input.unfinished();
            notice!("waldo: interrupted; {unfinished} bytes of an unfinished record were not appended");
        }
        Ok(())
    }

    fn append(&mut self, sink: &mut dyn Sink, input: &Input<Source>) -> anyhow::Result<()> {
        let batch = input.batch();
        let skip = self.skip.min(batch.len() as u64);
        self.skip -= skip;
        let batch = batch.get(skip as usize..).unwrap_or_default();
        if batch.is_empty() {
            return Ok(());
        }
        let first = input.first_number() + skip;
        sink.append(first, batch)
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
    pub fn summary(&self, stored: &Stored) {
        if self.args.quiet {
            return;
        }
        let mut text = match stored.first {
            None => "appended nothing".to_owned(),
            Some(first) => format!(
                "appended {} records, {} ({} bytes), seq {first} to {}, in {}",
                units::count(stored.records),
                units::bytes(stored.bytes),
                stored.bytes,
                stored.last,
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
