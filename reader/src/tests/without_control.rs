//! Reading from the files alone, and changing over.

use crate::source::files::FilesTail;
use crate::testing::{Forge, drain, read_n, until};
use crate::{AttachError, AttachOptions, ControlKind, Cursor, Ring, Wakeup, WriterStatus};
use std::time::Duration;
use waldo_shm_protocol::names;
use waldo_shm_protocol::segment::WriterState;

#[test]
fn everything_is_read_and_new_records_show_up() {
    let mut forge = Forge::new(16384, 4);
    forge.append_n(500);
    let ring = forge.attach();
    assert_eq!(ring.status().unwrap().control, ControlKind::Files);
    let mut reader = ring.reader(Cursor::Oldest).unwrap();
    let kept: Vec<u64> = forge.kept().iter().map(|e| e.seq).collect();
    assert_eq!(drain(&mut reader), kept);
    assert_eq!(reader.wait(Some(Duration::ZERO)).unwrap(), Wakeup::Writer(WriterStatus::Absent));
    assert_eq!(reader.wait(Some(Duration::from_millis(5))).unwrap(), Wakeup::TimedOut);
    forge.append_n(100);
    assert_eq!(read_n(&mut reader, 100), (501..=600).collect::<Vec<_>>());
}

#[test]
fn a_torn_tail_is_not_read() {
    let mut forge = Forge::new(16384, 4);
    forge.append_n(10);
    let last = forge.log[9].clone();
    forge.damage(last.page, last.offset + 48, b"Z");
    let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
    assert_eq!(drain(&mut reader).len(), 9);
}

#[test]
fn a_page_made_ready_does_not_hide_the_one_before() {
    let mut forge = Forge::new(16384, 4);
    forge.append_n(10);
    let page = waldo_shm_protocol::page::PageHeader::new(crate::testing::RING, 2, forge.meta.geometry, 1, 1);
    let mut bytes = vec![0; 16384];
    bytes[..128].copy_from_slice(page.as_bytes());
    std::fs::write(forge.page_path(2), bytes).unwrap();
    let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
    assert_eq!(drain(&mut reader).len(), 10);
    forge.append_n(5);
    assert_eq!(read_n(&mut reader, 5), [11, 12, 13, 14, 15]);
}

#[test]
fn a_reader_changes_over_when_a_writer_comes() {
    let mut forge = Forge::new(16384, 4);
    forge.append_n(10);
    let ring = forge.attach();
    let mut reader = ring.reader(Cursor::Oldest).unwrap();
    assert_eq!(drain(&mut reader).len(), 10);
    // Read before its writer publishes it: waits until the watermark has come that far.
    forge.write(11, b"early");
    assert_eq!(read_n(&mut reader, 1), [11]);
    let early = forge.log.pop().unwrap();
    forge.epoch = 2;
    forge.open_control();
    let at = waldo_shm_protocol::Position::new(early.page, early.offset).unwrap();
    forge.control.as_ref().unwrap().publisher().commit(at, 10, 10);
    loop {
        match reader.wait(None).unwrap() {
            Wakeup::Writer(WriterStatus::Restarted { epoch: 2 }) => break,
            Wakeup::Writer(WriterStatus::Absent) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(ring.status().unwrap().control, ControlKind::Path(_)));
    assert!(reader.poll().unwrap().is_none());
    forge.log.push(early);
    forge.append_n(2);
    assert_eq!(read_n(&mut reader, 2), [12, 13]);
}

#[test]
fn a_segment_that_says_nothing_gives_way_to_the_files() {
    for state in [WriterState::Retired, WriterState::Failed, WriterState::Closed] {
        let mut forge = Forge::live(16384, 4);
        forge.append_n(10);
        let control = forge.control.as_ref().unwrap();
        control.publisher().commit(waldo_shm_protocol::Position::NONE, 0, 0);
        control.publisher().set_state(state);
        let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
        assert_eq!(drain(&mut reader).len(), 10);
    }
}

#[test]
fn a_segment_from_before_a_reboot_is_passed_over() {
    let mut forge = Forge::live(16384, 4);
    forge.append_n(10);
    let path = forge.control.as_ref().unwrap().path.clone();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[48] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut reader = forge.attach().reader(Cursor::Oldest).unwrap();
    assert_eq!(drain(&mut reader).len(), 10);
}

#[test]
fn what_cannot_be_attached_to_is_told_apart() {
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(Ring::attach(empty.path()), Err(AttachError::NotARing { .. })));
    let forge = Forge::live(16384, 4);
    std::fs::write(forge.home().join(names::LINK), "nonsense").unwrap();
    assert!(matches!(Ring::attach(forge.home()), Err(AttachError::Link { .. })));
    assert!(Ring::attach_with(forge.home(), AttachOptions::default().files_only(true)).is_ok());
    forge.write_link(&forge.home().join(names::META));
    assert!(matches!(Ring::attach(forge.home()), Err(AttachError::Control { .. })));
    forge.write_link(forge.home());
    assert!(matches!(Ring::attach(forge.home()), Err(AttachError::Io { .. })));
    std::fs::write(forge.home().join(names::META), "nonsense").unwrap();
    assert!(matches!(Ring::attach(forge.home()), Err(AttachError::Meta { .. })));
}

