//! SIGHUP: what is taken over, and what is only told.

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
    program.until_logged("what has changed of this ring takes effect at the next restart");
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
    append(&place.dir().join("orders.sock"), "one");
    program.stop();
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
