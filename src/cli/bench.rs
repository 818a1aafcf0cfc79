//! `waldo bench`: what Waldo does on this machine, next to what the bare system does.

mod duel;
pub mod fanout;
mod floor;
mod folios;
mod histogram;
mod latency;
mod machine;
mod open;
mod read;
mod report;
mod ring;
mod scratch;
mod session;
mod setting;
mod sheet;
mod system;
mod watch;
mod write;

use super::failure::Outcome;

pub use latency::{FOLLOWER, follower_main};
pub use open::{DOOMED, doomed_main};
pub use read::{SLEEPER, sleeper_main};
pub use write::{TAIL, tail_main};

/// Measure Waldo on this machine, against the bare system calls or memory accesses it cannot do without.
///
/// Absolute figures differ from machine to machine and from minute to minute. The ratio of two things that
/// are done in turns in one run does so much less. So every row has its floor beside it, measured in the same
/// run: rounds of ours (A) and of the floor (B) in the order A B B A, the first of each thrown away, medians
/// of the rest, the median ratio, and its quarter and three-quarter points, which tell how far to trust it.
/// Goals that are missed are marked as MISSED, and are no failure of the command.
///
/// Everything happens in a temporary directory, which is removed at the end, also after Ctrl-C.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waldo bench write                                   what appending costs, in less than a minute
  waldo bench write --page-size 64M --seconds 5       the sizes that the goals are given for
  waldo bench latency --report results/latency        with plots, in results/latency.html
  waldo bench open --size 1G,3G --dir /mnt/data       on the file system of that directory")]
pub struct Args {
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
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    match args.what {
        What::Write(args) => write::run(args),
        What::Read(args) => read::run(args),
        What::Latency(args) => latency::run(args),
        What::Open(args) => open::run(args),
        What::Fanout(args) => fanout::run(&args),
    }
}
