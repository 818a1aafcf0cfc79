//! Readers that make themselves seen, and what others may put in their way.

use super::process::{ProcessState, ReaderProcess};
use super::report::Content;
use super::{ReaderReports, ReportDirectory, ReportError, Reporter};
use crate::testing::{Forge, RING, drain};
use crate::{Checkpoint, Cursor};
use nix::sys::stat::Mode;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tempfile::TempDir;
use waldo_shm_protocol::RingId;

/// A place to report to, and a ring to report of.
struct Scene {
    base: TempDir,
    forge: Forge,
}

impl Scene {
    fn new() -> Scene {
        let mut forge = Forge::live(16384, 8);
        forge.append_n(5);
        Scene { base: tempfile::tempdir().unwrap(), forge }
    }

    fn directory(&self) -> ReportDirectory {
        ReportDirectory::at(self.base.path())
    }

    fn reporter(&self, name: &str) -> Reporter {
        let reader = self.forge.attach().reader(Cursor::Oldest).unwrap();
        self.directory().reporter(&reader, name).unwrap()
    }

    fn reports(&self) -> ReaderReports {
        self.directory().reports(&RING).unwrap()
    }

    fn names(&self) -> Vec<String> {
        self.reports().reports.into_iter().map(|report| report.name).collect()
    }

    /// The directory of the ring's files.
    fn lower(&self) -> PathBuf {
        self.upper().join("07".repeat(16))
    }

    fn upper(&self) -> PathBuf {
        self.base.path().join(format!("waldo.readers.{}", nix::unistd::geteuid()))
    }

    /// Has a reader written this, and died or not.
    fn put(&self, file: &str, name: &str, process: ReaderProcess, age: Duration) {
        let position = Checkpoint { ring_id: RING, seq_no: 3, epoch: 1, checksum: 7 };
        let content = Content { name: name.to_owned(), position, process, time: SystemTime::now() - age };
        self.directory().put(&RING, file, content.render().as_bytes()).unwrap();
    }
}

fn dead() -> ReaderProcess {
    let here = ReaderProcess::this();
    ReaderProcess { started: here.started + 1, ..here }
}

