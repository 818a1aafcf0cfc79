//! A reload that comes too early.

use super::*;
use nix::sys::signal::raise;
use std::time::{Duration, Instant};

/// Generous: it only decides how long a broken test takes.
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_reload_that_cannot_be_now_is_kept() {
    if is_ignored(SIGHUP) {
        println!("left out: SIGHUP is ignored here (nohup)");
        return;
    }
    let mut signals = Signals::install().unwrap();
    raise(nix::sys::signal::SIGHUP).unwrap();
    let begun = Instant::now();
    while !signals.reload_later {
        let stop = tokio::time::timeout(Duration::from_millis(1), signals.next_stop()).await;
        assert!(stop.is_err(), "no signal to stop has come: {stop:?}");
        assert!(begun.elapsed() < DEADLINE, "the signal does not come");
    }
    assert_eq!(signals.next().await, Order::Reload);
    assert!(!signals.reload_later);
}
