//! Reading records and passing them on, up to the end that was asked for.

use crate::attach::settle;
use crate::moment;
use crate::tail::filter::Filter;
use crate::tail::format::Renderer;
use crate::tail::outlet::Outlet;
use crate::tail::progress::Progress;
use crate::tail::seen::Seen;
use crate::tail::start::Start;
use crate::tail::watch::Watch;
use crate::tail::words::{describe, explain};
use std::time::{Duration, SystemTime};
use waldo::reader::{Batch, ReadError, Reader, Ring, RingId, Wakeup};
use waldo_terminal::failure::{Outcome, OutputClosed};
use waldo_terminal::interrupt::Interrupt;
use waldo_terminal::{notice, units};

/// How long a signal may go unnoticed while a checkpoint has to be saved soon.
const NOTICE: Duration = Duration::from_millis(100);

/// Hands records on.
pub struct Follower<'a> {
    pub(super) outlet: Outlet<'a>,
    pub(super) renderer: Renderer,
    pub(super) filter: Filter,
    pub(super) progress: Option<Progress>,
    /// Who looks how far this has come.
    pub(super) seen: Seen,
    /// With this it goes on at the end of the log, without it ends there.
    pub(super) watch: Option<&'a Watch>,
    pub(super) interrupt: &'a Interrupt,
    /// Last moment wanted.
    pub(super) until: Option<SystemTime>,
    /// Records still wanted.
    pub(super) left: Option<u64>,
}

/// Whether records behind a batch are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum More {
    Yes,
    /// There is what was asked for.
    Enough,
    /// That was the newest record when this began.
    AtEnd,
}

impl<'a> Follower<'a> {
    /// Whether it goes on at the end of the log.
    pub fn follows(&self) -> bool {
        self.watch.is_some()
    }

    /// Hands on the records of `ring`.
    ///
    /// # Errors
    /// What reading, printing and saving meet.
    pub fn follow(&mut self, ring: &Ring, start: &Start<'_>) -> anyhow::Result<Outcome> {
        let end = match self.watch {
            Some(_) => None,
            None => Some(settle(ring, self.interrupt)?.tip_seq_no.unwrap_or(0)),
        };
        let mut reader = start.reader(ring, &self.filter, self.progress.as_mut(), self.interrupt)?;
        self.seen.begin(&reader)?;
        let (mut lapses, mut settled) = (0, false);
        loop {
            if let Some(signal) = self.interrupt.signal() {
                return Ok(Outcome::Interrupted(signal));
            }
            if self.left == Some(0) {
                return Ok(Outcome::Done);
            }
            // Before the poll: what was appended by then is there.
            let over = self.until.is_some_and(|until| until < SystemTime::now());
            let batch = reader.poll().map_err(explain)?;
            tell_lapses(&reader, &mut lapses);
            let more = match batch {
                Some(batch) => {
                    let more = self.hand_on(&batch, ring.ring_id(), end)?;
                    if !self.outlet.holds_back() {
                        self.seen.note(|| reader.checkpoint());
                    }
                    more
                }
                None if over || settled => More::Enough,
                None if self.watch.is_none() => {
                    // Another writer may have begun to open the ring since, so there is a second look.
                    settle(ring, self.interrupt)?;
                    settled = true;
                    More::Yes
                }
                None => {
                    self.idle(&mut reader)?;
                    More::Yes
                }
            };
            match more {
                More::Yes => {}
                More::Enough => return Ok(Outcome::Done),
                More::AtEnd => break,
            }
        }
        // The newest good record is not the end of the log if what stands behind it is damaged.
        match reader.poll() {
            // What comes behind is none of this run's business.
            Ok(_) | Err(ReadError::Lapped { .. }) => Ok(Outcome::Done),
            Err(error) => Err(explain(error)),
        }
    }

    /// Hands on what is wanted of a batch.
    fn hand_on(&mut self, batch: &Batch, ring_id: RingId, end: Option<u64>) -> anyhow::Result<More> {
        let until = self.until.map_or(u64::MAX, moment::to_ns);
        for record in batch {
            if end.is_some_and(|end| record.seq_no() > end) {
                return Ok(More::AtEnd);
            }
            if self.left == Some(0) || record.time_ns() > until {
                return Ok(More::Enough);
            }
            if self.filter.wants(record.data()) {
                self.outlet.put(record.seq_no(), |out| self.renderer.render(&record, out));
                self.left = self.left.map(|n| n - 1);
            }
            if let Some(progress) = &mut self.progress {
                progress.note(ring_id, &record);
            }
            if self.outlet.is_full() {
                self.flush()?;
                self.seen.note(|| Some(record.checkpoint(ring_id)));
                let counts = self.outlet.is_command();
                if let Some(progress) = &mut self.progress {
                    if counts { progress.save()? } else { progress.save_now_and_then()? }
                }
            }
            if self.progress.as_ref().is_some_and(Progress::is_due) {
                self.finish()?;
            }
        }
        Ok(if end.is_none_or(|end| batch.last_seq_no() < end) { More::Yes } else { More::AtEnd })
    }

    /// Sleeps until there is something to do.
    fn idle(&mut self, reader: &mut Reader) -> anyhow::Result<()> {
        self.flush()?;
        if self.outlet.is_command() {
            self.finish()?;
        }
        self.seen.note(|| reader.checkpoint());
        let time = self.until.map(|until| until.duration_since(SystemTime::now()).unwrap_or_default());
        // Beyond the moment itself, which still counts.
        let time = time.map(|time| time.saturating_add(Duration::from_millis(1)));
        let unsaved = self.progress.as_ref().and_then(Progress::due_in);
        // A report that is due has been written by now; the next one may be lost with the process.
        let unseen = self.seen.due_in();
        let sleep = [time, unseen].into_iter().flatten().min();
        let wakeup = match (unsaved, self.watch) {
            (None, Some(watch)) => watch.idle(|| reader.wait(sleep)),
            (None, None) => reader.wait(time),
            (Some(Duration::ZERO), _) => return self.finish(),
            (Some(due), _) => reader.wait(Some(due.min(NOTICE).min(time.unwrap_or(NOTICE)))),
        };
        if let Wakeup::Writer(status) = wakeup.map_err(explain)?
            && let Some(event) = describe(&status)
        {
            notice!("waldo: {event}");
        }
        self.check_output()
    }

    /// # Errors
    /// [`OutputClosed`] if no process reads the output any more.
    pub fn check_output(&self) -> anyhow::Result<()> {
        if self.outlet.is_closed() { Err(OutputClosed.into()) } else { Ok(()) }
    }

    fn flush(&mut self) -> anyhow::Result<()> {
        let result = self.outlet.flush();
        if result.is_err()
            && let Some(progress) = &mut self.progress
        {
            progress.forget();
        }
        result
    }

    /// Has everything written that was read, and notes it in the checkpoint.
    ///
    /// # Errors
    /// What writing and saving meet.
    pub fn finish(&mut self) -> anyhow::Result<()> {
        self.flush()?;
        self.progress.as_mut().map_or(Ok(()), Progress::save)
    }
}

fn tell_lapses(reader: &Reader, told: &mut u64) {
    let lapses = reader.lapses();
    if lapses.count > *told {
        *told = lapses.count;
        let lost = match lapses.lost {
            Some(lost) => format!("{} records lost so far", units::count(lost)),
            None => "how many records are lost is not known".to_owned(),
        };
        notice!("waldo: the ring has overtaken this reader: {lost}; going on");
    }
}
