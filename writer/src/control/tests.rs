//! Strange things under a segment's name.

use super::object::posix_name;
use super::{boot, object};
use crate::disk::{Directory, OsDisk};
use crate::testing::{Home, LAZY, small};
use crate::{ControlPlace, Io, OpenError, Writer, WriterOptions};
use nix::fcntl::{FallocateFlags, fallocate};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::thread;
use waldo_shm_protocol::link::Link;
use waldo_shm_protocol::meta::Meta;
use waldo_shm_protocol::names;

/// User and group `nobody`.
const NOBODY: u32 = 65534;

fn options() -> WriterOptions {
    small(Io::Pwrite, LAZY)
}

fn options_at(path: &Path) -> WriterOptions {
    WriterOptions { control: ControlPlace::Path(path.to_owned()), ..options() }
}

fn link(home: &Home) -> Link {
    Link::parse(&fs::read(home.path().join(names::LINK)).unwrap()).unwrap()
}

/// The segment's name when nothing is in its way.
fn own_name(home: &Home) -> Link {
    let meta = Meta::check(&fs::read(home.path().join(names::META)).unwrap()).unwrap();
    Link::Posix(posix_name(&meta.ring_id, Directory::open(home.path()).unwrap().object().unwrap()))
}

/// Runs `test` where mounts, /dev/shm with `size` bytes among them, are nobody else's business.
fn with_own_shm(size: &str, test: impl FnOnce() + Send + 'static) {
    let data = format!("size={size}");
    let apart = thread::spawn(move || {
        // SAFETY: takes flags only. It parts this thread from the others, which go on as they were.
        let parted = unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0;
        let none = None::<&str>;
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        let mounted = parted
            && mount(none, "/", none, private, none).is_ok()
            && mount(Some("tmpfs"), "/dev/shm", Some("tmpfs"), MsFlags::empty(), Some(data.as_str())).is_ok();
        if !mounted {
            println!("skipped: no mounts of its own here");
            return;
        }
        test();
    });
    apart.join().unwrap();
}

fn in_shm(link: &Link) -> PathBuf {
    object::path_of(link)
}

/// Makes one strange thing after the other at a path; `check` sees each.
fn strange_things(path: &Path, elsewhere: &Path, mut check: impl FnMut(&str, &dyn Fn() -> Vec<u8>)) {
    let fresh = || {
        let _ = fs::remove_file(path);
        let _ = fs::remove_dir(path);
    };
    let content = || fs::read(path).unwrap();
    for (what, bytes) in [
        ("text", b"somebody's notes".to_vec()),
        ("an empty file", Vec::new()),
        ("a long file", vec![0x5a; 1 << 20]),
        ("something like a segment", [b"WALDOCS\n".to_vec(), vec![0xff; 1 << 20]].concat()),
    ] {
        fresh();
        fs::write(path, bytes).unwrap();
        check(what, &content);
    }
    fresh();
    fs::write(elsewhere, "behind the link").unwrap();
    symlink(elsewhere, path).unwrap();
    check("a symbolic link", &content);
    fresh();
    symlink("/nowhere/at/all", path).unwrap();
    check("a broken link", &|| fs::read_link(path).unwrap().into_os_string().into_encoded_bytes());
    fresh();
    nix::unistd::mkfifo(path, Mode::from_bits_truncate(0o600)).unwrap();
    let is_pipe =
        || vec![u8::from(std::os::unix::fs::FileTypeExt::is_fifo(&fs::metadata(path).unwrap().file_type()))];
    check("a pipe", &is_pipe);
    fresh();
    fs::create_dir(path).unwrap();
    check("a directory", &|| vec![u8::from(path.is_dir())]);
    fresh();
    let socket = std::os::unix::net::UnixListener::bind(path).unwrap();
    check("a socket", &|| vec![u8::from(path.symlink_metadata().is_ok())]);
    drop(socket);
    fresh();
}

