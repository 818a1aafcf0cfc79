//! Making committed records durable in the background, and on request.

use crate::core::Core;
use crate::poison::Failure;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use waldo_shm_protocol::Position;
use waldo_shm_protocol::segment::Counter;

/// Between two flushes of a writer that promises nothing for power cuts.
pub(crate) const PAGE_CACHE_INTERVAL: Duration = Duration::from_secs(1);

impl Core {
    /// Makes everything that is committed now durable. An error ends the writer.
    pub(crate) fn flush(&self) -> Result<Position, Failure> {
        let _one_at_a_time = self.unflushed.flushing.lock();
        if let Some(failure) = self.poison.get() {
            return Err(failure.clone());
        }
        // Every byte below this is in the page cache already, so a flush that begins now covers it.
        let target = self.committed();
        if self.durable() >= target {
            return Ok(target);
        }
        let (pages, names_changed) = {
            let mut pages = self.unflushed.pages.lock();
            let names_changed = std::mem::take(&mut pages.names_changed);
            let names_changed = pages.name_may_return.take().is_some() || names_changed;
            (pages.open.clone(), names_changed)
        };
        if names_changed {
            self.disk.sync_dir().map_err(|error| self.fail("flushing the home directory", error))?;
        }
        for page in pages.iter().filter(|page| page.id <= target.page()) {
            page.file.sync_data().map_err(|error| self.fail(&format!("flushing page {}", page.id), error))?;
            self.control.publisher().add(Counter::Flushes, 1);
        }
        self.unflushed.pages.lock().open.retain(|page| page.id >= target.page());
        // Pages may have been trimmed meanwhile that count as durable from now on.
        loop {
            let mut pages = self.unflushed.pages.lock();
            if pages.name_may_return.is_none_or(|id| Position::start_of(id) >= target) {
                self.set_durable(target);
                break;
            }
            pages.name_may_return = None;
            drop(pages);
            self.disk.sync_dir().map_err(|error| self.fail("flushing the home directory", error))?;
        }
        self.waking.notify_readers(self.control.publisher());
        if let Some(on_durable) = self.on_durable.get() {
            on_durable();
        }
        Ok(target)
    }
}

/// Starts the background flush.
pub(crate) fn start(core: Arc<Core>, interval: Duration) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("waldo-flush".into()).spawn(move || {
        loop {
            let mut orders = core.unflushed.orders.lock();
            if !orders.stop && !orders.soon {
                core.unflushed.ordered.wait_for(&mut orders, interval);
            }
            if orders.stop {
                return;
            }
            orders.soon = false;
            drop(orders);
            // The failure is kept, and reported by the next append.
            if core.flush().is_err() {
                return;
            }
        }
    })
}
