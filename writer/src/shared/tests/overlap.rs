//! Large appends that are written while the flush of those before goes on.

use crate::core::Core;
use crate::disk::faulty::{Faults, FaultyDisk};
use crate::testing::*;
use crate::{AppendError, Durability, SharedWriter, Writer, WriterOptions};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Bytes of one append: large enough to be flushed beside the committer.
const LARGE: usize = 300 << 10;

fn large_pages(regime: WriterOptions) -> WriterOptions {
    WriterOptions { page_len: 2 << 20, buffer_len: 64 << 10, ..regime }
}

/// Every engine, with durable appends, and pages that are flushed before a test holds flushes up.
fn durable() -> impl Iterator<Item = WriterOptions> {
    regimes().filter(|options| options.durability == Durability::Sync && options.prepare_ahead)
}

/// A writer whose flushes wait, with two large appends: the first is being flushed, the second has been
/// written.
struct Held {
    home: Home,
    faults: Arc<Faults>,
    core: Arc<Core>,
    writer: SharedWriter,
    tickets: [crate::Ticket; 2],
}

impl Held {
    fn new(regime: WriterOptions) -> Held {
        let home = Home::new();
        let disk = FaultyDisk::open(home.path());
        let faults = Arc::clone(&disk.faults);
        let options = large_pages(regime);
        let writer = Writer::open_on(home.path(), Arc::new(disk), options).unwrap();
        let core = writer.core();
        let writer = SharedWriter::new(writer);
        // The preparer flushes what it makes; from here on only records are flushed.
        while !home.page(2).exists() {
            std::thread::yield_now();
        }
        faults.permit_syncs(Some(0));
        let first = writer.try_append_payloads(&[vec![1; LARGE]]).unwrap();
        let page = std::fs::File::open(home.page(1)).unwrap();
        // So that the second one is not put into the group of the first.
        await_byte(&page, LARGE as u64, 1);
        while writer.queued() > 0 {
            std::thread::yield_now();
        }
        let second = writer.try_append_payloads(&[vec![2; LARGE]]).unwrap();
        await_byte(&page, LARGE as u64 * 3 / 2, 2);
        Held { home, faults, core, writer, tickets: [first, second] }
    }
}

/// Waits until the byte at `offset` has become `byte`.
fn await_byte(page: &std::fs::File, offset: u64, byte: u8) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let mut found = [0];
    while found != [byte] {
        assert!(Instant::now() < deadline, "byte {offset} is not written while a flush goes on");
        std::thread::yield_now();
        page.read_exact_at(&mut found, offset).unwrap();
    }
}

#[test]
fn what_is_written_during_a_flush_is_published_after_its_own() {
    for regime in durable() {
        let Held { home, faults, core, writer, tickets: [first, second] } = Held::new(regime);
        assert_eq!(core.committed(), core.durable());
        assert_eq!(core.control.publisher().segment().tip_seq_no(), 0, "published before it was durable");
        assert_eq!(writer.tip(), None);

        faults.permit_syncs(Some(1));
        assert_eq!(first.wait().unwrap().last_seq_no, 1);
        assert_eq!(
            core.control.publisher().segment().tip_seq_no(),
            1,
            "the second one's flush has not ended"
        );
        assert_eq!(core.committed(), core.durable());
        assert_eq!(writer.tip(), Some(1));

        faults.permit_syncs(None);
        assert_eq!(second.wait().unwrap().last_seq_no, 2);
        assert_eq!(core.control.publisher().segment().tip_seq_no(), 2);
        writer.close().unwrap();
        assert_eq!(read_all(home.path()).0, [(1, vec![1; LARGE]), (2, vec![2; LARGE])]);
    }
}

#[test]
fn a_failed_flush_fails_what_was_written_meanwhile() {
    for regime in durable() {
        let Held { home: _home, faults, core, writer, tickets } = Held::new(regime);
        let before = core.durable();
        faults.sync.store(libc::EIO as u64, Ordering::Relaxed);
        faults.permit_syncs(None);
        for ticket in tickets {
            let outcome = ticket.wait();
            assert!(matches!(outcome, Err(AppendError::Failed { .. })), "{outcome:?}");
        }
        assert_eq!((core.durable(), core.committed()), (before, before));
        assert_eq!(writer.tip(), None);
        let outcome = writer.append_payloads(&[b"more"]);
        assert!(matches!(outcome, Err(AppendError::Failed { .. })), "{outcome:?}");
    }
}

