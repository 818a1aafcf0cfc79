//! The course of the measurement: which process does what, and when.

mod room;
mod timing;
mod watch;

use super::findings::Findings;
use super::{Args, IDLE, Mode, READER, STREAMS, WRITER};
use crate::watch::Stopped;
use anyhow::Context;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{PipeReader, PipeWriter};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use waldo_harness::processes::caps;
use waldo_harness::processes::event_log::EventLog;
use waldo_harness::processes::group::ProcessGroup;
use waldo_harness::processes::memory::{MachineMemory, Memory};
use waldo_harness::processes::work_dir::WorkDir;
use waldo_terminal::failure::Outcome;
use waldo_terminal::interrupt::Interrupt;
use waldo_terminal::notice;

/// Processes that show what one costs before it reads.
const IDLE_PROCESSES: usize = 256;
/// Processes whose memory is looked at.
const SAMPLES: usize = 64;
/// Records for which everybody is woken from sleep.
const PINGS: u32 = 5;

struct Course<'a> {
    args: &'a Args,
    interrupt: &'a Interrupt,
    board: EventLog,
    bar: ProgressBar,
    findings: Findings,
    ready: Option<u64>,
    /// Processes that end from now on are readers that are missed.
    readers_started: bool,
    idle: usize,
    caught_up: usize,
    last_news: Instant,
    /// What readers wait at: they go on when `gate` is closed.
    gate: Option<PipeWriter>,
    turnstile: PipeReader,
    pids: Vec<u32>,
    // Dropped first to last: processes before their directory.
    crowd: ProcessGroup,
    stage: WorkDir,
}

/// Runs the bench.
pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    room::check(args)?;
    let interrupt = Interrupt::install()?;
    let readers = match args.mode {
        Mode::Processes => caps::readers(args.readers)?,
        Mode::Streams => args.readers as usize,
    };
    let stage = WorkDir::new_in("waldo-fanout-", args.dir.as_deref())?;
    room::check_room(args, &stage)?;
    let (turnstile, gate) = std::io::pipe().context("cannot make a pipe")?;
    let mut course = Course {
        args,
        interrupt: &interrupt,
        board: EventLog::create(&stage.board())?,
        bar: ProgressBar::new(readers as u64),
        findings: Findings::new(args, readers, stage.place()),
        ready: None,
        readers_started: false,
        idle: 0,
        caught_up: 0,
        last_news: Instant::now(),
        gate: Some(gate),
        turnstile,
        pids: Vec::new(),
        crowd: ProcessGroup::new()?,
        stage,
    };
    let style = ProgressStyle::with_template("{elapsed:>4} [{bar:30}] {pos}/{len} {msg}");
    // The template is a constant that indicatif understands.
    course.bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    course.bar.enable_steady_tick(Duration::from_millis(250));
    let result = course.take_place();
    course.bar.set_message("ending all processes");
    course.crowd.shut_down();
    course.bar.finish_and_clear();
    if let Err(error) = result {
        let Some(Stopped(signal)) = error.downcast_ref().copied() else { return Err(error) };
        notice!("waldo: interrupted; all processes have ended and nothing is left behind");
        return Ok(Outcome::Interrupted(signal));
    }
    course.findings.tell(args)
}

