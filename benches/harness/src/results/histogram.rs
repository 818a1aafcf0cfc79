//! Latencies, counted in a histogram that keeps three digits of each.

use anyhow::Context;
use hdrhistogram::Histogram;
use std::fmt::Write;
use std::time::Duration;

const NS_MAX: u64 = 60_000_000_000;
const DIGITS: u8 = 3;

/// How often each latency was seen, from 1 ns to 60 s. What lies outside counts as the nearest of the two.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Latency {
        Latency::new()
    }
}

impl Latency {
    /// With nothing in it.
    pub fn new() -> Latency {
        Latency::of_digits(DIGITS)
    }

    /// With nothing in it, for one digit only: a few KiB, where the other takes hundreds.
    pub fn coarse() -> Latency {
        Latency::of_digits(1)
    }

    /// With nothing in it, for two digits of each: tens of KiB.
    pub fn of_two_digits() -> Latency {
        Latency::of_digits(2)
    }

    fn of_digits(digits: u8) -> Latency {
        match Histogram::new_with_bounds(1, NS_MAX, digits) {
            Ok(histogram) => Latency(histogram),
            // The bounds are constants within what the library allows: 1 <= low, 2 * low <= high, digits <=
            // 5.
            Err(error) => unreachable!("{error}"),
        }
    }

    /// Counts one latency.
    pub fn record(&mut self, latency: Duration) {
        self.record_ns(u64::try_from(latency.as_nanos()).unwrap_or(NS_MAX));
    }

    /// Counts one latency in nanoseconds.
    pub fn record_ns(&mut self, ns: u64) {
        self.0.saturating_record(ns.clamp(1, NS_MAX));
    }

    /// Counts everything that `other` has counted.
    pub fn merge(&mut self, other: &Latency) {
        // Both have the same bounds, so that nothing in one is out of the other's range.
        let added = self.0.add(&other.0);
        debug_assert!(added.is_ok());
    }

    /// How many have been counted.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that `percent` (0 to 100) of all do not exceed; zero if there are none.
    pub fn p(&self, percent: f64) -> Duration {
        Duration::from_nanos(if self.0.is_empty() { 0 } else { self.0.value_at_percentile(percent) })
    }

    /// The longest one; zero if there are none.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(if self.0.is_empty() { 0 } else { self.0.max() })
    }

    /// Points for a plot: x is 1 / (1 - quantile), so that 10 stands for 90 %, 100 for 99 % and so on, y is
    /// the latency in microseconds. Use it with [`super::report::Axis::percentiles`].
    pub fn percentile_points(&self) -> Vec<(f64, f64)> {
        let total = self.count() as f64;
        if total == 0.0 {
            return Vec::new();
        }
        let mut points = vec![(1.0, self.0.min() as f64 / 1e3)];
        let mut x: f64 = 1.0;
        // Beyond the share of the longest one there is nothing to be known.
        while x < total {
            x = (x * 1.15).min(total);
            let ns = self.0.value_at_quantile(1.0 - 1.0 / x).min(self.0.max());
            points.push((x, ns as f64 / 1e3));
        }
        points
    }

    /// All of it as one line of text, for [`Latency::parse`] in another process: `nanoseconds:count`, with a
    /// space between.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for step in self.0.iter_recorded() {
            let space = if text.is_empty() { "" } else { " " };
            // Writing to a string does not fail.
            let _ = write!(text, "{space}{}:{}", step.value_iterated_to(), step.count_at_value());
        }
        text
    }

    /// The same, and nothing is left.
    pub fn take_text(&mut self) -> String {
        let text = self.to_text();
        self.0.reset();
        text
    }

    /// Reads what [`Latency::to_text`] has written.
    pub fn parse(text: &str) -> anyhow::Result<Latency> {
        let mut latency = Latency::new();
        latency.add_text(text)?;
        Ok(latency)
    }

    /// Counts everything in what [`Latency::to_text`] has written.
    pub fn add_text(&mut self, text: &str) -> anyhow::Result<()> {
        for word in text.split_whitespace() {
            let pair = word.split_once(':').and_then(|(ns, n)| Some((ns.parse().ok()?, n.parse().ok()?)));
            let (ns, n): (u64, u64) =
                pair.with_context(|| format!("`{word}` in a list of latencies is not `nanoseconds:count`"))?;
            self.0.saturating_record_n(ns.clamp(1, NS_MAX), n);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_recorded_comes_back_with_three_digits() {
        let mut latency = Latency::new();
        for ns in 1..=1000 {
            latency.record_ns(ns * 1000);
        }
        latency.record(Duration::from_secs(1000));
        latency.record_ns(0);
        assert_eq!(latency.count(), 1002);
        let p50 = latency.p(50.0).as_nanos() as f64;
        assert!((p50 - 500_000.0).abs() < 2_000.0, "{p50}");
        assert!(latency.max() >= Duration::from_secs(60));
    }

    #[test]
    fn another_process_reads_the_same() {
        let mut latency = Latency::new();
        for ns in [1, 17, 17, 123_456, 5_000_000_000] {
            latency.record_ns(ns);
        }
        let mut read = Latency::parse(&latency.to_text()).unwrap();
        assert_eq!(read.to_text(), latency.to_text());
        for percent in [0.0, 50.0, 99.0, 100.0] {
            assert_eq!(read.p(percent), latency.p(percent));
        }
        read.merge(&latency);
        assert_eq!(read.count(), 10);
        for wrong in ["x", "1:", ":1", "1:2:3", "-1:1"] {
            assert!(Latency::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_recorded_gives_nothing() {
        let latency = Latency::parse("").unwrap();
        assert_eq!((latency.count(), latency.p(99.0), latency.max()), (0, Duration::ZERO, Duration::ZERO));
        assert!(latency.percentile_points().is_empty());
    }

    #[test]
    fn points_go_up_and_end_at_the_longest() {
        let mut latency = Latency::new();
        for ns in 1..=2000 {
            latency.record_ns(ns * 1000);
        }
        let points = latency.percentile_points();
        assert!(points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1));
        assert_eq!(points.last().map(|(x, _)| *x), Some(2000.0));
    }
}
