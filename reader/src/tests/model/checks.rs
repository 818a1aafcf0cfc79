//! Whether what a reader gave, or refused, is right.

use super::follower::{Expect, Follower, Start};
use super::world::World;
use crate::{Batch, Checkpoint, OnLapped, ReadError};

impl Follower {
    pub(super) fn check_resumed(&self, world: &World, checkpoint: &Checkpoint) {
        let seen = &world.log()[..self.seen(world)];
        let later = seen.last().is_none_or(|e| e.seq < checkpoint.seq_no) || seen.len() <= world.oldest();
        if later && checkpoint.seq_no <= world.forge.tip() {
            // Told apart when it becomes durable.
            return;
        }
        match seen.iter().position(|e| e.seq == checkpoint.seq_no) {
            Some(at) => assert_eq!(world.epochs[at], checkpoint.epoch, "resumed at another record"),
            None => panic!("resumed at record {}, which is not in the log", checkpoint.seq_no),
        }
    }

    pub(super) fn check_refused(&self, world: &World, start: Start, error: &ReadError, missed: bool) {
        let at = match start {
            Start::Resume(checkpoint) => {
                Some((checkpoint, world.log().iter().position(|e| e.seq == checkpoint.seq_no)))
            }
            Start::At(_) => None,
        };
        match (error, at) {
            (ReadError::Lapped { .. }, Some((checkpoint, Some(at)))) if at < world.oldest() => {
                // Nothing may be missed, and nobody can tell.
                let unsure = world.epochs.get(world.oldest()) != Some(&checkpoint.epoch);
                assert!(missed || unsure, "{error}");
            }
            (ReadError::Lapped { requested, oldest, lost }, _) => {
                assert!(missed && self.on_lapped == OnLapped::Fail, "{start:?}: {error}");
                self.check_lapse(world, *requested, *lost);
                assert_eq!(*oldest, world.log()[world.oldest()].seq);
            }
            (ReadError::Diverged { .. }, Some((checkpoint, at))) => {
                assert!(at.is_none_or(|at| world.epochs[at] != checkpoint.epoch), "{error}");
            }
            (ReadError::Rewound { .. }, Some((checkpoint, at))) => {
                let here = at.is_some_and(|at| world.epochs[at] == checkpoint.epoch);
                assert!(!here || world.forge.tip() < checkpoint.seq_no, "{error}");
            }
            _ => panic!("{start:?}: {error}"),
        }
    }

    pub(super) fn check_batch(&mut self, world: &World, batch: &Batch) {
        assert_eq!(batch.iter().count(), batch.len());
        for record in batch {
            let first = self.first(world).unwrap_or_else(|| panic!("{} is not to be seen", record.seq_no()));
            let expected = &world.log()[first];
            assert_eq!(
                (record.seq_no(), record.prev_seq_no()),
                (expected.seq, expected.prev),
                "{:?}, oldest {}",
                self.expect,
                world.oldest()
            );
            assert_eq!((record.data(), record.epoch()), (&expected.data[..], world.epochs[first]));
            self.expect = Expect::After(record.seq_no());
        }
    }

    /// Whether nobody can tell if the record before the place, which has been trimmed, is the one that the
    /// reader knows.
    pub(super) fn unsure(&self, world: &World) -> bool {
        let next = world.epochs.get(world.oldest());
        self.known.is_some_and(|(_, epoch)| next.is_some_and(|next| *next != epoch))
            || matches!(self.expect, Expect::Since(..))
    }

    pub(super) fn check_lapse(&self, world: &World, requested: u64, lost: Option<u64>) {
        let trimmed = &world.log()[..world.oldest()];
        let count = trimmed.iter().filter(|e| self.expect.wants(e)).count() as u64;
        if let Some(lost) = lost {
            assert_eq!(lost, count, "records lost");
        }
        if let Expect::After(seq_no) = self.expect {
            let same = trimmed.iter().all(|e| (e.seq > requested) == (e.seq > seq_no));
            // 0 where the reader does not know of any record in front of its place.
            // And with a time, the number of a record that was passed over because it is older.
            let last = requested == self.last.unwrap_or(0) || (self.by_time && requested <= seq_no);
            assert!(same || last, "asked for {seq_no}, told {requested}");
        }
    }

    pub(super) fn check_error(&self, world: &World, error: &ReadError, missed: bool, wrong: bool) {
        match error {
            ReadError::Lapped { requested, oldest, lost } => {
                assert!(missed || self.unsure(world), "nothing was missed: {error}");
                assert_eq!(*oldest, world.log()[world.oldest()].seq);
                if missed && !wrong {
                    self.check_lapse(world, *requested, *lost);
                }
            }
            ReadError::Rewound { .. } | ReadError::Diverged { .. } => {
                // Also where it resumed at a record that was not to be seen then.
                let gone = self.known.is_some_and(|known| !holds(world, known));
                assert!(self.doubtful || gone, "{error}");
            }
            _ => panic!("{error}"),
        }
    }
}

/// Whether a record is in the log, or nobody can tell since it has been trimmed.
pub(super) fn holds(world: &World, (seq_no, epoch): (u64, u32)) -> bool {
    let at = world.log().iter().position(|e| e.seq == seq_no);
    at.is_some_and(|at| world.epochs[at] == epoch)
}
