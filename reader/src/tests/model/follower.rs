//! A reader, and what the model says that it must read.

use super::checks::holds;
use super::world::World;
use crate::place::Skip;
use crate::source::Source;
use crate::testing::Entry;
use crate::{Checkpoint, Cursor, OnLapped, Reader, ReaderOptions, Visibility};
use std::time::{Duration, UNIX_EPOCH};

/// A seek.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start {
    At(Cursor),
    Resume(Checkpoint),
}

/// What comes next: the first record with a greater number, and not before this time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expect {
    After(u64),
    Since(u64, u64),
}

impl Expect {
    pub(super) fn wants(self, e: &Entry) -> bool {
        match self {
            Expect::After(seq_no) => e.seq > seq_no,
            Expect::Since(time, seq_no) => e.time >= time && e.seq > seq_no,
        }
    }
}

pub(super) struct Follower {
    pub(super) files: bool,
    pub(super) visibility: Visibility,
    pub(super) on_lapped: OnLapped,
    pub(super) reader: Reader,
    pub(super) expect: Expect,
    /// Epoch of the record before the reader's place, if it has seen that record.
    pub(super) known: Option<(u64, u32)>,
    /// Number of the record before the place, if it is known, before the last step.
    pub(super) last: Option<u64>,
    /// It was sent to a time.
    pub(super) by_time: bool,
    /// The log has lost records since the reader was last found to be right.
    pub(super) doubtful: bool,
    /// What it has come to, for whoever has to understand a failure.
    pub(super) story: Vec<String>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        if std::thread::panicking() && self.story.last().is_some_and(|last| last.ends_with("...")) {
            let (source, visible, lapsed) = (self.files, self.visibility, self.on_lapped);
            println!("reader: files {source}, {visible:?}, {lapsed:?}\n  {}", self.story.join("\n  "));
        }
    }
}

impl Follower {
    /// A reader of `world` that goes to `start`; `None` if that is refused, and rightly so.
    pub(super) fn new(
        world: &World,
        start: Start,
        (files, visibility, on_lapped): (bool, Visibility, OnLapped),
    ) -> Option<Follower> {
        let options = ReaderOptions { visibility, on_lapped, batch_bytes: 3000, ..ReaderOptions::default() };
        let ring = &world.rings[usize::from(files)];
        let reader = ring.reader_with(Cursor::Oldest, options).unwrap();
        let expect = Expect::After(u64::MAX);
        let mut follower = Follower {
            files,
            visibility,
            on_lapped,
            reader,
            expect,
            known: None,
            last: None,
            by_time: false,
            doubtful: false,
            story: Vec::new(),
        };
        follower.seek(world, start).then_some(follower)
    }

    /// Sees what has happened, before the reader looks.
    pub(super) fn cut(&mut self) {
        self.doubtful = true;
    }

    pub(super) fn checkpoint(&self) -> Option<Checkpoint> {
        self.reader.checkpoint()
    }

    /// As the embedded queries do it: goes to `after`, unless the reader stands there.
    pub(super) fn query(&mut self, world: &World, after: u64) {
        if self.reader.is_behind(after) && !self.doubtful {
            // The same records come next, whatever is appended.
            let (low, high) = match self.expect {
                Expect::After(expected) => (expected.min(after), expected.max(after)),
                Expect::Since(..) => panic!("behind {after}, and {:?}", self.expect),
            };
            let between = world.log().iter().filter(|e| e.seq > low && e.seq <= high).count();
            assert!(
                between == 0 && high <= world.forge.tip().max(low),
                "{:?} is not behind {after}",
                self.expect
            );
            self.expect = Expect::After(after);
        } else {
            self.seek(world, Start::At(Cursor::After(after)));
        }
        self.drain(world);
    }

    /// Sends the reader elsewhere. `false` if that was refused, rightly; it has gone to the oldest record
    /// then.
    pub(super) fn seek(&mut self, world: &World, start: Start) -> bool {
        self.look();
        self.begin(format!("{start:?} with {} records of {}", self.seen(world), world.log().len()));
        let lapses = self.reader.lapses().count;
        let outcome = match start {
            Start::At(cursor) => self.reader.seek(cursor),
            Start::Resume(checkpoint) => {
                let ring = &world.rings[usize::from(self.files)];
                ring.resume(&checkpoint, self.reader.options.clone()).map(|reader| self.reader = reader)
            }
        };
        let fresh = if matches!(start, Start::Resume(_)) { 0 } else { lapses };
        let lapsed = outcome.is_ok() && self.reader.lapses().count > fresh;
        let (seen, oldest) = (self.seen(world), world.oldest());
        let kept = &world.log()[oldest.min(seen)..seen];
        let after = |seq_no| (Expect::After(seq_no), true);
        let (expect, can_lapse) = match start {
            Start::At(Cursor::Tip) => after(match (kept.last(), world.log().get(oldest)) {
                (Some(tip), _) => tip.seq,
                (None, Some(first)) => first.prev,
                (None, None) => 0,
            }),
            Start::At(Cursor::Oldest) => after(world.log().get(oldest).map_or(0, |first| first.prev)),
            Start::At(Cursor::After(seq_no)) => after(seq_no),
            Start::At(Cursor::From(seq_no)) => after(seq_no.saturating_sub(1)),
            Start::At(Cursor::Since(time)) => {
                let time = time.duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
                match kept.iter().find(|e| e.time >= time) {
                    Some(first) => (Expect::After(first.prev), false),
                    None => {
                        let before = world.log().get(oldest).map_or(0, |e| e.prev);
                        (Expect::Since(time, before), false)
                    }
                }
            }
            Start::Resume(checkpoint) => after(checkpoint.seq_no),
        };
        self.expect = expect;
        self.by_time = matches!(start, Start::At(Cursor::Since(_)));
        let missed = can_lapse && !kept.is_empty() && self.first(world).is_some_and(|first| first < oldest);
        self.doubtful = false;
        if let Start::Resume(checkpoint) = start {
            self.known = Some((checkpoint.seq_no, checkpoint.epoch));
        }
        match outcome {
            Ok(()) if lapsed => self.noted(world, missed),
            Ok(()) => {
                assert!(!missed, "{start:?} passed over what was trimmed");
                if let Start::Resume(checkpoint) = start {
                    self.check_resumed(world, &checkpoint);
                }
            }
            Err(error) => {
                self.check_refused(world, start, &error, missed);
                self.known = None;
                assert!(self.seek(world, Start::At(Cursor::Oldest)), "{error}");
                return false;
            }
        }
        self.note_known();
        self.end();
        true
    }

