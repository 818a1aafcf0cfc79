//! A thread's panic is not lost.

use super::*;

#[test]
fn a_thread_that_panics_ends_the_service_and_is_named() {
    let broken = watch::channel(false).0;
    let mut seen = broken.subscribe();
    let mut threads = Threads::none(broken);
    threads.spawn("steady", || ()).unwrap();
    threads.spawn("unlucky", || panic!("as the test wants")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(seen.wait_for(|broken| *broken)).unwrap();
    let error = threads.join().unwrap_err();
    assert!(matches!(&error, ServiceError::Panicked { thread } if thread == "unlucky"), "{error}");
}
