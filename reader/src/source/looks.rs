//! The results of earlier looks at a ring: when the next look is due, and whether anything has changed.

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

/// The results of earlier looks.
#[derive(Debug, Default)]
pub(super) struct Looks {
    pub(super) last_beat: LastBeat,
    /// When to look beyond the heartbeat of a writer that is alive, in milliseconds of the coarse clock.
    next_ms: AtomicU64,
    /// What link and metadata were like when everything was last looked at, and how many glances there were
    /// since.
    glance: Mutex<Option<(Glance, u32)>>,
}

/// The file states of link and metadata, and whether a writer is running. A writer that starts puts its epoch
/// into the metadata, and usually replaces the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Glance {
    generation: u64,
    /// No process stores this: a writer that is killed changes nothing else.
    lively: bool,
    link: Option<Stamp>,
    meta: Stamp,
}

impl Glance {
    /// Their state now; `None` if it cannot be read.
    pub(super) fn of(seen: &Attachment) -> Option<Glance> {
        let meta = seen.home.stamp(names::META)?;
        let (generation, lively) = (seen.generation, seen.lively());
        Some(Glance { generation, lively, link: seen.home.stamp(names::LINK), meta })
    }
}

impl Looks {
    /// Makes the next caller look again.
    pub(super) fn look_again(&self) {
        self.next_ms.store(0, Ordering::Relaxed);
    }

    /// Whether a look is due: once per `check_interval`, plus or minus up to half of it, for all readers of
    /// the process together.
    pub(super) fn due(&self, interval: Duration) -> bool {
        let (now, due) = (coarse_ms(), self.next_ms.load(Ordering::Relaxed));
        let pause = u64::try_from(jittered(interval).as_millis()).unwrap_or(u64::MAX);
        let next = now.saturating_add(pause);
        now >= due && self.next_ms.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Postpones the next look, because a look is being made now.
    pub(super) fn put_off(&self, interval: Duration) {
        let pause = u64::try_from(jittered(interval).as_millis()).unwrap_or(u64::MAX);
        self.next_ms.store(coarse_ms().saturating_add(pause), Ordering::Relaxed);
    }

    /// Whether the file states are unchanged since the last complete look.
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

    /// Notes the state before a complete look; `None` if the next look has to be complete in any case.
    pub(super) fn note(&self, before: Option<Glance>) {
        let mut glance = self.glance.lock().unwrap_or_else(PoisonError::into_inner);
        *glance = before.map(|glance| (glance, 0));
    }
}
