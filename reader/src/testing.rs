//! A forged writer for tests: builds rings from the layout crate alone, so that a test can make any state
//! there is, the impossible ones included.
#![allow(unsafe_code, reason = "the forged writer maps a control segment for writing")]

mod cut;

use crate::{AttachOptions, Batch, Reader, Ring};
use memmap2::{MmapMut, MmapOptions};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use waldo_shm_protocol::limits::{PAGE_HEADER_LEN, RECORD_HEADER_LEN};
use waldo_shm_protocol::link::Link;
use waldo_shm_protocol::meta::{META_LEN, Meta};
use waldo_shm_protocol::page::{IndexEntry, PageFooter, PageGeometry, PageHeader, PageSummary};
use waldo_shm_protocol::record::{PageEnd, Record, RecordNumbers, Seal, Stamp};
use waldo_shm_protocol::segment::{
    PageInfo, Publisher, Segment, SegmentCounts, SegmentGeometry, SegmentIdentity, WriterState,
};
use waldo_shm_protocol::{PageSeed, Position, names, payload_hash};

pub(crate) const RING: [u8; 16] = [7; 16];
/// Longest any test waits for something that must happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// One record as the test remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) prev: u64,
    pub(crate) time: u64,
    pub(crate) data: Vec<u8>,
    pub(crate) page: u64,
    pub(crate) offset: u64,
}

/// A control segment that the test can write.
pub(crate) struct ForgedControl {
    pub(crate) map: MmapMut,
    pub(crate) shape: SegmentGeometry,
    pub(crate) path: PathBuf,
}

impl ForgedControl {
    pub(crate) fn publisher(&self) -> Publisher<'_> {
        let base = NonNull::new(self.map.as_ptr().cast_mut()).unwrap();
        // SAFETY: page-aligned, `shape.segment_len()` bytes long, and accessed by atomics only.
        let segment = unsafe { Segment::from_raw(base, self.shape) };
        // SAFETY: mapped for writing.
        unsafe { Publisher::new(segment) }
    }

    pub(crate) fn wake(&self) {
        let publisher = self.publisher();
        for n in 0..self.shape.wake_words() {
            crate::futex::wake_all(publisher.bump_wake(n));
        }
    }

    pub(crate) fn state(&self, state: WriterState) {
        self.publisher().set_state(state);
        self.wake();
    }
}

/// A ring with its forged writer.
pub(crate) struct Forge {
    pub(crate) dir: TempDir,
    pub(crate) meta: Meta,
    pub(crate) control: Option<ForgedControl>,
    /// Every record ever appended.
    pub(crate) log: Vec<Entry>,
    pub(crate) oldest: u64,
    pub(crate) epoch: u32,
    page: u64,
    file: Option<File>,
    header: Option<PageHeader>,
    summary: PageSummary,
    index: Vec<IndexEntry>,
    pub(crate) index_every: u64,
    pub(crate) durable: Position,
    /// Whether what is published is durable.
    pub(crate) flushes: bool,
    instances: u64,
}

impl Forge {
    /// A ring of `ring_size` pages of `page_len` bytes without records or control segment.
    pub(crate) fn new(page_len: u64, ring_size: u32) -> Forge {
        let geometry = PageGeometry::new(page_len, 32).unwrap();
        let meta = Meta {
            ring_id: RING,
            counter: 1,
            ring_size,
            geometry,
            epoch: 1,
            created_ns: 1,
            trims_early: false,
            clean_end: Position::NONE,
            durable_names: false,
            durable: Position::NONE,
        };
        let forge = Forge {
            dir: tempfile::tempdir().unwrap(),
            meta,
            control: None,
            log: Vec::new(),
            oldest: 0,
            epoch: 1,
            page: 0,
            file: None,
            header: None,
            summary: PageSummary::default(),
            index: Vec::new(),
            index_every: 4,
            durable: Position::NONE,
            flushes: false,
            instances: 0,
        };
        forge.write_meta();
        forge
    }

    /// The same with a control segment and a live writer.
    pub(crate) fn live(page_len: u64, ring_size: u32) -> Forge {
        let mut forge = Forge::new(page_len, ring_size);
        forge.open_control();
        forge
    }