fn left(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn a_reader_is_seen_where_it_is_until_it_ends() {
    let scene = Scene::new();
    let ring = scene.forge.attach();
    let mut reader = ring.reader(Cursor::Oldest).unwrap();
    let mut reporter = scene.directory().reporter(&reader, "indexer").unwrap();
    assert_eq!(reporter.due_in(), None);
    assert_eq!(drain(&mut reader), [1, 2, 3, 4, 5]);
    reporter.note(&reader).unwrap();
    // Not sooner than a second after the first.
    assert!(reporter.due_in().is_some());
    reporter.write().unwrap();
    assert_eq!(reporter.due_in(), None);
    let found = scene.reports();
    let [report] = &found.reports[..] else { panic!("{found:?}") };
    assert_eq!((report.name.as_str(), report.process), ("indexer", ProcessState::Live));
    assert_eq!((report.pid, report.user), (std::process::id(), nix::unistd::geteuid().as_raw()));
    assert_eq!(Some(report.position), reader.checkpoint());
    assert!(!found.cut_short && found.unusable == 0);
    // Other rings have other readers.
    assert_eq!(scene.directory().reports(&[8; 16]).unwrap(), ReaderReports::default());
    drop(reporter);
    assert_eq!(left(scene.base.path()), [""; 0]);
}

/// Only a position that has changed is written, and only after a second.
#[test]
fn an_idle_reader_writes_nothing() {
    let scene = Scene::new();
    let mut reader = scene.forge.attach().reader(Cursor::Oldest).unwrap();
    let mut reporter = scene.directory().reporter(&reader, "idle").unwrap();
    let inode = || fs::metadata(scene.lower().join(&left(&scene.lower())[0])).unwrap().ino();
    let first = inode();
    for _ in 0..1000 {
        reporter.note(&reader).unwrap();
    }
    drain(&mut reader);
    reporter.note(&reader).unwrap();
    let due = reporter.due_in().unwrap();
    assert!(due <= Duration::from_secs(1) && (due.is_zero() || inode() == first));
}

#[test]
fn a_name_is_a_line_of_text() {
    let scene = Scene::new();
    let reader = scene.forge.attach().reader(Cursor::Tip).unwrap();
    for wrong in ["", "a\nb", "\x1b[2J", "\u{9b}31m", &"x".repeat(129)] {
        let error = scene.directory().reporter(&reader, wrong).unwrap_err();
        assert!(matches!(error, ReportError::Name), "{wrong:?}: {error}");
    }
    for right in ["../../etc/passwd", "a checksum 00000000", "schön \u{1F9ED}", &"x".repeat(128)] {
        let _reporter = scene.directory().reporter(&reader, right).unwrap();
        assert_eq!(scene.names(), [right]);
    }
}

#[test]
fn a_dead_reader_is_shown_until_somebody_takes_its_name_or_an_hour_is_over() {
    let scene = Scene::new();
    scene.put("1", "gone", dead(), Duration::ZERO);
    scene.put("2", "long gone", dead(), HOUR * 2);
    scene.put("3", "succeeded", dead(), Duration::ZERO);
    scene.put("4", "succeeded", ReaderProcess::this(), HOUR * 2);
    let elsewhere = ReaderProcess { namespaces: [1, 1], ..ReaderProcess::this() };
    scene.put("5", "elsewhere", elsewhere, HOUR * 2);
    scene.put("6", "long elsewhere", elsewhere, HOUR * 25);
    let states: Vec<_> =
        scene.reports().reports.into_iter().map(|report| (report.name, report.process)).collect();
    let expected = [
        ("elsewhere", ProcessState::Unknown),
        ("gone", ProcessState::Dead),
        ("succeeded", ProcessState::Live),
    ];
    assert_eq!(states, expected.map(|(name, state)| (name.to_owned(), state)));
    // Looking removes nothing; the owner does, and so does its next reader.
    assert_eq!(left(&scene.lower()).len(), 6);
    let reporter = scene.reporter("next");
    assert_eq!(left(&scene.lower()).len(), 4, "{:?}", left(&scene.lower()));
    drop(reporter);
    scene.put("7", "long gone", dead(), HOUR * 2);
    scene.directory().sweep(&RING);
    assert_eq!(left(&scene.lower()), ["1", "4", "5"]);
}

/// No reader comes to a ring that has been removed, and takes away what dead ones have left there.
#[test]
fn what_is_left_over_is_found_for_all_rings() {
    let scene = Scene::new();
    let directory = scene.directory();
    assert_eq!(left_over(&directory), []);
    scene.put("1", "gone", dead(), Duration::ZERO);
    scene.put("2", "long gone", dead(), HOUR * 2);
    scene.put("3", "live", ReaderProcess::this(), HOUR * 2);
    let other = [8; 16];
    let position = Checkpoint { ring_id: other, seq_no: 3, epoch: 1, checksum: 7 };
    let time = SystemTime::now() - HOUR * 2;
    let content = Content { name: "long gone".to_owned(), position, process: dead(), time };
    directory.put(&other, "4", content.render().as_bytes()).unwrap();
    directory.put(&other, "5", content.render().as_bytes()).unwrap();
    fs::create_dir(scene.upper().join("of nobody")).unwrap();
    let found = left_over(&directory);
    let other_place = scene.upper().join("08".repeat(16));
    assert_eq!(found, [(RING, scene.lower(), 1), (other, other_place.clone(), 2)]);
    assert_eq!((directory.sweep(&RING), directory.sweep(&other)), (1, 2));
    assert_eq!(left(&scene.lower()), ["1", "3"]);
    assert!(!other_place.exists());
    assert_eq!(left_over(&directory), []);
    // Whose the directory is that bears this user's name is another question.
    fs::set_permissions(scene.upper(), fs::Permissions::from_mode(0o777)).unwrap();
    assert!(matches!(directory.rings(), Err(ReportError::Unsafe { .. })));
}

/// One directory that is not as it should be is told, and hides those of no other ring.
#[test]
fn a_directory_that_cannot_be_trusted_does_not_hide_what_is_left_over_of_other_rings() {
    let scene = Scene::new();
    let directory = scene.directory();
    scene.put("1", "long gone", dead(), HOUR * 2);
    let other = [1; 16];
    fs::write(scene.upper().join("01".repeat(16)), "no directory").unwrap();
    assert_eq!(directory.rings().unwrap(), [other, RING]);
    assert!(directory.left_over(&other).is_err());
    assert_eq!(directory.left_over(&RING).unwrap().map(|left| left.files), Some(1));
    // What could not be removed is not counted as if it had been.
    fs::create_dir(scene.lower().join("2")).unwrap();
    fs::File::open(scene.lower().join("2")).unwrap().set_modified(SystemTime::now() - HOUR * 2).unwrap();
    assert_eq!(directory.left_over(&RING).unwrap().map(|left| left.files), Some(2));
    assert_eq!(directory.sweep(&RING), 1);
}

/// Of every ring: its number, the place of its reports, and how many would be removed.
fn left_over(directory: &ReportDirectory) -> Vec<(RingId, PathBuf, u64)> {
    let of = |ring_id| Some((ring_id, directory.left_over(&ring_id).unwrap()?));
    let found = directory.rings().unwrap().into_iter().filter_map(of);
    found.map(|(ring_id, left)| (ring_id, left.path, left.files)).collect()
}

/// What another user's directory may hold.
#[test]
fn what_is_no_report_is_counted_and_never_waited_for() {
    let scene = Scene::new();
    scene.put("good", "good", ReaderProcess::this(), Duration::ZERO);
    let lower = scene.lower();
    let good = fs::read(lower.join("good")).unwrap();
    nix::unistd::mkfifo(&lower.join("fifo"), Mode::S_IRWXU).unwrap();
    symlink(lower.join("good"), lower.join("link")).unwrap();
    symlink("/dev/zero", lower.join("endless")).unwrap();
    fs::create_dir(lower.join("dir")).unwrap();
    fs::write(lower.join("huge"), vec![b'x'; 1 << 20]).unwrap();
    fs::write(lower.join("empty"), "").unwrap();
    fs::write(lower.join("binary"), [0xff; 300]).unwrap();
    fs::write(lower.join("half.new"), &good[..20]).unwrap();
    let found = scene.reports();
    assert_eq!((found.reports.len(), found.unusable), (1, 7), "{found:?}");
    for at in 0..good.len() {
        assert!(Content::parse(&good[..at]).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut wrong = good.clone();
            wrong[at] ^= 1 << bit;
            assert!(Content::parse(&wrong).is_err(), "bit {bit} of byte {at}");
        }
    }
    // One of another ring, put where it does not belong.
    let other = ReportDirectory::at(scene.base.path());
    other.put(&[8; 16], "x", &good).unwrap();
    assert_eq!(other.reports(&[8; 16]).unwrap().unusable, 1);
    // Nothing that is young is removed: it may be half written.
    scene.directory().sweep(&RING);
    assert_eq!(left(&lower).len(), 9);
    let old = SystemTime::now() - HOUR * 2;
    fs::File::options().write(true).open(lower.join("half.new")).unwrap().set_modified(old).unwrap();
    scene.directory().sweep(&RING);
    assert!(!left(&lower).contains(&"half.new".to_owned()));
}

#[test]
fn a_directory_that_others_can_write_is_not_used() {
    let scene = Scene::new();
    let reader = scene.forge.attach().reader(Cursor::Oldest).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let refused = |what: &str| {
        let error = scene.directory().reporter(&reader, "x").unwrap_err();
        assert!(matches!(error, ReportError::Unsafe { .. }), "{what}: {error}");
        assert_eq!(scene.names(), [""; 0], "{what}");
    };
    symlink(elsewhere.path(), scene.upper()).unwrap();
    refused("a link");
    fs::remove_file(scene.upper()).unwrap();
    fs::write(scene.upper(), "").unwrap();
    refused("a file");
    fs::remove_file(scene.upper()).unwrap();
    fs::create_dir(scene.upper()).unwrap();
    symlink(elsewhere.path(), scene.lower()).unwrap();
    refused("a link below");
    fs::remove_file(scene.lower()).unwrap();
    for mode in [0o777, 0o775, 0o1777] {
        fs::set_permissions(scene.upper(), fs::Permissions::from_mode(mode)).unwrap();
        refused("one that others can write");
    }
    fs::set_permissions(scene.upper(), fs::Permissions::from_mode(0o755)).unwrap();
    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(scene.upper(), Some(12345), None).unwrap();
        refused("somebody else's");
        std::os::unix::fs::chown(scene.upper(), Some(0), None).unwrap();
    }
    let _reporter = scene.directory().reporter(&reader, "x").unwrap();
    assert_eq!(scene.names(), ["x"]);
    assert_eq!(left(elsewhere.path()), [""; 0]);
}

