//! `waldo-suite producers`: what many producers get through the service, beside threads that have the ring.

mod load;
mod served;

use super::result_table::{Goal, Unit};
use super::ring::{self, COMMITTED};
use super::session::{self, Session};
use super::setting::Setting;
use clap::ValueEnum;
use load::{ProducerLoad, RoundTotal};
use served::Served;
use std::cell::RefCell;
use std::time::Duration;
use waldo::writer::{Durability, SharedWriter};
use waldo_harness::results::report::{Axis, Plot, Series, Table};
use waldo_terminal::failure::Outcome;
use waldo_terminal::units::{self, parse_size};

pub use served::{SERVICE, service_main};

/// The load that the goals are given for.
const GOAL_PRODUCERS: usize = 16;
const GOAL_SIZE: u64 = 100;
const GOAL_BATCH: usize = 100;
/// Records per second over the socket, and through lanes.
const GOAL_SOCKET: f64 = 1e6;
const GOAL_LANE: f64 = 3e6;

/// Measure what many producers get through the service.
///
/// The service is a process of its own. Producers are threads of this one, each with its own connection, a
/// name and checksums, and with up to 32 batches on their way (8 of more than 64 producers). They send over
/// the socket, or through lanes, as they would by themselves. Beside them: as many threads that share the
/// ring's writer in their own process, and wait for each batch.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waldo-suite producers
  waldo-suite producers --producers 16 --acks committed --seconds 20
  waldo-suite producers --transport socket,lane --producers 1,256 --acks durable")]
pub struct Args {
    /// How many producers; several with commas between.
    #[arg(long, value_name = "COUNT", value_delimiter = ',', default_values_t = [1, 16, 256],
          value_parser = clap::value_parser!(u64).range(1..=4096))]
    producers: Vec<u64>,
    /// How the records get to the ring's writer; several with commas between.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Transport::ALL)]
    transport: Vec<Transport>,
    /// When a batch is acknowledged; both with a comma between.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Acks::Committed, Acks::Durable])]
    acks: Vec<Acks>,
    /// Bytes of a record's payload.
    #[arg(long, value_name = "SIZE", default_value = "100", value_parser = parse_size)]
    size: u64,
    /// Records in a batch.
    #[arg(long, value_name = "COUNT", default_value_t = GOAL_BATCH as u64,
          value_parser = clap::value_parser!(u64).range(1..=10_000))]
    batch: u64,
    #[command(flatten)]
    setting: Setting,
}

/// How records get to the ring's writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Transport {
    /// The service's socket.
    Socket,
    /// Shared memory with the service.
    Lane,
    /// Threads of the writer's own process.
    Embedded,
}

impl Transport {
    const ALL: [Transport; 3] = [Transport::Socket, Transport::Lane, Transport::Embedded];

    fn name(self) -> &'static str {
        match self {
            Transport::Socket => "socket",
            Transport::Lane => "lane",
            Transport::Embedded => "embedded",
        }
    }
}

/// When a batch is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Acks {
    /// When it is visible.
    Committed,
    /// When it survives power loss.
    Durable,
}

impl Acks {
    fn durability(self) -> Durability {
        if self == Acks::Durable { Durability::Sync } else { COMMITTED }
    }

    fn name(self) -> &'static str {
        if self == Acks::Durable { "durable" } else { "committed" }
    }
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let plan = args.setting.plan()?;
    let payload_len = plan.check_payloads(&[args.size])?[0];
    let steps = args.acks.len() * args.producers.len();
    let bytes = 2 * (plan.ring_bytes() + 4 * plan.page_len);
    let session = Session::start("Producers", &args.setting, plan, bytes, steps);
    session::run(session, |session| {
        for acks in &args.acks {
            session.sheet.topic(
                acks.name(),
                &format!(
                    "records of {payload_len} B in batches of {} that are acknowledged as {}, per second; floor: the second \
                     way, in turns with the first",
                    args.batch,
                    acks.name()
                ),
            );
            let mut table = Table {
                caption: format!("A batch until it is acknowledged as {}, in milliseconds", acks.name()),
                head: ["", "p50", "p90", "p99", "p99.9", "max", "batches", "batches a flush"]
                    .map(str::to_owned)
                    .to_vec(),
                rows: Vec::new(),
            };
            for producers in &args.producers {
                let load = ProducerLoad {
                    producers: *producers as usize,
                    payload_len,
                    batch: args.batch as usize,
                    time: round_time(session),
                };
                compare(session, &args.transport, *acks, load, &mut table)?;
                session.watch.step();
            }
            session.tables.push(table);
        }
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        session.notes.push(format!("Producers and service share {cores} cores."));
        Ok(())
    })
}

