//! `waldo stat`: the state of a ring and its writer.

pub mod readers;

use crate::output::Output;
use crate::repeat::Repeat;
use readers::ReadingRights;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::time::Duration;
use waldo::reader::{ControlKind, Ring, RingStatus, WriterStatus};
use waldo_shm_protocol::Position;
use waldo_terminal::escape::{escape_json, harmless_lines};
use waldo_terminal::failure::Outcome;
use waldo_terminal::interrupt::Interrupt;
use waldo_terminal::units;

/// Show the state of a ring and its writer.
///
/// Counters are those of the running writer, since it started.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waldo stat /var/tmp/ring
  waldo stat /var/tmp/ring --watch
  waldo stat /var/tmp/ring --json | jq .counters.records")]
pub struct Args {
    /// Directory of the ring.
    home: PathBuf,
    /// One JSON object (with --watch: one a line).
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    repeat: Repeat,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::install()?;
    let ring = Ring::attach(&args.home)?;
    let mut out = Output::stdout(&interrupt)?;
    let mut before: Option<RingStatus> = None;
    loop {
        let status = ring.status()?;
        let readers = ReadingRights::of(&status.home);
        let text = match args.json {
            true => escape_json(&format!("{}\n", to_json(&status, readers.as_ref()))),
            false => {
                let text = harmless_lines(&to_text(
                    &status,
                    readers.as_ref(),
                    before.as_ref(),
                    args.repeat.interval(),
                ));
                args.repeat.frame(text, before.is_none())
            }
        };
        out.print(&text)?;
        if !args.repeat.watch {
            return Ok(Outcome::Done);
        }
        before = Some(status);
        if let Some(signal) = interrupt.sleep(args.repeat.interval())? {
            return Ok(Outcome::Interrupted(signal));
        }
    }
}

/// What the running writer has counted under this name; 0 if nothing, or if there is no control segment.
pub fn counter(status: &RingStatus, name: &str) -> u64 {
    status.counters.iter().find(|(n, _)| *n == name).map_or(0, |(_, value)| *value)
}

fn describe_writer(status: &RingStatus) -> String {
    let state = match &status.writer {
        WriterStatus::Closed => return "has closed the ring in good order".to_owned(),
        WriterStatus::Absent => return "none".to_owned(),
        WriterStatus::Stalled { .. } => "silent, perhaps dead".to_owned(),
        other => other.to_string(),
    };
    let age = status.heartbeat_age.map(|age| format!(", heard of {} ago", units::duration(age)));
    format!("{state} (pid {}){}", status.writer_pid, age.unwrap_or_default())
}

fn to_text(
    status: &RingStatus,
    readers: Option<&ReadingRights>,
    before: Option<&RingStatus>,
    interval: Duration,
) -> String {
    let mut rows = rows(status, readers);
    if let Some(before) = before {
        let grown = |name| counter(status, name).saturating_sub(counter(before, name));
        rows.push(("now", rate(grown("records"), grown("payload_bytes"), interval)));
    }
    rows.iter().map(|(name, value)| to_line(name, value)).collect()
}

/// A row as a line.
pub fn to_line(name: &str, value: &str) -> String {
    format!("{name:<14} {value}\n")
}

/// So many records and bytes of payload in `interval`, a second.
pub fn rate(records: u64, bytes: u64, interval: Duration) -> String {
    format!(
        "{} records/s, {}/s",
        units::count(units::per_second(records, interval)),
        units::bytes(units::per_second(bytes, interval))
    )
}

/// What there is to say of a ring, each with its name. Not escaped.
pub fn rows(status: &RingStatus, readers: Option<&ReadingRights>) -> Vec<(&'static str, String)> {
    let seq = |n: Option<u64>| n.map_or_else(|| "none".to_owned(), |n| n.to_string());
    let lag = status.durable_lag_bytes();
    let control = match &status.control {
        ControlKind::Posix(name) => format!("shared memory {name}"),
        ControlKind::Path(path) => path.display().to_string(),
        _ => "none, read from the files".to_owned(),
    };
    let mut rows = vec![
        ("ring", format!("{} ({})", status.home.display(), units::hex(&status.ring_id))),
        ("writer", describe_writer(status)),
        ("epoch", status.epoch.to_string()),
        ("control", control),
    ];
    // Empty names for what goes on with the line before.
    let names = std::iter::once("readers").chain(std::iter::repeat(""));
    rows.extend(names.zip(readers.into_iter().flat_map(ReadingRights::lines)));
    rows.extend([
        ("newest record", seq(status.tip_seq_no)),
        ("oldest record", seq(status.oldest_seq_no)),
        (
            "pages",
            format!(
                "{} of {}, {} to {}, {} each",
                status.pages,
                status.ring_size,
                status.oldest_page,
                status.tip_page,
                units::bytes(status.page_len)
            ),
        ),
        ("committed", status.committed.to_string()),
        ("durable", format!("{} ({} behind)", status.durable, units::bytes(lag))),
        ("index entries", units::count(status.index_entries)),
    ]);
    if !status.counters.is_empty() {
        rows.extend(counter_rows(status));
    }
    rows
}

