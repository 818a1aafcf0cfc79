//! What waits to be acknowledged, and what of it has been sent on the present connection. No I/O.
//!
//! ```text
//!   batches:  | acknowledged out of order | sent | sent | not sent | not sent |
//!               front                             ^ sent
//! ```

use super::lane::{LaneFault, LaneSender};
use super::waiters::Waiters;
use super::wire::{
    APPEND_CONDITIONAL, APPEND_DURABLE, Ack, AppendFields, BATCH_RECORDS_MAX, FRAME_HEADER_LEN, Kind,
    Welcome, WireFault, encode_append, finish_frame,
};
use super::{ProducerError, Stored};
use std::collections::VecDeque;

/// What a waiting batch takes beside its frame, about.
const BATCH_OVERHEAD: usize = 160;
/// Where `first_number` stands in an APPEND frame.
const NUMBER_OFFSET: usize = FRAME_HEADER_LEN + std::mem::offset_of!(AppendFields, first_number);

pub(super) type Reply = oneshot::Sender<Result<Stored, ProducerError>>;

struct Waiting {
    batch: u64,
    /// The whole frame; number and checksum are filled in when it is sent for the first time.
    frame: Vec<u8>,
    records: u64,
    /// Own number of the first record, from its first sending on.
    first_number: Option<u64>,
    /// What the log must end with.
    expected: Option<u64>,
    /// `None` once it is answered.
    reply: Option<Reply>,
}

/// A batch to be queued.
pub(super) struct NewBatch {
    frame: Vec<u8>,
    records: u64,
    expected: Option<u64>,
    payload_len_max: usize,
}

impl NewBatch {
    pub(super) fn new<P: AsRef<[u8]>>(payloads: &[P], expected: Option<u64>, durable: bool) -> NewBatch {
        let mut flags = if durable { APPEND_DURABLE } else { 0 };
        flags |= if expected.is_some() { APPEND_CONDITIONAL } else { 0 };
        let fields =
            AppendFields { batch: 0, first_number: 0, previous: expected.unwrap_or(0), count: 0, flags };
        let mut frame = Vec::new();
        encode_append(&mut frame, fields, payloads, false);
        let payload_len_max = payloads.iter().map(|payload| payload.as_ref().len()).max().unwrap_or(0);
        NewBatch { frame, records: payloads.len() as u64, expected, payload_len_max }
    }

    fn bytes(&self) -> usize {
        self.frame.len() + BATCH_OVERHEAD
    }
}

/// See the module's documentation.
pub(super) struct Backlog {
    named: bool,
    checksums: bool,
    bytes_max: usize,
    welcome: Welcome,
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// How many of `waiting` have been sent on this connection.
    sent: usize,
    /// Batches and bytes that are sent on this connection and not acknowledged.
    in_flight: (u32, u64),
    next_batch: u64,
    /// Own number of the next record that is sent for the first time.
    next_number: u64,
    /// The highest own number that has been acknowledged.
    acknowledged: u64,
    /// No more batches are taken.
    pub(super) closing: bool,
    /// The producer has come to its end, and why.
    pub(super) ended: Option<ProducerError>,
    /// The present connection is broken.
    pub(super) broken: Option<ProducerError>,
    /// Tasks that wait for space.
    pub(super) waiters: Waiters,
    /// Threads that wait for space.
    pub(super) blocked: usize,
    /// The writing thread waits for something to do.
    pub(super) is_idle: bool,
    /// Where frames go instead of the socket.
    lane: Option<LaneSender>,
}

impl Backlog {
    pub(super) fn new(named: bool, checksums: bool, bytes_max: usize, welcome: Welcome) -> Backlog {
        Backlog {
            named,
            checksums,
            bytes_max,
            welcome,
            waiting: VecDeque::new(),
            bytes: 0,
            sent: 0,
            in_flight: (0, 0),
            next_batch: 1,
            next_number: welcome.last_number + 1,
            acknowledged: welcome.last_number,
            closing: false,
            ended: None,
            broken: None,
            waiters: Waiters::default(),
            blocked: 0,
            is_idle: false,
            lane: None,
        }
    }

    pub(super) fn welcome(&self) -> &Welcome {
        &self.welcome
    }

    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether the batch can ever be sent.
    pub(super) fn check(&self, batch: &NewBatch) -> Result<(), ProducerError> {
        let (len, max) = (batch.payload_len_max, self.welcome.record_len_max as usize);
        if len > max {
            return Err(ProducerError::RecordTooLarge { len, max });
        }
        let (len, max) = (batch.frame.len() - FRAME_HEADER_LEN, self.welcome.frame_len_max as usize);
        let records = batch.records as usize;
        if records == 0 || records > BATCH_RECORDS_MAX || len > max {
            return Err(ProducerError::BatchSize { records, len, records_max: BATCH_RECORDS_MAX, max });
        }
        Ok(())
    }

