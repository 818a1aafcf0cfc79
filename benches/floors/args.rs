//! The command line, and what it comes to.

use clap::{Parser, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;
use waldo::writer::Io;

/// Measures Waldo against the bare system.
#[derive(Debug, Default, Parser)]
#[command(name = "floors")]
pub struct Args {
    /// What to measure; everything if nothing is named
    topics: Vec<Topic>,
    /// Seconds per row, ours and floor together [default: 1.5, with --full 5]
    #[arg(long)]
    seconds: Option<f64>,
    /// The sizes that the goals are given for: pages of 64 MiB instead of 16 MiB
    #[arg(long)]
    full: bool,
    /// How the writer writes; may be given several times
    #[arg(long, value_enum, default_value = "auto")]
    io: Vec<IoArg>,
    /// Directory to make the rings in, on the file system to measure [default: below the build directory]
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Also write facts and rows here, as JSON
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Topic {
    /// One small record at a time
    Append,
    /// 2 MB of records at a time, lap after lap
    Batch,
    /// Many threads or tasks that append durably
    Group,
    /// How long single appends take while pages fill up
    Rotate,
    /// From append to reader
    Follow,
    /// Finding one record
    Seek,
    /// Reading the whole ring
    Scan,
    /// Opening for writing
    Open,
    /// Attaching a reader
    Attach,
    /// Waking many streams of one process
    Streams,
    /// What a sleeping reader process costs
    Memory,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum IoArg {
    Auto,
    Uring,
    Pwrite,
}

impl Args {
    pub fn topics(&self) -> &[Topic] {
        if self.topics.is_empty() { Topic::value_variants() } else { &self.topics }
    }
}

/// How large and how long.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everything once, to see that it works.
    pub smoke: bool,
    /// For one row.
    pub time: Duration,
    pub page_len: u64,
    pub ring_size: u32,
    pub io: Vec<Io>,
}

impl Plan {
    pub fn new(args: &Args, smoke: bool) -> Plan {
        let seconds = args.seconds.unwrap_or(if args.full { 5.0 } else { 1.5 });
        let io = args.io.iter().map(|io| match io {
            IoArg::Auto => Io::Auto,
            IoArg::Uring => Io::Uring,
            IoArg::Pwrite => Io::Pwrite,
        });
        Plan {
            smoke,
            time: Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(1)),
            page_len: if smoke {
                2 << 20
            } else if args.full {
                64 << 20
            } else {
                16 << 20
            },
            ring_size: if smoke { 3 } else { 8 },
            io: if smoke { vec![Io::Auto] } else { io.collect() },
        }
    }

    /// `n`, or next to nothing in a smoke run.
    pub fn count(&self, n: usize) -> usize {
        if self.smoke { n.div_ceil(100) } else { n }
    }
}

/// What to put behind a row's name, so that rows of several `--io` can be told apart.
pub fn suffix(io: Io) -> &'static str {
    match io {
        Io::Auto => "",
        Io::Uring => ", uring",
        Io::Pwrite => ", pwrite",
    }
}
