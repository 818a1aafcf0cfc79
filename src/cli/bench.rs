//! `waldo bench`: what Waldo does on this machine, next to what the bare system does.

pub mod fanout;
#[allow(dead_code, reason = "for the subcommands, which follow")]
mod histogram;
#[allow(dead_code, reason = "for the subcommands, which follow")]
mod machine;
#[allow(dead_code, reason = "for the subcommands, which follow")]
mod report;

use super::failure::Outcome;

/// Measure Waldo on this machine, against the bare system calls or memory accesses it cannot do without.
///
/// Absolute figures differ from machine to machine and from minute to minute. The ratio of two things that are done
/// in turns in one run does so much less, so every row has its floor beside it, measured in the same run.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    Fanout(fanout::Args),
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    match args.what {
        What::Fanout(args) => fanout::run(&args),
    }
}
