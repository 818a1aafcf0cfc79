//! One round: producers, or threads that have the ring, for a fixed time.

use anyhow::ensure;
use std::collections::VecDeque;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};
use waldo::client::{Producer, ProducerOptions, Ticket};
use waldo::writer::SharedWriter;
use waldo_harness::results::histogram::Latency;

/// Batches that a producer has on their way, of few producers and of many.
const WINDOW: usize = 32;
const WINDOW_OF_MANY: usize = 8;
const MANY: usize = 64;

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct ProducerLoad {
    pub producers: usize,
    pub payload_len: usize,
    pub batch: usize,
    pub time: Duration,
}

/// What came of a round, or of several.
pub struct RoundTotal {
    /// Records per second.
    pub rate: f64,
    /// How long each batch took.
    pub latency: Latency,
    /// Flushes of the ring meanwhile.
    pub flushes: u64,
}

impl RoundTotal {
    pub fn new() -> RoundTotal {
        RoundTotal { rate: 0.0, latency: Latency::of_two_digits(), flushes: 0 }
    }

    pub fn add(&mut self, round: RoundTotal) {
        self.latency.merge(&round.latency);
        self.flushes += round.flushes;
    }
}

impl ProducerLoad {
    /// Producers that send to the service, through lanes or over the socket.
    pub fn through(&self, socket: &Path, lane: bool) -> anyhow::Result<RoundTotal> {
        self.round(
            |index| {
                let options = ProducerOptions::default().name(format!("load-{index}")).lane(lane);
                Ok(Producer::connect(socket, options)?)
            },
            |producer, payloads, until| self.produce(&producer, payloads, until),
        )
    }

    /// Threads that share the writer, and wait for each batch.
    pub fn embedded(&self, writer: &SharedWriter) -> anyhow::Result<RoundTotal> {
        self.round(
            |_| Ok(()),
            |(), payloads, until| {
                let mut latency = Latency::of_two_digits();
                while Instant::now() < until {
                    let sent = Instant::now();
                    writer.append_payloads(payloads)?;
                    latency.record(sent.elapsed());
                }
                Ok(latency)
            },
        )
    }

    /// Has as many threads prepare as there are producers, and then work at the same time.
    fn round<P>(
        &self,
        prepare: impl Fn(usize) -> anyhow::Result<P> + Sync,
        work: impl Fn(P, &[&[u8]], Instant) -> anyhow::Result<Latency> + Sync,
    ) -> anyhow::Result<RoundTotal> {
        let payload = vec![0x5a; self.payload_len];
        let payloads = vec![payload.as_slice(); self.batch];
        // Closed until all have prepared; holds whether there is anything to do behind it.
        let gate = RwLock::new(false);
        let (ready, prepared) = channel();
        let mut total = RoundTotal::new();
        let mut longest = Duration::ZERO;
        let one = |index, ready: Sender<()>| {
            let prepared = prepare(index);
            // Also of those that failed: the others wait for them.
            let _ = ready.send(());
            let is_open = *gate.read().unwrap_or_else(PoisonError::into_inner);
            ensure!(is_open, "another producer could not be started");
            let start = Instant::now();
            let latency = work(prepared?, &payloads, start + self.time)?;
            anyhow::Ok((start.elapsed(), latency))
        };
        let one = &one;
        thread::scope(|scope| {
            let mut open = gate.write().unwrap_or_else(PoisonError::into_inner);
            let spawn = |index| {
                let ready = ready.clone();
                thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, move || one(index, ready))
            };
            let handles: Vec<_> = (0..self.producers).map(spawn).collect::<Result<_, _>>()?;
            // Each of them says so once, whatever comes of it.
            let count = prepared.iter().take(self.producers).count();
            *open = count == self.producers;
            drop(open);
            for handle in handles {
                let (time, latency) = handle.join().map_err(|_| anyhow::anyhow!("a producer panicked"))??;
                longest = longest.max(time);
                total.latency.merge(&latency);
            }
            anyhow::Ok(())
        })?;
        total.rate = (total.latency.count() * self.batch as u64) as f64 / longest.as_secs_f64();
        Ok(total)
    }

    fn produce(&self, producer: &Producer, payloads: &[&[u8]], until: Instant) -> anyhow::Result<Latency> {
        let window = if self.producers > MANY { WINDOW_OF_MANY } else { WINDOW };
        let mut waiting: VecDeque<(Instant, Ticket)> = VecDeque::new();
        let mut latency = Latency::of_two_digits();
        let mut take = |waiting: &mut VecDeque<(Instant, Ticket)>| {
            if let Some((sent, ticket)) = waiting.pop_front() {
                ticket.wait()?;
                latency.record(sent.elapsed());
            }
            anyhow::Ok(())
        };
        while Instant::now() < until {
            if waiting.len() == window {
                take(&mut waiting)?;
            }
            waiting.push_back((Instant::now(), producer.append(payloads)?));
        }
        while !waiting.is_empty() {
            take(&mut waiting)?;
        }
        producer.close()?;
        Ok(latency)
    }
}
