//! The course of the demo.

use super::Args;
use super::cast;
use super::note::Note;
use super::outcome::ReaderOutcome;
use super::plan::Plan;
use super::report::Report;
use super::tally::Sum;
use anyhow::bail;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};
use waldo_harness::processes::child::now_ns;
use waldo_harness::processes::event_log::EventLog;
use waldo_harness::processes::group::{ProcessGroup, Role};
use waldo_harness::processes::work_dir::WorkDir;
use waldo_terminal::failure::Outcome;
use waldo_terminal::interrupt::Interrupt;
use waldo_terminal::notice;
use waldo_terminal::units;

/// How often the demo looks at the board.
const LOOK: Duration = Duration::from_millis(20);
/// How long nobody may have any news before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(120);

struct Demo<'a> {
    args: &'a Args,
    plan: Plan,
    board: EventLog,
    outcomes: Vec<ReaderOutcome>,
    /// Up to where each reader has seen the log.
    seen: Vec<u64>,
    seen_by_all: u64,
    written: u64,
    finished: Option<(Sum, Duration)>,
    bar: ProgressBar,
    last_news: Instant,
    // Dropped first to last: processes before their directory.
    crowd: ProcessGroup,
    stage: WorkDir,
}

/// Runs the demo.
pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    let interrupt = Interrupt::install()?;
    let stage = WorkDir::new("waldo-demo-", args.keep.as_deref())?;
    let plan = Plan::make(args, stage.place())?;
    let readers = args.readers as usize;
    let mut demo = Demo {
        args,
        plan,
        board: EventLog::create(&stage.board())?,
        outcomes: vec![ReaderOutcome::Started; readers],
        seen: vec![0; readers],
        seen_by_all: 0,
        written: 0,
        finished: None,
        bar: bar(readers),
        last_news: Instant::now(),
        crowd: ProcessGroup::new()?,
        stage,
    };
    let result = demo.play(&interrupt);
    demo.bar.finish_and_clear();
    demo.crowd.shut_down();
    match result? {
        Some(report) => report.print(args.json, demo.stage.kept().then(|| demo.stage.home())),
        None => {
            let signal = interrupt.signal().unwrap_or(signal_hook::consts::SIGINT);
            notice!("waldo: interrupted; all processes have ended and nothing is left behind");
            Ok(Outcome::Interrupted(signal))
        }
    }
}

fn bar(readers: usize) -> ProgressBar {
    let bar = ProgressBar::new(readers as u64);
    let style = ProgressStyle::with_template("{elapsed:>4} [{bar:40}] {pos}/{len} {msg}");
    // The template is a constant that indicatif understands.
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
    bar
}

