//! Rings that are moved, removed, replaced, or reached by another link than before.
//!
//! A reader looked for everything by path, and held on to the segment that it had mapped: when a ring was
//! removed and made anew at the same place, when its directory was moved, when a symbolic link was flipped,
//! followers waited for ever, or read pages of one ring up to a watermark of another.

use crate::testing::{Forge, drain, read_n, until};
use crate::{AttachOptions, Batches, ControlKind, Cursor, ReadError, Reader, Ring, RingId, WriterStatus};
use futures_core::Stream;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;
use tempfile::TempDir;
use waldo_shm_protocol::segment::{SegmentCounts, WriterState};

const PAGE: u64 = 16384;
const OTHER: RingId = [9; 16];

/// Whether a writer has a segment, and whether it is alive.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Writer {
    Alive,
    Closed,
    Killed,
    /// There is no segment.
    Unseen,
}

const WRITERS: [Writer; 4] = [Writer::Alive, Writer::Closed, Writer::Killed, Writer::Unseen];

fn forge(writer: Writer) -> Forge {
    let mut forge = if writer == Writer::Unseen { Forge::new(PAGE, 4) } else { Forge::live(PAGE, 4) };
    forge.append_n(5);
    forge
}

fn leave(forge: &Forge, writer: Writer) {
    let Some(control) = &forge.control else { return };
    match writer {
        Writer::Alive | Writer::Unseen => {}
        Writer::Closed => control.state(WriterState::Closed),
        Writer::Killed => control.publisher().beat(1),
    }
}

fn attach(home: &Path) -> Ring {
    Ring::attach_with(home, AttachOptions::default().check_interval(Duration::from_millis(50))).unwrap()
}

/// Readers of one ring that do it in different ways.
struct Followers {
    ring: Ring,
    polls: Reader,
    receives: Reader,
    stream: Batches,
    sleeper: thread::JoinHandle<Result<Vec<u64>, ReadError>>,
}

fn followers(home: &Path) -> Followers {
    let ring = attach(home);
    let reader = |ring: &Ring| {
        let mut reader = ring.reader(Cursor::Oldest).unwrap();
        assert_eq!(drain(&mut reader), [1, 2, 3, 4, 5]);
        reader
    };
    let mut sleeps = reader(&attach(home));
    // Everything has been looked at, and may be taken for unchanged if it looks so from outside.
    ring.status().unwrap();
    Followers {
        polls: reader(&ring),
        receives: reader(&ring),
        stream: reader(&attach(home)).into_stream(),
        sleeper: thread::spawn(move || {
            let mut seen = Vec::new();
            // The tests append three records. They may come one by one.
            while seen.len() < 3 {
                seen.extend(sleeps.recv(None)?.iter().flat_map(crate::testing::numbers));
            }
            Ok(seen)
        }),
        ring,
    }
}

impl Followers {
    /// Everybody is told something like this, again and again.
    fn all_told(mut self, context: &str, told: impl Fn(&ReadError) -> bool) {
        let check = |error: ReadError| assert!(told(&error), "{context}: {error}");
        check(until(context, || self.polls.poll().err()));
        // Not only when it is time to look again.
        check(self.polls.poll().unwrap_err());
        check(until(context, || self.receives.recv(Some(Duration::from_millis(20))).err()));
        check(self.ring.status().unwrap_err());
        let mut cx = Context::from_waker(Waker::noop());
        check(until(context, || match Pin::new(&mut self.stream).poll_next(&mut cx) {
            Poll::Ready(Some(outcome)) => outcome.err(),
            _ => None,
        }));
        check(self.sleeper.join().unwrap().unwrap_err());
    }

    /// Everybody gets what is appended.
    fn all_go_on(mut self, context: &str, next: &[u64]) {
        assert_eq!(read_n(&mut self.polls, next.len()), next, "{context}");
        assert_eq!(read_n(&mut self.receives, next.len()), next, "{context}");
        assert_eq!(self.sleeper.join().unwrap().unwrap(), next, "{context}");
        let mut cx = Context::from_waker(Waker::noop());
        let mut seen = Vec::new();
        until(context, || {
            if let Poll::Ready(Some(batch)) = Pin::new(&mut self.stream).poll_next(&mut cx) {
                seen.extend(crate::testing::numbers(&batch.unwrap()));
            }
            (seen.len() >= next.len()).then_some(())
        });
        assert_eq!(seen, next, "{context}");
    }
}