    /// Whether a batch may be queued now: [`ProducerError::Full`] if it has to wait. One batch is always let
    /// in, whatever its size.
    pub(super) fn check_space(&self, batch: &NewBatch) -> Result<(), ProducerError> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        if self.closing {
            return Err(ProducerError::Closed);
        }
        if self.bytes > 0 && self.bytes + batch.bytes() > self.bytes_max {
            return Err(ProducerError::Full { queued: self.bytes, max: self.bytes_max });
        }
        Ok(())
    }

    pub(super) fn push(&mut self, batch: NewBatch, reply: Reply) {
        self.bytes += batch.bytes();
        let NewBatch { mut frame, records, expected, .. } = batch;
        let number = self.next_batch;
        self.next_batch += 1;
        frame[FRAME_HEADER_LEN..FRAME_HEADER_LEN + 8].copy_from_slice(&number.to_le_bytes());
        self.waiting.push_back(Waiting {
            batch: number,
            frame,
            records,
            first_number: None,
            expected,
            reply: Some(reply),
        });
    }

    /// A new connection: everything that waits is to be sent again.
    pub(super) fn reconnected(&mut self, welcome: Welcome) -> Result<(), ProducerError> {
        (self.sent, self.in_flight, self.broken) = (0, (0, 0), None);
        self.welcome = welcome;
        if self.named && welcome.last_number < self.acknowledged {
            let (stored, acknowledged) = (welcome.last_number, self.acknowledged);
            return Err(ProducerError::Lost { stored, acknowledged });
        }
        Ok(())
    }

    /// Whether [`Backlog::take`] would give something.
    pub(super) fn can_send(&self) -> bool {
        let Some(next) = self.waiting.get(self.sent) else { return false };
        let (batches, bytes) = self.in_flight;
        let fits = batches < self.welcome.window_batches
            && (bytes == 0 || bytes + next.frame.len() as u64 <= self.welcome.window_bytes);
        // Whether a condition holds decides which number the next record gets.
        let after = self.sent.checked_sub(1).and_then(|last| self.waiting.get(last));
        let decided = after.is_none_or(|last| last.reply.is_none() || last.expected.is_none());
        fits && (decided || !self.named)
    }

    /// The next frame that may be sent now, which counts as sent.
    fn next_frame(&mut self) -> Option<&[u8]> {
        while self.can_send() {
            let index = self.sent;
            let next = &mut self.waiting[index];
            self.sent += 1;
            if next.reply.is_none() {
                continue;
            }
            if next.first_number.is_none() {
                if self.named {
                    let number = self.next_number;
                    self.next_number += next.records;
                    next.frame[NUMBER_OFFSET..NUMBER_OFFSET + 8].copy_from_slice(&number.to_le_bytes());
                    next.first_number = Some(number);
                }
                finish_frame(&mut next.frame, 0, Kind::Append, self.checksums);
            }
            self.in_flight.0 += 1;
            self.in_flight.1 += next.frame.len() as u64;
            return Some(&self.waiting[index].frame);
        }
        None
    }

    /// Appends frames to `out` that may be sent now, until it holds `len` bytes or more.
    pub(super) fn take(&mut self, out: &mut Vec<u8>, len: usize) {
        while out.len() < len
            && let Some(frame) = self.next_frame()
        {
            out.extend_from_slice(frame);
        }
    }

    /// Where frames go on this connection: into a lane, or with `None` to the socket.
    pub(super) fn set_lane(&mut self, lane: Option<LaneSender>) {
        self.lane = lane;
    }

    pub(super) fn has_lane(&self) -> bool {
        self.lane.is_some()
    }

    /// Puts into the lane what may be sent now, and wakes the service if it sleeps.
    pub(super) fn fill_lane(&mut self) {
        let Some(mut lane) = self.lane.take() else { return };
        let put = self.put_frames(&mut lane).map_err(|fault| WireFault::from(fault).into());
        if let Err(error) = put.and(lane.wake()) {
            self.broken.get_or_insert(error);
        }
        self.lane = Some(lane);
    }

    fn put_frames(&mut self, lane: &mut LaneSender) -> Result<(), LaneFault> {
        while lane.is_ready()?
            && let Some(frame) = self.next_frame()
        {
            lane.put(frame)?;
        }
        Ok(())
    }

    /// The batch is answered: whom to tell, and how many bytes its frame had.
    fn settle(&mut self, batch: u64) -> Option<(Reply, &Waiting)> {
        let index = self.waiting.binary_search_by_key(&batch, |waiting| waiting.batch).ok()?;
        if index >= self.sent {
            return None;
        }
        let reply = self.waiting[index].reply.take()?;
        let len = self.waiting[index].frame.len();
        self.in_flight.0 -= 1;
        self.in_flight.1 -= len as u64;
        Some((reply, &self.waiting[index]))
    }

    fn forget_answered(&mut self) {
        while self.sent > 0 && self.waiting.front().is_some_and(|first| first.reply.is_none()) {
            let Some(first) = self.waiting.pop_front() else { break };
            self.sent -= 1;
            self.bytes -= first.frame.len() + BATCH_OVERHEAD;
        }
    }

    /// Takes in an ACK; `None` if it answers nothing. The reply is to be sent without the lock.
    pub(super) fn acked(&mut self, ack: &Ack) -> Option<Reply> {
        let (reply, _) = self.settle(ack.batch)?;
        self.acknowledged = self.acknowledged.max(ack.last_number);
        self.forget_answered();
        Some(reply)
    }

    /// Takes in that the condition of a batch does not hold.
    pub(super) fn conflicted(&mut self, batch: u64, tip: u64) -> Option<(Reply, ProducerError)> {
        let (reply, waiting) = self.settle(batch)?;
        let (expected, number) = (waiting.expected.unwrap_or(0), waiting.first_number);
        // Nothing behind it has been sent: its numbers are free.
        self.next_number = number.unwrap_or(self.next_number);
        self.forget_answered();
        Some((reply, ProducerError::Conflict { expected, tip }))
    }

    /// Ends it: everything that waits fails. The replies are to be sent without the lock.
    pub(super) fn end(&mut self, error: ProducerError) -> Vec<Reply> {
        self.ended.get_or_insert(error);
        self.bytes = 0;
        self.sent = 0;
        self.waiting.drain(..).filter_map(|waiting| waiting.reply).collect()
    }
}
