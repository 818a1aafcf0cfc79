//! Footer and index of a page, held against the records in it.

use super::damage::DamageKind;
use super::judge::{self, FooterVerdict};
use super::source::PageBytes;
use crate::limits::{INDEX_ENTRY_LEN, PAGE_FOOTER_LEN};
use crate::page::{IndexEntry, PageFault, PageFooter, PageHeader, PageSummary};
use crate::record::Record;

/// Footer and index as they stand in a page's file. All is read before the page's records are walked: a
/// running writer may be about to write it.
#[derive(Clone, Debug)]
pub struct PageTail {
    footer: Result<PageFooter, PageFault>,
    index: Result<Vec<IndexEntry>, PageFault>,
    footer_at: u64,
    /// Entries of the index that have been met, each behind the one before.
    met: usize,
}

/// What a footer says that counts, if one does; or what is damaged, and where.
pub type FooterCheck = Result<Option<PageSummary>, (u64, DamageKind)>;

impl PageTail {
    /// Reads both.
    ///
    /// # Errors
    /// What reading says.
    pub fn read<P: PageBytes>(page: &P, header: &PageHeader) -> Result<PageTail, P::Error> {
        let geometry = header.geometry();
        let footer_at = geometry.footer_offset();
        let mut bytes = [0; PAGE_FOOTER_LEN];
        let len = page.read_up_to(&mut bytes, footer_at)?;
        let footer = PageFooter::check(&bytes[..len], header);
        let index = match &footer {
            Ok(footer) => {
                let (at, len) = footer.index_range(&geometry);
                let mut bytes = vec![0; len];
                let len = page.read_up_to(&mut bytes, at)?;
                footer.check_index(&bytes[..len])
            }
            Err(fault) => Err(*fault),
        };
        Ok(PageTail { footer, index, footer_at, met: 0 })
    }

    /// The next record on the walk through the page.
    pub fn meet(&mut self, offset: u64, record: &Record) {
        let next = self.index.as_ref().ok().and_then(|index| index.get(self.met));
        let entry = IndexEntry { seq_no: record.seq_no(), time_ns: record.time_ns(), offset };
        self.met += usize::from(next == Some(&entry));
    }

    /// Where the records end, for a footer that has the right checksum, whatever the page holds.
    pub fn records_end(&self) -> Option<u64> {
        self.footer.as_ref().ok().map(|footer| footer.summary().records_end)
    }

    /// Holds both against what a walk to the page's seal has `found` and met.
    ///
    /// # Errors
    /// What no crash explains.
    pub fn check(&self, found: &PageSummary) -> FooterCheck {
        let footer = match &self.footer {
            Ok(footer) => footer,
            Err(fault) => return lost(fault, (self.footer_at, DamageKind::Footer(*fault))),
        };
        let said = footer.summary();
        if judge::footer_is_stale(said.records_end, found.records_end) {
            return Ok(None);
        }
        if let Some((what, stored, found)) = footer.mismatch(found) {
            return Err((self.footer_at, DamageKind::FooterMismatch { what, stored, found }));
        }
        let place = |entry: usize| {
            self.footer_at - u64::from(footer.index_len()) * INDEX_ENTRY_LEN as u64
                + (entry * INDEX_ENTRY_LEN) as u64
        };
        match &self.index {
            Err(fault) => lost(fault, (place(0), DamageKind::Index(*fault))),
            Ok(index) => match index.get(self.met) {
                None => Ok(Some(said)),
                Some(entry) => {
                    let (seq_no, offset) = (entry.seq_no, entry.offset);
                    Err((place(self.met), DamageKind::IndexEntry { seq_no, offset }))
                }
            },
        }
    }
}

/// No footer that counts, or damage.
fn lost(fault: &PageFault, damage: (u64, DamageKind)) -> FooterCheck {
    match judge::footer(fault) {
        FooterVerdict::None => Ok(None),
        FooterVerdict::Damage => Err(damage),
    }
}
