//! Which records are wanted, as options, and finding the first of them.

use crate::moment;
use std::collections::VecDeque;
use std::str::FromStr;
use std::time::{Duration, SystemTime};
use waldo::reader::{Batch, Cursor, Integrity, OnLapped, ReadError, Reader, ReaderOptions, Ring};

/// A search for the last records goes this many times farther back if there were too few.
const FARTHER: u64 = 8;

/// The value of `--from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(pub Cursor);

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        Ok(Place(match text {
            "oldest" => Cursor::Oldest,
            "tip" => Cursor::Tip,
            _ => match text.parse() {
                Ok(seq_no) => Cursor::From(seq_no),
                Err(_) => moment::parse(text).map(Cursor::Since).map_err(|_| {
                    format!("`{text}` is no place in a ring: use oldest, tip, a sequence number, or a moment")
                })?,
            },
        }))
    }
}

/// The value of `--lines`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// The last so many.
    Last(u64),
    /// From the record with this number on.
    From(u64),
}

impl FromStr for Lines {
    type Err = String;

    fn from_str(text: &str) -> Result<Lines, String> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse().unwrap_or(u64::MAX))
        };
        match text.strip_prefix('+') {
            Some(rest) => number(rest).map(Lines::From),
            None => number(text.strip_prefix('-').unwrap_or(text)).map(Lines::Last),
        }
        .ok_or_else(|| "use a number, as in 10 for the last ten, or +10 for all from number 10 on".to_owned())
    }
}

/// The last records of a part of a ring.
pub struct LastOf<'a> {
    /// The ring.
    pub ring: &'a Ring,
    /// How it is read.
    pub options: &'a ReaderOptions,
    /// Where that part begins.
    pub low: Cursor,
    /// The newest record; 0 if there is none.
    pub tip: u64,
    /// Up to which moment it goes.
    pub until: Option<SystemTime>,
    /// Which records count.
    pub wanted: &'a dyn Fn(&[u8]) -> bool,
}

impl LastOf<'_> {
    /// A cursor at the first of the last `n` records that count; behind the newest record if none does.
    ///
    /// Sequence numbers may have gaps, and not every record counts, so this is a search: from the end back to
    /// a place where there could be enough, and farther if there are not.
    ///
    /// # Errors
    /// What reading meets, unless there is something to print before that.
    pub fn find(&self, n: u64) -> Result<Cursor, ReadError> {
        let end = self.end()?;
        let lowest = match self.ring.reader_with(self.low, self.options.clone())?.poll()? {
            Some(batch) if batch.first_seq_no() <= end => batch.first_seq_no(),
            _ => return Ok(Cursor::After(end)),
        };
        // The whole part holds no more: none of its records need be looked at, or be kept in mind.
        if n > 0 && end - lowest < n {
            // Not its number: a fast writer may drop that one before it is read.
            return Ok(self.low);
        }
        // What is overtaken while it is searched was not among the last.
        let options = self.options.clone().on_lapped(OnLapped::Oldest).integrity(Integrity::Headers);
        let mut back = n.max(1);
        loop {
            let from = end.saturating_sub(back).saturating_add(1).max(lowest);
            let mut reader = self.ring.reader_with(Cursor::From(from), options.clone())?;
            let (found, error) = self.collect(&mut reader, n, end);
            if found.len() as u64 >= n || from <= lowest || error.is_some() {
                return match (found.front(), error) {
                    (Some(first), _) => Ok(Cursor::From(*first)),
                    (None, Some(error)) => Err(error),
                    (None, None) => Ok(Cursor::After(end)),
                };
            }
            back = back.saturating_mul(FARTHER);
        }
    }

    /// The number of the last record of the part; 0 if there is none.
    fn end(&self) -> Result<u64, ReadError> {
        let Some(until) = self.until else { return Ok(self.tip) };
        let Some(behind) = until.checked_add(Duration::from_nanos(1)) else { return Ok(self.tip) };
        let mut reader = self.ring.reader_with(Cursor::Since(behind), self.options.clone())?;
        let first_behind = reader.poll()?.and_then(|batch| first_prev(&batch));
        Ok(first_behind.unwrap_or(self.tip))
    }

    /// Numbers of the last `n` records up to `end` that count, and what ended the search early.
    fn collect(&self, reader: &mut Reader, n: u64, end: u64) -> (VecDeque<u64>, Option<ReadError>) {
        let mut found = VecDeque::new();
        loop {
            let batch = match reader.poll() {
                Ok(Some(batch)) => batch,
                Ok(None) => return (found, None),
                Err(error) => return (found, Some(error)),
            };
            for record in batch.iter().filter(|record| (self.wanted)(record.data())) {
                if record.seq_no() > end {
                    return (found, None);
                }
                if n > 0 {
                    if found.len() as u64 >= n {
                        found.pop_front();
                    }
                    found.push_back(record.seq_no());
                }
            }
            if batch.last_seq_no() >= end {
                return (found, None);
            }
        }
    }
}

fn first_prev(batch: &Batch) -> Option<u64> {
    batch.iter().next().map(|record| record.prev_seq_no())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart() {
        let place = |text: &str| text.parse::<Place>().map(|place| place.0);
        assert_eq!(place("oldest"), Ok(Cursor::Oldest));
        assert_eq!(place("tip"), Ok(Cursor::Tip));
        assert_eq!(place("17"), Ok(Cursor::From(17)));
        assert!(matches!(place("5m"), Ok(Cursor::Since(_))));
        assert!(place("nowhere").is_err());
    }

    #[test]
    fn lines_are_the_last_or_from_a_number_on() {
        assert_eq!("10".parse(), Ok(Lines::Last(10)));
        assert_eq!("-10".parse(), Ok(Lines::Last(10)));
        assert_eq!("+10".parse(), Ok(Lines::From(10)));
        assert_eq!("99999999999999999999".parse(), Ok(Lines::Last(u64::MAX)));
        for wrong in ["", "+", "-", "ten", "1.5", "+-3"] {
            assert!(wrong.parse::<Lines>().is_err(), "{wrong}");
        }
    }
}
