//! Following the log.

use crate::attach::RingInner;
use crate::batch::Batch;
use crate::checkpoint::Checkpoint;
use crate::error::ReadError;
use crate::lapse::{Lapse, Lapses};
use crate::options::{OnLapped, ReaderOptions, Visibility};
use crate::page_map::PageMap;
use crate::pages::Opened;
use crate::place::{Last, Place, Skip, Want};
use crate::seek::Found;
use crate::source::{Attachment, Source};
use crate::stream::Batches;
use crate::wait::Pace;
use crate::walk::{Step, Walk, frame};
use crate::watermark::Watermark;
use std::sync::Arc;
use waldo_shm_protocol::page::RECORDS_UNKNOWN;
use waldo_shm_protocol::record::{Frame, RecordFault, Seal};
use waldo_shm_protocol::segment::{SegmentFault, WriterState};
use waldo_shm_protocol::{Position, limits};

/// Looks at a page that is not there before that counts as an error.
const GONE_TRIES: u32 = 16;
/// A watermark that no ring shows: page 0 does not exist.
const NEVER: u64 = 1;

/// One reader's place in the log.
pub struct Reader {
    pub(crate) ring: Arc<RingInner>,
    pub(crate) attachment: Arc<Attachment>,
    pub(crate) options: ReaderOptions,
    pub(crate) place: Place,
    /// The page of `place`, once it has been mapped.
    pub(crate) page: Option<Arc<PageMap>>,
    /// Pages that lookups have visited; dropped as soon as the reader follows or sleeps.
    pub(crate) kept: Vec<Arc<PageMap>>,
    /// The record before `place`.
    pub(crate) last: Option<Last>,
    pub(crate) skip: Skip,
    /// Records in the ring before the page of `place`, if known.
    before_page: Option<u64>,
    /// The watermark up to which everything has been handed out.
    drained: u64,
    /// The writer's start under which `place` was found good.
    epoch: u32,
    /// The place was reached by reading the files, and the watermark is allowed to arrive there later.
    ahead: bool,
    lapses: Lapses,
    pub(crate) pace: Pace,
}

/// What one step of a poll came to.
enum Stepped {
    Batch(Batch),
    Drained,
    /// The reader's place has changed: look again.
    Again,
}

/// A page, or the news that it has been trimmed.
enum Entered {
    Page(Arc<PageMap>),
    Trimmed,
    /// The attachment has changed meanwhile.
    Moved,
}

impl Reader {
    pub(crate) fn new(ring: Arc<RingInner>, options: ReaderOptions) -> Reader {
        let attachment = ring.current();
        let epoch = attachment.epoch();
        Reader {
            ring,
            attachment,
            options,
            place: Place::Pending(Want::Trim),
            page: None,
            kept: Vec::new(),
            last: None,
            skip: Skip::Nothing,
            before_page: None,
            drained: NEVER,
            epoch,
            ahead: false,
            lapses: Lapses::default(),
            pace: Pace::new(epoch),
        }
    }

    /// The next records, if there are any. Never sleeps; makes no system call when there is nothing new, and few
    /// when a page begins.
    ///
    /// An error leaves the reader where it is: nothing is passed over in silence, and asking again gives the error
    /// again until its cause is gone or the reader has been sent elsewhere with [`Reader::seek`].
    ///
    /// # Errors
    /// [`ReadError`], each variant as described there.
    #[inline]
    pub fn poll(&mut self) -> Result<Option<Batch>, ReadError> {
        if self.watermark().word() == self.drained
            && self.ring.generation() == self.attachment.generation
            && !self.attachment.needs_attention(self.epoch)
        {
            return Ok(None);
        }
        self.poll_news()
    }

    fn poll_news(&mut self) -> Result<Option<Batch>, ReadError> {
        // Each turn either crosses into another page, or catches up with a ring that has moved. Against a segment
        // that makes up ever new things to do, there is an end to it; the next poll goes on.
        let turns = self.attachment.pages_max().saturating_mul(2);
        for _ in 0..turns {
            self.attend()?;
            let watermark = self.watermark();
            match self.step(watermark)? {
                Stepped::Batch(batch) => return Ok(Some(batch)),
                Stepped::Drained => {
                    self.drained = watermark.word();
                    return Ok(None);
                }
                Stepped::Again => {}
            }
        }
        Ok(None)
    }

    /// Sequence number of the last record handed out, or of the one before the cursor if that is known.
    pub fn last_seq_no(&self) -> Option<u64> {
        self.last.map(|last| last.seq_no)
    }

