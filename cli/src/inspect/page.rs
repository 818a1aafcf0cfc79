//! Decoding a page file: header, records, footer, index.

use super::fields;
use crate::plain_file;
use std::fmt::Write;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use waldo_shm_protocol::limits::{PAGE_FOOTER_LEN, PAGE_HEADER_LEN, RECORD_HEADER_LEN};
use waldo_shm_protocol::page::{PageFault, PageFooter, PageHeader, RawPageFooter, RawPageHeader};
use waldo_shm_protocol::scan::{PageScan, PayloadCheck, Step, WINDOW_MIN};
use waldo_shm_protocol::{RawRecord, RecordFault};
use waldo_terminal::units;

/// Bytes of a payload that are shown.
const PREVIEW: usize = 60;

/// The most important things about a page, for a list of pages.
pub fn one_line(path: &Path, id: u64) -> String {
    let look = || -> Result<String, String> {
        let file = plain_file::open(path).map_err(|e| e.to_string())?;
        let len = file.metadata().map_err(|e| e.to_string())?.len();
        let header =
            PageHeader::check_any(&bytes_at(&file, 0, 128), len).map_err(|fault| fault.to_string())?;
        let found = header.fields().page_id;
        if found != id {
            return Err(PageFault::WrongPage { found, expected: id }.to_string());
        }
        Ok(match footer(&file, &header) {
            Ok(footer) => {
                let s = footer.summary();
                format!(
                    "{} records, seq {} to {}, {}",
                    units::count(s.records),
                    s.first_seq_no,
                    s.last_seq_no,
                    units::bytes(s.records_end)
                )
            }
            Err(PageFault::Magic) => "no footer: being written, or made ready for later".to_owned(),
            Err(fault) => format!("! footer: {fault}"),
        })
    };
    look().unwrap_or_else(|fault| format!("! {fault}"))
}

/// Prints the page: header, footer, index and the first `records` records.
pub fn show(path: &Path, file: &File, len: u64, records: u64, out: &mut String) -> anyhow::Result<()> {
    let head = bytes_at(file, 0, RawPageHeader::TABLE.size);
    let checked = PageHeader::check_any(&head, len);
    fields::show(&RawPageHeader::TABLE, &head, out);
    let name = path.file_name().and_then(|n| n.to_str()).and_then(waldo_shm_protocol::names::parse_page);
    match &checked {
        Ok(header) if name.is_some_and(|id| id != header.fields().page_id) => {
            let _ = writeln!(out, "  ! the file's name says page {}", name.unwrap_or_default());
        }
        Ok(_) => out.push_str("  header good\n"),
        Err(fault) => {
            let _ = writeln!(out, "  ! header: {fault}");
        }
    }
    let tail = bytes_at(file, len.saturating_sub(PAGE_FOOTER_LEN as u64), PAGE_FOOTER_LEN);
    fields::show(&RawPageFooter::TABLE, &tail, out);
    match checked {
        Ok(header) => {
            show_footer(file, &header, out);
            show_checked_records(file, &header, records, out);
        }
        Err(_) => show_raw_records(file, len, records, out),
    }
    Ok(())
}

fn footer(file: &File, header: &PageHeader) -> Result<PageFooter, PageFault> {
    PageFooter::check(&bytes_at(file, header.geometry().footer_offset(), PAGE_FOOTER_LEN), header)
}

fn show_footer(file: &File, header: &PageHeader, out: &mut String) {
    let footer = match footer(file, header) {
        Ok(footer) => footer,
        Err(PageFault::Magic) => {
            out.push_str("  no footer of this page: it is being written, or made ready for later\n");
            return;
        }
        Err(fault) => {
            let _ = writeln!(out, "  ! footer: {fault}");
            return;
        }
    };
    out.push_str("  footer good\n");
    let (offset, len) = footer.index_range(&header.geometry());
    let _ = match footer.check_index(&bytes_at(file, offset, len)) {
        Ok(entries) => {
            let ends = entries.first().zip(entries.last()).map(|(first, last)| (first.seq_no, last.seq_no));
            let (first, last) = ends.unwrap_or_default();
            writeln!(out, "  index good: {} entries, from seq {first} to {last}", entries.len())
        }
        Err(fault) => writeln!(out, "  ! index: {fault}"),
    };
}

