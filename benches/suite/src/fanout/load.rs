//! Appending for a while, and timing it.

use super::payload::{self, Purpose};
use super::sum::Load;
use anyhow::Context;
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, ClockNanosleepFlags, clock_nanosleep};
use std::time::Duration;
use waldo::writer::{Durability, Writer};
use waldo_harness::processes::child::{cpu_ns, now_ns, thread_cpu_ns};
use waldo_harness::results::histogram::Latency;

/// Later than this is late.
const LATE_NS: u64 = 1_000_000;
/// Time between two looks at the orders.
const LOOK_NS: u64 = 50_000_000;

/// When appends are due.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// One after the other.
    Flat,
    /// So many a second, each at its time.
    Rate(u64),
}

/// Appends records one by one.
pub struct Feeder {
    /// The log.
    pub writer: Writer,
    payload: Vec<u8>,
    /// Records so far.
    pub records: u64,
    flushes: Latency,
}

impl Feeder {
    /// For payloads of `size` bytes.
    pub fn new(writer: Writer, size: usize) -> Feeder {
        Feeder { writer, payload: vec![0; size], records: 0, flushes: Latency::new() }
    }

    /// Appends one record.
    pub fn append(&mut self, purpose: Purpose) -> anyhow::Result<()> {
        payload::fill(&mut self.payload, purpose, now_ns(), self.records as u8);
        self.writer.append_payloads(&[&self.payload]).context("cannot append")?;
        self.records += 1;
        Ok(())
    }

    /// Appends about so many bytes of records at once.
    pub fn append_bulk(&mut self, bytes: usize) -> anyhow::Result<()> {
        payload::fill(&mut self.payload, Purpose::Load, now_ns(), self.records as u8);
        let batch = vec![self.payload.as_slice(); (bytes / self.payload.len()).max(1)];
        self.writer.append_payloads(&batch).context("cannot append")?;
        self.records += batch.len() as u64;
        Ok(())
    }

    /// Appends for `time`. `news` is told now and then how many records there are, and whether to go on.
    pub fn run(
        &mut self,
        name: &str,
        pace: Pace,
        time: Duration,
        mut news: impl FnMut(u64) -> anyhow::Result<bool>,
    ) -> anyhow::Result<Load> {
        let (mut service, mut late) = (Latency::new(), Latency::new());
        let mut load = Load { name: name.to_owned(), ..Load::default() };
        let (thread_cpu, process_cpu) = (thread_cpu_ns(), cpu_ns());
        let begun = now_ns();
        let end = begun + time.as_nanos() as u64;
        let mut now = begun;
        let mut looked = begun;
        while now < end {
            let before = match pace {
                Pace::Flat => now,
                Pace::Rate(rate) => {
                    let due = begun + (u128::from(load.appends) * 1_000_000_000 / u128::from(rate)) as u64;
                    if due >= end {
                        break;
                    }
                    sleep_until(due)?;
                    now_ns()
                }
            };
            self.append(Purpose::Load)?;
            now = now_ns();
            service.record_ns(now - before);
            if let Pace::Rate(rate) = pace {
                let due = begun + (u128::from(load.appends) * 1_000_000_000 / u128::from(rate)) as u64;
                late.record_ns(now - due);
                load.late_over_1ms += u64::from(now - due > LATE_NS);
            }
            load.appends += 1;
            if now - looked > LOOK_NS {
                looked = now;
                if !news(self.records)? {
                    break;
                }
            }
        }
        load.took_ns = now_ns() - begun;
        load.thread_cpu_ns = thread_cpu_ns() - thread_cpu;
        load.process_cpu_ns = cpu_ns() - process_cpu;
        load.service = service.to_text();
        load.late = late.to_text();
        Ok(load)
    }

    /// Appends records of so many bytes for a flush that is to be timed. If appends are durable, this is it.
    pub fn append_to_flush(&mut self, bytes: usize) -> anyhow::Result<()> {
        let before = now_ns();
        self.append_bulk(bytes)?;
        if self.is_durable() {
            self.flushes.record_ns(now_ns() - before);
        }
        Ok(())
    }

    /// Times a flush.
    pub fn flush(&mut self) -> anyhow::Result<()> {
        let before = now_ns();
        self.writer.sync().context("cannot flush")?;
        if !self.is_durable() {
            self.flushes.record_ns(now_ns() - before);
        }
        Ok(())
    }

    /// The flushes timed since the last call.
    pub fn take_flushes(&mut self) -> Latency {
        std::mem::take(&mut self.flushes)
    }

    fn is_durable(&self) -> bool {
        self.writer.options().durability == Durability::Sync
    }
}

/// Sleeps until the clock of [`now_ns`] shows this; not at all if it is past.
fn sleep_until(at_ns: u64) -> anyhow::Result<()> {
    if now_ns() >= at_ns {
        return Ok(());
    }
    let at = TimeSpec::from_duration(Duration::from_nanos(at_ns));
    match clock_nanosleep(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &at) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(errno) => Err(anyhow::Error::new(errno).context("cannot sleep")),
    }
}
