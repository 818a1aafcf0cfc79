//! What a service manager is told, and what it hands over.

use crate::ring::Place;
use crate::support::*;
use nix::sys::signal::Signal;
use std::fs::File;
use std::os::unix::net::UnixListener;
use std::process::Command;

#[test]
fn the_manager_hears_of_each_step() {
    let place = Place::new();
    let file = config_file(&place, &ring_table(&place, "orders", ""));
    let mut command = waldo_service();
    command.args(["--config".into(), path(&file)]);
    let mut program = Program::spawn(&place, &mut command);
    let told = program.until_told("READY=1").join("\n");
    assert!(told.contains("STATUS=opening the rings"), "{told}");
    assert!(told.contains("STATUS=serving the ring"), "{told}");
    // A ring may take longer to open than the unit's limit for a start.
    assert!(told.contains("EXTEND_TIMEOUT_USEC=60000000"), "{told}");
    // Ready means that producers can connect.
    append(&place.dir().join("orders.sock"), "one");
    program.signal(Signal::SIGHUP);
    let told = program.until_told("RELOADING=1").join("\n");
    assert!(told.contains("MONOTONIC_USEC="), "{told}");
    program.until_told("READY=1");
    program.signal(Signal::SIGTERM);
    // Producers may take their answers for 10 s, and what is left is flushed.
    let told = program.until_told("STOPPING=1").join("\n");
    assert!(told.contains("EXTEND_TIMEOUT_USEC=70000000"), "{told}");
    assert_eq!(program.ended().code(), Some(0));
}

#[test]
fn the_watchdog_is_fed_as_often_as_it_asks() {
    let place = Place::new();
    let mut command = waldo_service();
    command.args(small(&place)).env("WATCHDOG_USEC", "20000");
    let mut program = Program::start_command(&place, &mut command);
    for _ in 0..3 {
        program.until_told("WATCHDOG=1");
    }
    program.stop();
}

#[test]
fn a_manager_that_does_not_listen_holds_up_nothing() {
    let place = Place::new();
    let mut command = waldo_service();
    command.args(small(&place)).env("WATCHDOG_USEC", "1000");
    let program = Program::start_command(&place, &mut command);
    // Nobody takes what the watchdog sends, which fills the socket.
    for number in 0..200 {
        append(&place.socket(), &number.to_string());
    }
    program.stop();
}

/// A service that is handed these sockets, as systemd does it.
fn activated(names: &str, sockets: &[UnixListener], args: &[String]) -> Command {
    use std::os::fd::AsRawFd;
    let mut command = Command::new("bash");
    let moves: Vec<String> =
        (3..).zip(sockets).map(|(fd, one)| format!("{fd}<&{}", one.as_raw_fd())).collect();
    for socket in sockets {
        nix::fcntl::fcntl(socket, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).unwrap();
    }
    let script = format!("exec {}; LISTEN_PID=$$ LISTEN_FDS={} exec \"$@\"", moves.join(" "), sockets.len());
    command.args(["-c", &script, "bash"]).arg(waldo_service().get_program()).args(args);
    command.env("LISTEN_FDNAMES", names);
    command
}

/// Sockets whose numbers are above those that they are handed over as.
fn listen(place: &Place, names: &[&str]) -> Vec<UnixListener> {
    // Descriptors below are somebody else's, say another test's, as long as these are looked for.
    let _low: Vec<File> = (0..20).map(|_| File::open("/dev/null").unwrap()).collect();
    names.iter().map(|name| UnixListener::bind(place.dir().join(format!("{name}.sock"))).unwrap()).collect()
}

#[test]
fn each_ring_takes_the_socket_of_its_name() {
    let place = Place::new();
    let table = |name| ring_table(&place, name, "").replace("socket =", "# socket =");
    let file = config_file(&place, &(table("orders") + &table("quotes")));
    let sockets = listen(&place, &["quotes", "orders"]);
    let args = ["--config".to_owned(), path(&file)];
    let program = Program::start_command(&place, &mut activated("quotes:orders", &sockets, &args));
    append(&place.dir().join("orders.sock"), "an order");
    append(&place.dir().join("quotes.sock"), "a quote");
    program.stop();
    assert_eq!(texts(&place.dir().join("orders")), ["an order"]);
    assert_eq!(texts(&place.dir().join("quotes")), ["a quote"]);
    assert!(place.dir().join("orders.sock").exists(), "the file is not the service's");

    let mut program = Program::spawn(&place, &mut activated("quotes:other", &sockets, &args));
    assert_eq!(program.ended().code(), Some(2));
    assert!(program.log().contains("no ring has this name"), "{}", program.log());

    // Whoever connects to the second would wait for ever.
    let mut program = Program::spawn(&place, &mut activated("orders:orders", &sockets, &args));
    assert_eq!(program.ended().code(), Some(2));
    assert!(program.log().contains("two sockets that are named \"orders\""), "{}", program.log());

    // A socket that was handed over counts for more than the file, and the log does not say otherwise.
    let table = |name| ring_table(&place, name, "").replace(".sock\"", ".unused\"");
    config_file(&place, &(table("orders") + &table("quotes")));
    let log = Program::start_command(&place, &mut activated("quotes:orders", &sockets, &args)).stop();
    assert!(log.contains("`socket` of the configuration is not used"), "{log}");
    assert!(log.contains(&format!("may connect to {}", path(&place.dir().join("orders.sock")))), "{log}");
}
