//! Where records go.

use anyhow::Context;
use waldo::writer::{AppendError, Writer};

/// What has been stored so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stored {
    pub records: u64,
    /// Of their payloads.
    pub bytes: u64,
    /// Sequence number of the first of them.
    pub first: Option<u64>,
    /// Sequence number of the last of them.
    pub last: u64,
}

impl Stored {
    pub fn add(&mut self, records: u64, bytes: u64, first: u64, last: u64) {
        self.records += records;
        self.bytes += bytes;
        self.first.get_or_insert(first);
        self.last = last;
    }
}

/// Bytes of all payloads.
pub fn payload_bytes(payloads: &[&[u8]]) -> u64 {
    payloads.iter().map(|payload| payload.len() as u64).sum()
}

/// Takes records, in order.
pub trait Sink {
    /// Takes a batch, whose first record has this number in the input.
    ///
    /// # Errors
    /// They say from which record of the input on nothing is stored, as far as that is known.
    fn append(&mut self, number: u64, payloads: &[&[u8]]) -> anyhow::Result<()>;

    /// Whether it still takes any.
    ///
    /// # Errors
    /// Why not.
    fn check(&mut self) -> anyhow::Result<()>;
}

/// A ring that this process writes.
pub struct RingSink {
    pub writer: Writer,
    pub stored: Stored,
}

impl Sink for RingSink {
    fn append(&mut self, number: u64, payloads: &[&[u8]]) -> anyhow::Result<()> {
        let before = self.writer.tip().unwrap_or(0);
        let result = self.writer.append_payloads(payloads);
        let tip = match &result {
            Ok(appended) => appended.last_seq_no,
            // What the last page had room for is appended.
            Err(AppendError::NoPage { tip, .. }) => *tip,
            Err(_) => before,
        };
        let appended = usize::try_from(tip.saturating_sub(before)).unwrap_or(usize::MAX);
        let (appended, rest) = payloads.split_at(appended.min(payloads.len()));
        if !appended.is_empty() {
            self.stored.add(appended.len() as u64, payload_bytes(appended), before + 1, tip);
        }
        result.map(drop).with_context(|| {
            let number = number + appended.len() as u64;
            format!("cannot append {} records of the input, from number {number} on", rest.len())
        })
    }

    fn check(&mut self) -> anyhow::Result<()> {
        self.writer.check_usable().context("nothing more can be appended")
    }
}
