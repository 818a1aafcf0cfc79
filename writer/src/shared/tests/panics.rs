//! Clients whose wakers panic.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

/// Panics whenever it is called, and counts that.
#[derive(Default)]
struct Panicking(AtomicUsize);

impl Wake for Panicking {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        std::panic::panic_any("a waker that panics, on purpose");
    }
}

/// One client's waker panicked on the committer's thread. The panic ended that thread, and every later append
/// of every client waited for ever.
#[test]
fn a_panicking_waker_does_not_end_the_committer() {
    for options in regimes() {
        let home = Home::new();
        let writer = SharedWriter::new(home.open(&options));
        let panicking = Arc::new(Panicking::default());
        let waker = Waker::from(Arc::clone(&panicking));
        let (append, sync) = {
            // Both are queued, and nobody is at work on them, before their wakers are known to the committer.
            let busy = writer.handle.inner.writer.lock();
            let mut append = Box::pin(writer.append_payloads_async(&[b"a"]));
            let mut sync = Box::pin(writer.sync_async());
            assert!(append.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            assert!(sync.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            drop(busy);
            (append, sync)
        };
        assert_eq!(writer.append_payloads(&[b"b"]).unwrap().last_seq_no, 2);
        writer.sync().unwrap();
        assert_eq!(panicking.0.load(Ordering::Relaxed), 2, "both wakers were called");
        // The answers have arrived all the same.
        assert_eq!(block_on(append).unwrap().last_seq_no, 1);
        block_on(sync).unwrap();
        writer.close().unwrap();
    }
}
