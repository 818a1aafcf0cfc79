//! What must hold of a ring after a crash, decided without the writer's own checks.

use super::recovery::{Kept, Recovered};
use super::truth::{Entry, Truth};
use crate::disk::simulated::{Known, State};
use crate::error::OpenError;
use crate::recover::Cut;
use std::fmt::Write;
use waldo_shm_protocol::limits::{PAGE_HEADER_LEN, RECORD_HEADER_LEN, align_record};
use waldo_shm_protocol::page::PageHeader;
use waldo_shm_protocol::{PageSeed, RawRecord, names};

/// A rule that was broken, and how. Rules are few, so that failures can be counted by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) rule: &'static str,
    pub(super) how: String,
}

/// A ring that was never damaged does not open.
pub(super) fn does_not_open(error: &OpenError) -> Broken {
    let rule = match error {
        OpenError::MissingPage { .. } => "does not open: page missing",
        OpenError::Page { .. } => "does not open: header of a page",
        OpenError::Corrupt { .. } => "does not open: durable record damaged",
        OpenError::Meta { .. } => "does not open: ring.meta",
        OpenError::NoMeta { .. } => "does not open: no ring.meta",
        _ => "does not open",
    };
    Broken { rule, how: error.to_string() }
}

fn broken<T>(rule: &'static str, how: String) -> Result<T, Broken> {
    Err(Broken { rule, how })
}

/// What a ring owes after a crash.
#[derive(Clone, Copy)]
pub(super) struct Owed<'a> {
    pub(super) truth: &'a Truth,
    pub(super) known: Known,
    /// What had not been flushed may be gone.
    pub(super) power: bool,
}

/// What a ring holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// 0 if there is no record.
    pub(super) first: u64,
    pub(super) tip: u64,
    /// Of the last record.
    pub(super) epoch: u32,
}

