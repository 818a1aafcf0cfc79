//! Measures Waldo on this machine, and compares it with the bare system.

mod comparison;
mod fanout;
mod floor;
mod folios;
mod latency;
mod open;
mod producers;
mod read;
mod result_table;
mod ring;
mod scratch;
mod session;
mod setting;
mod system;
mod watch;
mod write;

use clap::Parser;
use std::process::ExitCode;
use waldo_harness::processes::child::{Role, child_main};
use waldo_terminal::failure::{self, Outcome};

/// What this program is in the processes that it starts.
const ROLES: [Role; 9] = [
    (fanout::READER, fanout::processes_main),
    (fanout::WRITER, fanout::writer_main),
    (fanout::STREAMS, fanout::streams_main),
    (fanout::IDLE, fanout::idle_main),
    (latency::FOLLOWER, latency::follower_main),
    (open::DOOMED, open::doomed_main),
    (producers::SERVICE, producers::service_main),
    (read::SLEEPER, read::sleeper_main),
    (write::TAIL, write::tail_main),
];

/// Measure Waldo on this machine, against the bare system calls or memory accesses it cannot do without.
///
/// Absolute figures differ from machine to machine and from minute to minute. The ratio of two things that
/// are done in turns in one run does so much less. So every row has its floor beside it, measured in the same
/// run: rounds of ours (A) and of the floor (B) in the order A B B A, the first of each thrown away, medians
/// of the rest, the median ratio, and its quarter and three-quarter points, which tell how far to trust it.
/// Goals that are missed are marked as MISSED, and are no failure of the command.
///
/// Everything happens in a temporary directory, which is removed at the end, also after Ctrl-C.
#[derive(Parser)]
#[command(
    name = "waldo-suite",
    version,
    after_help = "\
Examples:
  waldo-suite write                                   what appending costs, in a few minutes
  waldo-suite write --page-size 64M --seconds 5       the sizes that the goals are given for
  waldo-suite latency --report results/latency        with plots, in results/latency.html
  waldo-suite open --size 1G,3G --dir /mnt/data       on the file system of that directory"
)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Write(write::Args),
    Read(read::Args),
    Latency(latency::Args),
    Open(open::Args),
    Fanout(fanout::Args),
    Producers(producers::Args),
}

fn main() -> ExitCode {
    // Some measurements start this program thousands of times: those processes skip everything they do not
    // need.
    child_main(&ROLES).unwrap_or_else(|| match Args::try_parse() {
        Ok(args) => failure::exit_code(run(args)),
        Err(error) => failure::usage(&error),
    })
}

fn run(args: Args) -> anyhow::Result<Outcome> {
    match args.what {
        What::Write(args) => write::run(args),
        What::Read(args) => read::run(args),
        What::Latency(args) => latency::run(args),
        What::Open(args) => open::run(args),
        What::Fanout(args) => fanout::run(&args),
        What::Producers(args) => producers::run(args),
    }
}
