//! A ring in a temporary directory that leaves nothing behind, also when the test panics.

use super::args::Args;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use waldo::protocol::link::Link;
use waldo::protocol::meta::Meta;
use waldo::protocol::names;
use waldo::reader::{AttachOptions, Cursor, Integrity, Reader, ReaderOptions, Ring, RingStatus};
use waldo::writer::{Durability, GeometryChange, Io, Writer, WriterOptions};

/// How the ring of a test is written, in a form that travels to a child process.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub io: Io,
    /// `None`: durable appends. Otherwise milliseconds between flushes.
    pub interval_ms: Option<u64>,
    pub ring_size: u32,
    pub page_len: u64,
    /// Longest payload.
    pub max: usize,
    /// `None` asks for nothing: a ring that is made has 0640.
    pub mode: Option<u32>,
    pub group: Option<u32>,
}

/// Far longer than any test: no flush happens by itself.
pub const NEVER_MS: u64 = 3_600_000;

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            io: Io::Pwrite,
            interval_ms: Some(50),
            ring_size: 4,
            page_len: 64 << 10,
            max: 600,
            mode: None,
            group: None,
        }
    }
}

impl Setup {
    /// Every engine with both kinds of durability.
    pub fn all() -> Vec<Setup> {
        let all = Io::ALL.map(|io| [None, Some(20)].map(|interval_ms| (io, interval_ms)));
        all.into_iter()
            .flatten()
            .map(|(io, interval_ms)| Setup { io, interval_ms, ..Setup::default() })
            .collect()
    }

    pub fn options(&self) -> WriterOptions {
        let mut options = WriterOptions::default()
            .ring_size(self.ring_size)
            .page_len(self.page_len)
            .index_capacity(64)
            .index_sparse_bytes(2048)
            .index_sparse_count(16)
            .geometry_change(GeometryChange::Apply)
            .durability(match self.interval_ms {
                None => Durability::Sync,
                // At the speed of memory; in this process only.
                Some(0) => Durability::PageCache,
                Some(ms) => Durability::Interval(Duration::from_millis(ms)),
            })
            .io(self.io)
            .buffers(4)
            .buffer_len(16 << 10)
            .heartbeat(Duration::from_millis(50));
        (options.mode, options.group) = (self.mode, self.group);
        options
    }

    pub fn args(&self, home: &Path) -> Args {
        let io = match self.io {
            Io::Auto => "auto",
            Io::Uring => "uring",
            Io::Pwrite => "pwrite",
        };
        let args = Args::new()
            .with("home", home.display())
            .with("io", io)
            .with("interval", self.interval_ms.unwrap_or(0))
            .with("ring_size", self.ring_size)
            .with("page_len", self.page_len)
            .with("max", self.max);
        [("mode", self.mode), ("group", self.group)]
            .into_iter()
            .filter_map(|(name, number)| Some((name, number?)))
            .fold(args, |args, (name, number)| args.with(name, number))
    }

    pub fn from_args(args: &Args) -> Setup {
        Setup {
            io: match args.get("io") {
                "auto" => Io::Auto,
                "uring" => Io::Uring,
                _ => Io::Pwrite,
            },
            interval_ms: Some(args.number("interval")).filter(|ms| *ms > 0),
            ring_size: args.number("ring_size") as u32,
            page_len: args.number("page_len"),
            max: args.number("max") as usize,
            mode: args.has("mode").then(|| args.number("mode") as u32),
            group: args.has("group").then(|| args.number("group") as u32),
        }
    }
}

/// A home directory, removed with everything that belongs to the ring in it.
pub struct TestRing {
    home: PathBuf,
    _root: Option<TempDir>,
}

impl TestRing {
    pub fn new() -> TestRing {
        let root = tempfile::Builder::new().prefix("waldo-test-").tempdir().unwrap();
        TestRing { home: root.path().join("ring"), _root: Some(root) }
    }

    /// A ring in a directory that somebody else removes, such as a mount.
    pub fn at(home: PathBuf) -> TestRing {
        TestRing { home, _root: None }
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Lets every user pass through the directories above the ring's files.
    pub fn open_to_all(&self) {
        fs::create_dir_all(&self.home).unwrap();
        for dir in [self.home.parent().unwrap(), &self.home] {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        }
    }

    pub fn writer(&self, setup: &Setup) -> Writer {
        Writer::open(&self.home, setup.options()).unwrap()
    }

    /// An attachment that notices changes quickly.
    pub fn attach(&self) -> Ring {
        attach(&self.home)
    }

    pub fn reader(&self, cursor: Cursor) -> Reader {
        self.attach().reader_with(cursor, careful()).unwrap()
    }

    pub fn status(&self) -> RingStatus {
        self.attach().status().unwrap()
    }

    /// Path of page `id`.
    pub fn page(&self, id: u64) -> PathBuf {
        self.home.join(names::page(id))
    }

    /// The ring's files and what they hold, but for the lock, which names its holder.
    pub fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
        fs::read_dir(&self.home)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.file_name().unwrap() != names::LOCK)
            .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap()))
            .collect()
    }

    /// A copy of the ring's files as they are now.
    pub fn copy(&self) -> TestRing {
        let copy = TestRing::new();
        fs::create_dir_all(&copy.home).unwrap();
        for (name, bytes) in self.snapshot() {
            fs::write(copy.home.join(name), bytes).unwrap();
        }
        copy
    }

    /// The control segment that the link names.
    pub fn segment(&self) -> PathBuf {
        match Link::parse(&fs::read(self.home.join(names::LINK)).unwrap()).unwrap() {
            Link::Posix(name) => Path::new("/dev/shm").join(&name[1..]),
            Link::Path(path) => path.into(),
        }
    }

    /// Files of shared memory objects that belong to the ring.
    pub fn shared_memory(&self) -> Option<String> {
        let meta = fs::read(self.home.join(names::META)).ok()?;
        let id = Meta::check(&meta).ok()?.ring_id;
        Some(format!("/waldo-{}", id.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
    }
}

impl Drop for TestRing {
    fn drop(&mut self) {
        let linked = fs::read(self.home.join(names::LINK)).ok().and_then(|link| Link::parse(&link).ok());
        let linked = match linked {
            Some(Link::Posix(name)) => Some(name),
            _ => None,
        };
        for name in linked.into_iter().chain(self.shared_memory()) {
            // Usually there is nothing left.
            let _ = nix::sys::mman::shm_unlink(name.as_str());
        }
    }
}

pub fn attach(home: &Path) -> Ring {
    let options = AttachOptions::default().check_interval(Duration::from_millis(50));
    Ring::attach_with(home, options).unwrap()
}

/// Checks everything there is to check.
pub fn careful() -> ReaderOptions {
    ReaderOptions::default().integrity(Integrity::Payloads)
}

/// One of the writer's counters.
pub fn counter(status: &RingStatus, name: &str) -> u64 {
    status.counters.iter().find(|(found, _)| *found == name).map(|(_, value)| *value).unwrap()
}