    /// A checkpoint of the last record handed out, or of the one before the cursor if that has been seen.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        let last = self.last?;
        let mark = last.mark?;
        let ring_id = self.ring.meta.ring_id;
        Some(Checkpoint { ring_id, seq_no: last.seq_no, epoch: mark.epoch, checksum: mark.checksum })
    }

    /// What the ring has overtaken, if the reader was told to go on by itself.
    pub fn lapses(&self) -> &Lapses {
        &self.lapses
    }

    /// The same as an asynchronous stream, for any runtime.
    pub fn into_stream(self) -> Batches {
        Batches::new(self)
    }

    #[inline(always)]
    pub(crate) fn watermark(&self) -> Watermark {
        self.attachment.watermark(self.options.visibility)
    }

    /// Whether a poll would have something to do.
    pub(crate) fn news(&self) -> bool {
        let watermark = self.watermark();
        let nothing = watermark.position().is_none() || watermark.word() == self.drained;
        let reached = match self.place {
            Place::At(here) => here == watermark.position() || (self.ahead && here > watermark.position()),
            Place::Pending(_) => false,
        };
        !nothing && !reached
    }

    /// Follows the ring to another attachment if it has one, and makes sure that the place still holds when
    /// another writer has come.
    pub(crate) fn attend(&mut self) -> Result<(), ReadError> {
        if self.ring.generation() != self.attachment.generation {
            self.adopt(self.ring.current());
        }
        if self.attachment.needs_attention(self.epoch) {
            let fresh = self.ring.attend(&self.attachment)?;
            self.adopt(fresh);
        }
        if self.attachment.epoch() != self.epoch {
            self.revalidate()?;
        }
        Ok(())
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
            // Not a number a writer could have: the place has to be looked at again.
            self.epoch = u32::MAX;
        }
    }

    /// After another writer has come: is the record we read last still there?
    fn revalidate(&mut self) -> Result<(), ReadError> {
        let epoch = self.attachment.epoch();
        let settled = match &self.attachment.source {
            Source::Control(control) => !matches!(
                control.segment().status().state(),
                Some(WriterState::Init | WriterState::Recovering)
            ),
            Source::Files(_) => true,
        };
        let committed = self.attachment.watermark(Visibility::Committed);
        if !settled || committed.position().is_none() {
            return Ok(());
        }
        let behind = matches!(self.place, Place::At(position) if committed.position() < position);
        if behind && !self.ahead {
            return Err(self.rewound());
        }
        if let (Some(last), Some(page)) = (self.last, &self.page)
            && let Some(mark) = last.mark
            && let Some((id, offset)) = mark.at
            && id == page.id()
        {
            let end = match self.place {
                Place::At(position) if behind && position.page() == id => Some(position.offset()),
                _ => page.admit(committed),
            };
            let now = end.and_then(|end| frame(page, offset, end).ok());
            let same = matches!(now, Some((raw, Frame::Record(record)))
                if raw.checksum == mark.checksum && record.seq_no() == last.seq_no);
            if !same {
                return Err(self.rewound());
            }
        }
        self.epoch = epoch;
        self.drained = NEVER;
        Ok(())
    }

    fn rewound(&self) -> ReadError {
        ReadError::Rewound { seq_no: self.last_seq_no(), tip: self.attachment.tip_seq_no() }
    }

    fn nonsense(&self) -> ReadError {
        ReadError::Control { path: self.attachment.path(&self.ring.home), fault: SegmentFault::Range }
    }

    fn step(&mut self, watermark: Watermark) -> Result<Stepped, ReadError> {
        let end = watermark.position();
        if end.is_none() {
            return Ok(Stepped::Drained);
        }
        let position = match self.place {
            Place::At(position) => position,
            Place::Pending(want) => {
                self.go(want)?;
                let settled = matches!(self.place, Place::At(_));
                return Ok(if settled { Stepped::Again } else { Stepped::Drained });
            }
        };
        if end == position {
            self.ahead = false;
            return Ok(Stepped::Drained);
        }
        if end < position {
            // A reader of durable records may stand beyond them, at a checkpoint say.
            return if self.ahead || self.attachment.watermark(Visibility::Committed).position() >= position {
                Ok(Stepped::Drained)
            } else {
                Err(self.rewound())
            };
        }
        self.ahead = false;
        match self.enter(position.page())? {
            Entered::Page(map) => self.read(&map, position, watermark),
            Entered::Trimmed => self.lapsed(),
            Entered::Moved => Ok(Stepped::Again),
        }
    }

    /// The reader's page, mapped.
    fn enter(&mut self, id: u64) -> Result<Entered, ReadError> {
        if let Some(map) = self.page.as_ref().filter(|map| map.id() == id) {
            return Ok(Entered::Page(map.clone()));
        }
        // A page older than the oldest may still be there for a moment, and is as good as any.
        let mut tries = 0;
        loop {
            match self.ring.pages.map(id)? {
                Opened::Page(map) => {
                    if self.before_page.is_none() {
                        self.before_page = self.records_before(id);
                    }
                    self.page = Some(map.clone());
                    return Ok(Entered::Page(map));
                }
                Opened::Gone(error) => {
                    if self.trimmed(id)? {
                        return Ok(Entered::Trimmed);
                    }
                    if self.ring.generation() != self.attachment.generation {
                        return Ok(Entered::Moved);
                    }
                    tries += 1;
                    if tries >= GONE_TRIES {
                        // The segment may be out of use, its ring gone on elsewhere.
                        let before = self.attachment.generation;
                        self.refresh()?;
                        let moved = self.attachment.generation != before;
                        return if moved { Ok(Entered::Moved) } else { Err(error) };
                    }
                    std::thread::yield_now();
                }
            }
        }
    }

    /// Whether page `id`, which could not be opened, has left the ring.
    pub(crate) fn trimmed(&self, id: u64) -> Result<bool, ReadError> {
        if let Source::Files(files) = &self.attachment.source {
            files.look()?;
        }
        // The writer raises this before the file loses its name, and the failed open came after that.
        Ok(self.attachment.oldest_page() > id)
    }

    pub(crate) fn records_before(&self, page: u64) -> Option<u64> {
        let info = self.attachment.page(page)?;
        (info.records_before != RECORDS_UNKNOWN).then_some(info.records_before)
    }

    /// Reads from `position`, which is below `watermark`, in its page.
    fn read(
        &mut self,
        map: &Arc<PageMap>,
        position: Position,
        watermark: Watermark,
    ) -> Result<Stepped, ReadError> {
        let Some(limit) = map.admit(watermark) else { return Err(self.nonsense()) };
        let integrity = self.options.integrity;
        let prev = self.last_seq_no();
        // An epoch cannot be lower than that of the last record seen.
        let epoch = self.last.and_then(|last| last.mark).map_or(0, |mark| mark.epoch);
        let Some(mut walk) = Walk::new(map, (position.offset(), limit), prev, epoch, integrity) else {
            return Err(self.nonsense());
        };
        let mut batch = Batch {
            map: map.clone(),
            start: position.offset(),
            end: position.offset(),
            len: 0,
            payload_bytes: 0,
            first_seq_no: 0,
            last_seq_no: 0,
        };
        let (mut last, mut skip, mut bytes) = (None, self.skip, 0usize);
        let sealed = loop {
            match walk.step() {
                Step::Record { offset, record } => {
                    if batch.len == 0 && skip.skips(&record) {
                        (batch.start, batch.end) = (walk.offset(), walk.offset());
                        last = Some((record, offset));
                        continue;
                    }
                    bytes += record.size();
                    if batch.len > 0 && bytes > self.options.batch_bytes {
                        break None;
                    }
                    skip = Skip::Nothing;
                    if batch.len == 0 {
                        batch.first_seq_no = record.seq_no();
                    }
                    batch.len += 1;
                    batch.payload_bytes += record.payload_len();
                    batch.end = walk.offset();
                    last = Some((record, offset));
                }
                Step::Seal(seal) => break Some(seal),
                Step::End => break None,
                Step::Fault(_) if batch.len > 0 => break None,
                Step::Fault(fault) => {
                    let before = last.map(|(record, _)| record.seq_no()).or(prev);
                    return Err(corrupt(map, walk.offset(), fault, before));
                }
            }
        };
        let at = Position::new(map.id(), batch.end.into()).ok_or_else(|| self.nonsense())?;
        if let Some((record, offset)) = &last {
            self.last = Some(Last::seen(record, map.id(), *offset));
        }
        self.place = Place::At(at);
        self.skip = skip;
        if batch.len > 0 {
            batch.last_seq_no = self.last_seq_no().unwrap_or_default();
            return Ok(Stepped::Batch(batch));
        }
        match sealed {
            Some(seal) if watermark.position().page() > map.id() => Ok(self.cross(map.id(), &seal)),
            // Whole records up to the watermark; a sealed page is only left once the next one has begun.
            _ if watermark.position().page() == map.id() => Ok(Stepped::Drained),
            // The page ended without a seal.
            _ => Err(corrupt(map, at.offset(), RecordFault::NoRoom { room: 0 }, self.last_seq_no())),
        }
    }

    /// Goes on to the page after `page`.
    fn cross(&mut self, page: u64, seal: &Seal) -> Stepped {
        self.before_page = self.before_page.and_then(|before| before.checked_add(seal.records()));
        self.page = None;
        self.kept.clear();
        self.place = Place::At(Position::start_of((page + 1).min(limits::PAGE_ID_MAX)));
        Stepped::Again
    }

    /// The reader's page has been trimmed before it was opened.
    fn lapsed(&mut self) -> Result<Stepped, ReadError> {
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
        let page = match found.place {
            Place::At(position) => Some(position.page()),
            Place::Pending(_) => None,
        };
        self.place = found.place;
        self.last = found.last;
        self.skip = found.skip;
        self.drained = NEVER;
        self.before_page = page.and_then(|page| self.records_before(page));
        if let Some(map) = found.page
            && let Some(old) = self.page.replace(map)
            && self.page.as_ref().is_some_and(|new| new.id() != old.id())
        {
            self.keep(old);
        }
        self.epoch = self.attachment.epoch();
        self.ahead = false;
    }
}

pub(crate) fn corrupt(map: &PageMap, offset: u32, fault: RecordFault, seq_no: Option<u64>) -> ReadError {
    ReadError::Corrupt {
        path: map.path().to_path_buf(),
        page: map.id(),
        offset: offset.into(),
        fault,
        seq_no,
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader")
            .field("home", &self.ring.home)
            .field("place", &self.place)
            .field("last_seq_no", &self.last_seq_no())
            .finish_non_exhaustive()
    }
}
