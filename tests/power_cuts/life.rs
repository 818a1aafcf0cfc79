//! What the child does: opens the ring, reads all of it back, then appends until the end of the world.

use crate::args::Args;
use crate::child::tell;
use crate::dice::Dice;
use crate::oracle;
use crate::payload::{self, Origin};
use crate::plan;
use crate::points;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use waldo::protocol::limits::PAGE_LEN_MIN;
use waldo::reader::verify::{VerifyError, verify};
use waldo::reader::{AttachOptions, Cursor, Integrity, OnLapped, Reader, ReaderOptions, Ring, Visibility};
use waldo::writer::{AppendError, SharedWriter, Ticket, Writer};

/// Large appends in flight at once.
const IN_FLIGHT: usize = 8;

/// Says, in this order:
///
/// - `opening`, then `opened PAGES CUT PAGE`, or `refused ERROR` and nothing more
/// - what a reader finds: `run LIFE FIRST LAST` for each run of records of one life, `wrong WHAT` if a record
///   is not as it was appended or reading fails, then `ready FIRST LAST` (both 0 if there is nothing)
/// - with `die_at` and `die_after_us`, it dies by itself at a point
/// - with the argument `look`, nothing more; it ends without closing, or having closed if `close` is 1
/// - as it goes on: `acked N MICROSECONDS`, `durable N` when a call says so, `seen N` when a reader of
///   durable records has record `N`; `failed ERROR` at the first append that fails; where only kills are
///   survived, `upto PAGE` before an append, which will not end behind that page
pub fn play(args: &Args) {
    let home = PathBuf::from(args.get("home"));
    tell("opening");
    if args.has("die_at") {
        points::die_at(args.number("die_at") as usize, Duration::from_micros(args.number("die_after_us")));
    }
    let writer = match Writer::open(&home, plan::options(args)) {
        Ok(writer) => writer,
        Err(error) => return tell(format!("refused {error}")),
    };
    let opened = writer.open_report();
    let cut = opened.cut.as_ref().map_or(0, |cut| cut.zeroed.max(1));
    tell(format!("opened {} {cut} {}", opened.pages, writer.committed().page()));
    let (first, last) = read_back(&home, args.number("seed").is_multiple_of(3));
    if let Err(error @ VerifyError::Damaged { .. }) = verify(&home, &mut |_| {}) {
        tell(format!("wrong verify says: {error}"));
    }
    tell(format!("ready {first} {last}"));
    if args.has("look") {
        match args.number("close") {
            1 => writer.close().unwrap(),
            // As if it had been killed here: nothing is closed.
            _ => std::mem::forget(writer),
        }
        return;
    }
    if args.number("follow") == 1 {
        thread::spawn(move || follow(&home));
    }
    let load = Load::new(args);
    let error = match args.number("shared") {
        1 => load.shared(&SharedWriter::new(writer)),
        _ => load.alone(writer),
    };
    tell(format!("failed {error}"));
    // What comes now is a kill, and the power cut was before.
    thread::sleep(Duration::from_secs(3600));
}

fn reader(home: &Path, files_only: bool, visibility: Visibility) -> Result<Reader, String> {
    let options = AttachOptions::default().files_only(files_only);
    let ring = Ring::attach_with(home, options).map_err(|error| error.to_string())?;
    let integrity = Integrity::Payloads;
    let options =
        ReaderOptions::default().integrity(integrity).visibility(visibility).on_lapped(OnLapped::Oldest);
    ring.reader_with(Cursor::Oldest, options).map_err(|error| error.to_string())
}

/// Reads the whole ring, and tells what is in it; its first and its last record.
fn read_back(home: &Path, files_only: bool) -> (u64, u64) {
    let mut runs: Vec<(u64, u64, u64)> = Vec::new();
    let mut first = 0;
    let mut last = 0;
    let mut outcome = reader(home, files_only, Visibility::Committed);
    let mut lapses = 0;
    while let Ok(reader) = &mut outcome {
        let batch = match reader.poll() {
            Ok(Some(batch)) => batch,
            Ok(None) => break,
            Err(error) => {
                outcome = Err(error.to_string());
                break;
            }
        };
        if reader.lapses().count > lapses {
            // The ring is smaller now, and pages go while this one reads.
            lapses = reader.lapses().count;
            runs.clear();
            first = 0;
        }
        for record in &batch {
            let seq_no = record.seq_no();
            match payload::read(record.data()) {
                Some(origin) if origin.seq_no == seq_no => match runs.last_mut() {
                    Some((life, _, end)) if *life == origin.life && *end + 1 == seq_no => *end = seq_no,
                    _ => runs.push((origin.life, seq_no, seq_no)),
                },
                other => {
                    tell(format!("wrong record {seq_no} holds {other:?}, {} bytes", record.data().len()))
                }
            }
            if first == 0 {
                first = seq_no;
            } else if seq_no != last + 1 || record.prev_seq_no() != last {
                tell(format!("wrong record {seq_no} after {} follows {last}", record.prev_seq_no()));
            }
            last = seq_no;
        }
    }
    if let Err(error) = outcome {
        tell(format!("wrong a reader says: {error}"));
    }
    for (life, first, last) in runs {
        tell(format!("run {life} {first} {last}"));
    }
    (first, last)
}

