//! [`ProducerLane`]: the service's end of a lane, through which one producer hands over its frames.
//!
//! The producer may do anything with the memory at any time. So its position is checked, and bytes are looked
//! at only after they have been copied: they go through the same checks as those from the socket, and not
//! twice.

use super::incoming::TAKEN_AT_ONCE;
use crate::counters::Counters;
use crate::descriptors;
use crate::engine::Engine;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use waldo::client::lane::{LaneDrain, LaneGeometry, LaneMemory};
use waldo::client::wire::{FRAME_HEADER_LEN, FrameHeader, Kind, LaneOffer, WireFault};

/// A frame's header in whole words, and so the beginning of its body.
const HEAD_LEN: usize = FRAME_HEADER_LEN.next_multiple_of(8);

/// What a producer that asks for a lane is told: after WELCOME, once.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) offer: LaneOffer,
    pub(super) descriptor: Option<OwnedFd>,
}

/// Counts a lane as long as it is there.
#[derive(Debug)]
struct OpenLane(Arc<Counters>);

impl OpenLane {
    /// `None` if there are as many as may be.
    fn new(counters: &Arc<Counters>, max: usize) -> Option<OpenLane> {
        let one_more = |lanes| if lanes < max as u64 { Some(lanes + 1) } else { None };
        counters.lanes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(OpenLane(Arc::clone(counters)))
    }
}

impl Drop for OpenLane {
    fn drop(&mut self) {
        Counters::subtract(&self.0.lanes, 1);
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct ProducerLane {
    memory: LaneMemory,
    drain: LaneDrain,
    /// Copied: the beginning of a frame whose header is not complete.
    head: Vec<u8>,
    /// Copied: a frame of which something is missing.
    frame: Option<(FrameHeader, Vec<u8>)>,
    /// When the first byte of that frame was seen.
    pub(super) begun: Option<Instant>,
    _open: OpenLane,
}

impl ProducerLane {
    /// Makes a lane, if there may be one more. Where the system allows none, producers use the socket.
    pub(super) fn make(engine: &Engine) -> (Option<ProducerLane>, Offer) {
        match ProducerLane::try_make(engine) {
            Some((lane, descriptor)) => {
                let offer = LaneOffer { capacity: lane.memory.geometry().capacity() };
                (Some(lane), Offer { offer, descriptor: Some(descriptor) })
            }
            None => (None, Offer { offer: LaneOffer { capacity: 0 }, descriptor: None }),
        }
    }

    fn try_make(engine: &Engine) -> Option<(ProducerLane, OwnedFd)> {
        let open = OpenLane::new(&engine.counters, engine.options.lanes_max)?;
        let geometry = LaneGeometry::new(engine.options.lane_bytes as u64).ok()?;
        let made = LaneMemory::create(geometry);
        let told = made.inspect_err(|error| tracing::debug!("a producer gets no lane: {error}"));
        let (memory, descriptor) = told.ok()?;
        if descriptors::are_scarce(&descriptor) {
            return None;
        }
        let drain = LaneDrain::new(&memory.lane());
        let lane = ProducerLane { memory, drain, head: Vec::new(), frame: None, begun: None, _open: open };
        Some((lane, descriptor))
    }

    /// The next frame, if all of it is there. Otherwise everything that was there has been taken.
    pub(super) fn next(&mut self, body_max: usize) -> Result<Option<(Kind, Vec<u8>)>, WireFault> {
        let lane = self.memory.lane();
        if self.drain.look(&lane)? == 0 {
            return Ok(None);
        }
        self.begun.get_or_insert_with(Instant::now);
        if self.frame.is_none() {
            self.drain.take(&lane, HEAD_LEN - self.head.len(), &mut self.head);
            let Some((head, start)) = self.head.split_first_chunk().filter(|_| self.head.len() == HEAD_LEN)
            else {
                return Ok(None);
            };
            let header = FrameHeader::read(head, body_max)?;
            let mut body = Vec::with_capacity(header.body_len().min(TAKEN_AT_ONCE));
            body.extend_from_slice(&start[..header.body_len().min(start.len())]);
            self.frame = Some((header, body));
        }
        let Some((header, mut body)) = self.frame.take() else { return Ok(None) };
        let missing = header.body_len() - body.len();
        if missing > 0 && self.drain.take(&lane, missing, &mut body) < missing {
            self.frame = Some((header, body));
            return Ok(None);
        }
        self.head.clear();
        self.begun = None;
        header.verify(&body)?;
        Ok(Some((header.kind(), body)))
    }

    /// Whether the producer waits for room, and has to be told that there is some.
    pub(super) fn must_wake(&self) -> bool {
        self.drain.must_wake(&self.memory.lane())
    }

    /// Says that nobody looks into the lane until the producer rings. `false`: there is something.
    pub(super) fn sleep(&mut self) -> Result<bool, WireFault> {
        Ok(self.drain.sleep(&self.memory.lane())?)
    }
}

impl Drop for ProducerLane {
    fn drop(&mut self) {
        // The producer may keep the memory for as long as it likes. What is in it may be accounted to this
        // process, and lanes that have gone count no more. A producer that still looks finds its positions.
        if let Err(error) = self.memory.empty() {
            tracing::debug!("the memory of a lane stays with its producer: {error}");
        }
    }
}
