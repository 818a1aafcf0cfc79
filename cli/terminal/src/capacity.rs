//! The size of a ring as people state it: a number of pages, a number of bytes, or a time at a rate.

#[cfg(test)]
mod tests;

use crate::units;
use std::time::Duration;

/// The stated size. Nothing was stated if all fields are `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    /// Pages.
    pub pages: Option<u32>,
    /// Bytes of all pages together.
    pub bytes: Option<u64>,
    /// How long a record is to stay.
    pub keep: Option<Duration>,
    /// Bytes that are appended in a second, with what each record takes beside its payload: 48 bytes, and up
    /// to 7 more.
    pub rate: Option<u64>,
}

/// The properties of a page that determine how many are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRoom {
    /// Bytes of its file.
    pub len: u64,
    /// Bytes that it has for records: without its header, the seal at its end, index and footer.
    pub records: u64,
}

/// The pages that result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenPages {
    /// Pages of the ring.
    pub pages: u32,
    /// How that came about, where it is not what was stated.
    pub told: Option<String>,
}

/// Reads a rate: `10MB`, or `10MB/s`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_rate(text: &str) -> Result<u64, String> {
    match units::parse_size(text.strip_suffix("/s").unwrap_or(text))? {
        0 => Err("a rate of 0 needs no ring: write it like 10MB, for so many bytes a second".to_owned()),
        rate => Ok(rate),
    }
}

/// Reads a time to keep records for: `6h`, `7days`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_keep(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if !time.is_zero() => Ok(time),
        Ok(_) => Err("records that are kept for no time need no ring: write it like 6h or 7days".to_owned()),
        Err(error) => Err(format!("`{text}` is no time: write it like 90min, 6h or 7days ({error})")),
    }
}

impl Capacity {
    /// Whether nothing was stated.
    pub fn is_empty(&self) -> bool {
        *self == Capacity::default()
    }

    /// The number of pages for this size; a ring has at most `pages_max`. `None` if nothing was stated.
    ///
    /// # Errors
    /// Which values contradict each other or are impossible, and what would work.
    pub fn pages(&self, page: PageRoom, pages_max: u32) -> Result<Option<ChosenPages>, String> {
        let page_len = page.len;
        if let Some(pages) = self.pages
            && !(1..=pages_max).contains(&pages)
        {
            return Err(format!("ring_size is {pages}, it must be 1 to {pages_max}"));
        }
        let by_bytes = self.bytes.map(|bytes| whole_pages(bytes, page_len)).transpose()?;
        let by_time = match (self.keep, self.rate) {
            (Some(keep), Some(rate)) => Some(pages_for_time(keep, rate, page)),
            (None, None) => None,
            (Some(_), None) => return Err("a time to keep needs the rate too, like 10MB a second".to_owned()),
            (None, Some(_)) => {
                return Err("a rate needs the time to keep records for too, like 6h".to_owned());
            }
        };
        let stated = [
            self.pages.map(|pages| (u64::from(pages), "the number of pages", None)),
            by_bytes.map(|(pages, told)| (pages, "the size", told)),
            by_time.map(|(pages, told)| (pages, "the time at that rate", Some(told))),
        ];
        let mut stated = stated.into_iter().flatten();
        let Some((pages, what, mut told)) = stated.next() else { return Ok(None) };
        for (other, other_what, other_told) in stated {
            if other != pages {
                return Err(format!(
                    "{what} says {pages} pages of {}, {other_what} says {other}: give one of the two",
                    units::bytes(page_len)
                ));
            }
            told = told.or(other_told);
        }
        match u32::try_from(pages) {
            Ok(pages) if (1..=pages_max).contains(&pages) => Ok(Some(ChosenPages { pages, told })),
            _ => Err(format!(
                "that would be {} pages of {}, and a ring has 1 to {}: choose other pages, of {} at least",
                units::count(pages),
                units::bytes(page_len),
                units::count(pages_max.into()),
                units::bytes(smallest_page(pages.saturating_mul(page_len), pages_max))
            )),
        }
    }
}

/// Whole pages in so many bytes: never more than was allowed.
fn whole_pages(bytes: u64, page_len: u64) -> Result<(u64, Option<String>), String> {
    let pages = bytes / page_len.max(1);
    if pages == 0 {
        return Err(format!(
            "a ring of {} is smaller than one page, and the smallest ring has one page of {}: give more, or choose \
             smaller pages (16K at least)",
            units::bytes(bytes),
            units::bytes(page_len)
        ));
    }
    let taken = pages * page_len;
    let told = (taken != bytes).then(|| {
        format!(
            "{} bytes are no whole number of pages of {}: {pages} pages are taken, which are {} bytes",
            units::count(bytes),
            units::bytes(page_len),
            units::count(taken)
        )
    });
    Ok((pages, told))
}

/// Pages that hold what comes in this time, and one more: the newest one is being filled.
fn pages_for_time(keep: Duration, rate: u64, page: PageRoom) -> (u64, String) {
    let bytes = keep.as_nanos().saturating_mul(rate.into()).div_ceil(1_000_000_000);
    let pages = bytes.div_ceil(u128::from(page.records.max(1))) + 1;
    let (bytes, pages) = (u64::try_from(bytes).unwrap_or(u64::MAX), u64::try_from(pages).unwrap_or(u64::MAX));
    let told = format!(
        "{} at {}/s are {}: {} pages of {} with the one that is being filled, {} in all",
        humantime::format_duration(keep),
        units::bytes(rate),
        units::bytes(bytes),
        units::count(pages),
        units::bytes(page.len),
        units::bytes(pages.saturating_mul(page.len))
    );
    (pages, told)
}

/// The smallest page, a power of two, with which a ring of `pages_max` pages holds so many bytes.
fn smallest_page(bytes: u64, pages_max: u32) -> u64 {
    bytes.div_ceil(u64::from(pages_max.max(1))).checked_next_power_of_two().unwrap_or(1 << 63)
}
