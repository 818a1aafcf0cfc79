//! Waiting for notes of the processes, and for their ends.

use super::Course;
use crate::fanout::note::Note;
use crate::watch::Stopped;
use anyhow::bail;
use std::time::{Duration, Instant};
use waldo_harness::processes::group::Role;
use waldo_terminal::units;

/// How often the command looks at the board.
const LOOK: Duration = Duration::from_millis(20);
/// How long nobody may have any news before the command gives up.
const PATIENCE: Duration = Duration::from_secs(180);

impl Course<'_> {
    pub(super) fn rest(&mut self, time: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.look()?;
            self.pause()?;
        }
        Ok(())
    }
    /// Waits until `count` has come to `all`.
    pub(super) fn count(
        &mut self,
        what: &str,
        all: usize,
        count: impl Fn(&Self) -> usize,
    ) -> anyhow::Result<()> {
        self.until(what, |course| {
            let n = count(course) + course.findings.failed();
            course.bar.set_position(n.min(all) as u64);
            n >= all
        })
    }

    pub(super) fn until(&mut self, what: &str, there: impl Fn(&Self) -> bool) -> anyhow::Result<()> {
        self.last_news = Instant::now();
        loop {
            self.look()?;
            let written = match self.findings.written {
                0 => String::new(),
                records => format!(", {} records appended", units::count(records)),
            };
            self.bar.set_message(format!("{what}{written}"));
            if there(self) {
                return Ok(());
            }
            if self.last_news.elapsed() > PATIENCE {
                bail!("{what}: nothing has happened for {}", units::duration(PATIENCE));
            }
            self.pause()?;
        }
    }

    pub(super) fn pause(&self) -> anyhow::Result<()> {
        match self.interrupt.sleep(LOOK)? {
            Some(signal) => Err(Stopped(signal).into()),
            None => Ok(()),
        }
    }

    /// Takes in what has happened.
    pub(super) fn look(&mut self) -> anyhow::Result<()> {
        if let Some(signal) = self.interrupt.signal() {
            return Err(Stopped(signal).into());
        }
        // In this order: what a process wrote before it ended is then on the board.
        let ended = self.crowd.ended();
        let news = self.board.news(Note::parse)?;
        if !ended.is_empty() || !news.is_empty() {
            self.last_news = Instant::now();
        }
        for note in news {
            match note {
                Note::Ready { tip } => self.ready = Some(tip),
                Note::Idle => self.idle += 1,
                Note::CaughtUp { .. } => self.caught_up += 1,
                Note::Failed { reader: None, error } => bail!("the writer process: {error}"),
                other => self.findings.take(other)?,
            }
        }
        for (role, how) in ended {
            match role {
                Role::Server | Role::Writer => bail!("the writer process {how}"),
                Role::Reader(reader) if self.readers_started => self.findings.ended(reader, &how),
                Role::Reader(_) => {}
            }
        }
        Ok(())
    }
}
