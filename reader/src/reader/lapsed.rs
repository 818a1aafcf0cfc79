//! Being overtaken by the ring, and moving to the place that a search has found.

use super::Reader;
use super::outcome::Stepped;
use super::page::records_before;
use crate::error::ReadError;
use crate::lapse::Lapse;
use crate::options::{OnLapped, Visibility};
use crate::place::{Last, Place, SeekTarget, Skip};
use crate::position::Destination;
use crate::seek::{Found, Overtaken, Search, Sought};
use crate::walk::frame;
use waldo_shm_protocol::Position;
use waldo_shm_protocol::record::{Frame, Record};

impl Reader {
    /// Searches for `want`, and moves to the place found. If the reader is lapped, it moves where the options
    /// tell it, or stays where it is and returns an error.
    pub(crate) fn go(&mut self, want: SeekTarget) -> Result<(), ReadError> {
        match self.search(want)? {
            Sought::Found(found) => self.take(found),
            Sought::Overtaken(overtaken) => self.overtaken(*overtaken)?,
        }
        Ok(())
    }

    /// Looks for `want` without moving there.
    #[inline]
    fn search(&mut self, want: SeekTarget) -> Result<Sought, ReadError> {
        let search = Search {
            ring: &self.ring,
            attachment: &mut self.attachment,
            options: &self.options,
            window: &mut self.window,
        };
        let sought = search.resolve(want);
        // The search may have changed to another attachment.
        self.position.follow(&self.attachment);
        sought
    }

    /// Called when the reader's page was trimmed before it was opened, or the previous page was, and with it
    /// the record that shows whether the log is still the one that was read.
    #[cold]
    pub(super) fn lapsed(&mut self) -> Result<Stepped, ReadError> {
        // The cursor's record may come after everything that has been trimmed.
        let want = match self.position.skip() {
            Skip::Nothing => SeekTarget::Oldest,
            Skip::Through(seq_no) => SeekTarget::After(seq_no),
            Skip::Before(time_ns) => SeekTarget::Since(time_ns),
        };
        let found = match self.search(want)? {
            Sought::Found(found) => found,
            Sought::Overtaken(overtaken) => return self.overtaken(*overtaken).map(|()| Stepped::Again),
        };
        if found.next.is_none() && (want == SeekTarget::Oldest || found.page.is_none()) {
            // The ring has no record that this reader may see. The loss can be computed once there is one.
            return Ok(Stepped::Drained);
        }
        // For a number that was asked for, the search itself has checked whether records were missed.
        let by_number = matches!(want, SeekTarget::After(_));
        let counted = want == SeekTarget::Oldest && !self.position.is_unsure();
        let lost = if counted { self.lost(&found) } else { None };
        if found.begins_ring && !by_number && lost != Some(0) && !self.goes_on_at(&found) {
            let requested = self.last_seq_no().unwrap_or(0);
            self.overtaken(Overtaken { requested, lost, oldest: found })?;
        } else {
            let last = self.position.last().filter(|last| Some(last.seq_no) == seq_no(found.last));
            self.take(Found { last: last.or(found.last), ..found });
        }
        Ok(Stepped::Again)
    }

    /// Goes where a reader goes that was told what to do when it is overtaken.
    #[cold]
    fn overtaken(&mut self, overtaken: Overtaken) -> Result<(), ReadError> {
        let Overtaken { requested, lost, oldest } = overtaken;
        let (found, lost) = match self.options.on_lapped {
            OnLapped::Fail => {
                return Err(ReadError::Lapped { requested, oldest: oldest.next.unwrap_or(0), lost });
            }
            OnLapped::Oldest => (oldest, lost),
            OnLapped::Tip => match self.search(SeekTarget::Tip)? {
                Sought::Found(found) => (found, None),
                Sought::Overtaken(overtaken) => (overtaken.oldest, None),
            },
        };
        let resumed_after = seq_no(found.last);
        self.take(found);
        self.lapses.note(Lapse { requested, resumed_after, lost });
        Ok(())
    }

    /// Whether the record that `found` leads to is the very next one behind the last record the reader knows:
    /// then nothing has been missed, whatever has been trimmed.
    fn goes_on_at(&self, found: &Found) -> bool {
        let Some(last) = self.position.last() else { return false };
        let Some(next) = first_of(found) else { return false };
        let follows = next.prev_seq_no() == last.seq_no;
        // Within an epoch, a writer never rewrites what it has appended. Between two epochs, records that
        // were not durable may have been lost and others appended under their numbers, and the last record is
        // not there to be compared.
        let same = match last.mark {
            Some(mark) => mark.epoch == next.epoch() || self.options.visibility == Visibility::Durable,
            // The record was not handed out: only its number is known.
            None => true,
        };
        follows && same
    }

    /// Records between the reader's place, at the start of a page, and the start of the page in `found`.
    fn lost(&self, found: &Found) -> Option<u64> {
        let Place::At(here) = self.position.at() else { return None };
        let Place::At(there) = found.place else { return None };
        if here != Position::start_of(here.page()) || there != Position::start_of(there.page()) {
            return None;
        }
        records_before(&self.attachment, there.page())?.checked_sub(self.position.before_page()?)
    }

    /// Moves to where a search has led.
    #[inline]
    fn take(&mut self, found: Found) {
        let before_page = match &found.page {
            Some(map) if self.window.is_page(map) => self.position.before_page(),
            Some(map) => records_before(&self.attachment, map.id()),
            None => None,
        };
        self.window.move_to(found.page, self.attachment.oldest_page());
        let to = Destination {
            at: found.place,
            last: found.last,
            skip: found.skip,
            before_page,
            // While a writer is still recovering the files, the place has to be checked again.
            epoch: found.settled.then_some(found.epoch),
        };
        self.position.move_to(to, &self.attachment);
    }
}

fn seq_no(last: Option<Last>) -> Option<u64> {
    last.map(|last| last.seq_no)
}

/// The record that `found` leads to, which the search has checked.
fn first_of(found: &Found) -> Option<Record> {
    let (Some(map), Place::At(at)) = (&found.page, found.place) else { return None };
    match frame(map, at.offset(), map.admitted()) {
        Ok((_, Frame::Record(record))) if found.next == Some(record.seq_no()) => Some(record),
        _ => None,
    }
}
