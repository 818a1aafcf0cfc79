//! `waldo ls`: the rings of this machine.

use crate::machine::{Search, disk_bytes, homes, newest_time, state};
use crate::output::{Output, or_closed};
use anyhow::Context;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use waldo::reader::{Ring, RingStatus};
use waldo::writer::segments::{self, SegmentEntry};
use waldo_terminal::escape::{escape_json, harmless};
use waldo_terminal::failure::Outcome;
use waldo_terminal::interrupt::Interrupt;
use waldo_terminal::{notice, units};

/// List the rings of this machine, and their state.
///
/// Shows every ring that has a control segment in /dev/shm: those with a writer, and those whose writer was
/// killed. A ring that was closed in good order has no segment; it is found if it is in or below one of the
/// given directories. Segments whose ring is gone are listed as well: `waldo gc` removes them.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  waldo ls                                          rings with a writer
  waldo ls /var/lib /srv                            and every other ring in and below these
  waldo ls --json | jq -r 'select(.state == \"stalled\") | .home'

States: live, recovering (the writer is opening it), closed (in good order), failed (the writer stopped after an error),
stalled (the writer has not been heard of: killed or stopped), absent (no writer), gone (a segment without its ring),
unreadable (the last column says why).

Exit codes: 0 listed, whatever the states; 1 a directory, or /dev/shm, cannot be read (the others are listed);
2 wrong usage.")]
pub struct Args {
    /// Where to look for rings, besides /dev/shm.
    dirs: Vec<PathBuf>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: Args) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::install()?;
    let segments = segments::list().context("cannot read /dev/shm")?;
    let Search { homes, unread } = homes(&segments, &args.dirs);
    let rows: Vec<Row> =
        homes.into_iter().map(Row::of_ring).chain(segments.iter().filter_map(Row::of_segment)).collect();
    let text = if args.json { rows.iter().map(Row::to_json).collect() } else { to_table(&rows) };
    for error in &unread {
        notice!("waldo: {error}");
    }
    // Whether anybody reads the list or not, the answer is in the exit code too.
    or_closed(Output::stdout(&interrupt)?.print(&text))?;
    Ok(if unread.is_empty() { Outcome::Done } else { Outcome::Bad })
}

/// One line of the list.
struct Row {
    state: &'static str,
    home: Option<PathBuf>,
    status: Option<RingStatus>,
    newest_ns: Option<u64>,
    /// The name of a segment that has no ring, or cannot be read.
    segment: Option<String>,
    bytes: u64,
    note: Option<String>,
}

impl Row {
    fn of_ring(home: PathBuf) -> Row {
        let look = || -> anyhow::Result<_> {
            let ring = Ring::attach(&home)?;
            let status = ring.status()?;
            // A newest record that is damaged is for `waldo verify` to tell.
            let newest_ns = newest_time(&ring, &status).ok().flatten();
            Ok((status, newest_ns))
        };
        let bytes = disk_bytes(&home);
        match look() {
            Ok((status, newest_ns)) => Row {
                state: state(&status),
                home: Some(home),
                status: Some(status),
                newest_ns,
                segment: None,
                bytes,
                note: None,
            },
            Err(error) => Row {
                state: "unreadable",
                home: Some(home),
                status: None,
                newest_ns: None,
                segment: None,
                bytes,
                note: Some(error.to_string()),
            },
        }
    }

    fn of_segment(segment: &SegmentEntry) -> Option<Row> {
        let (state, home, note) = match &segment.content {
            Some(content) if content.is_gone => ("gone", Some(content.home.clone()), None),
            Some(_) => return None,
            None => {
                let note = format!("it belongs to user {}, or is no control segment", segment.owner);
                ("unreadable", None, Some(note))
            }
        };
        let name = Some(segment.name.clone());
        Some(Row { state, home, status: None, newest_ns: None, segment: name, bytes: segment.bytes, note })
    }

    fn to_json(&self) -> String {
        let status = self.status.as_ref();
        let value = json!({
            "state": self.state,
            // A path may hold any bytes, JSON text may not.
            "home": self.home.as_ref().map(|home| home.to_string_lossy()),
            "ring_id": status.map(|status| units::hex(&status.ring_id)),
            "pid": status.map(|status| status.writer_pid).filter(|pid| *pid > 0),
            "oldest_seq_no": status.and_then(|status| status.oldest_seq_no),
            "tip_seq_no": status.and_then(|status| status.tip_seq_no),
            "tip_time": self.newest_ns.map(units::timestamp),
            "bytes": self.bytes,
            "segment": self.segment,
            "note": self.note,
        });
        // Another user may have given a segment any name, and any place to point at.
        escape_json(&format!("{}\n", without_nulls(value)))
    }

    fn cells(&self) -> [String; 6] {
        let status = self.status.as_ref();
        let pid = status.map(|status| status.writer_pid).filter(|pid| *pid > 0);
        let records = match status.map(|status| (status.oldest_seq_no, status.tip_seq_no)) {
            Some((Some(oldest), Some(tip))) => format!("{oldest} to {tip}"),
            Some((None, Some(tip))) => format!("to {tip}"),
            Some((_, None)) => "none".to_owned(),
            None => String::new(),
        };
        let mut place = match (&self.home, &self.segment) {
            (Some(home), Some(segment)) => format!("/dev/shm/{segment} (of {})", home.display()),
            (Some(home), None) => home.display().to_string(),
            (None, segment) => format!("/dev/shm/{}", segment.as_deref().unwrap_or_default()),
        };
        if let Some(note) = &self.note {
            place = format!("{place}: {}", note.replace(&format!("{place}: "), ""));
        }
        [
            self.state.to_owned(),
            pid.map(|pid| pid.to_string()).unwrap_or_default(),
            records,
            self.newest_ns.map(ago).unwrap_or_default(),
            units::bytes(self.bytes),
            harmless(&place),
        ]
    }
}

fn to_table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "no rings with a control segment; name directories to look into, as in `waldo ls /var/lib`\n"
            .to_owned();
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["STATE", "PID", "RECORDS", "NEWEST", "SIZE", "RING"]);
    table.add_rows(rows.iter().map(Row::cells));
    for (n, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if matches!(n, 1 | 4) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

fn ago(time_ns: u64) -> String {
    let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + Duration::from_nanos(time_ns));
    format!("{} ago", units::duration(age.unwrap_or_default()))
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        other => other,
    }
}
