//! The producer's end of a lane.

use super::{Lane, LaneFault, WORD};
use crate::sync::{AtomicU64, Ordering, fence};

/// How far the producer is. One for each lane, from the lane's beginning on; one thread at a time.
#[derive(Debug, Default)]
pub struct LaneFiller {
    filled: u64,
    /// What the service was last seen to have taken.
    taken: u64,
}

impl LaneFiller {
    /// For a lane that nobody has put anything into.
    pub fn new() -> LaneFiller {
        LaneFiller::default()
    }

    /// Bytes that there is room for: a multiple of eight.
    fn room(&mut self, lane: &Lane<'_>) -> Result<usize, LaneFault> {
        let taken = lane.service.taken.load(Ordering::Acquire); // SYNC(lane-taken)
        let (before, filled) = (self.taken, self.filled);
        if taken < before || taken > filled || !taken.is_multiple_of(WORD as u64) {
            return Err(LaneFault::Taken { taken, before, filled });
        }
        self.taken = taken;
        // What is not taken never exceeds the capacity: no more is put in than there is room for.
        Ok((lane.capacity() - (filled - taken)) as usize)
    }

    /// Puts as much of `bytes` into the lane as there is room for, and says how much that was: a multiple of
    /// eight, or all of them. Call [`LaneFiller::must_wake`] when nothing more is to be put in.
    ///
    /// # Errors
    /// [`LaneFault::Taken`].
    pub fn put(&mut self, lane: &Lane<'_>, bytes: &[u8]) -> Result<usize, LaneFault> {
        let len = bytes.len().min(self.room(lane)?);
        if len == 0 {
            return Ok(0);
        }
        let (first, second) = lane.span(self.filled, len);
        let (head, tail) = bytes[..len].split_at(len.min(first.len() * WORD));
        store(first, head);
        store(second, tail);
        self.filled += len.next_multiple_of(WORD) as u64;
        lane.producer.filled.store(self.filled, Ordering::Release); // SYNC(lane-filled)
        Ok(len)
    }

    /// Whether the service sleeps and has to be woken, by this call alone.
    pub fn must_wake(&self, lane: &Lane<'_>) -> bool {
        fence(Ordering::SeqCst); // SYNC(lane-asleep)
        let asleep = &lane.service.asleep;
        asleep.load(Ordering::Relaxed) != 0 && asleep.swap(0, Ordering::Relaxed) != 0
    }

    /// Asks to be woken when there is room. `false`: there is some already, and nobody will wake.
    ///
    /// # Errors
    /// [`LaneFault::Taken`].
    pub fn wait(&mut self, lane: &Lane<'_>) -> Result<bool, LaneFault> {
        lane.producer.waits.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst); // SYNC(lane-waits)
        let waits = self.room(lane)? == 0;
        if !waits {
            lane.producer.waits.store(0, Ordering::Relaxed);
        }
        Ok(waits)
    }
}

fn store(words: &[AtomicU64], bytes: &[u8]) {
    let (whole, rest) = bytes.as_chunks::<WORD>();
    for (word, bytes) in words.iter().zip(whole) {
        word.store(u64::from_le_bytes(*bytes), Ordering::Relaxed);
    }
    if let Some(word) = words.get(whole.len()).filter(|_| !rest.is_empty()) {
        let mut last = [0; WORD];
        last[..rest.len()].copy_from_slice(rest);
        word.store(u64::from_le_bytes(last), Ordering::Relaxed);
    }
}
