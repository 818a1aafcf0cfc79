//! Keeping up with the ring: other control segments, other writers, and whether the place is still valid.

use super::Reader;
use super::outcome::SourceCheck;
use crate::error::ReadError;
use crate::options::Visibility;
use crate::pages::Opened;
use crate::pages::page_map::PageMap;
use crate::place::{Last, Mark, Place};
use crate::source::Attachment;
use crate::walk::frame;
use crate::watermark::Watermark;
use std::sync::Arc;
use waldo_shm_protocol::Position;
use waldo_shm_protocol::limits::PAGE_HEADER_LEN;
use waldo_shm_protocol::record::Frame;

/// How the last record compares with what stands in its place now.
enum Compared {
    Same,
    /// The same, in the page before the place: its end, here, has to be looked at anew. After a crash that
    /// lost what followed it, the log may go on in that page.
    SameBefore(Position),
    /// The same, and in the very file that is mapped, or open if none is.
    SameFile,
    Other,
    /// Its page has been trimmed.
    Trimmed,
    /// Its page is missing, and has not been trimmed as far as the attachment knows.
    Missing(ReadError),
    /// The watermark has not come so far yet.
    Early,
}

impl Reader {
    /// Follows the ring to another attachment if it has one, and checks that the place is still valid when
    /// another writer has started.
    pub(crate) fn attend(&mut self) -> Result<SourceCheck, ReadError> {
        let mut moved = self.ring.generation() != self.attachment.generation;
        if moved {
            self.adopt(self.ring.current());
        }
        // A search that failed may have changed to another attachment.
        self.position.follow(&self.attachment);
        if self.attachment.needs_attention(self.position.epoch()) {
            moved |= self.attachment.due();
            let fresh = self.ring.attend(&self.attachment)?;
            moved |= fresh.generation != self.attachment.generation;
            self.adopt(fresh);
        }
        if self.attachment.awaits_successor() {
            return Ok(SourceCheck::Unsettled);
        }
        self.window.look_under(self.attachment.epoch());
        if self.window.epoch() != self.position.epoch() {
            if self.unsettled() {
                return Ok(SourceCheck::Unsettled);
            }
            moved |= self.revalidate()?;
        }
        Ok(if moved { SourceCheck::Moved } else { SourceCheck::Same })
    }

    /// Checks whether the ring has a newer control segment than this one.
    pub(crate) fn refresh(&mut self) -> Result<(), ReadError> {
        let fresh = self.ring.refresh(&self.attachment)?;
        self.adopt(fresh);
        Ok(())
    }

    /// The same, for a caller that has found that the ring differs from the attachment.
    pub(super) fn refresh_closely(&mut self) -> Result<(), ReadError> {
        let fresh = self.ring.refresh_closely(&self.attachment)?;
        self.adopt(fresh);
        Ok(())
    }

    pub(crate) fn adopt(&mut self, attachment: Arc<Attachment>) {
        self.attachment = attachment;
        self.position.follow(&self.attachment);
    }

    /// Whether another writer has started and is still recovering the files. A writer that has not been seen
    /// alive for long does not count.
    pub(crate) fn unsettled(&self) -> bool {
        self.attachment.is_being_mended(self.position.epoch(), &self.ring.options)
    }