/// Walks the records with every check there is.
fn show_checked_records(file: &File, header: &PageHeader, records: u64, out: &mut String) {
    let mut scan = PageScan::new(header, None, 0, PayloadCheck::Verify);
    let limit = header.fields().records_limit;
    let (mut start, mut window) = (scan.offset(), Vec::new());
    let mut left = records;
    while left > 0 {
        match scan.step(&window, start) {
            Step::Record { offset, record } => {
                let skip = (offset - start) as usize + RECORD_HEADER_LEN;
                let payload = window.get(skip..skip + record.payload_len()).unwrap_or_default();
                let _ = writeln!(
                    out,
                    "  @{offset:<10} seq {} prev {} epoch {} {} durable {}, {} bytes: {}",
                    record.seq_no(),
                    record.prev_seq_no(),
                    record.epoch(),
                    units::timestamp(record.time_ns()),
                    record.durable(),
                    record.payload_len(),
                    preview(payload)
                );
                left -= 1;
            }
            Step::Seal { offset, seal } => {
                let _ = writeln!(
                    out,
                    "  @{offset:<10} seal: {} records, last seq {}",
                    seal.records(),
                    seal.last_seq_no()
                );
                return;
            }
            Step::More { offset } if offset == start && !window.is_empty() => {
                let _ = writeln!(out, "  @{offset:<10} ! the file ends in the middle of a record");
                return;
            }
            Step::More { offset } => {
                let len = (limit - offset.min(limit)).min(2 * WINDOW_MIN as u64) as usize;
                (start, window) = (offset, bytes_at(file, offset, len));
                if window.is_empty() {
                    let _ = writeln!(out, "  @{offset:<10} ! the file ends here");
                    return;
                }
            }
            Step::Fault { offset, fault: RecordFault::Blank } => {
                let _ = writeln!(out, "  @{offset:<10} nothing written from here on");
                return;
            }
            Step::Fault { offset, fault } => {
                let _ = writeln!(
                    out,
                    "  @{offset:<10} ! {fault}\n             (damage, or the end of a page that has been used before)"
                );
                fields::show(&RawRecord::TABLE, &bytes_at(file, offset, RECORD_HEADER_LEN), out);
                return;
            }
        }
    }
}

/// Without a good header nothing can be checked; shows what lengths and numbers there are.
fn show_raw_records(file: &File, len: u64, records: u64, out: &mut String) {
    out.push_str("  records, unchecked because the header is not good:\n");
    let mut offset = PAGE_HEADER_LEN as u64;
    for _ in 0..records {
        let head = bytes_at(file, offset, RECORD_HEADER_LEN);
        let Some(raw) = RawRecord::read(&head) else { return };
        match raw.check(len.saturating_sub(offset)) {
            Ok(waldo_shm_protocol::record::Frame::Record(record)) => {
                let payload =
                    bytes_at(file, offset + RECORD_HEADER_LEN as u64, record.payload_len().min(PREVIEW + 1));
                let _ = writeln!(
                    out,
                    "  @{offset:<10} seq {} prev {} epoch {}, {} bytes: {}",
                    record.seq_no(),
                    record.prev_seq_no(),
                    record.epoch(),
                    record.payload_len(),
                    preview(&payload)
                );
                offset += record.size() as u64;
            }
            Ok(_) => {
                let _ = writeln!(out, "  @{offset:<10} seal");
                return;
            }
            Err(fault) => {
                let _ = writeln!(out, "  @{offset:<10} ! {fault}");
                return;
            }
        }
    }
}

fn preview(payload: &[u8]) -> String {
    let shown = &payload[..payload.len().min(PREVIEW)];
    let more = if payload.len() > PREVIEW { "..." } else { "" };
    format!("\"{}\"{more}", shown.escape_ascii())
}

/// As many of the `len` bytes at `offset` as the file has.
fn bytes_at(file: &File, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut filled = 0;
    while filled < len {
        match file.read_at(&mut bytes[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // What cannot be read is reported as missing by whoever looks at the bytes.
            Err(_) => break,
        }
    }
    bytes.truncate(filled);
    bytes
}
