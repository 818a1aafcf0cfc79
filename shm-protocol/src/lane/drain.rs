//! The service's end of a lane.

use super::{Lane, LaneFault, WORD};
use crate::sync::{AtomicU64, Ordering, fence};

/// How far the service is. One for each lane, from the lane's beginning on; one thread at a time.
#[derive(Debug, Default)]
pub struct LaneDrain {
    taken: u64,
    /// What the producer was last seen to have put in.
    filled: u64,
}

impl LaneDrain {
    /// For a lane that nobody has taken anything out of. The service counts as asleep: whoever puts in the
    /// first bytes wakes it.
    pub fn new(lane: &Lane<'_>) -> LaneDrain {
        lane.service.asleep.store(1, Ordering::Relaxed);
        LaneDrain::default()
    }

    /// Bytes that are there, with those that fill up words.
    ///
    /// # Errors
    /// [`LaneFault::Filled`].
    pub fn look(&mut self, lane: &Lane<'_>) -> Result<usize, LaneFault> {
        let filled = lane.producer.filled.load(Ordering::Acquire); // SYNC(lane-filled)
        let (before, taken, capacity) = (self.filled, self.taken, lane.capacity());
        // What was seen before was at least what is taken, so nothing here can overflow.
        if filled < before || filled - taken > capacity || !filled.is_multiple_of(WORD as u64) {
            return Err(LaneFault::Filled { filled, before, taken, capacity });
        }
        self.filled = filled;
        Ok((filled - taken) as usize)
    }

    /// Copies up to `len` bytes to the end of `out`, none but those of the last [`LaneDrain::look`], and
    /// gives their room back. Returns how many: all, or a multiple of eight.
    pub fn take(&mut self, lane: &Lane<'_>, len: usize, out: &mut Vec<u8>) -> usize {
        let len = len.min((self.filled - self.taken) as usize);
        let (first, second) = lane.span(self.taken, len);
        let start = out.len();
        out.resize(start + len, 0);
        let (head, tail) = out[start..].split_at_mut(len.min(first.len() * WORD));
        load(first, head);
        load(second, tail);
        self.taken += len.next_multiple_of(WORD) as u64;
        lane.service.taken.store(self.taken, Ordering::Release); // SYNC(lane-taken)
        len
    }

    /// Says that the service is about to sleep until it is woken. `false`: there are bytes, it must not.
    ///
    /// # Errors
    /// [`LaneFault::Filled`].
    pub fn sleep(&mut self, lane: &Lane<'_>) -> Result<bool, LaneFault> {
        lane.service.asleep.store(1, Ordering::Relaxed);
        fence(Ordering::SeqCst); // SYNC(lane-asleep)
        let sleeps = self.look(lane)? == 0;
        if !sleeps {
            lane.service.asleep.store(0, Ordering::Relaxed);
        }
        Ok(sleeps)
    }

    /// Whether the producer waits for room and has to be woken, by this call alone.
    pub fn must_wake(&self, lane: &Lane<'_>) -> bool {
        fence(Ordering::SeqCst); // SYNC(lane-waits)
        let waits = &lane.producer.waits;
        waits.load(Ordering::Relaxed) != 0 && waits.swap(0, Ordering::Relaxed) != 0
    }
}

fn load(words: &[AtomicU64], bytes: &mut [u8]) {
    let (whole, rest) = bytes.as_chunks_mut::<WORD>();
    let count = whole.len();
    for (word, bytes) in words.iter().zip(whole) {
        *bytes = word.load(Ordering::Relaxed).to_le_bytes();
    }
    if let Some(word) = words.get(count).filter(|_| !rest.is_empty()) {
        rest.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes()[..rest.len()]);
    }
}
