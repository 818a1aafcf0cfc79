//! Pages that were evicted from the page cache: the cost of appending to them, and the folios in which they
//! come back.

use crate::folios;
use crate::result_table::{Goal, Unit};
use crate::ring;
use crate::session::Session;
use anyhow::Context;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
use std::cell::RefCell;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};
use waldo::protocol::names;
use waldo::writer::{Durability, Writer};
use waldo_terminal::units;

/// Flushes only where they are timed.
const LAZY: Durability = Durability::Interval(Duration::from_secs(3600));
const PAYLOAD: [u8; 1000] = [0x5a; 1000];
/// Pages that were made ready before the cache was emptied: the ready one, and the one that is blank beside
/// it.
const AHEAD: usize = 2;
/// Bytes appended after a pause, at most.
const STRETCH: u64 = 2 << 20;
/// Long enough for the writer to look ahead.
const PAUSE: Duration = Duration::from_millis(500);

/// One page, appended to a record at a time and flushed.
struct Filled {
    append_ns: f64,
    flush_ns: f64,
    folios: Option<String>,
}

/// Rows for pages that were recycled after they had left the cache, and for pages that left it while they
/// were ready.
pub fn run(session: &mut Session) -> anyhow::Result<()> {
    let plan = session.plan.clone();
    let area = session.scratch.area()?;
    let home = area.home();
    let mut writer = ring::open(&plan, &area, LAZY)?;
    ring::fill(&mut writer, Some(&session.watch), 1000, 2 * plan.ring_bytes())?;
    let writer = RefCell::new(writer);
    for (name, turns) in [("recycled after it", AHEAD + 1), ("ready when it", 1)] {
        let flushes = RefCell::new((Vec::new(), Vec::new()));
        let seen = RefCell::new([None, None]);
        let fill = |emptied: bool| -> anyhow::Result<f64> {
            let mut writer = writer.borrow_mut();
            if emptied {
                writer.sync()?;
                empty_cache(&home)?;
            }
            for _ in 0..turns {
                turn_page(&mut writer)?;
            }
            writer.sync()?;
            let filled = fill_page(&mut writer, &home)?;
            let mut flushes = flushes.borrow_mut();
            let flushes = if emptied { &mut flushes.0 } else { &mut flushes.1 };
            flushes.push(filled.flush_ns);
            seen.borrow_mut()[usize::from(emptied)] = filled.folios;
            Ok(filled.append_ns)
        };
        let row =
            format!("append of 1000 B to a page {name} had left the page cache, mean; floor: to one in it");
        let duel = session.compare(&row, &mut || fill(true), &mut || fill(false))?;
        session.sheet.duel(&row, Unit::Ns, &duel, Goal::None);
        let (ours, floor) = flushes.into_inner();
        let [ours, floor] = [ours, floor].map(|times| crate::comparison::quantile(times, 0.5));
        let row = "flush of that page when it is full; floor: of one in the page cache";
        session.sheet.single(row, Unit::Ns, ours, Some(floor), Goal::None);
        if let [Some(kept), Some(emptied)] = seen.into_inner() {
            session.notes.push(format!(
                "recycling: a page {name} had left the page cache is in folios of {emptied}; one that stayed in it, of {kept}."
            ));
        }
    }
    after_a_pause(session, &writer, &home)?;
    writer.into_inner().close()?;
    Ok(())
}

/// A log that grows slowly loses the rest of its active page: the row for what is appended once the writer
/// has looked ahead.
fn after_a_pause(session: &mut Session, writer: &RefCell<Writer>, home: &Path) -> anyhow::Result<()> {
    let stretch = STRETCH.min(session.plan.page_len / 4);
    let fill = |emptied: bool| -> anyhow::Result<f64> {
        let mut writer = writer.borrow_mut();
        // Enough room, and all of it in the cache.
        turn_page(&mut writer)?;
        turn_page(&mut writer)?;
        writer.sync()?;
        if emptied {
            empty_cache(home)?;
        }
        std::thread::sleep(PAUSE);
        let (mut appends, start) = (0, Instant::now());
        while appends * PAYLOAD.len() < stretch as usize {
            writer.append_payloads(&[&PAYLOAD[..]])?;
            appends += 1;
        }
        Ok(start.elapsed().as_nanos() as f64 / appends as f64)
    };
    let row = format!(
        "append of 1000 B, the next {} half a second after the active page had left the page cache; floor: after one in it",
        units::bytes(stretch)
    );
    let duel = session.compare(&row, &mut || fill(true), &mut || fill(false))?;
    session.sheet.duel(&row, Unit::Ns, &duel, Goal::None);
    Ok(())
}

/// Has the kernel drop every clean page of the ring's files, as it does when memory is short.
fn empty_cache(home: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(home)? {
        // A file may just have got its name, and been a scratch file before.
        let Ok(file) = File::open(entry?.path()) else { continue };
        file.sync_data()?;
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)
            .context("cannot empty the page cache")?;
    }
    Ok(())
}

/// Fills the active page up, in large pieces, and begins the next.
fn turn_page(writer: &mut Writer) -> anyhow::Result<()> {
    let page = writer.committed().page();
    let batch = [&PAYLOAD[..]; 16];
    while writer.committed().page() == page {
        writer.append_payloads(&batch)?;
    }
    Ok(())
}

fn fill_page(writer: &mut Writer, home: &Path) -> anyhow::Result<Filled> {
    let page = writer.committed().page();
    let (mut appends, mut took) = (0u64, Duration::ZERO);
    let start = Instant::now();
    while writer.committed().page() == page {
        took = start.elapsed();
        writer.append_payloads(&[&PAYLOAD[..]])?;
        appends += 1;
    }
    let start = Instant::now();
    writer.sync()?;
    let flush_ns = start.elapsed().as_nanos() as f64;
    let folios = folios::shares(&home.join(names::page(page)));
    // The last one is in the next page.
    Ok(Filled { append_ns: took.as_nanos() as f64 / (appends - 1).max(1) as f64, flush_ns, folios })
}
