//! The protocol's promises, tried in every order that the memory model allows. Each model names the SYNC
//! points that it rests on; `docs/PROTOCOL.md` lists them.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p waldo-shm-protocol --release --lib loom
//! ```
#![allow(unsafe_code, reason = "stands in for the mapping: payload cells, and a publisher over heap memory")]

use super::*;
use crate::page::RECORDS_UNKNOWN;
use crate::record::PageEnd;
use crate::segment::SegmentCounts;
use crate::sync::AtomicU64;
use loom::cell::UnsafeCell;
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::sync::Arc;

/// A control segment of one page slot and two index slots.
struct Memory {
    header: SegmentHeader,
    committed: CommittedLine,
    durable: DurableLine,
    status: StatusLine,
    counters: Counters,
    wakes: [WakeWord; 1],
    slots: [PageSlot; 1],
    index: [IndexSlot; 2],
}

impl Memory {
    fn new() -> Memory {
        Memory {
            header: SegmentHeader::blank(),
            committed: CommittedLine::default(),
            durable: DurableLine::default(),
            status: StatusLine::default(),
            counters: Counters::blank(),
            wakes: [WakeWord::default()],
            slots: [PageSlot::blank()],
            index: [IndexSlot::blank(), IndexSlot::blank()],
        }
    }

    fn segment(&self) -> Segment<'_> {
        Segment {
            header: &self.header,
            committed: &self.committed,
            durable: &self.durable,
            status: &self.status,
            counters: &self.counters,
            wakes: &self.wakes,
            slots: &self.slots,
            index: &self.index,
            geometry: geometry(),
        }
    }

    fn publisher(&self) -> Publisher<'_> {
        // SAFETY: `Memory` is ordinary memory, writable as long as it lives.
        unsafe { Publisher::new(self.segment()) }
    }
}

fn geometry() -> SegmentGeometry {
    SegmentGeometry::new(SegmentCounts { page_slots: 1, index_capacity: 2, wake_words: 1 }).unwrap()
}

/// A page of which every field tells the id.
fn page(page_id: u64) -> PageInfo {
    PageInfo {
        page_id,
        first_seq_no: page_id * 100 + 1,
        prev_seq_no: page_id * 100,
        first_time_ns: page_id * 1000,
        records_before: RECORDS_UNKNOWN - page_id,
        page_len: page_id << 12,
        index_len: 0,
        records_end: page_id << 10,
        last_seq_no: page_id * 100 + 99,
        records: page_id * 7,
    }
}

/// An index entry of which every field tells its number.
fn entry(n: u64) -> IndexEntry {
    IndexEntry { seq_no: n, time_ns: n * 10, offset: n * 8 }
}

/// What the two sides share: the segment and three cells that stand for bytes of a page.
struct Shared {
    memory: Memory,
    bytes: [UnsafeCell<u64>; 3],
}

// SAFETY: the cells are there to be shared; loom reports it if they are accessed at the same time.
unsafe impl Sync for Shared {}

impl Shared {
    fn new() -> Arc<Shared> {
        Arc::new(Shared { memory: Memory::new(), bytes: std::array::from_fn(|_| UnsafeCell::new(0)) })
    }

    /// Where the log ends once `n` cells are written.
    fn end(n: usize) -> Position {
        Position::new(1, 4096 + 8 * n as u64).unwrap()
    }

    fn write(&self, n: usize) {
        // SAFETY: loom reports the race if a reader is in the cell.
        self.bytes[n].with_mut(|cell| unsafe { *cell = n as u64 + 1 });
    }

    fn append(&self, n: usize) {
        self.write(n);
        self.memory.publisher().commit(Shared::end(n + 1), n as u64 + 1, 0);
    }

    /// Reads all that `watermark` says can be read.
    fn read_below(&self, watermark: Position) -> usize {
        let readable = (0..self.bytes.len()).take_while(|n| Shared::end(n + 1) <= watermark).count();
        for (n, cell) in self.bytes.iter().enumerate().take(readable) {
            // SAFETY: loom reports the race if the writer is in the cell.
            assert_eq!(cell.with(|cell| unsafe { *cell }), n as u64 + 1);
        }
        readable
    }
}

