//! All rings at one moment.

use crate::hosted::{RingState, RingView};
use crate::views::RingViews;
use std::sync::Arc;
use waldo::reader::RingStatus;
use waldo_service::ServiceCounters;

/// A ring at one moment.
#[derive(Debug)]
pub struct RingSnapshot {
    pub view: Arc<RingView>,
    pub state: RingState,
    /// What `waldo stat` shows; `None` if the ring cannot be read.
    pub status: Option<RingStatus>,
    pub counters: ServiceCounters,
}

impl RingSnapshot {
    /// One of the writer's own counters.
    pub fn writer_counter(&self, name: &str) -> Option<u64> {
        let counters = &self.status.as_ref()?.counters;
        counters.iter().find(|(other, _)| *other == name).map(|(_, value)| *value)
    }
}

/// Looks at every ring.
pub fn take(views: &RingViews) -> Vec<RingSnapshot> {
    let look = |view: Arc<RingView>| RingSnapshot {
        state: view.state(),
        status: view.status(),
        counters: view.counters(),
        view,
    };
    views.all().into_iter().map(look).collect()
}