/// What an earlier attempt has left is in nobody's way, and a link there leads nowhere.
#[test]
fn a_report_is_never_written_through_a_link() {
    let scene = Scene::new();
    let victim = scene.base.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    scene.put("a", "a", ReaderProcess::this(), Duration::ZERO);
    fs::remove_file(scene.lower().join("a")).unwrap();
    for name in ["a", "a.new"] {
        symlink(&victim, scene.lower().join(name)).unwrap();
    }
    scene.put("a", "a", ReaderProcess::this(), Duration::ZERO);
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    assert_eq!(scene.names(), ["a"]);
    assert_eq!(left(&scene.lower()), ["a"]);
}

/// The last one takes the directories away, and the next one makes them anew.
#[test]
fn readers_that_come_and_go_at_once_are_not_in_each_others_way() {
    let scene = Scene::new();
    let (ring, directory) = (scene.forge.attach(), scene.directory());
    std::thread::scope(|scope| {
        for n in 0..4 {
            let (ring, directory) = (&ring, &directory);
            scope.spawn(move || {
                let mut reader = ring.reader(Cursor::Oldest).unwrap();
                for round in 0..200 {
                    let mut reporter = directory.reporter(&reader, &format!("reader {n} {round}")).unwrap();
                    drain(&mut reader);
                    reporter.note(&reader).unwrap();
                    reporter.write().unwrap();
                }
            });
        }
    });
    assert_eq!(left(scene.base.path()), [""; 0]);
}

/// `RemoveIPC=` of a service manager, or somebody who cleans up.
#[test]
fn a_report_that_was_removed_is_written_again() {
    let scene = Scene::new();
    let mut reporter = scene.reporter("x");
    fs::remove_dir_all(scene.upper()).unwrap();
    reporter.write().unwrap();
    assert_eq!(scene.names(), ["x"]);
}

#[test]
fn a_forked_child_leaves_its_parents_report_alone() {
    let scene = Scene::new();
    let parent = scene.reporter("parent");
    let mut child = scene.reporter("child");
    // As if this were another process.
    child.disown();
    child.write().unwrap();
    drop(child);
    assert_eq!(scene.names(), ["child", "parent"]);
    drop(parent);
}
