//! The results added up, as tables and plots.

mod tables;

use super::{Cost, Fate, Findings};
use crate::fanout::{Args, Mode};
use crate::session::command;
use serde_json::{Value, json};
use std::time::Duration;
use tables::{LOADS, flush_table, memory_table, writer_table};
use waldo_harness::results::histogram::Latency;
use waldo_harness::results::report::{Axis, Plot, Report, Series, Table};
use waldo_terminal::units;

/// All readers together.
pub struct Account {
    /// What went wrong, a line each.
    pub failures: Vec<String>,
    records: u64,
    bytes: u64,
    lapsed: u64,
    wakes: u64,
    cpu: Duration,
    /// Of the oldest unread record, at each wake of each reader.
    age: Latency,
    /// The worst of each reader.
    worst: Latency,
    /// For each ping, how long it took to each reader.
    pings: Vec<Latency>,
}

impl Account {
    /// Adds everything up.
    pub fn of(findings: &Findings) -> anyhow::Result<Account> {
        let mut account = Account {
            failures: Vec::new(),
            records: 0,
            bytes: 0,
            lapsed: 0,
            wakes: 0,
            cpu: Duration::ZERO,
            age: Latency::new(),
            worst: Latency::new(),
            pings: Vec::new(),
        };
        let appended = findings.load("active").map_or(0, |load| load.appends);
        for (reader, fate) in findings.fates.iter().enumerate() {
            let number = reader + 1;
            let sum = match fate {
                Fate::Done(sum) => sum,
                Fate::Failed(error) => {
                    account.failures.push(format!("reader {number}: {error}"));
                    continue;
                }
                Fate::Started | Fate::Attached => {
                    account.failures.push(format!("reader {number} was never heard of again"));
                    continue;
                }
            };
            if sum.records + sum.lapsed < appended {
                account.failures.push(format!(
                    "reader {number} has got {} of {appended} records and was told of {} that it missed",
                    sum.records, sum.lapsed
                ));
            }
            account.records += sum.records;
            account.bytes += sum.bytes;
            account.lapsed += sum.lapsed;
            account.wakes += sum.wakes;
            account.cpu += Duration::from_nanos(sum.cpu_ns);
            account.age.add_text(&sum.age)?;
            account.worst.record_ns(sum.age_max_ns);
            account.pings.resize_with(account.pings.len().max(sum.pings.len()), Latency::new);
            for (ping, ns) in account.pings.iter_mut().zip(&sum.pings) {
                ping.record_ns(*ns);
            }
        }
        Ok(account)
    }

    /// As tables, plots and figures.
    pub fn report(&self, findings: &Findings, args: &Args) -> anyhow::Result<Report> {
        Ok(Report {
            title: format!(
                "Fan-out to {} {}",
                units::count(findings.readers as u64),
                match findings.mode {
                    Mode::Processes => "reader processes",
                    Mode::Streams => "async streams in one process",
                }
            ),
            command: command(),
            machine: findings.machine.clone(),
            notes: notes(args),
            tables: vec![
                self.readers_table(findings),
                writer_table(findings)?,
                flush_table(findings),
                memory_table(findings),
            ],
            plots: self.plots(findings)?,
            data: self.data(findings)?,
        })
    }

    fn readers_table(&self, findings: &Findings) -> Table {
        // Until the last reader has the last record: what was appended and not yet read is not delivered.
        let took = findings.follow_time;
        let appended =
            findings.load("active").map_or(Duration::ZERO, |load| Duration::from_nanos(load.took_ns));
        let row = |name: &str, value: String| vec![name.to_owned(), value];
        let four = |l: &Latency| {
            let p = |percent| units::duration(l.p(percent));
            format!("{} / {} / {} / {}", p(50.0), p(90.0), p(99.0), units::duration(l.max()))
        };
        let mut last: Vec<Duration> = self.pings.iter().map(Latency::max).collect();
        last.sort_unstable();
        let mut middle: Vec<Duration> = self.pings.iter().map(|ping| ping.p(50.0)).collect();
        middle.sort_unstable();
        let median = |values: &[Duration]| {
            values.get(values.len() / 2).map_or("-".into(), |time| units::duration(*time))
        };
        let rows = vec![
            row("readers that got everything", {
                let good = findings.readers.saturating_sub(self.failures.len());
                format!("{} of {}", units::count(good as u64), units::count(findings.readers as u64))
            }),
            row("records delivered", units::count(self.records)),
            row("records delivered a second, in all", units::count(units::per_second(self.records, took))),
            row("payload delivered a second, in all", units::bytes(units::per_second(self.bytes, took))),
            row("records missed by readers that the ring overtook", units::count(self.lapsed)),
            row("batches a second, in all", units::count(units::per_second(self.wakes, took))),
            row("oldest unread record when a reader looks, p50 / p90 / p99 / max", four(&self.age)),
            row("the worst of each reader, p50 / p90 / p99 / max", four(&self.worst)),
            row("one record to sleeping readers: until half are awake", median(&middle)),
            row("one record to sleeping readers: until the last is awake", median(&last)),
            row(
                "all had everything after the last append by",
                units::duration(took.saturating_sub(appended)),
            ),
            row("attaching, p50 / p90 / p99 / max", four(&findings.attach)),
            row("until all were started and attached", units::duration(findings.start_time)),
            row("CPU time of all readers while following", units::duration(self.cpu)),
        ];
        Table { caption: "Readers".into(), head: vec!["what".into(), "".into()], rows }
    }

