//! SIGHUP: what is taken over, and what is only told.

use crate::deaf::fill_with_answers;
use crate::http::{get, start};
use crate::ring::Place;
use crate::support::*;
use crate::wait::wait_until;
use nix::sys::signal::Signal;

fn reload(place: &Place, program: &mut Program, text: &str) {
    config_file(place, text);
    program.signal(Signal::SIGHUP);
    program.until_told("RELOADING=1");
    program.until_told("READY=1");
}

#[test]
fn rings_come_and_go_without_disturbing_the_others() {
    let place = Place::new();
    let (orders, quotes) = (ring_table(&place, "orders", ""), ring_table(&place, "quotes", ""));
    let trades = ring_table(&place, "trades", "");
    let file = config_file(&place, &(orders.clone() + &quotes));
    let mut program = Program::start(&place, &["--config".into(), path(&file)]);
    let socket = |name: &str| place.dir().join(format!("{name}.sock"));
    let producer = waldo::client::Producer::connect(socket("orders"), Default::default()).unwrap();
    producer.append(&["before"]).unwrap().wait().unwrap();
    reload(&place, &mut program, &(orders.clone() + &trades));
    assert!(!socket("quotes").exists());
    append(&socket("trades"), "a trade");
    producer.append(&["after"]).unwrap().wait().unwrap();
    producer.close().unwrap();
    // Other lines are no change.
    reload(&place, &mut program, &("\n\n".to_owned() + &orders));
    wait_until("it is told", || program.log().matches("has been read again").count() == 2);
    assert!(!program.log().contains("next restart"), "{}", program.log());

    reload(&place, &mut program, &ring_table(&place, "orders", "producers_max = 7"));
    program.until_logged("what has changed of this ring takes effect at the next restart: producers_max");
    reload(&place, &mut program, &("[http]\nlisten = \"127.0.0.1:1\"\n".to_owned() + &orders));
    program.until_logged("another [http] takes effect at the next restart");
    program.stop();
    assert_eq!(texts(&place.dir().join("orders")), ["before", "after"]);
    assert_eq!(texts(&place.dir().join("trades")), ["a trade"]);
}

#[test]
fn a_file_that_is_not_in_order_changes_nothing() {
    let place = Place::new();
    let orders = ring_table(&place, "orders", "");
    let file = config_file(&place, &orders);
    let mut program = Program::start(&place, &["--config".into(), path(&file)]);
    reload(&place, &mut program, "[[ring]]\nhoem = \"/x\"\n");
    program.until_logged("service.toml:2: unknown key `hoem`: did you mean `home`?");
    program.signal(Signal::SIGHUP);
    program.until_told(&format!(
        "STATUS=serving the ring {}; the configuration is not in order, the old one stays in force",
        place.dir().join("orders").display()
    ));
    append(&place.dir().join("orders.sock"), "one");
    program.stop();
}

#[test]
fn a_ring_that_cannot_be_opened_at_a_reload_is_shown_and_the_others_go_on() {
    let place = Place::new();
    let (orders, quotes) = (ring_table(&place, "orders", ""), ring_table(&place, "quotes", ""));
    let (mut program, address) = start(&place, &orders);
    std::fs::write(place.dir().join("quotes.sock"), "in the way").unwrap();
    config_file(&place, &(orders.clone() + &quotes));
    program.signal(Signal::SIGHUP);
    program.until_told("STATUS=serving 1 of 2 rings; failed: quotes");
    let (code, _, why) = get(&address, "GET /healthz");
    assert!(code == 503 && why.starts_with("ring quotes: ") && why.contains("is no socket"), "{why}");
    let (_, _, metrics) = get(&address, "GET /metrics");
    assert!(metrics.contains("waldo_ring_up{ring=\"quotes\"} 0\n"), "{metrics}");
    append(&place.dir().join("orders.sock"), "one");
    std::fs::remove_file(place.dir().join("quotes.sock")).unwrap();
    program.signal(Signal::SIGHUP);
    program.until_told("STATUS=serving 2 rings");
    append(&place.dir().join("quotes.sock"), "a quote");
    assert_eq!(get(&address, "GET /healthz").0, 200);
    program.stop();
}

#[test]
fn a_ring_that_somebody_else_had_is_served_when_it_is_given_back() {
    let place = Place::new();
    let (orders, quotes) = (ring_table(&place, "orders", ""), ring_table(&place, "quotes", ""));
    let (mut program, address) = start(&place, &orders);
    let socket = place.dir().join("quotes.sock");
    let other = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    config_file(&place, &(orders.clone() + &quotes));
    program.signal(Signal::SIGHUP);
    program.until_told("STATUS=serving 1 of 2 rings; failed: quotes");
    drop(other);
    // Nobody asks for it.
    program.until_told("STATUS=serving 2 rings");
    append(&socket, "a quote");
    assert_eq!(get(&address, "GET /healthz").0, 200);
    program.stop();
}

