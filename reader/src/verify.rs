//! Checking a ring byte by byte, from its files alone.
//!
//! Every header, record, payload, seal, footer and index entry is checked, and how they hang together. The first
//! damage ends the check and is reported with its place. A bad record at the very end of the log is no damage by
//! itself: an append that a crash interrupted leaves one. It is damage if something that is still intact says that
//! the bytes there had been durable.

mod page;
mod report;

use crate::error::AttachError;
use crate::link::{live_end, read_meta};
use crate::pages::{self, Opened};
use page::{End, PageWalk, records_beyond};
pub use report::{Damage, Progress, VerifyError, VerifyReport};
use std::io;
use std::path::{Path, PathBuf};
use waldo_shm_protocol::limits::{PAGE_HEADER_LEN, PAGE_ID_MAX, RECORD_HEADER_LEN};
use waldo_shm_protocol::meta::Meta;
use waldo_shm_protocol::page::{PageFault, RECORDS_UNKNOWN};
use waldo_shm_protocol::record::RecordFault;
use waldo_shm_protocol::{Position, names};

/// Checks the ring in `home`. `on_progress` is called every few megabytes.
///
/// Under a running writer the check ends where the log ended when it began.
///
/// # Errors
/// [`VerifyError::Damaged`] for the first damage, others if the check cannot be made.
pub fn verify(
    home: impl AsRef<Path>,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<VerifyReport, VerifyError> {
    let home = std::path::absolute(home.as_ref()).map_err(|e| AttachError::io(home.as_ref(), e))?;
    let meta = read_meta(&home)?;
    let live = live_end(&home, &meta.ring_id)?;
    let ids = list(&home, live)?;
    let bytes_total = ids.iter().map(|id| file_len(&home.join(names::page(*id)))).sum();
    let mut check = Check {
        home,
        live,
        last_id: ids.last().copied().unwrap_or(0),
        progress: Progress { page: 0, bytes_done: 0, bytes_total },
        prev: None,
        epoch: 0,
        records_before: None,
        durable: meta.durable.max(meta.clean_end),
        report: VerifyReport {
            ring_id: meta.ring_id,
            pages: 0,
            records: 0,
            payload_bytes: 0,
            first_seq_no: None,
            last_seq_no: None,
            end: Position::NONE,
            notes: Vec::new(),
        },
    };
    for id in ids {
        if !check.page(id, on_progress)? {
            break;
        }
    }
    check.finish(&meta)
}

/// The check's state between pages.
struct Check {
    home: PathBuf,
    /// Where the log ends, if a writer is running.
    live: Option<Position>,
    last_id: u64,
    progress: Progress,
    prev: Option<u64>,
    epoch: u32,
    records_before: Option<u64>,
    /// Everything below this is known to have been durable.
    durable: Position,
    report: VerifyReport,
}

impl Check {
    fn path(&self, id: u64) -> PathBuf {
        self.home.join(names::page(id))
    }

    fn damaged(&self, page: u64, offset: u64, damage: Damage) -> VerifyError {
        VerifyError::Damaged { path: self.path(page), page, offset, seq_no: self.prev, damage }
    }

    /// Checks one page; `false` if the log ends in it.
    fn page(&mut self, id: u64, on_progress: &mut dyn FnMut(Progress)) -> Result<bool, VerifyError> {
        let path = self.path(id);
        let ring_id = self.report.ring_id;
        let (file, header) = match pages::open(&path, &ring_id, id) {
            Ok(Opened::Page(page)) => page,
            Ok(Opened::Gone(_)) if self.live.is_some() && self.report.pages == 0 && !path.exists() => {
                self.report.notes.push(format!("page {id} was trimmed during the check"));
                return Ok(true);
            }
            Ok(Opened::Gone(error)) | Err(error) => return Err(self.open_error(id, error)),
        };
        self.report.pages += 1;
        let end = self.live.filter(|live| live.page() == id).map(|live| u64::from(live.offset()));
        let mut walk = PageWalk::new(&file, &path, &header, (self.prev, self.epoch), end);
        let base = self.progress.bytes_done;
        let outcome = walk.run(|offset| {
            self.progress.page = id;
            self.progress.bytes_done = base.saturating_add(offset);
            on_progress(self.progress);
        })?;
        self.progress.bytes_done = base.saturating_add(header.fields().page_len);
        on_progress(self.progress);
        let summary = *walk.summary();
        if summary.records > 0 {
            self.report.first_seq_no.get_or_insert(summary.first_seq_no);
            self.report.last_seq_no = Some(summary.last_seq_no);
            self.prev = Some(summary.last_seq_no);
        }
        self.epoch = summary.epoch;
        self.report.records += summary.records;
        self.report.payload_bytes += walk.payload_bytes;
        self.durable = self.durable.max(walk.durable);
        if let Some(position) = Position::new(id, walk.offset()) {
            self.report.end = position;
        }
        match outcome {
            End::Live => Ok(false),
            End::Seal(seal) => {
                let counted = [
                    ("the number of records", seal.records(), summary.records),
                    ("the last record", seal.last_seq_no(), summary.last_seq_no),
                ];
                for (what, stored, found) in counted {
                    if stored != found {
                        return Err(self.damaged(id, walk.offset(), Damage::Seal { what, stored, found }));
                    }
                }
                self.durable = self.durable.max(seal.durable());
                let behind = walk.offset() + RECORD_HEADER_LEN as u64;
                self.report.end = Position::new(id, behind).unwrap_or(self.report.end);
                self.footer(id, &walk)?;
                Ok(true)
            }
            End::Fault(fault) => {
                self.decide(id, &walk, fault)?;
                Ok(false)
            }
        }
    }

    fn open_error(&self, id: u64, error: crate::ReadError) -> VerifyError {
        match error {
            crate::ReadError::Page { fault, .. } => self.damaged(id, 0, Damage::Header(fault)),
            crate::ReadError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                self.damaged(id, 0, Damage::Missing)
            }
            crate::ReadError::Io { path, source } => VerifyError::Io { path, source },
            other => VerifyError::Io { path: self.path(id), source: io::Error::other(other) },
        }
    }

    /// Is the bad record at the end of `walk` the end of the log?
    fn decide(&mut self, id: u64, walk: &PageWalk<'_>, fault: RecordFault) -> Result<(), VerifyError> {
        let offset = walk.offset();
        // The page after the one the log ends in may have been made ready; one that holds records may not.
        let ahead = self.last_id.saturating_sub(id);
        let ready = ahead == 1 && !self.begun(id + 1)?;
        if self.live.is_some_and(|live| live.page() > id) || (ahead > 0 && !ready) {
            return Err(self.damaged(id, offset, Damage::Record(fault)));
        }
        let beyond = records_beyond(walk, offset)?;
        self.durable = self.durable.max(beyond.durable);
        if Position::new(id, offset).is_none_or(|here| self.durable > here) {
            let durable = self.durable;
            return Err(self.damaged(id, offset, Damage::Lost { fault, durable }));
        }
        if ready {
            self.report.notes.push(format!("page {} is made ready and holds nothing yet", id + 1));
        }
        // In a page that is used again, old bytes stand behind the end: they never pass for a header of this page.
        let torn = matches!(fault, RecordFault::Payload { .. } | RecordFault::Chain { .. });
        if torn || beyond.records > 0 {
            self.report.notes.push(format!(
                "page {id}, offset {offset}: {fault}; an append was interrupted here ({} records beyond it were \
                 never durable), the writer cuts them off when it starts",
                beyond.records
            ));
        }
        Ok(())
    }

    /// Whether page `id` holds a good first record.
    fn begun(&self, id: u64) -> Result<bool, VerifyError> {
        let path = self.path(id);
        let (file, header) = match pages::open(&path, &self.report.ring_id, id) {
            Ok(Opened::Page(page)) => page,
            Ok(Opened::Gone(_)) => return Ok(false),
            Err(error) => return Err(self.open_error(id, error)),
        };
        let mut walk = PageWalk::new(&file, &path, &header, (None, 0), None);
        walk.first()
    }

    /// Does the page's footer describe it?
    fn footer(&mut self, id: u64, walk: &PageWalk<'_>) -> Result<(), VerifyError> {
        let at = walk.footer_offset();
        let footer = match walk.footer() {
            Ok(footer) => footer,
            // It is written after the seal, so a crash right then leaves a page without.
            Err(PageFault::Magic) if id + 2 >= self.last_id => {
                self.report.notes.push(format!("page {id} is sealed and has no footer yet"));
                self.records_before = None;
                return Ok(());
            }
            Err(fault) => return Err(self.damaged(id, at, Damage::Footer(fault))),
        };
        let (said, found) = (footer.summary(), walk.summary());
        let mut compared = vec![
            ("the first record", said.first_seq_no, found.first_seq_no),
            ("the record before the first", said.prev_seq_no, found.prev_seq_no),
            ("the last record", said.last_seq_no, found.last_seq_no),
            ("the number of records", said.records, found.records),
            ("the end of records", said.records_end, found.records_end),
            ("the first append time", said.first_time_ns, found.first_time_ns),
            ("the last append time", said.last_time_ns, found.last_time_ns),
            ("the epoch", said.epoch.into(), found.epoch.into()),
        ];
        if said.records_before != RECORDS_UNKNOWN
            && let Some(before) = self.records_before
        {
            compared.push(("the number of records before the page", said.records_before, before));
        }
        for (what, stored, found) in compared {
            if stored != found {
                return Err(self.damaged(id, at, Damage::FooterMismatch { what, stored, found }));
            }
        }
        let known = (said.records_before != RECORDS_UNKNOWN).then_some(said.records_before);
        self.records_before = known.or(self.records_before).and_then(|n| n.checked_add(said.records));
        walk.check_index(&footer).map_err(|(offset, damage)| self.damaged(id, offset, damage))
    }

    fn finish(mut self, meta: &Meta) -> Result<VerifyReport, VerifyError> {
        let end = self.report.end;
        if self.live.is_none() && self.durable > end {
            // A whole page is missing at the end, or the sealed last one was to be followed by another.
            let page = self.durable.page();
            if page > self.last_id || u64::from(self.durable.offset()) > PAGE_HEADER_LEN as u64 {
                return Err(self.damaged(page, 0, Damage::Missing));
            }
        }
        if !meta.clean_end.is_none() && self.live.is_none() && meta.clean_end < end {
            self.report.notes.push(format!(
                "the ring was closed at {}, but there are records up to {end}",
                meta.clean_end
            ));
        }
        if let Some(live) = self.live {
            self.report.notes.push(format!("a writer is running: checked up to {live}"));
        }
        Ok(self.report)
    }
}

/// The pages to check, in order, none missing between the first and the last.
fn list(home: &Path, live: Option<Position>) -> Result<Vec<u64>, VerifyError> {
    let mut tries = 0;
    loop {
        let mut ids = pages::list(home).map_err(|e| AttachError::io(home, e))?;
        let newest = live.map_or(PAGE_ID_MAX, |live| live.page());
        ids.retain(|id| *id <= newest);
        let Some(gap) = ids.windows(2).find(|pair| pair[0] + 1 != pair[1]) else { return Ok(ids) };
        tries += 1;
        // A listing made while pages were trimmed may show an older one and not a newer one.
        if live.is_none() || tries > 8 {
            let page = gap[0] + 1;
            let path = home.join(names::page(page));
            return Err(VerifyError::Damaged {
                path,
                page,
                offset: 0,
                seq_no: None,
                damage: Damage::Missing,
            });
        }
    }
}

fn file_len(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |stat| stat.len())
}