/// Tries `write` in every order with `read`. The reader is the thread that is started: loom, when it is told
/// to bound the switches between threads, then also finds the orders in which the reader comes last.
fn explore(switches: Option<usize>, prepare: fn(&Shared), write: fn(&Shared), read: fn(&Shared)) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = switches;
    model.check(move || {
        let shared = Shared::new();
        prepare(&shared);
        let reader = thread::spawn({
            let shared = shared.clone();
            move || read(&shared)
        });
        write(&shared);
        reader.join().unwrap();
    });
}

/// SYNC(publish), SYNC(load-acquire): what lies below the committed watermark may be read, and the watermark
/// never goes back.
#[test]
fn loom_committed_bytes_are_readable() {
    explore(
        None,
        |_| {},
        |shared| (0..3).for_each(|n| shared.append(n)),
        |shared| {
            let segment = shared.memory.segment();
            let first = shared.read_below(segment.committed());
            let second = shared.read_below(segment.committed());
            assert!(first <= second);
        },
    );
}

/// SYNC(durable), SYNC(publish): the flushing thread follows the committed watermark and drags the durable
/// one behind it. Who sees the durable one may read below it, and finds the committed one at or above it.
#[test]
fn loom_durable_follows_committed() {
    loom::model(|| {
        let shared = Shared::new();
        let reader = thread::spawn({
            let shared = shared.clone();
            move || {
                let segment = shared.memory.segment();
                let durable = segment.durable();
                shared.read_below(durable);
                assert!(segment.committed() >= durable);
            }
        });
        let flusher = thread::spawn({
            let shared = shared.clone();
            move || {
                let flushed = shared.memory.segment().committed();
                shared.memory.publisher().set_durable(flushed);
            }
        });
        (0..2).for_each(|n| shared.append(n));
        reader.join().unwrap();
        flusher.join().unwrap();
    });
}

/// SYNC(publish): whatever the directory was told before a commit is there for who sees the commit.
#[test]
fn loom_directory_is_ahead_of_the_watermark() {
    explore(
        None,
        |_| {},
        |shared| {
            let publisher = shared.memory.publisher();
            publisher.enter_page(&page(1));
            assert!(publisher.push_index(1, &entry(101)));
            publisher.commit(Position::start_of(1), 0, 0);
        },
        |shared| {
            let segment = shared.memory.segment();
            if !segment.committed().is_none() {
                assert_eq!(segment.page(1), Some(PageInfo { index_len: 1, ..page(1) }));
                assert_eq!(segment.index_floor(1, IndexKey::SeqNo(200)), Some(entry(101)));
            }
        },
    );
}

/// SYNC(slot), SYNC(slot-change): a reader meets a slot's old page, or none, or the new page, never a
/// mixture.
#[test]
fn loom_slot_reuse_never_mixes_pages() {
    explore(
        Some(2), // eleven words with two values each: more take hours
        |shared| shared.memory.publisher().enter_page(&page(1)),
        |shared| shared.memory.publisher().enter_page(&page(2)),
        |shared| {
            if let Some(info) = shared.memory.slots[0].read() {
                assert_eq!(info, page(info.page_id));
            }
        },
    );
}

/// SYNC(slot), SYNC(slot-change): nor does a reader meet what a writer has left that was killed in the middle
/// of a change, neither before the next writer replaces the slot nor while it does.
#[test]
fn loom_a_slot_left_in_the_middle_of_a_change_stays_hidden() {
    explore(
        Some(2), // as above
        |shared| shared.memory.publisher().enter_page(&page(1)),
        |shared| {
            shared.memory.slots[0].replace_in_part(&page(2));
            shared.memory.publisher().enter_page(&page(3));
        },
        |shared| {
            if let Some(info) = shared.memory.slots[0].read() {
                assert_ne!(info.page_id, 2);
                assert_eq!(info, page(info.page_id));
            }
        },
    );
}

/// Gives the slot of page 1, which has two entries, to page 2 and fills it again.
fn reuse_index(shared: &Shared) {
    let publisher = shared.memory.publisher();
    publisher.enter_page(&page(2));
    assert!(!publisher.push_index(1, &entry(13)), "page 1 is gone");
    assert!(publisher.push_index(2, &entry(21)) && publisher.push_index(2, &entry(22)));
    assert!(!publisher.push_index(2, &entry(23)), "the index is full");
}

