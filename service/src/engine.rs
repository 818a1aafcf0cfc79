//! What the threads behind the connections share; see [`crate::threads`].

use crate::ServiceOptions;
use crate::connection::link::{Link, Reply, fatal};
use crate::counters::Counters;
use crate::journal::Journal;
use crate::producers::Producers;
use crate::request::{Request, Requests};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{Semaphore, watch};
use waldo::client::wire::{Batch, ErrorCode, Welcome};
use waldo::writer::{AppendError, SharedWriter};

/// What the sequencer gives out, and the completer takes back after a failure.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) producers: Producers,
    pub(crate) journal: Journal,
    /// The last sequence number given out: where the log ends once everything queued is appended.
    pub(crate) tip: u64,
    /// The ring's writer accepts nothing more.
    pub(crate) failed: Option<AppendError>,
}

/// What all threads and connections share.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) writer: SharedWriter,
    pub(crate) core: Mutex<Core>,
    pub(crate) requests: Requests,
    /// Bytes that may wait to be appended.
    pub(crate) queue_room: Arc<Semaphore>,
    pub(crate) options: ServiceOptions,
    pub(crate) record_len_max: usize,
    /// An append is durable when it is done.
    pub(crate) sync: bool,
    /// WELCOME, but for what is different each time.
    pub(crate) welcome: Welcome,
    pub(crate) counters: Arc<Counters>,
    /// Set when the ring's writer has failed.
    pub(crate) broken: watch::Sender<bool>,
}

impl Engine {
    pub(crate) fn ask(&self, request: Request) {
        self.requests.push(request);
    }

    pub(crate) fn count(&self, code: ErrorCode) {
        self.counters.count_error(code);
    }

    /// What a batch takes of `queue_room`. One that is larger than all of it is let in alone.
    pub(crate) fn queue_cost(&self, batch: &Batch<Vec<u8>>) -> u32 {
        let bytes = batch.body_len() + 32 * batch.fields().count as usize;
        bytes.min(self.options.queue_bytes) as u32
    }

    /// Ends a connection by an error.
    pub(crate) fn end(&self, link: &Link, code: ErrorCode, batch: u64, detail: u64, text: String) {
        self.count(code);
        link.end(fatal(code, batch, detail, text));
    }

    /// A producer's WELCOME, when everything that was sent under its name before is done.
    pub(crate) fn greet(&self, link: &Link) {
        let core = self.core.lock();
        let producer = link.producer().and_then(|id| core.producers.get(id));
        let welcome = Welcome {
            tip: self.writer.tip().unwrap_or(0),
            last_number: producer.map_or(0, |producer| producer.last()),
            ..self.welcome
        };
        link.reply(Reply::Welcome(welcome), None);
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64)
}
