//! The tables about the writer, its flushes, and memory.

use crate::fanout::Mode;
use crate::fanout::findings::{Cost, Findings};
use crate::fanout::sum::Load;
use std::time::Duration;
use waldo_harness::results::histogram::Latency;
use waldo_harness::results::report::Table;
use waldo_terminal::units;

/// The writer's parts, and what they are called.
pub(super) const LOADS: [(&str, &str); 7] = [
    ("flat-none", "back to back, no readers"),
    ("flat-idle", "back to back, readers attached and idle"),
    ("flat-after", "back to back, readers gone"),
    ("paced-none", "at the rate, no readers"),
    ("paced-idle", "at the rate, readers attached and idle"),
    ("active", "at the rate, all readers following"),
    ("paced-after", "at the rate, readers gone"),
];

pub(super) fn writer_table(findings: &Findings) -> anyhow::Result<Table> {
    let head = ["writer", "appends/s", "p50", "p99", "p99.9", "max", "late > 1 ms", "thread CPU", "all CPU"];
    let mut rows = Vec::new();
    for (name, of) in LOADS {
        let Some(load) = findings.load(name) else { continue };
        rows.push(writer_row(of, load)?);
    }
    Ok(Table {
        caption: "Writer: an append's time; at a rate, from when it was due until it was complete".into(),
        head: head.map(str::to_owned).to_vec(),
        rows,
    })
}

fn writer_row(of: &str, load: &Load) -> anyhow::Result<Vec<String>> {
    let paced = !load.late.is_empty();
    let times = Latency::parse(if paced { &load.late } else { &load.service })?;
    let took = Duration::from_nanos(load.took_ns);
    let share = |ns: u64| format!("{:.0} %", 100.0 * ns as f64 / load.took_ns.max(1) as f64);
    let late = match paced {
        true => format!("{:.3} %", 100.0 * load.late_over_1ms as f64 / load.appends.max(1) as f64),
        false => "-".into(),
    };
    Ok(vec![
        of.to_owned(),
        units::count(units::per_second(load.appends, took)),
        units::duration(times.p(50.0)),
        units::duration(times.p(99.0)),
        units::duration(times.p(99.9)),
        units::duration(times.max()),
        late,
        share(load.thread_cpu_ns),
        share(load.process_cpu_ns),
    ])
}

pub(super) fn flush_table(findings: &Findings) -> Table {
    let alone = findings.flushes("none").map(|times| times.p(50.0).as_secs_f64());
    let names = [
        ("none", "no readers"),
        ("idle", "all readers have mapped the page and do nothing"),
        ("following", "all readers have read the records"),
        ("after", "readers gone"),
    ];
    let rows = names.into_iter().filter_map(|(name, of)| {
        let times = findings.flushes(name)?;
        let ratio = alone.filter(|alone| *alone > 0.0).map(|alone| times.p(50.0).as_secs_f64() / alone);
        Some(vec![
            of.to_owned(),
            units::duration(times.p(50.0)),
            units::duration(times.max()),
            ratio.map_or("-".into(), |ratio| format!("{ratio:.2}")),
        ])
    });
    Table {
        caption: "Making 1 MiB of new records durable (a 64th of a page if that is less)".into(),
        head: ["flush", "p50", "max", "x none"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
    }
}

pub(super) fn memory_table(findings: &Findings) -> Table {
    let (idle, reader) = (findings.idle_process, findings.reader_process);
    let row = |name: &str, cost: [i64; 4]| {
        let mut row = vec![name.to_owned()];
        row.extend(cost.map(|kib| format!("{kib} KiB")));
        row
    };
    let cells =
        |cost: Cost| [cost.private, cost.tables, cost.kernel, cost.available].map(|kib| kib.cast_signed());
    let (a, b) = (cells(idle), cells(reader));
    let name = match findings.mode {
        Mode::Processes => "an attached reader",
        Mode::Streams => "the process with all streams",
    };
    Table {
        caption: "Memory of one process".into(),
        head: ["process", "private", "page tables", "kernel, by /proc/meminfo", "MemAvailable"]
            .map(str::to_owned)
            .to_vec(),
        rows: vec![
            row("one that does nothing", a),
            row(name, b),
            row("difference", [0, 1, 2, 3].map(|n: usize| b[n] - a[n])),
        ],
    }
}