    /// After another writer has come: is the record we read last still there? `true` if that is settled for
    /// good.
    fn revalidate(&mut self) -> Result<bool, ReadError> {
        let epoch = self.attachment.epoch();
        // Loaded before the watermark: a writer that says it runs has published where the log ends.
        let settled = self.attachment.is_settled();
        let committed = self.attachment.watermark(Visibility::Committed);
        if committed.position().is_none() {
            return Ok(false);
        }
        if self.position.is_beyond(committed.position()) && !self.position.is_ahead() {
            return Err(self.rewound());
        }
        // All mappings are from before: the same names may belong to other files now.
        self.window.forget_recent();
        self.window.tail_mut().forget();
        let mut keep = false;
        match self.compare(self.window.page(), committed)? {
            Compared::Same => {}
            Compared::SameBefore(end) => self.position.uncross(end),
            // Otherwise thousands of readers would open and map the page again for one start of a writer.
            Compared::SameFile => keep = !self.position.is_ahead(),
            Compared::Other => return Err(self.rewound()),
            Compared::Trimmed => {
                self.window.leave_page();
                // A durable record is not lost in a crash, and so is never replaced by another one.
                if self.options.visibility == Visibility::Committed {
                    self.position.doubt();
                }
            }
            Compared::Missing(error) => {
                let before = self.attachment.generation;
                self.refresh_closely()?;
                return match self.attachment.generation != before {
                    true => Ok(true),
                    false if self.attachment.is_unsettled(&self.ring.options) => Ok(false),
                    false => Err(error),
                };
            }
            Compared::Early => return Ok(false),
        }
        if !settled {
            return Ok(false);
        }
        // The next step maps the page again if its name may belong to another file now.
        if keep {
            self.window.keep_page();
        } else {
            self.window.leave_page();
        }
        self.position.confirm(epoch);
        Ok(true)
    }

    /// Compares the record before the place with what the files hold now.
    fn compare(&self, page: Option<&Arc<PageMap>>, committed: Watermark) -> Result<Compared, ReadError> {
        let Place::At(place) = self.position.at() else { return Ok(Compared::Same) };
        let (id, at) = match self.position.last() {
            None => return Ok(Compared::Same),
            Some(Last { mark: Some(Mark { at: Some((id, offset)), .. }), .. }) => (id, Some(offset)),
            // Only the number is known: the record after it tells, if there is one.
            Some(_) if place.offset() == PAGE_HEADER_LEN as u32 && place < committed.position() => {
                (place.page(), None)
            }
            Some(_) => return Ok(Compared::Same),
        };
        let map = match self.ring.pages.map(id, self.window.epoch())? {
            Opened::Page(map) => map,
            Opened::Gone(_) if self.trimmed(id)? => return Ok(Compared::Trimmed),
            Opened::Gone(error) => return Ok(Compared::Missing(error)),
        };
        // The name leads to this file, again or still: `Pages::map` has checked that.
        let known = page.is_some_and(|page| Arc::ptr_eq(page, &map));
        let end = match map.admit(committed) {
            Some(end) => end,
            // Read ahead of the watermark, in the same file.
            None if self.position.is_ahead() && known => place.offset(),
            None => return Ok(Compared::Early),
        };
        let end = if self.position.is_ahead() && known && place.page() == id {
            end.max(place.offset())
        } else {
            end
        };
        let offset = at.unwrap_or(PAGE_HEADER_LEN as u32);
        if self.position.is_ahead() && offset >= end {
            return Ok(Compared::Early);
        }
        let Ok((raw, frame)) = frame(&map, offset, end) else { return Ok(Compared::Other) };
        let behind = match &frame {
            Frame::Record(record) => Position::new(id, u64::from(offset) + record.size() as u64),
            Frame::Seal(_) => None,
        };
        let same = match (frame, self.position.last()) {
            (Frame::Record(record), Some(Last { seq_no, mark: Some(mark) })) if at.is_some() => {
                raw.checksum == mark.checksum && record.seq_no() == seq_no
            }
            (Frame::Record(record), Some(last)) => record.prev_seq_no() == last.seq_no,
            _ => at.is_none(),
        };
        let open = page.is_none() && self.window.tail().inode() == Some(map.inode());
        Ok(match same {
            true if self.position.has_crossed() && !self.position.is_ahead() => {
                behind.map_or(Compared::Same, Compared::SameBefore)
            }
            true if known || open => Compared::SameFile,
            true => Compared::Same,
            false => Compared::Other,
        })
    }

    pub(super) fn rewound(&self) -> ReadError {
        ReadError::Rewound { seq_no: self.last_seq_no(), tip: self.attachment.tip_seq_no() }
    }
}
