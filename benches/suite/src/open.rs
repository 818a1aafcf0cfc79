//! `waldo-suite open`: opening a ring for writing after a clean end and after a kill, and attaching to one.

mod attach;
mod doomed;
mod writer;

use super::session::{self, Session};
use super::setting::Setting;
use clap::ValueEnum;
use waldo_harness::results::report::{Axis, Plot, Series};
use waldo_shm_protocol::limits::RING_SIZE_MAX;
use waldo_terminal::failure::{Outcome, Usage};
use waldo_terminal::units::{self, parse_size};

pub use doomed::{DOOMED, doomed_main};

/// Measure how long it takes until a ring is open.
///
/// After a clean close, after kill -9 of the writer with half a page of records that nothing is known about,
/// and attaching as a reader. The page cache is warm. The floor of opening reads the first and the last bytes
/// of each page, writes and flushes 4 KiB and the directory (after a kill it also reads and hashes half a
/// page); that of attaching opens, reads and maps the same files.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waldo-suite open
  waldo-suite open --size 128M,1G,3G --page-size 64M --report results/open")]
pub struct Args {
    /// What to measure; several with commas between.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "all")]
    regime: Vec<OpenRegime>,
    /// Bytes of the whole ring, instead of --ring-size; several with commas between.
    #[arg(long, value_name = "SIZE", value_delimiter = ',', value_parser = parse_size)]
    size: Vec<u64>,
    #[command(flatten)]
    setting: Setting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OpenRegime {
    /// Everything below.
    All,
    /// The writer was closed.
    Clean,
    /// The writer was killed.
    Killed,
    /// A reader attaches.
    Attach,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let mut plan = args.setting.plan()?;
    let mut sizes = Vec::new();
    for size in &args.size {
        match u32::try_from(size / plan.page_len) {
            Ok(pages @ 3..=RING_SIZE_MAX) => sizes.push(pages),
            _ => {
                return Err(Usage(format!(
                    "a ring of {} is not possible with pages of {}: --size takes {} to {}",
                    units::bytes(*size),
                    units::bytes(plan.page_len),
                    units::bytes(3 * plan.page_len),
                    units::bytes(u64::from(RING_SIZE_MAX) * plan.page_len),
                ))
                .into());
            }
        }
    }
    if sizes.is_empty() {
        sizes.push(plan.ring_size);
    }
    let regimes: Vec<_> = [OpenRegime::Clean, OpenRegime::Killed, OpenRegime::Attach]
        .into_iter()
        .filter(|regime| args.regime.contains(regime) || args.regime.contains(&OpenRegime::All))
        .collect();
    plan.ring_size = sizes.iter().copied().max().unwrap_or(plan.ring_size);
    let (bytes, steps) = (plan.ring_bytes() + 4 * plan.page_len, regimes.len() * sizes.len());
    let session = Session::start("Opening a ring", &args.setting, plan, bytes, steps);
    session::run(session, |session| {
        session.sheet.topic(
            "open",
            "until Writer::open returns, or a reader is attached at the tip; floor: the system calls that this cannot do \
             without",
        );
        let mut series: Vec<Series> = Vec::new();
        for regime in &regimes {
            let (mut ours, mut floor) = (Vec::new(), Vec::new());
            for pages in &sizes {
                session.plan.ring_size = *pages;
                let duel = match regime {
                    OpenRegime::Attach => attach::run(session)?,
                    OpenRegime::Killed => writer::killed(session)?,
                    _ => writer::clean(session)?,
                };
                let size = (session.plan.ring_bytes() >> 20) as f64;
                ours.push((size, duel.ours / 1e6));
                floor.push((size, duel.floor / 1e6));
                session.watch.step();
            }
            let name = match regime {
                OpenRegime::Attach => "attach as a reader",
                OpenRegime::Killed => "after kill -9",
                _ => "after a clean close",
            };
            series.push(Series { name: name.to_owned(), points: ours });
            series.push(Series { name: format!("{name}, floor"), points: floor });
        }
        session.plots.push(Plot {
            title: "Time until a ring is open".to_owned(),
            x: Axis { label: "MiB of ring".to_owned(), log: true },
            y: Axis { label: "milliseconds".to_owned(), log: true },
            series,
        });
        session.notes.push("The page cache is warm: nothing is read from the disk.".to_owned());
        Ok(())
    })
}
