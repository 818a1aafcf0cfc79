//! The geometry of a ring of which only the page length was chosen.

use waldo::protocol::page::PageGeometry;
use waldo::writer::WriterOptions;
use waldo_terminal::failure::Usage;

/// A page of `page_len` bytes, with the usual number of index entries, or fewer in a small page, where they
/// would take the room of the records.
pub fn geometry(page_len: u64) -> anyhow::Result<PageGeometry> {
    let fitting = WriterOptions::default().page_len_with_fitting_index(page_len).index_capacity;
    PageGeometry::new(page_len, fitting).ok_or_else(|| {
        Usage(format!(
            "a page of {page_len} bytes is not possible: --page-size takes a multiple of 4096 from 16K to 2G"
        ))
        .into()
    })
}

/// The index entries of such a page.
pub fn index_capacity(page_len: u64) -> anyhow::Result<u32> {
    geometry(page_len).map(|page| page.index_capacity())
}
