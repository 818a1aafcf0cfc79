//! How values are spread: a histogram that can be passed between processes.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Nanoseconds, to two digits.
pub struct Spread(Histogram<u64>);

/// A spread in transit: values and how often each occurred.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Counts(Vec<(u64, u64)>);

/// What is reported of a spread, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half are at or below this.
    pub p50: f64,
    /// 99 in 100 are at or below this.
    pub p99: f64,
    /// All are at or below this.
    pub max: f64,
}

impl Spread {
    /// Nothing yet.
    pub fn new() -> anyhow::Result<Spread> {
        Ok(Spread(Histogram::new_with_bounds(1, 3_600_000_000_000, 2)?))
    }

    /// Adds a value.
    pub fn add(&mut self, ns: u64) {
        self.0.saturating_record(ns.max(1));
    }

    /// Adds what another process has counted.
    pub fn merge(&mut self, counts: &Counts) {
        for (value, count) in &counts.0 {
            self.0.saturating_record_n((*value).max(1), *count);
        }
    }

    /// For sending.
    pub fn counts(&self) -> Counts {
        Counts(self.0.iter_recorded().map(|v| (v.value_iterated_to(), v.count_at_value())).collect())
    }

    /// For sending; nothing is left.
    pub fn take(&mut self) -> Counts {
        let counts = self.counts();
        self.0.reset();
        counts
    }

    /// `None` if nothing was added.
    pub fn quantiles(&self) -> Option<Quantiles> {
        let at = |quantile| self.0.value_at_quantile(quantile) as f64;
        (!self.0.is_empty()).then(|| Quantiles { p50: at(0.5), p99: at(0.99), max: self.0.max() as f64 })
    }
}
