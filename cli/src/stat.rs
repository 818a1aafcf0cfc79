//! `waldo stat`: a ring at a glance.

use crate::output::Output;
use crate::tail::escape::harmless_lines;
use serde_json::{Map, Value, json};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;
use waldo::reader::{ControlKind, Ring, RingStatus, WriterStatus};
use waldo_shm_protocol::Position;
use waldo_terminal::failure::Outcome;
use waldo_terminal::interrupt::Interrupt;
use waldo_terminal::units;

/// Show how a ring and its writer are.
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
    /// Show it again and again until Ctrl-C.
    #[arg(short, long)]
    watch: bool,
    /// Seconds between two looks of --watch.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = parse_interval)]
    interval: f64,
}

/// Seconds between two looks.
///
/// # Errors
/// If that is no number of seconds, or makes no sense.
pub fn parse_interval(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?;
    if (0.01..=86400.0).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("the interval must be between 0.01 and 86400 seconds".to_owned())
    }
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::install()?;
    let ring = Ring::attach(&args.home)?;
    let mut out = Output::stdout(&interrupt)?;
    let mut before: Option<RingStatus> = None;
    loop {
        let status = ring.status()?;
        let mut text = match args.json {
            true => format!("{}\n", to_json(&status)),
            false => {
                let interval = Duration::from_secs_f64(args.interval);
                harmless_lines(&to_text(&status, before.as_ref(), interval))
            }
        };
        if args.watch && !args.json {
            text = again(text, before.is_none());
        }
        out.print(&text)?;
        if !args.watch {
            return Ok(Outcome::Done);
        }
        before = Some(status);
        if let Some(signal) = interrupt.sleep(Duration::from_secs_f64(args.interval))? {
            return Ok(Outcome::Interrupted(signal));
        }
    }
}

/// What is shown at one look of several: in the same place on a terminal, below the last one elsewhere.
pub fn again(text: String, is_first: bool) -> String {
    match (std::io::stdout().is_terminal(), is_first) {
        // Home, the text, and clear what an earlier and longer one left behind.
        (true, _) => format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n")),
        (false, true) => text,
        (false, false) => format!("\n{text}"),
    }
}

fn counter(status: &RingStatus, name: &str) -> u64 {
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

fn to_text(status: &RingStatus, before: Option<&RingStatus>, interval: Duration) -> String {
    let seq = |n: Option<u64>| n.map_or_else(|| "none".to_owned(), |n| n.to_string());
    let lag = status.durable_lag_bytes();
    let control = match &status.control {
        ControlKind::Posix(name) => format!("shared memory {name}"),
        ControlKind::Path(path) => path.display().to_string(),
        _ => "none, read from the files".to_owned(),
    };
    let count = |name: &str| units::count(counter(status, name));
    let mut rows = vec![
        ("ring", format!("{} ({})", status.home.display(), units::hex(&status.ring_id))),
        ("writer", describe_writer(status)),
        ("epoch", status.epoch.to_string()),
        ("control", control),
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
    ];
    if !status.counters.is_empty() {
        rows.extend([
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
        ]);
        let waits = counter(status, "disk_waits");
        if waits > 0 {
            rows.push((
                "waited",
                format!("{} rotations, for a disk that does not keep up", units::count(waits)),
            ));
        }
        let ahead = Duration::from_nanos(counter(status, "time_ahead_ns"));
        if ahead >= Duration::from_secs(1) {
            // Whole seconds: nobody sets a clock more exactly by hand.
            let ahead = humantime::format_duration(Duration::from_secs(ahead.as_secs()));
            let told =
                format!("records bear times {ahead} ahead of the clock; a search by time finds too many");
            rows.push(("clock", told));
        }
    }
    if let Some(before) = before {
        let grown = |name| counter(status, name).saturating_sub(counter(before, name));
        let rate = format!(
            "{} records/s, {}/s",
            units::count(units::per_second(grown("records"), interval)),
            units::bytes(units::per_second(grown("payload_bytes"), interval))
        );
        rows.push(("now", rate));
    }
    rows.iter().map(|(name, value)| format!("{name:<14} {value}\n")).collect()
}

fn to_json(status: &RingStatus) -> Value {
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
