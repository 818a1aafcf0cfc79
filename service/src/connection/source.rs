//! [`Source`]: where a connection's frames come from, the socket or the lane.
//!
//! A producer that has a lane decides which of the two it uses. As long as it sends batches over the socket
//! there is no difference to one that has none. Its first BELL says that it uses the lane: from then on the
//! socket tells of the lane's news and of the producer's end. What comes over the socket all the same comes
//! behind everything that is in the lane.

use super::bell::Bell;
use super::incoming::{Frames, Stop};
use super::lane::ProducerLane;
use super::link::{Link, Reply};
use crate::counters::Counters;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::unix::OwnedReadHalf;
use tokio::time::timeout_at;
use waldo::client::wire::{FRAME_HEADER_LEN, Kind};

/// A frame, or why there is none.
type Heard = Result<(Kind, Vec<u8>), Stop>;

/// See the module's documentation.
pub(super) struct Source {
    socket: Frames<OwnedReadHalf>,
    lane: Option<ProducerLane>,
    uses_lane: bool,
    /// What the socket has said, as long as there are frames in the lane that come before it.
    behind: Option<Heard>,
    link: Arc<Link>,
    bell: Bell,
    counters: Arc<Counters>,
}

impl Source {
    pub(super) fn new(socket: OwnedReadHalf, link: Arc<Link>, bell: Bell, counters: Arc<Counters>) -> Source {
        let socket = Frames::new(socket);
        Source { socket, lane: None, uses_lane: false, behind: None, link, bell, counters }
    }

    /// The producer has this lane, and may use it.
    pub(super) fn set_lane(&mut self, lane: Option<ProducerLane>) {
        self.lane = lane;
    }

    /// The next frame, whose body is at most `body_max` bytes long. The time counts from its first byte.
    pub(super) async fn next(&mut self, body_max: usize, stall: Duration) -> Heard {
        loop {
            let mut deadline = None;
            if let Some(lane) = self.lane.as_mut().filter(|_| self.uses_lane) {
                if let Some((kind, body)) = lane.next(body_max).map_err(Stop::Fault)? {
                    Counters::add(&self.counters.lane_bytes, (FRAME_HEADER_LEN + body.len()) as u64);
                    return Ok((kind, body));
                }
                if lane.must_wake() && self.bell.must_say() {
                    self.link.reply(Reply::Bell, None);
                }
                if let Some(heard) = self.behind.take() {
                    return self.count(heard);
                }
                deadline = lane.begun.map(|begun| begun + stall);
                if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                    return Err(Stop::Stalled);
                }
                if !lane.sleep().map_err(Stop::Fault)? {
                    // A producer that puts in a word at a time gets no more than its share.
                    tokio::task::yield_now().await;
                    continue;
                }
            }
            let heard = self.socket.next(body_max, stall);
            let heard = match deadline {
                Some(deadline) => timeout_at(deadline.into(), heard).await.unwrap_or(Err(Stop::Stalled)),
                None => heard.await,
            };
            match heard {
                Ok((Kind::Bell, body)) if body.is_empty() && self.lane.is_some() => {
                    self.uses_lane = true;
                    // Thousands of them may have been read at once, and nothing else here gives way.
                    tokio::task::consume_budget().await;
                }
                heard if self.uses_lane => self.behind = Some(heard),
                heard => {
                    self.lane = None;
                    return self.count(heard);
                }
            }
        }
    }

    fn count(&self, heard: Heard) -> Heard {
        if let Ok((_, body)) = &heard {
            Counters::add(&self.counters.socket_bytes, (FRAME_HEADER_LEN + body.len()) as u64);
        }
        heard
    }
}
