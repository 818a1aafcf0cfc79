//! Where records go.

use waldo::writer::Writer;

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
    /// Takes a batch.
    fn append(&mut self, payloads: &[&[u8]]) -> anyhow::Result<()>;
}

/// A ring that this process writes.
pub struct RingSink {
    pub writer: Writer,
    pub stored: Stored,
}

impl Sink for RingSink {
    fn append(&mut self, payloads: &[&[u8]]) -> anyhow::Result<()> {
        let appended = self.writer.append_payloads(payloads)?;
        let (first, last) = (appended.first_seq_no, appended.last_seq_no);
        self.stored.add(payloads.len() as u64, payload_bytes(payloads), first, last);
        Ok(())
    }
}
