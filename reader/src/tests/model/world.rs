//! A ring whose records the test keeps in a plain vector, and what may happen to it.

use crate::testing::{Entry, Forge};
use crate::{AttachOptions, Ring, Visibility};
use std::time::Duration;
use waldo_shm_protocol::segment::WriterState;

/// Something that happens to the ring. Arguments are taken modulo what makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// So many records, some with a gap in front of their number.
    Append(u8),
    /// So many that the ring goes round.
    GoRound,
    /// Everything is made durable.
    Flush,
    /// The writer is started anew on the same control segment. What it finds is durable then.
    Restart,
    /// The same, with a new segment.
    NewSegment,
    /// The writer is started anew after a crash that took up to so many records which were not durable.
    Crash(u8),
}

pub(super) struct World {
    pub(super) forge: Forge,
    /// The writer's start that appended each record of `forge.log`.
    pub(super) epochs: Vec<u32>,
    /// Records from the first one on that are durable; those that the ring's metadata says so of; and those
    /// that the newest record in the files does.
    durable: usize,
    meta: usize,
    stamped: usize,
    appended: u64,
    /// Attached by the control segment, and by the files alone.
    pub(super) rings: [Ring; 2],
}

impl World {
    pub(super) fn new() -> World {
        let forge = Forge::live(16384, 3);
        let options = AttachOptions::default().check_interval(Duration::from_millis(20));
        let files = Ring::attach_with(forge.home(), options.files_only(true)).unwrap();
        let rings = [forge.attach(), files];
        World { forge, epochs: Vec::new(), durable: 0, meta: 0, stamped: 0, appended: 0, rings }
    }

    pub(super) fn log(&self) -> &[Entry] {
        &self.forge.log
    }

    /// Index of the first record that is still in the ring.
    pub(super) fn oldest(&self) -> usize {
        self.log().partition_point(|e| e.page < self.forge.oldest)
    }

    /// How many records from the first one on a reader sees.
    pub(super) fn visible(&self, files: bool, visibility: Visibility) -> usize {
        match (visibility, files) {
            (Visibility::Committed, _) => self.log().len(),
            (Visibility::Durable, false) => self.durable,
            (Visibility::Durable, true) => self.meta.max(self.stamped),
        }
    }

    pub(super) fn happen(&mut self, event: Event) {
        match event {
            Event::Append(n) => (0..n % 6 + 1).for_each(|n| self.append(usize::from(n) * 331 % 1500)),
            Event::GoRound => {
                let page = self.forge.position().page();
                while self.forge.position().page() < page + 4 {
                    self.append(2000);
                }
            }
            Event::Flush => self.flush(),
            Event::Restart => self.restart(false, 0),
            Event::NewSegment => self.restart(true, 0),
            Event::Crash(n) => self.restart(false, usize::from(n % 8) + 1),
        }
    }

    fn append(&mut self, len: usize) {
        self.appended += 1;
        let gap = if self.appended.is_multiple_of(5) { 3 } else { 0 };
        let seq = self.forge.tip() + 1 + gap;
        let mut data = self.appended.to_le_bytes().to_vec();
        data.resize(8 + len, self.appended as u8);
        self.stamped = self.durable;
        self.epochs.push(self.forge.epoch);
        self.forge.append(seq, &data);
    }

    fn flush(&mut self) {
        self.durable = self.log().len();
        self.forge.durable = self.forge.position();
        if let Some(control) = &self.forge.control {
            control.publisher().set_durable(self.forge.position());
            control.wake();
        }
    }

    fn restart(&mut self, new_segment: bool, lost: usize) {
        let oldest = self.oldest();
        // Durable records are not lost, and the ring is not left without one.
        let keep = self.log().len().saturating_sub(lost).max(self.durable).max(oldest + 1);
        let cut = keep < self.log().len();
        self.forge.epoch += 1;
        self.forge.meta.epoch = self.forge.epoch;
        let control = self.forge.control.as_ref().unwrap();
        control.publisher().set_state(WriterState::Recovering);
        control.publisher().set_writer(self.forge.epoch, 1, 250_000_000);
        if cut {
            self.forge.cut(keep);
            self.epochs.truncate(keep);
        }
        if new_segment {
            let old = self.forge.control.take().unwrap();
            self.forge.open_control();
            old.state(WriterState::Retired);
        }
        self.forge.commit();
        self.flush();
        self.forge.meta.durable = self.forge.position();
        self.meta = self.durable;
        self.stamped = self.stamped.min(keep);
        self.forge.write_meta();
        self.forge.control.as_ref().unwrap().state(WriterState::Live);
    }
}
