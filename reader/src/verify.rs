//! Checking a ring byte by byte, from its files alone.
//!
//! Every header, record, payload, seal, footer and index entry is checked, and that they are consistent with
//! each other. The first damage ends the check and is reported with its place. The survey that a writer makes
//! when it opens the ring decides where the log ends, and whether bad bytes there are the result of a crash,
//! or damage.

mod page;
mod report;

use crate::error::AttachError;
use crate::pages::{self, Opened};
use crate::source::files::survey::{survey, torn_seal};
use crate::source::link::{live_end, read_meta};
use page::{End, PageWalk};
pub use report::{Damage, Progress, VerifyError, VerifyReport};
use std::io;
use std::path::{Path, PathBuf};
use waldo_shm_protocol::limits::RECORD_HEADER_LEN;
use waldo_shm_protocol::meta::Meta;
use waldo_shm_protocol::record::RecordFault;
use waldo_shm_protocol::recovery::{self, CheckedPage, LogCheck, Stop, Survey};
use waldo_shm_protocol::{Position, names};

/// Checks the ring in `home`. `on_progress` is called every few megabytes.
///
/// If a writer is running, the check ends where the log ended when the check began.
///
/// # Errors
/// [`VerifyError::Damaged`] for the first damage, other errors if the check cannot be made.
pub fn verify(
    home: impl AsRef<Path>,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<VerifyReport, VerifyError> {
    let home = std::path::absolute(home.as_ref()).map_err(|e| AttachError::io(home.as_ref(), e))?;
    let meta = read_meta(&home)?;
    let live = live_end(&home, &meta.ring_id)?;
    let plan = match live {
        Some(live) => Plan { ids: list(&home, live)?, ends: Ends::Live(live) },
        None => match survey(&home, &meta).map_err(|error| read_error(&home, error))? {
            Ok(survey) => Plan {
                ids: survey.pages.iter().map(|page| page.id).collect(),
                ends: Ends::Survey(Box::new(survey)),
            },
            Err(damage) => {
                // Something else may be wrong before it, in what a writer need not read.
                let mut ids = pages::list(&home).map_err(|e| AttachError::io(&home, e))?;
                ids.retain(|id| *id < damage.page);
                Plan { ids, ends: Ends::Damage(damage) }
            }
        },
    };
    let bytes_total = plan.ids.iter().map(|id| file_len(&home.join(names::page(*id)))).sum();
    let mut check = Check {
        home,
        ends: plan.ends,
        progress: Progress { page: 0, bytes_done: 0, bytes_total },
        log: LogCheck::default(),
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
    for id in plan.ids {
        if !check.page(id, on_progress)? {
            break;
        }
    }
    check.finish(&meta)
}

/// What is to be checked.
struct Plan {
    ids: Vec<u64>,
    ends: Ends,
}

/// Where the log ends.
enum Ends {
    /// Where the running writer had got to.
    Live(Position),
    /// Where the survey says.
    Survey(Box<Survey>),
    /// In damage, which the survey has found.
    Damage(recovery::Damage),
}

/// The check's state between pages.
struct Check {
    home: PathBuf,
    ends: Ends,
    progress: Progress,
    log: LogCheck,
    report: VerifyReport,
}

impl Check {
    fn path(&self, id: u64) -> PathBuf {
        self.home.join(names::page(id))
    }

    fn damaged(&self, page: u64, offset: u64, seq_no: Option<u64>, damage: Damage) -> VerifyError {
        VerifyError::Damaged { path: self.path(page), page, offset, seq_no, damage }
    }

    fn found(&self, damage: &recovery::Damage) -> VerifyError {
        let seq_no = (damage.after_seq_no > 0).then_some(damage.after_seq_no);
        self.damaged(damage.page, damage.offset, seq_no, damage.kind.into())
    }

    /// Whether page `id` is gone because the writer has trimmed it. The writer trims the oldest page first,
    /// so the page before it is gone as well; if that is there, a page is missing in the middle.
    fn trimmed_meanwhile(&self, id: u64) -> bool {
        !self.path(id).exists() && !self.path(id.saturating_sub(1)).exists()
    }

    /// Checks one page; `false` if the log ends in it.
    fn page(&mut self, id: u64, on_progress: &mut dyn FnMut(Progress)) -> Result<bool, VerifyError> {
        let path = self.path(id);
        let ring_id = self.report.ring_id;
        let (file, header) = match pages::open(&path, &ring_id, id) {
            Ok(Opened::Page(page)) => page,
            Ok(Opened::Gone(_)) if matches!(self.ends, Ends::Live(_)) && self.trimmed_meanwhile(id) => {
                self.report.notes.push(format!("page {id} was trimmed during the check"));
                // It may have overtaken the check in the middle of the ring.
                self.log.skip();
                return Ok(true);
            }
            // The survey has judged every header.
            _ if matches!(self.ends, Ends::Damage(_)) => return Ok(true),
            Ok(Opened::Gone(error)) | Err(error) => return Err(self.open_error(id, error)),
        };
        self.report.pages += 1;
        let end = match self.ends {
            Ends::Live(live) if live.page() == id => Some(u64::from(live.offset())),
            _ => None,
        };
        let mut walk = PageWalk::new(&file, &path, &header, self.log.expected(), end)?;
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
        }
        self.report.records += summary.records;
        self.report.payload_bytes += walk.payload_bytes;
        if let Some(position) = Position::new(id, walk.offset()) {
            self.report.end = position;
        }
        let fault = match outcome {
            End::Live => return Ok(false),
            End::Seal => {
                let behind = walk.offset() + RECORD_HEADER_LEN as u64;
                self.report.end = Position::new(id, behind).unwrap_or(self.report.end);
                None
            }
            End::Fault(fault) => Some(fault),
        };
        let mut log = self.log;
        let checked = log.page(&walk.walked(fault), |offset| self.stop(id, offset, &walk));
        self.log = log;
        match checked.map_err(|damage| self.found(&damage))? {
            CheckedPage::Whole => {}
            CheckedPage::NoFooter => {
                self.report.notes.push(format!("page {id} is sealed and has no good footer yet"));
            }
            CheckedPage::TornSeal => self.report.notes.push(format!(
                "page {id}, offset {}: the seal was torn by a crash; the writer writes it again when it starts",
                walk.offset()
            )),
            CheckedPage::End => {
                self.report.notes.extend(fault.and_then(|fault| self.torn_tail(id, walk.offset(), fault)));
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn open_error(&self, id: u64, error: crate::ReadError) -> VerifyError {
        match error {
            crate::ReadError::Page { fault, .. } => {
                self.damaged(id, 0, self.log.expected().0, Damage::Header(fault))
            }
            crate::ReadError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                self.damaged(id, 0, self.log.expected().0, Damage::Missing)
            }
            crate::ReadError::Io { path, source } => VerifyError::Io { path, source },
            other => VerifyError::Io { path: self.path(id), source: io::Error::other(other) },
        }
    }

    /// What the place is where the walk has stopped before a seal.
    fn stop(&self, id: u64, offset: u64, walk: &PageWalk<'_>) -> Stop {
        let live = matches!(self.ends, Ends::Live(_));
        if !live && torn_seal(&self.home, &self.report.ring_id, id, offset).is_some() {
            return Stop::TornSeal;
        }
        let ends = match &self.ends {
            Ends::Live(_) => false,
            Ends::Survey(survey) => Position::new(id, offset) == Some(survey.end()),
            // Where there is no footer to believe, the survey has read the page: what it has found is the
            // damage.
            Ends::Damage(_) => walk.said_end().is_none_or(|end| end <= offset),
        };
        if ends { Stop::End } else { Stop::Damage }
    }

    /// What is worth telling of the place where a log ends that nobody closed.
    fn torn_tail(&self, id: u64, offset: u64, fault: RecordFault) -> Option<String> {
        let Ends::Survey(survey) = &self.ends else { return None };
        // In a page that is used again, old bytes stand behind the end: they never pass for a header of this
        // page.
        let torn = matches!(fault, RecordFault::Payload { .. } | RecordFault::Chain { .. });
        let beyond = survey.torn.map_or(0, |torn| torn.beyond.records);
        (torn || beyond > 0).then(|| {
            format!(
                "page {id}, offset {offset}: {fault}; an append was interrupted here ({beyond} records beyond it were \
                 never durable), the writer cuts them off when it starts"
            )
        })
    }

    fn finish(mut self, meta: &Meta) -> Result<VerifyReport, VerifyError> {
        let end = self.report.end;
        match &self.ends {
            Ends::Live(live) => {
                self.report.notes.push(format!("a writer is running: checked up to {live}"));
            }
            Ends::Damage(damage) => {
                return Err(self.found(damage));
            }
            Ends::Survey(survey) => {
                if let Some(ready) = survey.ready {
                    self.report.notes.push(format!("page {} is made ready and holds nothing yet", ready.id));
                }
                for left in &survey.left_overs {
                    let lost = if left.holds_records { "; records in it were never durable" } else { "" };
                    self.report.notes.push(format!(
                        "page {} is left over from a crash, or was made ready; the writer removes it when it starts{lost}",
                        left.id
                    ));
                }
                if !meta.clean_end.is_none() && meta.clean_end < end {
                    self.report.notes.push(format!(
                        "the ring was closed at {}, but there are records up to {end}",
                        meta.clean_end
                    ));
                }
            }
        }
        Ok(self.report)
    }
}

/// The pages to check beside a writer that had got to `live`, in order, none missing between the first and
/// the last.
fn list(home: &Path, live: Position) -> Result<Vec<u64>, VerifyError> {
    let mut tries = 0;
    loop {
        let mut ids = pages::list(home).map_err(|e| AttachError::io(home, e))?;
        ids.retain(|id| *id <= live.page());
        let Some(gap) = ids.windows(2).find(|pair| pair[0] + 1 != pair[1]) else { return Ok(ids) };
        tries += 1;
        // A listing made while pages were trimmed may show an older one and not a newer one.
        if tries > 8 {
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

fn read_error(home: &Path, error: crate::ReadError) -> VerifyError {
    match error {
        crate::ReadError::Io { path, source } => VerifyError::Io { path, source },
        other => VerifyError::Io { path: home.to_path_buf(), source: io::Error::other(other) },
    }
}

fn file_len(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |stat| stat.len())
}
