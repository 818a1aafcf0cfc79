//! Making pages from recycled files or from new ones, and the cost of each.

mod among_readers;
mod making;
mod reclaim;
mod tail;

use super::Case;
use crate::session::Session;

pub use tail::{TAIL, tail_main};

/// Making pages, recycling among readers, and pages that were evicted from the page cache.
pub fn run(session: &mut Session, case: &Case) -> anyhow::Result<()> {
    session.sheet.topic("recycling", "where the next page comes from; each row names what its floor is");
    making::run(session)?;
    reclaim::run(session)?;
    for readers in &case.readers {
        among_readers::run(session, case, *readers)?;
    }
    session.notes.push(format!(
        "recycling among readers: a record of 1000 B at a time, {} of them to a page of 1 MiB, a page every {}. Latencies \
         are from when an append was due. While readers are being stopped, one is every few pages, until the end.",
        among_readers::RECORDS,
        humantime::format_duration(case.page_every)
    ));
    Ok(())
}
