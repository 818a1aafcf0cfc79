//! Everything that decodes bytes and does nothing else: records, pages, metadata, link, segment.
//!
//! The first byte of an input chooses the decoder, the second one how it is called and whether the checksum
//! is made right first (otherwise nearly every input would end at it), the rest is what is decoded.
#![allow(unsafe_code, reason = "a segment is looked at in memory of our own")]

use std::cell::RefCell;
use std::ptr::NonNull;
use waldo::protocol::limits::{PAGE_HEADER_LEN, RECORD_HEADER_LEN};
use waldo::protocol::link::Link;
use waldo::protocol::meta::{META_LEN, META_SLOT_LEN, Meta};
use waldo::protocol::page::{IndexEntry, PageFooter, PageGeometry, PageHeader, PageSummary};
use waldo::protocol::record::{Frame, RawRecord, Record, Seal, Stamp};
use waldo::protocol::record::{PageEnd, RecordNumbers};
use waldo::protocol::scan::PayloadCheck;
use waldo::protocol::scan::{PageScan, Step};
use waldo::protocol::segment::SegmentCounts;
use waldo::protocol::segment::{IndexKey, Publisher, Segment, SegmentGeometry, SegmentIdentity, header_at};
use waldo::protocol::{PageSeed, Position, payload_hash};

const RING: [u8; 16] = *b"0123456789abcdef";
const PAGE: u64 = 7;
const PAGE_LEN: u64 = 16 << 10;
const STAMP: Stamp = Stamp { time_ns: 1, durable: Position::NONE, epoch: 3 };
/// How many decoders there are.
const KINDS: u8 = 7;

/// Decodes `input`; panics if something comes of it that must not.
pub fn run(input: &[u8]) {
    let [kind, flags, bytes @ ..] = input else { return };
    match kind % KINDS {
        0 => record(*flags, bytes),
        1 => header(*flags, bytes),
        2 => footer(*flags, bytes),
        3 => meta(*flags, bytes),
        4 => link(bytes),
        5 => scan(*flags, bytes),
        _ => segment(bytes),
    }
}

/// Makes the checksum at 124, which the 124 bytes before are under, right.
fn sign(bytes: &mut [u8]) {
    if bytes.len() >= 128 {
        let sum = payload_hash(&bytes[..124]);
        bytes[124..128].copy_from_slice(&sum.to_le_bytes());
    }
}

fn seed() -> PageSeed {
    PageSeed::new(&RING, PAGE)
}

fn page_header() -> PageHeader {
    PageHeader::new(RING, PAGE, PageGeometry::new(PAGE_LEN, 8).expect("a page that can be"), 3, 1)
}

/// Header and payload of a record as the writer makes them, with the numbers of whatever stands in `raw`.
fn resigned(raw: &RawRecord, payload: &[u8], offset: u32) -> RawRecord {
    let durable = Position::from_word(raw.durable);
    let stamp = Stamp { time_ns: raw.time_ns, durable, epoch: raw.epoch };
    Record::encode(
        seed(),
        offset,
        RecordNumbers { seq_no: raw.seq_no, prev_seq_no: raw.prev_seq_no },
        payload.len(),
        payload_hash(payload),
        stamp,
    )
}

fn record(flags: u8, bytes: &[u8]) {
    let offset = 4096 + u32::from(flags >> 1) * 8;
    let Some(mut raw) = RawRecord::read(bytes) else { return assert!(bytes.len() < RECORD_HEADER_LEN) };
    let room = bytes.len() as u64;
    if flags & 1 == 1
        && let Ok(Frame::Record(record)) = raw.check(room)
    {
        raw = resigned(&raw, &bytes[RECORD_HEADER_LEN..][..record.payload_len()], offset);
    }
    let Ok(frame) = raw.check(room) else { return };
    if raw.verify(seed(), offset).is_err() {
        return;
    }
    match frame {
        Frame::Seal(seal) => assert!(seal.durable() == Position::from_word(raw.durable)),
        Frame::Record(record) => {
            assert!(record.size() as u64 <= room, "a record reaches beyond its room");
            let payload = &bytes[RECORD_HEADER_LEN..][..record.payload_len()];
            if record.verify_payload(payload).is_ok() {
                let again = resigned(&raw, payload, offset);
                assert_eq!(again, raw, "what was accepted is not what a writer would write");
            }
        }
    }
}

