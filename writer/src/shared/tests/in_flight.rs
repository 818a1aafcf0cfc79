//! Appends of many whose pieces are in flight.

use super::*;
use crate::disk::faulty::{Faults, FaultyDisk};
use crate::testing::dam::Dam;
use crate::{Writer, WriterOptions};
use std::sync::Arc;

fn open(home: &Home, options: WriterOptions) -> (SharedWriter, Arc<Faults>, Arc<crate::core::Core>) {
    let disk = FaultyDisk::open(home.path());
    let faults = Arc::clone(&disk.faults);
    let options = WriterOptions { page_len: 16 << 10, buffer_len: 16 << 10, ring_size: 16, ..options };
    let writer = Writer::open_on(home.path(), Arc::new(disk), options).unwrap();
    let core = writer.core();
    (SharedWriter::new(writer), faults, core)
}

/// Enough for a page and a part of the next one.
fn batch(byte: u8) -> Vec<Vec<u8>> {
    vec![vec![byte; 1000]; 20]
}

#[test]
fn nobody_is_answered_before_the_pieces_in_front_are_written() {
    for options in regimes_in_flight() {
        let home = Home::new();
        let (writer, faults, core) = open(&home, options.clone());
        let segment = *core.control.publisher().segment();
        let (dam, held) = Dam::new(false);
        faults.divert([Some(held)]);
        let first = writer.try_append_payloads(&batch(1)).unwrap();
        let second = writer.try_append_payloads(&batch(2)).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        // The second page has the end of the first append.
        while !std::fs::read(home.page(2)).is_ok_and(|page| page.contains(&1)) {
            assert!(std::time::Instant::now() < deadline, "nothing is written behind it");
            std::thread::yield_now();
        }
        let (outcomes, _) = std::thread::scope(|scope| {
            let answers = scope.spawn(|| [block_on(first), second.wait()]);
            assert_eq!((writer.tip(), segment.tip_seq_no()), (None, 0), "{options:?}");
            assert!(!answers.is_finished(), "{options:?}");
            let written = dam.open(|| answers.is_finished());
            (answers.join().unwrap(), written)
        });
        // It cannot be flushed where it was written.
        if options.durability == Durability::Sync
            && EngineOverride::in_force() != Some(EngineOverride::SmallInPlace)
        {
            for outcome in outcomes {
                assert!(matches!(outcome, Err(AppendError::Failed { .. })), "{outcome:?}");
            }
            assert_eq!((writer.tip(), segment.tip_seq_no()), (None, 0));
            assert!(matches!(writer.append_payloads(&batch(3)), Err(AppendError::Failed { .. })));
            assert!(matches!(writer.close(), Err(AppendError::Failed { .. })));
        } else {
            let last = outcomes.map(|outcome| outcome.unwrap().last_seq_no);
            assert_eq!(last, [20, 40]);
            assert_eq!((writer.tip(), segment.tip_seq_no()), (Some(40), 40));
            writer.close().unwrap();
        }
    }
}

#[test]
fn a_failed_write_fails_all_that_were_put_with_it_and_all_that_come() {
    // Without a page made ahead, a disk that refuses everything only leaves the log without a next page.
    for options in regimes().filter(|options| options.prepare_ahead) {
        let home = Home::new();
        let (writer, faults, core) = open(&home, options.clone());
        while !home.page(2).exists() {
            std::thread::yield_now();
        }
        assert_eq!(writer.append_payloads(&[b"x"]).unwrap().last_seq_no, 1);
        // The one fails what goes through the ring, the other what is written in place.
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        faults.divert([Some(full.into())]);
        faults.write.store(libc::ENOSPC as u64, std::sync::atomic::Ordering::Relaxed);
        // The committer takes all of them at once: the first one is in the buffer when the second one fails.
        let busy = writer.handle.inner.writer.lock();
        let mut tickets = vec![writer.try_append_payloads(&[b"y"]).unwrap()];
        tickets.extend((0..4).map(|n| writer.try_append_payloads(&batch(n)).unwrap()));
        drop(busy);
        for ticket in tickets {
            let outcome = ticket.wait();
            let failed = matches!(outcome, Err(AppendError::Failed { .. } | AppendError::NoPage { .. }));
            assert!(failed, "{outcome:?} {options:?}");
        }
        let outcome = block_on(writer.append_payloads_async(&batch(9)));
        assert!(matches!(outcome, Err(AppendError::Failed { .. })), "{outcome:?} {options:?}");
        assert!(matches!(writer.sync(), Err(AppendError::Failed { .. })));
        assert_eq!((writer.tip(), core.committed().page()), (Some(1), 1), "{options:?}");
        assert!(matches!(writer.close(), Err(AppendError::Failed { .. })));
    }
}
