//! One connection: a task that reads frames and writes answers, and lives as long as the producer wants.
//!
//! ```text
//!   read HELLO --> read APPEND, wait for room in the window --> engine
//!                                                                 |
//!   producer  <-- write ACK, give the room back  <----------------+
//! ```
//!
//! The two halves run beside each other in one task. The reading half ends at GOODBYE, at the end of the
//! stream, at a fault, or when the service stops; the writing half ends when everything is answered.

mod bell;
mod incoming;
mod lane;
pub(crate) mod link;
mod outgoing;
mod source;

use crate::counters::Counters;
use crate::engine::Engine;
use crate::request::{Permits, Request};
use bell::Bell;
use incoming::Stop;
use lane::{Offer, ProducerLane};
use link::{Link, fatal};
use outgoing::{End, Outgoing};
use source::Source;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use waldo::client::wire::{Batch, ErrorCode, ErrorFrame, FRAME_HEADER_LEN, HELLO_LEN_MAX, Hello, Kind};

/// Why the reading half ended.
enum Parting {
    /// GOODBYE, or the service stops: answered with GOODBYE.
    Polite,
    /// Everything that the producer has to be told is on its way.
    Other,
}

/// Talks to one producer until the end.
pub(crate) async fn serve(engine: Arc<Engine>, stream: UnixStream, stopping: watch::Receiver<bool>) {
    let (read, mut write) = stream.into_split();
    let (replies, outgoing) = unbounded_channel();
    let link = Arc::new(Link::new(replies));
    let stall = engine.options.stall_timeout;
    let bell = Bell::default();
    let frames = Source::new(read, Arc::clone(&link), bell.clone(), Arc::clone(&engine.counters));
    let mut reader = Reader { engine: Arc::clone(&engine), frames, link, stopping };
    let greeting = reader.greet().await;
    let checksums = greeting.as_ref().is_some_and(|hello| hello.checksums);
    let offer = greeting.as_ref().filter(|hello| hello.lane).map(|_| reader.offer_lane());
    let reading = async move {
        match greeting {
            Some(hello) => reader.read(&hello).await,
            None => Parting::Other,
        }
    };
    let (parting, end) = {
        let writing = Outgoing { stream: &mut write, checksums, offer, bell }.write(outgoing, stall);
        tokio::pin!(reading, writing);
        tokio::select! {
            // A producer that is gone, or does not read, is not listened to either.
            end = &mut writing => (Parting::Other, end),
            parting = &mut reading => (parting, writing.await),
        }
    };
    if end == End::Stalled {
        engine.count(ErrorCode::TooSlow);
        Counters::add(&engine.counters.cut_off, 1);
    }
    if end == End::Done && matches!(parting, Parting::Polite) {
        // If the producer is gone nobody misses it.
        let _ = outgoing::goodbye(&mut write, checksums, stall).await;
    }
}

struct Reader {
    engine: Arc<Engine>,
    frames: Source,
    link: Arc<Link>,
    stopping: watch::Receiver<bool>,
}

impl Reader {
    /// Reads HELLO and asks for the answer. `None` if the HELLO cannot be accepted.
    async fn greet(&mut self) -> Option<Hello> {
        let limit = self.engine.options.hello_timeout;
        let first = tokio::select! {
            first = timeout(limit, self.frames.next(HELLO_LEN_MAX, limit)) => first.unwrap_or(Err(Stop::Stalled)),
            () = stopped(&mut self.stopping) => {
                self.end(fatal(ErrorCode::ShuttingDown, 0, 0, "the service ends"));
                return None;
            }
        };
        let hello = match first {
            Ok((Kind::Hello, body)) => Hello::check(&body).map_err(Stop::Fault),
            Ok((kind, _)) => {
                self.unexpected(kind);
                return None;
            }
            Err(stop) => Err(stop),
        };
        match hello {
            Ok(hello) => {
                self.engine.ask(Request::Hello { link: Arc::clone(&self.link), name: hello.name.clone() });
                Some(hello)
            }
            Err(stop) => {
                self.stop(stop, limit);
                None
            }
        }
    }

    /// Makes a lane for the producer, which hears of it behind WELCOME.
    fn offer_lane(&mut self) -> Offer {
        let (lane, offer) = ProducerLane::make(&self.engine);
        self.frames.set_lane(lane);
        offer
    }

