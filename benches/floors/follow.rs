//! From the call of append to the moment when a reader in another process has the record.

use crate::Bench;
use crate::args::{Plan, suffix};
use crate::child::Second;
use crate::floor::Files;
use crate::ring::{self, INTERVAL};
use crate::scratch::Area;
use crate::stats::{duel, quantile};
use crate::sys::{self, Board, SharedBoard};
use crate::table::{Goal, Unit};
use anyhow::bail;
use std::fs::{File, OpenOptions};
use std::hint::{black_box, spin_loop};
use std::slice::from_ref;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};
use waldo::protocol::limits::RECORD_HEADER_LEN;
use waldo::reader::{Cursor, ReaderOptions, Ring, WaitStrategy};
use waldo::writer::{Io, Writer};

const PAYLOAD: [u8; 100] = [0x5a; 100];
/// An order is its number times this plus what is to be done.
const KINDS: u32 = 8;
const SPIN: u32 = 1;
const SLEEP: u32 = 2;
const FLOOR_SPIN: u32 = 3;
const FLOOR_SLEEP: u32 = 4;
/// A follower that has not answered by then has been lost.
const LOST_AFTER: Duration = Duration::from_secs(10);

pub fn run(bench: &mut Bench) -> anyhow::Result<()> {
    bench.table.topic(
        "follow: from append to a reader in another process that has the record, median; \
         floor: pwrite and a flag in shared memory, or FUTEX_WAKE",
    );
    for io in bench.plan.io.clone() {
        let area = bench.scratch.area()?;
        let mut pair = Pair::start(&bench.plan, &area, io)?;
        let rows = [
            ("reader spins", SPIN, Gap::Busy(Duration::from_micros(20)), 500),
            ("reader sleeps, an append every 300 us", SLEEP, Gap::Idle(Duration::from_micros(300)), 200),
            ("reader sleeps, an append every 5 ms", SLEEP, Gap::Idle(Duration::from_millis(5)), 20),
        ];
        for (name, kind, gap, count) in rows {
            let count = bench.plan.count(count);
            let pair = std::cell::RefCell::new(&mut pair);
            let floor_kind = if kind == SPIN { FLOOR_SPIN } else { FLOOR_SLEEP };
            let duel = duel(&bench.plan, &mut || pair.borrow_mut().round(kind, gap, count), &mut || {
                pair.borrow_mut().round(floor_kind, gap, count)
            })?;
            bench.table.duel(&format!("{name}{}", suffix(io)), Unit::Ns, &duel, Goal::RatioAtMost(1.3));
        }
        pair.writer.close()?;
    }
    if thread::available_parallelism().map_or(1, |n| n.get()) < 4 {
        bench.table.note("writer, its notifier and the reader share fewer than four cores");
    }
    Ok(())
}

/// Time between two appends.
#[derive(Clone, Copy, Debug)]
enum Gap {
    /// Spent looking at the clock.
    Busy(Duration),
    /// Spent asleep, so that the reader's core is free and its sleep is deep.
    Idle(Duration),
}

struct Pair {
    writer: Writer,
    files: Files,
    board: SharedBoard,
    follower: Second,
    orders: u32,
}

impl Pair {
    fn start(plan: &Plan, area: &Area, io: Io) -> anyhow::Result<Pair> {
        let writer = Writer::open(area.home(), ring::options(plan, area, INTERVAL, io))?;
        let files = Files::make(&area.floor(), 1, plan.page_len)?;
        let board = SharedBoard::map(&open_board(&area.board())?)?;
        let floor_file = area.floor().join("file-0");
        let follower = Second::start([
            "follow".into(),
            area.home().into_os_string(),
            area.board().into_os_string(),
            floor_file.into_os_string(),
        ])?;
        Ok(Pair { writer, files, board, follower, orders: 0 })
    }

