//! The whole scenario: every number of subscribers, every repetition, every system.

use super::figures::Cell;
use super::report::Report;
use super::round::{self, Around};
use super::scratch::Scratch;
use super::spec::Spec;
use super::usage::raise_open_files;
use crate::args::Args;
use crate::system::System;
use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use std::path::PathBuf;
use std::time::Duration;
use waldo_terminal::interrupt::Interrupt;

/// Records before it counts: enough that every page is mapped, every buffer grown and every guess made.
const WARM_UP: u64 = 4096;

/// Runs everything that `args` ask for, and prints it.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let interrupt = Interrupt::install()?;
    raise_open_files()?;
    let report = Report::new(args)?;
    let cells = measure(args, &interrupt)?;
    report.publish(&cells)
}

/// Every cell, as often as it was to be measured.
pub fn measure(args: &Args, interrupt: &Interrupt) -> anyhow::Result<Vec<Cell>> {
    let systems = args.systems();
    let rounds = args.repeat * (args.subscribers.len() * systems.len()) as u64;
    let bar = bar(rounds);
    let mut cells = Vec::new();
    for repetition in 0..args.repeat {
        for (at, subscribers) in args.subscribers.iter().enumerate() {
            // Another order each time, so that what one leaves behind (dirty pages, warm clocks) does not
            // always meet the same other.
            let mut order = systems.clone();
            order.rotate_left((repetition as usize + at) % systems.len().max(1));
            if repetition % 2 == 1 {
                order.reverse();
            }
            for system in order {
                let name = crate::peers::facts(system).name;
                let progress = |what: &str| bar.set_message(format!("{name}, {subscribers}: {what}"));
                let around =
                    Around { interrupt, patience: Duration::from_secs(args.patience), progress: &progress };
                let scratch = Scratch::new(args.dir.as_deref())?;
                let mut spec = spec(args, system, *subscribers);
                round::place(&mut spec, &scratch);
                let cell = round::run(&spec, &around)
                    .with_context(|| format!("{name} with {subscribers} subscribers"));
                match cell {
                    Ok(cell) => cells.push(cell),
                    Err(error) => {
                        bar.finish_and_clear();
                        return Err(error);
                    }
                }
                bar.inc(1);
            }
        }
    }
    bar.finish_and_clear();
    Ok(cells)
}

fn spec(args: &Args, system: System, subscribers: usize) -> Spec {
    Spec {
        system,
        subscribers,
        size: args.size,
        batch: args.batch,
        paced: (args.rate as f64 * args.seconds) as u64,
        rate: args.rate,
        paced_limit: Duration::from_secs_f64(args.seconds * 2.0),
        flood: args.records,
        flood_limit: Duration::from_secs_f64(args.limit),
        warm_up: WARM_UP,
        lmdb_poll: args.lmdb_poll(subscribers),
        harness: std::process::id().cast_signed(),
        data: PathBuf::new(),
        run: PathBuf::new(),
        shm: PathBuf::new(),
        shm_prefix: String::new(),
    }
}

fn bar(rounds: u64) -> ProgressBar {
    let bar = ProgressBar::new(rounds);
    let style = ProgressStyle::with_template("{elapsed:>4} [{bar:30}] {pos}/{len} {wide_msg}");
    // The template is a constant that indicatif understands.
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    bar
}