    pub(crate) fn home(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn attach(&self) -> Ring {
        let options = AttachOptions::default().check_interval(Duration::from_millis(20));
        Ring::attach_with(self.home(), options).unwrap()
    }

    pub(crate) fn write_meta(&self) {
        std::fs::write(self.home().join(names::META), self.meta_bytes()).unwrap();
    }

    fn meta_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; META_LEN];
        // Both slots: one alone says nothing about how the ring was closed.
        for counter in [self.meta.counter, self.meta.counter + 1] {
            let (at, slot) = Meta { counter, ..self.meta }.encode();
            bytes[at as usize..][..slot.len()].copy_from_slice(&slot);
        }
        bytes
    }

    pub(crate) fn write_link(&self, path: &Path) {
        let link = Link::Path(path.to_str().unwrap().to_owned());
        let scratch = self.home().join("scratch-link");
        std::fs::write(&scratch, link.render()).unwrap();
        std::fs::rename(scratch, self.home().join(names::LINK)).unwrap();
    }

    /// Makes a new control segment that says what the ring holds, and links it.
    pub(crate) fn open_control(&mut self) {
        self.open_control_of(
            SegmentGeometry::new(SegmentCounts {
                page_slots: self.meta.ring_size + 2,
                index_capacity: 32,
                wake_words: 4,
            })
            .unwrap(),
        );
    }

    /// The same with a segment that has room for this.
    pub(crate) fn open_control_of(&mut self, shape: SegmentGeometry) {
        let path = self.home().join(format!("segment-{}", self.instances + 1));
        self.open_control_at(shape, path);
    }

    /// The same, in this file, which is new.
    pub(crate) fn open_control_at(&mut self, shape: SegmentGeometry, path: PathBuf) {
        self.instances += 1;
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(&path).unwrap();
        file.set_len(shape.segment_len()).unwrap();
        // Memory of its own, as a writer gives it: a hole in a tmpfs is not to be looked at.
        for start in (0..shape.segment_len()).step_by(4096) {
            file.write_all_at(&[0; 4096], start).unwrap();
        }
        // SAFETY: only accessed by atomics, through `publisher` and the readers' mappings.
        let map = unsafe { MmapOptions::new().map_mut(&file) }.unwrap();
        let control = ForgedControl { map, shape, path };
        let publisher = control.publisher();
        let boot_id =
            crate::id_text::parse_id(&std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap())
                .unwrap();
        let stat = std::fs::metadata(self.home()).unwrap();
        let home = {
            use std::os::unix::fs::MetadataExt;
            [stat.dev(), stat.ino()]
        };
        publisher.format(shape, SegmentIdentity { ring_id: RING, boot_id, home, instance: self.instances });
        publisher.set_writer(self.epoch, std::process::id(), 250_000_000);
        publisher.beat(crate::clock::boottime_ns());
        publisher.set_oldest_page(self.oldest);
        publisher.set_state(WriterState::Live);
        let path = control.path.clone();
        self.control = Some(control);
        for id in self.oldest..=self.page {
            self.enter(id);
        }
        self.commit();
        self.write_link(&path);
    }

    /// Enters a page that exists into the directory, from the test's own memory.
    fn enter(&self, id: u64) {
        let entries: Vec<&Entry> = self.log.iter().filter(|e| e.page == id).collect();
        let (Some(control), Some(first), Some(last)) = (&self.control, entries.first(), entries.last())
        else {
            return;
        };
        let publisher = control.publisher();
        let records_before = self.log.iter().filter(|e| e.page < id).count() as u64;
        publisher.enter_page(&PageInfo {
            page_id: id,
            first_seq_no: first.seq,
            prev_seq_no: first.prev,
            first_time_ns: first.time,
            records_before,
            page_len: std::fs::metadata(self.page_path(id)).unwrap().len(),
            ..PageInfo::default()
        });
        for e in entries.iter().step_by(self.index_every as usize) {
            publisher.push_index(id, &IndexEntry { seq_no: e.seq, time_ns: e.time, offset: e.offset });
        }
        if id < self.page {
            publisher.seal_page(
                id,
                PageEnd {
                    offset: last.offset + size(last.data.len()),
                    last_seq_no: last.seq,
                    records: entries.len() as u64,
                },
            );
        }
    }

    pub(crate) fn tip(&self) -> u64 {
        self.log.last().map_or(0, |e| e.seq)
    }

    pub(crate) fn position(&self) -> Position {
        Position::new(self.page, self.summary.records_end).unwrap_or(Position::NONE)
    }

    /// Bytes left for records in the active page, besides its seal.
    pub(crate) fn room(&self) -> u64 {
        (self.meta.geometry.records_limit() - RECORD_HEADER_LEN as u64)
            .saturating_sub(self.summary.records_end)
    }

    pub(crate) fn page_path(&self, id: u64) -> PathBuf {
        self.home().join(names::page(id))
    }

    /// The records of pages that are still there.
    pub(crate) fn kept(&self) -> &[Entry] {
        &self.log[self.log.partition_point(|e| e.page < self.oldest)..]
    }

    /// Begins page `self.page + 1`; seals the one before.
    pub(crate) fn rotate(&mut self) {
        self.seal();
        self.page += 1;
        let before = self.log.len() as u64;
        let header = PageHeader::new(RING, self.page, self.meta.geometry, self.epoch, 1);
        let scratch = self.home().join("scratch-page");
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&scratch).unwrap();
        file.set_len(self.meta.geometry.page_len()).unwrap();
        file.write_all_at(header.as_bytes(), 0).unwrap();
        std::fs::rename(&scratch, self.page_path(self.page)).unwrap();
        self.file = Some(file);
        self.header = Some(header);
        self.summary = PageSummary {
            records_end: PAGE_HEADER_LEN as u64,
            records_before: before,
            ..PageSummary::default()
        };
        self.index.clear();
        if self.oldest == 0 {
            self.oldest = self.page;
            if let Some(control) = &self.control {
                control.publisher().set_oldest_page(self.oldest);
            }
        }
    }

    /// Begins a page of another length and index; those that follow are like it.
    pub(crate) fn change_geometry(&mut self, page_len: u64, index_capacity: u32) {
        self.seal();
        // Sealed as what it is, not as what comes now.
        self.file = None;
        self.meta.geometry = PageGeometry::new(page_len, index_capacity).unwrap();
        self.rotate();
    }

    /// Writes seal and footer of the active page.
    pub(crate) fn seal(&mut self) {
        let (Some(file), Some(header)) = (&self.file, &self.header) else { return };
        let (summary, offset) = (self.summary, self.summary.records_end);
        let seal = Seal::encode(
            PageSeed::new(&RING, self.page),
            PageEnd { offset, last_seq_no: summary.last_seq_no, records: summary.records },
            self.stamp(summary.last_time_ns),
        );
        file.write_all_at(zerocopy_bytes(&seal), offset).unwrap();
        if summary.records > 0 {
            let footer = PageFooter::new(header, &summary, &self.index);
            let (at, _) = footer.index_range(&self.meta.geometry);
            let bytes: Vec<u8> = self
                .index
                .iter()
                .flat_map(|e| [e.seq_no, e.time_ns, e.offset])
                .flat_map(u64::to_le_bytes)
                .collect();
            file.write_all_at(&bytes, at).unwrap();
            file.write_all_at(footer.as_bytes(), self.meta.geometry.footer_offset()).unwrap();
        }
        if let Some(control) = &self.control {
            control.publisher().seal_page(
                self.page,
                PageEnd { offset, last_seq_no: summary.last_seq_no, records: summary.records },
            );
        }
    }

    fn stamp(&self, time_ns: u64) -> Stamp {
        Stamp { time_ns, durable: self.durable, epoch: self.epoch }
    }

    /// Drops the oldest page.
    pub(crate) fn trim(&mut self) {
        self.oldest += 1;
        if let Some(control) = &self.control {
            control.publisher().set_oldest_page(self.oldest);
        }
        std::fs::remove_file(self.page_path(self.oldest - 1)).unwrap();
    }

    /// Writes a record without publishing it, beginning pages and trimming as needed.
    pub(crate) fn write(&mut self, seq: u64, data: &[u8]) {
        let need = size(data.len()) + RECORD_HEADER_LEN as u64;
        if self.page == 0 || self.summary.records_end + need > self.meta.geometry.records_limit() {
            self.rotate();
        }
        let prev = self.tip();
        let time = self.log.len() as u64 * 10 + 1000;
        let offset = self.summary.records_end;
        let seed = PageSeed::new(&RING, self.page);
        let raw = Record::encode(
            seed,
            offset as u32,
            RecordNumbers { seq_no: seq, prev_seq_no: prev },
            data.len(),
            payload_hash(data),
            self.stamp(time),
        );
        let mut bytes = zerocopy_bytes(&raw).to_vec();
        bytes.extend_from_slice(data);
        bytes.resize(size(data.len()) as usize, 0);
        self.file.as_ref().unwrap().write_all_at(&bytes, offset).unwrap();
        self.log.push(Entry { seq, prev, time, data: data.to_vec(), page: self.page, offset });
        let summary = &mut self.summary;
        if summary.records == 0 {
            (summary.first_seq_no, summary.prev_seq_no, summary.first_time_ns) = (seq, prev, time);
        }
        let entry = IndexEntry { seq_no: seq, time_ns: time, offset };
        let room = self.meta.geometry.index_capacity() as usize;
        let indexed = summary.records.is_multiple_of(self.index_every) && self.index.len() < room;
        summary.records += 1;
        (summary.last_seq_no, summary.last_time_ns, summary.epoch) = (seq, time, self.epoch);
        summary.records_end = offset + bytes.len() as u64;
        if summary.records == 1 {
            self.enter(self.page);
            self.index.push(entry);
        } else if indexed {
            self.index.push(entry);
            if let Some(control) = &self.control {
                control.publisher().push_index(self.page, &entry);
            }
        }
        while self.page - self.oldest >= u64::from(self.meta.ring_size) {
            // As the writer does it: the new page is published before the old one goes.
            self.commit();
            self.trim();
        }
    }

    /// Publishes everything written.
    pub(crate) fn commit(&self) {
        if let Some(control) = &self.control {
            control.publisher().beat(crate::clock::boottime_ns());
            control.publisher().commit(self.position(), self.tip(), self.log.len() as u64);
            if self.flushes {
                control.publisher().set_durable(self.position());
            }
            control.wake();
        }
    }

    /// A writer's next start, which takes its number and tells nobody else: its segment is not to be seen
    /// from here.
    pub(crate) fn start_unseen(&mut self) -> Option<ForgedControl> {
        let before = self.control.take();
        self.epoch += 1;
        self.meta = Meta {
            epoch: self.epoch,
            counter: self.meta.counter + 1,
            clean_end: Position::NONE,
            ..self.meta
        };
        self.write_meta();
        before
    }

    /// The same, of a ring whose directory is elsewhere by now.
    pub(crate) fn start_unseen_at(&mut self, home: &Path) {
        self.control = None;
        self.epoch += 1;
        self.meta = Meta { epoch: self.epoch, counter: self.meta.counter + 1, ..self.meta };
        std::fs::write(home.join(names::META), self.meta_bytes()).unwrap();
    }

    /// Goes on in the file that bears the name of the active page now.
    pub(crate) fn reopen_page(&mut self) {
        let file = OpenOptions::new().read(true).write(true).open(self.page_path(self.page)).unwrap();
        self.file = Some(file);
    }

    /// Appends and publishes one record numbered `seq`.
    pub(crate) fn append(&mut self, seq: u64, data: &[u8]) {
        self.write(seq, data);
        self.commit();
    }

    /// Appends and publishes `n` records with the next numbers.
    pub(crate) fn append_n(&mut self, n: u64) {
        for _ in 0..n {
            let seq = self.tip() + 1;
            self.append(seq, format!("payload of {seq}").as_bytes());
        }
    }

    /// Changes bytes of a page file.
    pub(crate) fn damage(&self, page: u64, offset: u64, bytes: &[u8]) {
        let file = OpenOptions::new().write(true).open(self.page_path(page)).unwrap();
        file.write_all_at(bytes, offset).unwrap();
    }
}

