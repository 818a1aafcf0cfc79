//! Carrying out the decisions of a survey.

use super::Cut;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::page::Page;
use std::io;
use waldo_shm_protocol::Position;
use waldo_shm_protocol::limits::{PAGE_FOOTER_LEN, RECORD_HEADER_LEN};
use waldo_shm_protocol::names;
use waldo_shm_protocol::page::PageFooter;
use waldo_shm_protocol::record::{RecordFault, Seal, Stamp};
use waldo_shm_protocol::recovery::{FoundPage, Survey};
use zerocopy::IntoBytes;

const CHUNK: usize = 1 << 20;

/// Makes the files agree with the survey, durably. The epoch has been raised before. Repeating this after a
/// crash in the middle gives the same result.
pub(crate) fn mend(disk: &dyn Disk, survey: &mut Survey) -> Result<Option<Cut>, OpenError> {
    let removed = remove_left_overs(disk, survey)?;
    let cut = cut_tail(disk, survey)?;
    let durable = survey.durable;
    let mut changed = removed || !survey.clean;
    for found in survey.pages.iter_mut() {
        changed |= mend_page(disk, found, durable, survey.clean)?;
    }
    // The last writer may have named it without a flush of its header, and this one promises that all headers
    // are flushed.
    if let Some(ready) = survey.ready {
        let path = disk.path(&names::page(ready.id));
        Page::open(disk, ready.header)
            .and_then(|page| page.file.sync_data())
            .map_err(OpenError::io("flush", path))?;
    }
    // A clean close made every name durable.
    if changed {
        disk.sync_dir().map_err(OpenError::io("flush", disk.path("")))?;
    }
    survey.durable = survey.durable.max(survey.end());
    Ok(cut)
}

/// Removes files that are no part of the log. Returns whether there were any.
fn remove_left_overs(disk: &dyn Disk, survey: &Survey) -> Result<bool, OpenError> {
    let list = disk.list().map_err(OpenError::io("list", disk.path("")))?;
    let scratch = list.into_iter().filter(|name| name.starts_with(names::SCRATCH_PREFIX));
    let mut removed = false;
    for name in scratch.chain(survey.removals().map(|page| names::page(page.id))) {
        removed = true;
        match disk.remove(&name) {
            // The control segment's link has used the same scratch name meanwhile, and put it in its place.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            outcome => outcome.map_err(OpenError::io("remove", disk.path(&name)))?,
        }
    }
    Ok(removed)
}

/// Mends one page and makes it durable if anything in it may not be. Returns whether that was so.
fn mend_page(
    disk: &dyn Disk,
    found: &mut FoundPage,
    durable: Position,
    clean: bool,
) -> Result<bool, OpenError> {
    let path = || disk.path(&names::page(found.id));
    let needs_footer = found.reseal || (found.sealed && found.walked);
    // After a flush that failed, the page cache may hold what the disk does not, and call it clean. What was
    // not provably durable is written again, so that the next flush means it.
    let doubtful = !clean && found.id >= durable.page();
    if !needs_footer && !doubtful {
        return Ok(false);
    }
    let page = Page::open(disk, found.header).map_err(OpenError::io("open", path()))?;
    if found.reseal {
        reseal(&page, found, durable).map_err(OpenError::io("write", path()))?;
    }
    if doubtful {
        let from = if found.id == durable.page() { u64::from(durable.offset()) } else { 0 };
        // The seal too: the flush that covered it may be the one that failed.
        let seal = if found.sealed || found.reseal { RECORD_HEADER_LEN as u64 } else { 0 };
        rewrite(&page, from, found.summary.records_end + seal)
            .map_err(OpenError::io("write again", path()))?;
    }
    // The writer died before it wrote the footer, which spares the next opening the walk.
    if needs_footer {
        page.write_footer(&found.summary, &found.index).map_err(OpenError::io("write", path()))?;
    }
    page.file.sync_data().map_err(OpenError::io("flush", path()))?;
    found.sealed |= std::mem::take(&mut found.reseal);
    Ok(true)
}

/// Clears what stands behind the end of the log, as far as it could ever be taken for a record.
fn cut_tail(disk: &dyn Disk, survey: &Survey) -> Result<Option<Cut>, OpenError> {
    let pages_removed = survey.pages_lost();
    let end = survey.end();
    let cut = |fault: String, zeroed| Cut {
        page: end.page(),
        offset: end.offset().into(),
        after_seq_no: survey.tip().unwrap_or(0),
        fault,
        zeroed,
        pages_removed,
    };
    // A ring that was closed is as its writer left it.
    let torn = survey.torn.filter(|torn| !survey.clean || torn.beyond.records > 0);
    let (Some(torn), Some(last)) = (torn, survey.pages.last()) else {
        let lost = || cut("pages that do not belong to the log any more".into(), 0);
        return Ok((pages_removed > 0).then(lost));
    };
    let offset = last.summary.records_end;
    let limit = last.header.fields().records_limit;
    let end = torn.beyond.end.max((offset + RECORD_HEADER_LEN as u64).min(limit)).min(limit);
    let path = || disk.path(&names::page(last.id));
    let page = Page::open(disk, last.header).map_err(OpenError::io("open", path()))?;
    let zeros = vec![0; CHUNK.min((end - offset) as usize)];
    let mut at = offset;
    while at < end {
        let piece = (end - at).min(CHUNK as u64) as usize;
        page.file.write_all_at(&zeros[..piece], at).map_err(OpenError::io("write", path()))?;
        at += piece as u64;
    }
    clear_footer(&page).map_err(OpenError::io("write", path()))?;
    page.file.sync_data().map_err(OpenError::io("flush", path()))?;
    // Nothing of the log was there: blank, or bytes from before this page was made.
    let nothing_lost = torn.beyond.records == 0
        && pages_removed == 0
        && matches!(
            torn.fault,
            RecordFault::Blank
                | RecordFault::NoRoom { .. }
                | RecordFault::Length { .. }
                | RecordFault::Flags { .. }
                | RecordFault::Sequence { .. }
                | RecordFault::Checksum { .. }
        );
    Ok((!nothing_lost).then(|| cut(torn.fault.to_string(), end - offset)))
}

/// Takes the footer away from a page that the log goes on in. It may speak for records that are cut now, and
/// the next one is flushed by nobody: a power cut could bring this one back under a page that holds others.
fn clear_footer(page: &Page) -> io::Result<()> {
    let at = page.header.geometry().footer_offset();
    let mut bytes = [0; PAGE_FOOTER_LEN];
    page.file.read_up_to(&mut bytes, at)?;
    match PageFooter::check(&bytes, &page.header) {
        Ok(_) => page.file.write_all_at(&[0; PAGE_FOOTER_LEN], at),
        // What is no good footer is believed by nobody.
        Err(_) => Ok(()),
    }
}

fn reseal(page: &Page, found: &FoundPage, durable: Position) -> io::Result<()> {
    let summary = &found.summary;
    let stamp = Stamp { time_ns: summary.last_time_ns, durable, epoch: summary.epoch };
    let seal = Seal::encode(page.seed, summary.end(), stamp);
    page.file.write_all_at(seal.as_bytes(), summary.records_end)
}

/// Writes the bytes of `from..to` as they are, so that they count as changed.
fn rewrite(page: &Page, from: u64, to: u64) -> io::Result<()> {
    let mut bytes = vec![0; CHUNK.min(to.saturating_sub(from) as usize)];
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
