//! One life of a writer on a simulated disk: opened, appended to, closed.

use super::oracle::{Broken, Held, Owed, does_not_open};
use super::recovery::look;
use super::truth::{Entry, Truth};
use crate::core::Core;
use crate::disk::simulated::{Faults, Known, Lie, Op, Rng, SimDisk, State};
use crate::{AppendError, Durability, Log, OnFull, Position, SharedWriter, Writer, WriterOptions};
use std::path::Path;
use std::sync::Arc;
use waldo_shm_protocol::segment::Counter;

/// How a life goes.
#[derive(Clone, Debug)]
pub(super) struct Regime {
    pub(super) options: WriterOptions,
    /// Through a [`SharedWriter`].
    pub(super) shared: bool,
    /// Several appends may wait for the committer at a time.
    pub(super) several: bool,
    /// How many things are done.
    pub(super) steps: u64,
    pub(super) payload_max: u64,
    /// While the ring is opened, and later but for what the disk does not do then.
    pub(super) faults: Faults,
    /// What the disk does not do once the ring is open.
    pub(super) lie: Lie,
    /// Whether calls may fail.
    pub(super) faulty: bool,
}

/// What came of it.
pub(super) struct Lived {
    pub(super) journal: Vec<Op>,
    pub(super) outcome: Result<(), Broken>,
}

pub(super) struct Life<'a> {
    pub(super) home: &'a Path,
    pub(super) truth: &'a mut Truth,
    pub(super) number: u32,
    pub(super) known: Known,
    pub(super) rng: Rng,
    disk: SimDisk,
    /// Where the log ended, and with which record.
    places: Vec<(Position, u64)>,
    /// The disk was full, and the ring gave up pages for that.
    gave_up: bool,
    /// Pages that were given up for that when the ring had just been opened: lives before this one count.
    trims_before: u64,
}

/// Pages that a ring holds before the oldest goes, at least, if the disk has room for them.
fn pages_min(options: &WriterOptions) -> u32 {
    match options.keep_for {
        None => options.ring_size,
        // As few as are new enough.
        Some(_) => 1,
    }
}

/// Pages that were trimmed because the disk was full.
fn full_disk_trims(core: &Core) -> u64 {
    core.control.publisher().segment().counters().get(Counter::FullDiskTrims)
}

/// Whether the ring has fewer pages than it should have, for want of room.
fn is_smaller(core: &Core, options: &WriterOptions) -> bool {
    core.pages_max() < options.ring_size as usize
}

