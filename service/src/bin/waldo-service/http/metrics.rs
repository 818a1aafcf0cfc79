//! `/metrics`, in Prometheus' text format. A test compares the table with `docs/OPERATIONS.md`.

#[cfg(test)]
mod tests;

use super::snapshot::RingSnapshot;
use crate::hosted::RingState;
use std::fmt::{self, Write};
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};
use waldo::client::wire::ErrorCode;
use waldo::reader::{RingStatus, WriterStatus};
use waldo_service::ServiceCounters;

/// The content type of version 0.0.4 of the format.
pub const CONTENT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A value.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    Whole(u64),
    Real(f64),
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Number::Whole(number) => number.fmt(f),
            Number::Real(number) => number.fmt(f),
        }
    }
}

/// Where a metric's values come from.
#[derive(Clone, Copy, Debug)]
enum Origin {
    /// One value for each ring, from its service.
    Service(fn(&ServiceCounters) -> u64),
    /// One value for each ring, from its status.
    Ring(fn(&RingStatus) -> Option<Number>),
    /// One of the writer's own counters.
    Writer(&'static str),
    /// The same in nanoseconds, shown in seconds.
    WriterNanoseconds(&'static str),
    /// Whether the ring is served.
    Up,
    /// What the ring is, in labels.
    Identity,
    /// One value for each kind of error that producers are sent.
    Errors,
    /// One value for each way on which frames come.
    Transports,
    /// One value for the process.
    Process(fn() -> Option<Number>),
    /// The program's version, in a label.
    Version,
}

/// A metric.
#[derive(Clone, Copy, Debug)]
struct Metric {
    name: &'static str,
    help: &'static str,
    origin: Origin,
}

impl Metric {
    /// By convention a counter's name ends so, and no other's does.
    fn kind(&self) -> &'static str {
        if self.name.ends_with("_total") { "counter" } else { "gauge" }
    }
}

const fn metric(name: &'static str, help: &'static str, origin: Origin) -> Metric {
    Metric { name, help, origin }
}

fn whole(number: Option<u64>) -> Option<Number> {
    number.map(Number::Whole)
}

/// All of them.
const METRICS: &[Metric] = &[
    metric("waldo_service_info", "The program's version, in a label.", Origin::Version),
    metric("waldo_ring_up", "1 while producers can append to the ring.", Origin::Up),
    metric("waldo_ring_info", "The ring's directory and identity, in labels.", Origin::Identity),
    metric(
        "waldo_ring_epoch",
        "Starts of the ring's writer.",
        Origin::Ring(|ring| whole(Some(ring.epoch.into()))),
    ),
    metric("waldo_ring_tip_seq_no", "Last committed record.", Origin::Ring(|ring| whole(ring.tip_seq_no))),
    metric("waldo_ring_oldest_seq_no", "Oldest record left.", Origin::Ring(|ring| whole(ring.oldest_seq_no))),
    metric("waldo_ring_pages", "Pages in the ring.", Origin::Ring(|ring| whole(Some(ring.pages)))),
    metric(
        "waldo_ring_pages_max",
        "Pages of a full ring.",
        Origin::Ring(|ring| whole(Some(ring.ring_size.into()))),
    ),
    metric(
        "waldo_ring_page_bytes",
        "Length of a new page file.",
        Origin::Ring(|ring| whole(Some(ring.page_len))),
    ),
    metric(
        "waldo_ring_durable_lag_bytes",
        "Committed bytes that a power cut would take.",
        Origin::Ring(|ring| whole(Some(ring.durable_lag_bytes()))),
    ),
    metric(
        "waldo_ring_index_entries",
        "Sparse-index entries.",
        Origin::Ring(|ring| whole(Some(ring.index_entries))),
    ),
    metric(
        "waldo_writer_live",
        "1 while the ring's writer runs and is heard of.",
        Origin::Ring(|ring| whole(Some((ring.writer == WriterStatus::Live).into()))),
    ),
    metric(
        "waldo_writer_heartbeat_age_seconds",
        "Time since the writer was last heard of.",
        Origin::Ring(|ring| ring.heartbeat_age.map(|age| Number::Real(age.as_secs_f64()))),
    ),
    metric("waldo_writer_records_total", "Records appended.", Origin::Writer("records")),
    metric("waldo_writer_payload_bytes_total", "Bytes of payload appended.", Origin::Writer("payload_bytes")),
    metric("waldo_writer_written_bytes_total", "Bytes written to pages.", Origin::Writer("written_bytes")),
    metric("waldo_writer_appends_total", "Groups of records committed together.", Origin::Writer("appends")),
    metric("waldo_writer_flushes_total", "Completed flushes.", Origin::Writer("flushes")),
    metric("waldo_writer_rotations_total", "Pages begun.", Origin::Writer("rotations")),
    metric(
        "waldo_writer_recycled_pages_total",
        "Pages begun that were recycled.",
        Origin::Writer("recycled_pages"),
    ),
    metric(
        "waldo_writer_fresh_pages_total",
        "Pages begun that were made anew.",
        Origin::Writer("fresh_pages"),
    ),
    metric("waldo_writer_trimmed_pages_total", "Pages dropped.", Origin::Writer("trimmed_pages")),
    metric(
        "waldo_writer_full_disk_trims_total",
        "Pages dropped before the ring had its size, because the disk was full.",
        Origin::Writer("full_disk_trims"),
    ),
    metric(
        "waldo_writer_expired_pages_total",
        "Pages dropped before the ring was full, because their records were too old.",
        Origin::Writer("expired_pages"),
    ),
    metric(
        "waldo_writer_rotation_stalls_total",
        "Rotations that waited for a page.",
        Origin::Writer("rotation_stalls"),
    ),
    metric(
        "waldo_writer_disk_waits_total",
        "Rotations that waited for a flush.",
        Origin::Writer("disk_waits"),
    ),
    metric("waldo_writer_wakes_total", "Times that sleeping readers were woken.", Origin::Writer("wakes")),
    metric(
        "waldo_writer_stuck_pages",
        "Dropped pages that a reader still maps.",
        Origin::Writer("stuck_pages"),
    ),
    metric("waldo_writer_disk_bytes", "Bytes of all page files.", Origin::Writer("disk_bytes")),
    metric("waldo_writer_uring_active", "1 if io_uring is in use.", Origin::Writer("uring_active")),
    metric(
        "waldo_writer_time_ahead_seconds",
        "How far record times are ahead of the clock.",
        Origin::WriterNanoseconds("time_ahead_ns"),
    ),
    metric("waldo_producers_connected", "Connections now.", Origin::Service(|service| service.connected)),
    metric(
        "waldo_producers_names",
        "Names of producers remembered.",
        Origin::Service(|service| service.names),
    ),
    metric(
        "waldo_producers_lanes",
        "Producers that have a lane now.",
        Origin::Service(|service| service.lanes),
    ),
    metric(
        "waldo_producers_connections_total",
        "Connections so far.",
        Origin::Service(|service| service.connections),
    ),
    metric("waldo_producers_batches_total", "Batches stored.", Origin::Service(|service| service.batches)),
    metric("waldo_producers_records_total", "Records stored.", Origin::Service(|service| service.records)),
    metric(
        "waldo_producers_payload_bytes_total",
        "Their payload bytes.",
        Origin::Service(|service| service.bytes),
    ),
    metric(
        "waldo_producers_frame_bytes_total",
        "Bytes of frames from producers, by transport.",
        Origin::Transports,
    ),
    metric(
        "waldo_producers_duplicates_total",
        "Records skipped because they were stored before.",
        Origin::Service(|service| service.duplicates),
    ),
    metric(
        "waldo_producers_cut_off_total",
        "Connections cut off: half a frame, or answers not taken.",
        Origin::Service(|service| service.cut_off),
    ),
    metric("waldo_producers_errors_total", "Errors sent to producers, by code.", Origin::Errors),
    metric(
        "waldo_log_dropped_total",
        "Lines and entries of the log that nobody took.",
        Origin::Process(|| whole(Some(crate::logging::dropped()))),
    ),
    metric(
        "process_start_time_seconds",
        "When the process started, since 1970.",
        Origin::Process(start_time),
    ),
    metric("process_cpu_seconds_total", "Processor time used.", Origin::Process(process::cpu_seconds)),
    metric(
        "process_resident_memory_bytes",
        "Resident memory, mapped pages included.",
        Origin::Process(process::memory),
    ),
    metric("process_open_fds", "Open descriptors.", Origin::Process(process::descriptors)),
    metric("process_max_fds", "Descriptors that may be open.", Origin::Process(process::descriptors_max)),
];

/// The page that Prometheus reads.
pub fn render(rings: &[RingSnapshot]) -> String {
    let mut out = String::with_capacity(16 << 10);
    for metric in METRICS {
        let mut samples = Samples { out: String::new(), name: metric.name };
        put(&mut samples, metric.origin, rings);
        // Nobody should wait for values of a metric that has none.
        if !samples.out.is_empty() {
            let (Metric { name, help, .. }, kind) = (metric, metric.kind());
            let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{}", samples.out);
        }
    }
    out
}

fn put(samples: &mut Samples, origin: Origin, rings: &[RingSnapshot]) {
    match origin {
        Origin::Process(value) => return samples.add(&[], value()),
        Origin::Version => {
            return samples.add(&[("version", env!("CARGO_PKG_VERSION"))], Some(Number::Whole(1)));
        }
        _ => {}
    }
    for ring in rings {
        let name = ("ring", ring.view.name.as_str());
        let status = ring.status.as_ref();
        match origin {
            Origin::Service(value) => samples.add(&[name], Some(Number::Whole(value(&ring.counters)))),
            Origin::Ring(value) => samples.add(&[name], status.and_then(value)),
            Origin::Writer(counter) => samples.add(&[name], whole(ring.writer_counter(counter))),
            Origin::WriterNanoseconds(counter) => {
                let seconds = ring.writer_counter(counter).map(|ns| Number::Real(ns as f64 / 1e9));
                samples.add(&[name], seconds);
            }
            Origin::Up => samples.add(&[name], whole(Some((ring.state == RingState::Serving).into()))),
            Origin::Identity => {
                let Some(status) = status else { continue };
                let home = ring.view.home.to_string_lossy();
                let id = waldo_terminal::units::hex(&status.ring_id);
                samples.add(&[name, ("home", &home), ("ring_id", &id)], Some(Number::Whole(1)));
            }
            Origin::Errors => {
                for code in ErrorCode::ALL {
                    let labels = [name, ("code", &format!("{code:?}"))];
                    samples.add(&labels, Some(Number::Whole(ring.counters.errors(code))));
                }
            }
            Origin::Transports => {
                let counters = &ring.counters;
                for (transport, bytes) in [("socket", counters.socket_bytes), ("lane", counters.lane_bytes)] {
                    samples.add(&[name, ("transport", transport)], Some(Number::Whole(bytes)));
                }
            }
            Origin::Process(_) | Origin::Version => {}
        }
    }
}

/// The lines of one metric.
struct Samples {
    out: String,
    name: &'static str,
}

impl Samples {
    fn add(&mut self, labels: &[(&str, &str)], value: Option<Number>) {
        let Some(value) = value else { return };
        self.out.push_str(self.name);
        for (index, (name, text)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.out, "{before}{name}=\"{text}\"");
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.out, "{after} {value}");
    }
}

/// When this was first looked at, which [`note_start`] does.
static START: LazyLock<SystemTime> = LazyLock::new(SystemTime::now);

/// To be called when the process starts.
pub fn note_start() {
    LazyLock::force(&START);
}

fn start_time() -> Option<Number> {
    START.duration_since(UNIX_EPOCH).ok().map(|time| Number::Real(time.as_secs_f64()))
}

mod process {
    //! What the system says of this process.

    use super::Number;
    use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
    use nix::sys::time::TimeValLike;

    pub fn cpu_seconds() -> Option<Number> {
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
        let time = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        Some(Number::Real(time as f64 / 1e6))
    }

    pub fn memory() -> Option<Number> {
        let text = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(Number::Whole(kib * 1024))
    }

    pub fn descriptors() -> Option<Number> {
        // One of them is that of the look itself.
        let count = std::fs::read_dir("/proc/self/fd").ok()?.count();
        Some(Number::Whole(count.saturating_sub(1) as u64))
    }

    pub fn descriptors_max() -> Option<Number> {
        getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| Number::Whole(soft))
    }
}
