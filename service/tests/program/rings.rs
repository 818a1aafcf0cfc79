//! Several rings in one process.

use crate::http::{address_of, get, start};
use crate::raw::Raw;
use crate::ring::Place;
use crate::support::*;
use crate::wait::wait_until;
use nix::sys::signal::Signal;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use waldo::client::wire::ErrorCode;
use waldo::client::{Producer, ProducerOptions};
use waldo::reader::Ring;
use waldo::writer::{Writer, WriterOptions};

#[test]
fn each_ring_has_its_own_producers() {
    let place = Place::new();
    let file = config_file(&place, &(ring_table(&place, "orders", "") + &ring_table(&place, "quotes", "")));
    let program = Program::start(&place, &["--config".into(), path(&file)]);
    append(&place.dir().join("orders.sock"), "an order");
    append(&place.dir().join("quotes.sock"), "a quote");
    assert_eq!(texts(&place.dir().join("orders")), ["an order"]);
    let log = program.stop();
    assert_eq!(texts(&place.dir().join("quotes")), ["a quote"]);
    assert_eq!(log.matches("everything is durable").count(), 2, "{log}");
}

#[test]
fn one_ring_that_cannot_be_served_now_does_not_take_down_the_others_and_is_tried_again() {
    let place = Place::new();
    let other = UnixListener::bind(place.dir().join("quotes.sock")).unwrap();
    let (orders, quotes) = (ring_table(&place, "orders", ""), ring_table(&place, "quotes", ""));
    let (mut program, address) = start(&place, &(quotes + &orders));
    assert!(program.log().contains("is held by a live service"), "{}", program.log());
    append(&place.dir().join("orders.sock"), "an order");
    let (code, _, why) = get(&address, "GET /healthz");
    assert!(code == 503 && why.starts_with("ring quotes: "), "{why}");
    drop(other);
    // Nobody asks for it.
    program.until_told("STATUS=serving 2 rings");
    append(&place.dir().join("quotes.sock"), "a quote");
    assert_eq!(get(&address, "GET /healthz").0, 200);
    program.stop();
}

/// The next start may find it mended, and tries, also where another ring needs a person.
#[test]
fn rings_of_which_none_can_be_served_end_the_start_and_leave_no_socket() {
    let place = Place::new();
    let _other = UnixListener::bind(place.dir().join("orders.sock")).unwrap();
    std::fs::create_dir(place.dir().join("quotes")).unwrap();
    std::fs::write(place.dir().join("quotes/ring.meta"), "not a ring").unwrap();
    let file = config_file(&place, &(ring_table(&place, "orders", "") + &ring_table(&place, "quotes", "")));
    let mut command = waldo_service();
    let mut program = Program::spawn(&place, command.args(["--config".into(), path(&file)]));
    assert_eq!(program.ended().code(), Some(4));
    assert!(program.log().contains("is held by a live service"), "{}", program.log());
    assert!(!place.dir().join("quotes.sock").exists());
}

/// What is read of the file alone cannot tell it: the ring has no socket, and the manager handed over none.
#[test]
fn a_ring_that_is_described_wrongly_ends_the_start_and_the_others_end_in_good_order() {
    let place = Place::new();
    let quotes = ring_table(&place, "quotes", "");
    let quotes = quotes.lines().filter(|line| !line.starts_with("socket")).collect::<Vec<_>>().join("\n");
    let file = config_file(&place, &(ring_table(&place, "orders", "") + &quotes));
    let mut command = waldo_service();
    let mut program = Program::spawn(&place, command.args(["--config".into(), path(&file)]));
    assert_eq!(program.ended().code(), Some(2), "{}", program.log());
    assert!(!place.dir().join("orders.sock").exists());
    assert!(
        program.log().contains("everything is durable"),
        "the other ended in good order: {}",
        program.log()
    );
}

#[test]
fn one_ring_that_is_damaged_does_not_take_down_the_others() {
    let place = Place::new();
    std::fs::create_dir(place.dir().join("quotes")).unwrap();
    std::fs::write(place.dir().join("quotes/ring.meta"), "not a ring").unwrap();
    let (orders, quotes) = (ring_table(&place, "orders", ""), ring_table(&place, "quotes", ""));
    let (mut program, address) = start(&place, &(orders + &quotes));
    append(&place.dir().join("orders.sock"), "an order");
    let (code, _, why) = get(&address, "GET /healthz");
    assert!(code == 503 && why.starts_with("ring quotes: cannot open the ring"), "{why}");
    // Mended.
    std::fs::remove_file(place.dir().join("quotes/ring.meta")).unwrap();
    program.signal(Signal::SIGHUP);
    program.until_told("STATUS=serving 2 rings");
    append(&place.dir().join("quotes.sock"), "a quote");
    assert_eq!(get(&address, "GET /healthz").0, 200);
    program.stop();

    let file = config_file(&place, &ring_table(&place, "trades", ""));
    std::fs::create_dir(place.dir().join("trades")).unwrap();
    std::fs::write(place.dir().join("trades/ring.meta"), "not a ring").unwrap();
    let mut command = waldo_service();
    let mut program = Program::spawn(&place, command.args(["--config".into(), path(&file)]));
    assert_eq!(program.ended().code(), Some(3), "nothing is served");
}

