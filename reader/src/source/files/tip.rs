//! The page that the log ends in.

use super::survey::Bytes;
use crate::error::ReadError;
use crate::pages::{self, Opened};
use crate::source::home::Object;
use std::fs::File;
use std::path::Path;
use waldo_shm_protocol::limits::PAGE_HEADER_LEN;
use waldo_shm_protocol::page::PageHeader;
use waldo_shm_protocol::record::RecordFault;
use waldo_shm_protocol::recovery::{PageBytes, Sparse};
use waldo_shm_protocol::scan::{PageScan, PayloadCheck, Step, WINDOW_MIN};
use waldo_shm_protocol::{Position, RingId, names};

const WINDOW: usize = 2 * WINDOW_MIN;

/// The page that the log ends in.
#[derive(Debug)]
pub(super) struct TipPage {
    pub(super) id: u64,
    pub(super) file: File,
    pub(super) header: PageHeader,
    pub(super) scan: PageScan,
    pub(super) sealed: bool,
    /// What follows the good records.
    pub(super) fault: Option<RecordFault>,
    /// Highest durable position that a good record names.
    pub(super) durable: Position,
}

impl TipPage {
    pub(super) fn open(
        id: u64,
        prev: Option<u64>,
        epoch: u32,
        home: &Path,
        ring_id: &RingId,
    ) -> Result<Opened<TipPage>, ReadError> {
        let (file, header) = match pages::open(&home.join(names::page(id)), ring_id, id)? {
            Opened::Page(page) => page,
            Opened::Gone(error) => return Ok(Opened::Gone(error)),
        };
        let scan = PageScan::new(&header, prev, epoch, PayloadCheck::Verify);
        let mut page =
            TipPage { id, file, header, scan, sealed: false, fault: None, durable: Position::NONE };
        page.walk(home)?;
        Ok(Opened::Page(page))
    }

    /// Whether the page's name still leads to this file.
    pub(super) fn bears_its_name(&self, home: &Path) -> bool {
        let named = std::fs::symlink_metadata(home.join(names::page(self.id)));
        let open = self.file.metadata();
        matches!((named, open), (Ok(named), Ok(open)) if Object::of(&named) == Object::of(&open))
    }

    /// Walks on to the seal, or to the first bytes that are not a good record.
    pub(super) fn walk(&mut self, home: &Path) -> Result<(), ReadError> {
        if self.sealed {
            return Ok(());
        }
        let limit = self.header.fields().records_limit;
        let bytes = Sparse::new(Bytes(&self.file));
        let mut window = Vec::new();
        let mut start = self.scan.offset();
        loop {
            // While nothing comes, one small read per look is enough.
            let want = if window.is_empty() { PAGE_HEADER_LEN } else { WINDOW };
            let want = want.min(usize::try_from(limit.saturating_sub(start)).unwrap_or(0));
            window.resize(want.max(1), 0);
            let got = bytes
                .read_up_to(&mut window[..want], start)
                .map_err(|e| ReadError::io(home.join(names::page(self.id)), e))?;
            let before = self.scan.offset();
            loop {
                match self.scan.step(&window[..got], start) {
                    Step::Record { record, .. } => self.durable = self.durable.max(record.durable()),
                    Step::Seal { seal, .. } => {
                        self.durable = self.durable.max(seal.durable());
                        self.sealed = true;
                        return Ok(());
                    }
                    Step::Fault { fault, .. } => {
                        self.fault = Some(fault);
                        return Ok(());
                    }
                    Step::More { offset } => {
                        // No progress with a whole window can only mean that the file is shorter than it was.
                        if offset == before && want >= WINDOW.min((limit - start) as usize) {
                            return Ok(());
                        }
                        start = offset;
                        break;
                    }
                }
            }
        }
    }
}
