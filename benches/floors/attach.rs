//! Attaching to a ring.

use crate::Bench;
use crate::ring::{self, INTERVAL};
use crate::stats::duel;
use crate::sys;
use crate::table::{Goal, Unit};
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Instant;
use waldo::protocol::limits::PAGE_HEADER_LEN;
use waldo::protocol::names;
use waldo::reader::{Cursor, Ring};
use waldo::writer::{Io, Writer};

pub fn run(bench: &mut Bench) -> anyhow::Result<()> {
    bench.table.topic(
        "attach: Ring::attach and Ring::reader at the tip; floor: the same files opened, read, two of them mapped",
    );
    let area = bench.scratch.area()?;
    let options = ring::options(&bench.plan, &area, INTERVAL, Io::Auto);
    let mut writer = Writer::open(area.home(), options.clone())?;
    ring::fill(&mut writer, 1000, options.page_len * u64::from(options.ring_size))?;
    let mut ours = || {
        let start = Instant::now();
        let reader = Ring::attach(area.home())?.reader(Cursor::Tip)?;
        let time = start.elapsed();
        anyhow::ensure!(reader.last_seq_no() == writer.tip(), "the reader is not at the tip");
        Ok(time.as_nanos() as f64)
    };
    let (home, control) = (area.home(), area.control());
    let active = newest_page(&home)?;
    let mut bare = || {
        let start = Instant::now();
        let mut bytes = [0; 128];
        let mut total = 0;
        for path in [&home.join(names::META), &home.join(names::LINK), &active, &control] {
            let file = File::open(path)?;
            total += file.metadata()?.len();
            file.read_at(&mut bytes, 0)?;
        }
        let maps = [sys::map(&File::open(&active)?)?, sys::map(&File::open(&control)?)?];
        for map in &maps {
            black_box(map[PAGE_HEADER_LEN.min(map.len() - 1)]);
        }
        black_box(total);
        // Unmapping is not timed on either side.
        Ok(start.elapsed().as_nanos() as f64)
    };
    let duel = duel(&bench.plan, &mut ours, &mut bare)?;
    writer.close()?;
    bench.table.duel("Ring::attach and a reader at the tip", Unit::Ns, &duel, Goal::AtMost(1e6));
    Ok(())
}

fn newest_page(home: &Path) -> anyhow::Result<PathBuf> {
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(home)? {
        let entry = entry?;
        pages.extend(entry.file_name().to_str().and_then(names::parse_page).map(|id| (id, entry.path())));
    }
    pages.sort();
    // The last one is ready but empty.
    let active = pages.iter().rev().nth(1).or(pages.last());
    active.map(|(_, path)| path.clone()).ok_or_else(|| anyhow::anyhow!("there is no page"))
}