#[test]
fn the_status_agrees_with_the_ring() {
    for control in [true, false] {
        let mut forge = if control { Forge::live(16384, 3) } else { Forge::new(16384, 3) };
        forge.append_n(500);
        let status = forge.attach().status().unwrap();
        assert_eq!(status.ring_id, crate::testing::RING);
        assert_eq!((status.ring_size, status.page_len), (3, 16384));
        assert_eq!(status.committed, forge.position());
        assert_eq!(status.tip_seq_no, Some(500));
        assert_eq!((status.oldest_page, status.tip_page), (forge.oldest, forge.position().page()));
        assert_eq!(status.pages, 3);
        assert_eq!(status.records, Some(forge.kept().len() as u64));
        assert_eq!(status.oldest_seq_no, Some(forge.kept()[0].seq));
        assert_eq!(status.after_seq_no, Some(forge.kept()[0].prev));
        assert!(status.index_entries > 0);
        assert_eq!(status.writer, if control { WriterStatus::Live } else { WriterStatus::Absent });
        assert_eq!(status.heartbeat_age.is_some(), control);
    }
}

/// A reader of the files held the page that the log ended in. A writer started, put another file in the place
/// of that page and went on in there, and the reader never looked at another file under that name: it was
/// blind, and said nothing. It goes by the number of the start to notice that, and it had that number too
/// early: while a slot of the metadata is being written, the other one alone counts, and the number is taken
/// to be one higher.
#[test]
fn the_file_that_the_log_ends_in_may_be_another_one_after_a_start() {
    for slot in [0, waldo_shm_protocol::meta::META_SLOT_LEN as u64] {
        let mut forge = Forge::new(16384, 4);
        forge.append_n(5);
        let meta = forge.home().join(names::META);
        // As a reader may find it while the next start writes its number.
        let file = std::fs::OpenOptions::new().write(true).open(&meta).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[0xaa; 64], slot).unwrap();
        let ring = Ring::attach_with(forge.home(), AttachOptions::default().files_only(true)).unwrap();
        let mut reader = ring.reader(Cursor::Oldest).unwrap();
        assert_eq!(drain(&mut reader).len(), 5);
        assert_eq!(reader.attachment.epoch(), 1);
        let files = FilesTail::new(forge.home(), crate::testing::RING);
        files.look().unwrap();
        forge.start_unseen();
        // As the tail finds it that had the number too early: the file is another one, the number is not.
        assert_eq!(replace_page(&mut forge, &files), [6, 7]);
        assert_eq!(read_n(&mut reader, 2), [6, 7]);
        forge.append_n(1);
        files.look().unwrap();
        assert_eq!(replace_page(&mut forge, &files), [9, 10]);
    }
}

/// Another file comes in the place of page 1, and two records in that. Gives their numbers if the tail comes
/// to see them.
fn replace_page(forge: &mut Forge, files: &FilesTail) -> Vec<u64> {
    let (page, scratch) = (forge.page_path(1), forge.home().join("scratch"));
    std::fs::copy(&page, &scratch).unwrap();
    std::fs::rename(&scratch, &page).unwrap();
    forge.reopen_page();
    forge.append_n(2);
    files.look().unwrap();
    (0..2).rev().map(|n| files.tip_seq_no() - n).collect()
}

/// A writer that was killed while it made its segment left one without a magic number, and the link to it.
/// Until the next writer came, nobody could attach: "wrong magic number". Those who were attached followed
/// the files.
#[test]
fn a_segment_whose_writer_ended_while_making_it_gives_way_to_the_files() {
    for len in [0, 100, 1 << 16] {
        let mut forge = Forge::live(16384, 4);
        forge.append_n(10);
        let control = forge.control.take().unwrap();
        control.state(WriterState::Closed);
        let half = forge.home().join("half-made");
        std::fs::write(&half, vec![0; len]).unwrap();
        forge.write_link(&half);
        let ring = forge.attach();
        assert_eq!(ring.status().unwrap().control, ControlKind::Files);
        let mut reader = ring.reader(Cursor::Oldest).unwrap();
        assert_eq!(drain(&mut reader).len(), 10);
        // It was only slow: the segment is completed, and nothing else changes.
        std::fs::write(&half, std::fs::read(&control.path).unwrap()).unwrap();
        until("the segment is followed", || {
            assert!(reader.poll().unwrap().is_none());
            matches!(ring.status().unwrap().control, ControlKind::Path(_)).then_some(())
        });
    }
}

/// While a look was at work, the writer went all round a small ring: the look had read one page, and then
/// listed another one. An oldest page behind the end of the log makes no sense, and readers said so of a ring
/// that was whole; or the page was gone before it was opened, eight times in a row, and they got "page-...:
/// No such file or directory".
#[test]
fn a_ring_that_is_trimmed_faster_than_a_look_is_looked_at_again() {
    let mut forge = Forge::new(16384, 1);
    forge.append_n(1);
    let home = forge.home().to_path_buf();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let seq = forge.tip() + 1;
                forge.append(seq, &[7; 9000]);
            }
        });
        let looked = std::panic::catch_unwind(|| {
            for _ in 0..2000 {
                let files = FilesTail::new(&home, crate::testing::RING);
                files.look().unwrap();
                assert!(!files.damaged(), "{:?}", files.damage_at(files.watermark().position()));
                assert!(files.oldest_page() <= files.watermark().position().page());
            }
        });
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        looked.unwrap();
    });
}
