//! The share of pages that can be recycled while reader processes follow, and when some of them have been
//! stopped.

use super::tail::{READY, TAIL};
use crate::result_table::{Goal, Unit};
use crate::ring::{self, COMMITTED};
use crate::scratch::Area;
use crate::session::Session;
use crate::setting::Plan;
use crate::watch::Watch;
use crate::write::Case;
use anyhow::{Context, bail};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use waldo::reader::Ring;
use waldo::writer::Writer;
use waldo_harness::processes::caps;
use waldo_harness::processes::event_log::EventLog;
use waldo_harness::processes::group::ProcessGroup;
use waldo_harness::results::histogram::Latency;
use waldo_harness::ring::index_capacity;

/// Records in a page, so few that what readers do is mostly to go from page to page.
pub const RECORDS: u32 = 16;
const PAGE_LEN: u64 = 1 << 20;
const PAYLOAD_LEN: usize = 1000;
/// Pages in a row of a second or more.
const ROTATIONS: usize = 100;
/// Longest that nothing may be heard of readers that are being started.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// What the writer counts.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    recycled: u64,
    fresh: u64,
    rotations: u64,
    stalls: u64,
}

/// What there was to see for a while.
struct Phase {
    counts: Counts,
    late: Latency,
    stuck: u64,
}

/// Rows for `asked` readers: all of them following; some being stopped one after the other; these stopped for
/// good.
pub fn run(session: &mut Session, case: &Case, asked: u32) -> anyhow::Result<()> {
    let readers = if asked == 0 { 0 } else { caps::readers(asked)? };
    let stopped = case.stopped.map_or(readers / 10, |stopped| readers.min(stopped as usize));
    session.watch.show(&format!("recycling: starting {readers} readers"));
    let area = session.scratch.area()?;
    let plan = Plan { page_len: PAGE_LEN, index_capacity: index_capacity(PAGE_LEN)?, ..session.plan.clone() };
    let options = (ring::options(&plan, &area, COMMITTED)).page_records_max(u64::from(RECORDS));
    let mut load = FollowedLoad {
        writer: Writer::open(area.home(), options)?,
        status: Ring::attach(area.home())?,
        interval: case.page_every / RECORDS,
        watch: session.watch.clone(),
    };
    // From the second lap on there is something to recycle.
    load.warm_up(2 * plan.ring_size)?;
    let crowd = start(&area, &area.floor().join("board"), readers, &session.watch)?;
    // So many at least that pages which were in use at the begin are trimmed before the end.
    let rotations = session.plan.share(ROTATIONS).max(2 * plan.ring_size as usize);
    let mut tell = |what: &str, phase: &Phase| {
        let made = (phase.counts.recycled + phase.counts.fresh).max(1) as f64;
        let row = |about: &str| format!("{readers} readers{what}: {about}");
        let sheet = &mut session.sheet;
        sheet.single(
            &row("pages recycled"),
            Unit::Share,
            phase.counts.recycled as f64 / made,
            None,
            Goal::None,
        );
        let waited = row(&format!("appends that waited for one of {} pages", phase.counts.rotations));
        sheet.single(&waited, Unit::Count, phase.counts.stalls as f64, None, Goal::AtMost(0.0));
        for (percent, label) in [(50.0, "p50"), (99.9, "p99.9")] {
            let ns = phase.late.p(percent).as_nanos() as f64;
            sheet.single(&row(&format!("append, {label}")), Unit::Ns, ns, None, Goal::None);
        }
        sheet.single(
            &row("pages stuck at the end, 64 counted at most"),
            Unit::Count,
            phase.stuck as f64,
            None,
            Goal::None,
        );
    };
    session.watch.show(&format!("recycling: {readers} readers follow"));
    // They find their pace first.
    load.run(rotations.min(20), |_| ())?;
    tell(if readers > 0 { " follow" } else { "" }, &load.run(rotations, |_| ())?);
    if stopped > 0 {
        let mut next = 0;
        let stop = |turned: usize| {
            while next < stopped && next * rotations <= turned * stopped {
                crowd.stop_reader(next);
                next += 1;
            }
        };
        let phase = load.run(rotations, stop)?;
        tell(&format!(", {stopped} being stopped"), &phase);
        tell(&format!(", {stopped} stopped for good"), &load.run(rotations, |_| ())?);
    }
    drop(crowd);
    load.writer.close()?;
    Ok(())
}

/// Starts readers, and waits until all of them follow.
fn start(area: &Area, board: &Path, readers: usize, watch: &Watch) -> anyhow::Result<ProcessGroup> {
    let mut crowd = ProcessGroup::new()?;
    let mut news = EventLog::create(board)?;
    let mut following = 0;
    let mut heard = Instant::now();
    let mut started = 0;
    while following < readers {
        if started < readers {
            let mut command = crowd.command(TAIL);
            command.arg(std::process::id().to_string()).arg(board).arg(area.home()).stdin(Stdio::null());
            crowd.start_reader(&mut command, started).context("cannot start a reader process")?;
            started += 1;
        } else {
            std::thread::sleep(Duration::from_millis(1));
        }
        let ready = news.news(|line| (line == READY).then_some(()))?.len();
        following += ready;
        if ready > 0 {
            heard = Instant::now();
        }
        if let Some((_, how)) = crowd.ended().first() {
            bail!("a reader process {how}");
        }
        if heard.elapsed() > LOST_AFTER {
            bail!("only {following} of {readers} reader processes follow, and no more come");
        }
        watch.check()?;
    }
    Ok(crowd)
}

/// Appends at its own pace, whatever readers do.
struct FollowedLoad {
    writer: Writer,
    status: Ring,
    /// Between two appends.
    interval: Duration,
    watch: Watch,
}

impl FollowedLoad {
    /// Turns pages as fast as it goes.
    fn warm_up(&mut self, rotations: u32) -> anyhow::Result<()> {
        for _ in 0..rotations * RECORDS {
            self.writer.append_payloads(&[[0x5a; PAYLOAD_LEN]])?;
        }
        self.watch.check()
    }

    /// Appends for so many pages; `turned` hears how many have been begun.
    fn run(&mut self, rotations: usize, mut turned: impl FnMut(usize)) -> anyhow::Result<Phase> {
        let before = self.counts()?;
        let mut late = Latency::new();
        let begun = Instant::now();
        for append in 0..rotations as u32 * RECORDS {
            if append % RECORDS == 0 {
                self.watch.check()?;
                turned((append / RECORDS) as usize);
            }
            let due = begun + self.interval * append;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.writer.append_payloads(&[[0x5a; PAYLOAD_LEN]])?;
            late.record(due.elapsed());
        }
        let after = self.counts()?;
        let counts = Counts {
            recycled: after.recycled - before.recycled,
            fresh: after.fresh - before.fresh,
            rotations: after.rotations - before.rotations,
            stalls: after.stalls - before.stalls,
        };
        Ok(Phase { counts, late, stuck: ring::counter(&self.status, "stuck_pages")? })
    }

    fn counts(&self) -> anyhow::Result<Counts> {
        let counter = |name| ring::counter(&self.status, name);
        Ok(Counts {
            recycled: counter("recycled_pages")?,
            fresh: counter("fresh_pages")?,
            rotations: counter("rotations")?,
            stalls: counter("rotation_stalls")?,
        })
    }
}
