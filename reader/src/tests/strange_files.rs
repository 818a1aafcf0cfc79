//! Things that are not what a file of a ring should be: nobody waits for them, and nobody dies of them.
//!
//! A file of somebody else's under the segment's name was believed, and cut short while it was mapped, which
//! ended the reader with SIGBUS. A pipe in the place of a page held `open` for ever. A segment that had not
//! been given memory, in a `/dev/shm` that was full, ended the reader at its first look.

use crate::testing::{DEADLINE, Forge, drain};
use crate::verify::verify;
use crate::{AttachError, AttachOptions, ControlKind, Cursor, Ring};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Gid, Uid, chown, geteuid, mkfifo};
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use waldo_shm_protocol::segment::{SegmentCounts, SegmentFault, SegmentGeometry};

const PAGE: u64 = 16384;
const STRANGER: u32 = 54321;

#[derive(Clone, Copy, Debug)]
enum Thing {
    Pipe,
    Socket,
    Device,
    Directory,
    LinkToPipe,
    LinkToNothing,
    LinkToItself,
}

const THINGS: [Thing; 7] = [
    Thing::Pipe,
    Thing::Socket,
    Thing::Device,
    Thing::Directory,
    Thing::LinkToPipe,
    Thing::LinkToNothing,
    Thing::LinkToItself,
];

/// Puts `thing` in the place of `path`. `false` if that is not allowed here.
fn put(thing: Thing, path: &Path) -> bool {
    fs::remove_file(path).unwrap();
    let aside = path.with_extension("aside");
    let pipe = |path: &Path| mkfifo(path, Mode::from_bits_truncate(0o644)).unwrap();
    match thing {
        Thing::Pipe => pipe(path),
        Thing::Socket => drop(UnixListener::bind(path).unwrap()),
        // /dev/zero: it has as many bytes as anybody wants.
        Thing::Device => {
            let made = mknod(path, SFlag::S_IFCHR, Mode::from_bits_truncate(0o644), makedev(1, 5));
            if let Err(error) = made {
                println!("skipped: cannot make a device here: {error}");
                return false;
            }
        }
        Thing::Directory => fs::create_dir(path).unwrap(),
        Thing::LinkToPipe => {
            pipe(&aside);
            std::os::unix::fs::symlink(aside, path).unwrap();
        }
        Thing::LinkToNothing => std::os::unix::fs::symlink(aside, path).unwrap(),
        Thing::LinkToItself => std::os::unix::fs::symlink(path, path).unwrap(),
    }
    true
}

/// Does `what`, which has to come to an end.
fn ends<T: Send + 'static>(context: &str, what: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || send.send(what()));
    receive.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("{context}: does not end"))
}

#[test]
fn nothing_in_the_place_of_a_file_holds_a_reader() {
    for (name, files_only) in ["ring.meta", "control.link", "segment-1", "page-0000000000000001"]
        .into_iter()
        .flat_map(|name| [(name, false), (name, true)])
    {
        for thing in THINGS {
            let context = format!("{thing:?} in the place of {name}, files only: {files_only}");
            let mut forge = Forge::live(PAGE, 3);
            forge.append_n(20);
            let attached = forge.attach();
            if !put(thing, &forge.home().join(name)) {
                continue;
            }
            let home = forge.home().to_path_buf();
            let outcome = ends(&context, move || {
                let options = AttachOptions::default().files_only(files_only);
                let ring = Ring::attach_with(&home, options)?;
                let mut reader = ring.reader(Cursor::Oldest)?;
                let _ = reader.recv(Some(Duration::from_millis(1)))?;
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(ring.status()?)
            });
            // What is not needed is not missed; a segment that is not there is one.
            let unneeded = (files_only && (name.starts_with("control") || name.starts_with("segment")))
                || (matches!(thing, Thing::LinkToNothing) && name == "control.link");
            assert_eq!(outcome.is_ok(), unneeded, "{context}: {outcome:?}");
            let is_read = !unneeded && (name == "ring.meta" || name == "control.link");
            if let (true, Thing::Pipe | Thing::Device | Thing::LinkToPipe, Err(error)) =
                (is_read, thing, &outcome)
            {
                assert!(error.to_string().contains("not a regular file"), "{context}: {error}");
            }
            // Whoever was there before comes to an end as well.
            ends(&context, move || {
                let _ = attached.status();
                let Ok(mut reader) = attached.reader(Cursor::Oldest) else { return };
                let _ = reader.recv(Some(Duration::from_millis(1)));
            });
            let home = forge.home().to_path_buf();
            let _ = ends(&context, move || verify(&home, &mut |_| {}).is_ok());
        }
    }
}

