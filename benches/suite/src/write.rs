//! `waldo-suite write`: appending, one at a time, in batches, by many at once, and while pages fill up.

mod api;
mod batch;
mod first_lap;
mod group;
mod lone;
mod recycling;
mod rotation;
mod stream;
mod sustained;
mod sweep;

use super::ring;
use super::session::{self, Session};
use super::setting::{Plan, Setting};
use clap::ValueEnum;
use std::time::Duration;
use waldo_terminal::failure::{Outcome, Usage};
use waldo_terminal::units::{self, parse_size};

pub use recycling::{TAIL, tail_main};

/// The batch that the goals are given for.
const BATCH: u64 = 2 << 20;

/// Measure appending against bare pwrite.
///
/// Each row names its floor: the bare system call that writes as many bytes into files which, like the pages
/// of a ring after its first lap, are allocated, have been written before, and are in the page cache.
/// Committed appends are held against pwrite, durable ones against pwritev2 with RWF_DSYNC.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waldo-suite write --regime lone,batch
  waldo-suite write --regime batch --size 100,1000,10000 --batch 256K
  waldo-suite write --regime group --producers 16 --depth 256 --io uring
  waldo-suite write --regime first-lap,sustained --page-size 1G --ring-size 4 --seconds 5
  waldo-suite write --regime recycling --readers 1000,10000 --stopped 100 --page-every 20ms
  waldo-suite write --page-size 64M --seconds 5 --report results/write   with sweeps and plots")]
pub struct Args {
    /// What to measure; several with commas between.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "all")]
    regime: Vec<WriteRegime>,
    /// Bytes of a record's payload; several with commas between [default: 100 and 1000, or what is usual].
    #[arg(long, value_name = "SIZE", value_delimiter = ',', value_parser = parse_size)]
    size: Vec<u64>,
    /// Bytes of one append in batches, headers included [default: 2M, or half of a smaller ring].
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    batch: Option<u64>,
    /// Threads that append at once, for `group`.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    producers: u32,
    /// Appends in flight from one thread, for `group`.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65536))]
    depth: u32,
    /// Reader processes that follow, for `recycling`; several with commas between.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "0,100",
          value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    readers: Vec<u32>,
    /// How many of these are stopped for good (SIGSTOP) after a while [default: a tenth of them].
    #[arg(long, value_name = "N")]
    stopped: Option<u32>,
    /// Time from one page to the next, for `recycling`.
    #[arg(long, value_name = "TIME", default_value = "10ms", value_parser = humantime::parse_duration)]
    page_every: Duration,
    /// Also measure throughput over record sizes, batch sizes, appends in flight and threads. Goes with
    /// --report by itself.
    #[arg(long)]
    sweep: bool,
    #[command(flatten)]
    setting: Setting,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum WriteRegime {
    /// Everything below.
    All,
    /// One record at a time, back to back, committed.
    Lone,
    /// Many records per append, lap after lap, committed.
    Batch,
    /// Both of these, durable; and batches in flight.
    Durable,
    /// Many threads or tasks that append durably at once.
    Group,
    /// Each append's latency while pages fill up, with the next page ready and with pages made at the
    /// rotation.
    Rotation,
    /// A new ring: how long it takes to open, and appends up to its last page, committed and durable.
    FirstLap,
    /// Lap after lap, with background flushes and rotations inside the time.
    Sustained,
    /// What pages are made of: recycled or fresh ones, among readers, and after the page cache has let go of
    /// them.
    Recycling,
}

/// What the regimes are given.
struct Case {
    sizes: Option<Vec<usize>>,
    batch_bytes: usize,
    producers: usize,
    depth: usize,
    readers: Vec<u32>,
    stopped: Option<u32>,
    page_every: Duration,
}

impl Case {
    /// The sizes asked for, or these.
    fn sizes(&self, usual: &[usize]) -> Vec<usize> {
        self.sizes.clone().unwrap_or_else(|| usual.to_vec())
    }
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let plan = args.setting.plan()?;
    let case = case(&args, &plan)?;
    let all = [
        WriteRegime::Lone,
        WriteRegime::Batch,
        WriteRegime::Durable,
        WriteRegime::Group,
        WriteRegime::Rotation,
        WriteRegime::FirstLap,
        WriteRegime::Sustained,
        WriteRegime::Recycling,
    ];
    let regimes: Vec<_> = all
        .into_iter()
        .filter(|regime| args.regime.contains(regime) || args.regime.contains(&WriteRegime::All))
        .collect();
    let sweeps = args.sweep || args.setting.report.is_some();
    let steps = regimes.len() + if sweeps { sweep::STEPS } else { 0 };
    let bytes = 2 * plan.ring_bytes() + 4 * plan.page_len;
    let session = Session::start("Appending to a ring", &args.setting, plan, bytes, steps);
    session::run(session, |session| {
        for regime in regimes {
            match regime {
                WriteRegime::All => {}
                WriteRegime::Lone => lone::committed(session, &case)?,
                WriteRegime::Batch => batch::committed(session, &case)?,
                WriteRegime::Durable => {
                    lone::durable(session, &case)?;
                    batch::durable(session, &case)?;
                    stream::durable(session, &case)?;
                }
                WriteRegime::Group => group::run(session, &case)?,
                WriteRegime::Rotation => rotation::run(session, &case)?,
                WriteRegime::FirstLap => first_lap::run(session, &case)?,
                WriteRegime::Sustained => sustained::run(session, &case)?,
                WriteRegime::Recycling => recycling::run(session, &case)?,
            }
            session.watch.step();
        }
        if sweeps {
            sweep::run(session)?;
        }
        session.notes.push(
            "Not measured here: what many reader processes cost the writer (`waldo-suite fanout`), and the embedded \
             API's predecessor."
                .to_owned(),
        );
        Ok(())
    })
}

fn case(args: &Args, plan: &Plan) -> anyhow::Result<Case> {
    let sizes = plan.check_payloads(&args.size)?;
    let least = sizes.iter().copied().max().unwrap_or(0).max(1);
    let (min, max) = (ring::size(least) as u64, plan.ring_bytes() / 2);
    let batch = args.batch.unwrap_or(BATCH.min(max));
    if !(min..=max).contains(&batch) {
        return Err(Usage(format!(
            "batches of {} are not possible here: --batch takes {min} bytes, one record, to {}, half of the ring",
            units::bytes(batch),
            units::bytes(max)
        ))
        .into());
    }
    Ok(Case {
        sizes: (!sizes.is_empty()).then_some(sizes),
        batch_bytes: batch as usize,
        producers: args.producers as usize,
        depth: args.depth as usize,
        readers: args.readers.clone(),
        stopped: args.stopped,
        page_every: args.page_every,
    })
}
