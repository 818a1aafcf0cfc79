//! Page files that somebody removes or cuts short while they are read and written.

use crate::roles::writer_append;
use crate::support::child::Child;
use crate::support::payload::check_batch;
use crate::support::ring::{Setup, TestRing};
use crate::support::wait::wait_until;
use nix::libc;
use std::fs::{self, OpenOptions};
use waldo::reader::{Cursor, ReadError, verify};
use waldo::writer::{Io, Writer};

fn setup(io: Io) -> Setup {
    Setup { io, ring_size: 6, ..Setup::default() }
}

/// A writer whose log has come to page `page`.
fn grown(ring: &TestRing, setup: &Setup, page: u64) -> Writer {
    let mut writer = ring.writer(setup);
    turn(&mut writer, setup, page);
    writer
}

fn turn(writer: &mut Writer, setup: &Setup, page: u64) {
    while writer.committed().page() < page {
        writer_append(writer, 10, 5, setup.max);
    }
}

/// Reads all there is from the oldest record; how it ended.
fn read(ring: &TestRing, setup: &Setup) -> Result<u64, ReadError> {
    let mut reader = ring.attach().reader_with(Cursor::Oldest, crate::support::ring::careful())?;
    let mut last = None;
    while let Some(batch) = reader.poll()? {
        last = Some(check_batch(&batch, last.unwrap_or(batch.first_seq_no() - 1), setup.max));
    }
    Ok(last.unwrap())
}

/// Who has the page keeps it; who comes later is told. The writer, which would have removed the page anyway
/// when its turn came, goes on; it used to refuse every page from then on.
#[test]
fn a_page_that_is_removed_stays_with_its_readers_and_does_not_stop_the_writer() {
    for io in Io::ALL {
        for removed in [1, 2] {
            let (setup, ring) = (setup(io), TestRing::new());
            let mut writer = grown(&ring, &setup, 4);
            let mut holder = Child::spawn("holder", setup.args(ring.home()));
            holder.expect("holding");
            fs::remove_file(ring.page(removed)).unwrap();
            let error = read(&ring, &setup).unwrap_err();
            assert!(matches!(error, ReadError::Io { .. } | ReadError::Page { .. }), "{error:?}");
            assert!(verify::verify(ring.home(), &mut |_| {}).is_err() || removed == 1);
            turn(&mut writer, &setup, 20);
            let tip = writer.tip().unwrap();
            assert_eq!(read(&ring, &setup).unwrap(), tip);
            holder.say("look");
            holder.expect("unchanged");
            holder.kill();
            writer.close().unwrap();
            verify::verify(ring.home(), &mut |_| {}).unwrap();
            assert_eq!(ring.writer(&setup).tip(), Some(tip));
        }
    }
}

/// The kernel has no bytes for the rest of such a mapping: it ends the process that reads there with SIGBUS.
/// That is the policy, also for a page that the disk cannot read: a reader that did not notice would show
/// other bytes than were appended. Readers that have not mapped the page get an error, and the writer is not
/// touched by it.
#[test]
fn a_page_that_is_cut_short_ends_who_reads_in_it_and_nobody_else() {
    for io in Io::ALL {
        let (setup, ring) = (setup(io), TestRing::new());
        let mut writer = grown(&ring, &setup, 4);
        let mut holder = Child::spawn("holder", setup.args(ring.home()));
        holder.expect("holding");
        let mut follower =
            Child::spawn("follower", setup.args(ring.home()).with("after", writer.tip().unwrap()));
        follower.expect("ready");
        OpenOptions::new().write(true).open(ring.page(1)).unwrap().set_len(4096).unwrap();
        holder.say("look");
        wait_until("the reader has ended", || holder.ended());
        assert_eq!(holder.ended_by(), Some(libc::SIGBUS));
        let error = read(&ring, &setup).unwrap_err();
        assert!(matches!(error, ReadError::Page { .. }), "{error:?}");
        assert!(verify::verify(ring.home(), &mut |_| {}).is_err());
        let before = writer.tip().unwrap();
        turn(&mut writer, &setup, 20);
        let tip = writer.tip().unwrap();
        // It may have been overtaken while it slept, unless it is told where the end is.
        drop(follower);
        assert_eq!(read(&ring, &setup).unwrap(), tip);
        assert!(tip > before);
        writer.close().unwrap();
        verify::verify(ring.home(), &mut |_| {}).unwrap();
    }
}