fn header(flags: u8, bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    if flags & 1 == 1 {
        sign(&mut bytes);
    }
    let len = if flags & 2 == 2 { PAGE_LEN } else { bytes.len() as u64 };
    let checked = PageHeader::check_any(&bytes, len);
    let mine = PageHeader::check(&bytes, len, &RING, PAGE);
    if let Ok(header) = mine {
        assert_eq!(checked.as_ref().ok().map(PageHeader::as_bytes), Some(header.as_bytes()));
    }
    if let Ok(header) = checked {
        let geometry = header.geometry();
        assert_eq!(geometry.page_len(), len);
        assert!(geometry.records_limit() > PAGE_HEADER_LEN as u64);
        assert!(geometry.footer_offset() < len && geometry.records_limit() <= geometry.footer_offset());
    }
}

fn footer(flags: u8, bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    if flags & 1 == 1 {
        sign(&mut bytes);
    }
    let header = page_header();
    let Ok(footer) = PageFooter::check(&bytes, &header) else { return };
    let (start, len) = footer.index_range(&header.geometry());
    assert_eq!(start + len as u64, header.geometry().footer_offset());
    assert!(start >= header.fields().records_limit);
    let summary = footer.summary();
    assert!(summary.records > 0 && summary.records_end <= header.fields().records_limit);
    let index = bytes.get(128..).unwrap_or_default();
    if let Ok(entries) = footer.check_index(index) {
        assert!(entries.iter().all(|entry| entry.offset < summary.records_end));
    }
}

fn meta(flags: u8, bytes: &[u8]) {
    let mut file = [0; META_LEN];
    let (first, second) = bytes.split_at(bytes.len().min(128));
    for (slot, bytes) in [first, second].into_iter().enumerate() {
        let slot = &mut file[slot * META_SLOT_LEN..][..128];
        let len = bytes.len().min(128);
        slot[..len].copy_from_slice(&bytes[..len]);
        if flags & 1 == 1 {
            sign(slot);
        }
    }
    let file = if flags & 2 == 2 { &file[..bytes.len().min(META_LEN)] } else { &file };
    if let Ok(meta) = Meta::check(file) {
        let (at, slot) = meta.encode();
        let mut again = [0; META_LEN];
        again[at as usize..][..META_SLOT_LEN].copy_from_slice(&slot);
        let other = META_SLOT_LEN as u64 - at;
        let before = Meta { counter: meta.counter.saturating_sub(1), ..meta };
        again[other as usize..][..META_SLOT_LEN].copy_from_slice(&before.encode().1);
        let read = Meta::check(&again);
        assert!(meta.counter == 0 || read == Ok(meta), "{meta:?} was read again as {read:?}");
    }
}

fn link(bytes: &[u8]) {
    if let Ok(link) = Link::parse(bytes) {
        let text = link.render();
        assert_eq!(text.as_bytes(), bytes, "two texts for one link");
        assert_eq!(Link::parse(text.as_bytes()), Ok(link));
    }
}

