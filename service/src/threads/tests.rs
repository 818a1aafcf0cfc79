//! A thread's panic is not lost.

use super::*;
use std::time::Duration;
use tokio::time::timeout;

/// It only decides how long a broken test takes.
const DEADLINE: Duration = Duration::from_secs(10);

#[test]
fn a_thread_that_panics_ends_the_service_and_is_named() {
    let broken = watch::channel(false).0;
    let mut seen = broken.subscribe();
    let mut threads = Threads::none(broken);
    threads.spawn("steady", || ()).unwrap();
    threads.spawn("unlucky", || panic!("as the test wants")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let told = async { timeout(DEADLINE, seen.wait_for(|broken| *broken)).await.is_ok() };
    assert!(runtime.block_on(told), "nobody learns of the panic");
    let error = threads.join().unwrap_err();
    assert!(matches!(&error, ServiceError::Panicked { thread } if thread == "unlucky"), "{error}");
}
