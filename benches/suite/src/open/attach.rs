//! Attaching as a reader.

use crate::comparison::PairedComparison;
use crate::result_table::{Goal, Unit};
use crate::ring::{self, COMMITTED};
use crate::session::Session;
use crate::system;
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::time::Instant;
use waldo::protocol::limits::PAGE_HEADER_LEN;
use waldo::protocol::names;
use waldo::reader::{Cursor, Ring};
use waldo_terminal::units;

/// Until a reader is at the tip.
pub fn run(session: &mut Session) -> anyhow::Result<PairedComparison> {
    let area = session.scratch.area()?;
    let plan = &session.plan;
    let name = format!("Ring::attach and a reader at the tip, {}", units::bytes(plan.ring_bytes()));
    session.watch.show(&format!("filling a ring of {}", units::bytes(plan.ring_bytes())));
    let mut writer = ring::open(plan, &area, COMMITTED)?;
    ring::fill(&mut writer, Some(&session.watch), 1000, plan.ring_bytes())?;
    let mut ours = || {
        let start = Instant::now();
        let reader = Ring::attach(area.home())?.reader(Cursor::Tip)?;
        let time = start.elapsed();
        anyhow::ensure!(reader.last_seq_no() == writer.tip(), "the reader is not at the tip");
        Ok(time.as_nanos() as f64)
    };
    let (home, control) = (area.home(), area.control());
    let mut pages = ring::page_paths(&home)?;
    // The last one is ready but empty.
    let (last, active) = (pages.pop(), pages.pop());
    let active = active.or(last).ok_or_else(|| anyhow::anyhow!("the ring has no page"))?;
    let mut bare = || {
        let start = Instant::now();
        let mut bytes = [0; 128];
        let mut total = 0;
        for path in [&home.join(names::META), &home.join(names::LINK), &active, &control] {
            let file = File::open(path)?;
            total += file.metadata()?.len();
            file.read_at(&mut bytes, 0)?;
        }
        let maps = [system::map(&File::open(&active)?)?, system::map(&File::open(&control)?)?];
        for map in &maps {
            black_box(map[PAGE_HEADER_LEN.min(map.len() - 1)]);
        }
        black_box(total);
        // Unmapping is not timed on either side.
        Ok(start.elapsed().as_nanos() as f64)
    };
    let duel = session.compare(&name, &mut ours, &mut bare)?;
    writer.close()?;
    session.sheet.duel(&name, Unit::Ns, &duel, Goal::AtMost(1e6));
    Ok(duel)
}