/// The walk over a page whose records are `bytes`, given in two windows if `flags` say so.
fn scan(flags: u8, bytes: &[u8]) {
    let header = page_header();
    let limit = header.fields().records_limit as usize - PAGE_HEADER_LEN;
    let mut records = bytes[..bytes.len().min(limit)].to_vec();
    if flags & 4 == 4 {
        sign_records(&mut records);
    }
    // What is behind it is zero, as in a page that was made anew.
    records.resize(limit, 0);
    let expected_prev = (flags & 2 == 2).then_some(0);
    let payloads = if flags & 1 == 1 { PayloadCheck::Verify } else { PayloadCheck::Skip };
    let mut scan = PageScan::new(&header, expected_prev, 0, payloads);
    let mut before = 0;
    for _ in 0..=limit / RECORD_HEADER_LEN + 1 {
        let start = scan.offset();
        match scan.step(&records[start as usize - PAGE_HEADER_LEN..], start) {
            Step::Record { offset, record } => {
                assert!(record.seq_no() > before, "numbers go back");
                assert!(offset + record.size() as u64 <= header.fields().records_limit);
                before = record.seq_no();
            }
            Step::Seal { seal, .. } => {
                return assert_eq!((seal.last_seq_no(), seal.records()), (before, scan.summary().records));
            }
            Step::Fault { .. } => return,
            Step::More { .. } => panic!("the window holds all there is"),
        }
    }
    panic!("the walk has no end");
}

/// Makes the checksums of a chain of headers right, as far as their lengths lead.
fn sign_records(records: &mut [u8]) {
    let mut at = 0;
    while let Some(raw) = RawRecord::read(&records[at..]) {
        let room = (records.len() - at) as u64;
        let Ok(frame) = raw.check(room) else { return };
        let offset = (PAGE_HEADER_LEN + at) as u32;
        let (signed, size) = match frame {
            Frame::Record(record) => {
                let payload = &records[at + RECORD_HEADER_LEN..][..record.payload_len()];
                (resigned(&raw, payload, offset), record.size())
            }
            Frame::Seal(seal) => {
                let stamp = Stamp { time_ns: raw.time_ns, durable: seal.durable(), epoch: seal.epoch() };
                (
                    Seal::encode(
                        seed(),
                        PageEnd { offset: offset.into(), last_seq_no: raw.seq_no, records: raw.prev_seq_no },
                        stamp,
                    ),
                    RECORD_HEADER_LEN,
                )
            }
        };
        signed.store(&mut records[at..]);
        at += size;
    }
}

/// A control segment in memory, aligned as a mapping is.
#[repr(C, align(4096))]
struct Memory([u8; MEMORY_LEN]);

const MEMORY_LEN: usize = 12 << 10;

thread_local! {
    static MEMORY: RefCell<(Box<Memory>, Box<Memory>)> = RefCell::new((formatted(), formatted()));
}

fn formatted() -> Box<Memory> {
    let mut memory = Box::new(Memory([0; MEMORY_LEN]));
    let shape = SegmentGeometry::new(SegmentCounts { page_slots: 3, index_capacity: 8, wake_words: 1 })
        .expect("a shape that can be");
    assert!(shape.segment_len() as usize <= MEMORY_LEN);
    let base = NonNull::from(&mut memory.0).cast::<u8>();
    // SAFETY: aligned to 4096, as long as the shape says, and nobody else's.
    let segment = unsafe { Segment::from_raw(base, shape) };
    // SAFETY: it may be written.
    let publisher = unsafe { Publisher::new(segment) };
    publisher.format(shape, SegmentIdentity { ring_id: RING, boot_id: [1; 16], home: [1, 2], instance: 9 });
    memory
}

/// `bytes` are words to be put into a good segment: an offset of 16 bits and 8 bytes each.
fn segment(bytes: &[u8]) {
    MEMORY.with_borrow_mut(|(memory, good)| {
        memory.0.copy_from_slice(&good.0);
        for word in bytes.chunks_exact(10).take(40) {
            let at = (usize::from(u16::from_le_bytes([word[0], word[1]])) * 8) % MEMORY_LEN;
            memory.0[at..at + 8].copy_from_slice(&word[2..]);
        }
        look_at(NonNull::from(&mut memory.0).cast());
    });
}

