//! [`Service`]: the socket, the connections, and their end.

use crate::accept::{accept, listen, tell_of_panic};
use crate::counters::{Counters, ServiceCounters};
use crate::descriptors::Served;
use crate::engine::{Core, Engine};
use crate::journal::{Journal, Place, load};
use crate::socket::{self, SocketFile};
use crate::threads::{Closer, Threads};
use crate::{ServiceError, ServiceOptions};
use parking_lot::Mutex;
use std::future::Future;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use waldo::client::wire::{AppendFields, VERSION, Welcome};
use waldo::protocol::limits::{PAYLOAD_LEN_MAX, RECORD_HEADER_LEN};
use waldo::protocol::page::PageGeometry;
use waldo::reader::Ring;
use waldo::writer::{Durability, SharedWriter, Writer, WriterOptions};

/// How long producers may take to be told that the ring has failed.
const FAREWELL: Duration = Duration::from_secs(1);

/// Takes records from producers and appends them to one ring.
///
/// It owns the ring's writer: nobody else may append, since the service gives every record its number before
/// it is appended. [`Service::run`] does the work.
#[derive(Debug)]
pub struct Service {
    closer: Closer,
    threads: Threads,
    /// Before the listener, so that the file goes first.
    file: Option<SocketFile>,
    listener: UnixListener,
    served: Served,
}

/// Reads a service's counters, also while it runs.
#[derive(Clone, Debug)]
pub struct Watch(Arc<Counters>);

impl Watch {
    /// The counters now.
    pub fn counters(&self) -> ServiceCounters {
        self.0.snapshot()
    }
}

impl Service {
    /// Says whether a socket could have this path, without looking at what is there.
    ///
    /// # Errors
    /// [`ServiceError::Options`] or [`ServiceError::PathTooLong`].
    pub fn check_path(path: impl AsRef<Path>) -> Result<(), ServiceError> {
        socket::check_path(path.as_ref())
    }

    /// Serves `writer`'s ring on a socket at `path`. A socket there that nobody listens on is replaced.
    /// Producers may connect from now on; they are served by [`Service::run`].
    ///
    /// # Errors
    /// [`ServiceError`].
    pub fn bind(
        writer: Writer,
        path: impl AsRef<Path>,
        options: ServiceOptions,
    ) -> Result<Service, ServiceError> {
        options.check()?;
        let bound = socket::bind(path.as_ref(), &options)?;
        Service::start(writer, bound.listener, Some(bound.file), options)
    }

    /// Serves `writer`'s ring on a socket that listens already: see
    /// [`inherited_listener`](crate::inherited_listener). Its file, mode and group are the caller's.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub fn on_listener(
        writer: Writer,
        listener: UnixListener,
        options: ServiceOptions,
    ) -> Result<Service, ServiceError> {
        options.check()?;
        Service::start(writer, listener, None, options)
    }

    fn start(
        writer: Writer,
        listener: UnixListener,
        file: Option<SocketFile>,
        options: ServiceOptions,
    ) -> Result<Service, ServiceError> {
        let closer = Closer(Arc::new(make_engine(writer, options)?));
        let threads = Threads::start(&closer.0)?;
        Ok(Service { closer, threads, listener, file, served: Served::new() })
    }

    /// For reading the counters while the service runs.
    pub fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.closer.0.counters))
    }

    /// Serves producers until `shutdown` is ready, or the ring's writer fails. Then nobody is accepted any
    /// more, what was read is stored and acknowledged, and the ring is closed.
    ///
    /// To be called within a tokio runtime with I/O and time enabled.
    ///
    /// # Errors
    /// [`ServiceError::Writer`] if the ring's writer failed; the counters are read by [`Service::watch`].
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<ServiceCounters, ServiceError> {
        let Service { closer, threads, file, listener, served: _served } = self;
        let engine = Arc::clone(&closer.0);
        let (stop, stopping) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut broken = engine.broken.subscribe();
        let listener = listen(listener);
        // Behind the listener, so that the file goes first, also if this future is dropped.
        let file = file;
        if let Ok(listener) = &listener {
            tokio::select! {
                () = accept(&engine, listener, &mut connections, &stopping) => {}
                _ = broken.wait_for(|broken| *broken) => {}
                () = shutdown => {}
            }
        }
        // Who connects from here on is refused, and tries again later.
        drop(file);
        let outcome = listener.map(drop);
        stop.send_replace(true);
        let drained = async {
            while let Some(ended) = connections.join_next().await {
                tell_of_panic(ended);
            }
        };
        // A ring that has failed has nothing left to acknowledge, and is to be opened again soon.
        let failed = *engine.broken.borrow();
        let patience = engine.options.drain_timeout.min(if failed { FAREWELL } else { Duration::MAX });
        if timeout(patience, drained).await.is_err() {
            tracing::warn!("{} producers did not take their last answers in time", connections.len());
            Counters::add(&engine.counters.cut_off, connections.len() as u64);
        }
        connections.shutdown().await;
        drop(closer);
        let finish = tokio::task::spawn_blocking(move || finish(&engine, threads));
        let finished = finish.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        outcome.and(finished)
    }
}

