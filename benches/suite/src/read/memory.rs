//! What a sleeping reader process costs in memory, its own and the kernel's, above an idle process of this
//! program.

use crate::comparison::quantile;
use crate::result_table::{Goal, Unit};
use crate::ring::{self, COMMITTED};
use crate::scratch::Area;
use crate::session::Session;
use crate::setting::Plan;
use crate::system;
use crate::watch::Watch;
use anyhow::Context;
use rustix::thread::futex;
use std::ffi::OsString;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};
use waldo::protocol::limits::PAGE_HEADER_LEN;
use waldo::reader::{Cursor, Ring};
use waldo_harness::processes::child::{Words, die_with};
use waldo_harness::processes::child_guard::ChildGuard;
use waldo_harness::processes::memory::{MachineMemory, Memory};
use waldo_terminal::units;

/// First argument of a process of the crowd.
pub const SLEEPER: &str = "bench-sleeper";
/// Pages of the ring, all of them full.
const PAGES: u32 = 4;
/// Processes in a row of a second or more.
const CROWD: usize = 200;
/// Longest that a crowd may take until all of it sleeps.
const LOST_AFTER: Duration = Duration::from_secs(60);
/// KiB above an idle process, private memory and the kernel's together.
const GOAL: f64 = 150.0;

/// What the processes of a crowd have done before they sleep.
#[derive(Clone, Copy, Debug)]
enum Deed {
    /// Nothing.
    Idle,
    /// Mapped the segment and the newest page with bare calls and touched both.
    Map,
    /// Attached at the tip.
    Tip,
    /// Read nearly every byte of the newest page.
    Page,
    /// Read every byte of the whole ring.
    Ring,
}

impl Deed {
    const ALL: [(Deed, &str); 5] = [
        (Deed::Idle, "idle"),
        (Deed::Map, "map"),
        (Deed::Tip, "tip"),
        (Deed::Page, "page"),
        (Deed::Ring, "ring"),
    ];

    fn name(self) -> &'static str {
        Deed::ALL.iter().find(|(deed, _)| *deed as u8 == self as u8).map_or("", |(_, name)| name)
    }
}

/// KiB for each process of a crowd.
#[derive(Clone, Copy, Debug)]
struct MemoryCost {
    /// Private memory, as smaps has it.
    private: f64,
    /// Page tables, as each process has them.
    tables: f64,
    /// Page tables, stacks, slab and per-processor memory of the kernel: how the machine's totals have
    /// changed.
    kernel: f64,
    /// How much less is available on the whole machine.
    available: f64,
}

/// Three rows.
pub fn run(session: &mut Session) -> anyhow::Result<()> {
    session.sheet.topic(
        "memory",
        "KiB of each sleeping reader process above an idle one of this program, private and page tables; floor: a process \
         that maps the same files and sleeps on a futex",
    );
    let area = session.scratch.area()?;
    let count = session.plan.share(CROWD);
    let watch = session.watch.clone();
    let page_len = session.plan.page_len;
    let plan = Plan { ring_size: PAGES, ..session.plan.clone() };
    let mut writer = ring::open(&plan, &area, COMMITTED)?;
    // The newest page is nearly full, and `first` near its begin: whoever reads it touches nearly all of it.
    ring::fill(&mut writer, Some(&watch), 1000, page_len * 3 + page_len * 15 / 16)?;
    let first = writer.tip().unwrap_or(1) - page_len * 7 / 8 / ring::size(1000) as u64;
    let crowd = |deed: Deed| {
        watch.show(&format!("memory: {count} processes, {}", deed.name()));
        crowd(&area, deed, first, count, &watch)
    };
    let idle = crowd(Deed::Idle)?;
    let floor = crowd(Deed::Map)?.above(&idle);
    let mut notes = vec![format!("memory: an idle process: {idle}; the floor above it: {floor}.")];
    for deed in [Deed::Tip, Deed::Page, Deed::Ring] {
        let cost = crowd(deed)?.above(&idle);
        let what = match deed {
            Deed::Page => "after it has read the newest page",
            Deed::Ring => "after it has read the whole ring",
            _ => "at the tip",
        };
        let name = format!("a reader asleep {what}, {PAGES} pages of {}", units::bytes(page_len));
        let floor = Some(floor.private + floor.tables);
        session.sheet.single(&name, Unit::Kib, cost.private + cost.tables, floor, Goal::AtMost(GOAL));
        notes.push(format!("memory: a reader asleep {what}: {cost}."));
    }
    session.notes.append(&mut notes);
    writer.close()?;
    Ok(())
}

