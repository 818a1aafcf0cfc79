//! What happens in the publisher's process: phases, on the harness's orders.

use super::notes::{Note, Published};
use super::record::{Press, Stamp};
use super::spec::{Phase, Spec};
use crate::system::Publisher;
use std::time::{Duration, Instant};
use waldo_harness::processes::child::now_ns;
use waldo_harness::processes::event_log::EventWriter;
use waldo_harness::results::histogram::Latency;

/// How often it says that it is still at it.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);

struct Desk<'a> {
    spec: &'a Spec,
    events: &'a mut EventWriter,
    publisher: Box<dyn Publisher>,
    press: Press,
    records: Vec<Vec<u8>>,
    next: u64,
    told: Instant,
}

/// Publishes until it is told to stop: orders come on standard input, a phase's name each.
pub fn publish(spec: &Spec, events: &mut EventWriter) -> anyhow::Result<()> {
    let mut publisher = crate::peers::publisher(spec.system, spec)?;
    Note::Serving.post(events)?;
    publisher.gather(spec.subscribers)?;
    Note::Gathered.post(events)?;
    let press = Press::new(spec.size);
    let mut desk =
        Desk { spec, events, publisher, press, records: Vec::new(), next: 1, told: Instant::now() };
    for order in std::io::stdin().lines() {
        let order = order?;
        let Some(phase) = Phase::ALL.into_iter().find(|phase| format!("{phase:?}") == order) else { break };
        let published = match phase {
            Phase::WarmUp => {
                desk.paced(phase, spec.warm_up / 8, 10_000, Duration::from_secs(2))?;
                desk.flood(phase, spec.warm_up - spec.warm_up / 8)?
            }
            Phase::Paced => desk.paced(phase, spec.paced, spec.rate, spec.paced_limit)?,
            Phase::Flood => desk.flood(phase, spec.flood)?,
        };
        Note::Published(published).post(desk.events)?;
    }
    desk.publisher.close()
}

impl Desk<'_> {
    /// Record by record. One that is late is published at once, so the rate is kept as long as it can be.
    fn paced(&mut self, phase: Phase, count: u64, rate: u64, limit: Duration) -> anyhow::Result<Published> {
        let mut cost = Latency::of_two_digits();
        let begun_ns = now_ns();
        let begun = Instant::now();
        let mut done = 0;
        while done < count {
            self.publisher.idle(begun + Duration::from_nanos(done * 1_000_000_000 / rate.max(1)))?;
            let last = done + 1 == count || begun.elapsed() >= limit;
            // The warm-up goes on with batches, and its last record is there.
            self.fill(phase, 1, last && phase != Phase::WarmUp);
            self.hand_over(&mut cost)?;
            done += 1;
            if last {
                break;
            }
        }
        self.publisher.drain()?;
        Ok(Published { phase, records: done, begun_ns, ended_ns: now_ns(), cost: cost.to_text() })
    }

    /// In batches, one after the other.
    fn flood(&mut self, phase: Phase, count: u64) -> anyhow::Result<Published> {
        let mut cost = Latency::of_two_digits();
        let begun_ns = now_ns();
        let begun = Instant::now();
        let mut done = 0;
        while done < count {
            let many = (count - done).min(self.spec.batch as u64);
            done += many;
            let last = done == count || begun.elapsed() >= self.spec.flood_limit;
            self.fill(phase, many as usize, last);
            self.hand_over(&mut cost)?;
            if last {
                break;
            }
        }
        self.publisher.drain()?;
        Ok(Published { phase, records: done, begun_ns, ended_ns: now_ns(), cost: cost.to_text() })
    }

    /// Makes `many` records.
    fn fill(&mut self, phase: Phase, many: usize, last: bool) {
        self.records.resize_with(many, Vec::new);
        let sent_ns = now_ns();
        for (at, record) in self.records.iter_mut().enumerate() {
            let last = last && at + 1 == many;
            self.press.print(record, Stamp { number: self.next, sent_ns, phase, last });
            self.next += 1;
        }
    }

    fn hand_over(&mut self, cost: &mut Latency) -> anyhow::Result<()> {
        let begun = Instant::now();
        self.publisher.publish(&self.records)?;
        let took = begun.elapsed();
        cost.record_ns(took.as_nanos() as u64 / self.records.len().max(1) as u64);
        if self.told.elapsed() > SIGN_OF_LIFE {
            self.told = Instant::now();
            Note::Alive.post(self.events)?;
        }
        Ok(())
    }
}