impl<'a> Life<'a> {
    pub(super) fn new(home: &'a Path, truth: &'a mut Truth, number: u32, known: Known, rng: Rng) -> Life<'a> {
        let disk = SimDisk::new(State::default(), Faults::none());
        Life { home, truth, number, known, rng, disk, places: Vec::new(), gave_up: false, trims_before: 0 }
    }

    /// Lives on `start`. `power` says that what was committed only may be gone in it.
    pub(super) fn live(mut self, start: State, power: bool, regime: &Regime) -> Lived {
        self.disk = SimDisk::new(start.clone(), regime.faults.clone());
        // The pages beyond may be trimmed as soon as the ring is open.
        self.known.ring_size = self.known.ring_size.min(pages_min(&regime.options));
        self.disk.note(self.known);
        let outcome = self.run(&start, power, regime);
        let mut journal = self.disk.take_journal();
        if self.gave_up {
            // When that began is not written down: it went on beside the steps.
            for op in &mut journal {
                if let Op::Note(known) = op {
                    known.ring_size = 1;
                }
            }
        }
        Lived { journal, outcome }
    }

    fn run(&mut self, start: &State, power: bool, regime: &Regime) -> Result<(), Broken> {
        let opened = Writer::open_on(self.home, Arc::new(self.disk.clone()), regime.options.clone());
        let writer = match opened {
            Ok(writer) => writer,
            Err(_) if self.disk.failed() > 0 => {
                // It may have given up pages before it failed.
                self.gave_up = regime.options.on_full == OnFull::DropOldest;
                return Ok(());
            }
            Err(error) => return Err(does_not_open(&error)),
        };
        self.disk.set_lie(regime.lie);
        let held = self.check_opened(&writer, start, power, regime);
        if let Err(broken) = held {
            // It may be in no state to be closed.
            self.disk.set_faults(Faults { io: 1, space: 1, flush: 1, ..Faults::none() });
            drop(writer);
            return Err(broken);
        }
        let (core, options) = (writer.core(), writer.options().clone());
        if regime.shared {
            self.append_shared(&SharedWriter::new(writer), regime);
        } else {
            self.append_alone(writer, regime);
        }
        self.gave_up |= is_smaller(&core, &options) || full_disk_trims(&core) > self.trims_before;
        Ok(())
    }

    fn check_opened(
        &mut self,
        writer: &Writer,
        start: &State,
        power: bool,
        regime: &Regime,
    ) -> Result<(), Broken> {
        let (report, tip) = (writer.open_report().clone(), writer.tip().unwrap_or(0));
        if report.epoch <= self.known.epoch {
            let how = format!("{} after {}", report.epoch, self.known.epoch);
            return Err(Broken { rule: "epoch repeated", how });
        }
        let owed = Owed { truth: self.truth, known: self.known, power };
        // Threads of the writer may change it meanwhile.
        let state = self.disk.state();
        let pages = look(&state).map_err(|error| does_not_open(&error))?;
        let Held { first, tip: found, epoch } = owed.check_log(&state, &pages)?;
        if found != tip {
            return Err(Broken { rule: "other tip", how: format!("tip {tip}, the files end with {found}") });
        }
        // The oldest pages go without a word if the ring is to have fewer.
        // It becomes smaller before it gives up the first page, and larger again only with appends.
        self.gave_up = is_smaller(&writer.core(), writer.options());
        self.trims_before = full_disk_trims(&writer.core());
        let pages_min = if self.gave_up { 1 } else { pages_min(writer.options()) };
        let full = pages.iter().filter(|page| page.records > 0).count() >= pages_min as usize;
        owed.check_cut(start, Held { first: if full { 0 } else { first }, tip, epoch }, report.cut.as_ref())?;
        self.truth.end_at(tip);
        let floor = if first == 0 { tip + 1 } else { first };
        let order_only = regime.options.durability == Durability::PageCache;
        let ring_size = pages_min;
        self.known = Known {
            committed: tip,
            durable: tip,
            epoch: report.epoch,
            floor,
            order_only,
            ring_size,
            closed: false,
        };
        self.places = vec![(writer.committed(), tip)];
        self.disk.note(self.known);
        Ok(())
    }

    /// The next records to be appended; they belong to the truth before anyone has seen them.
    fn batch(&mut self, regime: &Regime, leaps: bool) -> Vec<(u64, Entry)> {
        // Of large records so many that a group of them is flushed while the next one is written.
        let large = if regime.payload_max >= 4000 && self.rng.one_in(20) { 70 } else { 1 };
        let count = large * self.rng.of(&[1, 1, 1, 1, 2, 3, 5, 12]).min(if large > 1 { 2 } else { 12 });
        let mut prev = self.truth.tip();
        let mut batch = Vec::new();
        for _ in 0..count {
            let len = match self.rng.below(8) {
                0 => self.rng.below(20),
                1..=4 => self.rng.below(regime.payload_max / 4 + 1),
                _ => self.rng.below(regime.payload_max + 1),
            } as u32;
            let leap = if leaps && self.rng.one_in(5) { self.rng.below(100) } else { 0 };
            let entry = Entry { seq_no: prev + 1 + leap, life: self.number, len };
            self.truth.0.push(entry);
            batch.push((prev, entry));
            prev = entry.seq_no;
        }
        batch
    }

    fn append_alone(&mut self, mut writer: Writer, regime: &Regime) {
        let core = writer.core();
        for _ in 0..regime.steps {
            let outcome = match self.rng.below(10) {
                0 => writer.sync(),
                1 => {
                    let batch = self.batch(regime, true);
                    let payloads: Vec<_> = batch.iter().map(|(_, entry)| entry.payload()).collect();
                    let logs: Vec<_> = (batch.iter().zip(&payloads))
                        .map(|((prev, entry), payload)| Log::new_borrowed(entry.seq_no, *prev, payload))
                        .collect();
                    writer.append(&logs).map(drop)
                }
                _ => {
                    let batch = self.batch(regime, false);
                    let payloads: Vec<_> = batch.iter().map(|(_, entry)| entry.payload()).collect();
                    writer.append_payloads(&payloads).map(drop)
                }
            };
            match outcome {
                Ok(()) => {}
                // What was put before it is part of the log.
                Err(AppendError::NoPage { .. }) => self.truth.end_at(writer.tip().unwrap_or(0)),
                Err(_) => break,
            }
            self.places.push((writer.committed(), writer.tip().unwrap_or(0)));
            let durable = core.durable();
            let covered = self.places.iter().rev().find(|(place, _)| *place <= durable);
            self.known.committed = writer.tip().unwrap_or(0);
            self.known.durable = self.known.durable.max(covered.map_or(0, |(_, tip)| *tip));
            self.disk.note(self.known);
        }
        drop(core);
        if writer.close().is_ok() {
            self.known.durable = self.known.committed;
            self.known.closed = true;
            self.disk.note(self.known);
        }
    }

    fn append_shared(&mut self, writer: &SharedWriter, regime: &Regime) {
        let sync = regime.options.durability == Durability::Sync;
        'life: for _ in 0..regime.steps.div_ceil(3) {
            let mut tickets = Vec::new();
            // Which numbers a batch gets is known if all before it succeed.
            for _ in 0..1 + if regime.faulty || !regime.several { 0 } else { self.rng.below(3) } {
                let batch = self.batch(regime, false);
                let payloads: Vec<_> = batch.iter().map(|(_, entry)| entry.payload()).collect();
                match writer.try_append_payloads(&payloads) {
                    Ok(ticket) => tickets.push(ticket),
                    Err(_) => break 'life,
                }
            }
            for ticket in tickets {
                match ticket.wait() {
                    Ok(appended) => self.known.committed = appended.last_seq_no,
                    // What was put before it is part of the log.
                    Err(AppendError::NoPage { tip, .. }) => {
                        self.truth.end_at(tip);
                        self.known.committed = tip;
                    }
                    Err(_) => break 'life,
                }
                if sync {
                    self.known.durable = self.known.committed;
                }
            }
            if self.rng.one_in(4) {
                if writer.sync().is_err() {
                    break;
                }
                self.known.durable = self.known.committed;
            }
            self.disk.note(self.known);
        }
        if writer.close().is_ok() {
            self.known.durable = self.known.committed;
            self.known.closed = true;
            self.disk.note(self.known);
        }
    }
}