/// Makes a ring with a record, as a writer does that has ended since.
fn append_by_hand(home: &Path) {
    let mut writer =
        Writer::open(home, WriterOptions::default().page_len(1 << 20).remove_control(true)).unwrap();
    writer.append_payloads(&["a quote"]).unwrap();
    writer.close().unwrap();
}

/// From Linux's `fcntl.h`, the same on every machine that it runs on.
const F_SETSIG: libc::c_int = 10;

/// Takes a lease on a file that nobody has open. The kernel breaks it by itself when somebody has waited for
/// `/proc/sys/fs/lease-break-time` (45 s as a rule): what is tried with it has to be over by then.
fn hold(file: &File) {
    // The signal for who wants the file: one that is ignored.
    let calls = [(libc::F_SETLEASE, libc::F_WRLCK), (F_SETSIG, libc::SIGURG)];
    for (command, argument) in calls {
        // SAFETY: both commands take a number and touch no memory of this process.
        #[allow(unsafe_code, reason = "there is no safe wrapper of leases")]
        let done = unsafe { libc::fcntl(file.as_raw_fd(), command, argument) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }
}

#[test]
fn while_a_ring_is_opened_the_others_are_served_and_a_signal_counts() {
    let place = Place::new();
    append_by_hand(&place.dir().join("quotes"));
    // Whoever opens the file waits until the lease is given up.
    let held = File::options().read(true).write(true).open(place.dir().join("quotes/ring.meta")).unwrap();
    hold(&held);
    let file = config_file(&place, &(ring_table(&place, "orders", "") + &ring_table(&place, "quotes", "")));
    let mut command = waldo_service();
    command.args(["--config".into(), path(&file), "--http".into(), "127.0.0.1:0".into()]);
    let mut program = Program::spawn(&place, &mut command);
    let address = address_of(&program);
    append(&place.dir().join("orders.sock"), "an order");
    assert_eq!(get(&address, "GET /healthz").2, "ring quotes: it is being opened\n");
    assert!(get(&address, "GET /metrics").2.contains("waldo_ring_up{ring=\"quotes\"} 0\n"));
    program.signal(Signal::SIGTERM);
    program.until_told("STOPPING=1");
    assert_eq!(program.ended().code(), Some(0), "{}", program.log());
    assert!(
        program.log().contains("closed: 1 records were stored, everything is durable"),
        "{}",
        program.log()
    );
}

/// Its writer needs one for each page, and all connections together may not take the last.
#[test]
fn producers_that_only_hold_connections_leave_the_ring_its_descriptors() {
    let place = Place::new();
    let file = config_file(&place, &ring_table(&place, "orders", "hello_timeout = \"1h\""));
    let mut command = Command::new("bash");
    command.args(["-c", "ulimit -n 150 && exec \"$@\"", "bash"]).arg(waldo_service().get_program());
    let program = Program::start_command(&place, command.arg("--config").arg(file));
    program
        .until_logged("files would be open with as many producers as `producers_max` allows, and 150 may be");
    let socket = place.dir().join("orders.sock");
    let producer = Producer::connect(&socket, ProducerOptions::default()).unwrap();
    let mut idle: Vec<Raw> = (0..200).map(|_| Raw::connect(&socket)).collect();
    assert_eq!(idle.last_mut().unwrap().error().code, ErrorCode::TooManyProducers);
    // Several times the ring, so that pages come and go.
    for _ in 0..20 {
        producer.append(&[vec![b'x'; 500_000]]).unwrap().wait().unwrap();
    }
    producer.close().unwrap();
    let log = program.stop();
    assert!(log.contains("the service may open no more files") && !log.contains("os error 24"), "{log}");
}

/// Of 500 the process keeps 64 for itself and 64 for each ring, and has some dozens open.
#[test]
fn two_rings_have_twice_as_many_descriptors_kept() {
    let place = Place::new();
    let rings = ["orders", "quotes"].map(|name| ring_table(&place, name, "hello_timeout = \"1h\""));
    let file = config_file(&place, &rings.concat());
    let mut command = Command::new("bash");
    command.args(["-c", "ulimit -n 500 && exec \"$@\"", "bash"]).arg(waldo_service().get_program());
    let program = Program::start_command(&place, command.arg("--config").arg(file));
    let socket = place.dir().join("orders.sock");
    let mut idle: Vec<Raw> = (0..310).map(|_| Raw::connect(&socket)).collect();
    assert_eq!(idle.last_mut().unwrap().error().code, ErrorCode::TooManyProducers);
    // Those that were refused have one for a moment.
    let open = || std::fs::read_dir(format!("/proc/{}/fd", program.pid())).unwrap().count();
    wait_until("some are kept", || open() <= 500 - 3 * 64);
    assert!(open() >= 200, "{}", open());
    program.stop();
}

/// A ring that cannot be opened is opened again by itself, or by a reload, and needs its descriptors then.
#[test]
fn a_ring_that_cannot_be_opened_has_its_descriptors_kept() {
    let place = Place::new();
    let rings = ["orders", "quotes"].map(|name| ring_table(&place, name, "hello_timeout = \"1h\""));
    std::fs::write(place.dir().join("quotes.sock"), "in the way").unwrap();
    // Both from the start on, and the second one by a reload.
    for first in [rings.concat(), rings[0].clone()] {
        let file = config_file(&place, &first);
        let mut command = Command::new("bash");
        command.args(["-c", "ulimit -n 500 && exec \"$@\"", "bash"]).arg(waldo_service().get_program());
        let mut program = Program::start_command(&place, command.arg("--config").arg(file));
        if first == rings[0] {
            config_file(&place, &rings.concat());
            program.signal(Signal::SIGHUP);
            program.until_told("STATUS=serving 1 of 2 rings; failed: quotes");
        }
        let socket = place.dir().join("orders.sock");
        let mut idle: Vec<Raw> = (0..310).map(|_| Raw::connect(&socket)).collect();
        assert_eq!(idle.last_mut().unwrap().error().code, ErrorCode::TooManyProducers);
        program.signal(Signal::SIGTERM);
        program.ended();
    }
}

#[test]
fn what_the_service_was_started_with_is_counted_before_it_says_that_the_limit_is_enough() {
    let place = Place::new();
    let file = config_file(&place, &ring_table(&place, "orders", "producers_max = 100"));
    // 128 are kept, and 100 are for producers.
    for (others, is_told) in [(0, false), (100, true)] {
        let script =
            format!("for n in $(seq {others}); do exec {{fd}}</dev/null; done; ulimit -n 300 && exec \"$@\"");
        let mut command = Command::new("bash");
        command.args(["-c", &script, "bash"]).arg(waldo_service().get_program());
        let log = Program::start_command(&place, command.arg("--config").arg(&file)).stop();
        assert_eq!(log.contains("files would be open"), is_told, "{log}");
        std::fs::remove_file(place.dir().join("log")).unwrap();
    }
}

/// docs/PRODUCERS.md has the figures that this prints.
#[test]
fn an_idle_connection_takes_little_memory() {
    let place = Place::new();
    let program = Program::start(&place, &small(&place));
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    append(&place.socket(), "warm");
    let (before, count) = (resident(), 300);
    let connect = |_| Producer::connect(place.socket(), ProducerOptions::default()).unwrap();
    let producers: Vec<Producer> = (0..count).map(connect).collect();
    let connected = resident().saturating_sub(before) / count;
    for producer in &producers {
        producer.append(&[[b'x'; 1000]; 100]).unwrap().wait().unwrap();
    }
    let used = resident().saturating_sub(before) / count;
    println!(
        "an idle connection takes {connected} KiB, and {used} KiB after a batch of 100 records of 1000 B"
    );
    // About twice what is measured: more would be another buffer for each connection.
    assert!(connected < 80 && used < 150, "{connected} {used}");
    program.stop();
}

#[test]
fn a_ring_that_is_there_keeps_its_geometry_and_the_log_says_so() {
    let place = Place::new();
    Program::start(&place, &small(&place)).stop();
    let mut args = small(&place);
    args[1] = "2M".to_owned();
    let log = Program::start(&place, &args).stop();
    assert!(log.contains("the ring keeps its 4 pages of 1.00 MiB"), "{log}");
    assert_eq!(Ring::attach(place.home()).unwrap().status().unwrap().page_len, 1 << 20);
}
