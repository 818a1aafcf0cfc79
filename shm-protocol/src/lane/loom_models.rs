//! Every order of the lane's accesses that the memory model allows.

use super::*;
use crate::sync::{Ordering, fence};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::sync::Arc;

/// A lane of two words.
#[derive(Default)]
struct Memory {
    producer: ProducerLine,
    service: ServiceLine,
    words: [AtomicU64; 2],
}

impl Memory {
    fn lane(&self) -> Lane<'_> {
        Lane { producer: &self.producer, service: &self.service, words: &self.words }
    }
}

/// Where somebody sleeps until woken; a wake-up that comes before is kept, as by a socket.
#[derive(Default)]
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Bell {
    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.changed.notify_one();
    }

    fn wait(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.changed.wait(rung).unwrap();
        }
        *rung = false;
    }
}

fn model(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(f);
}

fn word(n: u64) -> [u8; 8] {
    (n * 0x0101_0101_0101_0101).to_le_bytes()
}

/// The circle is used again: the third word takes the place of the first.
#[test]
fn loom_what_is_taken_is_what_was_put() {
    model(|| {
        let memory = Arc::new(Memory::default());
        let producer = thread::spawn({
            let memory = Arc::clone(&memory);
            move || {
                let (lane, mut filler) = (memory.lane(), LaneFiller::new());
                let mut put = 0;
                for n in 1..=3 {
                    put += filler.put(&lane, &word(n)).unwrap();
                }
                put
            }
        });
        let (lane, mut drain) = (memory.lane(), LaneDrain::new(&memory.lane()));
        let mut out = Vec::new();
        for _ in 0..2 {
            let there = drain.look(&lane).unwrap();
            drain.take(&lane, there, &mut out);
        }
        let put = producer.join().unwrap();
        let there = drain.look(&lane).unwrap();
        drain.take(&lane, there, &mut out);
        // The third found no room if nothing had been taken by then.
        assert!(put == 16 || put == 24);
        let expected: Vec<u8> = (1..=3).flat_map(word).take(put).collect();
        assert_eq!(out, expected);
    });
}

#[test]
fn loom_a_service_that_sleeps_is_woken() {
    model(|| {
        let memory = Arc::new(Memory::default());
        let bell = Arc::new(Bell::default());
        let mut drain = LaneDrain::new(&memory.lane());
        let producer = thread::spawn({
            let (memory, bell) = (Arc::clone(&memory), Arc::clone(&bell));
            move || {
                let (lane, mut filler) = (memory.lane(), LaneFiller::new());
                for n in 1..=2 {
                    filler.put(&lane, &word(n)).unwrap();
                    if filler.must_wake(&lane) {
                        bell.ring();
                    }
                }
            }
        });
        let (lane, mut out) = (memory.lane(), Vec::new());
        while out.len() < 16 {
            let there = drain.look(&lane).unwrap();
            drain.take(&lane, there, &mut out);
            if out.len() < 16 && drain.sleep(&lane).unwrap() {
                bell.wait();
            }
        }
        producer.join().unwrap();
    });
}

#[test]
fn loom_a_producer_that_waits_for_room_is_woken() {
    model(|| {
        let memory = Arc::new(Memory::default());
        let bell = Arc::new(Bell::default());
        let mut drain = LaneDrain::new(&memory.lane());
        let mut filler = LaneFiller::new();
        assert_eq!(filler.put(&memory.lane(), &[1; 16]), Ok(16));
        let producer = thread::spawn({
            let (memory, bell) = (Arc::clone(&memory), Arc::clone(&bell));
            move || {
                let lane = memory.lane();
                while filler.put(&lane, &word(2)).unwrap() == 0 {
                    if filler.wait(&lane).unwrap() {
                        bell.wait();
                    }
                }
            }
        });
        let lane = memory.lane();
        drain.look(&lane).unwrap();
        drain.take(&lane, 16, &mut Vec::new());
        if drain.must_wake(&lane) {
            bell.ring();
        }
        producer.join().unwrap();
    });
}

/// The order that must not be: who says that it sleeps after its last look misses what comes in between.
#[test]
#[should_panic(expected = "deadlock")]
fn loom_a_service_that_looks_before_it_says_so_sleeps_for_ever() {
    model(|| {
        let memory = Arc::new(Memory::default());
        let bell = Arc::new(Bell::default());
        memory.service.asleep.store(0, Ordering::Relaxed);
        let producer = thread::spawn({
            let (memory, bell) = (Arc::clone(&memory), Arc::clone(&bell));
            move || {
                let (lane, mut filler) = (memory.lane(), LaneFiller::new());
                filler.put(&lane, &word(1)).unwrap();
                if filler.must_wake(&lane) {
                    bell.ring();
                }
            }
        });
        let (lane, mut drain) = (memory.lane(), LaneDrain::default());
        if drain.look(&lane).unwrap() == 0 {
            lane.service.asleep.store(1, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            bell.wait();
        }
        producer.join().unwrap();
    });
}
