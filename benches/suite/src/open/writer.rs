//! Opening for writing.

use super::doomed;
use crate::comparison::PairedComparison;
use crate::result_table::{Goal, Unit};
use crate::ring::{self, COMMITTED};
use crate::scratch::Area;
use crate::session::Session;
use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::time::Instant;
use waldo::protocol::payload_hash;
use waldo_terminal::units;

/// Read at both ends of each page: about what an index and the footer take.
const PAGE_END: usize = 4096;
/// What a ring of up to 3 GiB is to be open within, ns.
const GOAL_NS: f64 = 10e6;

/// After a clean close.
pub fn clean(session: &mut Session) -> anyhow::Result<PairedComparison> {
    let area = session.scratch.area()?;
    let plan = session.plan.clone();
    let name = format!("Writer::open after a clean close, {}", units::bytes(plan.ring_bytes()));
    session.watch.show(&format!("filling a ring of {}", units::bytes(plan.ring_bytes())));
    let mut writer = ring::open(&plan, &area, COMMITTED)?;
    ring::fill(&mut writer, Some(&session.watch), 1000, plan.ring_bytes())?;
    writer.close()?;
    session.look_at_folios(&area.home());
    let mut ours = || {
        let start = Instant::now();
        let writer = ring::open(&plan, &area, COMMITTED)?;
        let time = start.elapsed();
        anyhow::ensure!(writer.open_report().clean, "the ring was not closed");
        writer.close()?;
        Ok(time.as_nanos() as f64)
    };
    let duel = session.compare(&name, &mut ours, &mut || bare_open(&area, false))?;
    session.sheet.duel(&name, Unit::Ns, &duel, Goal::AtMost(GOAL_NS));
    Ok(duel)
}

/// After kill -9.
pub fn killed(session: &mut Session) -> anyhow::Result<PairedComparison> {
    let area = session.scratch.area()?;
    let plan = session.plan.clone();
    let watch = session.watch.clone();
    let name = format!("Writer::open after kill -9, {}", units::bytes(plan.ring_bytes()));
    // Half a page more each time, so that there is always about half a page of records to look at.
    let mut bytes = plan.ring_bytes();
    let mut ours = || {
        doomed::write_and_be_killed(&plan, &area, bytes, &watch)?;
        bytes = plan.page_len / 2;
        let start = Instant::now();
        let writer = ring::open(&plan, &area, COMMITTED)?;
        let time = start.elapsed();
        anyhow::ensure!(!writer.open_report().clean && writer.tip().is_some(), "the writer was not killed");
        writer.close()?;
        Ok(time.as_nanos() as f64)
    };
    let duel = session.compare(&name, &mut ours, &mut || bare_open(&area, true))?;
    session.sheet.duel(&name, Unit::Ns, &duel, Goal::None);
    Ok(duel)
}

/// What cannot be done without: every page is looked at, something is made durable.
fn bare_open(area: &Area, hash_half_a_page: bool) -> anyhow::Result<f64> {
    let path = area.floor().join("meta");
    let meta = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    let start = Instant::now();
    let files = ring::page_files(&area.home())?;
    let mut bytes = [0; PAGE_END];
    for file in &files {
        let len = file.metadata()?.len();
        file.read_exact_at(&mut bytes, 0)?;
        file.read_exact_at(&mut bytes, len - PAGE_END as u64)?;
    }
    if hash_half_a_page && let Some(file) = files.first() {
        let mut bytes = vec![0; file.metadata()?.len() as usize / 2];
        file.read_exact_at(&mut bytes, 0)?;
        black_box(payload_hash(&bytes));
    }
    meta.write_all_at(&bytes, 0)?;
    meta.sync_data()?;
    File::open(area.floor())?.sync_all()?;
    Ok(start.elapsed().as_nanos() as f64)
}