/// `--control FILE` removed whatever file was there, and put a segment in its place.
#[test]
fn a_path_that_leads_to_something_else_is_refused_and_left_as_it_is() {
    let home = Home::new();
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("control");
    let refuse = |what: &str, content: &dyn Fn() -> Vec<u8>| {
        let before = content();
        match Writer::open(home.path(), options_at(&path)) {
            Err(error @ OpenError::ControlTaken { .. }) => {
                let text = error.to_string();
                assert!(text.contains("left as it is") && text.contains("another path"), "{text}");
            }
            other => panic!("{what}: {other:?}"),
        }
        assert_eq!(content(), before, "{what}");
    };
    strange_things(&path, &place.path().join("elsewhere"), refuse);
    // Another ring's segment is something else, too; and so is that of a ring of which this is a copy.
    let other = Home::new();
    other.open(&options_at(&path)).close().unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(Writer::open(home.path(), options_at(&path)), Err(OpenError::ControlTaken { .. })));
    let copy = Home::new();
    other.copy_to(&copy);
    assert!(matches!(Writer::open(copy.path(), options_at(&path)), Err(OpenError::ControlTaken { .. })));
    assert_eq!(fs::read(&path).unwrap(), before);
    // Nor can it have the name of a file of the ring itself, there or not.
    for name in [names::META, names::LOCK, names::LINK, "page-0000000000000009", "scratch-x"] {
        let refused = Writer::open(home.path(), options_at(&home.path().join(name)));
        assert!(matches!(refused, Err(OpenError::ControlTaken { .. })), "{name}: {refused:?}");
    }
    // Nothing of all that keeps the ring from opening elsewhere.
    home.open(&options_at(&place.path().join("free"))).close().unwrap();
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 3);
}

/// Somebody else's file under the name of the segment was believed and mapped, and could be cut short under
/// the writer (SIGBUS); another user's left-over kept a service from starting; a pipe there stopped it for
/// ever. Now the segment gets another name, which readers find in the link, and keeps that.
#[test]
fn what_is_in_the_way_in_shared_memory_is_left_alone_and_the_ring_opens() {
    with_own_shm("16m", || {
        let home = Home::new();
        home.open(&options()).close().unwrap();
        let own = own_name(&home);
        assert_eq!(link(&home), own);
        let path = in_shm(&own);
        let avoid = |what: &str, content: &dyn Fn() -> Vec<u8>| {
            let before = content();
            fs::write(home.path().join(names::LINK), own.render()).unwrap();
            home.open(&options()).close().unwrap();
            assert_eq!(content(), before, "{what}");
            let used = link(&home);
            assert_ne!(used, own, "{what}");
            let inode = fs::metadata(in_shm(&used)).unwrap().ino();
            home.open(&options()).close().unwrap();
            assert_eq!(link(&home), used, "{what}");
            assert_eq!(fs::metadata(in_shm(&used)).unwrap().ino(), inode, "{what}: taken over");
            fs::remove_file(in_shm(&used)).unwrap();
        };
        strange_things(&path, &home.path().join("elsewhere"), avoid);
    });
}

/// The owner of a file can shorten it, or write what they like, under whoever has mapped it.
#[test]
fn a_segment_that_belongs_to_somebody_else_is_not_mapped() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    with_own_shm("16m", || {
        let home = Home::new();
        home.open(&options()).close().unwrap();
        let path = in_shm(&own_name(&home));
        chown(&path, Some(NOBODY), Some(NOBODY)).unwrap();
        let before = fs::metadata(&path).unwrap().ino();
        home.open(&options()).close().unwrap();
        // Root may remove it, and has seen that it is this ring's.
        let stat = fs::metadata(&path).unwrap();
        assert_eq!((stat.uid(), stat.ino() == before), (0, false));
    });
}