impl MemoryCost {
    fn above(&self, other: &MemoryCost) -> MemoryCost {
        MemoryCost {
            private: self.private - other.private,
            tables: self.tables - other.tables,
            kernel: self.kernel - other.kernel,
            available: self.available - other.available,
        }
    }
}

impl std::fmt::Display for MemoryCost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let MemoryCost { private, tables, kernel, available } = self;
        write!(
            f,
            "private {private:.1}, page tables {tables:.1}, kernel {kernel:.1}, available {available:.1} KiB"
        )
    }
}

/// What each of `count` processes costs that have done `deed` and sleep.
fn crowd(area: &Area, deed: Deed, first: u64, count: usize, watch: &Watch) -> anyhow::Result<MemoryCost> {
    let before = MachineMemory::now()?;
    let mut sleepers = Vec::with_capacity(count);
    for _ in 0..count {
        let args = [deed.name().into(), first.to_string().into(), area.home().into(), area.control().into()];
        sleepers.push(ChildGuard::start::<OsString>(SLEEPER, args)?);
    }
    let start = Instant::now();
    for (_, output) in &mut sleepers {
        let mut line = String::new();
        anyhow::ensure!(watch.wait_readable(output.as_fd(), LOST_AFTER)?, "a process does not get ready");
        BufReader::new(output).read_line(&mut line)?;
        watch.check()?;
        anyhow::ensure!(line.trim() == "ready", "a process that was to sleep has failed");
    }
    for (sleeper, _) in &sleepers {
        while !asleep(sleeper.id())? {
            anyhow::ensure!(start.elapsed() < LOST_AFTER, "a process does not fall asleep");
            watch.check()?;
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let after = MachineMemory::now()?;
    let mut private = Vec::with_capacity(count);
    let mut tables = Vec::with_capacity(count);
    for (sleeper, _) in &sleepers {
        let memory = Memory::of(&sleeper.id().to_string())?;
        private.push(memory.private as f64);
        tables.push(memory.tables as f64);
    }
    let each = |before: u64, after: u64| (after as f64 - before as f64) / count as f64;
    Ok(MemoryCost {
        private: quantile(private, 0.5),
        tables: quantile(tables, 0.5),
        kernel: each(before.kernel, after.kernel),
        available: each(after.available, before.available),
    })
}

fn asleep(pid: u32) -> anyhow::Result<bool> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    Ok(stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')))
}

/// One process of the crowd: parent, deed, first record of the newest page, home, control segment.
pub fn sleeper_main(words: &mut Words) -> anyhow::Result<()> {
    die_with(words.word()?)?;
    let (deed, first): (String, u64) = (words.word()?, words.word()?);
    let mut path = || words.path().context("a path is missing");
    let (home, control): (PathBuf, PathBuf) = (path()?, path()?);
    let deed = Deed::ALL.iter().find(|(_, name)| *name == deed).map(|(deed, _)| *deed);
    match deed.context("no such deed")? {
        Deed::Idle => {
            ready()?;
            sleep_for_ever(&AtomicU32::new(0))
        }
        Deed::Map => {
            let pages = ring::page_files(&home)?;
            let maps = [system::map(pages.last().context("no page")?)?, system::map(&File::open(control)?)?];
            for map in &maps {
                black_box(map[PAGE_HEADER_LEN.min(map.len() - 1)]);
            }
            drop(pages);
            ready()?;
            sleep_for_ever(&AtomicU32::new(0))
        }
        deed => {
            let ring = Ring::attach(home)?;
            let mut reader = match deed {
                Deed::Tip => ring.reader(Cursor::Tip)?,
                Deed::Ring => ring.reader(Cursor::Oldest)?,
                _ => ring.reader(Cursor::From(first))?,
            };
            while let Some(batch) = reader.poll()? {
                for record in &batch {
                    black_box(record.data().iter().map(|byte| u64::from(*byte)).sum::<u64>());
                }
            }
            ready()?;
            loop {
                black_box(reader.recv(None)?);
            }
        }
    }
}

fn ready() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(b"ready\n")?;
    out.flush()
}

fn sleep_for_ever(word: &AtomicU32) -> ! {
    loop {
        // Nobody changes it: after a signal this sleeps on.
        let _ = futex::wait(word, futex::Flags::empty(), 0, None);
    }
}
