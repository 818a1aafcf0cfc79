//! One round: one system, one number of subscribers, all phases.

use super::figures::{Cell, Memory, PhaseFigures, median};
use super::notes::{Note, Published, Received};
use super::quantiles::Quantiles;
use super::role::{PUBLISH, SERVE, SUBSCRIBE};
use super::scratch::Scratch;
use super::spec::{Phase, Spec};
use super::usage::cpu_ns;
use anyhow::{Context, bail};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};
use waldo_harness::processes::child::now_ns;
use waldo_harness::processes::event_log::EventLog;
use waldo_harness::processes::group::{ProcessGroup, Role};
use waldo_harness::processes::memory;
use waldo_harness::results::histogram::Latency;
use waldo_terminal::interrupt::Interrupt;

/// How often the harness looks at the log of events.
const LOOK: Duration = Duration::from_millis(10);
/// Subscribers whose memory is looked at, at most.
const MEMORY_SAMPLE: usize = 20;

/// A signal with this number ended the comparison.
#[derive(Debug)]
pub struct Interrupted(pub i32);

impl std::fmt::Display for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("interrupted; all processes have ended and nothing is left behind")
    }
}

impl std::error::Error for Interrupted {}

/// What happens around a round.
pub struct Around<'a> {
    /// Signals.
    pub interrupt: &'a Interrupt,
    /// How long nothing at all may happen.
    pub patience: Duration,
    /// Told what is going on.
    pub progress: &'a dyn Fn(&str),
}

impl Around<'_> {
    /// Fails after a signal.
    fn check(&self) -> anyhow::Result<()> {
        self.interrupt.signal().map_or(Ok(()), |signal| Err(Interrupted(signal).into()))
    }
}

struct Round<'a> {
    around: &'a Around<'a>,
    spec: &'a Spec,
    events: EventLog,
    serving: bool,
    gathered: bool,
    ready: Vec<u64>,
    published: Option<Published>,
    received: Vec<Received>,
    last_news: Instant,
    group: ProcessGroup,
    server: Option<i32>,
    publisher: Option<i32>,
    subscribers: Vec<i32>,
}

/// Runs it. A system that cannot is a cell that says so; an error is an interruption or the harness's own.
pub fn run(spec: &Spec, around: &Around<'_>) -> anyhow::Result<Cell> {
    let mut cell = Cell::new(spec.system, spec.subscribers);
    let mut round = Round {
        around,
        spec,
        events: EventLog::create(&spec.board())?,
        serving: false,
        gathered: false,
        ready: Vec::new(),
        published: None,
        received: Vec::new(),
        last_news: Instant::now(),
        group: ProcessGroup::new()?,
        server: None,
        publisher: None,
        subscribers: Vec::new(),
    };
    let result = round.play(&mut cell);
    (around.progress)("ending the processes");
    round.group.shut_down();
    around.check()?;
    cell.stopped = result.err().map(|error| format!("{error:#}"));
    Ok(cell)
}

/// The folders and the description of a round belong together.
pub fn place(spec: &mut Spec, scratch: &Scratch) {
    spec.data = scratch.data.path().to_owned();
    spec.run = scratch.run.path().to_owned();
    spec.shm = scratch.shm.path().to_owned();
    spec.shm_prefix = scratch.prefix.clone();
}

