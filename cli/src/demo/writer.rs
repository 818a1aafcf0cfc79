//! The writer process: appends when it is told to, and hashes what it appends.

use super::note::Note;
use super::plan::Geometry;
use super::tally::Tally;
use super::text;
use crate::input::{Framing, Input, Long};
use anyhow::Context;
use std::collections::VecDeque;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};
use waldo::writer::{Durability, Writer, WriterOptions};
use waldo_harness::processes::child::Words;
use waldo_harness::processes::event_log::EventWriter;
use waldo_harness::ring::index_capacity;
use waldo_shm_protocol::limits::{PAYLOAD_LEN_MAX, RECORD_HEADER_LEN, align_record};

/// Records appended together at most: small enough that readers see them come.
const BATCH_BYTES: usize = 64 * 1024;
/// How often it says how far it is.
const NOTE_TIME: Duration = Duration::from_millis(100);

/// What the demo tells the writer, a line each.
enum Order {
    /// All readers are there.
    Go,
    /// Every reader has seen the records up to here.
    Seen(u64),
    /// The demo is over. If the lines end without it, the demo is dead.
    End,
}

/// What to append, and how fast.
struct Job {
    records: u64,
    seconds: u64,
    rate: u64,
    /// Bytes that may be ahead of the slowest reader; 0 for any number.
    window: u64,
}

/// Entry point: ring size, page length, window, records, seconds, rate (0: no limit), whether to clean up if
/// the demo dies, end mark, board, home, input if any. Orders come on standard input.
pub fn main(words: &mut Words) -> anyhow::Result<()> {
    let geometry = Geometry { ring_size: words.word()?, page_len: words.word()?, window: words.word()? };
    let job =
        Job { records: words.word()?, seconds: words.word()?, rate: words.word()?, window: geometry.window };
    let clean_up: bool = words.word()?;
    let end_mark: String = words.word()?;
    let (board, home) = (words.path().unwrap_or_default(), words.path().unwrap_or_default());
    let input = words.path();
    let mut pin = EventWriter::open(&board)?;
    let mut orders = Orders::listen();
    let mut writer = open(&home, &geometry)?;
    let result = work(&mut writer, &mut pin, &mut orders, &job, input.as_deref(), end_mark.as_bytes());
    // Readers shall see a live writer until the demo is over.
    while result.is_ok() && !orders.over {
        orders.wait();
    }
    writer.close().context("cannot close the ring")?;
    if result.is_ok() && !orders.ended && clean_up {
        remove_all(&board, &home);
    }
    result
}

/// The demo is dead: nobody else will do it. Readers die with it by themselves.
fn remove_all(board: &Path, home: &Path) {
    if let Some(dir) = board.parent().filter(|dir| home.starts_with(dir)) {
        // There is nobody left to tell.
        let _ = std::fs::remove_dir_all(dir);
    }
}

fn open(home: &PathBuf, geometry: &Geometry) -> anyhow::Result<Writer> {
    let options = WriterOptions::default()
        .ring_size(geometry.ring_size)
        .page_len(geometry.page_len)
        .index_capacity(index_capacity(geometry.page_len)?)
        .durability(Durability::PageCache)
        .remove_control(true);
    Writer::open(home, options).with_context(|| format!("cannot make a ring in {}", home.display()))
}

/// The orders that have come.
struct Orders {
    inbox: Receiver<Order>,
    /// Every reader has seen the records up to here.
    seen: u64,
    /// The demo is over: it said so, or it is dead.
    over: bool,
    /// It said so.
    ended: bool,
}

impl Orders {
    fn listen() -> Orders {
        let (sender, inbox) = channel();
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                let order = match line.split_once(' ') {
                    None if line == "go" => Order::Go,
                    None if line == "end" => Order::End,
                    Some(("seen", seq_no)) => Order::Seen(seq_no.parse().unwrap_or(0)),
                    _ => continue,
                };
                if sender.send(order).is_err() {
                    return;
                }
            }
        });
        Orders { inbox, seen: 0, over: false, ended: false }
    }

    /// Waits for the next order.
    fn wait(&mut self) {
        match self.inbox.recv() {
            Ok(order) => self.obey(order),
            Err(_) => self.over = true,
        }
    }

    /// Takes in what has come meanwhile.
    fn look(&mut self) {
        loop {
            match self.inbox.try_recv() {
                Ok(order) => self.obey(order),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.over = true;
                    return;
                }
            }
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Go => {}
            Order::Seen(seq_no) => self.seen = self.seen.max(seq_no),
            Order::End => (self.over, self.ended) = (true, true),
        }
    }
}

