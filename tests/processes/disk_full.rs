//! A file system without room.

use crate::support::payload::{check_batch, payloads};
use crate::support::ring::{Setup, TestRing};
use crate::support::wait::wait_until;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;
use waldo::reader::{Cursor, verify};
use waldo::writer::{AppendError, Io, OpenError, Writer};

/// A small file system of its own.
struct Mount(TempDir);

impl Mount {
    /// `None`, and a word about it, where mounting is not allowed.
    fn new(size: &str) -> Option<Mount> {
        let dir = tempfile::Builder::new().prefix("waldo-test-mount-").tempdir().unwrap();
        let data = format!("size={size}");
        match mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some(data.as_str())) {
            Ok(()) => Some(Mount(dir)),
            Err(error) => {
                println!("skipped: cannot mount a tmpfs here: {error}");
                None
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Also when something in it is still open.
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_ring_that_does_not_fit_is_not_made() {
    let Some(mount) = Mount::new("2m") else { return };
    let ring = TestRing::at(mount.path("ring"));
    let setup = Setup { page_len: 4 << 20, ..Setup::default() };
    match Writer::open(ring.home(), setup.options()) {
        Err(OpenError::Io { source, .. }) => assert_eq!(source.raw_os_error(), Some(nix::libc::ENOSPC)),
        other => panic!("{other:?}"),
    }
    // What it left behind is no obstacle.
    let mut writer = ring.writer(&Setup::default());
    writer.append_payloads(&payloads(1, 5, 100)).unwrap();
    let mut reader = ring.reader(Cursor::Oldest);
    assert_eq!(check_batch(&reader.poll().unwrap().unwrap(), 0, 100), 5);
    writer.close().unwrap();
    verify::verify(ring.home(), &mut |_| {}).unwrap();
}

#[test]
fn a_ring_opens_on_a_full_disk_as_far_as_its_pages_have_room() {
    for setup in Setup::all() {
        let Some(mount) = Mount::new("2m") else { return };
        let ring = TestRing::at(mount.path("ring"));
        let mut writer = ring.writer(&setup);
        writer.append_payloads(&payloads(1, 5, 100)).unwrap();
        writer.close().unwrap();
        // A little has to be left for the link to the control segment.
        let reserve = mount.path("reserve");
        fs::write(&reserve, vec![1; 64 << 10]).unwrap();
        let full = fs::write(mount.path("ballast"), vec![1; 2 << 20]).unwrap_err();
        assert_eq!(full.raw_os_error(), Some(nix::libc::ENOSPC));
        fs::remove_file(&reserve).unwrap();

        let mut writer = ring.writer(&setup);
        assert_eq!(writer.tip(), Some(5));
        writer.append_payloads(&payloads(6, 10, 100)).unwrap();
        let mut reader = ring.reader(Cursor::Oldest);
        assert_eq!(check_batch(&reader.poll().unwrap().unwrap(), 0, 100), 10);
        writer.close().unwrap();
    }
}

#[test]
fn without_room_for_the_next_page_appending_stops_and_goes_on_when_there_is() {
    const MAX: usize = 1000;
    for io in Io::ALL {
        for interval_ms in [None, Some(20)] {
            let Some(mount) = Mount::new("2m") else { return };
            let ring = TestRing::at(mount.path("ring"));
            let ballast = mount.path("ballast");
            fs::write(&ballast, vec![1; 1 << 20]).unwrap();
            let setup = Setup { io, interval_ms, page_len: 400 << 10, max: MAX, ..Setup::default() };
            let mut writer = ring.writer(&setup);
            let mut reader = ring.reader(Cursor::Oldest);
            // More than the two pages that fit.
            let batch = payloads(1, 3000, MAX);
            let Err(AppendError::NoPage { tip, cause }) = writer.append_payloads(&batch) else { panic!() };
            assert!(cause.to_string().contains("page 3"), "{cause}");
            assert!(tip > 500 && tip < 3000, "{tip}");
            assert_eq!(writer.tip(), Some(tip));
            // What fitted is part of the log.
            let mut last = 0;
            while let Some(batch) = reader.poll().unwrap() {
                last = check_batch(&batch, last, MAX);
            }
            assert_eq!(last, tip);
            // A record that does not fit behind the last one is refused again.
            let large = vec![vec![7u8; 50_000]];
            assert!(matches!(writer.append_payloads(&large), Err(AppendError::NoPage { .. })));
            assert_eq!(writer.tip(), Some(tip));

            fs::remove_file(&ballast).unwrap();
            wait_until("there is room again", || {
                let rest = payloads(tip + 1, 3000, MAX);
                writer.tip() == Some(tip) && writer.append_payloads(&rest).is_ok()
            });
            while last < 3000 {
                last = check_batch(&reader.poll().unwrap().unwrap(), last, MAX);
            }
            writer.close().unwrap();
            verify::verify(ring.home(), &mut |_| {}).unwrap();
        }
    }
}