/// Makes a ring with another identity at `home`.
fn another_ring(home: &Path) -> Forge {
    let mut other = Forge::new(PAGE, 4);
    other.meta.ring_id = OTHER;
    other.write_meta();
    fs::rename(other.home(), home).unwrap();
    other
}

/// Copies a directory. The copy is put in place when it is whole.
fn copy(from: &Path, to: &Path) {
    let part = to.with_extension("part");
    fs::create_dir(&part).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), part.join(entry.file_name())).unwrap();
    }
    fs::rename(part, to).unwrap();
}

fn is_replaced(home: &Path) -> impl Fn(&ReadError) -> bool {
    let home = home.to_path_buf();
    move |error| {
        matches!(error, ReadError::Replaced { home: at, found: OTHER, .. } if *at == home)
            && error.to_string().contains("attach anew")
    }
}

/// The same, or that there is none, for who looks when it has been removed and not been made yet.
fn is_replaced_or_gone(home: &Path) -> impl Fn(&ReadError) -> bool {
    let is_replaced = is_replaced(home);
    move |error| is_replaced(error) || matches!(error, ReadError::Gone { .. })
}

fn outside() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("elsewhere");
    (dir, path)
}

#[test]
fn a_ring_that_was_removed_and_made_anew_is_not_taken_for_the_one_before() {
    for writer in WRITERS {
        let forge = forge(writer);
        let followers = followers(forge.home());
        let ring = followers.ring.clone();
        leave(&forge, writer);
        fs::remove_dir_all(forge.home()).unwrap();
        let _other = another_ring(forge.home());
        followers.all_told(&format!("{writer:?}"), is_replaced_or_gone(forge.home()));
        assert!(is_replaced(forge.home())(&ring.status().unwrap_err()), "{writer:?}");
    }
}