    /// Reads batches until the end.
    async fn read(&mut self, hello: &Hello) -> Parting {
        let (frame_max, stall) = (self.engine.options.frame_len_max, self.engine.options.stall_timeout);
        let batches = Arc::new(Semaphore::new(self.engine.options.window_batches as usize));
        let bytes = Arc::new(Semaphore::new(self.engine.options.window_bytes + FRAME_HEADER_LEN));
        loop {
            let frame = tokio::select! {
                frame = self.frames.next(frame_max, stall) => frame,
                () = self.link.closing.notified() => return Parting::Other,
                () = stopped(&mut self.stopping) => return Parting::Polite,
            };
            let body = match frame {
                Ok((Kind::Append, body)) => body,
                Ok((Kind::Goodbye, body)) if body.is_empty() => return Parting::Polite,
                Ok((kind, _)) => {
                    self.unexpected(kind);
                    return Parting::Other;
                }
                Err(stop) => {
                    self.stop(stop, stall);
                    return Parting::Other;
                }
            };
            let Some(batch) = self.check(body) else { return Parting::Other };
            let permits = tokio::select! {
                permits = permits(&self.engine, &batches, &bytes, &batch) => permits,
                () = self.link.closing.notified() => return Parting::Other,
                () = stopped(&mut self.stopping) => return Parting::Polite,
            };
            let durable = hello.durable || batch.is_durable();
            let link = Arc::clone(&self.link);
            self.engine.ask(Request::Append { link, batch, durable, permits });
        }
    }

    fn check(&self, body: Vec<u8>) -> Option<Batch<Vec<u8>>> {
        let batch = match Batch::check(body) {
            Ok(batch) => batch,
            Err(fault) => {
                self.end(fatal(fault.code(), 0, 0, fault.to_string()));
                return None;
            }
        };
        let (len, max) = (batch.payload_len_max(), self.engine.record_len_max);
        if len > max {
            let text = format!("a record of {len} bytes, at most {max} are allowed");
            let id = batch.fields().batch;
            self.end(fatal(ErrorCode::RecordTooLarge, id, max as u64, text));
            return None;
        }
        Some(batch)
    }

    fn unexpected(&self, kind: Kind) {
        let text = format!("a {} may not come now, or not with this body", kind.name());
        self.end(fatal(ErrorCode::Unexpected, 0, 0, text));
    }

    fn stop(&self, stop: Stop, limit: Duration) {
        match stop {
            Stop::Closed | Stop::Broken => {}
            Stop::Stalled => {
                Counters::add(&self.engine.counters.cut_off, 1);
                let text = format!("the rest of a frame did not come in {limit:?}");
                self.end(fatal(ErrorCode::TooSlow, 0, limit.as_millis() as u64, text));
            }
            Stop::Fault(fault) => {
                let detail = match fault.code() {
                    ErrorCode::Version => u64::from(waldo::client::wire::VERSION),
                    ErrorCode::FrameTooLarge => self.engine.options.frame_len_max as u64,
                    _ => 0,
                };
                self.end(fatal(fault.code(), 0, detail, fault.to_string()));
            }
        }
    }

    /// Ends the connection by an error, behind the batches that were read before it.
    fn end(&self, error: ErrorFrame) {
        self.engine.ask(Request::End { link: Arc::clone(&self.link), error });
    }
}

/// However the connection ends: this producer sends nothing more.
impl Drop for Reader {
    fn drop(&mut self) {
        self.engine.ask(Request::Leave { link: Arc::clone(&self.link) });
    }
}

async fn stopped(stopping: &mut watch::Receiver<bool>) {
    if stopping.wait_for(|stopping| *stopping).await.is_err() {
        // The service itself is gone, and its tasks are about to be.
        std::future::pending::<()>().await;
    }
}

/// Waits until the batch fits the producer's window and the queue of all.
async fn permits(
    engine: &Engine,
    batches: &Arc<Semaphore>,
    bytes: &Arc<Semaphore>,
    batch: &Batch<Vec<u8>>,
) -> Permits {
    let frame = (batch.body_len() + FRAME_HEADER_LEN) as u32;
    // Nobody closes these semaphores.
    let never = |_| unreachable!("the semaphore is open");
    let one = Arc::clone(batches).acquire_owned().await.unwrap_or_else(never);
    let room = Arc::clone(bytes).acquire_many_owned(frame).await.unwrap_or_else(never);
    let queue = Arc::clone(&engine.queue_room);
    let queue = queue.acquire_many_owned(engine.queue_cost(batch)).await.unwrap_or_else(never);
    Permits { window: (one, room), queue }
}