impl Course<'_> {
    fn take_place(&mut self) -> anyhow::Result<()> {
        self.start_writer()?;
        self.until("filling the ring", |course| course.ready.is_some())?;
        self.measure_writer("none")?;
        self.measure_idle_processes()?;
        self.fresh_page()?;
        self.start_readers()?;
        self.measure_writer_beside_idle_readers()?;
        self.let_readers_follow()?;
        self.ping()?;
        self.fresh_page()?;
        self.flushes_of_what_was_read()?;
        self.crowd.order("finish");
        let all = self.findings.readers;
        self.count("readers done", all, |course| course.findings.done())?;
        self.until("readers ended", |course| course.crowd.readers() == 0)?;
        self.measure_writer("after")
    }

    fn start_writer(&mut self) -> anyhow::Result<()> {
        let mut command = self.crowd.command(WRITER);
        command
            .arg(self.args.ring_size.to_string())
            .arg(self.args.page_size.to_string())
            .arg(self.args.size.to_string())
            .arg(self.args.sync.to_string())
            .arg(self.args.wake_interval.map_or(0, |time| time.as_nanos()).to_string())
            .arg(self.args.sync_interval.as_nanos().to_string())
            .arg(self.args.scheduling.to_string())
            .arg(self.stage.board())
            .arg(self.stage.home());
        self.crowd.start_writer(&mut command)?;
        Ok(())
    }

    /// What a process costs that does nothing.
    fn measure_idle_processes(&mut self) -> anyhow::Result<()> {
        let count =
            if self.args.mode == Mode::Streams { 1 } else { self.findings.readers.min(IDLE_PROCESSES) };
        let before = MachineMemory::now()?;
        for number in 0..count {
            let mut command = self.crowd.command(IDLE);
            command.arg(std::process::id().to_string()).arg(self.stage.board()).stdin(self.turnstile()?);
            self.start(&mut command, number)?;
        }
        self.count("idle processes started", count, |course| course.idle)?;
        self.findings.idle_process = self.memory(before, count)?;
        self.crowd.kill_readers();
        self.pids.clear();
        self.until("idle processes ended", |course| course.crowd.readers() == 0)
    }

    fn start_readers(&mut self) -> anyhow::Result<()> {
        let before = MachineMemory::now()?;
        let (processes, each) = match self.args.mode {
            Mode::Processes => (self.findings.readers, 1),
            Mode::Streams => (1, self.findings.readers),
        };
        let tip = self.ready.unwrap_or(0);
        let begun = Instant::now();
        self.readers_started = true;
        self.bar.set_message("readers started");
        for reader in 0..processes {
            let mut command = self.crowd.command(if each == 1 { READER } else { STREAMS });
            command
                .arg(std::process::id().to_string())
                .arg(self.args.reader_scheduling.to_string())
                .arg(reader.to_string())
                .arg(each.to_string())
                .arg(tip.to_string())
                .arg(self.args.size.to_string())
                .arg(self.stage.board())
                .arg(self.stage.home())
                .stdin(self.turnstile()?);
            if !self.start(&mut command, reader)? {
                self.findings.cut(reader);
                break;
            }
            self.bar.set_position(reader as u64 + 1);
            if reader % 64 == 0 {
                self.look()?;
            }
        }
        self.bar.set_length(self.findings.readers as u64);
        self.count("readers attached", self.findings.readers, |course| course.findings.attached())?;
        self.findings.start_time = begun.elapsed();
        self.findings.reader_process = self.memory(before, processes.min(self.findings.readers))?;
        Ok(())
    }

    /// `false` if the system has no room for another process.
    fn start(&mut self, command: &mut Command, reader: usize) -> anyhow::Result<bool> {
        match self.crowd.start_reader(command, reader) {
            Ok(pid) => {
                self.pids.push(pid);
                Ok(true)
            }
            Err(error) if reader > 0 => {
                notice!(
                    "waldo: process {} could not be started ({error}), going on with {reader}: see \
                     `sysctl kernel.pid_max kernel.threads-max`, `ulimit -u`, pids.max of the control group, and \
                     the memory that is left",
                    reader + 1
                );
                Ok(false)
            }
            Err(error) => Err(anyhow::Error::new(error).context("cannot start a reader process")),
        }
    }

    fn turnstile(&self) -> anyhow::Result<Stdio> {
        Ok(self.turnstile.try_clone().context("cannot hand a pipe to a process")?.into())
    }

    /// Memory of a process: what it says itself, in the median, and what the machine has less, divided by
    /// all.
    fn memory(&self, before: MachineMemory, count: usize) -> anyhow::Result<super::findings::Cost> {
        let now = MachineMemory::now()?;
        let step = (self.pids.len() / SAMPLES).max(1);
        // One that has ended meanwhile is noticed elsewhere.
        let own: Vec<Memory> =
            self.pids.iter().step_by(step).filter_map(|pid| Memory::of(&pid.to_string()).ok()).collect();
        let each = |before: u64, now: u64| now.saturating_sub(before) / (count.max(1) as u64);
        Ok(super::findings::Cost {
            private: median(own.iter().map(|memory| memory.private).collect()),
            tables: median(own.iter().map(|memory| memory.tables).collect()),
            kernel: each(before.kernel, now.kernel),
            available: each(now.available, before.available),
        })
    }

    fn let_readers_follow(&mut self) -> anyhow::Result<()> {
        let all = self.findings.readers;
        self.gate = None;
        self.count("readers following", all, |course| course.caught_up)?;
        let begun = Instant::now();
        self.crowd.order(&format!("pace active {} {}", self.args.seconds, self.args.rate));
        self.until("everybody follows", |course| course.findings.load("active").is_some())?;
        self.caught_up = 0;
        self.crowd.order("mark");
        self.count("readers caught up", all, |course| course.caught_up)?;
        self.findings.follow_time = begun.elapsed();
        Ok(())
    }

    /// Single records while everybody sleeps.
    fn ping(&mut self) -> anyhow::Result<()> {
        let pause = self.calm();
        for n in 0..PINGS {
            self.bar.set_message(format!("waking everybody, {} of {PINGS}", n + 1));
            self.rest(pause)?;
            self.crowd.order("ping");
        }
        self.rest(pause)
    }

    /// Long enough for everybody to have read a record and to be asleep again; who is not shows as late.
    fn calm(&self) -> Duration {
        Duration::from_millis(300) + Duration::from_micros(60) * self.findings.readers as u32
    }
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or(0)
}
