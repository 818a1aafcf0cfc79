//! The program `waldo-service` as an operator meets it: real processes, real sockets, real signals.
#![allow(clippy::unwrap_used, reason = "a test, helpers included, fails by panicking")]

mod browser;
mod check;
mod containers;
mod deaf;
#[path = "../../../tests/processes/support/disk_failure.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod disk_failure;
mod failing;
mod http;
mod logs;
#[path = "../../../tests/power_cuts/machine.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod machine;
mod notify;
#[path = "../producers/support/raw.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod raw;
mod reload;
mod rights;
#[path = "../producers/support/ring.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod ring;
mod rings;
mod scripts;
mod signals;
mod support;
mod units;
mod users;
#[path = "../../../tests/processes/support/wait.rs"]
mod wait;