#[test]
fn a_ring_that_was_made_anew_in_the_same_directory_is_another_one() {
    for writer in WRITERS {
        let mut forge = forge(writer);
        let followers = followers(forge.home());
        let ring = followers.ring.clone();
        leave(&forge, writer);
        for entry in fs::read_dir(forge.home()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        forge.meta.ring_id = OTHER;
        forge.write_meta();
        followers.all_told(&format!("{writer:?}"), is_replaced_or_gone(forge.home()));
        assert!(is_replaced(forge.home())(&ring.status().unwrap_err()), "{writer:?}");
    }
}

#[test]
fn a_ring_that_was_removed_is_gone() {
    for (writer, whole) in WRITERS.into_iter().flat_map(|writer| [(writer, true), (writer, false)]) {
        let forge = forge(writer);
        let followers = followers(forge.home());
        leave(&forge, writer);
        if whole {
            fs::remove_dir_all(forge.home()).unwrap();
        } else {
            fs::remove_file(forge.home().join("ring.meta")).unwrap();
        }
        followers.all_told(
            &format!("{writer:?} {whole}"),
            |error| matches!(error, ReadError::Gone { home } if home == forge.home()),
        );
    }
}

#[test]
fn a_ring_that_was_moved_is_read_on_where_it_is() {
    for (writer, restart) in WRITERS.into_iter().flat_map(|writer| [(writer, true), (writer, false)]) {
        let mut forge = forge(writer);
        let followers = followers(forge.home());
        leave(&forge, writer);
        let (_dir, elsewhere) = outside();
        let before = forge.home().to_path_buf();
        fs::rename(&before, &elsewhere).unwrap();
        if restart {
            // Its next writer is started on the new path.
            forge.start_unseen_at(&elsewhere);
        }
        if writer != Writer::Alive {
            // A writer that makes pages by path could not go on. This one has its page open.
            forge.control = None;
        }
        forge.append_n(3);
        if restart || matches!(writer, Writer::Alive | Writer::Unseen) {
            followers.all_go_on(&format!("{writer:?} {restart}"), &[6, 7, 8]);
        } else {
            // Nobody has appended but a writer that is gone: as before, its segment says where the log ends.
            drop(followers.ring);
            forge.start_unseen_at(&elsewhere);
            assert_eq!(followers.sleeper.join().unwrap().unwrap(), [6, 7, 8]);
        }
        fs::rename(&elsewhere, before).unwrap();
    }
}

#[test]
fn a_ring_that_was_put_in_the_place_of_one_that_was_moved_is_another_one() {
    for writer in WRITERS {
        let forge = forge(writer);
        let followers = followers(forge.home());
        leave(&forge, writer);
        let (_dir, elsewhere) = outside();
        fs::rename(forge.home(), &elsewhere).unwrap();
        let _other = another_ring(forge.home());
        followers.all_told(&format!("{writer:?}"), is_replaced(forge.home()));
    }
}

#[test]
fn a_symbolic_link_that_leads_to_another_ring_now_is_noticed() {
    for writer in WRITERS {
        let forge = forge(writer);
        let (dir, elsewhere) = outside();
        let link = dir.path().join("ring");
        symlink(forge.home(), &link).unwrap();
        let followers = followers(&link);
        leave(&forge, writer);
        let _other = another_ring(&elsewhere);
        let flipped = dir.path().join("flipped");
        symlink(&elsewhere, &flipped).unwrap();
        fs::rename(flipped, &link).unwrap();
        followers.all_told(&format!("{writer:?}"), is_replaced(&link));
    }
}

#[test]
fn a_copy_that_was_put_in_the_place_of_the_ring_is_gone_over_to() {
    // A backup was put back, or the ring moved to another disk. The directory is another one, the ring is the
    // same.
    for writer in WRITERS {
        let mut forge = forge(writer);
        let followers = followers(forge.home());
        leave(&forge, writer);
        let (_dir, elsewhere) = outside();
        fs::rename(forge.home(), &elsewhere).unwrap();
        copy(&elsewhere, forge.home());
        forge.reopen_page();
        forge.start_unseen();
        forge.append_n(3);
        followers.all_go_on(&format!("{writer:?}"), &[6, 7, 8]);
    }
}

#[test]
fn a_copy_that_holds_less_rewinds_its_readers() {
    let mut forge = forge(Writer::Closed);
    let (_dir, backup) = outside();
    copy(forge.home(), &backup);
    forge.append_n(4);
    let mut reader = attach(forge.home()).reader(Cursor::Oldest).unwrap();
    assert_eq!(drain(&mut reader).len(), 9);
    forge.control.as_ref().unwrap().state(WriterState::Closed);
    fs::remove_dir_all(forge.home()).unwrap();
    fs::rename(&backup, forge.home()).unwrap();
    let error = until("the reader is told", || reader.poll().err());
    assert!(matches!(error, ReadError::Rewound { seq_no: Some(9), .. }), "{error}");
    reader.seek(Cursor::Oldest).unwrap();
    assert_eq!(drain(&mut reader), [1, 2, 3, 4, 5]);
}

#[test]
fn a_copy_is_not_read_by_the_segment_of_the_original() {
    // As with shared memory: the segment lies elsewhere, and the copied link leads to it. Nobody has opened
    // the copy.
    let (dir, elsewhere) = outside();
    let mut forge = Forge::new(PAGE, 4);
    forge.append_n(5);
    let shape = waldo_shm_protocol::segment::SegmentGeometry::new(SegmentCounts {
        page_slots: 6,
        index_capacity: 32,
        wake_words: 4,
    })
    .unwrap();
    forge.open_control_at(shape, dir.path().join("segment"));
    forge.control.as_ref().unwrap().state(WriterState::Closed);
    let ring = attach(forge.home());
    let mut reader = ring.reader(Cursor::Oldest).unwrap();
    assert_eq!(drain(&mut reader).len(), 5);
    assert_ne!(ring.status().unwrap().control, ControlKind::Files);
    fs::rename(forge.home(), &elsewhere).unwrap();
    copy(&elsewhere, forge.home());
    assert_eq!(ring.status().unwrap().control, ControlKind::Files);
    assert!(reader.poll().unwrap().is_none());
}

#[test]
fn a_path_that_leads_nowhere_does_not_disturb_a_writer_s_readers() {
    let mut forge = forge(Writer::Alive);
    let (_dir, elsewhere) = outside();
    let ring = attach(forge.home());
    let mut reader = ring.reader(Cursor::Tip).unwrap();
    fs::rename(forge.home(), &elsewhere).unwrap();
    forge.append_n(2);
    assert_eq!(read_n(&mut reader, 2), [6, 7]);
    let status = ring.status().unwrap();
    assert_eq!((status.writer, status.tip_seq_no), (WriterStatus::Live, Some(7)));
    fs::rename(elsewhere, forge.home()).unwrap();
}
