//! Rings to measure with.

use super::scratch::Area;
use super::setting::Plan;
use super::watch::Watch;
use anyhow::Context;
use std::fs::File;
use std::path::{Path, PathBuf};
use waldo::protocol::{Log, limits, names};
use waldo::writer::{ControlPlace, Durability, Writer, WriterOptions};

/// Committed when it returns, and no more than that: what the embedded API does with `file_o_dsync: false`.
pub const COMMITTED: Durability = Durability::PageCache;

/// How the plan's ring is opened.
pub fn options(plan: &Plan, area: &Area, durability: Durability) -> WriterOptions {
    WriterOptions::default()
        .ring_size(plan.ring_size)
        .page_len(plan.page_len)
        .index_capacity(plan.index_capacity)
        .durability(durability)
        .io(plan.io)
        .control(ControlPlace::Path(area.control()))
        .remove_control(true)
}

/// The plan's ring, open for writing.
pub fn open(plan: &Plan, area: &Area, durability: Durability) -> anyhow::Result<Writer> {
    Writer::open(area.home(), options(plan, area, durability)).context("cannot make a ring to measure with")
}

/// Bytes that a record takes in a page.
pub fn size(payload_len: usize) -> usize {
    limits::align_record(limits::RECORD_HEADER_LEN + payload_len)
}

/// `count` records with the same payload, to follow `tip`; their hash is computed once.
pub fn logs(tip: Option<u64>, payload: &[u8], count: usize) -> Vec<Log<'_>> {
    let log = Log::new_borrowed(1, 0, payload);
    (tip.unwrap_or(0)..).take(count).map(|prev| log.renumbered(prev + 1, prev)).collect()
}

/// Appends records of `payload_len` bytes until they take about `bytes` bytes, at least one. A process that
/// nobody watches gives no `watch`.
pub fn fill(
    writer: &mut Writer,
    watch: Option<&Watch>,
    payload_len: usize,
    bytes: u64,
) -> anyhow::Result<()> {
    let payload = vec![0x5a; payload_len];
    let batch_len = (256 << 10).min(bytes as usize / 4) / size(payload_len);
    let batch = vec![&payload[..]; batch_len.max(1)];
    let batch_bytes = (batch.len() * size(payload_len)) as u64;
    for _ in 0..(bytes / batch_bytes).max(1) {
        writer.append_payloads(&batch)?;
        watch.map_or(Ok(()), Watch::check)?;
    }
    Ok(())
}

/// The pages in `home`, the oldest first.
pub fn page_paths(home: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut pages = Vec::new();
    for entry in std::fs::read_dir(home).with_context(|| format!("cannot list {}", home.display()))? {
        let entry = entry?;
        pages.extend(entry.file_name().to_str().and_then(names::parse_page).map(|id| (id, entry.path())));
    }
    pages.sort();
    Ok(pages.into_iter().map(|(_, path)| path).collect())
}

/// The same, open for reading.
pub fn page_files(home: &Path) -> anyhow::Result<Vec<File>> {
    page_paths(home)?.into_iter().map(|path| Ok(File::open(path)?)).collect()
}

/// One of the writer's counters.
pub fn counter(ring: &waldo::reader::Ring, name: &str) -> anyhow::Result<u64> {
    let status = ring.status()?;
    Ok(status.counters.iter().find(|(key, _)| *key == name).map_or(0, |(_, value)| *value))
}
