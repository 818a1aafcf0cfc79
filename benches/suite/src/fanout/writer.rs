//! The writer process: does what it is told, a line of standard input each.

use super::load::{Feeder, Pace};
use super::note::Note;
use super::payload::Purpose;
use anyhow::{Context, bail};
use std::collections::VecDeque;
use std::io::BufRead;
use std::path::Path;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};
use waldo::writer::{Durability, Scheduling, Writer, WriterOptions};
use waldo_harness::processes::child::Words;
use waldo_harness::processes::event_log::EventWriter;
use waldo_harness::{ring::index_capacity, scheduling::schedule_this_thread};

/// How often it says how far it is.
const NOTE_TIME: Duration = Duration::from_millis(250);
/// Bytes of one append while the ring is filled.
const FILL_BYTES: usize = 1 << 20;
/// Bytes that are new at each flush that is timed.
const FLUSH_BYTES: usize = 1 << 20;

/// Entry point: ring size, page length, payload size, durable appends, nanoseconds between wakes (0: as
/// usual) and between background flushes, scheduling, board, home. Orders come on standard input.
pub fn main(words: &mut Words) -> anyhow::Result<()> {
    let (ring_size, page_len, size): (u32, u64, usize) = (words.word()?, words.word()?, words.word()?);
    let (durable, wake_ns, flush_ns): (bool, u64, u64) = (words.word()?, words.word()?, words.word()?);
    let scheduling: Scheduling = words.word()?;
    let (board, home) = (words.path().unwrap_or_default(), words.path().unwrap_or_default());
    let mut options = WriterOptions::default()
        .ring_size(ring_size)
        .page_len(page_len)
        .index_capacity(index_capacity(page_len)?)
        .durability(if durable {
            Durability::Sync
        } else {
            Durability::Interval(Duration::from_nanos(flush_ns))
        })
        .remove_control(true);
    if wake_ns > 0 {
        options.min_wake_interval = Duration::from_nanos(wake_ns);
    }
    let mut pin = EventWriter::open(&board)?;
    let writer =
        Writer::open(&home, options).with_context(|| format!("cannot make a ring in {}", home.display()))?;
    let mut feeder = Feeder::new(writer, size);
    let result = obey(&mut feeder, &mut pin, scheduling, u64::from(ring_size) * page_len, page_len);
    let closed = feeder.writer.close().context("cannot close the ring");
    match result.and_then(|said_so| closed.map(|()| said_so)) {
        Ok(true) => Ok(()),
        Ok(false) => {
            remove_all(&board, &home);
            Ok(())
        }
        Err(error) => pin.post(&Note::Failed { reader: None, error: format!("{error:#}") }.line()),
    }
}

/// The command is dead: nobody else will do it. Readers die with it by themselves.
fn remove_all(board: &Path, home: &Path) {
    if let Some(dir) = board.parent().filter(|dir| home.starts_with(dir)) {
        // There is nobody left to tell.
        let _ = std::fs::remove_dir_all(dir);
    }
}

/// Does what it is told until it is told to end; `false` if the orders end without that.
fn obey(
    feeder: &mut Feeder,
    pin: &mut EventWriter,
    scheduling: Scheduling,
    ring_bytes: u64,
    page_len: u64,
) -> anyhow::Result<bool> {
    // Once round: what follows is written over pages that have been used, as in a ring that has run for a
    // while.
    let mut filled = 0;
    while filled < ring_bytes + page_len {
        feeder.append_bulk(FILL_BYTES)?;
        filled += FILL_BYTES as u64;
    }
    feeder.writer.sync()?;
    // The default slack of 50 us would make appends late that nobody else holds up.
    nix::sys::prctl::set_timerslack(1).context("cannot ask for a finer timer")?;
    schedule_this_thread(scheduling)?;
    let ready = |feeder: &Feeder| Note::Ready { tip: feeder.writer.tip().unwrap_or(0) };
    pin.post(&ready(feeder).line())?;
    let mut orders = Orders::listen();
    while let Some(line) = orders.next() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["flat", name, seconds] => run(feeder, pin, &mut orders, name, Pace::Flat, seconds)?,
            ["pace", name, seconds, rate] => {
                run(feeder, pin, &mut orders, name, Pace::Rate(rate.parse()?), seconds)?;
            }
            ["bulk"] => feeder.append_to_flush(FLUSH_BYTES.min(page_len as usize / 64))?,
            ["flush"] => feeder.flush()?,
            ["flushed", name] => {
                let latency = feeder.take_flushes().to_text();
                pin.post(&Note::Flushes { name: name.into(), latency }.line())?;
            }
            ["page"] => {
                new_page(feeder, page_len)?;
                pin.post(&ready(feeder).line())?;
            }
            ["mark"] => feeder.append(Purpose::Mark)?,
            ["ping"] => feeder.append(Purpose::Ping)?,
            ["finish"] => feeder.append(Purpose::End)?,
            ["end"] => return Ok(true),
            _ => bail!("`{line}` is no order"),
        }
    }
    Ok(false)
}

/// The orders that come on standard input.
struct Orders {
    inbox: Receiver<String>,
    /// Taken from the inbox ahead of time.
    waiting: VecDeque<String>,
}

impl Orders {
    fn listen() -> Orders {
        let (sender, inbox) = channel();
        std::thread::spawn(move || {
            // Ends when the input does or nobody takes its lines any more.
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Orders { inbox, waiting: VecDeque::new() }
    }

    /// Waits for the next one; `None` if there will be none.
    fn next(&mut self) -> Option<String> {
        self.waiting.pop_front().or_else(|| self.inbox.recv().ok())
    }

    /// Whether what is being done now is of no use any more.
    fn cut_short(&mut self) -> bool {
        loop {
            match self.inbox.try_recv() {
                Ok(order) => self.waiting.push_back(order),
                Err(TryRecvError::Disconnected) => return true,
                Err(TryRecvError::Empty) => return self.waiting.iter().any(|order| order == "end"),
            }
        }
    }
}

/// Appends until a page has just begun: from then on there is about a page's length of room.
fn new_page(feeder: &mut Feeder, page_len: u64) -> anyhow::Result<()> {
    let page = |feeder: &Feeder| feeder.writer.committed().page();
    let before = page(feeder);
    while page(feeder) == before {
        feeder.append_bulk((page_len / 256).clamp(4096, 64 << 10) as usize)?;
    }
    Ok(())
}

fn run(
    feeder: &mut Feeder,
    pin: &mut EventWriter,
    orders: &mut Orders,
    name: &str,
    pace: Pace,
    seconds: &str,
) -> anyhow::Result<()> {
    let time = Duration::from_secs(seconds.parse()?);
    let mut noted = Instant::now();
    let load = feeder.run(name, pace, time, |records| {
        if noted.elapsed() > NOTE_TIME {
            noted = Instant::now();
            pin.post(&Note::Written { records }.line())?;
        }
        Ok(!orders.cut_short())
    })?;
    pin.post(&Note::Load(load).line())
}
