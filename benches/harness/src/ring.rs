//! What a ring is made with if the page length alone was chosen.

use waldo::protocol::page::PageGeometry;
use waldo::writer::WriterOptions;
use waldo_terminal::failure::Usage;

/// Index entries for a page of `page_len` bytes: the usual number, or fewer in a small page, where they would
/// take the room of the records.
pub fn index_capacity(page_len: u64) -> anyhow::Result<u32> {
    let fitting = WriterOptions::default().page_len_with_fitting_index(page_len).index_capacity;
    match PageGeometry::new(page_len, fitting) {
        Some(_) => Ok(fitting),
        None => Err(Usage(format!(
            "a page of {page_len} bytes is not possible: --page-size takes a multiple of 4096 from 16K to 2G"
        ))
        .into()),
    }
}
