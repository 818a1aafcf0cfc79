//! Carrying out what a survey found.

use super::Cut;
use super::survey::{Found, Survey};
use crate::disk::Disk;
use crate::error::OpenError;
use crate::page::Page;
use std::io;
use waldo_shm_protocol::limits::RECORD_HEADER_LEN;
use waldo_shm_protocol::record::{RecordFault, Seal, Stamp};
use waldo_shm_protocol::{Position, names};
use zerocopy::IntoBytes;

const CHUNK: usize = 1 << 20;

/// Makes the files say what the survey found, durably. The epoch has been raised before. Done again after a crash
/// in the middle, it comes to the same result.
pub(crate) fn mend(disk: &dyn Disk, survey: &mut Survey) -> Result<Option<Cut>, OpenError> {
    for name in &survey.leftovers {
        match disk.remove(name) {
            // The control segment's link has used the same scratch name since the survey, and put it in its place.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => outcome.map_err(OpenError::io("remove", disk.path(name)))?,
        }
    }
    let cut = cut_tail(disk, survey)?;
    for found in survey.pages.iter().filter(|found| found.reseal) {
        reseal(found, survey.durable)
            .map_err(OpenError::io("write", disk.path(&names::page(found.page.id))))?;
    }
    // After a flush that failed, the page cache may hold what the disk does not, and call it clean. What was not
    // provably durable is written again, so that the next flush means it.
    if !survey.clean {
        for found in survey.pages.iter().filter(|found| found.page.id >= survey.durable.page()) {
            let from = if found.page.id == survey.durable.page() { survey.durable.offset() } else { 0 };
            rewrite(&found.page, u64::from(from), found.summary.records_end)
                .map_err(OpenError::io("write again", disk.path(&names::page(found.page.id))))?;
        }
    }
    // The writer died before it wrote the footer, which spares the next opening the scan.
    for found in survey.pages.iter().filter(|found| needs_footer(found)) {
        found
            .page
            .write_footer(&found.summary, &found.index)
            .map_err(OpenError::io("write", disk.path(&names::page(found.page.id))))?;
    }
    let changed = |found: &&Found| found.page.id >= survey.durable.page() || needs_footer(found);
    for found in survey.pages.iter().filter(changed) {
        found
            .page
            .file
            .sync_data()
            .map_err(OpenError::io("flush", disk.path(&names::page(found.page.id))))?;
    }
    // A clean close made every name durable.
    if !survey.clean || !survey.leftovers.is_empty() {
        disk.sync_dir().map_err(OpenError::io("flush", disk.path("")))?;
    }
    for found in survey.pages.iter_mut() {
        found.sealed |= std::mem::take(&mut found.reseal);
    }
    survey.durable = survey.durable.max(survey.end());
    Ok(cut)
}

fn needs_footer(found: &Found) -> bool {
    found.reseal || (found.sealed && found.scanned)
}

/// Clears what stands behind the end of the log, as far as it could ever be taken for a record.
fn cut_tail(disk: &dyn Disk, survey: &Survey) -> Result<Option<Cut>, OpenError> {
    let (Some((fault, beyond)), Some(last)) = (survey.torn, survey.pages.last()) else { return Ok(None) };
    let offset = last.summary.records_end;
    let limit = last.page.header.fields().records_limit;
    let end = beyond.end.max((offset + RECORD_HEADER_LEN as u64).min(limit)).min(limit);
    let zeros = vec![0; CHUNK];
    let mut at = offset;
    while at < end {
        let piece = (end - at).min(CHUNK as u64) as usize;
        last.page
            .file
            .write_all_at(&zeros[..piece], at)
            .map_err(OpenError::io("write", disk.path(&names::page(last.page.id))))?;
        at += piece as u64;
    }
    // Nothing of the log was there: blank, or bytes from before this page was made.
    let nothing_lost = beyond.end == 0
        && survey.pages_removed == 0
        && matches!(
            fault,
            RecordFault::Blank
                | RecordFault::NoRoom { .. }
                | RecordFault::Length { .. }
                | RecordFault::Flags { .. }
                | RecordFault::Sequence { .. }
                | RecordFault::Checksum { .. }
        );
    let cut = Cut {
        page: last.page.id,
        offset,
        after_seq_no: survey.tip().unwrap_or(0),
        fault: fault.to_string(),
        zeroed: end - offset,
        pages_removed: survey.pages_removed,
    };
    Ok((!nothing_lost).then_some(cut))
}

fn reseal(found: &Found, durable: Position) -> io::Result<()> {
    let summary = &found.summary;
    let stamp = Stamp { time_ns: summary.last_time_ns, durable, epoch: summary.epoch };
    let seal = Seal::encode(
        found.page.seed,
        summary.records_end as u32,
        summary.last_seq_no,
        summary.records,
        stamp,
    );
    found.page.file.write_all_at(seal.as_bytes(), summary.records_end)
}

/// Writes the bytes of `from..to` as they are, so that they count as changed.
fn rewrite(page: &Page, from: u64, to: u64) -> io::Result<()> {
    let mut bytes = vec![0; CHUNK];
    let mut at = from;
    while at < to {
        let want = (to - at).min(CHUNK as u64) as usize;
        let len = page.file.read_up_to(&mut bytes[..want], at)?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        page.file.write_all_at(&bytes[..len], at)?;
        at += len as u64;
    }
    Ok(())
}