    fn begin(&mut self, what: String) {
        self.story.push(format!("{what}, from {:?} ...", self.reader.position));
    }

    fn end(&mut self) {
        let end = format!("to {:?}, then {:?}", self.reader.position, self.expect);
        self.story.push(end);
    }

    /// Reads everything there is, and checks each record.
    pub(super) fn drain(&mut self, world: &World) {
        self.look();
        loop {
            let lapses = self.reader.lapses().count;
            // The record it stands behind is not the one it knows any more. Where it waits for records far
            // ahead, it has not read that one, and the numbers tell where to go on.
            let skips = self.reader.position.skip() != Skip::Nothing;
            let wrong = self.doubtful && !skips && self.known.is_some_and(|known| !holds(world, known));
            self.last = self.reader.position.last().map(|last| last.seq_no);
            let missed = self.first(world).is_some_and(|first| first < world.oldest());
            self.begin(format!("poll, {} records of {}", self.seen(world), world.log().len()));
            match self.reader.poll() {
                Ok(batch) => {
                    if self.reader.lapses().count > lapses {
                        assert_eq!(self.reader.lapses().count, lapses + 1);
                        self.noted(world, missed);
                        self.doubtful = false;
                        self.note_known();
                    } else if batch.is_some() {
                        assert!(
                            !wrong,
                            "it read {batch:?} behind {:?}, which is gone (oldest {})",
                            self.known,
                            world.log()[world.oldest()].seq
                        );
                    }
                    let Some(batch) = batch else { break };
                    self.check_batch(world, &batch);
                }
                Err(error) => {
                    self.check_error(world, &error, missed, wrong);
                    self.known = None;
                    self.seek(world, Start::At(Cursor::Oldest));
                }
            }
            self.doubtful = false;
            self.note_known();
            self.end();
        }
        self.begin("all read".to_owned());
        // What it has not read it must not see, or cannot any more.
        if let Some(first) = self.first(world) {
            let nothing_left = world.oldest() >= self.seen(world);
            assert!(first < world.oldest() && nothing_left, "record {} was left", world.log()[first].seq);
        }
        self.end();
    }

    /// Index of the next record that the reader is to hand out, trimmed or not; `None` if it has all it may
    /// see.
    pub(super) fn first(&self, world: &World) -> Option<usize> {
        world.log()[..self.seen(world)].iter().position(|e| self.expect.wants(e))
    }

    pub(super) fn seen(&self, world: &World) -> usize {
        world.visible(self.files, self.visibility)
    }

    /// The reader has noted that it was overtaken, and has gone on by itself.
    fn noted(&mut self, world: &World, missed: bool) {
        let lapse = self.reader.lapses().last.unwrap();
        assert!(missed || self.unsure(world), "nothing was missed: {lapse:?}");
        let kept = &world.log()[world.oldest()..self.seen(world)];
        if missed {
            self.check_lapse(world, lapse.requested, lapse.lost);
        }
        let behind = match self.on_lapped {
            OnLapped::Fail => panic!("it was not told to go on"),
            OnLapped::Oldest => kept[0].prev,
            OnLapped::Tip => kept[kept.len() - 1].seq,
        };
        assert_eq!(lapse.resumed_after, Some(behind));
        self.expect = Expect::After(behind);
    }

    fn note_known(&mut self) {
        self.known = self.reader.checkpoint().map(|checkpoint| (checkpoint.seq_no, checkpoint.epoch));
    }

    /// Has the files looked at, which readers do now and then only.
    fn look(&self) {
        for source in [&self.reader.attachment, &self.reader.ring.current()] {
            if let Source::Files(files) = &source.source {
                files.look().unwrap();
            }
        }
    }
}

pub(super) fn since(time: u64) -> Cursor {
    Cursor::Since(UNIX_EPOCH + Duration::from_nanos(time))
}
