//! What Waldo costs above what the system itself takes: each row measures one operation of Waldo and, in turns in
//! the same run, the bare system calls or memory accesses that it cannot do without (its *floor*).
//!
//! ```text
//! cargo bench --bench floors                                    everything, small: a minute or two
//! cargo bench --bench floors -- batch scan --full --seconds 5   two topics at the sizes the goals are given for
//! cargo bench --bench floors -- --io pwrite --io uring --dir /mnt/xfs --json out.json
//! ```
//!
//! Absolute times differ from machine to machine and from minute to minute; the ratio of two things done A B B A ...
//! does so much less, and the goals are ratios wherever that makes sense. A row's ratio is the median over its
//! rounds, and the quarter and three-quarter points beside it tell how far to trust it.
//!
//! Without `--bench`, as under `cargo test --benches`, everything runs once, on tiny rings.

mod append;
mod args;
mod attach;
mod batch;
mod child;
mod facts;
mod floor;
mod follow;
mod group;
mod memory;
mod open;
mod ring;
mod rotate;
mod scan;
mod scratch;
mod seek;
mod stats;
mod streams;
mod sys;
mod table;

use args::{Args, Plan, Topic};
use clap::Parser;
use scratch::Scratch;
use std::process::ExitCode;
use table::Table;

/// What every topic is given.
struct Bench {
    plan: Plan,
    scratch: Scratch,
    table: Table,
}

fn main() -> anyhow::Result<ExitCode> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let Some((child::FLAG, rest)) = words.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        child::run(rest)?;
        return Ok(ExitCode::SUCCESS);
    }
    // Whatever a test runner passes is meant for a test harness.
    let smoke = !words.iter().any(|word| word == "--bench") || words.iter().any(|word| word == "--test");
    if smoke && words.iter().any(|word| word == "--list") {
        return Ok(ExitCode::SUCCESS);
    }
    let args = if smoke { Args::default() } else { Args::parse() };
    let plan = Plan::new(&args, smoke);
    let scratch = Scratch::make(args.dir.as_deref())?;
    let table = Table::new(facts::gather(&scratch, &plan), smoke);
    let mut bench = Bench { plan, scratch, table };
    for topic in args.topics() {
        match topic {
            Topic::Append => append::run(&mut bench)?,
            Topic::Batch => batch::run(&mut bench)?,
            Topic::Group => group::run(&mut bench)?,
            Topic::Rotate => rotate::run(&mut bench)?,
            Topic::Follow => follow::run(&mut bench)?,
            Topic::Seek => seek::run(&mut bench)?,
            Topic::Scan => scan::run(&mut bench)?,
            Topic::Open => open::run(&mut bench)?,
            Topic::Attach => attach::run(&mut bench)?,
            Topic::Streams => streams::run(&mut bench)?,
            Topic::Memory => memory::run(&mut bench)?,
        }
    }
    bench.table.finish(args.json.as_deref())?;
    Ok(ExitCode::SUCCESS)
}