impl Demo<'_> {
    /// The whole demo; `None` if a signal ended it.
    fn play(&mut self, interrupt: &Interrupt) -> anyhow::Result<Option<Report>> {
        let begun = Instant::now();
        let end_mark = format!("end of the demo {:x}-{:x}", std::process::id(), now_ns());
        cast::start_writer(&mut self.crowd, &self.stage, &self.plan, self.args, &end_mark)?;
        self.bar.set_message("readers started");
        let pace = self.plan.geometry.window / 4;
        for reader in 0..self.outcomes.len() {
            cast::start_reader(&mut self.crowd, &self.stage, reader, pace, &end_mark)?;
            self.bar.set_position(reader as u64 + 1);
            if reader % 64 == 0 {
                self.look()?;
            }
            if interrupt.signal().is_some() {
                return Ok(None);
            }
        }
        let attached =
            |demo: &Demo<'_>| demo.outcomes.iter().filter(|f| !matches!(f, ReaderOutcome::Started)).count();
        if !self.wait(interrupt, "readers attached", attached)? {
            return Ok(None);
        }
        let attach_time = begun.elapsed();
        let started_ns = now_ns();
        self.crowd.order("go");
        let done = |demo: &Demo<'_>| {
            demo.outcomes
                .iter()
                .filter(|f| !matches!(f, ReaderOutcome::Started | ReaderOutcome::Attached))
                .count()
        };
        if !self.wait(interrupt, "readers done", done)? {
            return Ok(None);
        }
        while self.finished.is_none() {
            // Every reader has failed, and the writer is still at it.
            if interrupt.sleep(LOOK)?.is_some() {
                return Ok(None);
            }
            self.look()?;
        }
        let Some((expected, busy)) = self.finished.take() else { bail!("the writer never finished") };
        let outcomes = std::mem::take(&mut self.outcomes);
        Ok(Some(Report { expected, busy, outcomes, attach_time, started_ns, geometry: self.plan.geometry }))
    }

    /// Waits until `count` has come to all readers; `false` if a signal came first.
    fn wait(
        &mut self,
        interrupt: &Interrupt,
        what: &'static str,
        count: impl Fn(&Self) -> usize,
    ) -> anyhow::Result<bool> {
        loop {
            self.look()?;
            let count = count(self);
            let records = match (self.written, self.plan.expected) {
                (0, _) => String::new(),
                (n, None) => format!(", {} records appended", units::count(n)),
                (n, Some(all)) => format!(", {} of {} records appended", units::count(n), units::count(all)),
            };
            self.bar.set_message(format!("{what}{records}"));
            self.bar.set_position(count as u64);
            if count == self.outcomes.len() {
                return Ok(true);
            }
            if self.last_news.elapsed() > PATIENCE {
                bail!(
                    "{} of {} {what}, and then nothing more for {}: the others hang",
                    count,
                    self.outcomes.len(),
                    units::duration(PATIENCE)
                );
            }
            if interrupt.sleep(LOOK)?.is_some() {
                return Ok(false);
            }
        }
    }

    /// Takes in what has happened.
    fn look(&mut self) -> anyhow::Result<()> {
        // In this order: what a process wrote before it ended is then on the board.
        let ended = self.crowd.ended();
        let news = self.board.news(Note::parse)?;
        if !ended.is_empty() || !news.is_empty() {
            self.last_news = Instant::now();
        }
        for note in news {
            self.take(note);
        }
        for (role, how) in ended {
            match role {
                Role::Server | Role::Writer => bail!("the writer process {how}"),
                Role::Reader(reader) => {
                    if matches!(self.outcomes[reader], ReaderOutcome::Started | ReaderOutcome::Attached) {
                        self.settle(reader, ReaderOutcome::Failed(format!("the process {how}")));
                    }
                }
            }
        }
        self.tell_writer();
        Ok(())
    }

    fn take(&mut self, note: Note) {
        match note {
            Note::Attached { reader } => self.settle(reader, ReaderOutcome::Attached),
            Note::Seen { reader, seq_no } => {
                if let Some(seen) = self.seen.get_mut(reader) {
                    *seen = seq_no;
                }
            }
            Note::Verified { reader, sum, at_ns, memory } => {
                self.settle(reader, ReaderOutcome::Verified { sum, at_ns, memory });
            }
            Note::Failed { reader, error } => self.settle(reader, ReaderOutcome::Failed(error)),
            Note::Written { records } => self.written = records,
            Note::Finished { sum, busy_ns } => {
                self.written = sum.records;
                self.finished = Some((sum, Duration::from_nanos(busy_ns)));
            }
        }
    }

    fn settle(&mut self, reader: usize, outcome: ReaderOutcome) {
        let Some(slot) = self.outcomes.get_mut(reader) else { return };
        if matches!(outcome, ReaderOutcome::Failed(_)) {
            // Nobody waits for it any more.
            self.seen[reader] = u64::MAX;
        }
        *slot = outcome;
    }

    /// With a ring that goes round, the writer must know how far the slowest reader is.
    fn tell_writer(&mut self) {
        if self.plan.geometry.window == 0 || !self.crowd.runs(Role::Writer) {
            return;
        }
        let slowest = self.seen.iter().copied().min().unwrap_or(0);
        if slowest > self.seen_by_all {
            self.seen_by_all = slowest;
            self.crowd.order(&format!("seen {slowest}"));
        }
    }
}
