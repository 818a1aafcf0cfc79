//! The writing process, and the reading one that it starts.

use super::STAMP_LEN;
use super::follower::{FOLLOWER, Kind};
use crate::floor;
use crate::ring::{self, COMMITTED};
use crate::scratch::Area;
use crate::setting::Plan;
use crate::system::{SharedSlate, Slate};
use crate::watch::Watch;
use anyhow::{Context, bail};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::hint::spin_loop;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::process::ChildStdout;
use std::slice::from_ref;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};
use waldo::writer::Writer;
use waldo_harness::processes::child::now_ns;
use waldo_harness::processes::child_guard::ChildGuard;
use waldo_harness::results::histogram::Latency;

/// A follower that has not answered by then has been lost.
const LOST_AFTER: Duration = Duration::from_secs(30);
/// Sleeping ends about so much too late; the rest is spent looking at the clock.
const SPIN_NS: u64 = 150_000;
/// Records between two looks at whether the user wants to go on.
const LOOK_EVERY: u64 = 1000;

/// A writer with its ring, a floor's file, and a follower.
pub struct Pair {
    writer: Writer,
    file: File,
    /// Records that fit into the file.
    slots: u64,
    slate: SharedSlate,
    follower: ChildGuard,
    answers: BufReader<ChildStdout>,
    watch: Watch,
    payload_len: usize,
    orders: u32,
}

impl Pair {
    /// Makes the ring and starts the follower.
    pub fn start(plan: &Plan, area: &Area, payload_len: usize, watch: &Watch) -> anyhow::Result<Pair> {
        let writer = ring::open(plan, area, COMMITTED)?;
        let path = floor::path(&area.floor(), 0);
        let file = floor::make_file(&path, plan.page_len).context("cannot make the floor's file")?;
        let open = OpenOptions::new().read(true).write(true).create_new(true).open(area.slate());
        let slate = open.and_then(|file| SharedSlate::map(&file)).context("cannot make shared memory")?;
        let size = ring::size(payload_len).to_string();
        let args = [OsString::from(size), area.home().into(), area.slate().into(), path.into()];
        let (follower, answers) = ChildGuard::start(FOLLOWER, args)?;
        Ok(Pair {
            writer,
            file,
            slots: plan.page_len / ring::size(payload_len) as u64,
            slate,
            follower,
            answers: BufReader::new(answers),
            watch: watch.clone(),
            payload_len,
            orders: 0,
        })
    }

    /// Sends `count` records, `rate` a second, and gives what the follower has seen of them.
    pub fn round(&mut self, kind: Kind, rate: u64, count: u64) -> anyhow::Result<Latency> {
        // The floor's follower must not be overtaken by a lap of its file.
        let count = if kind.is_floor() { count.min(self.slots) } else { count };
        self.begin(kind, count)?;
        let mut payload = vec![0x5a; self.payload_len];
        let mut record = vec![0x5a; ring::size(self.payload_len)];
        let start = now_ns() + 1_000_000;
        for n in 0..count {
            if n % LOOK_EVERY == 0 {
                self.watch.check()?;
            }
            let due = start + (u128::from(n) * 1_000_000_000 / u128::from(rate)) as u64;
            self.wait_until(due)?;
            let stamp = due.to_le_bytes();
            if kind.is_floor() {
                record[..STAMP_LEN].copy_from_slice(&stamp);
                self.file.write_all_at(&record, n * record.len() as u64)?;
                let flag = &self.slate.get().flag.0;
                flag.store(u32::try_from(n + 1)?, Ordering::Release);
                if kind == Kind::FloorSleep {
                    rustix::thread::futex::wake(flag, rustix::thread::futex::Flags::empty(), 1)?;
                }
            } else {
                payload[..STAMP_LEN].copy_from_slice(&stamp);
                self.writer.append_payloads(from_ref(&payload))?;
            }
        }
        self.answer()
    }

    fn begin(&mut self, kind: Kind, count: u64) -> anyhow::Result<()> {
        self.orders += 1;
        let order = kind.order(self.orders);
        let slate = self.slate.get();
        slate.flag.0.store(0, Ordering::Relaxed);
        slate.count.store(count, Ordering::Relaxed);
        // Pairs with the follower's load of it, which then sees flag and count.
        slate.order.store(order, Ordering::Release);
        rustix::thread::futex::wake(&slate.order, rustix::thread::futex::Flags::empty(), 1)?;
        let start = Instant::now();
        let ready = |slate: &Slate| slate.ready.load(Ordering::Acquire) == order;
        while !ready(self.slate.get()) {
            if start.elapsed() > LOST_AFTER || self.follower.has_ended()? {
                bail!("the reading process is lost: what it said last may tell why");
            }
            self.watch.check()?;
            thread::sleep(Duration::from_micros(100));
        }
        // It says so just before it goes to sleep.
        thread::sleep(Duration::from_millis(1));
        Ok(())
    }

    /// Sleeps if there is time for that, so that the reader has a core.
    fn wait_until(&self, due: u64) -> anyhow::Result<()> {
        loop {
            match due.saturating_sub(now_ns()) {
                0 => return Ok(()),
                left if left > SPIN_NS + 50_000_000 => {
                    self.watch.check()?;
                    thread::sleep(Duration::from_millis(50));
                }
                left if left > SPIN_NS => thread::sleep(Duration::from_nanos(left - SPIN_NS)),
                _ => spin_loop(),
            }
        }
    }

    fn answer(&mut self) -> anyhow::Result<Latency> {
        if self.answers.buffer().is_empty()
            && !self.watch.wait_readable(self.answers.get_ref().as_fd(), LOST_AFTER)?
        {
            bail!("the reading process has not seen all records after {} s", LOST_AFTER.as_secs());
        }
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("the reading process has ended early: what it said last may tell why");
        }
        Latency::parse(&line)
    }

    /// Ends both.
    pub fn close(self) -> anyhow::Result<()> {
        drop(self.follower);
        self.writer.close()?;
        Ok(())
    }
}
