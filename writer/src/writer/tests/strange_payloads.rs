//! Payloads are the caller's code, and hashes the caller's word. Neither may get half an append, or a record
//! that nobody can read, into the ring.

use super::*;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A payload that does something else when it is looked at for the second time: the first look is for its
/// length.
struct Strange<'a> {
    looks: Cell<u32>,
    first: &'a [u8],
    /// `None` panics.
    then: Option<&'a [u8]>,
}

impl<'a> Strange<'a> {
    fn new(first: &'a [u8], then: Option<&'a [u8]>) -> Strange<'a> {
        Strange { looks: Cell::new(0), first, then }
    }
}

impl AsRef<[u8]> for Strange<'_> {
    fn as_ref(&self) -> &[u8] {
        self.looks.set(self.looks.get() + 1);
        if self.looks.get() == 1 {
            self.first
        } else {
            self.then.expect("a payload that panics, as it is to")
        }
    }
}

/// The ring as another process would find it after a kill, and after the writer was dropped.
fn assert_whole(home: &Home, options: &WriterOptions, writer: Writer, tips: std::ops::RangeInclusive<u64>) {
    let image = Home::new();
    home.copy_to(&image);
    drop(writer);
    for home in [&image, home] {
        let mut writer = home.open(options);
        let tip = writer.tip().unwrap();
        assert!(tips.contains(&tip), "the log ends at {tip}: {options:?}");
        writer.append_payloads(&payloads(tip + 1..=tip + 40)).unwrap();
        assert_run(home.path(), tip + 40);
        writer.close().unwrap();
    }
}

/// A payload that panicked in the middle of an append left the records before it in the buffer. The next
/// append made them part of the log, though nobody had been told that they were appended.
#[test]
fn half_of_an_append_that_panicked_never_becomes_part_of_the_log() {
    for options in regimes() {
        // Short ones, and such as turn pages and are written from where they are.
        for len in [10, 3000] {
            let home = Home::new();
            let mut writer = home.open(&options);
            writer.append_payloads(&payloads(1..=30)).unwrap();
            writer.sync().unwrap();
            let bytes = vec![7; len];
            let strange: Vec<Strange<'_>> =
                (0..20).map(|n| Strange::new(&bytes, (n < 17).then_some(&bytes[..]))).collect();
            let core = writer.core();
            let segment = *core.control.publisher().segment();
            let outcome = catch_unwind(AssertUnwindSafe(|| writer.append_payloads(&strange)));
            assert!(outcome.is_err(), "it panics");
            let published = segment.tip_seq_no();
            let error = writer.append_payloads(&payloads(31..=31)).unwrap_err();
            assert!(
                matches!(&error, AppendError::Failed { cause } if cause.to_string().contains("panicked")),
                "{error}"
            );
            assert!(matches!(writer.sync(), Err(AppendError::Failed { .. })));
            assert_eq!(segment.tip_seq_no(), published, "nothing comes out afterwards");
            assert_eq!(segment.status().state(), Some(WriterState::Failed));
            if options.durability == Durability::Sync && len == 10 {
                assert_eq!(published, 30);
            }
            if published > 30 {
                // Pieces are published while a long append goes on, as they are when a writer is killed.
                continue;
            }
            assert_whole(&home, &options, writer, 30..=30);
        }
    }
}

/// A writer that is dropped right after such a panic does not call the ring closed.
#[test]
fn a_writer_that_is_dropped_after_a_panic_leaves_a_ring_that_opens() {
    for options in regimes() {
        let home = Home::new();
        let mut writer = home.open(&options);
        writer.append_payloads(&payloads(1..=30)).unwrap();
        let strange = [Strange::new(b"good", Some(b"good")), Strange::new(b"bad", None)];
        assert!(catch_unwind(AssertUnwindSafe(|| writer.append_payloads(&strange))).is_err());
        drop(writer);
        let writer = home.open(&options);
        assert_eq!((writer.tip(), writer.open_report().clean), (Some(30), false), "{options:?}");
        assert_whole(&home, &options, writer, 30..=30);
    }
}

/// A payload that grew between the two looks was written over the end of the page, into its index.
#[test]
fn a_payload_that_grows_after_it_was_checked_ends_the_writer_and_not_the_ring() {
    let large = vec![9; PAYLOAD_LEN_MAX + 1];
    for options in regimes() {
        let largest = options.page_len as usize;
        for then in [&large[..largest], &large[..]] {
            let home = Home::new();
            let mut writer = home.open(&options);
            writer.append_payloads(&payloads(1..=30)).unwrap();
            let error = writer.append_payloads(&[Strange::new(b"short", Some(then))]).unwrap_err();
            assert!(
                matches!(&error, AppendError::Failed { cause } if cause.to_string().contains("grown")),
                "{error}"
            );
            assert_whole(&home, &options, writer, 30..=30);
        }
        // One that fits all the same is a record like any other.
        let home = Home::new();
        let mut writer = home.open(&options);
        writer
            .append_payloads(&[
                Strange::new(b"short", Some(b"somewhat longer")),
                Strange::new(b"long", Some(b"")),
            ])
            .unwrap();
        writer.close().unwrap();
        assert_eq!(read_all(home.path()).0, [(1, b"somewhat longer".to_vec()), (2, Vec::new())]);
    }
}

/// A hash that the caller gave was taken as it was. The record was acknowledged, no reader got past it, and
/// after a crash the ring did not open: damage below what had been durable.
#[test]
fn a_record_with_a_wrong_hash_is_refused() {
    for options in regimes() {
        let home = Home::new();
        let mut writer = home.open(&options);
        let right = waldo_shm_protocol::payload_hash(b"payload");
        writer.append(&[Log::with_hash(1, 0, b"payload", right)]).unwrap();
        let batch = [Log::with_hash(2, 1, b"payload", right), Log::with_hash(3, 2, b"payload", !right)];
        let error = writer.append(&batch).unwrap_err();
        assert!(matches!(error, AppendError::Damaged { seq_no: 3, .. }), "{error}");
        assert_eq!(writer.tip(), Some(1), "nothing of the batch is appended");
        let shared = crate::SharedWriter::new(writer);
        let error = shared.append(&batch).unwrap_err();
        assert!(matches!(error, AppendError::Damaged { seq_no: 3, .. }), "{error}");
        // Also where another thread puts it.
        let error = shared.try_append(&batch).unwrap().wait().unwrap_err();
        assert!(matches!(error, AppendError::Damaged { seq_no: 3, .. }), "{error}");
        shared.try_append(&batch[..1]).unwrap().wait().unwrap();
        let renumbered = Log::new_borrowed(1, 0, b"payload").renumbered(3, 2);
        assert!(renumbered.hash_is_computed() && renumbered == Log::with_hash(3, 2, b"payload", right));
        shared.append(&[renumbered]).unwrap();
        shared.close().unwrap();
        assert_eq!(read_all(home.path()).0.len(), 3);
    }
}
