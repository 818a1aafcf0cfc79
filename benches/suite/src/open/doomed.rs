//! A process that writes and is killed.

use crate::ring::{self, COMMITTED};
use crate::scratch::Area;
use crate::setting::Plan;
use crate::watch::Watch;
use anyhow::{Context, ensure};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;
use waldo::writer::{ControlPlace, Writer, WriterOptions};
use waldo_harness::processes::child::{Words, die_with};
use waldo_harness::processes::child_guard::ChildGuard;
use waldo_harness::ring::index_capacity;

/// First argument of that process.
pub const DOOMED: &str = "bench-doomed";
const WRITTEN: &str = "written";
/// For the largest ring on a slow disk.
const LOST_AFTER: Duration = Duration::from_secs(600);

/// Has a process of its own append records until they take `bytes` bytes, and kills it.
pub fn write_and_be_killed(plan: &Plan, area: &Area, bytes: u64, watch: &Watch) -> anyhow::Result<()> {
    let numbers = [plan.page_len, u64::from(plan.ring_size), bytes].map(|n| OsString::from(n.to_string()));
    let places = [area.home(), area.control()].map(OsString::from);
    let (_writer, output) = ChildGuard::start(DOOMED, numbers.into_iter().chain(places))?;
    let mut line = String::new();
    if watch.wait_readable(output.as_fd(), LOST_AFTER)? {
        BufReader::new(output).read_line(&mut line)?;
    }
    // After Ctrl-C in a terminal it has got the same signal.
    watch.check()?;
    ensure!(
        line.trim() == WRITTEN,
        "the process that was to write has failed: what it said last may tell why"
    );
    Ok(())
}

/// The process: parent, bytes of a page, pages, bytes to write, home, control segment.
pub fn doomed_main(words: &mut Words) -> anyhow::Result<()> {
    die_with(words.word()?)?;
    let (page_len, ring_size, bytes): (u64, u32, u64) = (words.word()?, words.word()?, words.word()?);
    let mut path = || words.path().context("a path is missing");
    let (home, control): (PathBuf, PathBuf) = (path()?, path()?);
    let options = WriterOptions::default()
        .page_len(page_len)
        .ring_size(ring_size)
        .index_capacity(index_capacity(page_len)?)
        .durability(COMMITTED)
        .control(ControlPlace::Path(control));
    let mut writer = Writer::open(home, options)?;
    ring::fill(&mut writer, None, 1000, bytes)?;
    let mut out = std::io::stdout();
    writeln!(out, "{WRITTEN}")?;
    out.flush()?;
    loop {
        std::thread::park();
    }
}