/// The kinds of damage to a segment of our own: it is replaced, and nothing is ever a signal.
#[test]
fn a_damaged_segment_of_this_ring_is_replaced() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("control");
    for control in [ControlPlace::Posix, ControlPlace::Path(path)] {
        let home = Home::new();
        let options = WriterOptions { control, ..options() };
        home.open(&options).close().unwrap();
        let path = in_shm(&link(&home));
        let len = fs::metadata(&path).unwrap().len();
        for shorter in [len - 1, len / 2, 8192, 4096, 1024] {
            File::options().write(true).open(&path).unwrap().set_len(shorter).unwrap();
            home.open(&options).close().unwrap();
            assert_eq!(fs::metadata(&path).unwrap().len(), len);
        }
        // Lengths in its header that make no sense.
        for at in [72, 80, 84, 88] {
            std::os::unix::fs::FileExt::write_at(
                &OpenOptions::new().write(true).open(&path).unwrap(),
                &[0xff; 4],
                at,
            )
            .unwrap();
            home.open(&options).close().unwrap();
            assert_eq!(fs::metadata(&path).unwrap().len(), len);
        }
    }
}

/// A writer that is killed while it makes its segment leaves zeros, or half a header, under the ring's own
/// name.
#[test]
fn a_half_made_segment_is_made_anew() {
    let home = Home::new();
    home.open(&options()).close().unwrap();
    let path = in_shm(&own_name(&home));
    let bytes = fs::read(&path).unwrap();
    let mut without_magic = bytes.clone();
    without_magic[..8].fill(0);
    for left in [vec![0; bytes.len()], without_magic] {
        fs::remove_file(&path).unwrap();
        fs::write(&path, left).unwrap();
        home.open(&options()).close().unwrap();
        assert_eq!(link(&home), own_name(&home));
    }
    // With a path it has another name as long as that lasts.
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("control");
    let Link::Posix(name) = own_name(&home) else { unreachable!() };
    for left in [Vec::new(), vec![0; 4096], bytes] {
        fs::write(place.path().join(name.replacen('/', ".", 1)), left).unwrap();
        home.open(&options_at(&path)).close().unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}

/// A segment with holes on a tmpfs that is full: storing to it was a SIGBUS.
#[test]
fn a_segment_with_holes_gets_its_memory_or_is_refused() {
    with_own_shm("3m", || {
        let home = Home::new();
        home.open(&options()).close().unwrap();
        let path = in_shm(&own_name(&home));
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let len = file.metadata().unwrap().len();
        let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
        fallocate(&file, punch, 8192, len as i64 - 8192).unwrap();
        let ballast = Path::new("/dev/shm/ballast");
        let full = fs::write(ballast, vec![1; 4 << 20]).unwrap_err();
        assert_eq!(full.raw_os_error(), Some(libc::ENOSPC));
        match Writer::open(home.path(), options()) {
            Err(error @ OpenError::Control { .. }) => {
                assert!(error.to_string().contains("Give /dev/shm more room"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        fs::remove_file(ballast).unwrap();
        home.open(&options()).close().unwrap();
        assert!(file.metadata().unwrap().blocks() * 512 >= len);
    });
}

/// One stray file in the way of an epoch: `ring.meta` restored from a backup, while the segment is of a later
/// start.
#[test]
fn the_segment_s_epoch_is_seen_if_it_can_be_one() {
    let home = Home::new();
    let meta = home.path().join(names::META);
    home.open(&options()).close().unwrap();
    let backup = fs::read(&meta).unwrap();
    home.open(&options()).close().unwrap();
    let third = home.open(&options());
    assert_eq!(third.open_report().epoch, 3);
    third.close().unwrap();
    fs::write(&meta, backup).unwrap();
    let fourth = home.open(&options());
    assert_eq!(fourth.open_report().epoch, 4);
    fourth.close().unwrap();
    // A segment is only memory: what cannot be an epoch is none.
    for (stored, epoch) in [(u32::MAX, 5), (u32::MAX - 1000, 6), (4000, 4001)] {
        let segment = OpenOptions::new().write(true).open(in_shm(&link(&home))).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&segment, &stored.to_le_bytes(), 520).unwrap();
        let writer = home.open(&options());
        assert_eq!(writer.open_report().epoch, epoch);
        writer.close().unwrap();
    }
}

/// Each ring that was removed kept its megabyte of /dev/shm until the next reboot.
#[test]
fn segments_of_rings_that_are_gone_go_when_a_new_one_is_made() {
    with_own_shm("64m", || {
        let parent = tempfile::tempdir().unwrap();
        let open = |name: &str| Writer::open(parent.path().join(name), options()).unwrap();
        let at = |name: &str| {
            let content = fs::read(parent.path().join(name).join(names::LINK)).unwrap();
            in_shm(&Link::parse(&content).unwrap())
        };
        open("removed").close().unwrap();
        open("kept").close().unwrap();
        open("moved").close().unwrap();
        open("held").close().unwrap();
        let alive = open("alive");
        let [removed, kept, moved, held, lives] = ["removed", "kept", "moved", "held", "alive"].map(at);
        fs::write("/dev/shm/waldo-notes", "not a segment").unwrap();
        fs::write("/dev/shm/other", "not ours").unwrap();
        fs::remove_dir_all(parent.path().join("removed")).unwrap();
        // Somebody has mapped this one, a reader that waits for a writer.
        let reader = File::open(&held).unwrap();
        let map = memmap2::MmapOptions::new().map_raw_read_only(&reader).unwrap();
        drop(reader);
        fs::remove_dir_all(parent.path().join("held")).unwrap();
        fs::remove_dir_all(parent.path().join("alive")).unwrap();
        fs::rename(parent.path().join("moved"), parent.path().join("elsewhere")).unwrap();
        fs::create_dir(parent.path().join("removed")).unwrap();

        open("next").close().unwrap();
        for (path, is_there) in [
            (&removed, false),
            (&kept, true),
            (&held, true),
            (&lives, true),
            (&PathBuf::from("/dev/shm/waldo-notes"), true),
            (&PathBuf::from("/dev/shm/other"), true),
            // Nobody was there, and a moved ring gets a new one.
            (&moved, false),
        ] {
            assert_eq!(path.exists(), is_there, "{}", path.display());
        }
        open("elsewhere").close().unwrap();
        drop(map);
        drop(alive);
        open("after").close().unwrap();
        assert!(!held.exists() && !lives.exists() && kept.exists());
    });
}

#[test]
fn without_a_boot_id_only_memory_is_known_to_be_of_this_boot() {
    let memory = File::open("/dev/shm").unwrap();
    let disk = File::open(env!("CARGO_MANIFEST_DIR")).unwrap();
    let (one, other) = ([1; 16], [2; 16]);
    for file in [&memory, &disk] {
        assert!(boot::same_boot(file, one, one));
        for (then, now) in [(one, other), (one, boot::UNKNOWN), (boot::UNKNOWN, one)] {
            assert!(!boot::same_boot(file, then, now));
        }
    }
    assert!(boot::same_boot(&memory, boot::UNKNOWN, boot::UNKNOWN));
    assert!(!boot::same_boot(&disk, boot::UNKNOWN, boot::UNKNOWN));
}

/// `/proc` missing, or its boot id mounted over: the open failed, for the sake of a number that proves
/// nothing about memory.
#[test]
fn a_ring_opens_without_a_boot_id() {
    for target in ["/proc", "/proc/sys/kernel/random/boot_id"] {
        with_own_shm("16m", move || {
            let none = None::<&str>;
            let outcome = match target {
                "/proc" => mount(Some("tmpfs"), target, Some("tmpfs"), MsFlags::empty(), none),
                _ => mount(Some("/dev/null"), target, none, MsFlags::MS_BIND, none),
            };
            if let Err(error) = outcome {
                println!("skipped: cannot mount over {target}: {error}");
                return;
            }
            let home = Home::new();
            home.open(&options()).close().unwrap();
            let inode = fs::metadata(in_shm(&own_name(&home))).unwrap().ino();
            home.open(&options()).close().unwrap();
            assert_eq!(fs::metadata(in_shm(&own_name(&home))).unwrap().ino(), inode);
            // Sleepers on it are told, and go over to the one that says which boot it is of.
            umount2(target, MntFlags::MNT_DETACH).unwrap();
            home.open(&options()).close().unwrap();
            assert_ne!(fs::metadata(in_shm(&own_name(&home))).unwrap().ino(), inode);
        });
    }
}

/// The link is a file like any other of the ring.
#[test]
fn a_pipe_in_the_place_of_the_link_does_not_stop_the_start() {
    let home = Home::new();
    home.open(&options()).close().unwrap();
    let path = home.path().join(names::LINK);
    fs::remove_file(&path).unwrap();
    nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
    home.open(&options()).close().unwrap();
    assert_eq!(link(&home), own_name(&home));
}

/// A disk without any room blamed /dev/shm and asked to make that larger, and the ring on it did not open:
/// its link was written anew each time.
#[test]
fn a_ring_on_a_disk_without_any_room_opens() {
    with_own_shm("16m", || {
        let place = tempfile::tempdir().unwrap();
        mount(Some("tmpfs"), place.path(), Some("tmpfs"), MsFlags::empty(), Some("size=2m")).unwrap();
        let home = place.path().join("ring");
        let open = || Writer::open(&home, options()).unwrap();
        let mut writer = open();
        writer.append_payloads(&[b"one"]).unwrap();
        writer.close().unwrap();
        let link_file = home.join(names::LINK);
        let before = fs::read(&link_file).unwrap();
        assert!(fs::write(place.path().join("ballast"), vec![1; 4 << 20]).is_err());
        let mut writer = open();
        assert_eq!(writer.tip(), Some(1));
        writer.append_payloads(&[b"two"]).unwrap();
        writer.close().unwrap();
        assert_eq!(fs::read(&link_file).unwrap(), before);

        // It leads elsewhere, or nowhere: it has to be replaced, and makes room for that itself.
        fs::write(&link_file, Link::Posix("/waldo-elsewhere".into()).render()).unwrap();
        open().close().unwrap();
        assert_eq!(fs::read(&link_file).unwrap(), before);

        // There was none, and there is no room for one. It comes when there is.
        fs::remove_file(&link_file).unwrap();
        assert!(fs::write(place.path().join("more"), vec![1; 4 << 20]).is_err());
        let writer = open();
        assert!(!link_file.exists());
        fs::remove_file(place.path().join("ballast")).unwrap();
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
        while fs::read(&link_file).ok().as_ref() != Some(&before) {
            assert!(std::time::Instant::now() < deadline, "the link does not come");
            thread::yield_now();
        }
        writer.close().unwrap();
        let _ = umount2(place.path(), MntFlags::MNT_DETACH);
    });
}

/// Whoever had to make the lock file of a ring that is there looks whether a heart beats in the segment, for
/// as long as that may take. Also where `ring.meta` was replaced too, so that no lock is left to keep it out.
#[test]
fn a_heart_that_beats_keeps_a_second_writer_out() {
    let home = Home::new();
    let options = options();
    home.open(&options).close().unwrap();
    fs::remove_file(home.path().join(names::LOCK)).unwrap();
    // A heart is simulated, without locks: a real writer stops when it notices.
    let segment = OpenOptions::new().write(true).open(in_shm(&link(&home))).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&segment, &2u32.to_le_bytes(), 512).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        let beat = || {
            for n in 0u64.. {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
                std::os::unix::fs::FileExt::write_all_at(&segment, &n.to_le_bytes(), 528).unwrap();
                thread::sleep(std::time::Duration::from_millis(1));
            }
        };
        scope.spawn(beat);
        let refusal = Writer::open(home.path(), options.clone());
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        match refusal {
            Err(OpenError::Locked { holder, .. }) => {
                assert!(holder.contains("lock file was removed"), "{holder}")
            }
            other => panic!("{other:?}"),
        }
    });
    // No heart, no writer.
    fs::remove_file(home.path().join(names::LOCK)).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&segment, &2u32.to_le_bytes(), 512).unwrap();
    home.open(&options).close().unwrap();
}

#[test]
fn the_disk_of_the_operating_system_shares_its_directory() {
    let home = tempfile::tempdir().unwrap();
    let disk = OsDisk::open(home.path()).unwrap();
    let dir = Directory::of(&disk, Path::new("/nowhere")).unwrap();
    assert_eq!(dir.object().unwrap(), Directory::open(home.path()).unwrap().object().unwrap());
}
