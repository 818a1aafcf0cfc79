//! Opening a ring for writing.

use crate::Bench;
use crate::child::Second;
use crate::ring::{self, INTERVAL};
use crate::scratch::Area;
use crate::stats::duel;
use crate::table::{Goal, Unit};
use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use waldo::protocol::payload_hash;
use waldo::writer::{ControlPlace, Io, Writer, WriterOptions};

/// Read at both ends of each page: about what an index and the footer take.
const PAGE_END: usize = 4096;

pub fn run(bench: &mut Bench) -> anyhow::Result<()> {
    bench.table.topic(
        "open: until Writer::open returns; floor: first and last bytes of each page read, 4 KiB written, \
         flushed, the directory too",
    );
    clean(bench)?;
    killed(bench)
}

/// Three times as large as elsewhere with `--full`: 3 GiB is what the goal speaks of.
fn options(bench: &Bench, area: &Area) -> WriterOptions {
    let ring_size = if bench.plan.page_len >= 64 << 20 { 48 } else { bench.plan.ring_size };
    WriterOptions { ring_size, ..ring::options(&bench.plan, area, INTERVAL, Io::Auto) }
}

fn size(options: &WriterOptions) -> String {
    format!("{} MiB", (options.page_len >> 20) * u64::from(options.ring_size))
}

fn clean(bench: &mut Bench) -> anyhow::Result<()> {
    let area = bench.scratch.area()?;
    let options = options(bench, &area);
    let mut writer = Writer::open(area.home(), options.clone())?;
    ring::fill(&mut writer, 1000, options.page_len * u64::from(options.ring_size))?;
    writer.close()?;
    let mut ours = || {
        let start = Instant::now();
        let writer = Writer::open(area.home(), options.clone())?;
        let time = start.elapsed();
        anyhow::ensure!(writer.opened().clean, "the ring was not closed");
        writer.close()?;
        Ok(time.as_nanos() as f64)
    };
    let mut bare = || bare_open(&area, false);
    let duel = duel(&bench.plan, &mut ours, &mut bare)?;
    let name = format!("Writer::open after a clean close, {}", size(&options));
    bench.table.duel(&name, Unit::Ns, &duel, Goal::AtMost(10e6));
    Ok(())
}

fn killed(bench: &mut Bench) -> anyhow::Result<()> {
    let area = bench.scratch.area()?;
    let options = options(bench, &area);
    // Half a page more each time, so that there is always about half a page of records to look at.
    let mut bytes = options.page_len * u64::from(options.ring_size);
    let mut ours = || {
        run_doomed_writer(&area, &options, bytes)?;
        bytes = options.page_len / 2;
        let start = Instant::now();
        let writer = Writer::open(area.home(), options.clone())?;
        let time = start.elapsed();
        anyhow::ensure!(!writer.opened().clean && writer.tip().is_some(), "the writer was not killed");
        writer.close()?;
        Ok(time.as_nanos() as f64)
    };
    let mut bare = || bare_open(&area, true);
    let duel = duel(&bench.plan, &mut ours, &mut bare)?;
    let name = format!("Writer::open after kill -9, {}", size(&options));
    bench.table.duel(&name, Unit::Ns, &duel, Goal::None);
    bench.table.note("its floor also reads and hashes half a page");
    Ok(())
}

/// What cannot be done without: every page is looked at, something is made durable.
fn bare_open(area: &Area, hash_half_a_page: bool) -> anyhow::Result<f64> {
    let path = area.floor().join("meta");
    let meta = OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    let start = Instant::now();
    let files = ring::page_files(&area.home())?;
    let mut bytes = [0; PAGE_END];
    for file in &files {
        let len = file.metadata()?.len();
        file.read_exact_at(&mut bytes, 0)?;
        file.read_exact_at(&mut bytes, len - PAGE_END as u64)?;
    }
    if hash_half_a_page && let Some(file) = files.first() {
        let mut bytes = vec![0; file.metadata()?.len() as usize / 2];
        file.read_exact_at(&mut bytes, 0)?;
        black_box(payload_hash(&bytes));
    }
    meta.write_all_at(&bytes, 0)?;
    meta.sync_data()?;
    File::open(area.floor())?.sync_all()?;
    Ok(start.elapsed().as_nanos() as f64)
}

/// Starts a process that writes, and kills it when it has.
fn run_doomed_writer(area: &Area, options: &WriterOptions, bytes: u64) -> anyhow::Result<()> {
    let mut writer = Second::start([
        "write".into(),
        area.home().into_os_string(),
        area.control().into_os_string(),
        options.page_len.to_string().into(),
        options.ring_size.to_string().into(),
        bytes.to_string().into(),
    ])?;
    let mut line = String::new();
    if let Some(output) = writer.output() {
        BufReader::new(output).read_line(&mut line)?;
    }
    anyhow::ensure!(line.trim() == "written", "the process that was to write has failed");
    Ok(())
}

/// The process that is killed.
pub fn doomed_writer(
    home: &str,
    control: &str,
    page_len: u64,
    ring_size: u32,
    bytes: u64,
) -> anyhow::Result<()> {
    let control = ControlPlace::Path(control.into());
    let options =
        WriterOptions { page_len, ring_size, durability: INTERVAL, control, ..WriterOptions::default() };
    let mut writer = Writer::open(home, options)?;
    ring::fill(&mut writer, 1000, bytes)?;
    println!("written");
    std::io::stdout().flush()?;
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}
