//! A file system without room: producers wait, and nothing is lost or stored twice when there is room again.

use crate::support::ring::{Place, assert_each_once, numbers_by_producer};
use crate::support::running::Running;
use crate::support::wait::wait_until;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;
use waldo::client::wire::ErrorCode;
use waldo::client::{Producer, ProducerOptions};
use waldo::writer::Durability;
use waldo_service::ServiceOptions;

struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // Also when something in it is still open.
        let _ = umount2(self.0, MntFlags::MNT_DETACH);
    }
}

#[test]
fn a_full_disk_holds_producers_up_and_loses_nothing() {
    let place = Place::new();
    if let Err(error) = mount(Some("tmpfs"), place.dir(), Some("tmpfs"), MsFlags::empty(), Some("size=24m")) {
        println!("skipped: cannot mount a tmpfs here: {error}");
        return;
    }
    let _mounted = Mounted(place.dir());
    let service = Running::start(&place, Durability::PageCache, ServiceOptions::default());
    let filler = place.dir().join("filler");
    fs::write(&filler, vec![1; 14 << 20]).unwrap();
    thread::scope(|scope| {
        let place = &place;
        for index in 0..4 {
            scope.spawn(move || {
                let name = format!("full-{index}");
                let options = ProducerOptions::default()
                    .name(&name)
                    .backoff(Duration::from_millis(1), Duration::from_millis(20));
                let producer = Producer::connect(place.socket(), options).unwrap();
                // Some 3 MB each, in batches that end in different places of a page.
                let tickets: Vec<_> = (0..100)
                    .map(|batch| {
                        let first = 1 + batch * 30;
                        let payloads: Vec<String> =
                            (first..first + 30).map(|n| format!("{}{name} {n}", " ".repeat(900))).collect();
                        producer.append(&payloads).unwrap()
                    })
                    .collect();
                tickets.into_iter().for_each(|ticket| assert!(ticket.wait().is_ok()));
                producer.close().unwrap();
            });
        }
        wait_until("the disk is full", || service.counters().errors(ErrorCode::NotStored) > 3);
        fs::remove_file(&filler).unwrap();
    });
    service.stop();
    let found = numbers_by_producer(&place.home());
    for index in 0..4 {
        let name = format!("full-{index}");
        assert_each_once(&found[&format!("{}{name}", " ".repeat(900))], 3000, &name);
    }
}
