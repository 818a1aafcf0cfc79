//! Finding one record by its number, anywhere in the ring.

use crate::Bench;
use crate::floor;
use crate::ring::{self, INTERVAL};
use crate::stats::{Dice, duel, ns_per_call};
use crate::sys;
use crate::table::{Goal, Unit};
use std::hint::black_box;
use waldo::protocol::RawRecord;
use waldo::protocol::limits::{PAGE_HEADER_LEN, RECORD_HEADER_LEN};
use waldo::reader::{Cursor, ReaderOptions, Ring};
use waldo::writer::{Io, Writer};

pub fn run(bench: &mut Bench) -> anyhow::Result<()> {
    bench.table.topic(
        "seek: Reader::seek(From(random number)) and poll of that record; \
         floor: arithmetic gives its place in a plain mapping, two loads",
    );
    for payload_len in [100, 1000] {
        one_record(bench, payload_len)?;
    }
    Ok(())
}

fn one_record(bench: &mut Bench, payload_len: usize) -> anyhow::Result<()> {
    let area = bench.scratch.area()?;
    let plan = &bench.plan;
    let mut writer = Writer::open(area.home(), ring::options(plan, &area, INTERVAL, Io::Auto))?;
    ring::fill(&mut writer, payload_len, plan.page_len * u64::from(plan.ring_size) - (plan.page_len / 2))?;
    let tip = writer.tip().unwrap_or(0);
    let n = plan.count(5000);

    let mut maps = Vec::new();
    let mut first = 1;
    for file in ring::page_files(&area.home())? {
        let map = sys::map(&file)?;
        let (records, _) = floor::walk(&map);
        maps.push((first, map));
        first += records;
    }
    let size = ring::size(payload_len);
    let mut dice = Dice(1);
    let mut bare = || {
        ns_per_call(n, 50, |_| {
            let seq_no = 1 + dice.below(tip);
            let page = maps.partition_point(|(first, _)| *first <= seq_no) - 1;
            let (first, map) = &maps[page];
            let at = PAGE_HEADER_LEN + (seq_no - first) as usize * size;
            let header = RawRecord::read(&map[at..]);
            anyhow::ensure!(header.is_some_and(|raw| raw.seq_no == seq_no), "record {seq_no} is not there");
            black_box(map[at + RECORD_HEADER_LEN]);
            Ok(())
        })
    };

    let ring = Ring::attach(area.home())?;
    let options = ReaderOptions { batch_bytes: 1, ..ReaderOptions::default() };
    let mut reader = ring.reader_with(Cursor::Trim, options)?;
    let mut dice = Dice(1);
    let mut ours = || {
        ns_per_call(n, 50, |_| {
            let seq_no = 1 + dice.below(tip);
            reader.seek(Cursor::From(seq_no))?;
            let batch = reader.poll()?;
            let record = batch.as_ref().and_then(|batch| batch.iter().next());
            anyhow::ensure!(record.is_some_and(|r| r.seq_no() == seq_no), "record {seq_no} is not there");
            black_box(record.map(|record| record.data()[0]));
            Ok(())
        })
    };
    let duel = duel(plan, &mut ours, &mut bare)?;
    drop(reader);
    writer.close()?;
    let name = format!("one record of {payload_len} B among {:.1} million", tip as f64 / 1e6);
    bench.table.duel(&name, Unit::Ns, &duel, Goal::AtMost(1000.0));
    Ok(())
}
