//! The quantiles that are reported.

use serde::Serialize;
use waldo_harness::results::histogram::Latency;

/// Nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half are at or below this.
    pub p50: f64,
    /// 99 in 100 are at or below this.
    pub p99: f64,
    /// All are at or below this.
    pub max: f64,
}

impl Quantiles {
    /// Zeros if nothing was counted.
    pub fn of(latency: &Latency) -> Quantiles {
        let at = |percent| latency.p(percent).as_nanos() as f64;
        Quantiles { p50: at(50.0), p99: at(99.0), max: latency.max().as_nanos() as f64 }
    }
}
