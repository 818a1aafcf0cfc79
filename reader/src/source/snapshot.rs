//! The state of a ring and its writer at one moment.

use super::attached_ring::AttachedRing;
use super::attachment::{Attachment, Source};
use super::link::read_meta_in;
use super::pulse::Seen;
use crate::error::ReadError;
use crate::options::Visibility;
use crate::status::{ControlKind, RingStatus};
use waldo_shm_protocol::Position;
use waldo_shm_protocol::link::Link;
use waldo_shm_protocol::page::RECORDS_UNKNOWN;
use waldo_shm_protocol::segment::{Counter, PageInfo, SegmentFault};

pub(crate) fn snapshot(ring: &AttachedRing, attachment: &Attachment) -> Result<RingStatus, ReadError> {
    let committed = attachment.watermark(Visibility::Committed).position();
    let durable = attachment.watermark(Visibility::Durable).position();
    // Read after the watermark, so it can only be newer; a page that has just been trimmed is not counted.
    let oldest_page = attachment.oldest_page().min(committed.page());
    let pages = if oldest_page == 0 { 0 } else { committed.page() - oldest_page + 1 };
    if pages > attachment.pages_max() {
        let path = attachment.path(&ring.home);
        return Err(ReadError::Control { path, fault: SegmentFault::Range });
    }
    let listed = attachment.page(oldest_page).filter(|info| info.first_seq_no > 0);
    // A page that was there before the ring was told to keep fewer may have no place in the directory.
    let oldest = listed.or_else(|| {
        let begun = committed > Position::start_of(oldest_page);
        let first = ring.pages.first_record(oldest_page, attachment.epoch()).filter(|_| begun)?;
        let (first_seq_no, prev_seq_no) = (first.seq_no(), first.prev_seq_no());
        Some(PageInfo { first_seq_no, prev_seq_no, records_before: RECORDS_UNKNOWN, ..PageInfo::default() })
    });
    // The ring may have been told to keep another number of pages since it was attached to.
    let meta = read_meta_in(&attachment.home).map_or(ring.meta, |found| found.meta);
    let index_entries = attachment
        .listed(oldest_page, committed.page())
        .take(usize::try_from(pages).unwrap_or(usize::MAX))
        .filter_map(|id| attachment.page(id))
        .fold(0u64, |sum, info| sum.saturating_add(info.index_len));
    let mut status = RingStatus {
        home: ring.home.clone(),
        ring_id: ring.meta.ring_id,
        ring_size: meta.ring_size,
        page_len: meta.geometry.page_len(),
        epoch: meta.epoch,
        writer: attachment.writer(&ring.options)?,
        writer_pid: 0,
        heartbeat_age: None,
        committed,
        durable,
        tip_seq_no: attachment.tip_seq_no(),
        oldest_page,
        tip_page: committed.page(),
        oldest_seq_no: oldest.map(|info| info.first_seq_no),
        after_seq_no: oldest.map(|info| info.prev_seq_no),
        pages,
        records: None,
        index_entries,
        counters: Vec::new(),
        control: ControlKind::Files,
    };
    if let Source::Files(files) = &attachment.source {
        status.records = files.records();
    }
    if let Source::Control(control) = &attachment.source {
        let segment = control.segment();
        status.records = segment.records().and_then(|all| {
            let before = oldest.map_or(0, |info| info.records_before);
            (before != RECORDS_UNKNOWN).then(|| all.saturating_sub(before))
        });
        status.epoch = segment.status().epoch();
        status.writer_pid = segment.status().writer_pid();
        status.heartbeat_age = match control.seen() {
            Seen::Ago(age) => Some(age),
            Seen::Never(_) => None,
        };
        status.counters =
            Counter::ALL.iter().map(|(counter, name)| (*name, segment.counters().get(*counter))).collect();
        status.control = match control.link() {
            Link::Posix(name) => ControlKind::Posix(name.clone()),
            Link::Path(path) => ControlKind::Path(path.into()),
        };
    }
    Ok(status)
}