/// Long enough for the connections to be but a beginning.
fn round_time(session: &Session) -> Duration {
    (session.plan.time / 8).clamp(Duration::from_millis(5), Duration::from_secs(2))
}

/// Every pair of ways, the quicker first.
fn compare(
    session: &mut Session,
    transports: &[Transport],
    acks: Acks,
    load: ProducerLoad,
    table: &mut Table,
) -> anyhow::Result<()> {
    let (served, own) = (session.scratch.area()?, session.scratch.area()?);
    let service = Served::start(&session.plan, &served, acks.durability(), &session.watch)?;
    let writer = SharedWriter::new(ring::open(&session.plan, &own, acks.durability())?);
    let totals = RefCell::new(Transport::ALL.map(|transport| (transport, RoundTotal::new())));
    let round = |transport: Transport| {
        let flushes = service.flushes()?;
        let mut total = match transport {
            Transport::Embedded => load.embedded(&writer)?,
            _ => load.through(service.socket(), transport == Transport::Lane)?,
        };
        total.flushes = service.flushes()?.saturating_sub(flushes);
        let rate = total.rate;
        totals.borrow_mut()[transport as usize].1.add(total);
        Ok(rate)
    };
    use Transport::{Embedded, Lane, Socket};
    let asked = |transport| transports.contains(&transport);
    let pairs = [(Socket, Embedded), (Lane, Embedded), (Lane, Socket)];
    for (ours, floor) in pairs.into_iter().filter(|(ours, floor)| asked(*ours) && asked(*floor)) {
        let name = format!("{} producers, {} / {}", load.producers, ours.name(), floor.name());
        let duel = session.compare(&name, &mut || round(ours), &mut || round(floor))?;
        // Each goal once.
        let wanted = if floor == Embedded { goal(ours, acks, &load) } else { Goal::None };
        session.sheet.duel(&name, Unit::Rate, &duel, wanted);
    }
    // One way alone has nothing beside it.
    if let [alone] = transports {
        round(*alone)?;
        let mut rates = Vec::new();
        while rates.len() < session.plan.rounds_min {
            session.watch.check()?;
            rates.push(round(*alone)?);
        }
        let rate = crate::comparison::quantile(rates, 0.5);
        let name = format!("{} producers, {}", load.producers, alone.name());
        session.sheet.single(&name, Unit::Rate, rate, None, goal(*alone, acks, &load));
    }
    let mut series = Vec::new();
    for (transport, total) in totals.into_inner().into_iter().filter(|(transport, _)| asked(*transport)) {
        let ms = |percent| format!("{:.3}", total.latency.p(percent).as_secs_f64() * 1e3);
        let mut cells = vec![format!("{} producers, {}", load.producers, transport.name())];
        cells.extend([50.0, 90.0, 99.0, 99.9, 100.0].map(ms));
        cells.push(units::count(total.latency.count()));
        let shared = total.latency.count() as f64 / total.flushes as f64;
        let shown = acks == Acks::Durable && transport != Embedded && shared.is_finite();
        cells.push(if shown { format!("{shared:.1}") } else { String::new() });
        table.rows.push(cells);
        let points = total.latency.percentile_points();
        series.push(Series { name: transport.name().to_owned(), points });
    }
    session.plots.push(Plot {
        title: format!("{} producers, a batch until it is {}", load.producers, acks.name()),
        x: Axis::percentiles(),
        y: Axis { label: "microseconds".to_owned(), log: true },
        series,
    });
    writer.close()?;
    Ok(())
}

fn goal(ours: Transport, acks: Acks, load: &ProducerLoad) -> Goal {
    let asked = (load.producers, load.payload_len as u64, load.batch);
    if acks != Acks::Committed || asked != (GOAL_PRODUCERS, GOAL_SIZE, GOAL_BATCH) {
        return Goal::None;
    }
    match ours {
        Transport::Socket => Goal::AtLeast(GOAL_SOCKET),
        Transport::Lane => Goal::AtLeast(GOAL_LANE),
        Transport::Embedded => Goal::None,
    }
}