/// Serialized size of a record with `len` bytes of payload.
pub(crate) fn size(len: usize) -> u64 {
    (RECORD_HEADER_LEN + len).next_multiple_of(8) as u64
}

fn zerocopy_bytes(raw: &waldo_shm_protocol::RawRecord) -> &[u8] {
    // SAFETY: a plain structure of 48 bytes without padding, as the layout crate asserts.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(raw).cast(), RECORD_HEADER_LEN) }
}

/// What the test remembers of the records in `batch`.
pub(crate) fn numbers(batch: &Batch) -> Vec<u64> {
    batch.iter().map(|r| r.seq_no()).collect()
}

/// Reads until there is nothing more.
pub(crate) fn drain(reader: &mut Reader) -> Vec<u64> {
    let mut all = Vec::new();
    while let Some(batch) = reader.poll().unwrap() {
        assert_eq!(batch.iter().count(), batch.len());
        batch.verify().unwrap();
        all.extend(numbers(&batch));
    }
    all
}

/// Something that must happen: looks until it has.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "waited in vain: {what}");
        // Between two looks only: nothing depends on its length.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Polls until `n` records have come.
pub(crate) fn read_n(reader: &mut Reader, n: usize) -> Vec<u64> {
    let start = Instant::now();
    let mut all = Vec::new();
    while all.len() < n {
        assert!(start.elapsed() < DEADLINE, "only {all:?} came");
        if let Some(batch) = reader.recv(Some(Duration::from_millis(50))).unwrap() {
            all.extend(numbers(&batch));
        }
    }
    all
}
