//! Readers as a table, and as JSON.

use super::readers::{ReaderRow, RingReaders};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;
use waldo_terminal::escape::{escape_json, harmless};
use waldo_terminal::units;

/// What the columns of the table are called.
pub const HEADER: [&str; 8] = ["READER", "STATE", "POSITION", "BEHIND", "WAITING", "REPORTED", "PID", "USER"];

/// A table of all; with the ring if there are several.
pub fn to_table(found: &[RingReaders]) -> String {
    let several = found.len() > 1;
    if found.iter().all(|ring| ring.rows.is_empty()) {
        return "no reader of this says where it is: `waldo tail --name NAME` does, and --checkpoint FILE shows a \
                checkpoint\n"
            .to_owned();
    }
    let mut table = Table::new();
    let ring = several.then_some("RING");
    table.load_style(presets::NOTHING).set_header(HEADER.into_iter().chain(ring));
    for ring in found {
        let home = several.then(|| harmless(&ring.home.display().to_string()));
        table.add_rows(ring.rows.iter().map(|row| cells(row).into_iter().chain(home.clone())));
    }
    for (n, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if matches!(n, 2..=6) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// What the table has of a reader.
pub fn cells(row: &ReaderRow) -> [String; 8] {
    let or_nothing = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        harmless(&row.name),
        row.state().to_owned(),
        or_nothing((row.position > 0).then(|| row.position.to_string())),
        or_nothing(row.standing.behind.map(units::count)),
        or_nothing(row.standing.waiting.map(units::duration)),
        or_nothing(row.age().map(|age| format!("{} ago", units::duration(age)))),
        or_nothing(row.process.map(|process| process.pid.to_string())),
        or_nothing(row.process.map(|process| process.user.to_string())),
    ]
}

/// An object a line.
pub fn to_json(found: &[RingReaders]) -> String {
    let lines = found.iter().flat_map(|ring| {
        ring.rows.iter().map(|row| {
            let value = json!({
                "ring": ring.home.to_string_lossy(),
                "reader": row.name,
                "kind": if row.process.is_some() { "reader" } else { "checkpoint" },
                "state": row.state(),
                "process": row.process.map(|process| process.word()),
                "pid": row.process.map(|process| process.pid),
                "user": row.process.map(|process| process.user),
                "position": (row.position > 0).then_some(row.position),
                "tip": ring.tip,
                "behind": row.standing.behind,
                "waiting_ms": row.standing.waiting.map(|time| time.as_secs_f64() * 1e3),
                "age_ms": row.age().map(|age| age.as_secs_f64() * 1e3),
            });
            // A name is somebody else's text.
            escape_json(&format!("{value}\n"))
        })
    });
    lines.collect()
}
