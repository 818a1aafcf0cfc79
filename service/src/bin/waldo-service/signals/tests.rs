//! A reload that comes too early.

use super::*;
use nix::sys::signal::raise;
use std::time::Duration;

#[tokio::test]
async fn a_reload_that_cannot_be_now_is_kept() {
    let mut signals = Signals::install().unwrap();
    raise(nix::sys::signal::SIGHUP).unwrap();
    while !signals.reload_later {
        let stop = tokio::time::timeout(Duration::from_millis(1), signals.next_stop()).await;
        assert!(stop.is_err(), "no signal to stop has come: {stop:?}");
    }
    assert_eq!(signals.next().await, Order::Reload);
    assert!(!signals.reload_later);
}
