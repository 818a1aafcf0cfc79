//! Hundreds of connections at once.

use crate::support::raw::{Raw, append};
use crate::support::ring::{Place, assert_each_once, numbers_by_producer, payload};
use crate::support::running::Running;
use waldo::client::{Producer, ProducerOptions};
use waldo::writer::Durability;
use waldo_service::ServiceOptions;

#[test]
fn hundreds_of_producers_append_at_once_and_their_batches_stay_together() {
    let size: u64 = std::env::var("WALDO_TEST_CROWD").map_or(400, |text| text.parse().unwrap());
    let place = Place::new();
    let options = ServiceOptions::default().producers_max(size as usize).connections_per_user(0);
    let service = Running::start(&place, Durability::PageCache, options);
    let mut crowd: Vec<(String, Raw)> = (0..size)
        .map(|index| {
            let name = format!("member-{index}");
            let raw = Raw::greet(&place.socket(), Some(&name)).0;
            (name, raw)
        })
        .collect();
    assert_eq!(service.counters().connected, size);
    for round in 0..10 {
        let first = 1 + round * 5;
        for (name, raw) in &mut crowd {
            let batch: Vec<_> = (first..first + 5).map(|number| payload(name, number)).collect();
            raw.send(&append(round, first, &batch));
        }
        for (_, raw) in &mut crowd {
            let ack = raw.ack();
            assert_eq!((ack.last_number, ack.last_seq_no - ack.first_seq_no), (first + 4, 4));
        }
    }
    let names: Vec<String> = crowd.iter().map(|(name, _)| name.clone()).collect();
    drop(crowd);
    service.stop();
    let found = numbers_by_producer(&place.home());
    names.iter().for_each(|name| assert_each_once(&found[name], 50, name));
}

#[tokio::test]
async fn tasks_append_without_blocking_their_thread() {
    let place = Place::new();
    let service = Running::start(&place, Durability::PageCache, ServiceOptions::default());
    let options = ProducerOptions::default().name("task").buffer_bytes(2000);
    let producer = Producer::connect_async(place.socket(), options).await.unwrap();
    let mut tickets = Vec::new();
    for number in 1..=200 {
        tickets.push(producer.append_async(&[payload("task", number)]).await.unwrap());
    }
    for (index, ticket) in tickets.into_iter().enumerate() {
        assert_eq!(ticket.await.unwrap().last_number, index as u64 + 1);
    }
    producer.close().unwrap();
    service.stop();
    assert_each_once(&numbers_by_producer(&place.home())["task"], 200, "task");
}
