//! Readers: `waldo tail -f`, each started once, before there is a ring.

use crate::clean_root::{CleanRoot, READER};
use crate::service::terminate;
use crate::wait_until;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

/// Arguments of `waldo tail` for lines that say everything.
pub const FORMAT: [&str; 3] = ["tail", "--format", "{seq} {payload}"];
pub const HOME: &str = "/var/lib/waldo/orders";

pub struct Followers(Vec<Follower>);

struct Follower {
    child: Child,
    /// Its newest record.
    seen: Arc<AtomicU64>,
    checking: JoinHandle<u64>,
}

impl Followers {
    pub fn start(root: &CleanRoot, place: &Path, count: u64) -> Followers {
        let errors = File::create(place.join("followers")).unwrap();
        let one = |_| {
            let mut args = FORMAT.to_vec();
            args.extend(["-f", "--wait", "--from", "oldest", HOME]);
            let mut command = root.command(READER, "/usr/bin/waldo", &args);
            command.stdout(Stdio::piped()).stderr(errors.try_clone().unwrap());
            let mut child = command.spawn().unwrap();
            let stdout = child.stdout.take().unwrap();
            let seen = Arc::new(AtomicU64::new(0));
            let told = Arc::clone(&seen);
            let checking = thread::spawn(move || check(stdout, &told));
            Follower { child, seen, checking }
        };
        Followers((0..count).map(one).collect())
    }

    /// How far the first of them is.
    pub fn first_seen(&self) -> u64 {
        self.0[0].seen.load(Ordering::Relaxed)
    }

    /// None of them has ended, or printed a record that is out of place.
    pub fn assert_alive(&self, place: &Path) {
        for follower in &self.0 {
            let said = || std::fs::read_to_string(place.join("followers")).unwrap_or_default();
            assert!(!follower.checking.is_finished(), "a reader has ended or gone wrong: {}", said());
        }
    }

    /// Each has printed exactly these lines, and ends when it is told to.
    pub fn finish(self, lines: &str) {
        let last = lines.lines().count() as u64;
        let digest = digest(lines.lines());
        for Follower { mut child, seen, checking } in self.0 {
            wait_until("a reader has everything", || seen.load(Ordering::Relaxed) >= last);
            let status = terminate(&mut child, "a reader ends");
            assert_eq!(status.code(), Some(128 + 15));
            assert_eq!(checking.join().unwrap(), digest, "a reader printed something else");
            assert_eq!(seen.load(Ordering::Relaxed), last);
        }
    }
}

/// Takes lines whose numbers have no gap, up to the end; the digest of all.
fn check(stdout: ChildStdout, seen: &AtomicU64) -> u64 {
    let mut hasher = DefaultHasher::new();
    let mut last = 0;
    for line in BufReader::new(stdout).lines() {
        let line = line.unwrap();
        let number: u64 = line.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(number, last + 1, "a reader missed a record or got one twice");
        line.hash(&mut hasher);
        last = number;
        seen.store(last, Ordering::Relaxed);
    }
    hasher.finish()
}

fn digest<'a>(lines: impl Iterator<Item = &'a str>) -> u64 {
    let mut hasher = DefaultHasher::new();
    lines.for_each(|line| line.hash(&mut hasher));
    hasher.finish()
}
