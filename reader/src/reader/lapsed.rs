//! Being overtaken by the ring, and moving to where a search has led.

use super::{NEVER, NO_EPOCH, Reader, Stepped};
use crate::error::ReadError;
use crate::lapse::Lapse;
use crate::options::OnLapped;
use crate::place::{Place, Want};
use crate::seek::Found;
use std::sync::Arc;
use waldo_shm_protocol::Position;

impl Reader {
    /// The reader's page has been trimmed before it was opened.
    #[cold]
    pub(super) fn lapsed(&mut self) -> Result<Stepped, ReadError> {
        let requested = self.last_seq_no().unwrap_or(0);
        match self.options.on_lapped {
            OnLapped::Fail => {
                // A trial search: it maps the oldest page, so the numbers belong together.
                let found = self.resolve(Want::Trim)?;
                Err(ReadError::Lapped { requested, oldest: found.next.unwrap_or(0), lost: self.lost(&found) })
            }
            OnLapped::Oldest => {
                let found = self.resolve(Want::Trim)?;
                let lost = self.lost(&found);
                self.resume_lapsed(found, requested, lost)
            }
            OnLapped::Tip => self.go_lapsed(requested, None).map(|()| Stepped::Again),
        }
    }

    /// Goes to where a reader goes that was told what to do when it is overtaken.
    pub(crate) fn go_lapsed(&mut self, requested: u64, lost: Option<u64>) -> Result<(), ReadError> {
        let tip = self.options.on_lapped == OnLapped::Tip;
        let found = self.resolve(if tip { Want::Tip } else { Want::Trim })?;
        self.resume_lapsed(found, requested, lost.filter(|_| !tip))?;
        Ok(())
    }

    fn resume_lapsed(
        &mut self,
        found: Found,
        requested: u64,
        lost: Option<u64>,
    ) -> Result<Stepped, ReadError> {
        let resumed_after = found.last.map(|last| last.seq_no);
        self.take(found);
        self.lapses.note(Lapse { requested, resumed_after, lost });
        Ok(Stepped::Again)
    }

    /// Records between the reader's place, at the start of a page, and the start of the page in `found`.
    fn lost(&self, found: &Found) -> Option<u64> {
        let Place::At(here) = self.place else { return None };
        let Place::At(there) = found.place else { return None };
        if here != Position::start_of(here.page()) || there != Position::start_of(there.page()) {
            return None;
        }
        self.records_before(there.page())?.checked_sub(self.before_page?)
    }

    /// Moves to where a search has led.
    pub(crate) fn take(&mut self, found: Found) {
        self.behind = (0, 0);
        self.tail.leave();
        self.tail.touched();
        self.place = found.place;
        self.last = found.last;
        self.skip = found.skip;
        self.drained = NEVER;
        self.ahead = false;
        let same_writer = self.epoch == found.epoch;
        // While a writer is still mending the files, the place has to be looked at again.
        self.epoch = if found.settled { found.epoch } else { NO_EPOCH };
        self.seen_epoch = found.epoch;
        match found.page {
            Some(map) if self.page.as_ref().is_some_and(|page| Arc::ptr_eq(page, &map)) => {}
            Some(map) => {
                self.before_page = self.records_before(map.id());
                if let Some(old) = self.page.replace(map).filter(|_| same_writer) {
                    self.keep(old);
                }
            }
            None => self.before_page = None,
        }
    }
}
