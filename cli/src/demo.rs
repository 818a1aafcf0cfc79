//! `waldo demo`: one writer process, any number of reader processes, and proof that each got every byte.

mod cast;
mod note;
mod outcome;
mod plan;
mod reader;
mod report;
mod run;
mod tally;
mod text;
mod writer;

use std::path::PathBuf;
use waldo_terminal::failure::Outcome;
use waldo_terminal::units::parse_size;

pub use reader::main as reader_main;
pub use writer::main as writer_main;

/// First argument of a reader process.
pub const READER: &str = "demo-reader";
/// First argument of the writer process.
pub const WRITER: &str = "demo-writer";

/// Run one writer process and many reader processes that check every byte it appends.
///
/// Makes a ring in a temporary directory, starts one writer and the readers, each a process of its own, and
/// feeds the writer real text. Each reader checks that it gets every record, in order, without a gap, and
/// hashes all records with a hash that is independent of the checksums in the log; the writer hashes what it
/// appends. The demo succeeds if all hashes agree. Everything is removed at the end, even after Ctrl-C.
///
/// The ring is made large enough for all of the text, up to 2 GiB. Beyond that, or with a smaller
/// --ring-size, the writer is throttled so that the ring does not overtake a reader.
#[derive(clap::Args, Debug)]
#[command(after_help = "\
Examples:
  waldo demo                                     1,000 readers of 100,000 records
  waldo demo --readers 10000 --records 10000
  waldo demo --readers 50 --input access.log     your own text
  waldo demo --readers 20 --seconds 10 --ring-size 4 --page-size 4M   many laps of a small ring")]
pub struct Args {
    /// Reader processes.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    readers: u32,
    /// Feed the lines of this file; without it, text that the demo brings along.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// End after this many records [default: all of --input; 100000 without it].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    records: Option<u64>,
    /// End after appending for this many seconds.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Append this many records a second [default: as fast as possible].
    #[arg(long, value_name = "PER SECOND", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Pages in the ring [default: enough].
    #[arg(long, value_name = "PAGES", value_parser = clap::value_parser!(u32).range(1..))]
    ring_size: Option<u32>,
    /// Bytes of one page file [default: 16M or 64M, depending on the text].
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    page_size: Option<u64>,
    /// Make the ring in this directory and leave it there, so that you can inspect it afterwards.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    run::run(&args)
}
