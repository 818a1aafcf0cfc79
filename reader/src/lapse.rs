//! What a reader missed because the ring overtook it.

/// One occasion on which the ring overtook the reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lapse {
    /// The number after which the reader wanted to continue: that of the last record before the gap, or of
    /// the cursor; 0 if no record before the gap is known.
    pub requested: u64,
    /// The record after which the reader continued; `None` if that is not known.
    pub resumed_after: Option<u64>,
    /// Records missed, if known.
    pub lost: Option<u64>,
}

/// All occasions on which the ring overtook a reader that was told to go on by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lapses {
    /// How many times.
    pub count: u64,
    /// Records missed altogether; `None` as soon as one of the numbers was not known.
    pub lost: Option<u64>,
    /// The latest one.
    pub last: Option<Lapse>,
}

impl Default for Lapses {
    fn default() -> Lapses {
        Lapses { count: 0, lost: Some(0), last: None }
    }
}

impl Lapses {
    pub(crate) fn note(&mut self, lapse: Lapse) {
        self.count += 1;
        self.lost = self.lost.zip(lapse.lost).map(|(sum, n)| sum.saturating_add(n));
        self.last = Some(lapse);
    }
}
