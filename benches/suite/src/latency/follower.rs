//! The reading process.

use super::STAMP_LEN;
use crate::system::{self, SharedSlate, Slate};
use anyhow::Context;
use rustix::thread::futex;
use std::fs::{File, OpenOptions};
use std::hint::spin_loop;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use waldo::reader::{Cursor, ReaderOptions, Ring, WaitStrategy};
use waldo_harness::processes::child::{Words, die_with, now_ns};
use waldo_harness::results::histogram::Latency;

/// First argument of the reading process.
pub const FOLLOWER: &str = "bench-follower";

/// What is done in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A reader polls.
    Spin,
    /// A reader sleeps.
    Sleep,
    /// Flag and file, polled.
    FloorSpin,
    /// Flag and file, slept on.
    FloorSleep,
}

const KINDS: [Kind; 4] = [Kind::Spin, Kind::Sleep, Kind::FloorSpin, Kind::FloorSleep];

impl Kind {
    /// Whether Waldo takes no part.
    pub fn is_floor(self) -> bool {
        matches!(self, Kind::FloorSpin | Kind::FloorSleep)
    }

    /// As one word, different for every `number`.
    pub fn order(self, number: u32) -> u32 {
        number.wrapping_mul(KINDS.len() as u32) + self as u32
    }

    fn of(order: u32) -> Kind {
        KINDS[order as usize % KINDS.len()]
    }
}

/// The reading process: parent, bytes of a record, home, slate, floor's file.
pub fn follower_main(words: &mut Words) -> anyhow::Result<()> {
    die_with(words.word()?)?;
    let record_len: usize = words.word()?;
    let mut path = || words.path().context("a path is missing");
    let (home, slate, floor): (PathBuf, PathBuf, PathBuf) = (path()?, path()?, path()?);
    let slate = SharedSlate::map(&OpenOptions::new().read(true).write(true).open(slate)?)?;
    let slate = slate.get();
    let ring = Ring::attach(home)?;
    let floor = system::map(&File::open(floor)?)?;
    let mut done = 0;
    loop {
        // Pairs with the store after flag and count were set.
        let order = slate.order.load(Ordering::Acquire);
        if order == done {
            wait(&slate.order, order);
            continue;
        }
        let latency = match Kind::of(order) {
            Kind::Spin => follow_ring(&ring, slate, order, WaitStrategy::Spin)?,
            Kind::Sleep => follow_ring(&ring, slate, order, WaitStrategy::Park)?,
            kind => follow_floor(&floor, record_len, slate, order, kind == Kind::FloorSleep),
        };
        let mut out = std::io::stdout().lock();
        writeln!(out, "{}", latency.to_text())?;
        out.flush()?;
        done = order;
    }
}

/// Sleeps until `word` may have changed from `seen`; the caller looks at it again whatever came of this.
fn wait(word: &AtomicU32, seen: u32) {
    let _ = futex::wait(word, futex::Flags::empty(), seen, None);
}

/// Counts how long ago the record with this payload was due.
fn count(latency: &mut Latency, payload: Option<&[u8]>) {
    let stamp = payload.and_then(|payload| payload.get(..STAMP_LEN)?.try_into().ok());
    let due = stamp.map_or(0, u64::from_le_bytes);
    latency.record_ns(now_ns().saturating_sub(due));
}

fn follow_ring(ring: &Ring, slate: &Slate, order: u32, wait: WaitStrategy) -> anyhow::Result<Latency> {
    let mut reader = ring.reader_with(Cursor::Tip, ReaderOptions::default().wait(wait))?;
    let mut latency = Latency::new();
    let records = slate.count.load(Ordering::Relaxed);
    slate.ready.store(order, Ordering::Release);
    while latency.count() < records {
        let batch = if wait == WaitStrategy::Spin { reader.poll()? } else { reader.recv(None)? };
        for record in batch.iter().flatten() {
            count(&mut latency, Some(record.data()));
        }
        spin_loop();
    }
    Ok(latency)
}

fn follow_floor(floor: &[u8], record_len: usize, slate: &Slate, order: u32, sleeping: bool) -> Latency {
    let mut latency = Latency::new();
    let records = slate.count.load(Ordering::Relaxed);
    slate.ready.store(order, Ordering::Release);
    let mut seen = 0;
    while u64::from(seen) < records {
        // Pairs with the store after the record was written.
        let flag = slate.flag.0.load(Ordering::Acquire);
        if flag == seen {
            if sleeping { wait(&slate.flag.0, seen) } else { spin_loop() }
        }
        while seen < flag {
            count(&mut latency, floor.get(seen as usize * record_len..));
            seen += 1;
        }
    }
    latency
}
