//! Footer and index of a sealed page.

use crate::pages;
use std::fs::File;
use waldo_shm_protocol::limits::PAGE_FOOTER_LEN;
use waldo_shm_protocol::page::{IndexEntry, PageFooter, PageHeader, PageSummary};

/// A sealed page's footer and index.
#[derive(Debug)]
pub(super) struct SealedPage {
    pub(super) summary: PageSummary,
    pub(super) page_len: u64,
    pub(super) index: Vec<IndexEntry>,
}

impl SealedPage {
    pub(super) fn read(file: &File, header: &PageHeader) -> Option<SealedPage> {
        let geometry = header.geometry();
        let mut bytes = [0; PAGE_FOOTER_LEN];
        let got = pages::opening::read_at(file, &mut bytes, geometry.footer_offset()).ok()?;
        let footer = PageFooter::check(&bytes[..got], header).ok()?;
        let (start, len) = footer.index_range(&geometry);
        let mut index = vec![0; len];
        let got = pages::opening::read_at(file, &mut index, start).ok()?;
        // A damaged index costs time, not correctness.
        let index = footer.check_index(&index[..got]).unwrap_or_default();
        Some(SealedPage { summary: footer.summary(), page_len: geometry.page_len(), index })
    }
}