/// Tells which records readers are shown as durable.
fn follow(home: &Path) {
    let Ok(mut reader) = reader(home, false, Visibility::Durable) else { return };
    // After a failure of the disk there is nothing more to be seen.
    while let Ok(Some(batch)) = reader.recv(None) {
        tell(format!("seen {}", batch.last_seq_no()));
        for record in &batch {
            let origin = payload::read(record.data());
            if origin.is_none_or(|origin| origin.seq_no != record.seq_no()) {
                tell(format!("wrong record {} seen as {origin:?}", record.seq_no()));
            }
        }
    }
}

struct Load {
    dice: Dice,
    life: u64,
    max: usize,
    batch: u64,
    sync_every: u64,
    sync: bool,
    cache: bool,
}

impl Load {
    fn new(args: &Args) -> Load {
        Load {
            dice: Dice::new(args.number("seed")),
            life: args.number("life"),
            max: args.number("max") as usize,
            batch: args.number("batch"),
            sync_every: args.number("sync_every"),
            sync: args.number("interval") == 0 && args.number("cache") == 0,
            cache: args.number("cache") == 1,
        }
    }

    /// The payloads of the next append, which begins with record `next`.
    fn payloads(&mut self, next: u64) -> Vec<Vec<u8>> {
        // Now and then one that takes several pages.
        let most = if self.dice.chance(2) { 300 } else { self.batch };
        let count = self.dice.within(1..=most);
        (next..next + count)
            .map(|seq_no| payload::make(Origin { seq_no, life: self.life }, self.max))
            .collect()
    }

    fn acked(&self, last: u64) {
        match self.sync {
            true => tell(format!("durable {last}")),
            false => tell(format!("acked {last} {}", oracle::now_us())),
        }
    }

    fn is_time_to_sync(&mut self) -> bool {
        self.sync_every > 0 && self.dice.within(1..=self.sync_every) == 1
    }

    fn alone(mut self, mut writer: Writer) -> AppendError {
        loop {
            let payloads = self.payloads(writer.tip().unwrap_or(0) + 1);
            if self.cache {
                // At most: a page is filled to more than half.
                let bytes: usize = payloads.iter().map(|payload| payload.len() + 64).sum();
                let pages = bytes as u64 * 2 / PAGE_LEN_MIN + 2;
                tell(format!("upto {}", writer.committed().page() + pages));
            }
            match writer.append_payloads(&payloads) {
                Ok(appended) => self.acked(appended.last_seq_no),
                Err(error) => return end(error, writer),
            }
            if self.is_time_to_sync() {
                match writer.sync() {
                    Ok(()) => {
                        let page = writer.committed().page();
                        tell(format!("durable {} {page}", writer.tip().unwrap_or(0)));
                    }
                    Err(error) => return end(error, writer),
                }
            }
        }
    }

    fn shared(mut self, writer: &SharedWriter) -> AppendError {
        let mut next = writer.tip().unwrap_or(0) + 1;
        let mut tickets: VecDeque<Ticket> = VecDeque::new();
        loop {
            let payloads = self.payloads(next);
            match writer.try_append_payloads(&payloads) {
                Ok(ticket) => tickets.push_back(ticket),
                Err(error) => return error,
            }
            next += payloads.len() as u64;
            let synced = self.is_time_to_sync().then(|| writer.sync());
            // What was queued before it is in it, unless that failed.
            let wait_for = if synced.is_some() { 1 } else { IN_FLIGHT };
            while tickets.len() >= wait_for {
                let Some(ticket) = tickets.pop_front() else { break };
                match ticket.wait() {
                    Ok(appended) => self.acked(appended.last_seq_no),
                    Err(error) => return error,
                }
            }
            match synced {
                Some(Ok(())) => tell(format!("durable {}", next - 1)),
                Some(Err(error)) => return error,
                None => {}
            }
        }
    }
}

/// Nothing is closed: what a failed writer would do at its end is not what is looked at here.
fn end(error: AppendError, writer: Writer) -> AppendError {
    std::mem::forget(writer);
    error
}
