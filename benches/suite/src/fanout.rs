//! `waldo-suite fanout`: one writer process, tens of thousands of reader processes, and the cost for both.

mod course;
mod findings;
mod idle;
mod load;
mod note;
mod payload;
mod readers;
mod sum;
mod tally;
mod writer;

use std::path::PathBuf;
use std::time::Duration;
use waldo::writer::Scheduling;
use waldo_terminal::failure::Outcome;
use waldo_terminal::units::parse_size;

pub use idle::main as idle_main;
pub use readers::{processes_main, streams_main};
pub use writer::main as writer_main;

/// First argument of the writer process.
pub const WRITER: &str = "fanout-writer";
/// First argument of a reader process.
pub const READER: &str = "fanout-reader";
/// First argument of the process that holds all streams.
pub const STREAMS: &str = "fanout-streams";
/// First argument of a process that does nothing.
pub const IDLE: &str = "fanout-idle";

/// What the readers are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Mode {
    /// A process each.
    Processes,
    /// Async streams in one process, on one thread of tokio.
    Streams,
}

/// One writer, thousands of readers: what reaches them, how late, and what the writer pays for it.
///
/// Makes a ring in a temporary directory and starts a writer process, which appends without readers first.
/// Then the readers start, each a process of its own: they attach and do nothing, while the writer appends
/// again (it must not notice them). Then all of them follow the log while the writer appends at --rate for
/// --seconds; each checks that no record is missing. At last, with everybody asleep, single records show how
/// long it takes until the last one has been woken. The writer then appends once more without readers, to
/// show whether the machine has changed.
///
/// Appends are due at fixed times, whether the one before was late or not: a writer that is held up by its
/// readers shows as late appends, not as fewer of them. Everything is removed at the end, also after Ctrl-C.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = "\
Examples:
  waldo-suite fanout                                      1,000 reader processes
  waldo-suite fanout --readers 30000 --report fanout      all that pid_max allows; fanout.html and fanout.json
  waldo-suite fanout --readers 10000 --mode streams       async streams in one process
  waldo-suite fanout --readers 10000 --scheduling realtime:1    the appending thread before everybody else
  waldo-suite fanout --readers 5000 --wake-interval 5ms   fewer wakes, later records

Limits that 30,000 processes meet, and how to raise them: `sysctl kernel.pid_max`, `sysctl kernel.threads-max`,
`ulimit -u`, pids.max of the control group; about 0.4 MiB of memory each.")]
pub struct Args {
    /// Readers.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    readers: u32,
    /// What the readers are.
    #[arg(long, value_enum, default_value_t = Mode::Processes)]
    mode: Mode,
    /// Appends a second while readers follow, one record each.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rate: u64,
    /// Bytes of a record's payload.
    #[arg(long, default_value = "100", value_parser = parse_size)]
    size: u64,
    /// Seconds for which readers follow.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Make every append durable before it is visible. Choose a --rate that the disk can keep up with.
    #[arg(long)]
    sync: bool,
    /// Pages in the ring.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=1024))]
    ring_size: u32,
    /// Bytes of one page file.
    #[arg(long, default_value = "64M", value_parser = parse_size)]
    page_size: u64,
    /// Where to make the ring, in a directory of its own [default: the temporary directory].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Shortest time between two rounds of waking sleeping readers [default: that of the writer].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    wake_interval: Option<Duration>,
    /// Time between background flushes of committed appends. Long by default, so that they seldom come before
    /// the flushes that are timed; `waldo serve --no-sync` flushes every second.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "1m",
          conflicts_with = "sync")]
    sync_interval: Duration,
    /// Scheduling of the appending thread: normal, nice:N, slice:Nus, realtime:N.
    #[arg(long, default_value_t = Scheduling::Normal)]
    scheduling: Scheduling,
    /// Scheduling of the readers: normal, batch, idle, nice:N, slice:Nus.
    #[arg(long, default_value_t = Scheduling::Normal)]
    reader_scheduling: Scheduling,
    /// Seconds for each measurement of the writer alone and beside idle readers.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    baseline: u64,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
    /// Write STEM.json and STEM.html, with plots.
    #[arg(long, value_name = "STEM")]
    report: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    course::run(args)
}
