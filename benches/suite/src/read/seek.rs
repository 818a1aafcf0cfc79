//! Finding one record by its number, anywhere in the ring.

use super::filled;
use crate::comparison::{SplitMix64, ns_per_call};
use crate::result_table::{Goal, Unit};
use crate::ring::COMMITTED;
use crate::session::Session;
use crate::{floor, ring, system};
use pollster::block_on;
use std::hint::black_box;
use waldo::protocol::RawRecord;
use waldo::protocol::limits::{PAGE_HEADER_LEN, RECORD_HEADER_LEN};
use waldo::reader::{Cursor, ReaderOptions, Ring};

/// A row for each size.
pub fn run(session: &mut Session, sizes: &[usize]) -> anyhow::Result<()> {
    session.sheet.topic(
        "seek",
        "Reader::seek to a random number, and that record, and Waldo::query for the same; floor: arithmetic gives its place in a plain mapping, two \
         loads",
    );
    sizes.iter().try_for_each(|payload_len| one_record(session, *payload_len))
}

fn one_record(session: &mut Session, payload_len: usize) -> anyhow::Result<()> {
    let area = session.scratch.area()?;
    session.watch.show(&format!("seek: filling a ring with records of {payload_len} B"));
    let writer = filled(session, &area, payload_len)?;
    let tip = writer.tip().unwrap_or(0);
    let n = session.plan.share(5000);

    let mut maps = Vec::new();
    let mut first = 1;
    for file in ring::page_files(&area.home())? {
        let map = system::map(&file)?;
        let (records, _) = floor::walk(&map);
        maps.push((first, map));
        first += records;
    }
    let size = ring::size(payload_len);
    let mut dice = SplitMix64(1);
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
    let options = ReaderOptions::default().batch_bytes(1);
    let mut reader = ring.reader_with(Cursor::Oldest, options)?;
    let mut dice = SplitMix64(1);
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
    let name = format!("one record of {payload_len} B among {:.2} million", tip as f64 / 1e6);
    let duel = session.compare(&name, &mut ours, &mut bare)?;
    drop(reader);
    writer.close()?;
    session.sheet.duel(&name, Unit::Ns, &duel, Goal::AtMost(1000.0));

    // As a program asks that uses the embedded API.
    let options = ring::options(&session.plan, &area, COMMITTED);
    let mut waldo = block_on(waldo::Waldo::open_with(area.home(), options))?;
    let mut dice = SplitMix64(1);
    let mut ours = || {
        ns_per_call(n, 50, |_| {
            let seq_no = 1 + dice.below(tip);
            let found = block_on(waldo.query(waldo::Cursor::From(seq_no), false))?;
            let record = found.into_iter().next();
            anyhow::ensure!(record.is_some_and(|log| log.seq_no() == seq_no), "record {seq_no} is not there");
            Ok(())
        })
    };
    let name = format!("{name}, Waldo::query");
    let duel = session.compare(&name, &mut ours, &mut bare)?;
    block_on(waldo.close());
    session.sheet.duel(&name, Unit::Ns, &duel, Goal::AtMost(1500.0));
    Ok(())
}
