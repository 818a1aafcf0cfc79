//! Comparing an operation with its floor, in turns: rounds, medians and the spread of their ratio.

use super::setting::Plan;
use super::watch::Watch;
use std::time::Instant;

const ROUNDS_MAX: usize = 400;

/// One operation against its floor.
#[derive(Clone, Copy, Debug)]
pub struct PairedComparison {
    pub ours: f64,
    pub floor: f64,
    /// Ours / floor: median, and the quarter and three-quarter points.
    pub ratio: [f64; 3],
    pub rounds: usize,
}

/// Runs both in turns, A B B A A B ..., for the time of one row. Each call does one round of work and gives
/// its figure. The first round of each is thrown away: it warms up.
pub fn compare(
    plan: &Plan,
    watch: &Watch,
    ours: &mut dyn FnMut() -> anyhow::Result<f64>,
    floor: &mut dyn FnMut() -> anyhow::Result<f64>,
) -> anyhow::Result<PairedComparison> {
    ours()?;
    watch.check()?;
    floor()?;
    let start = Instant::now();
    let (mut a, mut b) = (Vec::new(), Vec::new());
    while a.len() < plan.rounds_min || (start.elapsed() < plan.time && a.len() < ROUNDS_MAX) {
        watch.check()?;
        if a.len() % 2 == 0 {
            a.push(ours()?);
            watch.check()?;
            b.push(floor()?);
        } else {
            b.push(floor()?);
            watch.check()?;
            a.push(ours()?);
        }
    }
    let ratios: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a / b).collect();
    let rounds = a.len();
    let ratio = [0.5, 0.25, 0.75].map(|q| quantile(ratios.clone(), q));
    Ok(PairedComparison { ours: quantile(a, 0.5), floor: quantile(b, 0.5), ratio, rounds })
}

/// The value that a share of `q` of all values does not exceed.
pub fn quantile(mut values: Vec<f64>, q: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let rank = (values.len() as f64 * q).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// Does `op` `n` times and gives nanoseconds per call: the median over groups of `group` calls, so that the
/// clock does not count for much and an interruption not at all.
pub fn ns_per_call(
    n: usize,
    group: usize,
    mut op: impl FnMut(usize) -> anyhow::Result<()>,
) -> anyhow::Result<f64> {
    let mut means = Vec::with_capacity(n / group + 1);
    let mut done = 0;
    while done < n {
        let many = group.min(n - done);
        let start = Instant::now();
        for call in done..done + many {
            op(call)?;
        }
        means.push(start.elapsed().as_nanos() as f64 / many as f64);
        done += many;
    }
    Ok(quantile(means, 0.5))
}

/// Numbers that look random, the same in every run (SplitMix64).
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    /// The next one, below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_there() {
        let values = || vec![4.0, 1.0, 3.0, 2.0];
        assert_eq!([0.25, 0.5, 0.75, 1.0].map(|q| quantile(values(), q)), [1.0, 2.0, 3.0, 4.0]);
        assert!(quantile(Vec::new(), 0.5).is_nan());
    }
}
