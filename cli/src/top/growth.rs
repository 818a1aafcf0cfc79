//! How fast a ring grows.

use crate::stat::counter;
use std::collections::VecDeque;
use std::time::{Duration, Instant};
use waldo::reader::RingStatus;

/// Rates are means of this time, or of one interval where that is longer: what comes in batches does not
/// flicker, and a ring that has fallen silent shows nothing soon.
const WINDOW: Duration = Duration::from_secs(3);

/// Intervals that are kept for the picture.
const KEPT: usize = 300;

/// Records and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amount {
    /// A number of records.
    pub records: u64,
    /// Bytes of payload, or of the log where nobody counts payloads.
    pub bytes: u64,
}

/// How fast a ring grows.
#[derive(Clone, Debug, Default)]
pub struct Growth {
    /// A second, in the last few seconds.
    pub smooth: Amount,
    /// What was appended in the last interval, and how long that was.
    pub last: Option<(Amount, Duration)>,
    /// Records a second in each of the last intervals, the newest at the end.
    pub history: Vec<u64>,
}

/// Who counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    /// The writer, since its start with this number.
    ByWriter(u32),
    /// Nobody: numbers and positions of records are taken, which may have gaps.
    ByPlace,
}

/// Takes what a ring has counted, again and again.
#[derive(Debug, Default)]
pub struct Meter {
    last: Option<(Instant, Counted, Amount)>,
    /// All that was appended since the first look, at each look within the window.
    window: VecDeque<(Instant, Amount)>,
    history: VecDeque<u64>,
    newest: Option<(Amount, Duration)>,
}

impl Meter {
    /// Takes one more look, made at `at`.
    pub fn note(&mut self, at: Instant, status: &RingStatus) {
        let (counted, now) = count(status);
        self.take(at, counted, now);
    }

    fn take(&mut self, at: Instant, counted: Counted, now: Amount) {
        let Some((then, before_by, before)) = self.last.replace((at, counted, now)) else {
            self.window.push_back((at, Amount::default()));
            return;
        };
        let grown = match (before_by, counted) {
            (one, other) if one == other => now.less(before),
            // All that the new start has counted came since the last look.
            (Counted::ByWriter(_), Counted::ByWriter(_)) => now,
            _ => Amount::default(),
        };
        let time = at.saturating_duration_since(then);
        self.newest = Some((grown, time));
        self.history.push_back(grown.per_second(time).records);
        while self.history.len() > KEPT {
            self.history.pop_front();
        }
        let total = self.window.back().map_or(Amount::default(), |(_, total)| *total);
        self.window.push_back((at, total.plus(grown)));
        // One look before the window begins is what the first in it is compared with.
        while self.window.len() > 2 && at.saturating_duration_since(self.window[1].0) >= WINDOW {
            self.window.pop_front();
        }
    }

    /// What that comes to.
    pub fn growth(&self) -> Growth {
        let smooth = match (self.window.front(), self.window.back()) {
            (Some((then, before)), Some((at, now))) => {
                now.less(*before).per_second(at.saturating_duration_since(*then))
            }
            _ => Amount::default(),
        };
        Growth { smooth, last: self.newest, history: self.history.iter().copied().collect() }
    }
}

fn count(status: &RingStatus) -> (Counted, Amount) {
    if status.counters.is_empty() {
        let (page, offset) = (status.committed.page(), u64::from(status.committed.offset()));
        let bytes = page.saturating_mul(status.page_len).saturating_add(offset);
        return (Counted::ByPlace, Amount { records: status.tip_seq_no.unwrap_or(0), bytes });
    }
    let amount = Amount { records: counter(status, "records"), bytes: counter(status, "payload_bytes") };
    (Counted::ByWriter(status.epoch), amount)
}

impl Amount {
    fn less(self, other: Amount) -> Amount {
        Amount {
            records: self.records.saturating_sub(other.records),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    fn plus(self, other: Amount) -> Amount {
        Amount {
            records: self.records.saturating_add(other.records),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    fn per_second(self, time: Duration) -> Amount {
        let per_second = |amount| waldo_terminal::units::per_second(amount, time);
        Amount { records: per_second(self.records), bytes: per_second(self.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(records: u64) -> Amount {
        Amount { records, bytes: records * 10 }
    }

    /// Takes these numbers, a second apart, and gives the growth after each.
    fn growths(counts: &[(Counted, u64)]) -> Vec<Growth> {
        let (mut meter, start) = (Meter::default(), Instant::now());
        let mut growths = Vec::new();
        for (second, (counted, records)) in counts.iter().enumerate() {
            meter.take(start + Duration::from_secs(second as u64), *counted, amount(*records));
            growths.push(meter.growth());
        }
        growths
    }

    #[test]
    fn a_rate_is_the_mean_of_three_seconds_and_ends_with_them() {
        let by = Counted::ByWriter(1);
        let growths = growths(&[(by, 100), (by, 400), (by, 400), (by, 400), (by, 400), (by, 400)]);
        let rates: Vec<_> = growths.iter().map(|growth| growth.smooth.records).collect();
        assert_eq!(rates, [0, 300, 150, 100, 0, 0]);
        assert_eq!(growths[1].smooth.bytes, 3000);
        assert_eq!(growths[5].history, [300, 0, 0, 0, 0]);
        assert_eq!(growths[5].last, Some((Amount::default(), Duration::from_secs(1))));
    }

    #[test]
    fn a_writer_that_starts_anew_counts_from_nothing() {
        let growths = growths(&[(Counted::ByWriter(1), 1000), (Counted::ByWriter(2), 30)]);
        assert_eq!(growths[1].smooth.records, 30);
    }

    /// The numbers of records and what a writer has counted have nothing to do with each other.
    #[test]
    fn another_way_to_count_is_no_growth() {
        let (place, writer) = (Counted::ByPlace, Counted::ByWriter(1));
        let growths = growths(&[(place, 5), (writer, 1000), (writer, 1001), (place, 5000), (place, 5002)]);
        let rates: Vec<_> = growths.iter().map(|growth| growth.history.last().copied()).collect();
        assert_eq!(rates, [None, Some(0), Some(1), Some(0), Some(2)]);
    }

    #[test]
    fn what_is_kept_has_an_end() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        for n in 0..1000 {
            meter.take(start + Duration::from_millis(n * 100), Counted::ByPlace, amount(n));
        }
        assert_eq!(meter.growth().history.len(), KEPT);
        assert!(meter.window.len() < 40, "{}", meter.window.len());
    }
}
