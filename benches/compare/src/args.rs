//! The command line.

use crate::system::System;
use clap::Parser;
use clap::builder::RangedU64ValueParser;
use std::path::PathBuf;
use std::time::Duration;

/// Sends the same records to many subscriber processes through Waldo and through other systems, and compares.
///
/// Each system is measured with each number of subscribers, every subscriber a process of its own that checks
/// every record. First at a steady pace, which shows delays; then as fast as it goes, which shows throughput.
/// A warm-up comes before and is not counted. The tables give absolute figures and their ratio to Waldo's,
/// and end with a list of what Waldo loses.
#[derive(Parser, Debug)]
#[command(name = "waldo-compare", version, after_long_help = EXAMPLES, max_term_width = 100)]
pub struct Args {
    /// Numbers of subscriber processes, one measurement each
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,10,100,1000",
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=30_000))]
    pub subscribers: Vec<usize>,
    /// Records of the part that goes as fast as it can; 0 leaves it out
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    pub records: u64,
    /// Bytes of a record
    #[arg(long, value_name = "BYTES", default_value_t = 100,
          value_parser = RangedU64ValueParser::<usize>::new().range(40..=65_536))]
    pub size: usize,
    /// Records a second of the paced part; 0 leaves it out
    #[arg(long, value_name = "PER_SECOND", default_value_t = 1000, value_parser = clap::value_parser!(u64).range(..=1_000_000))]
    pub rate: u64,
    /// How long the paced part is to take, in seconds; a system that cannot keep up is cut off at twice that
    #[arg(long, value_name = "SECONDS", default_value_t = 3.0, value_parser = seconds)]
    pub seconds: f64,
    /// Records that the publisher hands over in one go in the fast part (one transaction, one pipeline, one
    /// write); in the paced part each record is on its own
    #[arg(long, value_name = "N", default_value_t = 64,
          value_parser = RangedU64ValueParser::<usize>::new().range(1..=512))]
    pub batch: usize,
    /// How long the publisher may take for the fast part, in seconds; then it stops, and the figures are of
    /// what was published until then
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0, value_parser = seconds)]
    pub limit: f64,
    /// Systems to measure; Waldo should be among them if there are to be ratios
    #[arg(long, value_name = "SYSTEM,...", value_delimiter = ',', value_enum)]
    pub only: Vec<System>,
    /// Measure everything this often, in an order that changes each time, and give medians
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=99))]
    pub repeat: u64,
    /// Where the ring, the LMDB file and Redis' append-only file go: a folder on the file system that is to
    /// be measured [default: the system's folder for temporary files]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Time between two looks of an LMDB reader at whether there is anything new, in microseconds: LMDB has
    /// no way to wake a reader [default: 1000, or 10 for each subscriber if that is more. A thousand
    /// processes that look every millisecond take all of two CPUs without reading anything]
    #[arg(long, value_name = "US", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub lmdb_poll: Option<u64>,
    /// Give up on a system that shows no progress for this long, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub patience: u64,
    /// Write every figure of every run to this file, too
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Print the tables as Markdown
    #[arg(long)]
    pub markdown: bool,
}

const EXAMPLES: &str = "\
Examples:
  waldo-compare
      everything, with 1 to 1,000 subscribers: ten to fifteen minutes on two cores
  waldo-compare --subscribers 10 --only waldo,unix --records 20000 --seconds 1
      a first look: seconds
  waldo-compare --size 1024 --repeat 3 --dir /mnt/xfs --json out.json --markdown > out.md
      larger records on another file system, medians of three, to keep

Nothing is left behind: no process, no shared memory, no file. Ctrl-C ends it cleanly at any time.";

impl Args {
    /// How often an LMDB reader looks.
    pub fn lmdb_poll(&self, subscribers: usize) -> Duration {
        let usual = (10 * subscribers as u64).max(1000);
        Duration::from_micros(self.lmdb_poll.unwrap_or(usual))
    }

    /// The systems asked for, in the usual order.
    pub fn systems(&self) -> Vec<System> {
        let all = <System as clap::ValueEnum>::value_variants();
        all.iter().copied().filter(|system| self.only.is_empty() || self.only.contains(system)).collect()
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && (0.01..=3600.0).contains(&value) => Ok(value),
        _ => Err("seconds must be a number from 0.01 to 3600".into()),
    }
}