/// Otherwise a file that is not read to its end keeps rings away, and a second SIGHUP is lost.
#[test]
fn while_the_file_is_read_rings_are_looked_after() {
    let place = Place::new();
    let (orders, quotes) = (ring_table(&place, "orders", ""), ring_table(&place, "quotes", ""));
    let (mut program, _) = start(&place, &orders);
    let socket = place.dir().join("quotes.sock");
    let other = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let file = config_file(&place, &(orders.clone() + &quotes));
    program.signal(Signal::SIGHUP);
    program.until_told("STATUS=serving 1 of 2 rings; failed: quotes");
    std::fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    program.signal(Signal::SIGHUP);
    program.until_told("RELOADING=1");
    drop(other);
    program.until_told("STATUS=serving 2 rings");
    append(&socket, "a quote");
    program.signal(Signal::SIGHUP);
    program.until_logged("the configuration will be read again when what is under way is done");
    // The file is read to its end, and then the one that has been put in its place.
    let pipe = std::fs::File::options().write(true).open(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    config_file(&place, &orders);
    std::io::Write::write_all(&mut &pipe, (orders.clone() + &quotes).as_bytes()).unwrap();
    drop(pipe);
    wait_until("the second counts", || !socket.exists());
    program.stop();
}

/// Otherwise nobody would start it again.
#[test]
fn a_reload_that_leaves_no_ring_ends_the_service_with_an_error() {
    let place = Place::new();
    let file = config_file(&place, &ring_table(&place, "orders", ""));
    let mut program = Program::start(&place, &["--config".into(), path(&file)]);
    std::fs::write(place.dir().join("quotes.sock"), "in the way").unwrap();
    config_file(&place, &ring_table(&place, "quotes", ""));
    program.signal(Signal::SIGHUP);
    assert_eq!(program.ended().code(), Some(1), "{}", program.log());
}

/// The ring that ends waits for a producer that does not take its answers.
#[test]
fn a_signal_to_end_counts_during_a_reload() {
    let place = Place::new();
    let slow = ring_table(&place, "orders", "drain_timeout = \"1h\"\nstall_timeout = \"1h\"");
    let quotes = ring_table(&place, "quotes", "");
    let file = config_file(&place, &(slow + &quotes));
    let mut program = Program::start(&place, &["--config".into(), path(&file)]);
    let _deaf = fill_with_answers(&place.dir().join("orders.sock"));
    config_file(&place, &quotes);
    program.signal(Signal::SIGHUP);
    program.until_logged("it ends");
    program.signal(Signal::SIGTERM);
    program.until_told("STOPPING=1");
    wait_until("the other ring ends in good order", || !place.dir().join("quotes.sock").exists());
    program.signal(Signal::SIGTERM);
    assert_eq!(program.ended().code(), Some(143), "{}", program.log());
}

#[test]
fn a_file_that_cannot_be_read_to_its_end_holds_up_nothing() {
    let place = Place::new();
    let file = config_file(&place, &ring_table(&place, "orders", ""));
    let mut program = Program::start(&place, &["--config".into(), path(&file)]);
    std::fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    program.signal(Signal::SIGHUP);
    program.until_told("RELOADING=1");
    append(&place.dir().join("orders.sock"), "one");
    program.signal(Signal::SIGTERM);
    program.until_told("STOPPING=1");
    assert_eq!(program.ended().code(), Some(0), "{}", program.log());
}

#[test]
fn rings_that_come_and_go_leave_no_descriptors() {
    let place = Place::new();
    let (orders, quotes) = (ring_table(&place, "orders", ""), ring_table(&place, "quotes", ""));
    let file = config_file(&place, &orders);
    let mut program = Program::start(&place, &["--config".into(), path(&file)]);
    let open = |program: &Program| std::fs::read_dir(format!("/proc/{}/fd", program.pid())).unwrap().count();
    append(&place.dir().join("orders.sock"), "warm");
    let mut after_first = None;
    for round in 0..10 {
        reload(&place, &mut program, &(orders.clone() + &quotes));
        append(&place.dir().join("quotes.sock"), &round.to_string());
        reload(&place, &mut program, &orders);
        let limit = *after_first.get_or_insert_with(|| open(&program));
        wait_until("descriptors are closed", || open(&program) <= limit);
    }
    program.stop();
    assert_eq!(texts(&place.dir().join("quotes")).len(), 10);
}

#[test]
fn another_level_counts_at_once() {
    let place = Place::new();
    let orders = ring_table(&place, "orders", "");
    let file = config_file(&place, &("[log]\nlevel = \"error\"\n".to_owned() + &orders));
    let mut program = Program::start(&place, &["--config".into(), path(&file)]);
    assert_eq!(program.log(), "");
    reload(&place, &mut program, &("[log]\nlevel = \"info\"\n".to_owned() + &orders));
    program.until_logged("the configuration has been read again");
    program.stop();
}
