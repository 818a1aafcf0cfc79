//! One user does not take the connections of the others.

use crate::http::{get, start};
use crate::raw::Raw;
use crate::ring::Place;
use crate::support::*;
use crate::wait::wait_until;
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Uid, setuid};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use waldo::client::wire::ErrorCode;

const SOCKET: &str = "WALDO_TEST_OTHER_USERS_SOCKET";
/// A user without a name.
const OTHER: u32 = 54_324;

/// Not a test: where the other user's process begins. Takes all connections that there are for that user, and
/// keeps them until standard input ends.
#[test]
fn other_user_entry() {
    let Some(socket) = std::env::var_os(SOCKET) else { return };
    prctl::set_pdeathsig(Signal::SIGKILL).unwrap();
    setuid(Uid::from_raw(OTHER)).unwrap();
    let socket = Path::new(&socket);
    let mut held: Vec<Raw> = (0..2).map(|_| Raw::greet(socket, None).0).collect();
    let error = Raw::connect(socket).error();
    assert_eq!((error.code, error.detail, error.fatal), (ErrorCode::TooManyOfUser, 2, true));
    assert!(error.text.contains("user 54324 has 2 connections"), "{}", error.text);
    // One that has gone makes room for another.
    held.pop();
    wait_until("there is room again", || {
        let mut raw = Raw::connect(socket);
        // One that is refused may be closed by now.
        let _ = raw.0.write_all(&crate::raw::hello(None));
        let welcome = matches!(raw.hear(), crate::raw::Heard::Welcome(_));
        held.push(raw);
        welcome
    });
    println!("@@ all are taken");
    std::io::stdout().flush().unwrap();
    let _ = std::io::stdin().read_line(&mut String::new());
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_user_who_has_all_connections_of_a_user_keeps_nobody_else_out() {
    if !nix::unistd::geteuid().is_root() {
        println!("left out: this needs root, to be another user");
        return;
    }
    let place = Place::new();
    std::fs::set_permissions(place.dir(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let more = "socket_mode = \"0666\"\nconnections_per_user = 2\nproducers_max = 3";
    let (program, address) = start(&place, &ring_table(&place, "orders", more));
    let socket = place.dir().join("orders.sock");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["users::other_user_entry", "--exact", "--nocapture"]).env(SOCKET, &socket);
    let mut other = Killed(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap());
    let mut told = BufReader::new(other.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert!(told.any(|line| line.contains("@@ all are taken")), "see above");
    append(&socket, "mine");
    let counted = "waldo_producers_errors_total{ring=\"orders\",code=\"TooManyOfUser\"} ";
    let metrics = get(&address, "GET /metrics").2;
    let count = metrics.lines().find_map(|line| line.strip_prefix(counted)).map(str::to_owned);
    assert!(count.is_some_and(|count| count.parse::<u64>().unwrap() > 0), "{metrics}");
    drop(other.0.stdin.take());
    // It has something to say at its end.
    assert!(told.last().is_some());
    assert!(other.0.wait().unwrap().success());
    let log = program.stop();
    assert!(log.contains("user 54324 has 2 connections") && log.contains("connections_per_user"), "{log}");
}