fn work(
    writer: &mut Writer,
    pin: &mut EventWriter,
    orders: &mut Orders,
    job: &Job,
    input: Option<&Path>,
    end_mark: &[u8],
) -> anyhow::Result<()> {
    let source = text::source(input)?;
    // The first order is to go.
    orders.wait();
    let mut feeder =
        Feeder { writer, tally: Tally::new(), busy: Duration::ZERO, ahead: Ahead::new(job.window) };
    feeder.append_all(source, pin, orders, job)?;
    if orders.over {
        return Ok(());
    }
    feeder.append(&[end_mark])?;
    let busy_ns = feeder.busy.as_nanos() as u64;
    pin.post(&Note::Finished { sum: feeder.tally.sum(), busy_ns }.line())
}

struct Feeder<'a> {
    writer: &'a mut Writer,
    tally: Tally,
    busy: Duration,
    ahead: Ahead,
}

impl Feeder<'_> {
    fn append_all(
        &mut self,
        source: Box<dyn Read>,
        pin: &mut EventWriter,
        orders: &mut Orders,
        job: &Job,
    ) -> anyhow::Result<()> {
        let mut input = Input::new(source, Framing::Lines, BATCH_BYTES, PAYLOAD_LEN_MAX, Long::Split);
        let started = Instant::now();
        let mut noted = started;
        let mut left = job.records;
        let out_of_time = || job.seconds > 0 && started.elapsed() >= Duration::from_secs(job.seconds);
        while left > 0 {
            let more = input.read()?;
            let mut batch = input.batch();
            batch.truncate(usize::try_from(left).unwrap_or(usize::MAX));
            left -= batch.len() as u64;
            // With a rate, pieces of a hundredth of a second.
            let piece = if job.rate > 0 { (job.rate / 100).max(1) as usize } else { batch.len().max(1) };
            for piece in batch.chunks(piece) {
                self.ahead.make_room(orders);
                if orders.over || out_of_time() {
                    return Ok(());
                }
                self.append(piece)?;
                if job.rate > 0 {
                    let due = Duration::from_secs_f64(self.tally.sum().records as f64 / job.rate as f64);
                    std::thread::sleep(due.saturating_sub(started.elapsed()));
                }
                if noted.elapsed() > NOTE_TIME {
                    noted = Instant::now();
                    pin.post(&Note::Written { records: self.tally.last_seq_no() }.line())?;
                }
            }
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn append(&mut self, payloads: &[&[u8]]) -> anyhow::Result<()> {
        if payloads.is_empty() {
            return Ok(());
        }
        let started = Instant::now();
        let appended = self.writer.append_payloads(payloads).context("cannot append")?;
        self.busy += started.elapsed();
        let size = |payload: &&[u8]| align_record(RECORD_HEADER_LEN + payload.len()) as u64;
        self.ahead.add(appended.last_seq_no, payloads.iter().map(size).sum());
        for (seq_no, payload) in (appended.first_seq_no..).zip(payloads) {
            self.tally.add(seq_no, payload);
        }
        Ok(())
    }
}

/// How far the writer is ahead of the slowest reader.
struct Ahead {
    window: u64,
    /// Last number and size of each batch that some reader has not seen yet.
    unseen: VecDeque<(u64, u64)>,
    bytes: u64,
}

impl Ahead {
    fn new(window: u64) -> Ahead {
        Ahead { window, unseen: VecDeque::new(), bytes: 0 }
    }

    fn add(&mut self, last_seq_no: u64, bytes: u64) {
        if self.window > 0 {
            self.unseen.push_back((last_seq_no, bytes));
            self.bytes += bytes;
        }
    }

    /// Waits until the window has room, or the demo is over.
    fn make_room(&mut self, orders: &mut Orders) {
        orders.look();
        self.seen(orders.seen);
        while self.window > 0 && self.bytes >= self.window && !orders.over {
            orders.wait();
            self.seen(orders.seen);
        }
    }

    fn seen(&mut self, seq_no: u64) {
        while let Some((last, bytes)) = self.unseen.front().copied()
            && last <= seq_no
        {
            self.bytes -= bytes;
            self.unseen.pop_front();
        }
    }
}
