//! Latency of single appends while small pages fill up one after another.

mod contest;

use super::Case;
use crate::comparison::quantile;
use crate::result_table::{Goal, Unit};
use crate::ring::COMMITTED;
use crate::session::Session;
use contest::{Contest, Side};
use waldo::writer::Durability;
use waldo_harness::results::report::{Axis, Plot, Series};

/// Small records committed, large ones durable.
pub fn run(session: &mut Session, case: &Case) -> anyhow::Result<()> {
    session.sheet.topic(
        "rotation",
        "one append at a time over 8 pages of 1 MiB; floor, unless a row names another: pwrite, or \
         pwritev2(RWF_DSYNC), over files of 1 MiB",
    );
    let mut series = Vec::new();
    for payload_len in case.sizes(&[1000]) {
        latencies(session, payload_len, COMMITTED, &mut series)?;
    }
    for payload_len in case.sizes(&[64 << 10]) {
        latencies(session, payload_len, Durability::Sync, &mut series)?;
    }
    session.plots.push(Plot {
        title: "Latency of single appends while pages of 1 MiB fill up".to_owned(),
        x: Axis::percentiles(),
        y: Axis { label: "microseconds".to_owned(), log: true },
        series,
    });
    session.notes.push(
        "rotation: service times of appends back to back; what would have queued behind a slow one is not counted \
         (`waldo-suite latency` counts it). The goal is 3 x p50 + one flush of 1 MiB. Without the preparer the \
         append that turns the page makes or recycles it."
            .to_owned(),
    );
    Ok(())
}

fn latencies(
    session: &mut Session,
    payload_len: usize,
    durability: Durability,
    series: &mut Vec<Series>,
) -> anyhow::Result<()> {
    let sync = durability == Durability::Sync;
    let name = format!("{payload_len} B, {}", if sync { "durable" } else { "committed" });
    session.watch.show(&format!("rotation: {name}"));
    let Contest { ahead, inline, floor, flushes } = contest::hold(session, payload_len, durability)?;
    let flush = quantile(flushes, 0.5);
    let mut tell = |what: String, side: &Side, goals: bool| {
        let limit = 3.0 * side.all.p(50.0).as_nanos() as f64 + flush;
        for (percent, label) in [(50.0, "p50"), (99.0, "p99"), (99.9, "p99.9"), (100.0, "max")] {
            let goal = if goals && label == "p99.9" { Goal::AtMost(limit) } else { Goal::None };
            let (ours, floor) = (side.all.p(percent).as_nanos() as f64, floor.p(percent).as_nanos() as f64);
            session.sheet.single(&format!("{what}, {label}"), Unit::Ns, ours, Some(floor), goal);
        }
        let waited = format!("{what}, appends that waited for one of {} pages", side.rotations);
        let goal = if goals { Goal::AtMost(0.0) } else { Goal::None };
        session.sheet.single(&waited, Unit::Count, side.stalls as f64, None, goal);
    };
    tell(name.clone(), &ahead, true);
    tell(format!("{name}, without the preparer"), &inline, false);
    for (percent, label) in [(50.0, "p50"), (99.0, "p99"), (100.0, "max")] {
        let [ours, floor] = [&ahead, &inline].map(|side| side.turning.p(percent).as_nanos() as f64);
        let row = format!("{name}, append that turns the page, {label}; floor: without the preparer");
        session.sheet.single(&row, Unit::Ns, ours, Some(floor), Goal::None);
    }
    for (what, latency) in [("", &ahead.all), (", without the preparer", &inline.all), (", floor", &floor)] {
        series.push(Series { name: format!("{name}{what}"), points: latency.percentile_points() });
    }
    Ok(())
}