fn make_engine(writer: Writer, options: ServiceOptions) -> Result<Engine, ServiceError> {
    let ring_id = Ring::attach(writer.home())?.ring_id();
    let place = Place::of(&writer, ring_id)?;
    let tip = writer.tip().unwrap_or(0);
    let mut producers = load(&place, tip)?.producers;
    producers.forget_unused(options.names_kept_since(crate::engine::now_ms()));
    producers.shrink_to(options.names_max);
    let names = producers.len();
    let journal = Journal::create(place, &producers)?;
    let record_len_max = record_len_max(writer.options(), &options);
    let (sync, durability) = match writer.options().durability {
        Durability::Sync => (true, 0),
        Durability::Interval(_) => (false, 1),
        _ => (false, 2),
    };
    let welcome = Welcome {
        version: VERSION,
        frame_len_max: options.frame_len_max as u32,
        record_len_max: record_len_max as u32,
        window_batches: options.window_batches,
        window_bytes: options.window_bytes as u64,
        tip,
        last_number: 0,
        epoch: writer.open_report().epoch,
        durability,
        ring_id,
    };
    let counters = Arc::new(Counters::default());
    counters.names.store(names as u64, Ordering::Relaxed);
    Ok(Engine {
        writer: SharedWriter::new(writer),
        core: Mutex::new(Core { producers, journal, tip, failed: None }),
        requests: Default::default(),
        queue_room: Arc::new(Semaphore::new(options.queue_bytes)),
        options,
        record_len_max,
        sync,
        welcome,
        counters,
        broken: watch::channel(false).0,
    })
}

/// The longest payload that fits the ring's pages and a frame.
fn record_len_max(ring: &WriterOptions, options: &ServiceOptions) -> usize {
    let page = PageGeometry::new(ring.page_len, ring.index_capacity);
    let page = page.map_or(0, |page| page.record_size_max() as usize).saturating_sub(RECORD_HEADER_LEN + 7);
    let frame = options.frame_len_max - size_of::<AppendFields>() - 4;
    page.min(frame).min(PAYLOAD_LEN_MAX)
}

/// Ends the threads, and closes the ring.
fn finish(engine: &Engine, threads: Threads) -> Result<ServiceCounters, ServiceError> {
    let panicked = threads.join();
    let mut core = engine.core.lock();
    let Core { journal, producers, failed, .. } = &mut *core;
    if let Some(error) = failed.take() {
        return Err(error.into());
    }
    panicked?;
    if let Err(error) = journal.compact(producers) {
        // What it holds is as good.
        tracing::warn!("the journal of producers cannot be written anew: {error}");
    }
    engine.writer.close()?;
    Ok(engine.counters.snapshot())
}