impl Round<'_> {
    fn play(&mut self, cell: &mut Cell) -> anyhow::Result<()> {
        let description = self.spec.write()?;
        if let Some(server) = crate::peers::server(self.spec.system, self.spec)? {
            let mut command = self.group.command(SERVE);
            command.arg(std::process::id().to_string()).args(&server.command);
            self.server = Some(self.group.start_server(&mut command)?.cast_signed());
            self.wait(
                "the server to start",
                |_| usize::from(UnixStream::connect(&server.socket).is_ok()),
                1,
            )?;
        }
        let mut command = self.group.command(PUBLISH);
        self.publisher = Some(self.group.start_writer(command.arg(&description))?.cast_signed());
        self.wait("the publisher", |round| usize::from(round.serving), 1)?;
        let begun_ns = now_ns();
        for which in 0..self.spec.subscribers {
            self.start_subscriber(&description, which)?;
            if which % 64 == 0 {
                self.look()?;
            }
        }
        self.wait("subscribed", |round| round.ready.len(), self.spec.subscribers)?;
        let last = self.ready.iter().max().copied().unwrap_or(begun_ns);
        cell.attach_ns = Some(last.saturating_sub(begun_ns) as f64);
        self.wait("the publisher to know its subscribers", |round| usize::from(round.gathered), 1)?;
        for phase in self.spec.phases() {
            let figures = self.phase(phase)?;
            match phase {
                Phase::WarmUp => {}
                Phase::Paced => cell.paced = Some(figures),
                Phase::Flood => cell.flood = Some(figures),
            }
        }
        cell.memory = Some(self.memory()?);
        Ok(())
    }

    fn start_subscriber(&mut self, description: &Path, which: usize) -> anyhow::Result<()> {
        let mut command = self.group.command(SUBSCRIBE);
        command.arg(description).arg(which.to_string()).stdin(Stdio::null());
        let pid = self.group.start_reader(&mut command, which).with_context(|| {
            format!(
                "cannot start subscriber {}: see `ulimit -u`, /proc/sys/kernel/pid_max, the memory limit",
                which + 1
            )
        })?;
        self.subscribers.push(pid.cast_signed());
        Ok(())
    }

    /// Has the publisher go through a phase, and puts together what everybody says of it.
    fn phase(&mut self, phase: Phase) -> anyhow::Result<PhaseFigures> {
        self.published = None;
        self.received.clear();
        let pids: Vec<i32> = self.publisher.into_iter().chain(self.server).collect();
        let cpu = |pids: &[i32]| pids.iter().map(|pid| cpu_ns(*pid)).sum::<u64>();
        let cpu_before = cpu(&pids);
        self.group.order(&format!("{phase:?}"));
        let name = match phase {
            Phase::WarmUp => "warm",
            Phase::Paced => "through with the paced phase",
            Phase::Flood => "through with the fast phase",
        };
        self.wait(name, |round| round.received.len(), self.spec.subscribers)?;
        let publisher_cpu = cpu(&pids).saturating_sub(cpu_before);
        self.wait("the publisher's report", |round| usize::from(round.published.is_some()), 1)?;
        let published = self.published.take().context("the publisher has no report")?;
        let mut delay = Latency::of_two_digits();
        self.received.iter().try_for_each(|received| delay.add_text(&received.delay))?;
        let mut cost = Latency::of_two_digits();
        cost.add_text(&published.cost)?;
        let sum = |of: fn(&Received) -> u64| self.received.iter().map(of).sum::<u64>() as f64;
        let last_ns = self.received.iter().map(|received| received.at_ns).max().unwrap_or(0);
        let per_second =
            |count: f64, end: u64| count * 1e9 / end.saturating_sub(published.begun_ns).max(1) as f64;
        let all = sum(|received| received.records);
        Ok(PhaseFigures {
            records: published.records as f64,
            published_per_s: per_second(published.records as f64, published.ended_ns),
            delivered_per_s: per_second(all, last_ns),
            publish_ns: Quantiles::of(&cost),
            delay_ns: Quantiles::of(&delay),
            publisher_cpu_ns: publisher_cpu as f64 / published.records.max(1) as f64,
            subscriber_cpu_ns: sum(|received| received.cpu_ns) / all.max(1.0),
            lost: sum(|received| received.lost),
            bad: sum(|received| received.bad),
        })
    }

    /// Medians over some of the subscribers.
    fn memory(&self) -> anyhow::Result<Memory> {
        let step = self.subscribers.len().div_ceil(MEMORY_SAMPLE).max(1);
        let sample: Result<Vec<memory::Memory>, _> =
            (self.subscribers.iter().step_by(step)).map(|pid| memory::Memory::of(&pid.to_string())).collect();
        let sample = sample.context("cannot look at a subscriber's memory")?;
        let of = |get: fn(&memory::Memory) -> u64| {
            median(sample.iter().map(|memory| get(memory) as f64).collect()).unwrap_or(0.0)
        };
        Ok(Memory {
            own: of(|m| m.own),
            private: of(|m| m.private),
            proportional: of(|m| m.proportional),
            tables: of(|m| m.tables),
        })
    }

    /// Waits until `count` says `goal`.
    fn wait(&mut self, what: &str, count: impl Fn(&Self) -> usize, goal: usize) -> anyhow::Result<()> {
        self.last_news = Instant::now();
        loop {
            self.look()?;
            let now = count(self);
            if now >= goal {
                return Ok(());
            }
            let far =
                if goal > 1 { format!("{now} of {goal} {what}") } else { format!("waiting for {what}") };
            (self.around.progress)(&far);
            if self.last_news.elapsed() > self.around.patience {
                bail!("{far}, and then nothing more for {} s", self.around.patience.as_secs());
            }
            self.around.interrupt.sleep(LOOK)?;
        }
    }

    /// Takes in what has happened.
    fn look(&mut self) -> anyhow::Result<()> {
        self.around.check()?;
        // In this order: what a process wrote before it ended is then in the log of events.
        let ended = self.group.ended();
        for note in self.events.news(Note::parse)? {
            self.last_news = Instant::now();
            match note {
                Note::Serving => self.serving = true,
                Note::Gathered => self.gathered = true,
                Note::Ready { at_ns } => self.ready.push(at_ns),
                Note::Alive => {}
                Note::Published(published) => self.published = Some(published),
                Note::Received(received) => self.received.push(received),
                Note::Failed { subscriber: None, error } => bail!("the publisher: {error}"),
                Note::Failed { subscriber: Some(which), error } => {
                    bail!("subscriber {} of {}: {error}", which + 1, self.spec.subscribers)
                }
            }
        }
        match ended.into_iter().next() {
            Some((Role::Server, how)) => bail!("the server {how}"),
            Some((Role::Writer, how)) => bail!("the publisher {how}"),
            Some((Role::Reader(which), how)) => bail!("subscriber {} {how}", which + 1),
            None => Ok(()),
        }
    }
}
