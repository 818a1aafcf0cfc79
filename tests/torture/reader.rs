//! The child that reads, in one of several ways, and believes nothing.

use crate::args::Args;
use crate::child::tell;
use crate::dice::Dice;
use crate::payload;
use futures_util::{FutureExt, StreamExt};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};
use waldo::reader::{
    AttachError, AttachOptions, Batch, Cursor, Integrity, OnLapped, ReadError, Reader, ReaderOptions, Ring,
    Visibility,
};

/// The ways to read.
pub const KINDS: [&str; 6] = ["follow", "durable", "files", "stream", "seek", "fail"];

/// Between two lines to the parent, while there is much to read.
const PACE: Duration = Duration::from_millis(20);
/// Between two attempts to attach.
const PAUSE: Duration = Duration::from_millis(20);
/// Batches that are kept for a while, to see whether they stay as they were.
const KEPT: usize = 6;

/// Says `run LIFE FIRST LAST` for what it has read, `wrong WHAT` for what must never be, and `error TEXT`
/// where reading cannot go on; it attaches anew then, and reads all there is. `lapped` each time that it was
/// told it had been overtaken.
pub fn play(args: &Args) {
    let mut eyes = Eyes {
        home: args.get("home").into(),
        kind: args.get("kind").to_owned(),
        dice: Dice::new(args.number("seed")),
        last: None,
        run: None,
        told: Instant::now(),
        kept: VecDeque::new(),
    };
    loop {
        eyes.last = None;
        eyes.kept.clear();
        match eyes.attach() {
            Ok(ring) => {
                let error = eyes.read(&ring);
                eyes.flush();
                tell(format!("error {error}"));
            }
            // It is being made, or moved.
            Err(AttachError::NotARing { .. }) => {}
            Err(error) => tell(format!("error attaching: {error}")),
        }
        thread::sleep(PAUSE);
    }
}

struct Eyes {
    home: PathBuf,
    kind: String,
    dice: Dice,
    /// The last record read, since the ring was attached to.
    last: Option<u64>,
    run: Option<(u64, u64, u64)>,
    told: Instant,
    kept: VecDeque<Batch>,
}

impl Eyes {
    fn attach(&self) -> Result<Ring, AttachError> {
        let options = AttachOptions::default()
            .files_only(self.kind == "files")
            .check_interval(Duration::from_millis(500));
        Ring::attach_with(&self.home, options)
    }

    fn reader(&self, ring: &Ring) -> Result<Reader, ReadError> {
        let options = ReaderOptions::default()
            .visibility(if self.kind == "durable" { Visibility::Durable } else { Visibility::Committed })
            .integrity(Integrity::Payloads)
            .on_lapped(if self.kind == "fail" { OnLapped::Fail } else { OnLapped::Oldest })
            .batch_bytes(16 << 10);
        ring.reader_with(Cursor::Oldest, options)
    }

    /// Reads until that is not possible any more.
    fn read(&mut self, ring: &Ring) -> ReadError {
        let outcome = match (self.reader(ring), self.kind.as_str()) {
            (Err(error), _) => Err(error),
            (Ok(reader), "stream") => self.stream(reader),
            (Ok(reader), "seek") => self.seek(reader),
            (Ok(reader), _) => self.follow(reader),
        };
        match outcome {
            Err(error) => error,
            Ok(never) => match never {},
        }
    }

