//! Keeping up with the ring: other control segments, other writers, and whether the place still holds.

use super::{NEVER, NO_EPOCH, Reader};
use crate::error::ReadError;
use crate::options::Visibility;
use crate::page_map::PageMap;
use crate::pages::Opened;
use crate::place::{Last, Mark, Place};
use crate::source::{Attachment, Source, settling};
use crate::walk::frame;
use crate::watermark::Watermark;
use std::sync::Arc;
use waldo_shm_protocol::limits::PAGE_HEADER_LEN;
use waldo_shm_protocol::record::Frame;

/// What a look at the ring came to.
pub(crate) enum Attended {
    /// Nothing has changed: a watermark loaded before may be used.
    Same,
    /// The ring or its writer has changed, and the place has been looked at: load the watermark anew.
    Moved,
    /// A writer is mending the files at this moment: nothing may be read until it is done.
    Unsettled,
}

/// How the last record compares with what stands in its place now.
enum Compared {
    Same,
    /// The same, and in the very file that is mapped, or open if none is.
    SameFile,
    Other,
    /// Its page has been trimmed.
    Trimmed,
    /// The watermark has not come so far yet.
    Early,
}

impl Reader {
    /// Follows the ring to another attachment if it has one, and makes sure that the place still holds when
    /// another writer has come.
    pub(crate) fn attend(&mut self) -> Result<Attended, ReadError> {
        let mut moved = self.ring.generation() != self.attachment.generation;
        if moved {
            self.adopt(self.ring.current());
        }
        if self.attachment.needs_attention(self.epoch) {
            moved |= self.attachment.due();
            let fresh = self.ring.attend(&self.attachment)?;
            moved |= fresh.generation != self.attachment.generation;
            self.adopt(fresh);
        }
        if self.attachment.awaits_successor() {
            return Ok(Attended::Unsettled);
        }
        self.seen_epoch = self.attachment.epoch();
        if self.seen_epoch != self.epoch {
            if self.unsettled() {
                return Ok(Attended::Unsettled);
            }
            moved |= self.revalidate()?;
        }
        Ok(if moved { Attended::Moved } else { Attended::Same })
    }

    /// Looks whether the ring has a newer control segment than this one.
    pub(crate) fn refresh(&mut self) -> Result<(), ReadError> {
        let fresh = self.ring.refresh(&self.attachment)?;
        self.adopt(fresh);
        Ok(())
    }

    pub(crate) fn adopt(&mut self, attachment: Arc<Attachment>) {
        if attachment.generation != self.attachment.generation {
            // Files show records before their writer has published them.
            self.ahead = matches!(self.attachment.source, Source::Files(_));
            self.attachment = attachment;
            self.drained = NEVER;
            self.epoch = NO_EPOCH;
        }
    }

    /// Whether another writer has come that is mending the files now. One that has not been seen alive for long is
    /// not waited for.
    pub(crate) fn unsettled(&self) -> bool {
        match &self.attachment.source {
            Source::Control(_) if self.attachment.awaits_successor() => true,
            Source::Control(control) => {
                control.segment().status().epoch() != self.epoch
                    && settling(control)
                    && self.attachment.alive(&self.ring.options)
            }
            Source::Files(_) => false,
        }
    }

    /// After another writer has come: is the record we read last still there? `true` if that is settled for good.
    fn revalidate(&mut self) -> Result<bool, ReadError> {
        let epoch = self.attachment.epoch();
        // Loaded before the watermark: a writer that says it runs has published where the log ends.
        let settled = match &self.attachment.source {
            Source::Control(control) => !settling(control),
            Source::Files(_) => true,
        };
        let committed = self.attachment.watermark(Visibility::Committed);
        if committed.position().is_none() {
            return Ok(false);
        }
        let behind = matches!(self.place, Place::At(position) if committed.position() < position);
        if behind && !self.ahead {
            return Err(self.rewound());
        }
        // Whatever is mapped is of before: under the same names, the files may be others by now.
        self.kept.clear();
        self.tail.forget();
        let page = self.page.take();
        let compared = self.compare(page.as_ref(), committed);
        // Nothing is lost if that fails: it is looked at again.
        self.page = page;
        let mut keep = false;
        match compared? {
            Compared::Same => {}
            // Thousands of readers need not open and map it again for one start of a writer.
            Compared::SameFile => keep = !self.ahead,
            Compared::Other => return Err(self.rewound()),
            Compared::Trimmed => {
                self.page = None;
                self.tail.leave();
            }
            Compared::Early => return Ok(false),
        }
        if !settled {
            return Ok(false);
        }
        // The next step maps the page anew if it may be another file now.
        self.page = self.page.take().filter(|_| keep);
        self.tail.touched();
        if !keep {
            self.tail.leave();
        }
        self.epoch = epoch;
        self.drained = NEVER;
        Ok(true)
    }

    /// Compares the record before the place with what the files hold now.
    fn compare(&self, page: Option<&Arc<PageMap>>, committed: Watermark) -> Result<Compared, ReadError> {
        let Place::At(place) = self.place else { return Ok(Compared::Same) };
        let (id, at) = match self.last {
            None => return Ok(Compared::Same),
            Some(Last { mark: Some(Mark { at: Some((id, offset)), .. }), .. }) => (id, Some(offset)),
            // Known by number alone: the record behind it tells, if there is one.
            Some(_) if place.offset() == PAGE_HEADER_LEN as u32 && place < committed.position() => {
                (place.page(), None)
            }
            Some(_) => return Ok(Compared::Same),
        };
        let map = match self.ring.pages.map(id, self.seen_epoch)? {
            Opened::Page(map) => map,
            Opened::Gone(_) if self.trimmed(id)? => return Ok(Compared::Trimmed),
            Opened::Gone(error) => return Err(error),
        };
        // By now the name leads to this file again or still: `Pages::map` has looked.
        let known = page.is_some_and(|page| Arc::ptr_eq(page, &map));
        let end = match map.admit(committed) {
            Some(end) => end,
            // Read ahead of the watermark, in the same file.
            None if self.ahead && known => place.offset(),
            None => return Ok(Compared::Early),
        };
        let end = if self.ahead && known && place.page() == id { end.max(place.offset()) } else { end };
        let offset = at.unwrap_or(PAGE_HEADER_LEN as u32);
        if self.ahead && offset >= end {
            return Ok(Compared::Early);
        }
        let Ok((raw, frame)) = frame(&map, offset, end) else { return Ok(Compared::Other) };
        let same = match (frame, self.last) {
            (Frame::Record(record), Some(Last { seq_no, mark: Some(mark) })) if at.is_some() => {
                raw.checksum == mark.checksum && record.seq_no() == seq_no
            }
            (Frame::Record(record), Some(last)) => record.prev_seq_no() == last.seq_no,
            _ => at.is_none(),
        };
        let open = page.is_none() && self.tail.inode() == Some(map.inode());
        Ok(match same {
            true if known || open => Compared::SameFile,
            true => Compared::Same,
            false => Compared::Other,
        })
    }

    pub(super) fn rewound(&self) -> ReadError {
        ReadError::Rewound { seq_no: self.last_seq_no(), tip: self.attachment.tip_seq_no() }
    }
}
