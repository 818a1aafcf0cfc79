//! What happens in a subscriber's process: every record is checked, some are timed.

use super::notes::{Note, Received};
use super::record;
use super::spec::{Phase, Spec};
use std::time::{Duration, Instant};
use waldo_harness::processes::child::{cpu_ns, now_ns};
use waldo_harness::processes::event_log::EventWriter;
use waldo_harness::results::histogram::Latency;

/// How often it says that it is still at it.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// Of the records of the fast phase, one in so many is timed: looking at the clock costs as much as a record
/// does.
const SAMPLE: u64 = 16;

/// What one subscriber has seen.
struct Tally {
    size: usize,
    expected: u64,
    phase: Option<Phase>,
    records: u64,
    lost: u64,
    bad: u64,
    begun_cpu_ns: u64,
    delay: Latency,
    complete: Vec<Received>,
}

/// Subscribes, and goes on until it is killed.
pub fn subscribe(spec: &Spec, events: &mut EventWriter) -> anyhow::Result<()> {
    let mut subscriber = crate::peers::subscriber(spec.system, spec)?;
    Note::Ready { at_ns: now_ns() }.post(events)?;
    let mut tally = Tally::new(spec.size)?;
    let mut told = Instant::now();
    let last_phase = spec.phases().last().copied();
    loop {
        let mut any = false;
        subscriber.receive(&mut |bytes| {
            any = true;
            tally.take(bytes);
        })?;
        for received in std::mem::take(&mut tally.complete) {
            let done = Some(received.phase) == last_phase;
            Note::Received(received).post(events)?;
            if done {
                // Kept, as it is, so that its memory can be looked at. The harness ends it.
                loop {
                    nix::unistd::pause();
                }
            }
        }
        if any && told.elapsed() > SIGN_OF_LIFE {
            told = Instant::now();
            Note::Alive.post(events)?;
        }
    }
}

impl Tally {
    fn new(size: usize) -> anyhow::Result<Tally> {
        Ok(Tally {
            size,
            expected: 1,
            phase: None,
            records: 0,
            lost: 0,
            bad: 0,
            begun_cpu_ns: 0,
            delay: Latency::of_two_digits(),
            complete: Vec::new(),
        })
    }

    fn take(&mut self, bytes: &[u8]) {
        let Some(stamp) = record::read(bytes, self.size).filter(|stamp| stamp.number >= self.expected) else {
            self.bad += 1;
            return;
        };
        if self.phase != Some(stamp.phase) {
            self.phase = Some(stamp.phase);
            self.begun_cpu_ns = cpu_ns();
        }
        self.lost += stamp.number - self.expected;
        self.expected = stamp.number + 1;
        self.records += 1;
        if stamp.phase == Phase::Paced || stamp.number % SAMPLE == 0 || stamp.last {
            self.delay.record_ns(now_ns().saturating_sub(stamp.sent_ns));
        }
        if stamp.last {
            self.complete.push(Received {
                phase: stamp.phase,
                records: std::mem::take(&mut self.records),
                lost: std::mem::take(&mut self.lost),
                bad: std::mem::take(&mut self.bad),
                at_ns: now_ns(),
                cpu_ns: cpu_ns().saturating_sub(self.begun_cpu_ns),
                delay: self.delay.take_text(),
            });
        }
    }
}
