//! The `waldo` command as a user meets it: real processes, real files.
#![allow(clippy::unwrap_used, reason = "a test, helpers included, fails by panicking")]

mod about;
mod capacity;
mod copies;
mod damaged_record;
mod demo;
#[path = "../../../tests/processes/support/disk_failure.rs"]
mod disk_failure;
mod dying;
mod errors;
mod failing_disk;
mod follow;
mod full_disk;
mod gc;
mod in_the_way;
mod inspect;
mod lag;
#[path = "../../../tests/power_cuts/machine.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod machine;
#[path = "../../../tests/power_cuts/points.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod points;
mod producers;
mod repair_killed;
mod resize;
mod rights;
mod rings;
mod round_trip;
mod scene;
mod service;
mod snapshot_places;
mod support;
mod tail;
mod tail_exec;
mod tail_follows;
mod terminal;
mod top;
mod top_terminal;
#[path = "../../../tests/processes/support/wait.rs"]
mod wait;
mod whole_screen;

const PROGRAM: &str = env!("CARGO_BIN_EXE_waldo");
