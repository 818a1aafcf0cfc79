//! The service, in a process of its own.

use crate::ring;
use crate::scratch::Area;
use crate::setting::Plan;
use crate::watch::Watch;
use anyhow::{Context, ensure};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ChildStdout;
use std::time::Duration;
use waldo::reader::Ring;
use waldo::writer::{ControlPlace, Durability, Writer, WriterOptions};
use waldo_harness::processes::child::{Words, die_with};
use waldo_harness::processes::child_guard::ChildGuard;
use waldo_harness::ring::index_capacity;
use waldo_service::{Service, ServiceOptions};

/// First argument of that process.
pub const SERVICE: &str = "bench-service";
const READY: &str = "ready";
/// For a slow disk.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// A service that runs until this is dropped.
pub struct Served {
    socket: PathBuf,
    ring: Ring,
    _process: ChildGuard,
    _output: BufReader<ChildStdout>,
}

impl Served {
    pub fn start(plan: &Plan, area: &Area, durability: Durability, watch: &Watch) -> anyhow::Result<Served> {
        let sync = u64::from(durability == Durability::Sync);
        let numbers = [plan.page_len, u64::from(plan.ring_size), sync].map(|n| OsString::from(n.to_string()));
        // Not beside the ring: a path there may be longer than a socket's may be.
        let socket = area.control().with_extension("socket");
        let places = [area.home(), area.control(), socket.clone()].map(OsString::from);
        let (process, output) = ChildGuard::start(SERVICE, numbers.into_iter().chain(places))?;
        let mut line = String::new();
        let mut output = BufReader::new(output);
        if watch.wait_readable(output.get_ref().as_fd(), LOST_AFTER)? {
            output.read_line(&mut line)?;
        }
        watch.check()?;
        ensure!(line.trim() == READY, "the service has failed: what it said last may tell why");
        let ring = Ring::attach(area.home())?;
        Ok(Served { socket, ring, _process: process, _output: output })
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Completed flushes of its ring.
    pub fn flushes(&self) -> anyhow::Result<u64> {
        ring::counter(&self.ring, "flushes")
    }
}

/// The process: parent, bytes of a page, pages, whether appends are durable, home, control segment, socket.
pub fn service_main(words: &mut Words) -> anyhow::Result<()> {
    die_with(words.word()?)?;
    let (page_len, ring_size, sync): (u64, u32, u64) = (words.word()?, words.word()?, words.word()?);
    let mut path = || words.path().context("a path is missing");
    let (home, control, socket): (PathBuf, PathBuf, PathBuf) = (path()?, path()?, path()?);
    let options = WriterOptions::default()
        .page_len(page_len)
        .ring_size(ring_size)
        .index_capacity(index_capacity(page_len)?)
        .durability(if sync == 1 { Durability::Sync } else { ring::COMMITTED })
        .control(ControlPlace::Path(control));
    let writer = Writer::open(home, options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    // As many producers as are asked for, all of this user, and a lane for each.
    let service_options = ServiceOptions::default().connections_per_user(0).lanes_max(usize::MAX);
    let service = Service::bind(writer, socket, service_options)?;
    let mut out = std::io::stdout();
    writeln!(out, "{READY}")?;
    out.flush()?;
    // Until it is killed.
    runtime.block_on(service.run(std::future::pending()))?;
    Ok(())
}
