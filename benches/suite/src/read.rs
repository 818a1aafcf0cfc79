//! `waldo-suite read`: finding one record, reading all of them, and what it costs to wait for the next.

mod memory;
mod scan;
mod seek;
mod streams;
mod waiting;

use super::ring;
use super::session::{self, Session};
use super::setting::Setting;
use clap::ValueEnum;
use waldo_terminal::failure::Outcome;
use waldo_terminal::units::parse_size;

pub use memory::{SLEEPER, sleeper_main};

/// Measure reading against plain mappings of the same files.
///
/// `seek` finds a record by a random number anywhere in the ring and reads it, which arithmetic could do as
/// well if all records had one size: that is its floor. `scan` reads everything, pages mapped anew each time,
/// against a walk over a mapping of the same files that follows the length fields, or adds up all bytes.
/// `streams` wakes ten thousand async streams of one process, `waiting` one query of the embedded API.
/// `memory` is what a sleeping reader process costs above an idle one.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waldo-suite read
  waldo-suite read --regime scan --size 64,1000,64K --page-size 64M --report results/read")]
pub struct Args {
    /// What to measure; several with commas between.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "all")]
    regime: Vec<ReadRegime>,
    /// Bytes of a record's payload; several with commas between.
    #[arg(long, value_name = "SIZE", value_delimiter = ',', default_values_t = [1000, 100],
          value_parser = parse_size)]
    size: Vec<u64>,
    /// Also scan records of many sizes. Goes with --report by itself.
    #[arg(long)]
    sweep: bool,
    #[command(flatten)]
    setting: Setting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ReadRegime {
    /// Everything below.
    All,
    /// One record, anywhere.
    Seek,
    /// All records, from the oldest on.
    Scan,
    /// Ten thousand async streams of one process.
    Streams,
    /// One query of the embedded API, which waits for an append of the same process.
    Waiting,
    /// Sleeping reader processes.
    Memory,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let plan = args.setting.plan()?;
    let sizes = plan.check_payloads(&args.size)?;
    let wanted = |regime| args.regime.contains(&regime) || args.regime.contains(&ReadRegime::All);
    let sweep = args.sweep || args.setting.report.is_some();
    let regimes =
        [ReadRegime::Seek, ReadRegime::Scan, ReadRegime::Streams, ReadRegime::Waiting, ReadRegime::Memory];
    let steps = regimes.into_iter().filter(|regime| wanted(*regime)).count() + usize::from(sweep);
    let bytes = plan.ring_bytes() + 7 * plan.page_len;
    let session = Session::start("Reading a ring", &args.setting, plan, bytes, steps);
    session::run(session, |session| {
        if wanted(ReadRegime::Seek) {
            seek::run(session, &sizes)?;
            session.watch.step();
        }
        if wanted(ReadRegime::Scan) {
            scan::run(session, &sizes)?;
            session.watch.step();
        }
        if wanted(ReadRegime::Streams) {
            streams::run(session)?;
            session.watch.step();
        }
        if wanted(ReadRegime::Waiting) {
            waiting::run(session)?;
            session.watch.step();
        }
        if wanted(ReadRegime::Memory) {
            memory::run(session)?;
            session.watch.step();
        }
        if sweep {
            scan::sweep(session)?;
            session.watch.step();
        }
        Ok(())
    })
}

/// All but half a page of the ring, so that nothing has been trimmed.
fn most_of_the_ring(session: &Session) -> u64 {
    session.plan.ring_bytes() - session.plan.page_len - session.plan.page_len / 2
}

/// A ring with records of this size.
fn filled(
    session: &Session,
    area: &super::scratch::Area,
    payload_len: usize,
) -> anyhow::Result<waldo::writer::Writer> {
    let mut writer = ring::open(&session.plan, area, ring::COMMITTED)?;
    ring::fill(&mut writer, Some(&session.watch), payload_len, most_of_the_ring(session))?;
    writer.sync()?;
    session.look_at_folios(&area.home());
    Ok(writer)
}
