//! Pages with bytes that a power cut may still take, and the orders to the flushing thread.

use crate::page::Page;
use crate::positions::Positions;
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use waldo_shm_protocol::Position;

/// Pages with bytes that may not be durable.
#[derive(Default)]
pub(crate) struct UnflushedPages {
    pub(crate) pages: Mutex<PageList>,
    /// Held while flushing: `durable` is then moved by one thread at a time.
    pub(crate) flushing: Mutex<()>,
    pub(crate) orders: Mutex<Orders>,
    pub(crate) ordered: Condvar,
}

/// Orders to the flushing thread.
#[derive(Default)]
pub(crate) struct Orders {
    /// Flush now, and not when the interval is over.
    pub(crate) soon: bool,
    pub(crate) stop: bool,
}

#[derive(Default)]
pub(crate) struct PageList {
    pub(crate) open: Vec<Arc<Page>>,
    /// A page was given its name since the directory was last made durable.
    pub(crate) names_changed: bool,
    /// The oldest page trimmed since then whose file is recycled although a power cut can bring its name
    /// back.
    pub(crate) name_may_return: Option<u64>,
}

impl UnflushedPages {
    /// Counts `page` among those to flush until a flush has covered it and the log has left it.
    pub(crate) fn add(&self, page: Arc<Page>) {
        let mut pages = self.pages.lock();
        pages.open.push(page);
        pages.names_changed = true;
    }

    /// Page `id` was trimmed: it need not become durable any more.
    pub(crate) fn forget(&self, id: u64) {
        self.pages.lock().open.retain(|page| page.id != id);
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.pages.lock().open.len()
    }

    /// Whether the removal of the names of `trimmed` pages must be durable before their files are recycled:
    /// it must if any of their bytes had been durable. If not, the pages are remembered, because the durable
    /// position must not pass them before that.
    pub(crate) fn must_be_nameless(
        &self,
        trimmed: impl Iterator<Item = u64> + Clone,
        positions: &Positions,
    ) -> bool {
        let mut pages = self.pages.lock();
        let durable = positions.durable();
        if trimmed.clone().any(|id| Position::start_of(id) < durable) {
            return true;
        }
        pages.name_may_return = pages.name_may_return.into_iter().chain(trimmed).min();
        false
    }

    /// Makes the background flush begin now.
    pub(crate) fn flush_soon(&self) {
        self.orders.lock().soon = true;
        self.ordered.notify_all();
    }

    pub(crate) fn stop(&self) {
        self.orders.lock().stop = true;
        self.ordered.notify_all();
    }
}