fn look_at(base: NonNull<u8>) {
    // SAFETY: aligned, mapped for longer than this call, and accessed by atomics only until it returns.
    let header = unsafe { header_at(base) };
    let Ok((shape, _)) = header.check(MEMORY_LEN as u64) else { return };
    assert!(shape.segment_len() <= MEMORY_LEN as u64, "a segment longer than its memory");
    // SAFETY: as above; the length has just been checked.
    let segment = unsafe { Segment::from_raw(base, shape) };
    let _ = (segment.committed(), segment.durable(), segment.records(), segment.tip_seq_no());
    let _ = (segment.status().state(), segment.status().heartbeat_ns(), segment.wake_token(u32::MAX));
    for page in [0, 1, 2, 3, PAGE, u64::MAX, segment.oldest_page()] {
        if let Some(info) = segment.page(page) {
            assert_eq!(info.page_id, page);
        }
        let _ = segment.page_begin(page);
        for key in [IndexKey::SeqNo(1), IndexKey::SeqNo(u64::MAX), IndexKey::TimeBefore(5)] {
            let _ = segment.index_floor(page, key);
        }
    }
}

/// Inputs that the decoders accept, to start from.
pub fn seeds() -> Vec<Vec<u8>> {
    let payload = b"a payload of some bytes";
    let raw = Record::encode(
        seed(),
        4096,
        RecordNumbers { seq_no: 5, prev_seq_no: 4 },
        payload.len(),
        payload_hash(payload),
        STAMP,
    );
    let mut record = vec![0; 72];
    raw.store(&mut record);
    record[RECORD_HEADER_LEN..][..payload.len()].copy_from_slice(payload);
    let header = page_header();
    let index = [IndexEntry { seq_no: 5, time_ns: 1, offset: 4096 }];
    let summary = PageSummary {
        first_seq_no: 5,
        prev_seq_no: 4,
        last_seq_no: 5,
        records: 1,
        records_end: 4096 + 72,
        ..PageSummary::default()
    };
    let footer = PageFooter::new(&header, &summary, &index);
    let mut index_bytes = Vec::new();
    for word in [5u64, 1, 4096] {
        index_bytes.extend_from_slice(&word.to_le_bytes());
    }
    let meta = Meta {
        durable_names: false,
        trims_early: true,
        ring_id: RING,
        counter: 4,
        ring_size: 8,
        geometry: header.geometry(),
        epoch: 3,
        created_ns: 1,
        clean_end: Position::NONE,
        durable: Position::NONE,
    };
    let slots = [meta, Meta { counter: 5, ..meta }].map(|meta| meta.encode().1[..128].to_vec()).concat();
    let mut page = Vec::new();
    for seq_no in 1..4 {
        let offset = (PAGE_HEADER_LEN + page.len()) as u32;
        let raw = Record::encode(
            seed(),
            offset,
            RecordNumbers { seq_no, prev_seq_no: seq_no - 1 },
            8,
            payload_hash(&[7; 8]),
            STAMP,
        );
        let mut bytes = [7; 56];
        raw.store(&mut bytes);
        page.extend_from_slice(&bytes);
    }
    let mut seal = [0; 48];
    Seal::encode(
        seed(),
        PageEnd { offset: (PAGE_HEADER_LEN + page.len()) as u64, last_seq_no: 3, records: 3 },
        STAMP,
    )
    .store(&mut seal);
    page.extend_from_slice(&seal);
    let word = |at: u16, word: u64| [&at.to_le_bytes()[..], &word.to_le_bytes()].concat();
    let input = |kind: u8, flags: u8, bytes: &[u8]| [&[kind, flags], bytes].concat();
    vec![
        input(0, 0, &record),
        input(0, 1, &record),
        input(1, 3, header.as_bytes()),
        input(2, 1, &[footer.as_bytes(), &index_bytes].concat()),
        input(3, 1, &slots),
        input(4, 0, b"waldo-control 1\nposix /waldo-00112233445566778899aabbccddeeff-801-2a0047\n"),
        input(4, 0, b"waldo-control 1\npath /run/waldo/control\n"),
        input(5, 7, &page),
        input(6, 0, &[word(32, 3 << 28 | 512), word(1024, 2), word(1025, 3), word(1031, 1)].concat()),
    ]
}