fn index_of_page_1(shared: &Shared) {
    let publisher = shared.memory.publisher();
    publisher.enter_page(&page(1));
    assert!(publisher.push_index(1, &entry(11)) && publisher.push_index(1, &entry(12)));
}

/// Asks for the last entry of `page`, which must be one of `entries`, whole, or none.
fn look_for(shared: &Shared, page: u64, entries: &[u64]) {
    if let Some(found) = shared.memory.segment().index_floor(page, IndexKey::SeqNo(u64::MAX)) {
        assert!(entries.contains(&found.seq_no), "{found:?} is not of page {page}");
        assert_eq!(found, entry(found.seq_no));
    }
}

/// SYNC(slot), SYNC(slot-change): an index entry that is returned for a page is whole and belongs to that
/// page, while the slot is given to another page and filled again.
#[test]
fn loom_index_of_the_old_page_stays_its_own() {
    explore(Some(2), index_of_page_1, reuse_index, |shared| look_for(shared, 1, &[12]));
}

/// SYNC(slot), SYNC(index-entry): nor does the new page ever show an entry of the old one, or half an entry.
#[test]
fn loom_index_of_the_new_page_is_its_own() {
    explore(Some(2), index_of_page_1, reuse_index, |shared| look_for(shared, 2, &[21, 22]));
}

/// SYNC(page-sealed): a page that is seen to be complete is seen with its last record and its count.
#[test]
fn loom_seal_is_whole() {
    explore(
        None,
        |shared| {
            let unsealed = PageInfo { records_end: 0, last_seq_no: 0, records: 0, ..page(1) };
            shared.memory.publisher().enter_page(&unsealed);
        },
        |shared| {
            shared.memory.publisher().seal_page(1, PageEnd { offset: 8192, last_seq_no: 199, records: 99 })
        },
        |shared| {
            let info = shared.memory.segment().page(1).unwrap();
            let sealed = (info.records_end, info.last_seq_no, info.records);
            assert!(sealed == (0, 0, 0) || sealed == (8192, 199, 99), "{sealed:?}");
        },
    );
}

/// SYNC(state): who sees a failure sees its error number, also while the next writer takes over.
#[test]
fn loom_failure_carries_its_error_number() {
    explore(
        None,
        |_| {},
        |shared| {
            let publisher = shared.memory.publisher();
            publisher.fail(5);
            publisher.set_writer(2, 77, 1);
            publisher.set_state(WriterState::Recovering);
        },
        |shared| {
            let status = shared.memory.segment().status();
            match status.state() {
                Some(WriterState::Failed) => assert_eq!(status.errno(), 5),
                Some(WriterState::Recovering) => assert_eq!((status.epoch(), status.writer_pid()), (2, 77)),
                state => assert_eq!(state, Some(WriterState::Init)),
            }
        },
    );
}

/// SYNC(publish): who sees a commit of a new writer sees that writer's epoch, so a reader that compares the
/// epoch after loading the watermark cannot take a new writer's bytes for a continuation unnoticed.
#[test]
fn loom_epoch_is_ahead_of_the_watermark() {
    explore(
        None,
        |shared| shared.memory.publisher().set_writer(1, 70, 1),
        |shared| {
            let publisher = shared.memory.publisher();
            publisher.set_writer(2, 77, 1);
            publisher.commit(Shared::end(0), 0, 0);
        },
        |shared| {
            let segment = shared.memory.segment();
            if !segment.committed().is_none() {
                assert_eq!(segment.status().epoch(), 2);
            }
        },
    );
}

/// SYNC(segment-ready): a header that passes its check is complete.
#[test]
fn loom_header_is_complete() {
    const IDENTITY: SegmentIdentity =
        SegmentIdentity { ring_id: [1; 16], boot_id: [2; 16], home: [4, 5], instance: 3 };
    explore(
        None,
        |_| {},
        |shared| shared.memory.publisher().format(geometry(), IDENTITY),
        |shared| match shared.memory.header.check(geometry().segment_len()) {
            Ok(found) => assert_eq!(found, (geometry(), IDENTITY)),
            Err(fault) => assert_eq!(fault, SegmentFault::Unfinished),
        },
    );
}

