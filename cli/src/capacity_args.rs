//! The arguments for the size of a ring.

use std::time::Duration;
use waldo_shm_protocol::limits::RING_SIZE_MAX;
use waldo_shm_protocol::page::PageGeometry;
use waldo_terminal::capacity::{Capacity, ChosenPages, PageRoom, parse_keep, parse_rate};
use waldo_terminal::failure::Usage;
use waldo_terminal::notice;
use waldo_terminal::units::parse_size;

/// How large the ring is to be: in one way, or in several that agree.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct CapacityArgs {
    /// Pages of the ring; beyond that the oldest is dropped. Default for a new ring: 8.
    #[arg(long, value_name = "PAGES", value_parser = clap::value_parser!(u32).range(1..=i64::from(RING_SIZE_MAX)))]
    pub ring_size: Option<u32>,
    /// The same in bytes of all pages together, like 10G: as many whole pages as fit. (Up to two more pages
    /// are prepared ahead.)
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub size: Option<u64>,
    /// The same as a time for which records stay, like 6h, at the rate that --rate states: rounded up to
    /// whole pages, and one more for the page that is being filled.
    #[arg(long, value_name = "TIME", requires = "rate", conflicts_with = "size", value_parser = parse_keep)]
    pub keep: Option<Duration>,
    /// Bytes appended a second, like 10MB: payloads, plus 48 to 55 bytes for each record.
    #[arg(long, value_name = "SIZE", requires = "keep", value_parser = parse_rate)]
    pub rate: Option<u64>,
}

impl CapacityArgs {
    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.capacity().is_empty()
    }

    /// The pages that this takes; `None` if nothing was said. Tells how that came about where it is not what
    /// was said.
    ///
    /// # Errors
    /// What contradicts itself or cannot be.
    pub fn pages(&self, page: PageGeometry) -> Result<Option<u32>, Usage> {
        let page = PageRoom { len: page.page_len(), records: page.record_size_max() };
        let chosen = self.capacity().pages(page, RING_SIZE_MAX).map_err(Usage)?;
        Ok(chosen.map(|ChosenPages { pages, told }| {
            if let Some(told) = told {
                notice!("waldo: {told}");
            }
            pages
        }))
    }

    fn capacity(&self) -> Capacity {
        let CapacityArgs { ring_size: pages, size: bytes, keep, rate } = *self;
        Capacity { pages, bytes, keep, rate }
    }
}