    /// Median over `count` appends.
    fn round(&mut self, kind: u32, gap: Gap, count: usize) -> anyhow::Result<f64> {
        self.orders += 1;
        let order = self.orders * KINDS + kind;
        let count = count.max(1);
        self.board.get().seen.0.0.store(0, Ordering::Relaxed);
        self.board.get().flag.0.store(0, Ordering::Relaxed);
        self.board.get().count.store(count as u64, Ordering::Relaxed);
        self.board.get().order.store(order, Ordering::Release);
        sys::futex_wake(&self.board.get().order);
        self.until("gets ready", |board| board.ready.load(Ordering::Acquire) == order)?;
        let bytes = vec![0x5a; ring::size(PAYLOAD.len())];
        let mut latencies = Vec::with_capacity(count);
        for n in 1..=count as u64 {
            match gap {
                Gap::Busy(time) => {
                    let start = Instant::now();
                    while start.elapsed() < time {
                        spin_loop();
                    }
                }
                Gap::Idle(time) => thread::sleep(time),
            }
            let start = sys::now_ns();
            match kind {
                SPIN | SLEEP => {
                    self.writer.append_payloads(from_ref(&PAYLOAD))?;
                }
                _ => {
                    self.files.write(&bytes)?;
                    let board = self.board.get();
                    // The follower reads the payload there.
                    let offset = self.files.offset() - bytes.len() as u64 + RECORD_HEADER_LEN as u64;
                    board.flag.0.store(u32::try_from(offset)?, Ordering::Release);
                    if kind == FLOOR_SLEEP {
                        sys::futex_wake(&board.flag.0);
                    }
                }
            }
            if let Gap::Idle(time) = gap {
                // Waiting for the answer must not take a core from anybody.
                thread::sleep(time.min(Duration::from_millis(1)));
            }
            self.until("reads", |board| board.seen.0.0.load(Ordering::Acquire) == n)?;
            latencies.push(self.board.get().seen.0.1.load(Ordering::Relaxed).saturating_sub(start) as f64);
        }
        Ok(quantile(latencies, 0.5))
    }

    fn until(&mut self, what: &str, done: impl Fn(&Board) -> bool) -> anyhow::Result<()> {
        let start = Instant::now();
        loop {
            for _ in 0..1000 {
                if done(self.board.get()) {
                    return Ok(());
                }
                spin_loop();
            }
            if start.elapsed() > LOST_AFTER || !self.follower.is_running()? {
                bail!("the follower is lost before it {what}");
            }
        }
    }
}

fn open_board(path: &std::path::Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

/// The other process.
pub fn follower(home: &str, board: &str, floor: &str) -> anyhow::Result<()> {
    let board = SharedBoard::map(&open_board(board.as_ref())?)?;
    let board = board.get();
    let ring = Ring::attach(home)?;
    let floor = sys::map(&File::open(floor)?)?;
    let mut done = 0;
    loop {
        let order = board.order.load(Ordering::Acquire);
        if order == done {
            sys::futex_wait(&board.order, order);
            continue;
        }
        match order % KINDS {
            SPIN => follow_ring(&ring, board, order, WaitStrategy::Spin)?,
            SLEEP => follow_ring(&ring, board, order, WaitStrategy::Park)?,
            kind => follow_floor(&floor, board, order, kind == FLOOR_SLEEP),
        }
        done = order;
    }
}

fn saw(board: &Board, n: u64) {
    let (seen, at) = &board.seen.0;
    at.store(sys::now_ns(), Ordering::Relaxed);
    seen.store(n, Ordering::Release);
}

fn follow_ring(ring: &Ring, board: &Board, order: u32, wait: WaitStrategy) -> anyhow::Result<()> {
    let mut reader = ring.reader_with(Cursor::Tip, ReaderOptions { wait, ..ReaderOptions::default() })?;
    let mut n = 0;
    board.ready.store(order, Ordering::Release);
    let count = board.count.load(Ordering::Relaxed);
    while n < count {
        let batch = if wait == WaitStrategy::Spin { reader.poll()? } else { reader.recv(None)? };
        for record in batch.iter().flatten() {
            black_box(record.data()[0]);
            n += 1;
            saw(board, n);
        }
        spin_loop();
    }
    Ok(())
}

fn follow_floor(floor: &[u8], board: &Board, order: u32, sleeping: bool) {
    let (mut n, mut last) = (0, 0);
    board.ready.store(order, Ordering::Release);
    let count = board.count.load(Ordering::Relaxed);
    while n < count {
        let flag = board.flag.0.load(Ordering::Acquire);
        if flag != last {
            black_box(floor.get(flag as usize));
            last = flag;
            n += 1;
            saw(board, n);
        } else if sleeping {
            sys::futex_wait(&board.flag.0, last);
        } else {
            spin_loop();
        }
    }
}