/// The kernel's futex: comparing and falling asleep are one step with respect to waking. It also tells
/// whether somebody fell asleep for ever, so that the models end with a message instead of a deadlock.
#[derive(Default)]
struct Futex {
    bucket: Mutex<Bucket>,
    woken: Condvar,
}

#[derive(Default)]
struct Bucket {
    asleep: usize,
    /// Nobody will wake anybody any more.
    over: bool,
    lost: bool,
}

impl Futex {
    fn wait(&self, word: &AtomicU32, token: u32) {
        let mut bucket = self.bucket.lock().unwrap();
        if word.load(Ordering::Relaxed) == token {
            bucket.lost |= bucket.over;
            if !bucket.over {
                bucket.asleep += 1;
                drop(self.woken.wait(bucket).unwrap());
            }
        }
    }

    fn wake_all(&self) {
        self.bucket.lock().unwrap().asleep = 0;
        self.woken.notify_all();
    }

    fn wake_no_more(&self) {
        let mut bucket = self.bucket.lock().unwrap();
        bucket.over = true;
        bucket.lost |= bucket.asleep > 0;
        drop(bucket);
        self.wake_all();
    }

    fn lost(&self) -> bool {
        self.bucket.lock().unwrap().lost
    }
}

/// The order in which a reader does things before it sleeps.
#[derive(Clone, Copy)]
enum Before {
    TokenThenLook,
    LookThenToken,
}

/// The order in which the writer stores the committed position for readers and for its own threads.
#[derive(Clone, Copy)]
enum Store {
    SegmentThenOwn,
    OwnThenSegment,
}

/// One thread commits, a notifier notices and wakes, a reader follows up to the last commit. The notifier
/// goes by the writer's own position.
fn sleep_and_wake(commits: usize, order: Before, store: Store) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let shared = Shared::new();
        let futex = Arc::new(Futex::default());
        let own = Arc::new(AtomicU64::new(0));
        let notifier = thread::spawn({
            let (shared, futex, own) = (shared.clone(), futex.clone(), own.clone());
            move || {
                let mut told = Position::NONE;
                while told < Shared::end(commits) {
                    // The watermark that counts as told is the one loaded before the change of the word.
                    let seen = Position::from_word(own.load(Ordering::Acquire));
                    if seen == told {
                        thread::yield_now();
                        continue;
                    }
                    shared.memory.publisher().bump_wake(0);
                    futex.wake_all();
                    told = seen;
                }
            }
        });
        let reader = thread::spawn({
            let (shared, futex) = (shared.clone(), futex.clone());
            move || {
                let segment = shared.memory.segment();
                loop {
                    let mut token = segment.wake_token(0);
                    if shared.read_below(segment.committed()) == commits {
                        break;
                    }
                    if matches!(order, Before::LookThenToken) {
                        token = segment.wake_token(0);
                    }
                    futex.wait(segment.wake_word(0), token);
                }
            }
        });
        for n in 0..commits {
            let end = Shared::end(n + 1).word();
            if matches!(store, Store::OwnThenSegment) {
                own.store(end, Ordering::Release);
            }
            shared.append(n);
            if matches!(store, Store::SegmentThenOwn) {
                own.store(end, Ordering::Release);
            }
        }
        notifier.join().unwrap();
        futex.wake_no_more();
        reader.join().unwrap();
        assert!(!futex.lost(), "a wake-up was lost");
    });
}

/// SYNC(wake), SYNC(publish), SYNC(own-committed): a reader that loads the token before it looks never sleeps
/// through a commit.
#[test]
fn loom_no_wake_up_is_lost() {
    sleep_and_wake(1, Before::TokenThenLook, Store::SegmentThenOwn);
    sleep_and_wake(2, Before::TokenThenLook, Store::SegmentThenOwn);
}

/// A position that the notifier sees before readers do is told to nobody: the model above can tell.
#[test]
#[should_panic(expected = "a wake-up was lost")]
fn loom_an_own_position_stored_too_early_loses_a_wake_up() {
    sleep_and_wake(1, Before::TokenThenLook, Store::OwnThenSegment);
}

/// The same reader with the token loaded after the look sleeps for ever: the model above can tell.
#[test]
#[should_panic(expected = "a wake-up was lost")]
fn loom_a_token_loaded_too_late_loses_a_wake_up() {
    sleep_and_wake(1, Before::LookThenToken, Store::SegmentThenOwn);
}
