//! Reading everything that is in the ring.

use crate::Bench;
use crate::floor;
use crate::ring::{self, INTERVAL};
use crate::stats::duel;
use crate::sys;
use crate::table::{Goal, Unit};
use std::fs::File;
use std::hint::black_box;
use std::time::Instant;
use waldo::protocol::limits::PAGE_HEADER_LEN;
use waldo::reader::{Cursor, Integrity, ReaderOptions, Ring};
use waldo::writer::{Io, Writer};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Touch {
    Headers,
    Bytes,
}

pub fn run(bench: &mut Bench) -> anyhow::Result<()> {
    bench.table.topic(
        "scan: all records from the oldest on, pages mapped anew each time, bytes of the pages per second; \
         floor: mmap of the same files, following the length fields, or adding up all bytes",
    );
    for payload_len in [1000, 100] {
        whole_ring(bench, payload_len)?;
    }
    bench.table.note("`structure`, `headers` (the default) and `payloads` are what the reader checks");
    Ok(())
}

fn whole_ring(bench: &mut Bench, payload_len: usize) -> anyhow::Result<()> {
    let area = bench.scratch.area()?;
    let plan = bench.plan.clone();
    let mut writer = Writer::open(area.home(), ring::options(&plan, &area, INTERVAL, Io::Auto))?;
    ring::fill(&mut writer, payload_len, plan.page_len * u64::from(plan.ring_size) - (plan.page_len / 2))?;
    writer.sync()?;
    let files = ring::page_files(&area.home())?;
    let (mut total, mut ends) = (Total::default(), Vec::new());
    for file in &files {
        let (records, end) = floor::walk(&sys::map(file)?);
        total.records += records;
        total.bytes += (end - PAGE_HEADER_LEN) as u64;
        ends.push(end);
    }
    let pages: Vec<(&File, usize)> =
        files.iter().zip(ends).filter(|(_, end)| *end > PAGE_HEADER_LEN).collect();
    anyhow::ensure!(Some(total.records) == writer.tip(), "the floor finds {} records", total.records);

    let ring = Ring::attach(area.home())?;
    let rows = [
        (Touch::Headers, Integrity::Structure),
        (Touch::Headers, Integrity::Headers),
        (Touch::Headers, Integrity::Payloads),
        (Touch::Bytes, Integrity::Structure),
        (Touch::Bytes, Integrity::Headers),
        (Touch::Bytes, Integrity::Payloads),
    ];
    for (touch, integrity) in rows {
        let duel = duel(&plan, &mut || by_reader(&ring, touch, integrity, total), &mut || {
            by_hand(&pages, touch, total)
        })?;
        let touched = if touch == Touch::Headers { "headers touched" } else { "every byte touched" };
        let checked = format!("{integrity:?}").to_lowercase();
        let rate = duel.ours / ring::size(payload_len) as f64 / 1e6;
        let name = format!("{payload_len} B, {touched}, {checked} checked ({rate:.1} M records/s)");
        let goal = if integrity == Integrity::Payloads { Goal::None } else { Goal::RatioAtLeast(0.8) };
        bench.table.duel(&name, Unit::Bytes, &duel, goal);
    }
    writer.close()?;
    Ok(())
}

#[derive(Clone, Copy, Debug, Default)]
struct Total {
    records: u64,
    bytes: u64,
}

impl Total {
    fn rate(self, records: u64, start: Instant) -> anyhow::Result<f64> {
        let time = start.elapsed();
        anyhow::ensure!(records == self.records, "{records} records found of {}", self.records);
        Ok(self.bytes as f64 / time.as_secs_f64())
    }
}

fn by_reader(ring: &Ring, touch: Touch, integrity: Integrity, total: Total) -> anyhow::Result<f64> {
    let start = Instant::now();
    let mut reader =
        ring.reader_with(Cursor::Trim, ReaderOptions { integrity, ..ReaderOptions::default() })?;
    let (mut records, mut sum) = (0, 0u64);
    while let Some(batch) = reader.poll()? {
        for record in &batch {
            records += 1;
            sum = sum.wrapping_add(match touch {
                Touch::Headers => record.seq_no(),
                Touch::Bytes => floor::sum(record.data()),
            });
        }
    }
    black_box(sum);
    total.rate(records, start)
}

/// `pages`: each with the end of its records.
fn by_hand(pages: &[(&File, usize)], touch: Touch, total: Total) -> anyhow::Result<f64> {
    let start = Instant::now();
    let (mut records, mut sum) = (0, 0u64);
    for (file, end) in pages {
        let map = sys::map(file)?;
        match touch {
            Touch::Headers => records += floor::walk(&map).0,
            Touch::Bytes => sum = sum.wrapping_add(floor::sum(&map[PAGE_HEADER_LEN..*end])),
        }
    }
    black_box(sum);
    total.rate(if touch == Touch::Headers { records } else { total.records }, start)
}
