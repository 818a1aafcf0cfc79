//! Appends with the next page ready, appends that make it, and bare writes, in turns.

use crate::floor::Files;
use crate::ring;
use crate::scratch::Area;
use crate::session::Session;
use crate::setting::Plan;
use crate::watch::Watch;
use std::slice::from_ref;
use std::time::Instant;
use waldo::reader::Ring;
use waldo::writer::{Durability, Writer};
use waldo_harness::results::histogram::Latency;
use waldo_harness::ring::index_capacity;

const PAGE_LEN: u64 = 1 << 20;
const PAGES: u32 = 8;
/// In a row of a second or more, on each side.
const ROTATIONS: usize = 1000;
const TURNS: usize = 10;

/// What came of it.
pub struct Contest {
    /// With the preparer.
    pub ahead: Side,
    /// Without.
    pub inline: Side,
    /// Bare writes.
    pub floor: Latency,
    /// Nanoseconds of flushes of a page's bytes.
    pub flushes: Vec<f64>,
}

/// A writer's appends.
pub struct Side {
    pub all: Latency,
    /// Of those that turned the page.
    pub turning: Latency,
    pub rotations: u64,
    /// Rotations that waited for a page.
    pub stalls: u64,
}

/// Holds it, with records of `payload_len` bytes.
pub fn hold(session: &Session, payload_len: usize, durability: Durability) -> anyhow::Result<Contest> {
    // A quarter of a page at most is one record.
    let page_len = PAGE_LEN.max((4 * ring::size(payload_len) as u64).next_multiple_of(4096));
    let index_capacity = index_capacity(page_len)?;
    let plan = Plan { page_len, ring_size: PAGES, index_capacity, ..session.plan.clone() };
    let areas = [session.scratch.area()?, session.scratch.area()?];
    let payload = vec![0x5a; payload_len];
    let bytes = vec![0x5a; ring::size(payload_len)];
    let mut ahead = Appender::open(&plan, &areas[0], durability, true, &payload, &session.watch)?;
    let mut inline = Appender::open(&plan, &areas[1], durability, false, &payload, &session.watch)?;
    let mut files = Files::make(&areas[0].floor(), PAGES as usize, page_len)?;
    let turns = plan.share(TURNS);
    let in_a_page = page_len as usize / bytes.len();
    // A page holds a little less than a file.
    let appends = plan.share(ROTATIONS).div_ceil(turns) * in_a_page;
    let (mut floor, mut flushes) = (Latency::new(), Vec::new());
    for turn in 0..turns {
        session.watch.check()?;
        // A B C C B A ...
        let mut order = [0, 1, 2];
        if turn % 2 == 1 {
            order.reverse();
        }
        for side in order {
            match side {
                0 => ahead.go(appends)?,
                1 => inline.go(appends)?,
                _ => {
                    for _ in 0..appends {
                        let start = Instant::now();
                        match durability {
                            Durability::Sync => files.write_durable(&bytes)?,
                            _ => files.write(&bytes)?,
                        }
                        floor.record(start.elapsed());
                    }
                    files.flush()?;
                    for _ in 0..in_a_page {
                        files.write(&bytes)?;
                    }
                    let start = Instant::now();
                    files.flush_current()?;
                    flushes.push(start.elapsed().as_nanos() as f64);
                }
            }
            session.watch.check()?;
        }
    }
    Ok(Contest { ahead: ahead.finish()?, inline: inline.finish()?, floor, flushes })
}

struct Appender<'a> {
    writer: Writer,
    status: Ring,
    payload: &'a Vec<u8>,
    /// Counts of the writer before the first append.
    rotations: u64,
    stalls: u64,
    all: Latency,
    turning: Latency,
}

impl<'a> Appender<'a> {
    /// With more than a lap behind it.
    fn open(
        plan: &Plan,
        area: &Area,
        durability: Durability,
        prepare_ahead: bool,
        payload: &'a Vec<u8>,
        watch: &Watch,
    ) -> anyhow::Result<Appender<'a>> {
        let options = (ring::options(plan, area, durability)).prepare_ahead(prepare_ahead);
        let mut writer = Writer::open(area.home(), options)?;
        ring::fill(&mut writer, Some(watch), payload.len(), plan.ring_bytes() + 2 * plan.page_len)?;
        let status = Ring::attach(area.home())?;
        let rotations = ring::counter(&status, "rotations")?;
        let stalls = ring::counter(&status, "rotation_stalls")?;
        let (all, turning) = (Latency::new(), Latency::new());
        Ok(Appender { writer, status, payload, rotations, stalls, all, turning })
    }

    fn go(&mut self, appends: usize) -> anyhow::Result<()> {
        let mut page = self.writer.committed().page();
        for _ in 0..appends {
            let start = Instant::now();
            self.writer.append_payloads(from_ref(self.payload))?;
            let took = start.elapsed();
            self.all.record(took);
            let now = self.writer.committed().page();
            if now != page {
                self.turning.record(took);
                page = now;
            }
        }
        self.writer.sync()?;
        Ok(())
    }

    fn finish(self) -> anyhow::Result<Side> {
        let rotations = ring::counter(&self.status, "rotations")? - self.rotations;
        let stalls = ring::counter(&self.status, "rotation_stalls")? - self.stalls;
        self.writer.close()?;
        Ok(Side { all: self.all, turning: self.turning, rotations, stalls })
    }
}
