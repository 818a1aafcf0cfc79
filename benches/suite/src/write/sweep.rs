//! Throughput over record sizes, batch sizes, appends in flight and threads: the curves of a report.

use super::BATCH;
use super::batch::{self, BatchLoad};
use super::group::{from_tasks, from_threads};
use crate::comparison::quantile;
use crate::result_table::Unit;
use crate::ring::{self, COMMITTED};
use crate::session::Session;
use crate::setting::Plan;
use std::mem;
use waldo::writer::{Durability, SharedWriter};
use waldo_harness::results::report::{Axis, Plot, Series, Table};

/// How often the progress is told that a step is done.
pub const STEPS: usize = 4;

const SIZES: [u64; 7] = [16, 64, 256, 1000, 4 << 10, 16 << 10, 64 << 10];
const BATCHES: [u64; 6] = [1 << 10, 8 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20];
const APPENDERS: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const DURABILITIES: [(&str, Durability); 2] = [("committed", COMMITTED), ("durable", Durability::Sync)];

/// Each point takes a quarter of a row's time.
pub fn run(session: &mut Session) -> anyhow::Result<()> {
    let plan = session.plan.clone();
    session.plan = plan.briefly();
    let swept = curves(session);
    session.plan = plan;
    swept
}

fn curves(session: &mut Session) -> anyhow::Result<()> {
    let plan = session.plan.clone();
    let sizes: Vec<usize> =
        SIZES.iter().filter_map(|size| plan.check_payloads(&[*size]).ok()).flatten().collect();
    let batch_bytes = BATCH.min(plan.ring_bytes() / 2) as usize;
    let loads = sizes.iter().map(|size| (*size as f64, *size, batch_bytes)).collect();
    batches(session, "Throughput over record size, large batches", "bytes of a record's payload", loads)?;
    session.watch.step();

    let fits = |batch: &&u64| **batch <= plan.ring_bytes() / 2;
    let loads = BATCHES.iter().filter(fits).map(|batch| (*batch as f64, 1000, *batch as usize)).collect();
    batches(session, "Throughput over batch size, records of 1000 B", "bytes of one append", loads)?;
    session.watch.step();

    appenders(
        session,
        "Appends per second over appends in flight from one thread, 100 B",
        "in flight",
        true,
    )?;
    session.watch.step();
    appenders(session, "Appends per second over threads, 100 B", "threads", false)?;
    session.watch.step();
    Ok(())
}

/// `loads`: place on the axis, bytes of a payload, bytes of a batch.
fn batches(
    session: &mut Session,
    title: &str,
    axis: &str,
    loads: Vec<(f64, usize, usize)>,
) -> anyhow::Result<()> {
    let mut curves = Vec::new();
    for (name, durability) in DURABILITIES {
        let (mut ours, mut floor) = (Vec::new(), Vec::new());
        for (x, payload_len, batch_bytes) in &loads {
            let load = BatchLoad {
                payload_len: *payload_len,
                batch_bytes: *batch_bytes,
                prebuilt: true,
                durability,
            };
            let duel = batch::sustained(session, load)?;
            ours.push((*x, duel.ours));
            floor.push((*x, duel.floor));
        }
        curves.push(Series { name: name.to_owned(), points: ours });
        curves.push(Series { name: format!("{name}, floor"), points: floor });
    }
    push(session, title, axis, Unit::Bytes, curves);
    Ok(())
}

fn appenders(session: &mut Session, title: &str, axis: &str, tasks: bool) -> anyhow::Result<()> {
    let plan: Plan = session.plan.clone();
    let time = super::group::round_time(session);
    let payload = [0x5a; 100];
    let mut curves = Vec::new();
    for (name, durability) in DURABILITIES {
        let area = session.scratch.area()?;
        let writer = SharedWriter::new(ring::open(&plan, &area, durability)?);
        let mut points = Vec::new();
        for n in APPENDERS {
            session.watch.show(&format!("{title}: {n}, {name}"));
            let mut rates = Vec::new();
            for _ in 0..3 {
                session.watch.check()?;
                rates.push(if tasks {
                    pollster::block_on(from_tasks(&writer, &payload, n, time))?
                } else {
                    from_threads(&writer, &payload, n, time)?
                });
            }
            points.push((n as f64, quantile(rates, 0.5)));
        }
        writer.close()?;
        curves.push(Series { name: name.to_owned(), points });
    }
    push(session, title, axis, Unit::Rate, curves);
    Ok(())
}

/// The same as a table and as a plot.
fn push(session: &mut Session, title: &str, axis: &str, unit: Unit, series: Vec<Series>) {
    let mut head = vec![axis.to_owned()];
    head.extend(series.iter().map(|series| series.name.clone()));
    let xs = series.first().map(|series| series.points.clone()).unwrap_or_default();
    let rows = xs.iter().enumerate().map(|(n, (x, _))| {
        let mut row = vec![x.to_string()];
        row.extend(series.iter().map(|s| s.points.get(n).map_or(String::new(), |(_, y)| unit.show(*y))));
        row
    });
    session.tables.push(Table { caption: title.to_owned(), head, rows: rows.collect() });
    let mut series = series;
    let (scale, label) =
        if unit == Unit::Bytes { (1e9, "GB/s, headers counted") } else { (1.0, "appends per second") };
    for points in series.iter_mut().map(|series| &mut series.points) {
        *points = mem::take(points).into_iter().map(|(x, y)| (x, y / scale)).collect();
    }
    session.plots.push(Plot {
        title: title.to_owned(),
        x: Axis { label: axis.to_owned(), log: true },
        y: Axis { label: label.to_owned(), log: true },
        series,
    });
}
