//! Records handed out together.

use crate::batch_storage::BatchStorage;
use crate::checkpoint::Checkpoint;
use crate::error::ReadError;
use crate::passed::Passed;
use std::fmt;
use std::iter::FusedIterator;
use waldo_shm_protocol::limits::RECORD_HEADER_LEN;
use waldo_shm_protocol::record::{Frame, RawRecord};
use waldo_shm_protocol::{Log, RecordFault, RingId, record};

/// One or more consecutive records of one page. The records stay unchanged while the batch exists, even after
/// the page has been trimmed. A batch is cheap to clone and to send to another thread.
///
/// The records are in the mapped page, or in a copy, if they are the few bytes that a sleeping reader was
/// woken for. A batch that is kept may prevent its page's file from being recycled: copy the records
/// ([`Batch::to_logs`]) if you need them for long.
#[derive(Clone)]
pub struct Batch {
    pub(crate) held: BatchStorage,
    start: u32,
    end: u32,
    len: usize,
    payload_bytes: usize,
    first_seq_no: u64,
    last_seq_no: u64,
}

impl Batch {
    /// The records that a reader has walked over in `held`, the last of which has the number `last_seq_no`.
    #[inline]
    pub(crate) fn new(held: BatchStorage, passed: &Passed, last_seq_no: Option<u64>) -> Batch {
        Batch {
            held,
            start: passed.start,
            end: passed.end,
            len: passed.len,
            payload_bytes: passed.payload_bytes,
            first_seq_no: passed.first_seq_no,
            last_seq_no: last_seq_no.unwrap_or_default(),
        }
    }

    /// The records in order.
    pub fn iter(&self) -> Records<'_> {
        let bytes = self.held.bytes(self.start, self.end).unwrap_or_default();
        Records { bytes, left: self.len }
    }

    /// Number of records, at least 1.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Never true for a batch that a reader has handed out.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sequence number of the first record.
    pub fn first_seq_no(&self) -> u64 {
        self.first_seq_no
    }

    /// Sequence number of the last record.
    pub fn last_seq_no(&self) -> u64 {
        self.last_seq_no
    }

    /// Bytes of all payloads together.
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// Computes every payload's hash and compares it.
    ///
    /// # Errors
    /// [`ReadError::Corrupt`] for the first payload that does not match.
    pub fn verify(&self) -> Result<(), ReadError> {
        let mut offset = u64::from(self.start);
        let mut before = None;
        for record in self {
            if let Err(fault) = record.verify() {
                let (path, page) = (self.held.path().to_path_buf(), self.held.page_id());
                let seq_no = before.or(Some(record.prev_seq_no()));
                return Err(ReadError::Corrupt { path, page, offset, fault, seq_no });
            }
            offset += record.header.size() as u64;
            before = Some(record.seq_no());
        }
        Ok(())
    }

    /// The records, copied.
    pub fn to_logs(&self) -> Vec<Log<'static>> {
        // A `Log` hashes what it owns, so this reads each payload twice.
        self.iter().map(|r| Log::new_owned(r.seq_no(), r.prev_seq_no(), r.data().to_vec())).collect()
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("page", &self.held.page_id())
            .field("len", &self.len)
            .field("first_seq_no", &self.first_seq_no)
            .field("last_seq_no", &self.last_seq_no)
            .finish_non_exhaustive()
    }
}

impl<'b> IntoIterator for &'b Batch {
    type Item = Record<'b>;
    type IntoIter = Records<'b>;

    fn into_iter(self) -> Records<'b> {
        self.iter()
    }
}

/// Iterator over the records of a [`Batch`].
#[derive(Clone, Debug)]
pub struct Records<'b> {
    /// From the next record on.
    bytes: &'b [u8],
    left: usize,
}

impl<'b> Iterator for Records<'b> {
    type Item = Record<'b>;

    #[inline]
    fn next(&mut self) -> Option<Record<'b>> {
        if self.left == 0 {
            return None;
        }
        // The bytes have been checked by the reader and do not change; looking again costs less than
        // trusting.
        let raw = RawRecord::read(self.bytes)?;
        let Ok(Frame::Record(header)) = raw.check(self.bytes.len() as u64) else { return None };
        let (this, rest) = self.bytes.split_at_checked(header.size())?;
        let data = this.get(RECORD_HEADER_LEN..RECORD_HEADER_LEN + header.payload_len())?;
        self.bytes = rest;
        self.left -= 1;
        Some(Record { header, data })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Records<'_> {}
impl FusedIterator for Records<'_> {}

/// One record, in place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Record<'b> {
    header: record::Record,
    data: &'b [u8],
}

impl<'b> Record<'b> {
    /// Sequence number.
    #[inline]
    pub fn seq_no(&self) -> u64 {
        self.header.seq_no()
    }

    /// Sequence number of the record before.
    #[inline]
    pub fn prev_seq_no(&self) -> u64 {
        self.header.prev_seq_no()
    }

    /// When it was appended, in nanoseconds since 1970 by the writer's clock; never decreases along the log.
    #[inline]
    pub fn time_ns(&self) -> u64 {
        self.header.time_ns()
    }

    /// The writer's start that appended it; never decreases along the log.
    #[inline]
    pub fn epoch(&self) -> u32 {
        self.header.epoch()
    }

    /// The payload.
    #[inline]
    pub fn data(&self) -> &'b [u8] {
        self.data
    }

    /// A checkpoint of this very record, of the ring with this identity: [`Reader::checkpoint`] as it would
    /// be if the batch ended here.
    ///
    /// [`Reader::checkpoint`]: crate::Reader::checkpoint
    #[inline]
    pub fn checkpoint(&self, ring_id: RingId) -> Checkpoint {
        let (epoch, checksum) = (self.epoch(), self.header.checksum());
        Checkpoint { ring_id, seq_no: self.seq_no(), epoch, checksum }
    }

    /// The same as a [`Log`] that borrows the payload and carries its stored hash; reads no payload.
    #[inline]
    pub fn log(&self) -> Log<'b> {
        Log::with_hash(self.seq_no(), self.prev_seq_no(), self.data, self.data_hash())
    }

    /// Stored CRC-32C of the payload.
    #[inline]
    pub fn data_hash(&self) -> u32 {
        self.header.payload_hash()
    }

    /// Computes the payload's hash and compares it.
    ///
    /// # Errors
    /// [`RecordFault::Payload`] if the payload is not what was appended.
    pub fn verify(&self) -> Result<(), RecordFault> {
        self.header.verify_payload(self.data)
    }
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("seq_no", &self.seq_no())
            .field("prev_seq_no", &self.prev_seq_no())
            .field("len", &self.data.len())
            .finish_non_exhaustive()
    }
}