#[test]
fn a_failed_write_during_a_flush_fails_both() {
    for regime in durable() {
        let Held { home: _home, faults, core, writer, tickets: [first, second] } = Held::new(regime);
        // The one fails what is written in place, the other what goes through the ring.
        faults.write.store(libc::EIO as u64, Ordering::Relaxed);
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        faults.divert([Some(full.into())]);
        // It needs the next page.
        let third = writer.try_append_payloads(&vec![vec![3; LARGE]; 7]).unwrap();
        while core.poison.get().is_none() {
            std::thread::yield_now();
        }
        faults.permit_syncs(None);
        for ticket in [first, second, third] {
            let outcome = ticket.wait();
            assert!(matches!(outcome, Err(AppendError::Failed { .. })), "{outcome:?}");
        }
        assert_eq!(core.control.publisher().segment().tip_seq_no(), 0);
    }
}

#[test]
fn an_append_that_gets_no_page_does_not_overtake_a_flush() {
    // Whoever needs a page makes it, and cannot.
    for regime in regimes_in_place() {
        if regime.durability != Durability::Sync || regime.prepare_ahead {
            continue;
        }
        let home = Home::new();
        let disk = FaultyDisk::open(home.path());
        let faults = Arc::clone(&disk.faults);
        let options = WriterOptions { page_len: 512 << 10, ..large_pages(regime) };
        let writer = Writer::open_on(home.path(), Arc::new(disk), options).unwrap();
        let core = writer.core();
        let writer = SharedWriter::new(writer);
        let before = core.durable();
        faults.create.store(libc::ENOSPC as u64, Ordering::Relaxed);
        faults.permit_syncs(Some(0));
        faults.sync_outcomes.lock().push_back(libc::EIO as u64);
        let first = writer.try_append_payloads(&[vec![1; LARGE]]).unwrap();
        let page = std::fs::File::open(home.page(1)).unwrap();
        await_byte(&page, LARGE as u64, 1);
        while writer.queued() > 0 {
            std::thread::yield_now();
        }
        // Of these one fits.
        let second = writer.try_append_payloads(&vec![vec![2; LARGE / 2]; 2]).unwrap();
        while faults.refused.load(Ordering::Relaxed) == 0 {
            std::thread::yield_now();
        }
        faults.permit_syncs(None);
        for ticket in [first, second] {
            let outcome = ticket.wait();
            assert!(matches!(outcome, Err(AppendError::Failed { .. })), "{outcome:?}");
        }
        assert_eq!((core.durable(), core.committed()), (before, before));
    }
}

#[test]
fn files_keep_within_their_bound_while_a_flush_goes_on() {
    for regime in durable() {
        let home = Home::new();
        let disk = FaultyDisk::open(home.path());
        let faults = Arc::clone(&disk.faults);
        let options = WriterOptions { page_len: 512 << 10, ring_size: 2, ..large_pages(regime) };
        let writer =
            SharedWriter::new(Writer::open_on(home.path(), Arc::new(disk), options.clone()).unwrap());
        std::thread::scope(|scope| {
            for byte in 0..4 {
                let writer = writer.clone();
                scope.spawn(move || {
                    for _ in 0..6 {
                        writer.append_payloads(&vec![vec![byte; LARGE / 3]; 9]).unwrap();
                    }
                });
            }
        });
        assert_eq!(writer.tip(), Some(4 * 6 * 9));
        writer.close().unwrap();
        let max = faults.files_max();
        assert!(max <= options.ring_size as usize + 2, "{max} files: {options:?}");
    }
}

#[test]
fn large_appends_of_many_arrive_whole_and_in_order() {
    for regime in regimes() {
        let home = Home::new();
        let options = large_pages(regime);
        let writer = SharedWriter::new(home.open(&options));
        std::thread::scope(|scope| {
            for thread in 0..4u8 {
                let writer = writer.clone();
                scope.spawn(move || {
                    for round in 0..5u8 {
                        // Of a size that sometimes goes through the overlap and sometimes not.
                        let payloads = vec![vec![thread; 1000]; 50 + 60 * usize::from(round)];
                        let appended = writer.append_payloads(&payloads).unwrap();
                        assert_eq!(appended.records, payloads.len());
                        assert!(writer.tip() >= Some(appended.last_seq_no));
                    }
                });
            }
        });
        let total = 4 * (0..5).map(|round| 50 + 60 * round).sum::<u64>();
        assert_eq!(writer.tip(), Some(total));
        writer.close().unwrap();
        let records = read_all(home.path()).0;
        let numbers: Vec<u64> = records.iter().map(|record| record.0).collect();
        assert_eq!(numbers, (1..=total).collect::<Vec<_>>());
        for thread in 0..4u8 {
            let of_thread = records.iter().filter(|record| record.1[0] == thread).count() as u64;
            assert_eq!(of_thread, total / 4);
        }
    }
}
