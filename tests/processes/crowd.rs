//! Many reader processes at once.

use crate::roles::writer_append;
use crate::support::child::Child;
use crate::support::crowd::{Crowd, Message, size};
use crate::support::payload::END;
use crate::support::ring::{NEVER_MS, Setup, TestRing};
use crate::support::wait::wait_until;
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};
use waldo::protocol::names;
use waldo::reader::ControlKind;
use waldo::writer::Writer;

const READERS: usize = 100;
const RECORDS: u64 = 1500;

#[test]
fn a_hundred_processes_each_see_every_record() {
    let setup = Setup { ring_size: 64, ..Setup::default() };
    let ring = TestRing::new();
    let mut writer = ring.writer(&setup);
    let args = || setup.args(ring.home()).with("until", RECORDS);
    let mut readers: Vec<Child> = (0..READERS).map(|_| Child::spawn("follower", args())).collect();
    for reader in &mut readers {
        reader.expect("ready");
    }
    writer_append(&mut writer, RECORDS, 10, setup.max);
    for mut reader in readers {
        assert_eq!(reader.skip_to("done"), [RECORDS, 0, RECORDS]);
        reader.finish();
    }
}

#[test]
fn sleepers_are_woken_by_every_append_and_by_nothing_else() {
    const SLEEPERS: usize = 20;
    const ROUNDS: u64 = 20;
    let setup = Setup { ring_size: 64, ..Setup::default() };
    let ring = TestRing::new();
    let mut writer = ring.writer(&setup);
    let args = || setup.args(ring.home()).with("until", ROUNDS);
    let mut sleepers: Vec<Child> = (0..SLEEPERS).map(|_| Child::spawn("waiter", args())).collect();
    for sleeper in &mut sleepers {
        sleeper.expect("ready");
    }
    for seq_no in 1..=ROUNDS {
        writer_append(&mut writer, 1, 1, setup.max);
        for sleeper in &mut sleepers {
            assert_eq!(sleeper.numbers("got"), [seq_no]);
        }
    }
    sleepers.into_iter().for_each(Child::finish);
}

#[test]
fn a_change_wakes_every_sleeper_of_a_crowd_once() {
    const APPENDS: u64 = 10;
    // No flush comes in between, which would be a change as well.
    let setup = Setup { ring_size: 64, interval_ms: Some(NEVER_MS), ..Setup::default() };
    let ring = TestRing::new();
    let mut writer = ring.writer(&setup);
    let attached = ring.attach();
    let mut crowd = Crowd::new("member");
    for _ in 0..size(2 * READERS) {
        crowd.start(setup.args(ring.home()).with("report", 1));
    }
    let numbers = crowd.numbers();
    crowd.expect(&numbers, "ready");
    let switches = |crowd: &Crowd| numbers.iter().map(|n| crowd.sleeps(*n)).collect::<Vec<_>>();
    let before = switches(&crowd);
    for seq_no in 1..=APPENDS {
        writer_append(&mut writer, 1, 1, setup.max);
        for answer in crowd.expect(&numbers, "at") {
            assert_eq!(answer, [seq_no]);
        }
        // The thread that wakes them beats the heart: it has come to an end with waking.
        let read = Instant::now();
        wait_until("the heart beats", || attached.status().unwrap().heartbeat_age.unwrap() < read.elapsed());
    }
    let all: u64 = switches(&crowd).iter().zip(before).map(|(after, before)| after - before).sum();
    let each = all / numbers.len() as u64;
    println!("{} readers went to sleep {each} times each for {APPENDS} appends", numbers.len());
    // Now and then one waits for its turn to tell of it.
    assert!(each <= 2 * APPENDS, "{each}");
    writer.append_payloads(&[END]).unwrap();
    crowd.expect(&numbers, "done");
    crowd.finish();
}

/// What the parent knows of one reader.
#[derive(Clone, Copy, Debug)]
struct Progress {
    last: u64,
    /// It has been stopped, and may have been lapped.
    stopped: bool,
}

/// A crowd under a writer that appends no faster than the slowest reader that nobody holds up.
struct Scene {
    /// First of all, so that readers are gone before their ring is.
    crowd: Crowd,
    progress: Vec<Progress>,
    writer: Writer,
    setup: Setup,
    ring: TestRing,
}

impl Scene {
    /// Records that a reader may be behind, and how many it reads before it says so.
    const BEHIND: u64 = 2000;
    const REPORT: u64 = 100;

    fn start(&mut self, count: usize, at_tip: bool) {
        // Who starts at the tip is no slower than the writer was then.
        let last = if at_tip { self.writer.tip().unwrap_or(0) } else { 0 };
        for _ in 0..count {
            let args = self.setup.args(self.ring.home()).with("report", Scene::REPORT).with("may_lapse", 1);
            self.crowd.start(if at_tip { args.with("tip", 1) } else { args });
            self.progress.push(Progress { last, stopped: false });
        }
        let mut ready = 0;
        while ready < count {
            let message = self.crowd.hear();
            ready += usize::from(self.note(message));
        }
    }

    /// `true` for "ready".
    fn note(&mut self, (number, words): Message) -> bool {
        let last = &mut self.progress[number];
        match words[0].as_str() {
            "ready" => return true,
            "at" => last.last = words[1].parse().unwrap(),
            "lapsed" => assert!(last.stopped, "reader {number} was lapped without having been stopped"),
            word => panic!("reader {number} said {word}"),
        }
        false
    }

