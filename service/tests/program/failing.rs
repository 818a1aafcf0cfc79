//! A ring whose disk fails. Needs root and loop devices; says so where they are missing.

use crate::deaf::fill_with_answers;
use crate::disk_failure::{Failure, machine, on_own_thread};
use crate::http::{get, start};
use crate::machine::FileSystem;
use crate::ring::Place;
use crate::support::*;
use nix::sys::signal::Signal;
use waldo::client::{Producer, ProducerOptions};

#[test]
fn a_ring_that_fails_is_told_and_the_others_go_on() {
    on_own_thread(|| {
        let Some(mut machine) = machine(FileSystem::Ext4) else { return };
        machine.mount("defaults").unwrap();
        let place = Place::new();
        let (good, spare) = (ring_table(&place, "good", ""), ring_table(&place, "bad", ""));
        let home = machine.top().join("ring");
        let bad =
            spare.replace(&path(&place.dir().join("bad\"")), &format!("{}\"\nname = \"bad\"", path(&home)));
        let (mut program, address) = start(&place, &(good.clone() + &bad));
        append(&place.dir().join("bad.sock"), "one");
        assert_eq!(get(&address, "GET /healthz").0, 200);
        Failure::Shutdown.happen(&machine);
        let options = ProducerOptions::default().reconnect_for(Some(std::time::Duration::ZERO));
        let producer = Producer::connect(place.dir().join("bad.sock"), options).unwrap();
        let lost = producer.append(&["two"]).and_then(waldo::client::Ticket::wait);
        assert!(lost.is_err() || !lost.unwrap().durable);
        // A ring that flushes nothing learns of it when it needs a page.
        crate::wait::wait_until("the ring fails", || {
            let _ = producer.append(&[vec![b'x'; 100_000]]).and_then(waldo::client::Ticket::wait);
            program.log().contains("the ring is served no more")
        });
        let (code, _, why) = get(&address, "GET /healthz");
        assert!(code == 503 && why.starts_with("ring bad: "), "{why}");
        assert!(get(&address, "GET /metrics").2.contains("waldo_ring_up{ring=\"bad\"} 0\n"));
        assert!(!place.dir().join("bad.sock").exists());
        append(&place.dir().join("good.sock"), "still there");

        // Nothing has been mended yet.
        program.signal(Signal::SIGHUP);
        program.until_logged("not served: ");
        assert_eq!(get(&address, "GET /healthz").0, 503);
        // The ring is made on another disk.
        config_file(&place, &(good + &spare.replace("bad.control", "spare.control")));
        program.until_told("READY=1");
        program.signal(Signal::SIGHUP);
        program.until_told("READY=1");
        assert!(place.dir().join("bad.sock").exists(), "{}", program.log());
        append(&place.dir().join("bad.sock"), "mended");
        assert_eq!(get(&address, "GET /healthz").0, 200);
        program.stop();
        assert_eq!(texts(&place.dir().join("good")), ["still there"]);
        machine.unmount();
    });
}

#[test]
fn the_service_ends_with_an_error_when_its_last_ring_has_failed() {
    on_own_thread(|| {
        let Some(mut machine) = machine(FileSystem::Ext4) else { return };
        machine.mount("defaults").unwrap();
        let place = Place::new();
        let more = "drain_timeout = \"1h\"\nstall_timeout = \"1h\"";
        let table = ring_table(&place, "bad", more).replace("page-cache", "sync");
        let home = format!("{}\"\nname = \"bad\"", path(&machine.top().join("ring")));
        let file = config_file(&place, &table.replace(&path(&place.dir().join("bad\"")), &home));
        let mut program = Program::start(&place, &["--config".into(), path(&file)]);
        let socket = place.dir().join("bad.sock");
        append(&socket, "one");
        // It does not hold up the end either: there is nothing left to be told but that.
        let _deaf = fill_with_answers(&socket);
        Failure::Shutdown.happen(&machine);
        let options = ProducerOptions::default().reconnect_for(Some(std::time::Duration::ZERO));
        let producer = Producer::connect(&socket, options).unwrap();
        assert!(producer.append(&["two"]).and_then(waldo::client::Ticket::wait).is_err());
        assert_eq!(program.ended().code(), Some(1));
        assert!(program.log().contains("a ring has failed: the log says which and why"), "{}", program.log());
        machine.unmount();
    });
}
