//! Every structure of the format, for programs that show them and for the test that compares `docs/FORMAT.md`
//! with them.

use crate::layout::Table;

/// Every structure of the format.
pub fn tables() -> Vec<Table> {
    vec![
        crate::record::RawRecord::TABLE,
        crate::page::RawPageHeader::TABLE,
        crate::page::RawPageFooter::TABLE,
        crate::page::IndexEntry::TABLE,
        crate::meta::RawMeta::TABLE,
        #[cfg(not(loom))]
        crate::segment::SegmentHeader::TABLE,
        #[cfg(not(loom))]
        crate::segment::CommittedLine::TABLE,
        #[cfg(not(loom))]
        crate::segment::DurableLine::TABLE,
        #[cfg(not(loom))]
        crate::segment::StatusLine::TABLE,
        #[cfg(not(loom))]
        crate::segment::Counters::TABLE,
        #[cfg(not(loom))]
        crate::segment::PageSlot::TABLE,
        #[cfg(not(loom))]
        crate::segment::IndexSlot::TABLE,
        #[cfg(not(loom))]
        crate::lane::ProducerLine::TABLE,
        #[cfg(not(loom))]
        crate::lane::ServiceLine::TABLE,
    ]
}
