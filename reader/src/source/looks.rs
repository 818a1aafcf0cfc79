//! What earlier looks at a ring have left behind: when the next one is due, and whether anything has changed.

use super::Attachment;
use super::home::Stamp;
use super::link::LastBeat;
use crate::clock::{coarse_ms, jittered};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use waldo_shm_protocol::names;

/// So many looks in a row may be no more than a glance.
const GLANCES_MAX: u32 = 8;

/// What earlier looks have left behind.
#[derive(Debug, Default)]
pub(super) struct Looks {
    pub(super) last_beat: LastBeat,
    /// When to look beyond the heartbeat of a writer that is alive, in milliseconds of the coarse clock.
    next_ms: AtomicU64,
    /// What link and metadata were like when everything was last looked at, and how many glances there were
    /// since.
    glance: Mutex<Option<(Glance, u32)>>,
}

/// Link and metadata from outside, and whether a writer is at work. A start puts its number into the
/// metadata, and mostly a new file in the place of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Glance {
    generation: u64,
    /// Nobody stores this: a writer that is killed changes nothing else.
    lively: bool,
    link: Option<Stamp>,
    meta: Stamp,
}

impl Glance {
    /// What they are like now; `None` if that cannot be told.
    pub(super) fn of(seen: &Attachment) -> Option<Glance> {
        let meta = seen.home.stamp(names::META)?;
        let (generation, lively) = (seen.generation, seen.lively());
        Some(Glance { generation, lively, link: seen.home.stamp(names::LINK), meta })
    }
}

impl Looks {
    /// Has the next one who asks look again.
    pub(super) fn look_again(&self) {
        self.next_ms.store(0, Ordering::Relaxed);
    }

    /// Once per `check_interval`, give or take half of it, for all readers of the process together.
    pub(super) fn due(&self, interval: Duration) -> bool {
        let (now, due) = (coarse_ms(), self.next_ms.load(Ordering::Relaxed));
        let pause = u64::try_from(jittered(interval).as_millis()).unwrap_or(u64::MAX);
        let next = now.saturating_add(pause);
        now >= due && self.next_ms.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Puts the next one off: this is one.
    pub(super) fn put_off(&self, interval: Duration) {
        let pause = u64::try_from(jittered(interval).as_millis()).unwrap_or(u64::MAX);
        self.next_ms.store(coarse_ms().saturating_add(pause), Ordering::Relaxed);
    }

    /// Whether nothing has changed from outside since everything was last looked at.
    pub(super) fn same(&self, now: &Glance) -> bool {
        let mut glance = self.glance.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *glance {
            Some((before, glances)) if before == now && *glances < GLANCES_MAX => {
                *glances += 1;
                true
            }
            _ => false,
        }
    }

    /// Notes what it was like before everything was looked at; `None` if that has to be done again in any
    /// case.
    pub(super) fn note(&self, before: Option<Glance>) {
        let mut glance = self.glance.lock().unwrap_or_else(PoisonError::into_inner);
        *glance = before.map(|glance| (glance, 0));
    }
}
