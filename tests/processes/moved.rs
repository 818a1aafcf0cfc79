//! Rings that are moved, removed, replaced, or reached by another link than before, under readers that sleep
//! without a deadline.

use crate::support::child::Child;
use crate::support::ring::{Setup, TestRing};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread;

/// What is done to the ring at a path.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Deed {
    Removed,
    RemovedAndMadeAnew,
    EmptiedAndMadeAnew,
    MovedAndMadeAnew,
    MovedAndGoneOnWith,
    CopiedAndGoneOnWith,
    LinkFlipped,
}

const DEEDS: [Deed; 7] = [
    Deed::Removed,
    Deed::RemovedAndMadeAnew,
    Deed::EmptiedAndMadeAnew,
    Deed::MovedAndMadeAnew,
    Deed::MovedAndGoneOnWith,
    Deed::CopiedAndGoneOnWith,
    Deed::LinkFlipped,
];

/// A ring's directory and two places more: one aside, and one for a link that leads to it.
struct Places {
    /// Dropped first: its directory is in that of the other one.
    aside: TestRing,
    ring: TestRing,
    link: PathBuf,
}

impl Places {
    fn new() -> Places {
        let ring = TestRing::new();
        let aside = TestRing::at(ring.home().with_file_name("aside"));
        let link = ring.home().with_file_name("link");
        symlink(ring.home(), &link).unwrap();
        Places { aside, ring, link }
    }

    /// Does it; gives the path that the next writer is to be started on.
    fn meddle(&self, deed: Deed) -> Option<&Path> {
        let (home, aside) = (self.ring.home(), self.aside.home());
        match deed {
            Deed::Removed | Deed::RemovedAndMadeAnew => fs::remove_dir_all(home).unwrap(),
            Deed::EmptiedAndMadeAnew => {
                fs::read_dir(home).unwrap().for_each(|e| fs::remove_file(e.unwrap().path()).unwrap());
            }
            Deed::MovedAndMadeAnew | Deed::MovedAndGoneOnWith => fs::rename(home, aside).unwrap(),
            Deed::CopiedAndGoneOnWith => {
                // A copy is put in place when it is whole.
                let copy = home.with_file_name("copy");
                fs::create_dir(&copy).unwrap();
                for entry in fs::read_dir(home).unwrap() {
                    let entry = entry.unwrap();
                    fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
                }
                fs::rename(home, aside).unwrap();
                fs::rename(copy, home).unwrap();
            }
            Deed::LinkFlipped => {
                let flipped = self.link.with_extension("new");
                symlink(aside, &flipped).unwrap();
                fs::rename(flipped, &self.link).unwrap();
            }
        }
        match deed {
            Deed::Removed => None,
            Deed::MovedAndGoneOnWith | Deed::LinkFlipped => Some(aside),
            _ => Some(home),
        }
    }
}

fn writer(setup: &Setup, home: &Path) -> Child {
    let mut writer = Child::spawn("writer", setup.args(home));
    writer.expect("opened");
    writer
}

#[test]
fn sleepers_go_on_or_are_told_whatever_is_done_to_the_ring() {
    // Side by side: most of the time all are asleep.
    thread::scope(|scope| {
        for (deed, kill) in DEEDS.into_iter().flat_map(|deed| [(deed, true), (deed, false)]) {
            scope.spawn(move || sleeper_goes_on_or_is_told(deed, kill));
        }
    });
}

fn sleeper_goes_on_or_is_told(deed: Deed, kill: bool) {
    let context = format!("{deed:?}, killed: {kill}");
    let setup = Setup { ring_size: 64, ..Setup::default() };
    let places = Places::new();
    let home = places.ring.home();
    let mut before = writer(&setup, home);
    before.say("append 100 5");
    before.expect("acked");
    // The way that a reader found it by does not matter, but for a link that leads elsewhere later.
    let named = if deed == Deed::LinkFlipped { places.link.as_path() } else { home };
    let shared = places.ring.shared_memory();
    let mut sleeper = Child::spawn("sleeper", setup.args(named));
    while sleeper.skip_to("at") != [100] {}
    if kill {
        before.kill();
    } else {
        before.say("close");
        before.expect("closed");
    }
    let next = places.meddle(deed).map(|home| writer(&setup, home));
    let Some(mut next) = next else {
        assert_eq!(sleeper.hear(), ["gone"], "{context}");
        sleeper.finish();
        return remove(shared);
    };
    next.say("append 50 5");
    next.expect("acked");
    if matches!(deed, Deed::MovedAndGoneOnWith | Deed::CopiedAndGoneOnWith) {
        while sleeper.skip_to("at") != [150] {}
    } else {
        // Who looks when it has been removed, and not been made yet, is told just that.
        let between = matches!(deed, Deed::RemovedAndMadeAnew | Deed::EmptiedAndMadeAnew);
        let told = sleeper.hear();
        assert!(told == ["replaced"] || (between && told == ["gone"]), "{context}: {told:?}");
        sleeper.finish();
    }
    next.say("close");
    next.expect("closed");
    remove(shared);
}

/// Removes the segments of a ring that is not where it was.
fn remove(shared: Option<String>) {
    let Some(start) = shared else { return };
    for entry in fs::read_dir("/dev/shm").unwrap() {
        let name = format!("/{}", entry.unwrap().file_name().display());
        if name.starts_with(&start) {
            let _ = nix::sys::mman::shm_unlink(name.as_str());
        }
    }
}