    /// Appends, at a rate, until `done` holds for the progress of the readers that run.
    fn append_until(&mut self, done: impl Fn(&Scene) -> bool) {
        while !done(self) {
            let slowest = self.running().map(|number| self.progress[number].last).min().unwrap_or(u64::MAX);
            if self.writer.tip().unwrap_or(0) < slowest.saturating_add(Scene::BEHIND) {
                writer_append(&mut self.writer, 10, 10, self.setup.max);
                // The rate: some thousand records a second.
                thread::sleep(Duration::from_millis(2));
            } else {
                let message = self.crowd.hear();
                self.note(message);
            }
            while let Some(message) = self.crowd.hear_now() {
                self.note(message);
            }
        }
    }

    /// Readers that are alive and have never been stopped.
    fn running(&self) -> impl Iterator<Item = usize> {
        self.crowd.numbers().into_iter().filter(|number| !self.progress[*number].stopped)
    }

    fn all_have(&self, numbers: &[usize], seq_no: u64) -> bool {
        numbers.iter().all(|number| self.progress[*number].last + Scene::REPORT > seq_no)
    }

    /// Everything of the ring that reader `number` has open or mapped is for reading only.
    fn assert_read_only(&self, number: usize) {
        let pid = self.crowd.pid(number);
        let home = self.ring.home().to_str().unwrap();
        let ControlKind::Posix(name) = self.ring.status().control else { panic!("no shared memory") };
        let ours = |text: &str| text.contains(home) || text.contains(&name);
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let mapped: Vec<_> = maps.lines().filter(|line| ours(line)).collect();
        for line in &mapped {
            assert_eq!(line.split_whitespace().nth(1), Some("r--s"), "{line}");
        }
        let mut open = 0;
        for fd in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
            let fd = fd.unwrap();
            // One that it has just closed is nobody's.
            let Ok(target) = fs::read_link(fd.path()) else { continue };
            if !ours(target.to_str().unwrap()) {
                continue;
            }
            let info = Path::new("/proc").join(pid.to_string()).join("fdinfo").join(fd.file_name());
            let Ok(info) = fs::read_to_string(info) else { continue };
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap().trim();
            let access = i32::from_str_radix(flags, 8).unwrap() & libc::O_ACCMODE;
            assert_eq!(access, libc::O_RDONLY, "reader {number} can write to {target:?}");
            open += 1;
        }
        assert!(mapped.len() + open >= 2, "segment and page: {mapped:?}, {open} open");
    }

    /// Names in the ring's directory but for pages, and of shared memory that belongs to the ring.
    fn names(&self) -> BTreeSet<String> {
        let id = self.ring.shared_memory().unwrap();
        let list =
            |dir: &Path| fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let shared =
            list(Path::new("/dev/shm")).filter(|name| name.starts_with(&id[1..])).collect::<Vec<_>>();
        let scratch = |name: &String| name.starts_with(names::SCRATCH_PREFIX);
        list(self.ring.home())
            .filter(|name| names::parse_page(name).is_none() && !scratch(name))
            .chain(shared)
            .collect()
    }
}

#[test]
fn readers_that_start_stop_and_are_killed_disturb_nobody() {
    const ROUNDS: usize = 3;
    let setup = Setup { ring_size: 32, ..Setup::default() };
    let ring = TestRing::new();
    let writer = ring.writer(&setup);
    let (crowd, progress) = (Crowd::new("member"), Vec::new());
    let mut scene = Scene { crowd, progress, writer, setup, ring };
    let names = scene.names();
    let count = size(READERS);
    scene.start(count, false);
    let share = (count / 10).max(1);
    for round in 0..ROUNDS {
        let tip = scene.writer.tip().unwrap_or(0);
        let running: Vec<_> = scene.running().collect();
        scene.append_until(|scene| scene.all_have(&running, tip + 500));
        running.iter().step_by(running.len().div_ceil(20)).for_each(|number| scene.assert_read_only(*number));
        // In the midst of whatever they are doing.
        let (killed, rest) = running.split_at(share);
        let stopped = &rest[..share];
        stopped.iter().for_each(|number| scene.crowd.signal(*number, Signal::SIGSTOP));
        stopped.iter().for_each(|number| scene.progress[*number].stopped = true);
        killed.iter().for_each(|number| scene.crowd.kill(*number));
        scene.start(share, round % 2 == 0);
        // Every other time, until the ring has gone round.
        let page = scene.ring.status().tip_page;
        let pages = if round % 2 == 0 { 0 } else { u64::from(setup.ring_size) + 2 };
        scene.append_until(|scene| scene.ring.status().tip_page >= page + pages);
        stopped.iter().for_each(|number| scene.crowd.signal(*number, Signal::SIGCONT));
        let tip = scene.writer.tip().unwrap();
        scene.append_until(|scene| scene.all_have(stopped, tip));
        assert_eq!(scene.names(), names, "round {round}");
    }
    let end = scene.writer.append_payloads(&[END]).unwrap().last_seq_no;
    let left = scene.crowd.numbers();
    let (mut done, mut lapsed) = (0, 0);
    while done < left.len() {
        let (number, words) = scene.crowd.hear();
        if words[0] != "done" {
            scene.note((number, words));
            continue;
        }
        let [first, received, lost, last] = [1, 2, 3, 4].map(|n| words[n].parse::<u64>().unwrap());
        assert_eq!((first + received + lost, last), (end + 1, end), "reader {number}");
        assert!(lost == 0 || scene.progress[number].stopped, "reader {number} lost {lost}");
        lapsed += usize::from(lost > 0);
        done += 1;
    }
    println!("{done} readers at {end}, {lapsed} of which were lapped while they were stopped");
    assert!(lapsed > 0, "nobody was lapped");
    scene.crowd.finish();
    scene.writer.close().unwrap();
}
