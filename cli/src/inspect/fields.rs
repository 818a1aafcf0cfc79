//! Printing a structure from its table: the layouts are data, so any of them is decoded by the same few
//! lines.

use std::fmt::Write;
use waldo_shm_protocol::Position;
use waldo_shm_protocol::layout::{Field, Table};
use waldo_terminal::units;

/// Prints the fields of `table` as `bytes` hold them, which may be fewer than the structure has.
pub fn show(table: &Table, bytes: &[u8], out: &mut String) {
    let _ = writeln!(out, "  {} ({} bytes)", table.title, table.size);
    for field in table.fields {
        let value = match bytes.get(field.offset..field.offset + field.size) {
            Some(bytes) if field.name == "reserved" && bytes.iter().all(|b| *b == 0) => continue,
            Some(bytes) => render(field, bytes),
            None => "(beyond the end of the file)".to_owned(),
        };
        let _ = writeln!(out, "    {:<22} {value}", field.name);
    }
}

fn render(field: &Field, bytes: &[u8]) -> String {
    if field.name == "magic" {
        return format!("\"{}\"", bytes.escape_ascii());
    }
    let number = match *bytes {
        [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => return units::hex(bytes),
    };
    match field.name {
        "checksum" | "payload_hash" | "index_checksum" => format!("{number:#010x}"),
        "incompatible" | "compatible" | "length" | "instance" => format!("{number} ({number:#x})"),
        "position" | "durable" | "clean_end" if bytes.len() == 8 => match Position::from_word(number) {
            position if position.is_none() => "none".to_owned(),
            position => position.to_string(),
        },
        name if name.ends_with("time_ns") || name == "created_ns" => {
            format!("{number} ({})", units::timestamp(number))
        }
        "state" => {
            let state =
                u32::try_from(number).ok().and_then(waldo_shm_protocol::segment::WriterState::from_word);
            state.map_or_else(|| format!("{number} (no such state)"), |s| format!("{number} ({s:?})"))
        }
        "heartbeat_interval_ns" => {
            format!("{number} ({})", units::duration(std::time::Duration::from_nanos(number)))
        }
        _ if number == u64::MAX => format!("{number} (not known)"),
        _ => number.to_string(),
    }
}
