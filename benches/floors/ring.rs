//! Rings to measure with.

use crate::args::Plan;
use crate::scratch::Area;
use std::fs::File;
use std::path::Path;
use std::time::Duration;
use waldo::protocol::{Log, limits, names, payload_hash};
use waldo::writer::{ControlPlace, Durability, Io, Writer, WriterOptions};

/// Committed when it returns, durable a little later: what the embedded API does with `file_o_dsync: false`.
pub const INTERVAL: Durability = Durability::Interval(Duration::from_millis(200));

pub fn options(plan: &Plan, area: &Area, durability: Durability, io: Io) -> WriterOptions {
    WriterOptions {
        ring_size: plan.ring_size,
        page_len: plan.page_len,
        durability,
        io,
        control: ControlPlace::Path(area.control()),
        remove_control: true,
        ..WriterOptions::default()
    }
}

/// Bytes that a record takes in a page.
pub fn size(payload_len: usize) -> usize {
    limits::align_record(limits::RECORD_HEADER_LEN + payload_len)
}

/// `count` records with the same payload, to follow `tip`; their hash is computed once.
pub fn logs(tip: Option<u64>, payload: &[u8], count: usize) -> Vec<Log<'_>> {
    let (tip, hash) = (tip.unwrap_or(0), payload_hash(payload));
    (tip..).take(count).map(|prev| Log::with_hash(prev + 1, prev, payload, hash)).collect()
}

/// Appends records of `payload_len` bytes until they take `bytes` bytes.
pub fn fill(writer: &mut Writer, payload_len: usize, bytes: u64) -> anyhow::Result<()> {
    let payload = vec![0x5a; payload_len];
    let batch = vec![&payload[..]; (1 << 20) / size(payload_len)];
    let batch_bytes = (batch.len() * size(payload_len)) as u64;
    for _ in 0..bytes / batch_bytes {
        writer.append_payloads(&batch)?;
    }
    Ok(())
}

/// The page files in `home`, the oldest first.
pub fn page_files(home: &Path) -> anyhow::Result<Vec<File>> {
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(home)? {
        let entry = entry?;
        if let Some(id) = entry.file_name().to_str().and_then(names::parse_page) {
            pages.push((id, File::open(entry.path())?));
        }
    }
    pages.sort_unstable_by_key(|(id, _)| *id);
    Ok(pages.into_iter().map(|(_, file)| file).collect())
}