/// What the writer has counted.
fn counter_rows(status: &RingStatus) -> Vec<(&'static str, String)> {
    let count = |name: &str| units::count(counter(status, name));
    let mut rows = vec![
        (
            "appended",
            format!("{} records, {}", count("records"), units::bytes(counter(status, "payload_bytes"))),
        ),
        ("flushes", count("flushes")),
        (
            "rotations",
            format!(
                "{} ({} recycled, {} fresh, {} had to wait)",
                count("rotations"),
                count("recycled_pages"),
                count("fresh_pages"),
                count("rotation_stalls")
            ),
        ),
        ("stuck pages", count("stuck_pages")),
        ("on disk", units::bytes(counter(status, "disk_bytes"))),
    ];
    let waits = counter(status, "disk_waits");
    if waits > 0 {
        rows.push(("waited", format!("{} rotations, for a disk that does not keep up", units::count(waits))));
    }
    let early = counter(status, "full_disk_trims");
    if early > 0 {
        rows.push((
            "disk full",
            format!("{} pages were dropped early for want of room", units::count(early)),
        ));
    }
    let expired = counter(status, "expired_pages");
    if expired > 0 {
        rows.push(("expired", format!("{} pages were dropped for their age", units::count(expired))));
    }
    let ahead = Duration::from_nanos(counter(status, "time_ahead_ns"));
    if ahead >= Duration::from_secs(1) {
        // Whole seconds: nobody sets a clock more exactly by hand.
        let ahead = humantime::format_duration(Duration::from_secs(ahead.as_secs()));
        let told = format!("records bear times {ahead} ahead of the clock; a search by time finds too many");
        rows.push(("clock", told));
    }
    rows
}

fn to_json(status: &RingStatus, readers: Option<&ReadingRights>) -> Value {
    let position = |p: Position| json!({ "page": p.page(), "offset": p.offset() });
    let (state, errno) = match &status.writer {
        WriterStatus::Live => ("live", None),
        WriterStatus::Recovering => ("recovering", None),
        WriterStatus::Closed => ("closed", None),
        WriterStatus::Failed { errno } => ("failed", Some(*errno)),
        WriterStatus::Stalled { .. } => ("stalled", None),
        WriterStatus::Restarted { .. } => ("restarted", None),
        WriterStatus::Absent => ("absent", None),
        _ => ("unknown", None),
    };
    let control = match &status.control {
        ControlKind::Posix(name) => json!({ "kind": "posix", "name": name }),
        ControlKind::Path(path) => json!({ "kind": "path", "path": path.to_string_lossy() }),
        _ => json!({ "kind": "files" }),
    };
    let counters: Map<String, Value> =
        status.counters.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    json!({
        // A path may hold any bytes, JSON text may not.
        "home": status.home.to_string_lossy(),
        "ring_id": units::hex(&status.ring_id),
        "ring_size": status.ring_size,
        "page_len": status.page_len,
        "epoch": status.epoch,
        "writer": {
            "state": state,
            "errno": errno,
            "pid": status.writer_pid,
            "heartbeat_age_ms": status.heartbeat_age.map(|age| age.as_secs_f64() * 1e3),
        },
        "control": control,
        "readers": readers.map(ReadingRights::to_json),
        "committed": position(status.committed),
        "durable": position(status.durable),
        "durable_lag_bytes": status.durable_lag_bytes(),
        "tip_seq_no": status.tip_seq_no,
        "oldest_seq_no": status.oldest_seq_no,
        "after_seq_no": status.after_seq_no,
        "oldest_page": status.oldest_page,
        "tip_page": status.tip_page,
        "pages": status.pages,
        "index_entries": status.index_entries,
        "counters": counters,
    })
}
