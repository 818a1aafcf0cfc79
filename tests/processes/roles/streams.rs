//! A process with many asynchronous streams of one ring, which keeps an eye on what they take.

use crate::support::args::Args;
use crate::support::child::tell;
use crate::support::payload::check;
use crate::support::ring::attach;
use crate::support::wait::wait_until;
use futures_util::StreamExt;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::task::JoinHandle;
use waldo::reader::{Batches, Cursor};

pub const WORKERS: usize = 2;

/// A task that follows one stream, and the last record it has seen.
struct Follower {
    task: JoinHandle<()>,
    last: Arc<AtomicU64>,
}

/// Arguments: `home`, `max`, `streams`. Obeys:
///
/// `upto N` answers `at N THREADS MAPS MICROS` when every stream has record `N`: the most threads, and
/// mappings of one page, that were seen meanwhile, and how long it took; `halve` drops every other stream and
/// answers `halved`; `drop` drops the rest and answers `dropped` when the thread that waited for them has
/// ended. Says `ready BYTES` at first, the private memory that each stream takes together with its task.
pub fn play(args: &Args) {
    let (count, max) = (args.number("streams"), args.number("max") as usize);
    let home = Path::new(args.get("home"));
    let ring = attach(home);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).build().unwrap();
    let before = private_bytes();
    let mut followers: Vec<Follower> = (0..count)
        .map(|_| {
            let batches = ring.reader(Cursor::After(0)).unwrap().into_stream();
            let last = Arc::new(AtomicU64::new(0));
            Follower { task: runtime.spawn(follow(batches, Arc::clone(&last), max)), last }
        })
        .collect();
    all_reach(&followers, 1);
    tell(format!("ready {}", (private_bytes() - before) / count));
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("upto", number) => {
                let number = number.parse().unwrap();
                let start = Instant::now();
                let (threads, maps) = watched(home, || all_have(&followers, number));
                tell(format!("at {number} {threads} {maps} {}", start.elapsed().as_micros()));
            }
            ("halve", _) => {
                let mut keep = false;
                let (kept, dropped): (Vec<_>, Vec<_>) = followers.into_iter().partition(|_| {
                    keep = !keep;
                    keep
                });
                followers = kept;
                part(dropped);
                tell("halved");
            }
            ("drop", _) => {
                part(std::mem::take(&mut followers));
                wait_until("the waiting thread ends", || waiters() == 0);
                tell("dropped");
            }
            _ => panic!("no command {line}"),
        }
    }
    drop(ring);
}

async fn follow(mut batches: Batches, seen: Arc<AtomicU64>, max: usize) {
    let mut last = 0;
    while let Some(batch) = batches.next().await {
        for record in &batch.unwrap() {
            check(&record, last, max);
            last = record.seq_no();
        }
        seen.store(last, Ordering::Relaxed);
    }
}

fn all_have(followers: &[Follower], number: u64) -> bool {
    followers.iter().all(|follower| {
        assert!(!follower.task.is_finished(), "a stream has failed");
        follower.last.load(Ordering::Relaxed) >= number
    })
}

fn all_reach(followers: &[Follower], number: u64) {
    wait_until("every stream has the record", || all_have(followers, number));
}

fn part(followers: Vec<Follower>) {
    followers.iter().for_each(|follower| follower.task.abort());
    wait_until("streams are dropped", || followers.iter().all(|f| Arc::strong_count(&f.last) == 1));
}

/// Most threads of this process, and mappings of one page, that were seen until `done`.
fn watched(home: &Path, done: impl Fn() -> bool) -> (usize, usize) {
    let (mut threads, mut maps) = (0, 0);
    wait_until("every stream has the record", || {
        let done = done();
        threads = threads.max(fs::read_dir("/proc/self/task").unwrap().count());
        maps = maps.max(mappings(home));
        assert_eq!(waiters(), 1, "threads that wait for streams");
        done
    });
    (threads, maps)
}

fn waiters() -> usize {
    let names = fs::read_dir("/proc/self/task")
        .unwrap()
        // A thread may end meanwhile.
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "waldo-waiter").count()
}

/// How often the file in `home` that is mapped most often is mapped.
fn mappings(home: &Path) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let home = home.to_str().unwrap();
    let mut counts = BTreeMap::new();
    for path in maps.lines().filter_map(|line| Some(&line[line.find(home)?..])) {
        *counts.entry(path).or_insert(0) += 1;
    }
    counts.into_values().max().unwrap_or(0)
}

fn private_bytes() -> u64 {
    let smaps = fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let kib: u64 = smaps
        .lines()
        .filter_map(|line| line.strip_prefix("Private_"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum();
    kib * 1024
}