impl Owed<'_> {
    /// Checks what recovery has made of `image`.
    pub(super) fn check(&self, image: &State, after: &State, found: &Recovered) -> Result<Held, Broken> {
        if found.epoch <= self.known.epoch {
            return broken("epoch repeated", format!("{} after {}", found.epoch, self.known.epoch));
        }
        let held = self.check_log(after, &found.pages)?;
        if held.epoch >= found.epoch {
            return broken("epoch repeated", format!("{}, a record has {}", found.epoch, held.epoch));
        }
        self.check_cut(image, held, found.cut.as_ref())?;
        Ok(held)
    }

    /// Checks what an opening tells about what it cut off.
    pub(super) fn check_cut(&self, image: &State, held: Held, cut: Option<&Cut>) -> Result<(), Broken> {
        if self.known.closed
            && let Some(cut) = cut
        {
            return broken("cut after a clean close", format!("{cut:?}"));
        }
        if cut.is_none()
            && let Some(lost) = self.removed(image, held)
        {
            let how = format!("record {} was there, the log is {} to {}", lost.seq_no, held.first, held.tip);
            return broken("removed in silence", how);
        }
        Ok(())
    }

    /// Checks the records of a ring against what was appended.
    pub(super) fn check_log(&self, after: &State, pages: &[Kept]) -> Result<Held, Broken> {
        let mut held = Held::default();
        let mut place = None;
        for page in pages.iter().filter(|page| page.records > 0) {
            let Some(content) = after.content(&names::page(page.id)) else {
                return broken("page missing", format!("page {} is not there any more", page.id));
            };
            let mut at = PAGE_HEADER_LEN;
            while (at as u64) < page.records_end {
                let raw = content.get(at..).and_then(RawRecord::read);
                let Some((seq_no, payload)) = raw.and_then(|raw| {
                    let len = (raw.length & 0xff_ffff) as usize;
                    Some((raw.seq_no, content.get(at + RECORD_HEADER_LEN..at + len)?))
                }) else {
                    return broken("no record", format!("page {}, offset {at}", page.id));
                };
                let expected = match place {
                    None => self.truth.place(seq_no),
                    Some(place) => place,
                };
                match self.truth.0.get(expected) {
                    Some(entry) if entry.seq_no != seq_no => {
                        let (after, expected) = (held.tip, entry.seq_no);
                        return broken("gap", format!("{seq_no} follows {after}, not {expected}"));
                    }
                    Some(entry) if !entry.is_payload(payload) => {
                        return broken("foreign payload", format!("record {seq_no}, page {}", page.id));
                    }
                    None => return broken("never appended", format!("record {seq_no}, page {}", page.id)),
                    Some(_) => {}
                }
                if place.is_none() {
                    held.first = seq_no;
                }
                place = Some(expected + 1);
                held.tip = seq_no;
                held.epoch = raw.map_or(0, |raw| raw.epoch);
                at += align_record(RECORD_HEADER_LEN + payload.len());
            }
        }
        self.check_ends(held, pages)?;
        Ok(held)
    }

    fn check_ends(&self, held: Held, pages: &[Kept]) -> Result<(), Broken> {
        if self.power && self.known.order_only {
            return Ok(());
        }
        let known = self.known;
        let owed = if self.power { known.durable } else { known.durable.max(known.committed) };
        if held.tip < owed {
            let rule = if held.tip < known.durable { "durable lost" } else { "committed lost" };
            return broken(rule, format!("the log ends at {}, {owed} was acknowledged", held.tip));
        }
        let full = pages.iter().filter(|page| page.records > 0).count();
        let owed_first = self.truth.0.get(self.truth.place(known.floor)).map_or(0, |entry| entry.seq_no);
        if held.first > owed_first && full < known.ring_size as usize {
            return broken(
                "trimmed too early",
                format!(
                    "the log starts at {} instead of {owed_first}, with {full} pages of {}",
                    held.first, known.ring_size
                ),
            );
        }
        Ok(())
    }

    /// A complete record of the log in `image` that is not `held`.
    fn removed(&self, image: &State, held: Held) -> Option<Entry> {
        let oldest = self.truth.0.first().map_or(0, |entry| entry.seq_no);
        if self.truth.tip() <= held.tip && held.first <= oldest {
            return None;
        }
        for name in image.names() {
            let Some(content) = names::parse_page(&name).and_then(|_| image.content(&name)) else { continue };
            let Ok(header) = PageHeader::check_any(content, content.len() as u64) else { continue };
            if names::page(header.fields().page_id) != name {
                continue;
            }
            let seed = PageSeed::new(&header.fields().ring_id, header.fields().page_id);
            let limit = header.fields().records_limit as usize;
            for at in (PAGE_HEADER_LEN + RECORD_HEADER_LEN..limit).step_by(8) {
                let Some(entry) = Entry::told_by(&content[at..limit]) else { continue };
                let gone = !(held.first..=held.tip).contains(&entry.seq_no);
                let ours = gone && self.truth.find(entry.seq_no) == Some(&entry);
                let start = at - RECORD_HEADER_LEN;
                if ours
                    && content.get(at..at + entry.len as usize).is_some_and(|bytes| entry.is_payload(bytes))
                    && RawRecord::read(&content[start..]).is_some_and(|raw| {
                        raw.seq_no == entry.seq_no && raw.verify(seed, start as u32).is_ok()
                    })
                {
                    return Some(entry);
                }
            }
        }
        None
    }
}

/// What is on a disk, in a line for each file.
pub(super) fn describe(state: &State) -> String {
    let mut text = String::new();
    for name in state.names() {
        let content = state.content(&name).unwrap_or_default();
        let header = match PageHeader::check_any(content, content.len() as u64) {
            Ok(header) => format!("page {} of epoch {}", header.fields().page_id, header.fields().epoch),
            Err(fault) => fault.to_string(),
        };
        let records: Vec<u64> = (PAGE_HEADER_LEN..content.len())
            .step_by(8)
            .filter_map(|at| Entry::told_by(&content[at..]))
            .map(|entry| entry.seq_no)
            .collect();
        let _ = writeln!(text, "    {name} ({} bytes): {header}; payloads of {records:?}", content.len());
    }
    text
}