    fn plots(&self, findings: &Findings) -> anyhow::Result<Vec<Plot>> {
        let us = |label: &str| Axis { label: label.to_owned(), log: true };
        let mut late = Vec::new();
        for (name, of) in LOADS {
            if let Some(load) = findings.load(name).filter(|load| !load.late.is_empty()) {
                let points = Latency::parse(&load.late)?.percentile_points();
                late.push(Series { name: of.into(), points });
            }
        }
        let ages = vec![
            Series { name: "at each look".into(), points: self.age.percentile_points() },
            Series { name: "worst of each reader".into(), points: self.worst.percentile_points() },
        ];
        let woken = self.pings.iter().enumerate().map(|(n, ping)| Series {
            name: format!("record {}", n + 1),
            points: (0..=100)
                .map(|percent| (ping.p(f64::from(percent)).as_secs_f64() * 1e3, f64::from(percent)))
                .collect(),
        });
        Ok(vec![
            Plot {
                title: "Append complete, after it was due".into(),
                x: Axis::percentiles(),
                y: us("microseconds"),
                series: late,
            },
            Plot {
                title: "Age of the oldest unread record when a reader looks".into(),
                x: Axis::percentiles(),
                y: us("microseconds"),
                series: ages,
            },
            Plot {
                title: "One record to sleeping readers".into(),
                x: Axis { label: "milliseconds since the append".into(), log: false },
                y: Axis { label: "percent of readers that have it".into(), log: false },
                series: woken.collect(),
            },
        ])
    }

    fn data(&self, findings: &Findings) -> anyhow::Result<Value> {
        let latency = |l: &Latency| {
            let us = |time: Duration| time.as_secs_f64() * 1e6;
            json!({
                "count": l.count(), "p50_us": us(l.p(50.0)), "p90_us": us(l.p(90.0)), "p99_us": us(l.p(99.0)),
                "p999_us": us(l.p(99.9)), "max_us": us(l.max()),
            })
        };
        let mut loads = serde_json::Map::new();
        for load in &findings.loads {
            let entry = json!({
                "appends": load.appends, "seconds": load.took_ns as f64 / 1e9, "late_over_1ms": load.late_over_1ms,
                "appending_thread_cpu_seconds": load.thread_cpu_ns as f64 / 1e9,
                "writer_cpu_seconds": load.process_cpu_ns as f64 / 1e9,
                "service": latency(&Latency::parse(&load.service)?), "late": latency(&Latency::parse(&load.late)?),
            });
            loads.insert(load.name.clone(), entry);
        }
        let flushes: serde_json::Map<String, Value> =
            findings.flushes.iter().map(|(name, times)| (name.clone(), latency(times))).collect();
        let cost = |cost: &Cost| {
            json!({
                "private_kib": cost.private, "page_tables_kib": cost.tables, "kernel_kib": cost.kernel,
                "available_kib": cost.available,
            })
        };
        Ok(json!({
            "readers": findings.readers, "failed": self.failures.len(), "records": self.records,
            "bytes": self.bytes, "missed": self.lapsed, "batches": self.wakes,
            "payload_size": findings.size,
            "unread_age": latency(&self.age), "worst_unread_age": latency(&self.worst),
            "wake": self.pings.iter().map(latency).collect::<Vec<_>>(),
            "follow_seconds": findings.follow_time.as_secs_f64(), "attach": latency(&findings.attach), "start_seconds": findings.start_time.as_secs_f64(),
            "readers_cpu_seconds": self.cpu.as_secs_f64(),
            "loads": loads, "flushes": flushes,
            "idle_process": cost(&findings.idle_process), "reader_process": cost(&findings.reader_process),
        }))
    }
}

fn notes(args: &Args) -> Vec<String> {
    let mut notes = vec![
        format!(
            "Appends were {}; payloads of {}; one record an append.",
            match args.sync {
                true => "durable".to_owned(),
                false => format!("committed, with a background flush every {}", units::duration(args.sync_interval)),
            },
            units::bytes(args.size)
        ),
        "At a rate, appends are due at fixed times and late ones do not move the next: what waits for a late append \
         counts as late too (no coordinated omission)."
            .into(),
        "CPU shares are of one processor. \"Kernel\" contains the page tables.".into(),
    ];
    if args.scheduling != Default::default() || args.reader_scheduling != Default::default() {
        notes.push(format!(
            "Scheduling: appending thread {}, readers {}.",
            args.scheduling, args.reader_scheduling
        ));
    }
    notes
}