fn give(path: &Path, uid: u32) {
    chown(path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid))).unwrap();
}

#[test]
fn a_segment_of_somebody_else_is_not_looked_into() {
    if !geteuid().is_root() {
        println!("skipped: only root can give files away");
        return;
    }
    let mut forge = Forge::live(PAGE, 3);
    forge.append_n(20);
    let segment = forge.control.as_ref().unwrap().path.clone();
    let source = || forge.attach().status().unwrap().control;
    assert_ne!(source(), ControlKind::Files);
    give(&segment, STRANGER);
    // The files say the same, and nobody can cut those short who could not do so anyway.
    assert_eq!(source(), ControlKind::Files);
    assert_eq!(drain(&mut forge.attach().reader(Cursor::Oldest).unwrap()).len(), 20);
    // Owners of the ring may well give it a segment, whichever way they are known to own it.
    for owned in [forge.home().join("ring.meta"), forge.home().to_path_buf()] {
        give(&owned, STRANGER);
        assert_ne!(source(), ControlKind::Files, "{}", owned.display());
        give(&owned, 0);
    }
    // A stranger's link is none of ours either, wherever it leads.
    let aside = segment.with_extension("aside");
    fs::rename(&segment, &aside).unwrap();
    give(&aside, 0);
    std::os::unix::fs::symlink(&aside, &segment).unwrap();
    nix::unistd::fchownat(
        nix::fcntl::AT_FDCWD,
        &segment,
        Some(Uid::from_raw(STRANGER)),
        None,
        nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW,
    )
    .unwrap();
    assert_eq!(source(), ControlKind::Files);
}

#[test]
fn a_segment_without_memory_is_refused_before_it_is_mapped() {
    let shm = tempfile::Builder::new().prefix("waldo-test-").tempdir_in("/dev/shm").unwrap();
    let mut forge = Forge::new(PAGE, 3);
    forge.append_n(20);
    let shape =
        SegmentGeometry::new(SegmentCounts { page_slots: 50, index_capacity: 32, wake_words: 4 }).unwrap();
    forge.open_control_at(shape, shm.path().join("segment"));
    assert_ne!(forge.attach().status().unwrap().control, ControlKind::Files);
    // The same bytes, as a file with a hole where nothing but zeros were: as long as before.
    let path = forge.control.as_ref().unwrap().path.clone();
    let bytes = fs::read(&path).unwrap();
    let sparse = shm.path().join("sparse");
    fs::write(&sparse, &bytes[..12288]).unwrap();
    fs::OpenOptions::new().write(true).open(&sparse).unwrap().set_len(bytes.len() as u64).unwrap();
    forge.write_link(&sparse);
    let error = Ring::attach(forge.home()).unwrap_err();
    assert!(
        matches!(error, AttachError::Control { fault: SegmentFault::Sparse { allocated: 12288, .. }, .. }),
        "{error}"
    );
    assert!(error.to_string().contains("full"), "{error}");
}

#[test]
fn a_segment_that_cannot_say_which_boot_it_is_of_is_believed_in_memory_only() {
    for (dir, expect_files) in [("/dev/shm", false), ("", true)] {
        let mut forge = Forge::new(PAGE, 3);
        forge.append_n(20);
        let place = match dir {
            "" => tempfile::tempdir_in(forge.home()).unwrap(),
            dir => tempfile::Builder::new().prefix("waldo-test-").tempdir_in(dir).unwrap(),
        };
        forge.open_control_at(
            SegmentGeometry::new(SegmentCounts { page_slots: 5, index_capacity: 32, wake_words: 4 }).unwrap(),
            place.path().join("segment"),
        );
        // Its writer is gone, so that nothing else speaks for it.
        forge.control.as_ref().unwrap().state(waldo_shm_protocol::segment::WriterState::Closed);
        let file = fs::OpenOptions::new().write(true).open(place.path().join("segment")).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &[0; 16], 48).unwrap();
        assert_eq!(forge.attach().status().unwrap().control == ControlKind::Files, expect_files, "{dir}");
        std::os::unix::fs::FileExt::write_all_at(&file, &[1; 16], 48).unwrap();
        assert_eq!(forge.attach().status().unwrap().control, ControlKind::Files, "{dir}");
        // For a writer that is alive it is followed in memory, whichever boot it names.
        forge.control.as_ref().unwrap().state(waldo_shm_protocol::segment::WriterState::Live);
        forge.commit();
        assert_eq!(forge.attach().status().unwrap().control == ControlKind::Files, expect_files, "{dir}");
    }
}
