//! No page is made ready ahead: whoever needs one makes it.

use super::failure;
use super::stock::{Stock, Workshop};
use crate::page::Page;
use crate::poison::Failure;
use std::sync::Arc;

/// Trims, and makes or recycles one page, at each rotation.
pub(crate) struct Inline {
    workshop: Workshop,
    stock: Stock,
    /// Left over from an earlier writer.
    ready: Option<Page>,
    next_id: u64,
}

impl Inline {
    pub(super) fn new(workshop: Workshop, stock: Stock, ready: Option<Page>, next_id: u64) -> Inline {
        Inline { workshop, stock, ready, next_id }
    }

    pub(super) fn take(&mut self) -> Result<(Arc<Page>, bool), Failure> {
        let (page, waited) = match self.ready.take() {
            Some(page) => (page, false),
            None => (self.make()?, true),
        };
        let page = Arc::new(page);
        // Trimmed only at the next rotation: until then the page before this one may lack its footer.
        self.stock.begin([Arc::clone(&page)]);
        self.stock.count_disk(0);
        Ok((page, waited))
    }

    fn make(&mut self) -> Result<Page, Failure> {
        let id = self.next_id;
        let (mut blanks, failed) = self.stock.trim(1);
        let blank = match (blanks.pop(), failed) {
            (Some(blank), _) => blank,
            // The ring would take more and more room.
            (None, Some(failed)) if self.stock.is_full(0) => return Err(failed),
            (None, _) => self.stock.make(id).map_err(|error| failure(id, error))?,
        };
        let page = self.workshop.name(blank, id)?;
        self.next_id += 1;
        Ok(page)
    }
}
