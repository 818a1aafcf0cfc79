//! Reading everything that is in the ring.

use super::filled;
use crate::comparison::PairedComparison;
use crate::result_table::{Goal, Unit};
use crate::session::Session;
use crate::{floor, ring, system};
use std::fs::File;
use std::hint::black_box;
use std::time::Instant;
use waldo::protocol::limits::PAGE_HEADER_LEN;
use waldo::reader::{Cursor, Integrity, ReaderOptions, Ring};
use waldo_harness::results::report::{Axis, Plot, Series};

const SWEPT: [u64; 7] = [16, 64, 256, 1000, 4 << 10, 16 << 10, 64 << 10];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Touch {
    Headers,
    Bytes,
}

/// Rows for each size.
pub fn run(session: &mut Session, sizes: &[usize]) -> anyhow::Result<()> {
    session.sheet.topic(
        "scan",
        "all records from the oldest on, pages mapped anew each time, bytes of the pages per second; floor: mmap of the \
         same files, following the length fields, or adding up all bytes",
    );
    for payload_len in sizes {
        let mut duels = Vec::new();
        let kinds = [
            (Touch::Headers, Integrity::Structure),
            (Touch::Headers, Integrity::Headers),
            (Touch::Headers, Integrity::Payloads),
            (Touch::Bytes, Integrity::Structure),
            (Touch::Bytes, Integrity::Headers),
            (Touch::Bytes, Integrity::Payloads),
        ];
        whole_ring(session, *payload_len, &kinds, &mut duels)?;
        for ((touch, integrity), duel) in kinds.into_iter().zip(duels) {
            let touched = if touch == Touch::Headers { "headers" } else { "every byte" };
            let checked = format!("{integrity:?}").to_lowercase();
            let rate = Unit::Rate.show(duel.ours / ring::size(*payload_len) as f64);
            let name = format!("{payload_len} B, {touched}, {checked} checked ({rate} records)");
            let goal = if integrity == Integrity::Payloads { Goal::None } else { Goal::RatioAtLeast(0.8) };
            session.sheet.duel(&name, Unit::Bytes, &duel, goal);
        }
    }
    session.notes.push(
        "scan: `structure`, `headers` (the default) and `payloads` are what the reader checks; the floor checks nothing."
            .to_owned(),
    );
    Ok(())
}

/// Throughput over record size.
pub fn sweep(session: &mut Session) -> anyhow::Result<()> {
    let plan = session.plan.clone();
    session.plan = plan.briefly();
    let names = ["headers", "headers, floor", "every byte", "every byte, floor"];
    let mut series = names.map(|name| Series { name: name.to_owned(), points: Vec::new() });
    for size in SWEPT {
        let Ok(sizes) = plan.check_payloads(&[size]) else { continue };
        let mut duels = Vec::new();
        let kinds = [(Touch::Headers, Integrity::Headers), (Touch::Bytes, Integrity::Headers)];
        whole_ring(session, sizes[0], &kinds, &mut duels)?;
        for (n, duel) in duels.iter().enumerate() {
            series[2 * n].points.push((size as f64, duel.ours / 1e9));
            series[2 * n + 1].points.push((size as f64, duel.floor / 1e9));
        }
    }
    session.plan = plan;
    session.plots.push(Plot {
        title: "Scan of the whole ring over record size, headers checked".to_owned(),
        x: Axis { label: "bytes of a record's payload".to_owned(), log: true },
        y: Axis { label: "GB/s, headers counted".to_owned(), log: true },
        series: series.into(),
    });
    Ok(())
}

/// Bytes per second for each kind, over one ring.
fn whole_ring(
    session: &Session,
    payload_len: usize,
    kinds: &[(Touch, Integrity)],
    duels: &mut Vec<PairedComparison>,
) -> anyhow::Result<()> {
    let area = session.scratch.area()?;
    session.watch.show(&format!("scan: filling a ring with records of {payload_len} B"));
    let writer = filled(session, &area, payload_len)?;
    let files = ring::page_files(&area.home())?;
    let (mut total, mut ends) = (Total::default(), Vec::new());
    for file in &files {
        let (records, end) = floor::walk(&system::map(file)?);
        total.records += records;
        total.bytes += (end - PAGE_HEADER_LEN) as u64;
        ends.push(end);
    }
    let pages: Vec<(&File, usize)> =
        files.iter().zip(ends).filter(|(_, end)| *end > PAGE_HEADER_LEN).collect();
    anyhow::ensure!(Some(total.records) == writer.tip(), "the floor finds {} records", total.records);

    let ring = Ring::attach(area.home())?;
    for (touch, integrity) in kinds {
        let name = format!("scan: {payload_len} B, {touch:?} touched, {integrity:?} checked").to_lowercase();
        duels.push(session.compare(
            &name,
            &mut || by_reader(&ring, *touch, *integrity, total),
            &mut || by_hand(&pages, *touch, total),
        )?);
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
    let mut reader = ring.reader_with(Cursor::Oldest, ReaderOptions::default().integrity(integrity))?;
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
        let map = system::map(file)?;
        match touch {
            Touch::Headers => records += floor::walk(&map).0,
            Touch::Bytes => sum = sum.wrapping_add(floor::sum(&map[PAGE_HEADER_LEN..*end])),
        }
    }
    black_box(sum);
    total.rate(if touch == Touch::Headers { records } else { total.records }, start)
}
