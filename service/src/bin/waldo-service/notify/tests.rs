//! How often the manager is asked for time.

use super::*;

#[tokio::test]
async fn an_opening_that_does_not_end_asks_for_time_until_the_limit() {
    let (sender, messages) = sync_channel(QUEUE_MAX);
    let manager = ServiceManager(Some(sender));
    let (at_a_time, in_all) = (Duration::from_millis(60), Duration::from_millis(100));
    let _ = tokio::time::timeout(in_all * 4, manager.ask(at_a_time, in_all)).await.unwrap_err();
    let asked: Vec<Message> = messages.try_iter().collect();
    // Every 10 ms, and at once; 41 times without a limit.
    assert!((1..=15).contains(&asked.len()), "{}", asked.len());
    assert!(asked.iter().all(|message| matches!(message, Message::Extend(time) if *time == at_a_time)));
}
