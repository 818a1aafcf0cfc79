//! The log of a program, kept in a ring: `tracing` events go there in any format that tracing-subscriber has.
//!
//! Logging never makes the program wait. An event that finds no room is dropped and counted, and the log
//! itself says how many were dropped. Follow the log with `waldo tail -f HOME`, from as many terminals as you
//! like.

use anyhow::Result;
use clap::Parser;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tracing::{info, info_span, level_filters::LevelFilter, warn};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::{Layer, layer::SubscriberExt, util::SubscriberInitExt};
use waldo::writer::{Durability, SharedWriter, Writer, WriterOptions};

/// A program that logs into a ring. The log is read with `waldo tail HOME`.
///
/// Exit codes: 0 done, 1 failure, 2 wrong usage.
#[derive(Parser)]
#[command(after_help = "Example:\n  ring_log /var/tmp/log --events 100000 && waldo tail -n 5 /var/tmp/log")]
struct Args {
    /// Directory of the ring; is made if it is missing
    home: PathBuf,
    /// What is logged: error, warn, info, debug, trace
    #[arg(long, default_value = "info")]
    level: LevelFilter,
    /// How many events the program logs
    #[arg(long, default_value_t = 1000)]
    events: u64,
    /// Most events that may wait for the ring; further ones are dropped
    #[arg(long, default_value_t = 10_000)]
    queue: usize,
}

/// Where the lines of the log go. Clones share the ring and the counts.
#[derive(Clone)]
struct RingLog {
    writer: SharedWriter,
    queue: usize,
    dropped: Arc<AtomicU64>,
    /// Of these, the ones that the log does not speak of yet.
    unreported: Arc<AtomicU64>,
}

impl RingLog {
    fn open(home: &Path, queue: usize) -> Result<RingLog> {
        // A log line that survives the death of the program will do; a power cut takes the last second.
        let options = WriterOptions::default()
            .durability(Durability::Interval(Duration::from_secs(1)))
            .page_len(8 << 20)
            // Lines wait this long for others, so that hundreds are written at once. A program that is killed
            // with SIGKILL takes those lines with it; choose zero if you would rather pay for each line.
            .linger(Duration::from_millis(20));
        let writer = SharedWriter::new(Writer::open(home, options)?);
        Ok(RingLog { writer, queue, dropped: Arc::default(), unreported: Arc::default() })
    }

    /// A layer that formats events and puts them into the ring. For JSON, add `.json()` after `layer()`.
    fn layer<S>(&self, level: LevelFilter) -> impl Layer<S>
    where
        S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
    {
        // The ring's writer logs too: what it says about trouble with the ring must not go into that ring.
        let not_the_rings_own = filter_fn(|metadata| !metadata.target().starts_with("waldo"));
        // A record has its time already.
        let lines =
            tracing_subscriber::fmt::layer().without_time().with_ansi(false).with_writer(self.clone());
        lines.with_filter(level).with_filter(not_the_rings_own)
    }

    /// Queues a line, or drops and counts it. Never waits for anything.
    fn append(&self, line: &[u8]) {
        let unreported = self.unreported.swap(0, Ordering::Relaxed);
        let note = note(unreported);
        let lines = if unreported > 0 { vec![note.as_bytes(), line] } else { vec![line] };
        let has_room = self.writer.queued() < self.queue;
        // Nobody waits for the ticket. If the writer fails later, `close` says so.
        if !has_room || self.writer.try_append_payloads(&lines).map(drop).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            self.unreported.fetch_add(unreported + 1, Ordering::Relaxed);
        }
    }

    /// Waits until everything that was queued is in the ring, and durable.
    fn close(&self) -> Result<()> {
        let unreported = self.unreported.swap(0, Ordering::Relaxed);
        if unreported > 0 {
            self.writer.append_payloads(&[note(unreported)])?;
        }
        Ok(self.writer.close()?)
    }
}

fn note(dropped: u64) -> String {
    format!("{dropped} events were dropped here: the ring could not keep up")
}

/// One event on its way: a record, however many pieces it is written in.
struct Line<'a>(&'a RingLog, Vec<u8>);

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.1.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.0.append(self.1.trim_ascii_end());
    }
}

impl<'a> MakeWriter<'a> for RingLog {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self, Vec::with_capacity(200))
    }
}

fn run(args: &Args) -> Result<()> {
    let log = RingLog::open(&args.home, args.queue)?;
    tracing_subscriber::registry().with(log.layer(args.level)).init();
    // The program proper.
    for n in 0..args.events {
        let _span = info_span!("request", n).entered();
        if n % 100 == 99 {
            warn!(seconds = 1.5, "slow");
        } else {
            info!("served");
        }
    }
    log.close()?;
    println!("{} events, {} dropped", args.events, log.dropped.load(Ordering::Relaxed));
    Ok(())
}

fn main() -> ExitCode {
    if let Err(error) = run(&Args::parse()) {
        eprintln!("error: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
