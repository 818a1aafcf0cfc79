//! How a reader waits: which writer state it has reported, and how much spinning has helped lately.

use crate::status::WriterStatus;
use std::mem::discriminant;
use std::time::{Duration, Instant};

/// Longest time to look for news before sleeping.
pub(crate) const SPIN_MAX: Duration = Duration::from_micros(50);

/// How a reader waits: which writer state it has reported, and how much spinning has helped lately.
#[derive(Debug)]
pub(crate) struct Pace {
    told: WriterStatus,
    epoch: u32,
    pub(crate) spin: Duration,
    /// When to look next at link and status.
    pub(crate) next_check: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(epoch: u32) -> Pace {
        Pace { told: WriterStatus::Live, epoch, spin: SPIN_MAX / 2, next_check: None }
    }

    /// Notes the writer's state; returns the change that has to be reported, if any.
    pub(crate) fn change(&mut self, now: WriterStatus, epoch: u32) -> Option<WriterStatus> {
        let restarted = now == WriterStatus::Live && epoch != self.epoch;
        let known = match (self.told, now) {
            (WriterStatus::Failed { errno: a }, WriterStatus::Failed { errno: b }) => a == b,
            (a, b) => discriminant(&a) == discriminant(&b),
        };
        self.told = now;
        if now == WriterStatus::Live {
            self.epoch = epoch;
        }
        if restarted { Some(WriterStatus::Restarted { epoch }) } else { (!known).then_some(now) }
    }
}
