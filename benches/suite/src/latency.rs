//! `waldo-suite latency`: from the moment a record is due to the moment a reader in another process has it.

mod follower;
mod pair;

use super::result_table::{Goal, Unit};
use super::session::{self, Session};
use super::setting::Setting;
use clap::ValueEnum;
use follower::Kind;
use pair::Pair;
use std::cell::RefCell;
use waldo_harness::results::histogram::Latency;
use waldo_harness::results::report::{Axis, Plot, Series, Table};
use waldo_terminal::failure::{Outcome, Usage};
use waldo_terminal::units::{self, parse_size};

pub use follower::{FOLLOWER, follower_main};

/// Bytes of a record that say when it was due.
const STAMP_LEN: usize = 8;

/// Measure how long a record takes from append to a reader in another process.
///
/// One writer process, one reader process. The reader spins on the watermark, or sleeps until it is woken.
/// The floor does the least that serves: pwrite into a file that the reader has mapped, then a flag in shared
/// memory, and FUTEX_WAKE if the reader sleeps.
///
/// Appends are sent at a fixed rate (an open loop): each record carries the moment when it was due, and its
/// latency counts from then, also if the writer was late because an earlier append was slow. A loop that
/// waits for its own slow appends would leave out the records that suffered from them (coordinated omission)
/// and show better tails than a user of that rate gets. So once a rate is more than can be sustained,
/// latencies grow for as long as the round takes. What is shown says all of it: reader and writer, and on few
/// cores also their waiting for a core.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waldo-suite latency
  waldo-suite latency --reader sleep --rate 100,1000,10000 --seconds 5
  waldo-suite latency --report results/latency      with a plot of percentiles for each rate")]
pub struct Args {
    /// How the reader waits; both with a comma between.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "all")]
    reader: Vec<Waits>,
    /// Records per second; several with commas between.
    #[arg(long, value_name = "PER SECOND", value_delimiter = ',', default_values_t = [200, 1000, 10_000, 100_000],
          value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rate: Vec<u64>,
    /// Bytes of a record's payload, at least 8.
    #[arg(long, value_name = "SIZE", default_value = "100", value_parser = parse_size)]
    size: u64,
    #[command(flatten)]
    setting: Setting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Waits {
    /// Both.
    All,
    /// Looks at the watermark all the time.
    Spin,
    /// Sleeps on a futex.
    Sleep,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let plan = args.setting.plan()?;
    let payload_len = plan.check_payloads(&[args.size])?[0];
    if payload_len < STAMP_LEN {
        return Err(Usage(format!(
            "a record of {payload_len} bytes cannot carry the moment when it was due: --size takes {STAMP_LEN} or more"
        ))
        .into());
    }
    let wanted = |waits| args.reader.contains(&waits) || args.reader.contains(&Waits::All);
    let kinds: Vec<_> =
        [(Waits::Spin, Kind::Spin, Kind::FloorSpin), (Waits::Sleep, Kind::Sleep, Kind::FloorSleep)]
            .into_iter()
            .filter(|(waits, ..)| wanted(*waits))
            .collect();
    let steps = kinds.len() * args.rate.len();
    let bytes = plan.ring_bytes() + 4 * plan.page_len;
    let session = Session::start("From append to a reader", &args.setting, plan, bytes, steps);
    session::run(session, |session| {
        session.sheet.topic(
            "latency",
            "median time from when a record was due to a reader in another process that has it; floor: pwrite and a \
             flag in shared memory, or FUTEX_WAKE",
        );
        let area = session.scratch.area()?;
        let mut pair = Pair::start(&session.plan, &area, payload_len, &session.watch)?;
        session.look_at_folios(&area.home());
        let mut table = Table {
            caption: "All of it, in microseconds".to_owned(),
            head: ["", "p50", "p90", "p99", "p99.9", "max", "records"].map(str::to_owned).to_vec(),
            rows: Vec::new(),
        };
        for (waits, ours, floor) in kinds {
            let waits = if waits == Waits::Spin { "spins" } else { "sleeps" };
            let mut series = Vec::new();
            for rate in &args.rate {
                let name = format!("reader {waits}, {}/s", units::count(*rate));
                row(session, &mut pair, &name, *rate, (ours, floor), &mut table, &mut series)?;
                session.watch.step();
            }
            session.plots.push(Plot {
                title: format!("Latency to a reader that {waits}"),
                x: Axis::percentiles(),
                y: Axis { label: "microseconds".to_owned(), log: true },
                series,
            });
        }
        session.tables.push(table);
        session.notes.push(
            "Open loop: a record's latency counts from the moment when it was due, whether or not the writer was late, so \
             that nothing is omitted that a slow append held up (no coordinated omission)."
                .to_owned(),
        );
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        if cores < 4 {
            session.notes.push(format!(
                "Writer, its notifier and the reader share {cores} cores: with a reader that spins there is none left for \
                 anything else, and tails are those of the scheduler."
            ));
        }
        pair.close()
    })
}

fn row(
    session: &mut Session,
    pair: &mut Pair,
    name: &str,
    rate: u64,
    (ours_kind, floor_kind): (Kind, Kind),
    table: &mut Table,
    series: &mut Vec<Series>,
) -> anyhow::Result<()> {
    // Twelve rounds in the time of a row.
    let count = (session.plan.time.as_secs_f64() / 12.0 * rate as f64).clamp(5.0, 1e7) as u64;
    let pair = RefCell::new(pair);
    let (all_ours, all_floor) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    let round = |kind, all: &RefCell<Vec<Latency>>| {
        let latency = pair.borrow_mut().round(kind, rate, count)?;
        let p50 = latency.p(50.0).as_nanos() as f64;
        all.borrow_mut().push(latency);
        Ok(p50)
    };
    let mut ours = || round(ours_kind, &all_ours);
    let mut floor = || round(floor_kind, &all_floor);
    let duel = session.compare(name, &mut ours, &mut floor)?;
    session.sheet.duel(name, Unit::Ns, &duel, Goal::RatioAtMost(1.3));
    for (label, all) in [("", all_ours), (", floor", all_floor)] {
        // The first round warmed up.
        let mut rounds = all.into_inner().into_iter().skip(1);
        let mut latency = rounds.next().unwrap_or_default();
        rounds.for_each(|round| latency.merge(&round));
        let us = |percent| format!("{:.1}", latency.p(percent).as_nanos() as f64 / 1e3);
        let mut cells = vec![format!("{name}{label}")];
        cells.extend([50.0, 90.0, 99.0, 99.9, 100.0].map(us));
        cells.push(units::count(latency.count()));
        table.rows.push(cells);
        series.push(Series {
            name: format!("{}/s{label}", units::count(rate)),
            points: latency.percentile_points(),
        });
    }
    Ok(())
}