    fn follow(&mut self, mut reader: Reader) -> Result<std::convert::Infallible, ReadError> {
        let mut lapses = 0;
        loop {
            let batch = match reader.poll() {
                Ok(Some(batch)) => batch,
                Ok(None) => {
                    self.flush();
                    reader.wait(Some(Duration::from_secs(1)))?;
                    continue;
                }
                Err(ReadError::Lapped { requested, oldest, lost }) => {
                    tell("lapped");
                    if self.last.is_some_and(|last| last != requested) {
                        tell(format!("wrong lapped after {requested}, having read {:?}", self.last));
                    }
                    if lost.is_some_and(|lost| lost != oldest - requested - 1) {
                        tell(format!("wrong lapped from {requested} to {oldest}, but {lost:?} lost"));
                    }
                    reader.seek(Cursor::Oldest)?;
                    self.last = None;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let told = reader.lapses().count > lapses;
            if told {
                tell("lapped");
                self.check_lapse(&reader, batch.first_seq_no());
            }
            lapses = reader.lapses().count;
            self.take(batch, told);
        }
    }

    fn check_lapse(&self, reader: &Reader, next: u64) {
        let Some(lapse) = reader.lapses().last else { return tell("wrong a lapse without a word") };
        // Numbers have no gaps here. A second lapse before the next record tells of its own part only.
        let missed = next - 1 - lapse.requested.min(next - 1);
        if self.last == Some(lapse.requested) && lapse.lost.is_some_and(|lost| lost != missed) {
            tell(format!("wrong {lapse:?}, but the next record is {next}"));
        }
    }

    fn stream(&mut self, reader: Reader) -> Result<std::convert::Infallible, ReadError> {
        let mut batches = reader.into_stream();
        loop {
            let next = match batches.next().now_or_never() {
                Some(next) => next,
                None => {
                    self.flush();
                    pollster::block_on(batches.next())
                }
            };
            let Some(batch) = next else {
                tell("wrong a stream has ended");
                thread::sleep(PAUSE);
                continue;
            };
            // A stream does not show its reader's lapses.
            self.take(batch?, true);
        }
    }

    /// Goes here and there, and to the end of the log now and then.
    fn seek(&mut self, mut reader: Reader) -> Result<std::convert::Infallible, ReadError> {
        let mut end = 0u64;
        loop {
            for _ in 0..4 {
                let number = self.dice.within(end.saturating_sub(500)..=end);
                let (cursor, least) = match self.dice.within(0..=2) {
                    0 => (Cursor::After(number), number + 1),
                    1 => (Cursor::From(number), number),
                    _ => (Cursor::Oldest, 0),
                };
                let before = reader.lapses().count;
                reader.seek(cursor)?;
                let Some(batch) = reader.poll()? else { continue };
                let first = batch.first_seq_no();
                let told = reader.lapses().count > before;
                if first < least || (first > least.max(1) && !told && !matches!(cursor, Cursor::Oldest)) {
                    tell(format!("wrong {cursor:?} leads to record {first}, told: {told}"));
                }
                self.last = None;
                self.take(batch, false);
            }
            reader.seek(Cursor::After(end))?;
            self.last = None;
            while let Some(batch) = reader.poll()? {
                end = end.max(batch.last_seq_no());
                self.take(batch, true);
            }
            self.flush();
            reader.wait(Some(Duration::from_millis(50)))?;
        }
    }

    /// Checks a batch, and everything that is kept from before. `told`: that records may be missing before
    /// it.
    fn take(&mut self, batch: Batch, told: bool) {
        let mut may_miss = told || self.last.is_none();
        for record in &batch {
            let seq_no = record.seq_no();
            if !may_miss && self.last != Some(seq_no - 1) {
                tell(format!("wrong record {seq_no} after {:?}, and not a word", self.last));
            }
            may_miss = false;
            match payload::read(record.data()) {
                Some(origin) if origin.seq_no == seq_no => self.note(origin.life, seq_no),
                other => {
                    tell(format!("wrong record {seq_no} holds {other:?}, {} bytes", record.data().len()))
                }
            }
            self.last = Some(seq_no);
        }
        if self.told.elapsed() > PACE {
            self.flush();
        }
        if self.dice.chance(20) {
            self.kept.push_back(batch);
        }
        if self.kept.len() > KEPT {
            self.look_again();
        }
    }

    /// What is handed out must not change for as long as it is held.
    fn look_again(&mut self) {
        for batch in self.kept.drain(..) {
            for record in &batch {
                let origin = payload::read(record.data());
                if origin.is_none_or(|origin| origin.seq_no != record.seq_no()) {
                    return tell(format!("wrong record {} changed while it was held", record.seq_no()));
                }
            }
        }
    }

    fn note(&mut self, life: u64, seq_no: u64) {
        match &mut self.run {
            Some((of, _, last)) if *of == life && *last + 1 == seq_no => *last = seq_no,
            _ => {
                self.flush();
                self.run = Some((life, seq_no, seq_no));
            }
        }
    }

    fn flush(&mut self) {
        if let Some((life, first, last)) = self.run.take() {
            tell(format!("run {life} {first} {last}"));
            self.told = Instant::now();
        }
    }
}
