//! A ring that opens, and fails again at once.

use super::*;

/// Has the ring fail, as far as the supervisor knows, and gives how long it is to wait then.
async fn fail(all: &mut Supervisor) -> Duration {
    let ring = all.rings.get_mut("ring").unwrap();
    let (id, stop) = (ring.task.unwrap(), ring.stop.take());
    ring.stop = Some(oneshot::channel().0);
    let now = Instant::now();
    all.note(Ok((id, Err(ServiceError::Thread(std::io::ErrorKind::StorageFull.into())))));
    // What there really is ends in good order, and gives the ring back.
    drop(stop);
    all.tasks.join_next().await.unwrap().unwrap().unwrap();
    all.next_retry().unwrap() - now
}

#[tokio::test]
async fn a_ring_that_fails_again_and_again_is_opened_less_and_less_often() {
    let dir = tempfile::tempdir().unwrap();
    let mut ring = RingConfig::at(dir.path().join("ring"), Some(dir.path().join("socket")));
    ring.control = Some(dir.path().join("control"));
    ring.page_size = Some(crate::config::parse_bytes("1M").unwrap());
    let config = Config { rings: vec![ring], ..Config::default() };
    let mut all = Supervisor::new(&config, Vec::new()).unwrap();
    all.start(&config).await.unwrap();
    for pause in [1, 2, 4].map(Duration::from_secs) {
        let waits = fail(&mut all).await;
        assert!(all.failed(), "it is not served");
        assert!((pause..pause * 3 / 2).contains(&waits), "{waits:?}");
        all.rings.get_mut("ring").unwrap().retry.as_mut().unwrap().at = Instant::now();
        all.retry().await;
        assert!(!all.failed(), "it is served again");
        assert_eq!(all.next_retry(), None, "what is served is not opened again");
    }
    all.stop().await;
}
